"""The groups that every result is also told by: where on the Earth, in which climate, among how many people.

All of them follow from the true place alone, so that every benchmark with coordinates has them; a benchmark's own
groups (scene, household income, land cover) are added to these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gaea import places
from gaea.eval.records import Item
from gaea.gazetteer import gazetteer

CLIMATES = {"A": "tropical", "B": "arid", "C": "temperate", "D": "continental", "E": "polar"}
"""Main classes of Köppen and Geiger."""

AROUND_KM = 25.0
TOWNS = 40
_BANDS = ((1.0, "under 1"), (10.0, "1 to 10"), (100.0, "10 to 100"), (1000.0, "100 to 1000"))


def with_strata(items: Sequence[Item]) -> tuple[Item, ...]:
    """Add ``continent``, ``hemisphere``, ``climate``, ``people per km²`` and ``coast`` where the truth is a point.

    What an item already says of a group stays. At sea there is no continent; nor is there a climate far from land.
    People are those of GeoNames' towns within 25 km (of the 40 nearest), over the area of that circle.
    """
    placed = [index for index, item in enumerate(items) if item.truth.point is not None]
    if not placed:
        return tuple(items)
    lat, lon = np.array([items[index].truth.point for index in placed], float).T
    told = {
        "continent": np.where((names := places.continent_names(lat, lon)) == "", "at sea", names).tolist(),
        "hemisphere": [
            f"{'north' if a >= 0 else 'south'} {'east' if o >= 0 else 'west'}" for a, o in zip(lat, lon, strict=True)
        ],
        "climate": [CLIMATES.get(code[:1], "none") for code in places.climate_codes(lat, lon).tolist()],
        "people per km²": _crowds(lat, lon),
    }
    found = list(items)
    for row, index in enumerate(placed):
        own = items[index].strata
        found[index] = dataclasses.replace(
            items[index], strata={name: each[row] for name, each in told.items()} | dict(own)
        )
    return tuple(found)


def _crowds(lat: np.ndarray, lon: np.ndarray) -> list[str]:
    towns = gazetteer()
    near, away_km = towns.nearest(lat, lon, TOWNS)
    people = np.where(away_km <= AROUND_KM, towns.population[near], 0).sum(axis=1)
    density = people / (np.pi * AROUND_KM**2)
    return [next((name for most, name in _BANDS if each < most), "over 1000") for each in density.tolist()]
