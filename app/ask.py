"""``gaea ask``: one photo, one conversation, answers as text, JSON, a page and GeoJSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gaea.answer import Answer
from gaea.app import conditions, export, printout, terminal
from gaea.errors import InputError
from gaea.photo import Photo
from gaea.source import printable

_SETTINGS = ("model", "adapter", "engine", "index", "encoder", "store", "store_at", "device", "quantize")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand. The photo and the files to write are checked before a model is loaded.

    Raises:
        GaeaError: Anything expected went wrong; files named by options are then not written.
    """
    questions = checked_questions(args.question)
    check_targets([args.html, args.geojson])
    photo = open_photo(args.photo)
    conditions.narrow(args), conditions.disclosure(args)

    answers: list[Answer] = []

    def show(answer: Answer) -> None:
        if args.json:
            terminal.write(answer.to_json(indent=2 if len(questions) == 1 else None))
        else:
            previous = answers[-1] if answers else None
            terminal.write(("\n" if previous else "") + printout.lines(answer, previous))
        answers.append(answer)

    converse(photo, questions, args, show, guess=args.guess)
    write_files(answers, photo, html=args.html, geojson=args.geojson)
    return 0


def converse(
    photo: Photo,
    questions: Sequence[str],
    args: argparse.Namespace,
    show: Callable[[Answer], None],
    *,
    guess: bool = False,
) -> list[Answer]:
    """Load an assistant as the arguments say, and ask it all questions of a photo in one conversation.

    Args:
        photo: What it is about.
        questions: In order.
        args: Parsed options; those left out take the assistant's own defaults.
        show: Called with each answer as it comes.
        guess: Give a point even when unsure.
    """
    with terminal.progress(quiet=args.quiet) as tell:
        from gaea.app.assemble import assemble

        asked = {"narrow": conditions.narrow(args), "disclosure": conditions.disclosure(args)}
        said = {name: value for name, value in asked.items() if value is not None}
        chat = assemble(progress=tell, **settings(args)).open(photo, **said)
    answers: list[Answer] = []
    for question in questions:
        with terminal.progress(quiet=args.quiet) as tell:
            tell("looking" if not answers else "thinking")
            answers.append(chat.ask(question, guess=guess))
        show(answers[-1])
    return answers


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given; absent ones are left to :class:`gaea.app.assemble.Settings`."""
    return {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}


def open_photo(source: str) -> Photo:
    """The photo of a path, or of standard input for ``-``.

    Raises:
        PhotoError: It cannot be read or is no photo.
    """
    if source != "-":
        return Photo.open(source)
    if sys.stdin.isatty():
        raise InputError("- reads the photo from standard input, which is a terminal here; pipe a file into it")
    return Photo.open(sys.stdin.buffer, name="standard input")


def checked_questions(questions: Sequence[str]) -> Sequence[str]:
    """Questions that ask something.

    Raises:
        InputError: One is empty, or holds bytes that are not text.
    """
    for number, question in enumerate(questions, 1):
        if not question.strip():
            raise InputError(f"question {number} is empty: ask something, for example 'Where is this?'")
        if not question.isprintable() and any("\ud800" <= char <= "\udfff" for char in question):
            raise InputError(f"question {number} is not readable text: write it in the terminal's own encoding")
    return questions


def check_targets(targets: Sequence[str | None]) -> None:
    """Refuse, before any work is done, files that could not be written after it.

    Raises:
        InputError: A folder is missing, a target is there and no ordinary file, or two are the same.
    """
    paths = [Path(target) for target in targets if target is not None]
    for path in paths:
        if not path.parent.is_dir():
            raise InputError(f"{printable(str(path))}: there is no folder {printable(str(path.parent))}; make it first")
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or pipe"
            raise InputError(f"{printable(str(path))}: this is {kind}; give the name of a file to write")
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"{printable(str(paths[0]))}: two kinds of output need two files")


def write_files(answers: Sequence[Answer], photo: Photo, *, html: str | None, geojson: str | None) -> None:
    """Write what was asked for, each file whole or not at all; a link stays one, and its file is replaced."""
    if html is not None:
        from gaea.app.map import html as page

        export.write_text(Path(html).resolve(), page(answers, photo))
    if geojson is not None:
        export.write_geojson(answers, Path(geojson).resolve())
