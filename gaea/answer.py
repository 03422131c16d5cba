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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

import numpy as np

from gaea.errors import InputError
from gaea.findings import (
    MASSES,
    Alternative,
    Confidence,
    Evidence,
    EvidenceKind,
    FileClaim,
    Place,
    Point,
    Sure,
    by_mass,
)

__all__ = [
    "MASSES",
    "Alternative",
    "Answer",
    "Confidence",
    "Evidence",
    "EvidenceKind",
    "FileClaim",
    "Geometry",
    "Place",
    "Point",
    "Sure",
    "schema",
]

Geometry = dict[str, Any]

SCHEMA_VERSION = 1

_T = TypeVar("_T")


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
            radius_km = by_mass("radius_km", self.radius_km)
            if tuple(sorted(radius_km)) != MASSES or radius_km[50] > radius_km[90]:
                raise InputError(
                    f"radius_km is {radius_km}; expected 50 and 90 % radii, the first not above the second"
                )
            object.__setattr__(self, "radius_km", radius_km)
        object.__setattr__(self, "region", by_mass("region", self.region))
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


_SCALARS = frozenset({float, str, int, bool, type(None)})


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
    if type(value) in _SCALARS:  # nearly all of it: the corners of regions
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
