"""Trains a location head against the pictures of a gallery, whose encoder stays frozen (GeoCLIP, arXiv 2309.16020).

A batch's pictures are each to find their own place among the places of the batch and of further gallery rows (InfoNCE,
picture to place). GeoCLIP keeps those further places in a queue of earlier batches. Because a queued coordinate is
embedded anew at every step, a queue is nothing but more rows drawn at random: they are drawn here, which leaves
nothing to be carried over when a run is resumed. Positions get noise, less for the pictures' own places than for the
others; places too near to a picture's own to be wrong can be left out of its loss.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea.errors import InputError, ModelError
from gaea.finetune import recipe
from gaea.rag.gallery import Gallery
from gaea.rag.location_head import LocationHead, LocationHeadConfig, equal_earth
from gaea.sphere import EARTH_RADIUS_KM, destination, to_xyz

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LocationConfig:
    """Sizes and schedule; GeoCLIP's own values are 128 pictures, 4096 more places, noise of 0.15 and 1 km, rate 3e-5.

    Attributes:
        sigmas: See :class:`~gaea.rag.location_head.LocationHeadConfig`.
        frequencies: See there.
        width: See there.
        layers: See there.
        dim: See there.
        image_width: See there.
        steps: Optimiser steps.
        batch_size: Pictures per step.
        more_places: Further places that every picture of a batch is told apart from.
        own_noise_km: Standard deviation of each step's displacement of the pictures' own places.
        other_noise_km: Of the further places.
        near_km: Places nearer than this to a picture's own are no wrong answer for it.
        learning_rate: After a warm-up; falls to nothing along a cosine.
        weight_decay: AdamW's.
        checkpoint_every: Steps between checkpoints.
        seed: Of weights, batches and noise.
    """

    sigmas: tuple[float, float, float] = (1.0, 16.0, 256.0)
    frequencies: int = 256
    width: int = 1024
    layers: int = 3
    dim: int = 512
    image_width: int = 768
    steps: int = 15_000
    batch_size: int = 128
    more_places: int = 4096
    own_noise_km: float = 0.15
    other_noise_km: float = 1.0
    near_km: float = 0.0
    learning_rate: float = 3e-5
    weight_decay: float = 1e-6
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check counts and lengths."""
        counts = (self.steps, self.batch_size, self.more_places + 1, self.checkpoint_every)
        lengths = (self.own_noise_km, self.other_noise_km, self.near_km)
        if min(counts) < 1 or min(lengths) < 0 or self.learning_rate <= 0:
            raise InputError("steps, batch_size and learning_rate have to be positive, noise and near_km not negative")


def train(
    gallery: Gallery,
    config: LocationConfig,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Callable[..., Any] | None = None,
) -> LocationHead:
    """Train a head, or go on from the checkpoint in ``folder``; a resumed run ends as an unbroken one would.

    Args:
        gallery: Picture embeddings and their places; whatever is held out must not be in it.
        config: Sizes and schedule.
        folder: Gets ``config.json``, ``log.jsonl``, ``checkpoint.pt``, and in the end the head's two files.
        device: Torch device.
        progress: A tqdm-like wrapper of the steps.

    Raises:
        InputError: The gallery has no rows.
        ModelError: The checkpoint in ``folder`` belongs to another configuration.
    """
    if not len(gallery):
        raise InputError("the gallery has no rows: build one first")
    recipe.save(config, folder / "config.json")
    torch.manual_seed(config.seed)
    head = LocationHead(_head_config(gallery, config)).to(device).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    kept = folder / "checkpoint.pt"
    first = _resume(kept, head, optimiser, device)
    images = torch.from_numpy(gallery.embeddings)
    started, steps = time.monotonic(), range(first, config.steps)
    for step in progress(steps, initial=first, total=config.steps) if progress else steps:
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps)
        rows, plane, near = _draw(gallery, config, step)
        loss = _loss(head, images[torch.from_numpy(rows)].to(device), plane.to(device), near.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            record = {"step": step + 1, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - started, 1)}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            partial = kept.with_suffix(".part")
            torch.save({"head": head.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, partial)
            partial.replace(kept)
            logger.info("location head %s", record)
    head.eval().save(folder)
    return head


def _head_config(gallery: Gallery, config: LocationConfig) -> LocationHeadConfig:
    return LocationHeadConfig(
        sigmas=config.sigmas,
        frequencies=config.frequencies,
        width=config.width,
        layers=config.layers,
        dim=config.dim,
        image_dim=gallery.meta.dim,
        image_width=config.image_width,
        encoder=gallery.meta.encoder,
        fingerprint=gallery.meta.fingerprint,
    )


def _draw(gallery: Gallery, config: LocationConfig, step: int) -> tuple[np.ndarray, Tensor, Tensor]:
    """A step's pictures (n,), all its places in the plane (n + m, 2), and which of them are too near, (n, n + m)."""
    rng = np.random.default_rng((config.seed, step))
    n = min(config.batch_size, len(gallery))
    rows = rng.choice(len(gallery), n, replace=False)
    everyone = np.concatenate([rows, rng.integers(len(gallery), size=config.more_places)])
    noise = np.r_[np.full(n, config.own_noise_km), np.full(config.more_places, config.other_noise_km)]
    # Two normal components make a displacement of Rayleigh length in an even direction.
    turn, length_km = rng.uniform(0, 360, len(everyone)), noise * rng.rayleigh(size=len(everyone))
    lat, lon = destination(gallery.lat[everyone], gallery.lon[everyone], turn, length_km)
    xyz = torch.from_numpy(to_xyz(lat, lon))
    near = torch.acos((xyz[:n] @ xyz.T).clamp(-1, 1)) * EARTH_RADIUS_KM < config.near_km
    near.fill_diagonal_(False)
    # The same row may have been drawn again among the others; it is never a wrong answer.
    near |= torch.from_numpy(everyone[None] == rows[:, None]) & ~torch.eye(n, len(everyone), dtype=torch.bool)
    return rows, torch.from_numpy(equal_earth(lat, lon).astype(np.float32)), near


def _loss(head: LocationHead, images: Tensor, plane: Tensor, near: Tensor) -> Tensor:
    logits = head.image_rows(images) @ head.place_rows(plane).T * head.log_scale.exp().clamp(max=100)
    return F.cross_entropy(logits.masked_fill(near, -torch.inf), torch.arange(len(images), device=logits.device))


def _schedule(step: int, steps: int, warmup: int = 50) -> float:
    return min((step + 1) / warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _resume(kept: Path, head: LocationHead, optimiser: torch.optim.Optimizer, device: str) -> int:
    if not kept.exists():
        return 0
    state = torch.load(kept, map_location=device, weights_only=True)
    try:
        head.load_state_dict(state["head"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{kept} belongs to another configuration: give another folder, or delete it") from error
    return int(state["step"])
