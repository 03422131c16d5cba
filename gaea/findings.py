"""The parts of an answer: a point, a place, a piece of evidence, how sure, and what the file itself claims.

Small frozen values that refuse what cannot be: a latitude of 95, a likeness nobody named, half a position. Coordinates
are WGS84 degrees, distances great-circle km, areas km²; a mass is a whole percent of the belief.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from gaea.errors import InputError

Sure = Literal["confident", "fairly sure", "unsure", "cannot tell"]
EvidenceKind = Literal["similar", "dissimilar", "fact", "token"]

MASSES = (50, 90)

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
        share: How much of the probability at the answer's point rests on it, 0 to 1; None where that is not known.
    """

    kind: EvidenceKind
    text: str
    lat: float | None = None
    lon: float | None = None
    distance_km: float | None = None
    similarity: float | None = None
    source: str | None = None
    credit: str | None = None
    share: float | None = None

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
        object.__setattr__(self, "area_km2", by_mass("area_km2", self.area_km2))


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


def by_mass(name: str, values: Mapping[Any, _T]) -> dict[int, _T]:
    """Values keyed by whole percents, whether the keys came as numbers or, from JSON, as strings."""
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
