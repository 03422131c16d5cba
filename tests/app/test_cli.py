"""The command line from end to end: answers on stdout, and one clear line for everything that can go wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import subprocess
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

import gaea
from gaea.answer import Answer, Confidence, Evidence, FileClaim, Place, Point, schema
from gaea.app import ask, assemble, cli, terminal
from gaea.errors import ModelError
from gaea.photo import Photo

NANO = Path(gaea.__file__).parent / "nano"
SHIPPED = (NANO / "llava" / "model.safetensors").is_file() and (NANO / "gallery" / "gallery.parquet").is_file()
needs_nano = pytest.mark.skipif(not SHIPPED, reason="the nano models are not in this copy")

ANSWER = Answer(
    question="",
    text="This is probably in Haute-Savoie, France.",
    point=Point(45.9237, 6.8694),
    radius_km={50: 10.0, 90: 60.0},
    place=Place("Chamonix", 3.0, "Haute-Savoie", "France", "FR"),
    evidence=(
        Evidence("similar", "peaks", 46.0, 7.0, 13.0, 0.912, "gallery", "NASA"),
        Evidence("similar", "a glacier", 46.1, 7.1, 25.0, 0.9),
        Evidence("similar", "snow", 46.2, 7.2, 38.0, 0.8),
        Evidence("similar", "the fourth", 46.2, 7.2, 38.0, 0.7),
        Evidence("dissimilar", "dunes", -24.0, 133.0, 15_000.0, -0.4),
    ),
    confidence=Confidence("fairly sure", 15.0, {50: 400.0, 90: 9000.0}),
    file_claim=FileClaim(45.5, 6.5, taken="2024-05-01T12:00:00", camera="Canon", distance_km=54.0),
    timings={"recall": 0.25, "talk": 0.5, "total": 0.75},
)


class FakeAssistant:
    """Answers the same to everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.settings: assemble.Settings | None = None
        self.opened: list[Photo] = []
        self.asked: list[tuple[str, bool]] = []
        self.answer = ANSWER
        self.fault: Exception | None = None

    def assemble(self, **options: Any) -> FakeAssistant:
        self.settings = assemble.Settings(**options)
        return self

    def open(self, photo: Photo) -> FakeAssistant:
        self.opened.append(photo)
        return self

    def ask(self, question: str, *, guess: bool = False) -> Answer:
        self.asked.append((question, guess))
        if self.fault and len(self.asked) == 2:
            raise self.fault
        return dataclasses.replace(self.answer, question=question)


