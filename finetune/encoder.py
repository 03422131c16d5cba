"""Trains a vision tower to know places: hierarchical S2 cells as classes, softened by distance.

A picture's unit embedding is compared with one learned prototype per S2 cell (a normalised softmax, the proxy
classification of the continent-scale paper, arXiv 2510.26795). The target is not one cell but a mixture of two
exponential kernels on the sphere, so that a near miss costs less than a far one; a second term asks the same of the
coarse ancestors. Prototypes start as a smooth random function of their place (random Fourier features), so that
neighbouring cells begin alike and learn together: with independent starts the loss fell by half as much in the first
steps (docs/experiments.md).
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
from gaea.finetune.augment import AugmentConfig, augment
from gaea.finetune.crops import CropConfig, Crops
from torch import Tensor, nn
from torch.nn import functional as F

from gaea import cells
from gaea.sphere import EARTH_RADIUS_KM, to_xyz

logger = logging.getLogger(__name__)
MEAN = (0.40, 0.40, 0.38)
STD = (0.25, 0.22, 0.22)


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """One tower's architecture and schedule.

    Attributes:
        arch: ``resnet`` (CLIP's modified ResNet, for retrieval) or ``vit`` (for the language model's tower).
        layers: Blocks per stage (resnet) or one number (vit).
        width: Channels of the first stage, or of every token.
        patch_size: Pixels per token (vit).
        image_size: Side of the input, pixels.
        embed_dim: Length of the embedding that is compared with prototypes.
        pool: Number of crops rendered once and revisited.
        steps: Optimiser steps.
        batch_size: Pictures per step.
        learning_rate: Held after a warm-up, then lowered to nothing over the last ``decay`` of the steps.
        weight_decay: AdamW's.
        level: S2 level of the prototypes.
        coarse_level: Level of the second classification term.
        near_km: Length of the narrow target kernel.
        far_km: Length of the wide one.
        decay: Share of the steps in which the learning rate falls.
        distill_weight: Weight of the cosine to a teacher's embedding, where one is given.
    """

    arch: str = "resnet"
    layers: tuple[int, ...] = (2, 2, 2, 1)
    width: int = 32
    patch_size: int = 16
    image_size: int = 96
    embed_dim: int = 128
    pool: int = 150_000
    steps: int = 6000
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    level: int = 6
    coarse_level: int = 3
    near_km: float = 50.0
    far_km: float = 300.0
    decay: float = 0.35
    distill_weight: float = 0.0
    checkpoint_every: int = 500
    seed: int = 0
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    crops: CropConfig = dataclasses.field(default_factory=CropConfig)


def build_tower(config: EncoderConfig) -> nn.Module:
    """The vision tower exactly as open_clip builds it, with random weights."""
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import VisionTransformer

    if config.arch == "resnet":
        heads = config.width * 32 // 64
        return ModifiedResNet(list(config.layers), config.embed_dim, heads, config.image_size, config.width)
    return VisionTransformer(
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        layers=config.layers[0],
        heads=config.width // 64,
        mlp_ratio=4.0,
        output_dim=config.embed_dim,
    )


class PlaceClassifier(nn.Module):
    """A tower, and one unit prototype per S2 cell to compare its embedding with."""

    def __init__(self, tower: nn.Module, cell_ids: np.ndarray, config: EncoderConfig) -> None:
        super().__init__()
        self.tower = tower
        lat, lon = cells.to_latlon(cell_ids)
        self.register_buffer("centres", torch.tensor(to_xyz(lat, lon), dtype=torch.float32), persistent=False)
        parents, members = np.unique(cells.parent(cell_ids, config.coarse_level), return_inverse=True)
        self.register_buffer("coarse", torch.tensor(members), persistent=False)
        self.coarse_count = len(parents)
        half = config.embed_dim // 2
        waves = torch.cat([torch.randn(3, half) * 2, torch.randn(3, config.embed_dim - half) * 5], 1)
        phases = torch.rand(config.embed_dim) * 2 * math.pi
        self.prototypes = nn.Parameter(torch.cos(self.centres @ waves + phases) / config.embed_dim**0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(16.0)))

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """(n, embed_dim) unit embeddings of normalised pictures."""
        return F.normalize(self.tower(images_NCHW).float(), dim=-1)

    def logits(self, embeddings: Tensor) -> Tensor:
        """(n, cells) scaled cosines."""
        return embeddings @ F.normalize(self.prototypes, dim=-1).T * self.log_scale.exp().clamp(max=80)


def normalise(images_NCHW: Tensor) -> Tensor:
    """Centre and scale pictures in 0…1 as the shipped preprocessing does."""
    mean = torch.tensor(MEAN, device=images_NCHW.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=images_NCHW.device).view(1, 3, 1, 1)
    return (images_NCHW - mean) / std


def soft_targets(xyz: Tensor, centres: Tensor, near_km: float, far_km: float) -> Tensor:
    """(n, cells) target distribution: 0.65 of a narrow and 0.35 of a wide exponential kernel of distance."""
    distance = torch.arccos((xyz @ centres.T).clamp(-1, 1)) * EARTH_RADIUS_KM
    return 0.65 * F.softmax(-distance / near_km, 1) + 0.35 * F.softmax(-distance / far_km, 1)


def train(  # noqa: PLR0915 - one loop, read from top to bottom
    config: EncoderConfig,
    crops: Crops,
    validation: Crops,
    folder: Path,
    *,
    device: str = "cpu",
    teacher: Tensor | None = None,
    progress: Callable[..., Any] | None = None,
) -> PlaceClassifier:
    """Train one tower, or go on from the checkpoint in ``folder``.

    Args:
        config: What to build and how long to train.
        crops: Training pictures.
        validation: Pictures of held-out blocks, for the log only.
        folder: Where checkpoints and ``log.jsonl`` go.
        device: Torch device.
        teacher: (n, embed_dim) embeddings of ``crops`` to be imitated, where ``distill_weight`` > 0.
        progress: A tqdm-like wrapper for the step counter.

    Returns:
        The trained classifier, in evaluation mode.
    """
    torch.manual_seed(config.seed)
    ids = np.unique(cells.from_latlon(crops.lat.astype(float), crops.lon.astype(float), config.level))
    model = PlaceClassifier(build_tower(config), ids, config).to(device)
    if config.arch == "resnet":
        model = model.to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
    xyz = torch.tensor(to_xyz(crops.lat.astype(float), crops.lon.astype(float)), dtype=torch.float32, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "checkpoint.pt"
    first = 0
    if kept.exists():
        state = torch.load(kept, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        logger.info("resumed %s at step %d", folder.name, first)
    started = time.monotonic()
    steps = range(first, config.steps)
    for step in progress(steps, initial=first, total=config.steps) if progress else steps:
        rng = np.random.default_rng((config.seed, step))  # a resumed run draws what an unbroken one would have
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = np.sort(rng.choice(len(crops), config.batch_size, replace=False))
        pictures = crops.images_NHWC[rows]
        x = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float().div_(255)
        x = normalise(augment(_jitter_frame(x, rng, config.image_size), config.augment, generator))
        at = xyz[torch.from_numpy(rows).to(device)]
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps, config.decay)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            raw = model.tower(x.contiguous(memory_format=torch.channels_last) if config.arch == "resnet" else x)
        z = F.normalize(raw.float(), dim=-1)
        target = soft_targets(at, model.centres, config.near_km, config.far_km)
        loss = _cell_loss(model, z, target)
        if teacher is not None:
            wanted = teacher[torch.from_numpy(rows)].to(device).float()
            loss = loss + config.distill_weight * (1 - (z * wanted).sum(-1)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        last = step + 1 == config.steps
        if (step + 1) % config.checkpoint_every == 0 or last:
            record = {"step": step + 1, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - started, 1)}
            record |= evaluate(model, validation)
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            partial = kept.with_suffix(".part")
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, partial)
            partial.replace(kept)
            logger.info("%s %s", folder.name, record)
    return model.eval()


def evaluate(model: PlaceClassifier, crops: Crops) -> dict[str, float]:
    """Median error and share within 200 km of the most probable cell's centre."""
    model.eval()
    embeddings = embed(model.embed, crops.images_NHWC, next(model.parameters()).device)
    with torch.no_grad():
        best = model.logits(embeddings).argmax(1)
    truth = torch.tensor(to_xyz(crops.lat.astype(float), crops.lon.astype(float)), dtype=torch.float32)
    guess = model.centres.cpu()[best.cpu()]
    error_km = torch.arccos((guess * truth).sum(1).clamp(-1, 1)) * EARTH_RADIUS_KM
    model.train()
    return {
        "median_km": round(error_km.median().item(), 1),
        "within_200": round((error_km <= 200).float().mean().item(), 4),
    }


