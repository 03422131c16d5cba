"""Fit how neighbours become a density, on validation places that the gallery does not hold.

Maximum likelihood: the settings under which the true places would have been least surprising. Temperature and pair of
bandwidths are searched on a grid; for each, the shares of kernels and background come from expectation–maximisation;
last, how the shares follow the best similarity is a multinomial logistic regression inside the same iteration (a
mixture of experts with a linear gate: Jordan & Jacobs, 1994).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import InputError
from gaea.locate.kernels import kernel_per_km2, one_minus_cosine
from gaea.locate.neighbours import NeighbourConfig
from gaea.locate.surroundings import SurroundingsConfig
from gaea.sphere import EARTH_AREA_KM2, to_xyz

FloatArray: TypeAlias = NDArray[np.float64]

TEMPERATURES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
BANDWIDTHS_KM = (10.0, 20.0, 40.0, 80.0, 150.0, 300.0, 600.0, 1200.0, 2400.0)
_LEAST_BACKGROUND = 1e-3
_RIDGE = 1e-2


def fit(
    lat: ArrayLike,
    lon: ArrayLike,
    similarity: ArrayLike,
    true_lat: ArrayLike,
    true_lon: ArrayLike,
    *,
    start: NeighbourConfig | None = None,
    temperatures: tuple[float, ...] = TEMPERATURES,
    bandwidths_km: tuple[float, ...] = BANDWIDTHS_KM,
    gated: bool = True,
    around: tuple[SurroundingsConfig, ArrayLike] | None = None,
) -> NeighbourConfig:
    """Choose temperature, bandwidths and shares that make the true places most likely.

    Args:
        lat: Neighbours' latitudes, degrees, shape (q, k), most similar first.
        lon: Longitudes, shape (q, k).
        similarity: Cosines, shape (q, k).
        true_lat: Where the pictures really are, shape (q,).
        true_lon: Likewise.
        start: Settings to keep for everything that is not fitted, ``k`` among them.
        temperatures: Grid to search.
        bandwidths_km: Grid whose every pair is tried.
        gated: Whether the shares may follow the best similarity.
        around: How neighbours are generalised to places without rows, and the density per km² that comes of it at the
            true places, shape (q,); None for not at all.

    Returns:
        ``start`` with the fitted fields replaced. The background keeps at least 0.1 %, so that no place is impossible.

    Raises:
        InputError: Shapes that do not fit together, or fewer than ten places.
    """
    start = start or NeighbourConfig()
    score = np.asarray(similarity, np.float64)
    truth = np.asarray(true_lat, np.float64)
    if score.ndim != 2 or truth.shape != score.shape[:1] or len(truth) < 10:
        raise InputError(f"similarities of shape {score.shape} for {truth.size} places: expected (q, k), q at least 10")
    score = score[:, : start.k]
    mu = to_xyz(np.asarray(lat)[:, : start.k], np.asarray(lon)[:, : start.k])
    away = one_minus_cosine(to_xyz(truth, true_lon)[:, None], mu)[:, 0]
    kernels = np.stack([kernel_per_km2(away, sigma) for sigma in bandwidths_km], axis=1) * EARTH_AREA_KM2
    best = score.max(axis=1)
    generalised = np.asarray(around[1], np.float64)[:, None] * EARTH_AREA_KM2 if around else np.zeros((len(truth), 0))

    tried = []
    for temperature in temperatures:
        weights = np.exp((score - best[:, None]) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        density = np.einsum("qbk,qk->qb", kernels, weights)
        for pair in itertools.combinations(range(len(bandwidths_km)), 2):
            columns = _with_background(np.concatenate([density[:, pair], generalised], axis=1))
            shares = _shares(columns)
            tried.append((np.log(columns @ shares).mean(), temperature, pair, shares, columns))
    _, temperature, pair, shares, columns = max(tried, key=lambda attempt: attempt[0])
    fitted = replace(
        start,
        temperature=temperature,
        bandwidths_km=tuple(bandwidths_km[index] for index in pair),
        bandwidth_weights=tuple(float(share) for share in shares[:-1] / shares[:-1].sum()),
        background=float(shares[-1]),
        similarity_slopes=(),
        similarity_reference=float(np.median(best)),
        similarity_range=(float(best.min()), float(best.max())),
        surroundings=around[0] if around else None,
    )
    return _gated(fitted, columns, best) if gated else fitted


def _with_background(density: FloatArray) -> FloatArray:
    """Densities relative to an even Earth, the background's own 1 as the last column: (q, kernels + 1)."""
    return np.concatenate([np.maximum(density, 1e-300), np.ones((len(density), 1))], axis=1)


def _shares(columns: FloatArray, steps: int = 60) -> FloatArray:
    """Shares of a mixture of known densities by expectation–maximisation; convex, so the start does not matter."""
    shares = np.full(columns.shape[1], 1 / columns.shape[1])
    for _ in range(steps):
        parts = columns * shares
        shares = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
        shares = _floored(shares)
    return shares


def _floored(shares: FloatArray) -> FloatArray:
    """Shares in which nothing is impossible, summing to one."""
    shares = np.maximum(shares, _LEAST_BACKGROUND)
    return np.asarray(shares / shares.sum())


def _gated(config: NeighbourConfig, columns: FloatArray, best: FloatArray, steps: int = 60) -> NeighbourConfig:
    """Let the shares follow the best similarity, if that makes the places likelier."""
    spread = max(float(best.std()), 1e-6)
    feature = np.stack([np.ones_like(best), (best - config.similarity_reference) / spread], axis=1)
    kernels = columns.shape[1] - 1
    shares = config.shares(best)
    before = np.log((columns * shares).sum(axis=1)).mean()
    beta = np.zeros((kernels, 2))
    beta[:, 0] = np.log(shares[0, :-1] / shares[0, -1])
    for _ in range(steps):
        parts = columns * shares
        target = parts / parts.sum(axis=1, keepdims=True)
        beta = _newton_step(beta, feature, shares, target)
        logits = np.concatenate([feature @ beta.T, np.zeros((len(best), 1))], axis=1)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
    at_reference = _floored(np.exp(np.append(beta[:, 0], 0.0) - max(0.0, beta[:, 0].max())))
    gated = replace(
        config,
        bandwidth_weights=tuple(float(share) for share in at_reference[:-1] / at_reference[:-1].sum()),
        background=float(at_reference[-1]),
        similarity_slopes=tuple(float(slope) for slope in beta[:, 1] / spread),
    )
    after = np.log((columns * gated.shares(best)).sum(axis=1)).mean()
    return gated if after > before else config


def _newton_step(beta: FloatArray, feature: FloatArray, shares: FloatArray, target: FloatArray) -> FloatArray:
    """One ridge-held Newton step of multinomial logistic regression, the background as the reference class."""
    kernels, width = beta.shape
    share = shares[:, :kernels]
    gradient = (target[:, :kernels] - share).T @ feature
    curvature = share[:, :, None] * (np.eye(kernels) - share[:, None, :])
    hessian = np.einsum("qab,qi,qj->aibj", curvature, feature, feature).reshape(kernels * width, -1)
    ridge = _RIDGE * np.diag(np.tile([0.0, 1.0], kernels)) + 1e-6 * np.eye(kernels * width)
    held = gradient - _RIDGE * beta * np.array([0.0, 1.0])
    return np.asarray(beta + np.linalg.solve(hessian + ridge, held.reshape(-1)).reshape(beta.shape))
