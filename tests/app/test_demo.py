"""The demo tells its three answers, writes its files, and keeps the truth from the model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gaea.answer import Answer, Confidence, Point
from gaea.app import assemble, cli, demo
from gaea.photo import Photo


class FakeAssistant:
    """Points 111 km north of the Nile delta, unless told to abstain."""

    def __init__(self) -> None:
        self.photo: Photo | None = None
        self.asked: list[str] = []
        self.answer = Answer("", "Here.", Point(31.9, 31.1), {50: 100.0, 90: 200.0}, timings={"talk": 0.1})

    def open(self, photo: Photo) -> FakeAssistant:
        self.photo = photo
        return self

    def ask(self, question: str, *, guess: bool = False) -> Answer:
        self.asked.append(question)
        return dataclasses.replace(self.answer, question=question)


@pytest.fixture
def assistant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeAssistant:
    fake = FakeAssistant()

    def assembled(**options: Any) -> FakeAssistant:
        return fake

    monkeypatch.setattr(assemble, "assemble", assembled)
    monkeypatch.chdir(tmp_path)
    return fake


def test_three_answers_two_files_and_the_error(assistant, tmp_path, capsys) -> None:
    assert cli.main(["demo", "--place", "30.9,31.1"]) == 0
    out = capsys.readouterr().out
    assert assistant.asked == list(demo.QUESTIONS)
    assert all(f"> {question}" in out for question in demo.QUESTIONS)
    assert "The picture was cut at 30.9, 31.1; the model was never told." in out
    assert "Its point is 111 km away, within its 90 % radius." in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.geojson", "answer.html", "demo.jpg"]
    assert json.loads(Path("answer.geojson").read_text())["features"]


def test_the_model_is_given_pixels_and_no_place(assistant, tmp_path) -> None:
    assert cli.main(["demo", "--place", "-33.9,18.5", "--width-km", "120"]) == 0
    assert assistant.photo is not None
    assert (assistant.photo.name, assistant.photo.exif) == ("demo.jpg", None)
    assert assistant.photo.pixels.shape == (512, 512, 3)


def test_an_abstaining_answer_has_no_error(assistant, capsys) -> None:
    assistant.answer = Answer("", "I cannot tell.", abstained=True, confidence=Confidence("cannot tell"))
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "It gave no point." in out
    assert "none: cannot tell; --guess gives the most probable one" in out


def test_a_photo_of_ones_own_is_left_as_it_is(assistant, tmp_path, capsys) -> None:
    own = tmp_path / "own photo.png"
    Image.new("RGB", (40, 30)).save(own)
    before = own.read_bytes()
    assert cli.main(["demo", "--photo", str(own)]) == 0
    assert own.read_bytes() == before
    assert "never told" not in capsys.readouterr().out
    assert not Path("demo.jpg").exists()


def test_a_folder_that_cannot_be_written_to_is_one_line(assistant, monkeypatch, capsys) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert cli.main(["demo"]) == 2
    assert "cannot be written to" in capsys.readouterr().err
    assert not assistant.asked
