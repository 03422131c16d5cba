"""Towns and cities of more than 5,000 people: the nearest ones to a point, and the ones of a given name.

The list is GeoNames', packed by ``gaea.finetune.atlas`` so that it loads in a fraction of a second. A search walks
down the S2 hierarchy: the towns that can be nearest to any point of a cell are among those of its parent, so each
point ends up compared with a few hundred towns, and the result is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.countries import normalise
from gaea.sphere import EARTH_RADIUS_KM, to_xyz, validate_latlon

SEARCH_LEVEL = 5
"""Points in one cell of this level (about 290 km) share their candidates."""


@dataclass(frozen=True)
class City:
    """A town or city, and how far it is from the point that was asked about (0 if none was)."""

    name: str
    country_code: str
    population: int
    lat: float
    lon: float
    distance_km: float
    timezone: str
    region: str = ""


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """All towns as parallel arrays of length C, largest first.

    Attributes:
        lat: degrees.
        lon: degrees.
        population: number of people.
        names: GeoNames' main name.
        aliases: other names of the larger cities.
        country_codes: ISO alpha-2.
        regions: first-level division, '' where its name is not known.
        timezones: IANA zone.
        source: what to cite.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    population: NDArray[np.int64]
    names: list[str]
    aliases: list[list[str]]
    country_codes: NDArray[np.str_]
    regions: NDArray[np.str_]
    timezones: NDArray[np.str_]
    source: str

    @cached_property
    def xyz(self) -> NDArray[np.float64]:
        """(C, 3) unit vectors."""
        return np.asarray(to_xyz(self.lat, self.lon), np.float64)

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """Indices of the towns that bear a normalised name, largest first, those that have it as main name ahead."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(self.names):
            found[normalise(name)].append(index)
        for index, aliases in enumerate(self.aliases):
            for alias in {normalise(alias) for alias in aliases} - {normalise(self.names[index])}:
                found[alias].append(index)
        return dict(found)

    def city(self, index: int, distance_km: float = 0.0) -> City:
        """One town as a value."""
        return City(
            self.names[index],
            str(self.country_codes[index]),
            int(self.population[index]),
            float(self.lat[index]),
            float(self.lon[index]),
            float(distance_km),
            str(self.timezones[index]),
            str(self.regions[index]),
        )

    def nearest(self, lat: ArrayLike, lon: ArrayLike, k: int = 1) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The k nearest towns of each point, exactly.

        Args:
            lat: (N,) WGS84 degrees.
            lon: (N,) WGS84 degrees.
            k: how many, at most the number of towns.

        Returns:
            (N, k) indices, nearest first, and (N, k) great-circle distances in km.

        Raises:
            InputError: if a coordinate is out of range.
        """
        lat_deg, lon_deg = (np.atleast_1d(values).ravel() for values in validate_latlon(lat, lon))
        points = to_xyz(lat_deg, lon_deg)
        home = cells.from_latlon(lat_deg, lon_deg, SEARCH_LEVEL)
        order = np.argsort(home, kind="stable")
        groups, starts = np.unique(home[order], return_index=True)
        index = np.empty((len(points), k), np.intp)
        chord = np.empty((len(points), k))
        for cell, members in zip(groups, np.split(order, starts[1:]), strict=True):
            near = _candidates(self, int(cell), k)
            for rows in np.array_split(members, 1 + len(members) * len(near) // 4_000_000):
                cosine = points[rows] @ self.xyz[near].T
                best = np.argpartition(-cosine, min(k, len(near)) - 1, axis=1)[:, :k]
                # The chord keeps its digits where the cosine of a small angle has lost them.
                apart = np.linalg.norm(self.xyz[near[best]] - points[rows, None], axis=2)
                ranked = np.argsort(apart, axis=1)
                index[rows] = near[np.take_along_axis(best, ranked, axis=1)]
                chord[rows] = np.take_along_axis(apart, ranked, axis=1)
        return index, 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1))


@lru_cache(maxsize=1)
def _search_cells() -> dict[int, tuple[int, NDArray[np.float64], float]]:
    """Parent (0 for a face), centre and radius in radians of every cell down to the search level."""
    level_ids = np.arange(6, dtype=np.uint64) * np.uint64(1 << 61) + np.uint64(1 << 60)
    parents = np.zeros(6, np.uint64)
    known: dict[int, tuple[int, NDArray[np.float64], float]] = {}
    for _ in range(SEARCH_LEVEL + 1):
        centres = to_xyz(*cells.to_latlon(level_ids))
        corners = to_xyz(*np.moveaxis(cells.vertices_latlon(level_ids), -1, 0))
        cosine = np.einsum("nd,nvd->nv", centres, corners).min(axis=1)
        radii = np.arccos(np.clip(cosine, -1, 1))
        known |= dict(zip(level_ids.tolist(), zip(parents.tolist(), centres, radii.tolist(), strict=True), strict=True))
        parents = np.repeat(level_ids, 4)
        level_ids = cells.children(level_ids).reshape(-1)
    return known


@lru_cache(maxsize=8192)
def _candidates(gazetteer: Gazetteer, cell: int, k: int) -> NDArray[np.intp]:
    """Towns that are among the k nearest of some point of the cell (a superset).

    If the k-th nearest town of the centre is d away and the cell has radius r, each point has k towns within d + r,
    all of which lie within d + 2r of the centre.
    """
    parent, centre, radius = _search_cells()[cell]
    pool = _candidates(gazetteer, parent, k) if parent else np.arange(len(gazetteer.names))
    angle = np.arccos(np.clip(gazetteer.xyz[pool] @ centre, -1, 1))
    reach = np.partition(angle, k - 1)[k - 1] + 2 * radius
    near: NDArray[np.intp] = pool[angle <= reach + 1e-6]
    return near


@lru_cache(maxsize=1)
def gazetteer() -> Gazetteer:
    """The gazetteer shipped with the package, read on first use."""

    def lines(packed: NDArray[np.uint8]) -> list[str]:
        return packed.tobytes().decode("utf-8").split("\n")

    def decoded(index: NDArray[np.uint16], names: Sequence[str]) -> NDArray[np.str_]:
        return np.array(names)[index]

    with (
        resources.as_file(resources.files("gaea.atlas") / "cities.npz") as path,
        np.load(path, allow_pickle=False) as file,
    ):
        return Gazetteer(
            lat=file["lat_e4"] / 1e4,
            lon=file["lon_e4"] / 1e4,
            population=file["population"].astype(np.int64),
            names=lines(file["name"]),
            aliases=[line.split("\t") if line else [] for line in lines(file["aliases"])],
            country_codes=decoded(file["country"], lines(file["countries"])),
            regions=decoded(file["region"], lines(file["regions"])),
            timezones=decoded(file["timezone"], lines(file["timezones"])),
            source=str(file["source"]),
        )


def nearest_cities(lat: float, lon: float, count: int = 3) -> tuple[City, ...]:
    """The nearest towns of more than 5,000 people, nearest first.

    Raises:
        InputError: if a coordinate is out of range.
    """
    towns = gazetteer()
    index, distance = towns.nearest(lat, lon, count)
    return tuple(towns.city(int(i), float(d)) for i, d in zip(index[0], distance[0], strict=True))