@pytest.fixture
def assistant(monkeypatch: pytest.MonkeyPatch) -> FakeAssistant:
    fake = FakeAssistant()
    monkeypatch.setattr(assemble, "assemble", fake.assemble)
    return fake


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48), (90, 120, 60)).save(path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """The one line that a command must end with."""
    assert cli.main([str(argument) for argument in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gaea: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_an_answer_says_all_that_can_be_checked(assistant, photo, capsys) -> None:
    assert cli.main(["ask", str(photo)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for words in (
        "> Where is this?",
        "This is probably in Haute-Savoie, France.",
        "45.92° N, 6.87° E   (fairly sure)",
        "10 km (50 %), 60 km (90 %)",
        "400 km² (50 %), 9,000 km² (90 %)",
        "near Chamonix, Haute-Savoie, France",
        "peaks · similarity 0.91 · 13 km away · NASA",
        "the file claims  45.5000° N, 6.5000° E, taken 2024-05-01T12:00:00, with Canon",
        "the picture says 45.92° N, 6.87° E, 54 km from there",
        "0.75 s (recall 0.25, talk 0.50)",
    ):
        assert words in captured.out
    assert "the fourth" not in captured.out
    assert assistant.asked == [("Where is this?", False)]


def test_several_questions_are_one_conversation(assistant, photo, capsys) -> None:
    assert cli.main(["ask", str(photo), "Where?", "--guess", "Which country?"]) == 0
    out = capsys.readouterr().out
    assert len(assistant.opened) == 1
    assert assistant.asked == [("Where?", True), ("Which country?", True)]
    assert out.count("45.92° N") == 2, "what has not changed is said once (and beside the claim)"


def test_json_is_the_published_answer(assistant, photo, capsys) -> None:
    assert cli.main(["ask", str(photo), "--json"]) == 0
    one = capsys.readouterr().out
    assert "\n  " in one
    jsonschema.validate(json.loads(one), schema())
    assert cli.main(["ask", str(photo), "--json", "Où ?", "Et là ?"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["question"] for line in lines] == ["Où ?", "Et là ?"]


def test_options_reach_the_assistant_and_defaults_stay_its_own(assistant, photo, capsys) -> None:
    assert cli.main(["ask", str(photo), "--model", "m", "--adapter", "a", "--index", "none", "--store", "memory"]) == 0
    told = assistant.settings
    assert (told.model, told.adapter, told.index, told.store, told.engine) == ("m", "a", "none", "memory", None)
    assert cli.main(["ask", str(photo)]) == 0
    assert dataclasses.replace(assistant.settings, progress=None) == assemble.Settings()


def test_files_are_written_beside_the_answer(assistant, photo, tmp_path, capsys) -> None:
    page, features = tmp_path / "a.html", tmp_path / "a.geojson"
    assert cli.main(["ask", str(photo), "--html", str(page), "--geojson", str(features)]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(features.read_text())["type"] == "FeatureCollection"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.geojson", "a.html", "photo.jpg"]


def test_a_link_stays_a_link(assistant, photo, tmp_path, capsys) -> None:
    (tmp_path / "link.html").symlink_to("real.html")
    assert cli.main(["ask", str(photo), "--html", str(tmp_path / "link.html")]) == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").is_file()


def test_nothing_is_written_when_a_later_question_fails(assistant, photo, tmp_path, capsys) -> None:
    assistant.fault = ModelError("the endpoint hung up; start it again")
    page = tmp_path / "a.html"
    assert cli.main(["ask", str(photo), "Where?", "And?", "--html", str(page)]) == 2
    assert capsys.readouterr().err == "gaea: the endpoint hung up; start it again\n"
    assert not page.exists()


def test_a_photo_comes_from_standard_input(assistant, photo, monkeypatch, capsys) -> None:
    stdin = types.SimpleNamespace(buffer=io.BytesIO(photo.read_bytes()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["ask", "-"]) == 0
    assert assistant.opened[0].original_size == (64, 48)
    capsys.readouterr()
    stdin.buffer = io.BytesIO(b"")
    assert "empty" in refused(capsys, "ask", "-")
    stdin.isatty = lambda: True
    assert "pipe a file" in refused(capsys, "ask", "-")


def test_progress_is_shown_on_a_terminal_and_erased(photo, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.progress(quiet=False) as tell:
        tell("loading \x1b[31mthe model")
    err = capsys.readouterr().err
    assert "loading \ufffd[31mthe model …" in err
    assert err.endswith("\r\x1b[K")
    with terminal.progress(quiet=True) as tell:
        tell("loading")
    assert capsys.readouterr().err == ""


def test_strangers_words_cannot_steer_the_terminal(assistant, photo, capsys) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jtext\r"
    assistant.answer = dataclasses.replace(
        ANSWER,
        text=hostile,
        evidence=(Evidence("similar", hostile, credit=hostile),),
        file_claim=FileClaim(camera=hostile, problems=(hostile,)),
        place=Place(hostile),
    )
    assert cli.main(["ask", str(photo), hostile]) == 0
    assert all(char.isprintable() or char == "\n" for char in capsys.readouterr().out)


def huge_png() -> bytes:
    """A few bytes that say 50,000 × 50,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    packed = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(packed, "JPEG")
    return packed.getvalue()[:9000]


BAD_PHOTOS: dict[str, tuple[bytes, str]] = {
    "text.jpg": (b"these are words, not a photo\n" * 9, "it looks like text"),
    "empty.jpg": (b"", "0 bytes"),
    "huge.png": (huge_png(), "larger than"),
    "cut.jpg": (truncated_jpeg(), "damaged or cut short"),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "an SVG drawing"),
    "paper.pdf": (b"%PDF-1.7\n", "a PDF document"),
    "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS drawing"),
    "page.jpg": (b"<!doctype html><html></html>", "a web page"),
    "noise.jpg": (bytes(range(256)) * 4, "nothing this program knows"),
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo_is_one_line_before_any_model_is_loaded(name, assistant, tmp_path, capsys) -> None:
    data, words = BAD_PHOTOS[name]
    (tmp_path / name).write_bytes(data)
    out = tmp_path / "a.html", tmp_path / "a.geojson"
    line = refused(capsys, "ask", tmp_path / name, "--html", out[0], "--geojson", out[1], "--json")
    assert name in line
    assert words in line
    assert assistant.settings is None
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "COMMAND"),
        (("ask",), "PHOTO"),
        (("sak", "photo.jpg"), "invalid choice: 'sak'"),
        (("ask", "{photo}", "--jsn"), "--jsn"),
        (("ask", "{photo}", "--html"), "--html"),
        (("ask", "{photo}", "Where?", "  "), "question 2 is empty"),
        (("ask", "{folder}"), "this is a directory"),
        (("ask", "{folder}/none.jpg"), "there is no such file"),
        (("ask", "{folder}/new\nline.jpg"), "there is no such file"),
        (("ask", "https://example.org/photo.jpg"), "a web address"),
        (("ask", "{photo}", "--html", "{folder}/no/a.html"), "there is no folder"),
        (("ask", "{photo}", "--geojson", "{folder}"), "this is a folder"),
        (("ask", "{photo}", "--html", os.devnull), "a device or pipe"),
        (("ask", "{photo}", "\udcff?"), "question 1 is not readable text"),
        (("ask", "\udcff.jpg"), "there is no such file"),
        (("ask", "{photo}", "--html", "{folder}/a", "--geojson", "{folder}/a"), "two files"),
        (("ask", "{photo}", "--store", "faiss"), "memory, chroma"),
        (("ask", "{photo}", "--engine", "ftp://host"), "transformers, or a URL"),
        (("ask", "{photo}", "--engine", "http://host/v1", "--adapter", "mine"), "start the server with them"),
        (("ask", "{photo}", "--engine", "http://host/v1", "--quantize", "4bit"), "start the server with them"),
        (("demo", "--place", "95,0"), "latitude 95"),
        (("demo", "--place", "-33.9,1151"), "longitude 1151"),
        (("demo", "--place", "Cairo"), "latitude and longitude in degrees"),
        (("demo", "--place", "nan,0"), "latitude and longitude in degrees"),
        (("demo", "--place", "89,0"), "latitude 89"),
        (("demo", "--place", "0,0", "--width-km", "nan"), "50 to 2,000 km"),
        (("demo", "--place", "0,0", "--width-km", "wide"), "wide"),
        (("demo", "--place", "0,0", "--photo", "{photo}"), "not allowed with"),
        (("demo", "--photo", "{photo}", "--width-km", "100"), "--width-km"),
        (("demo", "--photo", "{folder}/none.jpg"), "there is no such file"),
        (("doctor", "now"), "unrecognized arguments: now"),
    ],
)
def test_a_bad_argument_is_one_line(argv, words, assistant, photo, tmp_path, monkeypatch, capsys) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    filled = [argument.format(photo=photo, folder=folder) for argument in argv]
    assert words in refused(capsys, *filled)
    assert list(folder.iterdir()) == []
    assert not assistant.asked


def test_an_unknown_model_is_one_line(photo, tmp_path, capsys) -> None:
    line = refused(capsys, "ask", photo, "--model", tmp_path / "no-such-model", "--index", "none")
    assert "no-such-model" in line
    assert "no-such/model" in refused(capsys, "ask", photo, "--model", "no-such/model", "--index", "none")


def test_an_endpoint_that_is_not_there_is_one_line(photo, capsys) -> None:
    line = refused(capsys, "ask", photo, "--engine", "http://127.0.0.1:9/v1", "--index", "none")
    assert "http://127.0.0.1:9/v1" in line


def test_a_missing_index_is_one_line(photo, tmp_path, capsys) -> None:
    assert "no gallery at" in refused(capsys, "ask", photo, "--index", tmp_path / "none")


def test_interruption_is_not_a_fault(monkeypatch, photo, capsys) -> None:
    def interrupted(args: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(ask, "run", interrupted)
    assert cli.main(["ask", str(photo)]) == 130
    assert capsys.readouterr().err == "gaea: interrupted\n"


def in_a_process(stdout: Any, run: str = "[terminal.write('x' * 99) for _ in range(9999)]") -> subprocess.Popen[str]:
    program = f"import sys; from gaea.app import ask, cli, terminal; ask.run = lambda args: {run}; sys.exit(cli.main())"
    command = [sys.executable, "-c", program, "ask", "photo.jpg"]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")
def test_a_reader_that_goes_away_is_not_a_fault() -> None:
    process = in_a_process(subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full, in_a_process(full) as process:
        assert process.stderr is not None
        error = process.stderr.read()
        assert process.wait(timeout=60) == 2
    assert error == "gaea: standard output cannot be written (No space left on device); send it elsewhere\n"


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "torch", "transformers", "numpy", "PIL", "chromadb"
    for option in ("--help", "--version"):
        program = (
            "import sys, atexit; from gaea.app import cli\n"
            f"atexit.register(lambda: print([m for m in {heavy} if m in sys.modules]))\n"
            f"cli.main([{option!r}])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


@needs_nano
def test_the_shipped_model_answers(tmp_path, capsys) -> None:
    from gaea.app import sample

    picture = sample.write_jpeg(sample.crop((30.9, 31.1)), tmp_path / "delta.jpg")
    assert cli.main(["ask", str(picture), "Where is this?", "What country is this in?", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for answer in answers:
        jsonschema.validate(answer, schema())
        assert answer["text"]
    assert answers[0]["point"] == answers[1]["point"]
    assert {"recall", "tokens"} & set(answers[0]["timings"]), "the first question looks"
    assert not {"recall", "tokens"} & set(answers[1]["timings"]), "the second one reuses what was seen"