@torch.no_grad()
def embed(
    encode: Callable[[Tensor], Tensor], images_NHWC: np.ndarray, device: torch.device | str = "cpu", batch: int = 256
) -> Tensor:
    """(n, dim) embeddings of uint8 pictures, in order."""
    out = []
    for i in range(0, len(images_NHWC), batch):
        x = torch.from_numpy(np.ascontiguousarray(images_NHWC[i : i + batch])).to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            out.append(encode(normalise(x.permute(0, 3, 1, 2).float().div_(255))).float())
    return torch.cat(out)


def _cell_loss(model: PlaceClassifier, z: Tensor, target: Tensor) -> Tensor:
    log_p = F.log_softmax(model.logits(z), 1)
    fine = -(target * log_p).sum(1).mean()
    index = model.coarse.expand(len(z), -1)
    coarse_target = torch.zeros(len(z), model.coarse_count, device=z.device).scatter_add_(1, index, target)
    coarse_p = torch.zeros(len(z), model.coarse_count, device=z.device).scatter_add_(1, index, log_p.exp())
    return fine - 0.5 * (coarse_target * coarse_p.clamp(min=1e-8).log()).sum(1).mean()


def _jitter_frame(images_NCHW: Tensor, rng: np.random.Generator, size: int) -> Tensor:
    """A slightly smaller frame at a random place, the same for the batch, brought to the input size."""
    side = images_NCHW.shape[-1]
    keep = int(rng.integers(int(side * 0.85), side + 1))
    top, left = rng.integers(0, side - keep + 1, 2)
    frame = images_NCHW[:, :, top : top + keep, left : left + keep]
    return frame if keep == size else F.interpolate(frame, size=(size, size), mode="bilinear", align_corners=False)


def _schedule(step: int, steps: int, decay: float, warmup: int = 60) -> float:
    """Warm up, hold, fall linearly: a run can be cut short by resuming it with fewer steps."""
    return min((step + 1) / warmup, 1.0, max(steps - step, 1) / (steps * decay))
