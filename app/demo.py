"""``gaea demo``: three questions in one conversation about a picture from orbit, or about a photo of yours.

Writes ``demo.jpg`` (the crop), ``answer.html`` and ``answer.geojson`` into the current folder. The model sees nothing
but the pixels of the crop; where it was cut is printed after the answers, with the error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import time
from pathlib import Path

from gaea.answer import Answer
from gaea.app import ask, printout, sample, terminal
from gaea.errors import InputError
from gaea.photo import Photo
from gaea.sphere import great_circle_km

DEFAULT_PLACE = "28.9,33.8"  # the Sinai
QUESTIONS = (
    "Where is this?",
    "What country, climate and neighbours?",
    "How sure are you, and what else could it be?",
)
PICTURE, PAGE, GEOJSON = "demo.jpg", "answer.html", "answer.geojson"


def run(args: argparse.Namespace) -> int:
    """Run the subcommand.

    Raises:
        GaeaError: Anything expected went wrong.
    """
    if args.photo is not None and args.width_km is not None:
        raise InputError("--width-km belongs to a picture from orbit; leave it out with --photo")
    truth = None if args.photo is not None else sample.parse_place(args.place or DEFAULT_PLACE)
    _check_folder(Path.cwd())
    photo = ask.open_photo(args.photo) if truth is None else _from_orbit(truth, args.width_km)
    started = time.perf_counter()

    def show(answer: Answer) -> None:
        terminal.write(printout.lines(answer, shown[-1] if shown else None) + "\n")
        shown.append(answer)

    shown: list[Answer] = []
    answers = ask.converse(photo, QUESTIONS, args, show)
    seconds = time.perf_counter() - started
    ask.write_files(answers, photo, html=PAGE, geojson=GEOJSON)
    if truth is not None:
        terminal.write(_compared(answers[0], truth) + "\n")
    terminal.write(f"{len(answers)} answers in {seconds:.1f} s, loading included.\n\n{_next_steps(args.photo)}")
    return 0


def _check_folder(folder: Path) -> None:
    """Three files are written here at the end; say so early if they cannot be."""
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: this folder cannot be written to; run the demo in a folder of your own")


def _from_orbit(place: tuple[float, float], width_km: float | None) -> Photo:
    width_km = sample.DEFAULT_WIDTH_KM if width_km is None else width_km
    path = sample.write_jpeg(sample.crop(place, width_km=width_km), Path(PICTURE))
    terminal.write(f"{PICTURE}: {width_km:,.0f} km of the Earth from orbit ({sample.CREDIT}).\n")
    return Photo.open(path)


def _compared(answer: Answer, truth: tuple[float, float]) -> str:
    lat, lon = truth
    cut = f"The picture was cut at {lat:g}, {lon:g}; the model was never told."
    if answer.point is None:
        return f"{cut} It gave no point."
    error_km = float(great_circle_km(answer.point.lat, answer.point.lon, lat, lon))
    within = ""
    if answer.radius_km is not None:
        mass = next((mass for mass, radius in sorted(answer.radius_km.items()) if error_km <= radius), None)
        within = f", within its {mass} % radius" if mass else ", outside its 90 % radius"
    return f"{cut} Its point is {printout.km(error_km)} away{within}."


def _next_steps(photo: str | None) -> str:
    command = "gaea" if _on_path() else str(Path(sys.executable).parent / "gaea")
    with contextlib.suppress(ValueError):
        command = str(Path(command).relative_to(Path.cwd()))
    picture = shlex.quote(photo) if photo and photo != "-" else PICTURE
    steps = (
        (f'ask {picture} "Which languages are spoken here?"', "anything else about it"),
        ("ask your.jpg --html your.html", "a photo of your own"),
        ('demo --place "27,-113"', "another place on Earth"),
        ("doctor", "what is installed, and what could be"),
        ("ask --help", "your own model, index or endpoint; see also README.md"),
    )
    lines = [f"Written: {PAGE} (open it in a browser; it needs no network) and {GEOJSON}.", "Next:"]
    width = max(len(step) for step, _ in steps)
    lines += [f"  {command} {step:<{width}}  {purpose}" for step, purpose in steps]
    return "\n".join(lines)


def _on_path() -> bool:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return str(Path(sys.executable).parent) in folders
