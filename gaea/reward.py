"""The reward head: how likely a candidate is to lie within 200 km of the truth.

A small network over numbers that describe a candidate among its rivals: how probable its path is, how often it was
drawn, how much of the scorer's belief lies around it. It is learned by :mod:`gaea.finetune.reward` and runs in numpy.

Source:
    GeoToken (arXiv 2511.01082): a head with two bins, within 200 km or not. Its inputs there are the decoder's states;
    these features are our own, and those of the picture can be put beside them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea.errors import InputError, ModelError
from gaea.searchtree import Decoded
from gaea.sphere import FloatArray, great_circle_km

WITHIN_KM = 200.0
"""What counts as near."""

RADII_KM = (25.0, 200.0, 750.0, 2500.0)
"""Around each candidate, how much lies within."""

FEATURES = (
    "log probability",
    "log probability per symbol",
    "symbols",
    "share of the draws",
    "rank by probability",
    "distance from the most probable, log km",
    *(f"belief within {km:g} km" for km in RADII_KM),
    *(f"draws within {km:g} km" for km in RADII_KM),
)
"""Names of the columns of :func:`features`."""


class Reward(Protocol):
    """Scores candidates by their features."""

    def __call__(self, rows: FloatArray) -> FloatArray:
        """Give the probability of lying within 200 km, ``(n,)``, for features ``(n, d)``."""


@dataclasses.dataclass(frozen=True, eq=False)
class RewardHead:
    """A logistic regression (one layer) or a perceptron with ReLUs between its layers.

    Attributes:
        mean: Of each feature in training, ``(d,)``.
        scale: Standard deviation of each, ``(d,)``, above 0.
        weights: Of each layer, ``(out, in)``; the last has one row.
        biases: Of each layer, ``(out,)``.

    Raises:
        ModelError: The shapes do not fit together, or a number is not finite.
    """

    mean: FloatArray
    scale: FloatArray
    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]

    def __post_init__(self) -> None:
        arrays = (self.mean, self.scale, *self.weights, *self.biases)
        widths = [(self.mean.size,), *((b.size,) for b in self.biases)]
        shapes = [(out[0], into[0]) for into, out in itertools.pairwise(widths)]
        fits = [w.shape for w in self.weights] == shapes and self.scale.shape == self.mean.shape == widths[0]
        if not fits or not self.biases or self.biases[-1].shape != (1,) or not np.all(self.scale > 0):
            raise ModelError(
                f"layers of shapes {[w.shape for w in self.weights]} are no reward head of {self.mean.size}"
            )
        if not all(np.isfinite(array).all() for array in arrays):
            raise ModelError("the reward head holds numbers that are not finite: train it again")

    def __call__(self, rows: FloatArray) -> FloatArray:
        """See :class:`Reward`.

        Raises:
            ModelError: Another number of features than it was trained on.
        """
        if rows.ndim != 2 or rows.shape[1] != self.mean.size:
            raise ModelError(f"features of shape {rows.shape}: this reward head takes (n, {self.mean.size})")
        hidden = (rows - self.mean) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.maximum(hidden @ weight.T + bias, 0.0)
        logit = hidden @ self.weights[-1][0] + self.biases[-1][0]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -500, 500))))

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        tensors = {"mean": self.mean, "scale": self.scale}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
        about = {"layers": len(self.weights), "within_km": WITHIN_KM, "features": FEATURES}
        contiguous = {name: np.ascontiguousarray(array, np.float64) for name, array in tensors.items()}
        save_file(contiguous, path, metadata={"reward_head": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> RewardHead:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: The file is missing, damaged, or of another version's features.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                about: dict[str, Any] = json.loads((file.metadata() or {})["reward_head"])
                tensors = {name: np.asarray(file.get_tensor(name), np.float64) for name in file.keys()}  # noqa: SIM118
            layers = range(int(about["layers"]))
            weights, biases = (tuple(tensors[f"layers.{i}.{kind}"] for i in layers) for kind in ("weight", "bias"))
            mean, scale, told = tensors["mean"], tensors["scale"], (tuple(about["features"]), about["within_km"])
        except (OSError, KeyError, ValueError, TypeError, SafetensorError) as error:
            raise ModelError(f"{path} is not a reward head that can be read: {error}") from error
        if told != (FEATURES, WITHIN_KM):
            raise ModelError(f"{path} was trained on other features than this version gives: train it again")
        return cls(mean, scale, weights, biases)


def features(decoded: Decoded, picture: npt.ArrayLike = ()) -> FloatArray:
    """Describe each candidate among its rivals.

    Args:
        decoded: What a search found, with ``n`` candidates.
        picture: Numbers about the picture, ``(p,)``, put beside each candidate's.

    Returns:
        ``(n, len(FEATURES) + p)``, in the order of :data:`FEATURES`.

    Raises:
        InputError: The picture's features are no row of finite numbers.
    """
    about = np.asarray(picture, np.float64)
    if about.ndim != 1 or not np.isfinite(about).all():
        raise InputError(f"picture features of shape {about.shape}: expected one row of finite numbers")
    found = decoded.candidates
    n = len(found)
    log_p = np.array([c.log_prob for c in found], np.float64)
    symbols = np.array([len(c.tokens) for c in found], np.float64)
    draws = np.array([c.count for c in found], np.float64)
    draws /= max(draws.sum(), 1.0)
    points = np.array([c.point for c in found], np.float64).reshape(n, 2)
    between = _distances(points, points)
    rank = np.empty(n)
    rank[np.argsort(-log_p, kind="stable")] = np.arange(n)
    best = np.zeros(n) if not n else np.log1p(between[int(np.argmax(log_p))])
    leaves = np.stack(s2.to_latlon(decoded.cells), 1)
    to_leaves, held = _distances(points, leaves), np.exp(decoded.log_prob)
    columns = [log_p, log_p / symbols, symbols, draws, np.log1p(rank), best]
    columns += [(to_leaves <= km) @ held for km in RADII_KM]
    columns += [(between <= km) @ draws for km in RADII_KM]
    return np.concatenate([np.stack(columns, 1), np.tile(about, (n, 1))], 1)


def _distances(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(great_circle_km(a[:, None, 0], a[:, None, 1], b[None, :, 0], b[None, :, 1]))
