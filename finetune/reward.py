"""Trains the reward head: from the features of candidates, whether they lie within 200 km of the truth.

The head is small and its data few (candidates of one picture resemble each other), so the whole set is one batch and
weight decay holds it. Split by picture and by place before training, not by candidate: rivals of one picture must not
stand on both sides.

Source:
    GeoToken (arXiv 2511.01082): two bins, within 200 km or not. Optimiser and size are our own choice.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gaea.errors import InputError
from gaea.reward import RewardHead
from gaea.sphere import FloatArray


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """How the head is trained.

    Attributes:
        hidden: Widths of hidden layers; none makes it a logistic regression.
        steps: Passes over the whole set.
        learning_rate: Of AdamW, falling to zero as a cosine.
        weight_decay: Of the weights.
        seed: Of the first weights.
    """

    hidden: tuple[int, ...] = (16,)
    steps: int = 300
    learning_rate: float = 0.02
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if min((*self.hidden, self.steps)) < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise InputError(f"{self}: widths and steps are at least 1, the rate above 0, the decay not negative")


@dataclasses.dataclass(frozen=True)
class RewardQuality:
    """What a head is worth on candidates that it was not trained on.

    Attributes:
        log_loss: Mean of −ln of the probability given to what was true, nats.
        base_log_loss: The same for the share of near candidates, told of all alike.
        auc: Chance that a near candidate is scored above a far one; NaN where all are alike.
    """

    log_loss: float
    base_log_loss: float
    auc: float


def train(rows: npt.ArrayLike, near: npt.ArrayLike, config: RewardConfig | None = None) -> RewardHead:
    """Fit a head.

    Args:
        rows: Features of candidates, ``(n, d)``, from :func:`gaea.reward.features`.
        near: Whether each lies within 200 km, ``(n,)``.
        config: Size and schedule.

    Raises:
        InputError: Shapes that do not fit, numbers that are not finite, or candidates that are all near or all far.
    """
    config = config or RewardConfig()
    x, y = _checked(rows, near)
    if not 0 < y.mean() < 1:
        raise InputError(f"of {len(y)} candidates {'all' if y.any() else 'none'} are near: a head needs both kinds")
    mean, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    generator = torch.Generator().manual_seed(config.seed)
    inputs = torch.tensor((x - mean) / scale, dtype=torch.float64)
    wanted = torch.tensor(y, dtype=torch.float64)
    layers = _layers((x.shape[1], *config.hidden, 1), generator)
    optimiser = torch.optim.AdamW(
        [parameter for layer in layers for parameter in layer.parameters()],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    for _ in range(config.steps):
        hidden = inputs
        for layer in layers[:-1]:
            hidden = torch.relu(layer(hidden))
        loss = nn.functional.binary_cross_entropy_with_logits(layers[-1](hidden)[:, 0], wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    weights = tuple(layer.weight.detach().numpy().copy() for layer in layers)
    return RewardHead(mean, scale, weights, tuple(layer.bias.detach().numpy().copy() for layer in layers))


def assess(head: RewardHead, rows: npt.ArrayLike, near: npt.ArrayLike) -> RewardQuality:
    """Measure a head on other candidates.

    Raises:
        InputError: Shapes that do not fit, or numbers that are not finite.
        ModelError: Another number of features than the head was trained on.
    """
    x, y = _checked(rows, near)
    given = head(x)
    far, close = given[y == 0], given[y == 1]
    wins = (close[:, None] > far).mean() + 0.5 * (close[:, None] == far).mean() if len(far) and len(close) else np.nan
    return RewardQuality(_log_loss(given, y), _log_loss(np.full(len(y), y.mean()), y), float(wins))


def _log_loss(given: FloatArray, near: FloatArray) -> float:
    p = np.clip(given, 1e-12, 1 - 1e-12)
    return float(-(near * np.log(p) + (1 - near) * np.log(1 - p)).mean())


def _layers(widths: tuple[int, ...], generator: torch.Generator) -> list[nn.Linear]:
    layers = []
    for into, out in itertools.pairwise(widths):
        layer = nn.Linear(into, out, dtype=torch.float64)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return layers


def _checked(rows: npt.ArrayLike, near: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(rows, np.float64), np.asarray(near, np.bool_).astype(np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or not x.size or not np.isfinite(x).all():
        raise InputError(f"features {x.shape} and labels {y.shape}: expected finite (n, d) and (n,), n at least 1")
    return x, y
