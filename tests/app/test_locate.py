"""``gaea locate`` from end to end, on an assistant that answers as it is told."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from gaea.answer import Answer, Confidence, Place, Point
from gaea.app import assemble, cli, locate
from gaea.endpoint import Usage
from gaea.photo import Photo


class FakeChat:
    def __init__(self, photo: Photo, **options: Any) -> None:
        self.photo, self.options = photo, options

    @property
    def preview(self) -> Answer:
        shade = float(self.photo.pixels[0, 0, 0])
        known = shade < 200
        return Answer(
            question="Where is this?",
            text="",
            point=Point(-shade / 4, shade / 2) if known else None,
            radius_km={50: 1.0, 90: shade + 1} if known else None,
            place=Place("Somewhere", 1.0, "=1+1", "Chile", "CL") if known else None,
            abstained=not known,
            confidence=Confidence("unsure" if known else "cannot tell"),
            disclosure=str(self.options.get("disclosure") or "precise"),
            provenance={"model": "fake"},
        )

    @property
    def answer(self) -> Answer:
        return dataclasses.replace(self.preview, text="In words.")

    def stream(self, question: str, *, guess: bool = False) -> FakeChat:
        return self


class FakeAssistant:
    def __init__(self) -> None:
        self.opened: list[str] = []
        self.narrowed: list[Any] = []
        self.engine: Any = object()

    def open(self, photo: Photo, *, narrow: Any = None, disclosure: Any = None) -> FakeChat:
        self.opened.append(photo.name)
        self.narrowed.append(narrow)
        return FakeChat(photo, disclosure=disclosure)

    def describe(self) -> dict[str, Any]:
        return {"model": "fake"}


@pytest.fixture
def assistant(monkeypatch: pytest.MonkeyPatch) -> FakeAssistant:
    made = FakeAssistant()
    monkeypatch.setattr(assemble, "assemble", lambda **options: made)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for shade in (40, 80, 120, 160, 240):
        Image.new("RGB", (20, 10), (shade, 0, 0)).save(photos / f"{shade}.png")
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no")
    monkeypatch.chdir(tmp_path)
    return photos


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_one_folder_into_every_kind_of_file(
    assistant: FakeAssistant, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(folder)
    outs = [f"out{ending}" for ending in locate.ENDINGS]
    assert cli.main(["locate", "photos", *(part for out in outs for part in ("--out", out))]) == 1
    said = capsys.readouterr()
    assert "6 photos: 4 placed, 1 not told from the picture; 1 without an answer, named above" in said.out
    assert "photos/bad.jpg: bad.jpg: the JPEG file is damaged" in said.err
    assert "one by one" in said.err  # the estimate came first
    assert hashes(folder) == before
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == sorted(f"photos/{path.name}" for path in folder.iterdir())
    told = {row["photo"]: row for row in rows}
    assert told["photos/40.png"]["lat"] == "-10"
    assert told["photos/40.png"]["region"] == "'=1+1"
    assert told["photos/240.png"]["abstained"] == "true"
    assert "damaged" in told["photos/bad.jpg"]["error"]
    assert pq.read_table("out.parquet").num_rows == 6
    assert len(Path("out.jsonl").read_text().splitlines()) == 6
    features = json.loads(Path("out.geojson").read_text())["features"]
    assert {f["properties"]["photo"] for f in features} == {f"photos/{n}.png" for n in (40, 80, 120, 160)}
    assert features[0]["properties"]["radius_km_90"] == pytest.approx(121.0)
    marks = list(ET.parse("out.kml").getroot().iter("{http://www.opengis.net/kml/2.2}Placemark"))
    assert len(marks) == 4


def test_it_goes_on_where_it_was_and_writes_the_same(assistant: FakeAssistant, folder: Path) -> None:
    assert cli.main(["locate", "photos", "--quiet", "--estimate", "--journal", "j"]) == 0
    assert len(assistant.opened) == 3
    assert cli.main(["locate", "photos", "--quiet", "--out", "a.csv", "--journal", "j"]) == 1
    assert sorted(assistant.opened) == ["120.png", "160.png", "240.png", "40.png", "80.png"]
    assert cli.main(["locate", "photos", "--quiet", "--out", "b.csv", "--journal", "j"]) == 1
    assert len(assistant.opened) == 5
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def test_what_was_narrowed_is_what_was_asked_for(assistant: FakeAssistant, folder: Path) -> None:
    cli.main(["locate", "photos/40.png", "--quiet", "--out", "a.csv"])
    assert assistant.narrowed == [None]
    cli.main(["locate", "photos/40.png", "--quiet", "--out", "b.csv", "--country", "PE", "--source", "mine"])
    assert (assistant.narrowed[1].countries, assistant.narrowed[1].sources) == (("PE",), ("mine",))


def test_words_only_where_they_are_asked_for(assistant: FakeAssistant, folder: Path) -> None:
    cli.main(["locate", "photos/40.png", "--quiet", "--out", "a.csv"])
    cli.main(["locate", "photos/40.png", "--quiet", "--words", "--out", "b.csv"])
    assert "In words." not in Path("a.csv").read_text()
    assert "In words." in Path("b.csv").read_text()


def test_an_endpoint_is_priced_by_the_tokens_it_counts(
    assistant: FakeAssistant, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assistant.engine = type("Engine", (), {"used": Usage()})()
    opened = assistant.open

    def counted(photo: Photo, **options: Any) -> FakeChat:
        assistant.engine.used.add({"prompt_tokens": 1000, "completion_tokens": 100})
        return opened(photo, **options)

    assistant.open = counted  # type: ignore[method-assign]
    argv = ["locate", *(f"photos/{n}.png" for n in (40, 80, 120, 160, 240)), "--estimate", "--price", "3,15"]
    assert cli.main(argv) == 0
    said = capsys.readouterr().out
    assert "5 photos, 2 left" in said
    assert "1,000 tokens in and 100 out for each" in said
    assert "about 0.01 for the rest at 3 and 15 per million" in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["photos", "--out", "a.xlsx"], "ends in .csv, .parquet, .geojson, .kml, .jsonl"),
        (["photos", "--out", "none/a.csv"], "there is no folder none"),
        (["photos", "--out", "a.csv", "--out", "a.csv"], "need two files"),
        (["nowhere"], "no such file or folder"),
        (["photos", "--disclosure", "street"], "disclosure 'street' is not known"),
        (["photos", "--country", "XX"], "country 'XX' is not known"),
        (["photos", "--price", "free"], "--price"),
        (["photos", "--price=-1,2"], "not below zero"),
    ],
)
def test_what_cannot_be_is_told_before_a_model_is_loaded(
    argv: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "assemble", lambda **options: pytest.fail("a model was loaded"))
    assert cli.main(["locate", *argv]) == 2
    assert message in capsys.readouterr().err
