"""From what a model says in words to a belief: a mixture of kernels around the places named.

Each sampled text has an equal vote. A vote is shared among the text's candidates by their weights; what they leave, and
the votes of texts that refuse or name no place, say nothing and are spread evenly over the Earth. A candidate speaks
for its surroundings with von Mises–Fisher kernels of several widths, since a model that is wrong by a street is also
sometimes wrong by a country, each widened by the candidate's own extent (an even disc of radius R has a standard
deviation of R / 2 along one axis).

    p(x) = Σ_t 1/T Σ_c w_c Σ_b s_b vMF(x; μ_c, R² / (σ_b² + (R_c / 2)²)) + s_0 / 4πR²
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.hilbert import MAX_LEVEL
from gaea.locate.kernels import spread
from gaea.sphere import EARTH_AREA_KM2, FloatArray, to_xyz
from gaea.spoken import Candidate, Spoken, read


@dataclass(frozen=True)
class TextConfig:
    """How words become a density.

    Attributes:
        widths_km: Standard deviation σ_b of each kernel along one axis.
        shares: Share s_b of each kernel in the mass that is not background. The defaults, and that of the background,
            are what expectation maximisation gave on 3,978 answers about street photos, averaged over three models
            (GPT-4o, GPT-4o mini, Qwen2-VL-7B) and rounded. A weaker model needs more background: LLaVA-1.6-7B 0.5.
        background: Share spread evenly over the Earth, even if every text is sure.
        coarse_level: S2 level at which the search for cells starts.
        finest_level: Level at which it ends.
        split_mass: A cell is split while it holds more than this of kernels less than twice as wide as itself.
        max_cells: Splitting stops here, the heaviest cells first.

    Raises:
        InputError: A value out of range.
    """

    widths_km: tuple[float, ...] = (10.0, 100.0, 500.0, 2000.0)
    shares: tuple[float, ...] = (0.18, 0.26, 0.4, 0.16)
    background: float = 0.08
    coarse_level: int = 4
    finest_level: int = 10
    split_mass: float = 0.001
    max_cells: int = 4000

    def __post_init__(self) -> None:
        """Check every field, naming the one at fault."""
        checks = {
            "widths_km": len(self.widths_km) >= 1 and min(self.widths_km, default=0) > 0,
            "shares": len(self.shares) == len(self.widths_km) and min(self.shares, default=0) > 0,
            "background": 0 < self.background < 1,
            "coarse_level": 0 <= self.coarse_level <= 6,
            "finest_level": self.coarse_level <= self.finest_level <= MAX_LEVEL,
            "split_mass": 0 < self.split_mass < 1,
            "max_cells": self.max_cells >= 6 * 4**self.coarse_level,
        }
        if bad := [name for name, good in checks.items() if not good]:
            raise InputError("text settings out of range: " + ", ".join(f"{x}={getattr(self, x)!r}" for x in bad))


def belief_from_text(texts: Sequence[str | Spoken], config: TextConfig | None = None) -> Belief:
    """The belief that a model's answers to the same question support.

    Args:
        texts: Samples, as written or already read; at least one.
        config: How words become a density.

    Returns:
        A belief; even over the Earth if no text names a place.

    Raises:
        InputError: No texts.
    """
    if not texts:
        raise InputError("no texts to read: ask the model at least once")
    chosen = config or TextConfig()
    votes = [read(text) if isinstance(text, str) else text for text in texts]
    said = [(one, one.weight / len(votes)) for vote in votes for one in vote.candidates if one.weight > 0]
    if not said:
        return Belief.uniform()
    # Samples repeat themselves: the same place is laid out once.
    unique: dict[tuple[float, float, float], float] = {}
    for one, weight in said:
        place = (one.lat, one.lon, _own_sigma_km(one))
        unique[place] = unique.get(place, 0.0) + weight
    lat, lon, own = np.array(list(unique)).T
    heard = np.array(list(unique.values())) * (1 - chosen.background)
    sigmas, weights = _components(own, heard, chosen)
    listed, mass = spread(
        to_xyz(lat, lon),
        weights,
        sigmas,
        levels=(chosen.coarse_level, chosen.finest_level),
        split_mass=chosen.split_mass,
        max_cells=chosen.max_cells,
    )
    even = (1 - float(heard.sum())) * cells.area_km2(listed) / EARTH_AREA_KM2
    total, keep = mass + even, mass > even
    return Belief.from_weights(listed[keep], total[keep], elsewhere=min(1.0, float(total[~keep].sum())))


def _own_sigma_km(one: Candidate) -> float:
    """Standard deviation along one axis of a candidate's own extent."""
    return (one.radius_km or 0.0) / 2


def _components(own_km: FloatArray, heard: FloatArray, config: TextConfig) -> tuple[tuple[float, ...], FloatArray]:
    """Widths, and the mass of each width around each place: (widths, places).

    Widths are rounded to a ladder of factors of √2, so that few of them serve all places.
    """
    shares = np.asarray(config.shares) / np.sum(config.shares)
    wide = np.hypot(np.asarray(config.widths_km)[:, None], own_km)
    steps, index = np.unique(np.round(2 * np.log2(wide)), return_inverse=True)
    weights = np.zeros((len(steps), len(own_km)))
    columns = np.broadcast_to(np.arange(len(own_km)), wide.shape)
    np.add.at(weights, (index.reshape(wide.shape), columns), shares[:, None] * heard)
    return tuple(float(2 ** (step / 2)) for step in steps), weights
