"""Answers in shapes that clients describe: filled from the answer, or refused."""

from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gaea.app.serving.geolocation import described
from gaea.app.serving.problems import ApiError
from gaea.app.serving.structured import UnfitError, check, fill, specimen

ANSWER = {
    **specimen(),
    "text": "This may be in Chad.",
    "point": {"lat": 18.0, "lon": 19.25},
    "place": {**specimen()["place"], "name": "Faya", "country": "Chad", "country_code": "TD"},
}
ABSTAINED = {**ANSWER, "point": None, "radius_km": None, "place": None, "region": {}, "abstained": True, "cells": []}


class Spot(BaseModel):
    lat: float = Field(ge=-90, le=90)
    lon: float


class Report(BaseModel):
    answer: str
    country: str | None
    continent: Literal["Africa", "X"]
    where: Spot
    coordinates: Spot | None
    confidence: Literal["confident", "fairly sure", "unsure", "cannot tell"]
    radius_km: float
    zoom: int | None
    abstained: bool
    evidence: list[dict[str, Any]] = Field(max_length=1)


def test_a_pydantic_model_of_ones_own() -> None:
    schema = Report.model_json_schema()
    check(schema)
    filled = fill(schema, ANSWER)
    jsonschema.validate(filled, schema)
    report = Report.model_validate(filled)
    assert (report.answer, report.country, report.where) == ("This may be in Chad.", "Chad", Spot(lat=18.0, lon=19.25))
    assert report.zoom is None
    assert report.radius_km == 2.0


def test_what_this_answer_lacks_is_null_or_refused() -> None:
    with pytest.raises(UnfitError, match="lat"):
        fill(Spot.model_json_schema(), ABSTAINED)
    schema = {"type": "object", "properties": {"lat": {"type": ["number", "null"]}}, "required": ["lat"]}
    assert fill(schema, ABSTAINED) == {"lat": None}
    assert fill({**schema, "required": [], "properties": {"lat": {"type": "number"}}}, ABSTAINED) == {}


def test_the_published_schema_is_filled_with_the_answer_itself() -> None:
    schema = described()
    with pytest.raises(ApiError, match="is not supported"):  # patterns and the like, in the whole schema
        check({**schema, "patternProperties": {}})
    jsonschema.validate(json.loads(json.dumps(specimen())), schema)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "object", "properties": {"planet": {"type": "string"}}, "required": ["planet"]}, "planet"),
        ({"type": "object", "properties": {}, "required": ["planet"]}, None),
        (
            {"type": "object", "properties": {"lat": {"type": "string", "pattern": "(a+)+$"}}, "required": ["lat"]},
            "pattern",
        ),
        ({"$ref": "#"}, "#"),
        ({"$ref": "http://127.0.0.1/schema.json"}, "127.0.0.1"),
        ({"$ref": "file:///etc/passwd"}, "passwd"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "refers to itself"),
        ({"type": "object", "properties": {"lat": {"type": "place"}}, "required": ["lat"]}, "lat"),
        ({"type": "object", "properties": 3}, "properties"),
        ({"anyOf": 3}, "list"),
        ({"allOf": [{}]}, "allOf"),
        ({"type": "array", "items": {"type": "string"}}, "list"),
    ],
)
def test_schemas_that_no_answer_fills(schema: dict[str, Any], named: str | None) -> None:
    if named is None:
        check(schema)
        return
    with pytest.raises(ApiError) as caught:
        check(schema)
    assert (caught.value.status, caught.value.param) == (400, "response_format")
    assert named in str(caught.value)


def test_a_bomb_of_references_ends_soon() -> None:
    defs: dict[str, Any] = {f"d{k}": {"anyOf": [{"$ref": f"#/$defs/d{k + 1}"}] * 9} for k in range(12)}
    defs["d12"] = {"type": "object", "properties": {"planet": {"type": "string"}}, "required": ["planet"]}
    with pytest.raises(ApiError, match="too large"):
        check({"$ref": "#/$defs/d0", "$defs": defs})


SCALARS = st.sampled_from(
    [{"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}, {"type": ["string", "null"]}, {}]
)
NAMES = st.sampled_from(
    ["lat", "lon", "country", "city", "text", "answer", "point", "place", "evidence", "other", "cells"]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(
            lambda p, r: {
                "type": "object",
                "properties": p,
                "required": sorted(set(p) & r),
                "additionalProperties": False,
            },
            st.dictionaries(NAMES, inner, max_size=4),
            st.sets(NAMES),
        ),
        st.builds(lambda i: {"type": "array", "items": i, "maxItems": 2}, inner),
        st.builds(lambda a: {"anyOf": a}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(SCHEMAS, st.sampled_from([ANSWER, ABSTAINED]))
def test_what_is_filled_is_valid(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    try:
        filled = fill(schema, answer)
    except UnfitError:
        return
    jsonschema.validate(filled, schema)
