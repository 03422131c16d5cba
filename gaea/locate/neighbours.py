"""From retrieved neighbours to a belief: a kernel density on the sphere.

Each neighbour speaks for its surroundings with a von Mises–Fisher kernel, and is heard by the softmax of its
similarity. Kernels come in several widths at once: a narrow one for pictures of places the gallery has seen, a wide one
for places it can only reason about from afar, and an even background for the rest of the Earth. How the mass is shared
between them may depend on how similar the best neighbour is, which is what tells the cases apart.

    p(x) = Σ_b s_b Σ_i w_i vMF(x; μ_i, κ_b) + s_0 / 4πR²,   w = softmax(similarity / temperature),   κ_b = (R / σ_b)²

A share may go to the places that the gallery does not hold as well (:mod:`gaea.locate.surroundings`); where it is not
known how densely the gallery's rows lie, the widest kernel has it.

Retrieval as a distribution over places is Img2Loc's and G3's neighbours made explicit; the density is textbook
(K. Mardia & P. Jupp, Directional Statistics, 2000, §9.3 and §12.2). Nothing here looks at pictures or knows a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.hilbert import MAX_LEVEL
from gaea.locate.kernels import blurred, kernel_per_km2, one_minus_cosine, spread
from gaea.locate.recalled import Citation, Neighbour, Neighbours, Role, cite
from gaea.locate.surroundings import RowDensity, SurroundingsConfig, SurroundingsLocator
from gaea.sphere import EARTH_AREA_KM2, to_xyz

FloatArray: TypeAlias = NDArray[np.float64]

__all__ = ["Citation", "Neighbour", "NeighbourConfig", "NeighbourLocator", "Neighbours", "Role", "cite"]


@dataclass(frozen=True)
class NeighbourConfig:
    """How neighbours become a density. Fit the first block with :func:`gaea.locate.neighbours_fit.fit`.

    Attributes:
        k: Neighbours heard; further ones are ignored.
        temperature: Softmax temperature of cosines; small values listen to the best alone.
        bandwidths_km: Standard deviation σ_b of each kernel along one axis.
        bandwidth_weights: Share of each kernel in the mass that is not background, and of the surroundings last, where
            there are any.
        background: Share spread evenly over the Earth, at the reference similarity.
        similarity_slopes: By how much the log-share of each kernel (and of the surroundings), against the background's,
            grows with the best similarity; empty for not at all.
        similarity_reference: Best similarity at which the shares are as given.
        similarity_range: Best similarities seen in the fit; beyond them the shares stay as at the nearer end.
        coarse_level: S2 level at which the search for cells starts.
        finest_level: Level at which it ends.
        split_mass: A cell is split while it holds more than this of kernels less than twice as wide as itself.
        max_cells: Splitting stops here, the heaviest cells first.
        surroundings: How neighbours are generalised to places without rows; None for not at all.

    Raises:
        InputError: A value out of range.
    """

    k: int = 64
    temperature: float = 0.05
    bandwidths_km: tuple[float, ...] = (40.0, 800.0)
    bandwidth_weights: tuple[float, ...] = (0.5, 0.5)
    background: float = 0.02
    similarity_slopes: tuple[float, ...] = ()
    similarity_reference: float = 0.0
    similarity_range: tuple[float, float] = (-1.0, 1.0)
    coarse_level: int = 4
    finest_level: int = 10
    split_mass: float = 0.001
    max_cells: int = 4000
    surroundings: SurroundingsConfig | None = None

    def __post_init__(self) -> None:
        """Check every field, naming the one at fault."""
        n = len(self.bandwidths_km)
        shared = n + (self.surroundings is not None)
        checks = {
            "k": self.k >= 1,
            "temperature": self.temperature > 0,
            "bandwidths_km": n >= 1 and min(self.bandwidths_km, default=0) > 0,
            "bandwidth_weights": len(self.bandwidth_weights) == shared and min(self.bandwidth_weights, default=0) > 0,
            "background": 0 <= self.background < 1,
            "similarity_slopes": len(self.similarity_slopes) in (0, shared),
            "similarity_range": self.similarity_range[0] <= self.similarity_range[1],
            "coarse_level": 0 <= self.coarse_level <= 6,
            "finest_level": self.coarse_level <= self.finest_level <= MAX_LEVEL,
            "split_mass": 0 < self.split_mass < 1,
            "max_cells": self.max_cells >= 6 * 4**self.coarse_level,
        }
        if bad := [name for name, good in checks.items() if not good]:
            raise InputError("neighbour settings out of range: " + ", ".join(f"{x}={getattr(self, x)!r}" for x in bad))

    def shares(self, best_similarity: ArrayLike) -> FloatArray:
        """Mass of each kernel, of the surroundings, if any, and of the background: (…, shares), summing to one."""
        best = np.clip(np.asarray(best_similarity, np.float64), *self.similarity_range)[..., None]
        weights = np.asarray(self.bandwidth_weights, np.float64)
        at_reference = np.append((1 - self.background) * weights / weights.sum(), self.background)
        slopes = np.append(self.similarity_slopes or np.zeros(len(weights)), 0.0)
        # Subtracting the largest exponent keeps a steep slope from overflowing.
        tilt = slopes * (best - self.similarity_reference)
        shares = at_reference * np.exp(tilt - tilt.max(axis=-1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


class NeighbourLocator:
    """Turns neighbours into beliefs, exactly the same ones each time."""

    name = "neighbours"

    def __init__(self, config: NeighbourConfig | None = None, rows: RowDensity | None = None) -> None:
        """Locate as ``config`` says; ``rows`` tell how densely those of the gallery lie, where that is known."""
        self.config = config or NeighbourConfig()
        wider = self.config.surroundings
        self._surroundings = SurroundingsLocator(rows, wider) if rows is not None and wider else None

    def of(self, neighbours: Neighbours) -> Belief:
        """The belief that recalled neighbours support; the surroundings are read from the whole ranking.

        Raises:
            InputError: No neighbours.
        """
        around = None
        if self._surroundings is not None and neighbours.ranking is not None:
            around = self._surroundings.belief(*neighbours.ranking)
        return self.belief(*neighbours.arrays(), around=around)

    def belief(self, lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike, *, around: Belief | None = None) -> Belief:
        """The belief that one picture's neighbours, most similar first, each array of shape (k,), support.

        ``around`` is what the surroundings say, where that is known already.

        Cells start even and are split where the mass is. A cell is listed where the neighbours say more than the
        background does; ``elsewhere`` holds the rest of the Earth: the background there, and the kernels' far tails.

        Raises:
            InputError: No neighbours.
        """
        mu, weights, shares = self._components(lat, lon, similarity)
        config = self.config
        if around is None and self._surroundings is not None:
            around = self._surroundings.belief(lat, lon, similarity)
        beyond = 0.0
        if around is not None and config.surroundings is not None:
            beyond = float(config.shares(np.asarray(similarity, np.float64)[: config.k].max())[-2])
            shares[-2] -= beyond  # which the widest kernel has for them
        listed, kernel_mass = spread(
            mu,
            shares[:-1, None] * weights,
            config.bandwidths_km,
            levels=(config.coarse_level, config.finest_level),
            split_mass=config.split_mass,
            max_cells=config.max_cells,
        )
        background = shares[-1] * cells.area_km2(listed) / EARTH_AREA_KM2
        mass, keep = kernel_mass + background, kernel_mass > background
        rest = min(1.0, float(mass[~keep].sum()))
        if around is None or not beyond:
            return Belief.from_weights(listed[keep], mass[keep], elsewhere=rest)
        both = np.concatenate([listed[keep], around.cells])
        added = np.concatenate([mass[keep], beyond * np.exp(around.log_prob)])
        return Belief.from_weights(both, added, elsewhere=rest + beyond * around.elsewhere)

    def log_density(
        self, lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike, at_lat: ArrayLike, at_lon: ArrayLike
    ) -> FloatArray:
        """Natural log of the density per km² for many pictures at once, without cells.

        Args:
            lat: Neighbours' latitudes, shape (q, k).
            lon: Longitudes, shape (q, k).
            similarity: Cosines, shape (q, k).
            at_lat: Where to evaluate, shape (q,) or (q, p).
            at_lon: Likewise.

        Returns:
            Shape of ``at_lat``.
        """
        mu, weights, shares = self._components(lat, lon, similarity)
        points = to_xyz(at_lat, at_lon)
        shape = points.shape[:-1]
        points = points.reshape(len(mu), -1, 3)
        density = np.broadcast_to(shares[:, -1:] / EARTH_AREA_KM2, points.shape[:2])
        away = one_minus_cosine(points, mu)
        for index, sigma_km in enumerate(self.config.bandwidths_km):
            density = density + shares[:, index, None] * (kernel_per_km2(away, sigma_km) @ weights[:, :, None])[..., 0]
        return np.asarray(np.log(np.maximum(density, np.finfo(np.float64).tiny)).reshape(shape))

    def on_cells(self, cell_ids: ArrayLike, lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike) -> FloatArray:
        """Mass of given cells for many pictures at once: neighbours (q, k), cells (m,) in; (q, m) out.

        The batch-wide way where one fixed set of cells serves all, as when beliefs are compared at one level.
        """
        mu, weights, shares = self._components(lat, lon, similarity)
        ids = np.asarray(cell_ids, np.uint64)
        area = cells.area_km2(ids)
        edge_km = np.sqrt(area)[:, None]
        mass = shares[:, -1:] * area / EARTH_AREA_KM2
        away = one_minus_cosine(cells.centre_xyz(ids)[None], mu)
        for index, sigma_km in enumerate(self.config.bandwidths_km):
            density = kernel_per_km2(away, blurred(sigma_km, edge_km)) @ weights[:, :, None]
            mass = mass + shares[:, index, None] * density[..., 0] * area
        return np.asarray(mass)

    def evidence(
        self,
        lat: ArrayLike,
        lon: ArrayLike,
        similarity: ArrayLike,
        *,
        at: tuple[ArrayLike, ArrayLike] | None = None,
        cell_ids: ArrayLike | None = None,
    ) -> FloatArray:
        """What each place or cell of one picture's belief rests on: the responsibility of every neighbour for it.

        r_i = Σ_b s_b w_i k_b(x, μ_i) / p(x), the posterior of the mixture's component (C. Bishop, Pattern Recognition
        and Machine Learning, 2006, eq. 9.13); over a cell, with kernels widened by the cell as in :meth:`on_cells`.

        Args:
            lat: Neighbours' latitudes, degrees, shape (k,).
            lon: Longitudes, shape (k,).
            similarity: Cosines, shape (k,).
            at: (latitude, longitude) of a place, or of p places as two arrays of shape (p,).
            cell_ids: Instead of places, a cell id or cells of shape (p,).

        Returns:
            Shape (k,) for one place or cell, (p, k) for several. Every row sums to at most one: what is missing is
            the background's, so a place that no neighbour speaks for rests on none. Zero beyond ``config.k``.

        Raises:
            InputError: No neighbours; or not exactly one of ``at`` and ``cell_ids``.
        """
        if (at is None) == (cell_ids is None):
            raise InputError("evidence is asked for a place or for cells: give exactly one of at and cell_ids")
        mu, weights, shares = self._components(lat, lon, similarity)
        if at is not None:
            points = to_xyz(*at)
            edge_km = np.zeros(points.shape[:-1])
        else:
            ids = np.asarray(cell_ids, np.uint64)
            points, edge_km = cells.centre_xyz(ids), np.sqrt(cells.area_km2(ids))
        away = one_minus_cosine(points.reshape(-1, 3), mu)
        parts = np.zeros((len(away), np.size(lat)))
        for index, sigma_km in enumerate(self.config.bandwidths_km):
            width_km = blurred(sigma_km, edge_km.reshape(-1, 1))
            parts[:, : len(weights)] += shares[index] * weights * kernel_per_km2(away, width_km)
        whole = parts.sum(axis=1, keepdims=True) + shares[-1] / EARTH_AREA_KM2
        parts /= np.maximum(whole, np.finfo(np.float64).tiny)
        return np.asarray(parts.reshape(*points.shape[:-1], -1))

    def _components(
        self, lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit vectors (…, k, 3), weights (…, k) and shares (…, kernels + 1).

        What the surroundings have a share of goes to the widest kernel.
        """
        k = self.config.k
        score = np.asarray(similarity, np.float64)[..., :k]
        if score.ndim < 1 or score.shape[-1] == 0:
            raise InputError("no neighbours to locate by: the gallery gave none")
        best = score.max(axis=-1, keepdims=True)
        weights = np.exp((score - best) / self.config.temperature)
        mu = to_xyz(np.asarray(lat)[..., :k], np.asarray(lon)[..., :k])
        shares = self.config.shares(best[..., 0])
        if self.config.surroundings is not None:
            shares = np.concatenate(
                [shares[..., :-3], shares[..., -3:-2] + shares[..., -2:-1], shares[..., -1:]], axis=-1
            )
        return mu, weights / weights.sum(axis=-1, keepdims=True), shares
