"""A gallery as lessons for GeoToken's transformer: which rows a picture sees as its neighbours, and how that is drawn.

Nearest rows are found once by exact search and kept. Drawing a picture drops what it may not see: the row itself, and
for a share of the pictures everything near, as at a place that the gallery does not hold.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea import geotokens
from gaea.errors import InputError
from gaea.locate.tokeninputs import TokensConfig
from gaea.locate.tokennet import Told
from gaea.rag.gallery import Gallery
from gaea.sphere import EARTH_RADIUS_KM, to_xyz

Progress: TypeAlias = Callable[..., Any]
_BLOCK_ROWS = 512


@dataclasses.dataclass(frozen=True)
class TokensRecipe:
    """Network and schedule; defaults are the published ones.

    Attributes:
        model: Sizes.
        epochs: Passes over the gallery.
        batch_size: Pictures per step.
        learning_rate: AdamW's, in the first epoch.
        weight_decay: AdamW's.
        epoch_decay: What the rate is multiplied by after each epoch.
        warmup_steps: Steps in which the rate rises from nothing; 0 for none.
        first_weight: Weight of the first symbol's cross-entropy.
        last_weight: Weight of the last one's; those between lie on a line.
        candidates: Nearest rows kept for each row, of which its neighbours are taken.
        unseen_share: Share of pictures that see no row within a distance drawn from ``unseen_km``.
        unseen_km: Range of that distance.
        noise: Largest length of a random vector added to a picture's embedding of length one, drawn evenly.
        clip: Longest gradient.
        checkpoint_every: Steps between checkpoints.
        seed: Of weights, order and draws.

    Raises:
        InputError: A value out of range.
    """

    model: TokensConfig = dataclasses.field(default_factory=TokensConfig)
    epochs: int = 50
    batch_size: int = 2048
    learning_rate: float = 5e-5
    weight_decay: float = 1e-6
    epoch_decay: float = 0.9
    warmup_steps: int = 0
    first_weight: float = 2.0
    last_weight: float = 1.0
    candidates: int = 256
    unseen_share: float = 0.0
    unseen_km: tuple[float, float] = (120.0, 220.0)
    noise: float = 0.0
    clip: float = 1.0
    checkpoint_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field, naming those at fault."""
        checks = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate > 0,
            "weight_decay": self.weight_decay >= 0,
            "epoch_decay": 0 < self.epoch_decay <= 1,
            "warmup_steps": self.warmup_steps >= 0,
            "first_weight": self.first_weight > 0,
            "last_weight": self.last_weight > 0,
            "candidates": self.candidates >= self.model.neighbours,
            "unseen_share": 0 <= self.unseen_share <= 1,
            "unseen_km": 0 <= self.unseen_km[0] <= self.unseen_km[1],
            "noise": self.noise >= 0,
            "clip": self.clip > 0,
            "checkpoint_every": self.checkpoint_every >= 1,
        }
        if bad := [name for name, good in checks.items() if not good]:
            told = ", ".join(f"{name}={getattr(self, name)!r}" for name in bad)
            raise InputError(f"settings of the tokens recipe are out of range: {told}")


class Rows:
    """A gallery as pictures with neighbours.

    Args:
        gallery: Embeddings and places.
        nearest: The most similar rows of each row but itself, best first, (n, candidates).
        config: What is drawn.

    Raises:
        InputError: The gallery's embeddings are no features of this network.
    """

    def __init__(self, gallery: Gallery, nearest: np.ndarray, config: TokensRecipe) -> None:
        if config.model.feature_widths != (gallery.meta.dim,):
            raise InputError(
                f"the gallery holds {gallery.meta.dim}-d embeddings and nothing else: set image_width to "
                f"{gallery.meta.dim}, location_width and text_width to 0, not {config.model.feature_widths}"
            )
        self.config = config
        self.nearest = torch.from_numpy(np.asarray(nearest))
        self.embeddings = torch.from_numpy(gallery.embeddings)
        self.symbols = torch.from_numpy(geotokens.encode(gallery.lat, gallery.lon)[:, : config.model.length])
        self.xyz = torch.from_numpy(to_xyz(gallery.lat, gallery.lon).astype(np.float32))

    def __len__(self) -> int:
        return len(self.xyz)

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[Told, Tensor]:
        """Pictures of these rows with the neighbours that they may see, and their symbols (n, L)."""
        told, chosen = self.config, torch.from_numpy(rows)
        near, own = self.nearest[chosen].long(), self.embeddings[chosen]
        if told.noise:
            lengths = rng.uniform(0, told.noise, (len(rows), 1))
            off = rng.standard_normal(own.shape) * lengths / math.sqrt(own.shape[1])
            own = F.normalize(own + torch.from_numpy(off.astype(np.float32)), dim=-1)
        cosine = torch.einsum("nkd,nd->nk", self.embeddings[near], own)
        away = torch.linalg.vector_norm(self.xyz[near] - self.xyz[chosen][:, None], dim=-1)
        unseen = rng.random(len(rows)) < told.unseen_share
        forbidden_km = np.where(unseen, rng.uniform(*told.unseen_km, len(rows)), -1.0)
        chord = 2 * np.sin(forbidden_km / (2 * EARTH_RADIUS_KM))
        hidden = away < torch.from_numpy(chord.astype(np.float32))[:, None]
        # Where nearly all candidates lie that near, the nearest places are hidden and the others have to do.
        spare = near.shape[1] - told.model.neighbours
        hidden &= away.argsort(1).argsort(1) < spare
        best = cosine.masked_fill(hidden, -2.0).topk(told.model.neighbours, 1)
        seen = near.gather(1, best.indices)
        pictures = Told((own,), (self.embeddings[seen],), self.symbols[seen], best.values, self.xyz[seen])
        return pictures, self.symbols[chosen]


def nearest_rows(gallery: Gallery, count: int, kept: Path, *, progress: Progress | None = None) -> np.ndarray:
    """The most similar rows of every row but itself, best first, by exact search in blocks; found once and kept.

    Args:
        gallery: What is searched.
        count: Rows for each.
        kept: An ``.npy`` file; with the gallery's content in its name by the caller's choice.
        progress: A tqdm-like wrapper.

    Returns:
        int32 positions, (n, count).

    Raises:
        InputError: The gallery has too few rows.
    """
    if len(gallery) <= count:
        raise InputError(f"the gallery has {len(gallery)} rows: too few for {count} candidates of each")
    if kept.exists():
        held: np.ndarray = np.load(kept)
        if held.shape == (len(gallery), count):
            return held
    known = torch.from_numpy(gallery.embeddings)
    found = np.empty((len(gallery), count), np.int32)
    blocks = range(0, len(gallery), _BLOCK_ROWS)
    for start in progress(blocks, desc="nearest rows") if progress else blocks:
        cosine = known[start : start + _BLOCK_ROWS] @ known.T
        at = torch.arange(len(cosine))
        cosine[at, start + at] = -2.0  # neighbour 0 is the row itself
        found[start : start + _BLOCK_ROWS] = cosine.topk(count, 1).indices.int().numpy()
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".part.npy")
    np.save(partial, found)
    partial.replace(kept)
    return found
