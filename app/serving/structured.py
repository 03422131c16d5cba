"""``response_format: json_schema``: the structured answer in whatever shape a client describes.

Nothing is generated: each property that the client names is filled from the answer, which disclosure has already
limited, so a schema cannot ask for more than words could. What a schema wants and an answer never has is refused before
any work is done; what this one answer lacks, where the schema wants it in any case, becomes a refusal in OpenAI's form.

The part of JSON Schema that is understood is that of OpenAI's strict mode, without patterns and recursion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gaea.app.serving.problems import invalid

MOST_STEPS, DEEPEST = 20_000, 24
# fmt: off
_KNOWN = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "oneOf", "$ref",
    "$defs", "definitions", "title", "description", "default", "examples", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength", "maxLength", "format", "$schema",
    "$id", "$comment",
})
# fmt: on
_LISTED = _KNOWN - {"$defs", "definitions"}

Json = Any
Schema = Mapping[str, Any]


class UnfitError(Exception):
    """A value that a schema wants is not there; the message names it."""


def specimen() -> dict[str, Json]:
    """An answer in which everything is given, to try a schema on."""
    place = {"name": "X", "distance_km": 1.0, "region": "X", "country": "X", "country_code": "XX", "continent": "X"}
    point = {"lat": 0.5, "lon": 0.5}
    shape = {"type": "Polygon", "coordinates": [[[0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [0.5, 0.5]]]}
    seen = {"kind": "similar", "text": "X", **point, "distance_km": 1.0, "similarity": 0.5, "source": "X"}
    return {
        "schema_version": 1,
        "question": "X",
        "text": "X",
        "point": point,
        "radius_km": {"50": 1.0, "90": 2.0},
        "region": {"50": shape, "90": shape},
        "place": {**place, "population": 1, "sources": ["X"]},
        "evidence": [{**seen, "credit": "X", "share": 0.5}],
        "abstained": False,
        "confidence": {"sure": "confident", "information_bits": 1.0, "area_km2": {"50": 1.0, "90": 2.0}},
        "alternatives": [{"label": "X", "probability": 0.5, "point": None, "place": None}],
        "file_claim": {**point, "taken": "X", "camera": "X", "distance_km": 1.0, "problems": ["X"]},
        "disclosure": "precise",
        "timings": {"total": 1.0},
        "provenance": {"model": "X"},
        "cells": [{"token": "X", "level": 1, "probability": 0.5}],
        "elsewhere": 0.5,
    }


def check(schema: Schema) -> None:
    """Refuse a schema that no answer can fill.

    Raises:
        ApiError: 400, naming the keyword or the property.
    """
    try:
        # A choice of words that does not hold the specimen's may hold the answer's.
        tried = specimen()
        _Shaper(schema, tried, lenient=True).shaped(schema, tried, "the answer", 0)
    except UnfitError as error:
        raise invalid(f"response_format: {error}", "response_format", "unsupported_schema") from None


def fill(schema: Schema, geolocation: Mapping[str, Json]) -> Json:
    """An answer in a client's shape.

    Raises:
        UnfitError: This answer lacks something that the schema wants.
    """
    return _Shaper(schema, geolocation).shaped(schema, geolocation, "the answer", 0)


def names(geolocation: Mapping[str, Json], name: str) -> list[Json]:
    """What a property of that name may mean, most likely first."""
    place, point = geolocation.get("place") or {}, geolocation.get("point") or {}
    radius, sure = geolocation.get("radius_km") or {}, geolocation.get("confidence") or {}
    meant = {
        ("answer", "description", "explanation", "reasoning", "response"): [geolocation.get("text")],
        ("lat", "latitude", "latitude_deg"): [point.get("lat")],
        ("lon", "lng", "long", "longitude", "longitude_deg"): [point.get("lon")],
        ("city", "town", "place_name", "nearest_place", "place"): [place.get("name")],
        ("region", "state", "province"): [place.get("region")],
        ("country", "country_name"): [place.get("country")],
        ("country_code", "iso_code"): [place.get("country_code")],
        ("continent",): [place.get("continent")],
        ("confidence", "sure", "certainty"): [sure.get("sure")],
        ("radius_km", "radius_90_km", "uncertainty_km"): [radius.get("90")],
        ("radius_50_km",): [radius.get("50")],
    }
    found = [geolocation[name]] if name in geolocation else []
    return found + [value for words, values in meant.items() if name.lower() in words for value in values]


@dataclasses.dataclass
class _Shaper:
    schema: Schema
    geolocation: Mapping[str, Json]
    lenient: bool = False
    steps: int = 0

    def shaped(self, schema: Any, value: Json, name: str, depth: int) -> Json:
        self.steps += 1
        if self.steps > MOST_STEPS or depth > DEEPEST:
            raise UnfitError("the schema is too large, too deep or refers to itself")
        if schema is True:
            return value
        if not isinstance(schema, Mapping):
            raise UnfitError(f"'{name[:80]}' is described by something that is no schema")
        unknown = sorted(set(schema) - (_KNOWN if depth == 0 else _LISTED))
        if unknown:
            raise UnfitError(f"the keyword '{unknown[0][:80]}' is not supported")
        if "$ref" in schema:
            return self.shaped(self._referred(schema["$ref"]), value, name, depth + 1)
        for options in ("anyOf", "oneOf"):
            if options in schema:
                return self._any(_listed(schema[options]), value, name, depth)
        kinds = schema.get("type", None)
        if isinstance(kinds, list):
            return self._any([{**schema, "type": kind} for kind in kinds], value, name, depth)
        shaped = self._of_kind(kinds, schema, value, name, depth)
        return self._among(schema, shaped, name)

    def _any(self, schemas: list[Any], value: Json, name: str, depth: int) -> Json:
        """The first that fits; null only where nothing else does."""
        last = UnfitError(f"'{name[:80]}' has no type")
        for schema in sorted(schemas, key=lambda each: isinstance(each, Mapping) and each.get("type") == "null"):
            null = isinstance(schema, Mapping) and schema.get("type") == "null"
            try:
                return None if null else self.shaped(schema, value, name, depth + 1)
            except UnfitError as error:
                last = error
        raise last

    def _of_kind(self, kind: Any, schema: Schema, value: Json, name: str, depth: int) -> Json:
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, value, depth, name)
        if kind == "array":
            return self._array(schema, value, name, depth)
        if kind is None:
            return value
        fits = {
            "string": isinstance(value, str),
            "boolean": isinstance(value, bool),
            "null": value is None,
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "integer": isinstance(value, int | float) and not isinstance(value, bool),
        }
        if not isinstance(kind, str) or kind not in fits:
            raise UnfitError(f"'{name[:80]}' has a type that JSON does not have")
        if not fits[kind]:
            raise UnfitError(f"there is no {kind} for '{name[:80]}'")
        if kind == "string":
            return self._text(schema, value, name)
        number = round(value) if kind == "integer" else value
        return self._bounded(schema, number, name) if kind in ("number", "integer") else value

    def _object(self, schema: Schema, value: Json, depth: int, name: str) -> dict[str, Json]:
        inner = value if isinstance(value, Mapping) else {}
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            raise UnfitError(f"the properties of '{name[:80]}' are no object")
        if not properties:
            if not isinstance(value, Mapping):
                raise UnfitError(f"there is no object for '{name[:80]}'")
            return dict(value) if schema.get("additionalProperties", True) is not False else {}
        required = _listed(schema.get("required", []))
        filled = {}
        for each, described in properties.items():
            try:
                filled[each] = self._property(each, described, inner, depth)
            except UnfitError:
                if each in required:
                    raise
        missing = [each for each in required if each not in filled]
        if missing:
            raise UnfitError(f"there is nothing for '{str(missing[0])[:80]}'")
        return filled

    def _property(self, name: str, schema: Any, inner: Mapping[str, Json], depth: int) -> Json:
        """The object's own value first, then what the name means, then, for a group, the whole answer."""
        options = [inner[name]] if name in inner else []
        options += names(self.geolocation, name) if inner is self.geolocation or name not in inner else []
        options += [self.geolocation, None]
        last = UnfitError(f"there is nothing for '{name[:80]}'")
        for value in (option for option in options if option is not None):
            if value is self.geolocation and not self._groups(schema):
                continue
            try:
                return self.shaped(schema, value, name, depth + 1)
            except UnfitError as error:
                last = error
        if self._nullable(schema):
            return None
        raise last

    def _groups(self, schema: Any) -> bool:
        """Whether a property only groups others, which are found in the whole answer."""
        if isinstance(schema, Mapping) and "$ref" in schema:
            schema = self._referred(schema["$ref"])
        return isinstance(schema, Mapping) and bool(schema.get("properties"))

    def _nullable(self, schema: Any) -> bool:
        if not isinstance(schema, Mapping):
            return False
        kinds = schema.get("type")
        options = [each for word in ("anyOf", "oneOf") for each in _listed(schema.get(word, []))]
        return kinds == "null" or (isinstance(kinds, list) and "null" in kinds) or {"type": "null"} in options

    def _array(self, schema: Schema, value: Json, name: str, depth: int) -> list[Json]:
        if not isinstance(value, list | tuple):
            raise UnfitError(f"there is no list for '{name[:80]}'")
        items = schema.get("items", True)
        most = schema.get("maxItems")
        kept = [self.shaped(items, each, name, depth + 1) for each in (value if most is None else value[: int(most)])]
        if len(kept) < int(schema.get("minItems", 0)):
            raise UnfitError(f"'{name[:80]}' has {len(kept)} items only")
        return kept

    def _text(self, schema: Schema, value: str, name: str) -> str:
        most = schema.get("maxLength")
        text = value if most is None else value[: int(most)]
        if len(text) < int(schema.get("minLength", 0)):
            raise UnfitError(f"'{name[:80]}' is too short")
        return text

    def _bounded(self, schema: Schema, value: float, name: str) -> float:
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum", value - 1), schema.get("exclusiveMaximum", value + 1)
        if not self.lenient and not (low <= value <= high and above < value < below):
            raise UnfitError(f"'{name[:80]}' is out of the range that is wanted")
        return value

    def _among(self, schema: Schema, value: Json, name: str) -> Json:
        allowed = [schema["const"]] if "const" in schema else schema.get("enum")
        if allowed is None:
            return value
        for each in _listed(allowed):
            same = each == value and isinstance(each, bool) == isinstance(value, bool)
            if same or (isinstance(each, str) and isinstance(value, str) and each.lower() == value.lower()):
                return each
        if self.lenient:
            return value
        raise UnfitError(f"'{name[:80]}' is none of the values that are wanted")

    def _referred(self, reference: Any) -> Any:
        parts = str(reference).split("/")
        if len(parts) != 3 or parts[0] != "#" or parts[1] not in ("$defs", "definitions"):
            raise UnfitError(f"the reference '{str(reference)[:80]}' does not point to #/$defs/…")
        listed = self.schema.get(parts[1])
        if not isinstance(listed, Mapping) or parts[2] not in listed:
            raise UnfitError(f"the reference '{str(reference)[:80]}' points nowhere")
        return listed[parts[2]]


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnfitError("a list is missing where the schema needs one")
    return value
