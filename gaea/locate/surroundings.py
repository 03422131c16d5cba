"""From retrieved neighbours to a belief about places that a gallery does not hold: a regression on the sphere.

A density of neighbours (:mod:`gaea.locate.neighbours`) is high where rows lie densely. A place without rows, in a hole
of the gallery or off its edge, gets from it what spills over, even where all that surrounds it looks like the picture.
Here is asked instead how well the picture fits each place, which the rows around it tell by their mean, be they many
or few (E. Nadaraya, On Estimating Regression, 1964; G. Watson, Smooth Regression Analysis, 1964):

    p(x) ∝ max(1 − c(x), ε) Σ_i w_i K(x, μ_i) / max(ρ(x), ρ_0),   ρ(x) = Σ_j K(x, x_j),   w = softmax(similarity / T)

over the neighbours i and all rows j of the gallery. ρ_0 is a share of the density at which rows usually lie: beyond it
nothing is concluded any more, so that a belief does not run out to sea. c(x) tells how far the gallery holds a place:
that no row was recognised speaks against the places that rows show, and how strongly, one share of the whole density
says (:class:`gaea.locate.neighbours.NeighbourConfig`), which follows the best similarity. Off a coast, where no row
lies either, all of this is scaled down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import compress
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.locate.kernels import blurred, kernel_per_km2, one_minus_cosine, spread
from gaea.places import country_codes
from gaea.sphere import EARTH_AREA_KM2, EARTH_RADIUS_KM, to_xyz

FloatArray: TypeAlias = NDArray[np.float64]

REACH = 3.0  # standard deviations beyond which a row is not counted
REMEMBERED = 200_000  # cells
SAMPLE = 500  # rows that tell how densely rows usually lie


@dataclasses.dataclass(frozen=True)
class SurroundingsConfig:
    """How neighbours are generalised.

    Attributes:
        k: Neighbours heard.
        temperature: Softmax temperature of cosines.
        bandwidth_km: Standard deviation of the kernel along one axis.
        sparsest: ρ_0, as a share of the median density at rows.
        background: Share spread evenly over the Earth.
        held_km: Bandwidth of the density by which a place counts as held: c(x) is 1 where rows lie as densely as
            they usually do; 0 takes no account of it.
        sea: By how much less a place on the sea is thought of that no row shows: rows on land say little of it.
        missed: ε, how often a picture of a place that rows show is like none of them.
        coarse_level: S2 level at which the search for cells starts.
        finest_level: Level at which it ends.
        split_mass: A cell is split while neighbours put more than this into it.
        max_cells: Splitting stops here.

    Raises:
        InputError: A value out of range.
    """

    k: int = 1024
    temperature: float = 0.04
    bandwidth_km: float = 100.0
    sparsest: float = 0.03
    background: float = 0.02
    held_km: float = 40.0
    missed: float = 0.02
    sea: float = 0.1
    coarse_level: int = 4
    finest_level: int = 8
    split_mass: float = 0.0005
    max_cells: int = 4000

    def __post_init__(self) -> None:
        """Check what would divide by nothing."""
        positive = (self.k, self.temperature, self.bandwidth_km, self.sparsest, self.split_mass, self.sea)
        if min(positive) <= 0 or not 0 <= self.background < 1 or not 0 <= self.coarse_level <= self.finest_level:
            raise InputError(f"{self}: expected positive sizes, a background below 1, and levels that ascend")


class RowDensity:
    """How densely the rows of a gallery lie, anywhere.

    Args:
        lat: Of the rows, degrees, (n,).
        lon: Likewise.

    Raises:
        InputError: No rows.
    """

    def __init__(self, lat: ArrayLike, lon: ArrayLike) -> None:
        self._xyz = to_xyz(np.asarray(lat, np.float64), np.asarray(lon, np.float64))
        if not len(self._xyz):
            raise InputError("a gallery without rows has no density")
        self._boxes: dict[float, _Boxes] = {}
        self._typical: dict[float, float] = {}
        self._known: dict[tuple[int, float], float] = {}

    def per_km2(self, ids: NDArray[np.uint64], sigma_km: float) -> FloatArray:
        """Mean of Σ_j K over each cell, (m,); rows well beyond :data:`REACH` deviations count for nothing.

        What was asked of a cell before is remembered, up to :data:`REMEMBERED` cells.
        """
        if len(self._known) > REMEMBERED:
            self._known = {}  # another thread may still read the old one
        known, asked = self._known, [(cell, sigma_km) for cell in ids.tolist()]
        missing = np.array([key not in known for key in asked], bool)
        if missing.any():
            found = self._measured(ids[missing], sigma_km)
            known.update(zip(compress(asked, missing), found.tolist(), strict=True))
        return np.array([known[key] for key in asked])

    def typical(self, sigma_km: float) -> float:
        """Median density at rows, per km²."""
        if sigma_km not in self._typical:
            some = self._xyz[np.linspace(0, len(self._xyz) - 1, min(SAMPLE, len(self._xyz))).astype(int)]
            self._typical[sigma_km] = float(np.median(self._at(some, np.full(len(some), float(sigma_km)))))
        return self._typical[sigma_km]

    def _measured(self, ids: NDArray[np.uint64], sigma_km: float) -> FloatArray:
        """See :meth:`per_km2`."""
        out, levels, centres = np.empty(len(ids)), cells.level(ids), cells.centre_xyz(ids)
        width_km = blurred(sigma_km, np.sqrt(cells.area_km2(ids)))
        for level in np.unique(levels):
            mine = levels == level
            out[mine] = self._at(centres[mine], width_km[mine])
        return out

    def _at(self, points: FloatArray, width_km: FloatArray) -> FloatArray:
        """Σ_j K at unit vectors (m, 3), each with a kernel of its own width, (m,)."""
        # In steps of a quarter, so that cells of a level share them.
        side = float(np.exp(np.ceil(np.log(REACH * width_km.max() / EARTH_RADIUS_KM) * 4) / 4))
        boxes = self._boxes.get(side) or self._boxes.setdefault(side, _Boxes(self._xyz, side))
        out = np.zeros(len(points))
        for some, rows in boxes.around(points):
            away = one_minus_cosine(points[some], rows)
            out[some] = kernel_per_km2(away, width_km[some, None]).sum(axis=1)
        return out


class _Boxes:
    """Rows sorted by cubes of space: all within a cube's side of a point are in its cube or in one that touches it."""

    def __init__(self, xyz: FloatArray, side: float) -> None:
        self.side, self.count = side, int(2 / side) + 4
        key = self._key(self._box(xyz))
        order = np.argsort(key, kind="stable")
        self.key, self.xyz = key[order], xyz[order]

    def around(self, points: FloatArray) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        """Groups of points (their numbers), each with the rows that may be near them, (n, 3)."""
        boxes, members = np.unique(self._box(points), axis=0, return_inverse=True)
        # Along the last axis three cubes follow each other, and are one piece.
        steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [0], indexing="ij"), -1).reshape(-1, 3)
        middle = self._key(boxes[:, None] + steps)
        first, last = np.searchsorted(self.key, middle - 1), np.searchsorted(self.key, middle + 1, side="right")
        for number in range(len(boxes)):
            pieces = [self.xyz[a:b] for a, b in zip(first[number], last[number], strict=True) if b > a]
            if pieces:
                yield np.flatnonzero(members.reshape(-1) == number), np.concatenate(pieces)

    def _box(self, xyz: FloatArray) -> NDArray[np.int64]:
        return np.floor((xyz + 1) / self.side).astype(np.int64) + 1

    def _key(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray((boxes[..., 0] * self.count + boxes[..., 1]) * self.count + boxes[..., 2])


class SurroundingsLocator:
    """Turns neighbours into beliefs that reach into the holes of a gallery, exactly the same ones each time."""

    name = "surroundings"

    def __init__(self, rows: RowDensity, config: SurroundingsConfig | None = None) -> None:
        self.rows, self.config = rows, config or SurroundingsConfig()

    def belief(self, lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike) -> Belief:
        """The belief that one picture's neighbours, most similar first, each array of shape (k,), support.

        Raises:
            InputError: No neighbours.
        """
        config = self.config
        score = np.asarray(similarity, np.float64)[: config.k]
        if not len(score):
            raise InputError("no neighbours to locate by: the gallery gave none")
        weights = np.exp((score - score.max()) / config.temperature)
        mu = to_xyz(np.asarray(lat)[: config.k], np.asarray(lon)[: config.k])
        ids, mass = spread(
            mu,
            weights[None] / weights.sum(),
            (config.bandwidth_km,),
            levels=(config.coarse_level, config.finest_level),
            split_mass=config.split_mass,
            max_cells=config.max_cells,
        )
        some = mass > config.split_mass / 10  # the others are of no account, however few rows lie there
        ids, mass = ids[some], mass[some]
        least = config.sparsest * self.rows.typical(config.bandwidth_km)
        fit = mass / np.maximum(self.rows.per_km2(ids, config.bandwidth_km), least)
        if config.held_km:
            held = self.rows.per_km2(ids, config.held_km) / self.rows.typical(config.held_km)
            fit *= np.maximum(1 - held, config.missed)
        if config.sea != 1:
            fit *= np.where(country_codes(*cells.to_latlon(ids)) == "", config.sea, 1.0)
        fit *= (1 - config.background) / fit.sum()
        even = config.background * cells.area_km2(ids) / EARTH_AREA_KM2
        keep = fit > even
        listed = fit[keep] + even[keep]
        return Belief.from_weights(ids[keep], listed, elsewhere=max(0.0, 1.0 - float(listed.sum())))
