"""GeoJSON that other programs read, and files that are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import Point as ShapelyPoint
from shapely.geometry import shape

from gaea.answer import Alternative, Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.app.export import geojson, write_geojson, write_text
from gaea.errors import InputError


def square(lat: float, lon: float, half: float) -> dict[str, Any]:
    west, east, south, north = lon - half, lon + half, lat - half, lat + half
    return {
        "type": "MultiPolygon",
        "coordinates": [[[[west, south], [east, south], [east, north], [west, north], [west, south]]]],
    }


@pytest.fixture
def answer() -> Answer:
    return Answer(
        question="Where is this?",
        text="In the Alps.",
        point=Point(45.9, 6.9),
        radius_km={50: 10.0, 90: 60.0},
        region={50: square(45.9, 6.9, 0.1), 90: square(45.9, 6.9, 0.5)},
        place=Place("Chamonix", 3.0, "Haute-Savoie", "France", "FR"),
        evidence=(
            Evidence("similar", "peaks", 46.0, 7.0, 13.0, 0.9, "gallery", "NASA"),
            Evidence("dissimilar", "dunes", -24.0, 133.0),
            Evidence("fact", "drives on the right"),
        ),
        confidence=Confidence("confident", 20.0, {50: 400.0, 90: 9000.0}),
        alternatives=(Alternative("Zermatt", 0.2, Point(46.0, 7.7)), Alternative("elsewhere", 0.1)),
        file_claim=FileClaim(45.5, 6.5, camera="Canon", distance_km=54.0),
    )


def by_role(collection: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [feature for feature in collection["features"] if feature["properties"]["role"] == role]


def test_every_part_is_a_feature_in_lon_lat_order(answer: Answer) -> None:
    collection = json.loads(json.dumps(geojson(answer)))
    assert collection["type"] == "FeatureCollection"
    (point,) = by_role(collection, "answer")
    assert point["geometry"] == {"type": "Point", "coordinates": [6.9, 45.9]}
    assert point["properties"]["radius_km_90"] == 60.0
    assert point["properties"]["place"] == "near Chamonix, Haute-Savoie, France"
    assert [region["properties"]["mass"] for region in by_role(collection, "region")] == [90, 50]
    assert all(shape(region["geometry"]).contains(ShapelyPoint(6.9, 45.9)) for region in by_role(collection, "region"))
    assert [item["properties"]["kind"] for item in by_role(collection, "neighbour")] == ["similar", "dissimilar"]
    assert by_role(collection, "neighbour")[1]["geometry"]["coordinates"] == [133.0, -24.0]
    (claim,) = by_role(collection, "file claim")
    assert claim["geometry"]["coordinates"] == [6.5, 45.5]
    assert len(by_role(collection, "alternative")) == 1
    assert len(collection["features"]) == 7


def test_a_conversation_shares_what_it_shares(answer: Answer) -> None:
    other = Answer.from_dict({**answer.to_dict(), "question": "What else?"})
    collection = geojson([answer, other])
    assert len(by_role(collection, "answer")) == 2
    assert len(collection["features"]) == 8
    assert [feature["properties"]["role"] for feature in collection["features"]][:2] == ["region", "region"]


def test_an_abstention_is_an_empty_collection() -> None:
    assert geojson(Answer("Where?", "I cannot tell.", abstained=True)) == {"type": "FeatureCollection", "features": []}


def test_written_file_reads_back(answer: Answer, tmp_path: Path) -> None:
    path = write_geojson(answer, tmp_path / "answer.geojson")
    assert json.loads(path.read_text(encoding="utf-8")) == geojson(answer)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "answer.html"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_targets_are_one_line(tmp_path: Path) -> None:
    for target in (tmp_path / "missing" / "answer.html", tmp_path):
        with pytest.raises(InputError, match="cannot be written") as caught:
            write_text(target, "text")
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
