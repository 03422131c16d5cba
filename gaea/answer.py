"""What GAEA says about a photo: one frozen value that is printed, drawn, streamed and scored.

Words, a point, an honest area around it, and the evidence. Regions are GeoJSON geometries (lon, lat order, RFC 7946);
everything else is (lat, lon) in WGS84 degrees, distances in km, areas in km². Masses are whole percents:
``radius_km[90]`` is the radius around the point that holds 90 % of the belief. In JSON these keys are strings.

The published JSON schema is ``answer.schema.json`` beside this module; :func:`schema` loads it. This module knows no
model and no map: it only refuses values that cannot be an answer.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from gaea.errors import InputError

Sure = Literal["confident", "fairly sure", "unsure", "cannot tell"]
EvidenceKind = Literal["similar", "dissimilar", "fact", "token"]
Geometry = dict[str, Any]

MASSES = (50, 90)
SCHEMA_VERSION = 1

_T = TypeVar("_T")


@dataclass(frozen=True)
class Point:
    """A place on Earth, WGS84 degrees.

    Raises:
        InputError: A coordinate is not a number or out of range.
    """

    lat: float
    lon: float

    def __post_init__(self) -> None:
        _check_coordinates("point", self.lat, self.lon)


@dataclass(frozen=True)
class Place:
    """The nearest named place, and what lies around it. Unknown fields are None, never guessed.

    Attributes:
        name: The nearest populated place.
        distance_km: From the answer's point to it.
        region: First-level administrative region.
        country_code: ISO 3166-1 alpha-2.
        sources: Where each of these facts comes from.
    """

    name: str | None = None
    distance_km: float | None = None
    region: str | None = None
    country: str | None = None
    country_code: str | None = None
    continent: str | None = None
    population: int | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))

    @property
    def label(self) -> str:
        """One line for a reader: ``near Windsor, Ontario, Canada``; the words "open ocean" where nothing is known."""
        parts = [part for part in (self.name, self.region, self.country) if part]
        parts = [part for i, part in enumerate(parts) if part not in parts[:i]] or [self.continent or "open ocean"]
        if self.name is None or self.distance_km is None or self.distance_km < 1:
            return ", ".join(parts)
        near = "near" if self.distance_km < 10 else f"{self.distance_km:,.0f} km from"
        return f"{near} {', '.join(parts)}"


@dataclass(frozen=True)
class Evidence:
    """One reason for the answer: a neighbour that looks alike, one that does not, a fact, or a decoded cell.

    Attributes:
        kind: ``similar`` and ``dissimilar`` neighbours, a ``fact`` of the place, or a ``token`` path of the decoder.
        text: One line for a reader. Untrusted: captions come from galleries.
        distance_km: From the answer's point, where both are known.
        similarity: Cosine similarity with the query, -1 to 1.
        source: The data set or gallery.
        credit: Who must be named when it is shown.
    """

    kind: EvidenceKind
    text: str
    lat: float | None = None
    lon: float | None = None
    distance_km: float | None = None
    similarity: float | None = None
    source: str | None = None
    credit: str | None = None

    def __post_init__(self) -> None:
        _check_word("evidence kind", self.kind, get_args(EvidenceKind))
        _check_pair("evidence", self.lat, self.lon)


@dataclass(frozen=True)
class Alternative:
    """Somewhere else it could be, and how likely that is (0 to 1)."""

    label: str
    probability: float
    point: Point | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Confidence:
    """How sure, in a word and in numbers.

    Attributes:
        sure: The word.
        information_bits: How much the photo told: log2 of the Earth's area over the belief's effective area.
        area_km2: Area of the smallest region that holds 50 and 90 % of the belief.
    """

    sure: Sure
    information_bits: float | None = None
    area_km2: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_word("confidence", self.sure, get_args(Sure))
        object.__setattr__(self, "area_km2", _by_mass("area_km2", self.area_km2))


@dataclass(frozen=True)
class FileClaim:
    """What the file's own metadata says: shown beside the answer, never used to find it.

    Attributes:
        taken: Local time as the camera wrote it, ISO 8601.
        camera: Make and model.
        distance_km: From the claimed position to the answer's point.
        problems: What is odd about the metadata, one line each.
    """

    lat: float | None = None
    lon: float | None = None
    taken: str | None = None
    camera: str | None = None
    distance_km: float | None = None
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_pair("file claim", self.lat, self.lon)
        object.__setattr__(self, "problems", tuple(self.problems))


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one photo.

    Attributes:
        point: None when the answer abstains, or when disclosure forbids one.
        radius_km: Great-circle radius around the point holding 50 and 90 % of the belief; None without a point.
        region: GeoJSON geometry of the smallest region holding 50 and 90 %, keyed by mass; empty when not known.
        abstained: The belief was too wide for a point.
        disclosure: The finest level this answer was allowed to speak at; ``precise`` is unlimited.
        timings: Seconds per stage.
        provenance: What produced it: model, adapter, index, versions, hash of the photo.
    """

    question: str
    text: str
    point: Point | None = None
    radius_km: Mapping[int, float] | None = None
    region: Mapping[int, Geometry] = field(default_factory=dict)
    place: Place | None = None
    evidence: tuple[Evidence, ...] = ()
    abstained: bool = False
    confidence: Confidence = field(default_factory=lambda: Confidence("cannot tell"))
    alternatives: tuple[Alternative, ...] = ()
    file_claim: FileClaim | None = None
    disclosure: str = "precise"
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.radius_km is not None:
            radius_km = _by_mass("radius_km", self.radius_km)
            if tuple(sorted(radius_km)) != MASSES or radius_km[50] > radius_km[90]:
                raise InputError(
                    f"radius_km is {radius_km}; expected 50 and 90 % radii, the first not above the second"
                )
            object.__setattr__(self, "radius_km", radius_km)
        object.__setattr__(self, "region", _by_mass("region", self.region))
        object.__setattr__(self, "evidence", tuple(self.evidence))
        object.__setattr__(self, "alternatives", tuple(self.alternatives))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of ``answer.schema.json``: only dict, list, str, int, float, bool and None."""
        plain: dict[str, Any] = _plain(self)
        return {"schema_version": SCHEMA_VERSION, **plain}

    def to_json(self, *, indent: int | None = 2) -> str:
        """JSON text, UTF-8 characters kept; a NaN or infinity anywhere is refused with a ValueError."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Answer:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            InputError: A field is missing, unknown or holds what it cannot.
        """
        fields = dict(data)
        version = fields.pop("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise InputError(f"answer has schema_version {version!r}; this program reads {SCHEMA_VERSION}: upgrade it")
        for name, kind in (("point", Point), ("place", Place), ("confidence", Confidence), ("file_claim", FileClaim)):
            if fields.get(name) is not None:
                fields[name] = _build(kind, fields[name])
        fields["evidence"] = tuple(_build(Evidence, item) for item in fields.get("evidence", ()))
        fields["alternatives"] = tuple(_alternative(item) for item in fields.get("alternatives", ()))
        return _build(cls, fields)


def schema() -> dict[str, Any]:
    """The published JSON schema (draft 2020-12) of :meth:`Answer.to_dict`."""
    text = resources.files("gaea").joinpath("answer.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _alternative(data: Mapping[str, Any]) -> Alternative:
    fields = dict(data)
    for name, kind in (("point", Point), ("place", Place)):
        if fields.get(name) is not None:
            fields[name] = _build(kind, fields[name])
    return _build(Alternative, fields)


def _build(kind: type[_T], data: Mapping[str, Any]) -> _T:
    try:
        return kind(**data)
    except TypeError as error:
        raise InputError(f"not a valid {kind.__name__.lower()}: {error}; compare it with answer.schema.json") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _by_mass(name: str, values: Mapping[Any, _T]) -> dict[int, _T]:
    # JSON keys are strings; in Python a mass is a number.
    keyed = {int(key): value for key, value in values.items()}
    if not set(keyed) <= set(MASSES):
        raise InputError(f"{name} has masses {sorted(keyed)}; expected percents out of {list(MASSES)}")
    return keyed


def _check_coordinates(what: str, lat: float, lon: float) -> None:
    if not (math.isfinite(lat) and math.isfinite(lon) and -90 <= lat <= 90 and -180 <= lon <= 180):
        raise InputError(f"{what} is ({lat}, {lon}); expected latitude -90 to 90 and longitude -180 to 180 degrees")


def _check_pair(what: str, lat: float | None, lon: float | None) -> None:
    if (lat is None) != (lon is None):
        raise InputError(f"{what} has only one of latitude and longitude; give both or neither")
    if lat is not None and lon is not None:
        _check_coordinates(what, lat, lon)


def _check_word(what: str, word: str, allowed: Sequence[str]) -> None:
    if word not in allowed:
        raise InputError(f"{what} is {word!r}; expected one of {', '.join(allowed)}")
