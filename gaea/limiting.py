"""An answer held to a level of disclosure: what it tells of the place is replaced by what its spot tells.

Everything that a reader could measure is replaced, not rounded: the point by that of the spot, the areas by whole cells
of the level, neighbours and the file's own claim by their own spots; distances between them are taken away, because
three of them tell a place. The words are held to the level by :mod:`gaea.discretion`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gaea import areas, cellsets
from gaea import cells as s2
from gaea.answer import Alternative, Answer, Evidence, FileClaim, Geometry
from gaea.disclosure import Level
from gaea.hilbert import CellArray
from gaea.outlined import covering
from gaea.region import Region
from gaea.sphere import EARTH_AREA_KM2
from gaea.spots import CELL_LEVEL, Spot, name_at, spot

_STEPS = (1.0, 2.0, 5.0, 10.0)


def limit(answer: Answer, level: Level | str) -> Answer:
    """The answer as it may be told at a level; an answer held to that level or a coarser one already stays as it is.

    The question stays, being the asker's own, and so do the words: hold those with
    :class:`gaea.discretion.Discretion` while they come.

    Raises:
        InputError: There is no such level.
    """
    level = Level.of(level)
    if level.rank <= Level.of(answer.disclosure).rank:
        return answer
    if level is Level.WITHHELD:
        return _withheld(answer)
    told = spot(answer.point.lat, answer.point.lon, level) if answer.point else None
    wide = told is not None and (answer.radius_km or {}).get(90, 0.0) > told.radius_km[90]
    region = {} if told is None else _regions(answer.region, told, level if wide else None)
    return dataclasses.replace(
        answer,
        point=told.point if told else None,
        radius_km=_radii(answer.radius_km, told) if told else None,
        region={mass: each.geojson() for mass, each in region.items()},
        place=told.place if told else None,
        evidence=tuple(_evidence(item, level) for item in answer.evidence if item.kind in ("similar", "dissimilar")),
        confidence=dataclasses.replace(
            answer.confidence,
            information_bits=_bits(answer.confidence.information_bits, region),
            area_km2={mass: each.area_km2 for mass, each in region.items()},
        ),
        # Of a place that is known to within the level, other countries would tell only how near the border is.
        alternatives=tuple(_alternative(other) for other in answer.alternatives) if wide else (),
        file_claim=_claim(answer.file_claim, level),
        disclosure=str(level),
    )


def _withheld(answer: Answer) -> Answer:
    return dataclasses.replace(
        answer,
        point=None,
        radius_km=None,
        region={},
        place=None,
        evidence=(),
        confidence=dataclasses.replace(answer.confidence, information_bits=None, area_km2={}),
        alternatives=(),
        file_claim=_claim(answer.file_claim, Level.WITHHELD),
        disclosure=str(Level.WITHHELD),
    )


def _radii(radius_km: Mapping[int, float] | None, told: Spot) -> dict[int, float]:
    """Radii of the spot; of a belief wider than that, rounded up and widened by the spot's own."""
    held = dict(told.radius_km)
    for mass, own_km in (radius_km or {}).items():
        if own_km > told.radius_km[90]:
            held[mass] = max(held[mass], _rounded_up(own_km + told.radius_km[90]))
    held[90] = max(held.values())
    return held


def _rounded_up(km: float) -> float:
    power = 10.0 ** math.floor(math.log10(km))
    return next(step * power for step in _STEPS if step * power >= km)


def _regions(regions: Mapping[int, Geometry], told: Spot, level: Level | None) -> dict[int, Region]:
    """The spot's cells, and, of areas wider than those, what lies beyond them in whole cells of the level."""
    held: dict[int, Region] = {}
    for mass in sorted(regions):
        cells = cellsets.union(told.cells)
        if level is not None:
            cells = cellsets.union(np.append(cells, _beyond(regions[mass], cells, CELL_LEVEL[level])))
        held[mass] = Region(cells, mass / 100, float(s2.area_km2(cells).sum()))
    return held


def _beyond(geometry: Geometry, known: CellArray, level: int) -> CellArray:
    """Cells that an area reaches outside of known ones; none where the known ones hold it."""
    cells = covering(geometry, level)
    _, held = cellsets.overlay([cells, known])
    if not ((held[0] >= 0) & (held[1] < 0)).any():
        return np.zeros(0, np.uint64)
    outside = np.unique(held[0][(held[0] >= 0) & (held[1] < 0)])
    return areas.coarsened(cells[outside], level)


def _bits(bits: float | None, region: Mapping[int, Region]) -> float | None:
    """What is told cannot tell more than its own area does."""
    if bits is None or not region:
        return None
    return min(bits, math.log2(EARTH_AREA_KM2 / max(region[max(region)].area_km2, 1.0)))


def _evidence(item: Evidence, level: Level) -> Evidence:
    """A neighbour by the name of its own spot.

    Captions and credits may tell more than that, and its share of the point depends on how far it lies from there.
    """
    name, point = ("a picture", None) if item.lat is None or item.lon is None else name_at(item.lat, item.lon, level)
    return dataclasses.replace(
        item,
        text=name,
        lat=point.lat if point else None,
        lon=point.lon if point else None,
        distance_km=None,
        credit=None,
        share=None,
    )


def _alternative(other: Alternative) -> Alternative:
    """Names of countries, which is what they are made of; nothing finer that might be added."""
    place = other.place and dataclasses.replace(
        other.place, name=None, distance_km=None, region=None, population=None, sources=()
    )
    label = other.label if place is None else place.country or place.continent or "elsewhere"
    return Alternative(label, round(other.probability, 2), None, place)


def _claim(claim: FileClaim | None, level: Level) -> FileClaim | None:
    """The file's claim as its own spot.

    A clock's time zone and what is odd about a file tell places, too; and a camera's name is whatever somebody wrote.
    """
    if claim is None:
        return None
    point = None
    if claim.lat is not None and claim.lon is not None and level is not Level.WITHHELD:
        point = spot(claim.lat, claim.lon, level).point
    return FileClaim(
        lat=point.lat if point else None,
        lon=point.lon if point else None,
        taken=_without_zone(claim.taken),
    )


def _without_zone(taken: str | None) -> str | None:
    return taken[:19] if taken else None


def told_of(answer: Answer, level: Level, precise: Answer) -> dict[str, Any]:
    """Facts, radii and alternatives for the briefing of a limited answer; see :class:`gaea.briefing.Briefing`.

    Args:
        answer: As limited.
        level: To which.
        precise: What it was limited from.
    """
    if answer.point is None or precise.point is None or level is Level.WITHHELD:
        return {"facts": (), "radius_km": None, "alternatives": ()}
    radii = answer.radius_km or {}
    return {
        "facts": spot(precise.point.lat, precise.point.lon, level).facts,
        "radius_km": (radii[50], radii[90]),
        "alternatives": tuple((other.label, other.probability) for other in answer.alternatives),
    }
