"""Von Mises–Fisher kernels on the sphere, and cells that are fine where their mass is.

Source: K. Mardia & P. Jupp, Directional Statistics (2000), §9.3; concentration κ = (R / σ)² for a standard deviation σ
along one axis.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea import cells
from gaea.sphere import EARTH_RADIUS_KM

FloatArray: TypeAlias = NDArray[np.float64]
CellArray: TypeAlias = NDArray[np.uint64]


def kernel_per_km2(one_minus_cosine: FloatArray, sigma_km: ArrayLike) -> FloatArray:
    """Density per km², given 1 − cos of the angle to the kernel's centre; broadcasts."""
    kappa = (EARTH_RADIUS_KM / np.asarray(sigma_km, np.float64)) ** 2
    peak = kappa / (-2 * np.pi * np.expm1(-2 * kappa)) / EARTH_RADIUS_KM**2
    return np.asarray(peak * np.exp(-kappa * one_minus_cosine))


def one_minus_cosine(points: FloatArray, mu: FloatArray) -> FloatArray:
    """1 − cos between unit vectors (…, m, 3) and centres (…, k, 3): (…, m, k)."""
    return np.maximum(1 - points @ np.swapaxes(mu, -1, -2), 0)


def blurred(sigma_km: float, edge_km: FloatArray) -> FloatArray:
    """Width of a kernel averaged over a square cell: to second order its variance grows by edge² / 12."""
    return np.sqrt(sigma_km**2 + edge_km**2 / 12)


def spread(
    mu: FloatArray,
    weights: FloatArray,
    sigmas_km: tuple[float, ...],
    *,
    levels: tuple[int, int],
    split_mass: float,
    max_cells: int,
) -> tuple[CellArray, FloatArray]:
    """Lay a mixture of kernels over cells that cover the Earth, split where the mass is.

    Args:
        mu: Centres, unit vectors (k, 3).
        weights: Mass of each kernel, (widths, k).
        sigmas_km: Widths.
        levels: Level to start from, and the finest.
        split_mass: A cell is split while it holds more than this of kernels less than twice as wide as itself.
        max_cells: Splitting stops here, the heaviest cells first.

    Returns:
        Disjoint cell ids (m,), unsorted, and the mass in each (m,), adding up to that of the weights.
    """
    component = weights.reshape(-1)
    ids, centres, area = _even_cells(levels[0])
    total = len(ids)
    done: list[tuple[CellArray, FloatArray]] = []
    for level in range(levels[0], levels[1] + 1):
        away, edge_km = one_minus_cosine(centres, mu), np.sqrt(area)[:, None]
        parts = np.hstack([kernel_per_km2(away, blurred(sigma, edge_km)) * area[:, None] for sigma in sigmas_km])
        # A kernel twice as wide as the cell is as good as flat within it, and has no say in whether to split.
        uneven = np.repeat(np.less(sigmas_km, 2 * cells.mean_edge_km(level)) & (level < levels[1]), len(mu))
        estimate = np.minimum(parts[:, uneven], 1) @ component[uneven]
        heavy = np.flatnonzero(estimate > split_mass)
        heavy = heavy[np.argsort(-estimate[heavy], kind="stable")][: (max_cells - total) // 3]
        light = np.ones(len(ids), bool)
        light[heavy] = False
        done.append((ids[light], parts[light]))
        if not len(heavy):
            break
        total += 3 * len(heavy)
        ids = cells.children(np.sort(ids[heavy])).reshape(-1)
        centres, area = cells.centre_xyz(ids), cells.area_km2(ids)
    # Each kernel integrates to one over the Earth; dividing by its sum over the cells takes out what the
    # one-point quadrature got wrong, most of all for a kernel narrower than its cell.
    sums = np.sum([parts.sum(axis=0) for _, parts in done], axis=0)
    scale = component / np.maximum(sums, np.finfo(np.float64).tiny)
    return np.concatenate([some for some, _ in done]), np.concatenate([parts @ scale for _, parts in done])


@lru_cache(maxsize=8)
def _even_cells(level: int) -> tuple[CellArray, FloatArray, FloatArray]:
    """All cells of a level: ids, centres (m, 3), areas in km²."""
    ids = cells.FACES
    for _ in range(level):
        ids = cells.children(ids).reshape(-1)
    return ids, cells.centre_xyz(ids), cells.area_km2(ids)
