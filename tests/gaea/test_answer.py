"""The answer survives JSON, matches its published schema, and refuses what cannot be an answer."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from gaea.answer import (
    Alternative,
    Answer,
    Confidence,
    Evidence,
    FileClaim,
    Place,
    Point,
    schema,
)
from gaea.errors import InputError


def square(lat: float, lon: float, half: float) -> dict[str, Any]:
    west, east, south, north = lon - half, lon + half, lat - half, lat + half
    return {
        "type": "MultiPolygon",
        "coordinates": [[[[west, south], [east, south], [east, north], [west, north], [west, south]]]],
    }


def full_answer() -> Answer:
    place = Place("Chamonix", 4.2, "Haute-Savoie", "France", "FR", "Europe", 8906, ("GeoNames",))
    return Answer(
        question="Where is this?",
        text="In the French Alps, near Chamonix.",
        point=Point(45.9, 6.9),
        radius_km={50: 12.5, 90: 80.0},
        region={50: square(45.9, 6.9, 0.1), 90: square(45.9, 6.9, 0.7)},
        place=place,
        evidence=(
            Evidence("similar", "snow and granite", 45.8, 6.8, 13.2, 0.91, "nano gallery", "NASA"),
            Evidence("dissimilar", "red desert", -24.0, 133.0, 14500.0, -0.2),
            Evidence("fact", "France drives on the right", source="countries"),
        ),
        confidence=Confidence("fairly sure", 15.4, {50: 490.0, 90: 20_100.0}),
        alternatives=(Alternative("Zermatt, Switzerland", 0.1, Point(46.0, 7.7), place),),
        file_claim=FileClaim(45.92, 6.87, "2021-07-01T12:00:00", "Canon EOS", 3.1, ("GPSLatitudeRef is missing",)),
        timings={"encode": 0.05},
        provenance={"model": "nano", "photo_sha256": "0" * 64, "versions": {"gaea": "0.1.0"}},
    )


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


@pytest.mark.parametrize("answer", [full_answer(), Answer("Where?", "I cannot tell.", abstained=True)])
def test_round_trip_through_json_and_schema(answer: Answer, validator: Draft202012Validator) -> None:
    document = json.loads(answer.to_json())
    validator.validate(document)
    assert Answer.from_dict(document) == answer


def test_json_has_the_documented_form() -> None:
    document = full_answer().to_dict()
    assert document["point"] == {"lat": 45.9, "lon": 6.9}
    assert document["radius_km"] == {"50": 12.5, "90": 80.0}
    assert document["region"]["90"]["type"] == "MultiPolygon"
    assert document["abstained"] is False
    nothing = Answer("q", "t").to_dict()
    assert nothing["point"] is None
    assert nothing["radius_km"] is None


def test_numpy_values_become_plain_json(validator: Draft202012Validator) -> None:
    answer = Answer("q", "t", point=Point(np.float64(1.5), np.float32(2.5)), timings={"all": np.float32(0.5)})  # type: ignore[arg-type]
    document = json.loads(answer.to_json())
    validator.validate(document)
    assert document["timings"] == {"all": 0.5}


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 1e4), st.floats(0, 1e4), st.text(), st.text())
def test_any_point_and_text_round_trips(
    lat: float, lon: float, near: float, more: float, question: str, text: str
) -> None:
    answer = Answer(question, text, point=Point(lat, lon), radius_km={50: near, 90: near + more})
    assert Answer.from_dict(json.loads(answer.to_json())) == answer


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("point", "lat"), 91),
        (("point", "lat"), "45.9"),
        (("radius_km",), {"50": 1.0}),
        (("radius_km", "50"), -1),
        (("confidence", "sure"), "certain"),
        (("evidence", 0, "kind"), "rumour"),
        (("evidence", 0, "extra"), 1),
        (("unknown",), 1),
        (("region", "90", "type"), "Point"),
        (("region", "75"), square(0, 0, 1)),
        (("region", "50", "coordinates", 0, 0), [[0, 0], [1, 1], [0, 0]]),
        (("place", "country_code"), "France"),
        (("alternatives", 0, "probability"), 1.5),
        (("timings", "encode"), -0.1),
        (("provenance", "photo_sha256"), "abc"),
        (("schema_version",), 2),
        (("abstained",), None),
    ],
)
def test_schema_refuses(path: tuple[str | int, ...], value: object, validator: Draft202012Validator) -> None:
    document: Any = copy.deepcopy(full_answer().to_dict())
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ValidationError):
        validator.validate(document)


@pytest.mark.parametrize("name", sorted(full_answer().to_dict()))
def test_schema_needs_every_field(name: str, validator: Draft202012Validator) -> None:
    document = full_answer().to_dict()
    del document[name]
    with pytest.raises(ValidationError):
        validator.validate(document)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Point(90.01, 0),
        lambda: Point(0, float("nan")),
        lambda: Evidence("hearsay", "x"),  # type: ignore[arg-type]
        lambda: Evidence("similar", "x", lat=1.0),
        lambda: Confidence("sure"),  # type: ignore[arg-type]
        lambda: Confidence("unsure", area_km2={75: 1.0}),
        lambda: FileClaim(lat=95.0, lon=0.0),
        lambda: Answer("q", "t", radius_km={50: 2.0, 90: 1.0}),
        lambda: Answer("q", "t", radius_km={50: 2.0}),
        lambda: Answer.from_dict({"question": "q", "text": "t", "colour": "red"}),
        lambda: Answer.from_dict({"text": "t"}),
        lambda: Answer.from_dict({**full_answer().to_dict(), "schema_version": 7}),
    ],
)
def test_impossible_values_are_refused_in_one_line(build: Any) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "label"),
    [
        (Place("Windsor", 3.0, "Ontario", "Canada"), "near Windsor, Ontario, Canada"),
        (Place("Windsor", 0.2, "Ontario", "Canada"), "Windsor, Ontario, Canada"),
        (Place("Windsor", 1234.0, "Ontario", "Canada"), "1,234 km from Windsor, Ontario, Canada"),
        (Place("Singapore", None, "Singapore", "Singapore"), "Singapore"),
        (Place(country="Mali"), "Mali"),
        (Place(continent="Antarctica"), "Antarctica"),
        (Place(), "open ocean"),
    ],
)
def test_place_label(place: Place, label: str) -> None:
    assert place.label == label


def test_nan_never_reaches_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Answer("q", "t", timings={"all": float("nan")}).to_json()


def test_importing_answers_loads_no_framework() -> None:
    code = "import sys, gaea.answer; print([m for m in ('torch', 'transformers', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
