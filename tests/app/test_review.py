"""The review: nothing is written without a yes, nothing twice, and nothing that a photo says can run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from gaea.answer import Answer, Confidence, Evidence, Place, Point
from gaea.app import sidecar
from gaea.app.listing import Listed, photos
from gaea.app.review import Review, card
from gaea.errors import InputError
from gaea.rag.sources.xmp import read_sidecar

NASTY = '<img src=x onerror="alert(1)">'
ANSWER = Answer(
    question="?",
    text="",
    point=Point(45.9237, 6.8694),
    radius_km={50: 10.0, 90: 60.0},
    place=Place("Chamonix", 0.0, NASTY, "France", "FR"),
    evidence=(Evidence("similar", NASTY, 46.0, 7.0, 13.0, 0.91, "gallery", "NASA"),),
    confidence=Confidence("unsure"),
)


@pytest.fixture
def listed(tmp_path: Path) -> list[Listed]:
    for number in range(4):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{number}.png")
    sidecar.path_of(tmp_path / "3.png").write_bytes(sidecar.packet(1.0, 2.0, 1.0))
    return photos([str(tmp_path)])


def found(listed: list[Listed]) -> list[tuple[Listed, Answer]]:
    return [(one, ANSWER if one.path.stem != "2" else Answer(question="?", text="", abstained=True)) for one in listed]


def test_only_what_can_be_decided_is_asked(listed: list[Listed]) -> None:
    review = Review.of(found(listed))
    assert [one.path.name for one, _ in review.open] == ["0.png", "1.png"]
    assert list(review.skipped.values()) == ["no point", "3.png.xmp has a position already"]


def test_accepted_places_are_written_and_rejected_ones_are_not(listed: list[Listed], tmp_path: Path) -> None:
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.glob("*.png")}
    review = Review.of(found(listed))
    assert review.next() == 0
    assert not (tmp_path / "0.png.xmp").exists()
    assert "accepted, wrote 0.png.xmp" in review.decide(0, "accepted")
    assert review.next() == 1
    assert "rejected, nothing written" in review.decide(1, "rejected")
    assert review.next() is None
    assert review.decide(1, "accepted").endswith("was rejected already")
    assert read_sidecar(tmp_path / "0.png.xmp").lat == pytest.approx(45.9237, abs=1e-5)
    assert not (tmp_path / "1.png.xmp").exists()
    assert review.summary().startswith("1 accepted, 1 rejected, 0 to look at, 2 not asked about")
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.glob("*.png")} == before
    assert [one.path.name for one, _ in Review.of(found(listed)).open] == ["1.png"]  # the next run


def test_a_place_that_came_in_the_meantime_is_kept(listed: list[Listed], tmp_path: Path) -> None:
    review = Review.of(found(listed))
    sidecar.path_of(tmp_path / "0.png").write_bytes(sidecar.packet(10.0, 20.0, 1.0))
    with pytest.raises(InputError, match="has a position already"):
        review.decide(0, "accepted")
    assert review.next() == 0
    assert read_sidecar(tmp_path / "0.png.xmp").lat == 10.0


def test_the_card_shows_photo_map_radius_and_evidence_and_runs_nothing(listed: list[Listed]) -> None:
    shown = card(listed[0], ANSWER)
    assert shown.count("<svg") >= 2
    assert 'src="data:image/jpeg;base64,' in shown
    assert "60 km" in shown
    assert "45.92° N, 6.87° E" in shown or "45.924° N" in shown or "45.9" in shown
    assert "looks similar" in shown
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown
