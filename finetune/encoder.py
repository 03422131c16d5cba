"""Trains a vision tower to know places: hierarchical S2 cells as classes, softened by distance.

A picture's unit embedding is compared with one learned prototype per S2 cell (a normalised softmax, the proxy
classification of the continent-scale paper, arXiv 2510.26795). The target is not one cell but a mixture of two
exponential kernels on the sphere, so that a near miss costs less than a far one; a second term asks the same of the
coarse ancestors. Prototypes start as a smooth random function of their place (random Fourier features), so that
neighbouring cells begin alike and learn together. A third term (:mod:`gaea.finetune.gap`) hides what lies near a
picture and asks for what lies nearest beyond, which is what a picture of an unseen place needs.

Two towers go through the same loop: the retrieval trunk (:mod:`gaea.rag.orbitnet`), whose fixed statistics are
computed once per crop, and the language model's vision transformer, which sees pictures, augmented anew each time, and
may also imitate the first.
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
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaea import cells
from gaea.finetune.augment import AugmentConfig
from gaea.finetune.crops import Crops
from gaea.finetune.gap import GapConfig, Queue, gap_loss
from gaea.finetune.inputs import Inputs, floats, normalise
from gaea.rag import orbitpair  # noqa: F401 - registers its trunks with timm
from gaea.rag.orbitnet import NAME as ORBITNET
from gaea.sphere import EARTH_RADIUS_KM, to_xyz

logger = logging.getLogger(__name__)
SCALES = ("log_scale", "log_gap_scale")
WHOLE = slice(None)  # of an embedding


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """One tower's architecture and schedule.

    Attributes:
        arch: ``orbit`` (the retrieval trunk of statistics), ``pair`` (the one of statistics and a convolutional
            network) or ``vit`` (the language model's tower).
        trunk: Registered name of the retrieval trunk (orbit, pair).
        width: Width of every token (vit).
        layers: Transformer blocks (vit).
        patch_size: Pixels per token (vit).
        image_size: Side of the input, pixels.
        embed_dim: Length of the embedding that is compared with prototypes.
        steps: Optimiser steps.
        batch_size: Pictures per step.
        learning_rate: Held after a warm-up, then lowered to nothing over the last ``decay`` of the steps.
        weight_decay: AdamW's, on matrices.
        decay: Share of the steps in which the learning rate falls.
        level: S2 level of the prototypes.
        coarse_level: Level of the second classification term.
        near_km: Length of the narrow target kernel.
        far_km: Length of the wide one.
        far_share: Weight of the wide one.
        cell_weight: Weight of the classification.
        cell_batch: Pictures of a batch that are classified; 0 is all.
        halves_weight: Weight of the same losses asked of each half of the embedding by itself (pair).
        distill_weight: Weight of the cosine to a teacher's embedding, where one is given.
        gap: The term that teaches to find what surrounds a missing place.
        checkpoint_every: Steps between checkpoints.
        seed: Of weights, batches and augmentation.
        augment: What pictures are put through.
    """

    arch: str = "orbit"
    trunk: str = ORBITNET
    width: int = 192
    layers: int = 6
    patch_size: int = 16
    image_size: int = 96
    embed_dim: int = 128
    steps: int = 8000
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    decay: float = 0.6
    level: int = 6
    coarse_level: int = 3
    near_km: float = 50.0
    far_km: float = 300.0
    far_share: float = 0.35
    cell_weight: float = 1.0
    cell_batch: int = 0
    halves_weight: float = 0.0
    distill_weight: float = 0.0
    gap: GapConfig = dataclasses.field(default_factory=GapConfig)
    checkpoint_every: int = 500
    seed: int = 0
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)


def build_tower(config: EncoderConfig) -> nn.Module:
    """The vision tower exactly as open_clip builds it, with random weights."""
    if config.arch in ("orbit", "pair"):
        return timm.create_model(config.trunk, num_classes=config.embed_dim)
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        layers=config.layers,
        heads=config.width // 64,
        mlp_ratio=4.0,
        output_dim=config.embed_dim,
    )


class PlaceClassifier(nn.Module):
    """A tower, and one unit prototype per S2 cell to compare its embedding with."""

    def __init__(self, tower: nn.Module, cell_ids: np.ndarray, config: EncoderConfig) -> None:
        super().__init__()
        self.tower, self.image_size = tower, config.image_size
        lat, lon = cells.to_latlon(cell_ids)
        self.register_buffer("centres", torch.tensor(to_xyz(lat, lon), dtype=torch.float32), persistent=False)
        parents, members = np.unique(cells.parent(cell_ids, config.coarse_level), return_inverse=True)
        self.register_buffer("coarse", torch.tensor(members), persistent=False)
        self.coarse_count = len(parents)
        half = config.embed_dim // 2
        waves = torch.cat([torch.randn(3, half) * 2, torch.randn(3, config.embed_dim - half) * 5], 1)
        phases = torch.rand(config.embed_dim) * 2 * math.pi
        self.prototypes = nn.Parameter(torch.cos(self.centres @ waves + phases) / config.embed_dim**0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.log_gap_scale = nn.Parameter(torch.tensor(math.log(15.0)))

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """(n, embed_dim) unit embeddings of normalised pictures."""
        return F.normalize(self.tower(images_NCHW).float(), dim=-1)

    def logits(self, embeddings: Tensor, part: slice = WHOLE) -> Tensor:
        """(n, cells) scaled cosines of unit embeddings, or of a part of them made unit vectors."""
        return embeddings @ F.normalize(self.prototypes[:, part], dim=-1).T * self.log_scale.exp().clamp(max=80)


def soft_targets(xyz: Tensor, centres: Tensor, config: EncoderConfig) -> Tensor:
    """(n, cells) target distribution: a narrow and a wide exponential kernel of distance, mixed."""
    distance = torch.arccos((xyz @ centres.T).clamp(-1, 1)) * EARTH_RADIUS_KM
    near, far = F.softmax(-distance / config.near_km, 1), F.softmax(-distance / config.far_km, 1)
    return torch.lerp(near, far, config.far_share)


def train(
    config: EncoderConfig,
    tower: nn.Module,
    inputs: Inputs,
    validation: Crops,
    folder: Path,
    *,
    device: str = "cpu",
    teacher: Tensor | None = None,
    progress: Callable[..., Any] | None = None,
) -> PlaceClassifier:
    """Train one tower, or go on from the checkpoint in ``folder``.

    Args:
        config: How long to train, and towards what.
        tower: From :func:`build_tower` or :func:`gaea.finetune.inputs.prepare`.
        inputs: Training inputs and their places.
        validation: Pictures of held-out blocks, for the log only.
        folder: Where checkpoints and ``log.jsonl`` go.
        device: Torch device.
        teacher: (n, embed_dim) unit embeddings of the inputs to be imitated, where ``distill_weight`` > 0.
        progress: A tqdm-like wrapper for the step counter.

    Returns:
        The trained classifier, in evaluation mode.
    """
    torch.manual_seed(config.seed)
    lat, lon = inputs.lat.astype(float), inputs.lon.astype(float)
    model = PlaceClassifier(tower, np.unique(cells.from_latlon(lat, lon, config.level)), config).to(device)
    optimiser = _optimiser(model, config)
    xyz = torch.tensor(to_xyz(lat, lon), dtype=torch.float32, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "checkpoint.pt"
    first, queue = _resume(kept, model, optimiser, device)
    started, steps = time.monotonic(), range(first, config.steps)
    model.train()
    for step in progress(steps, initial=first, total=config.steps) if progress else steps:
        # A resumed run draws what an unbroken one would have, dropout included.
        rng = np.random.default_rng((config.seed, step))
        torch.manual_seed((config.seed << 32) + step)
        rows = rng.integers(len(lat), size=config.batch_size)
        x = inputs.batch(rows, rng).to(device)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * _schedule(step, config.steps, config.decay)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            raw = inputs.forward(model.tower, x)
        z, where = F.normalize(raw.float(), dim=-1), xyz[torch.from_numpy(rows)]
        batch = Queue(z, where)
        loss = _loss(model, batch, queue, config, WHOLE)
        if config.halves_weight:
            middle = z.shape[1] // 2
            apart = [_loss(model, batch, queue, config, half) for half in (slice(middle), slice(middle, None))]
            loss = loss + config.halves_weight * (apart[0] + apart[1]) / 2
        if config.gap.weight and step >= config.gap.after:
            queue = queue.pushed(z, where, config.gap.queue)
        if teacher is not None:
            wanted = teacher[torch.from_numpy(rows)].to(device).float()
            loss = loss + config.distill_weight * (1 - (z * wanted).sum(-1)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            record = {"step": step + 1, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - started, 1)}
            record |= evaluate(model, validation)
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            partial = kept.with_suffix(".part")
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state | {"queue": [queue.embeddings, queue.xyz]}, partial)
            partial.replace(kept)
            logger.info("%s %s", folder.name, record)
    return model.eval()


def _optimiser(model: PlaceClassifier, config: EncoderConfig) -> torch.optim.Optimizer:
    learned = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rate, scale = config.learning_rate, [p for name, p in learned if name in SCALES]
    decayed = [p for name, p in learned if p.ndim > 1]
    plain = [p for name, p in learned if p.ndim <= 1 and name not in SCALES]
    return torch.optim.AdamW(
        [
            {"params": decayed, "peak": rate, "weight_decay": config.weight_decay},
            {"params": plain, "peak": rate, "weight_decay": 0.0},
            {"params": scale, "peak": 5 * rate, "weight_decay": 0.0},
        ],
        lr=rate,
    )


def _resume(kept: Path, model: PlaceClassifier, optimiser: torch.optim.Optimizer, device: str) -> tuple[int, Queue]:
    if not kept.exists():
        return 0, Queue.empty(model.prototypes.shape[1], device)
    state = torch.load(kept, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    logger.info("resumed %s at step %d", kept.parent.name, state["step"])
    return int(state["step"]), Queue(*state["queue"])


def evaluate(model: PlaceClassifier, crops: Crops) -> dict[str, float]:
    """Median error and share within 200 km of the most probable cell's centre."""
    model.eval()
    embeddings = embed(model.embed, crops.images_NHWC, next(model.parameters()).device, size=model.image_size)
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
    encode: Callable[[Tensor], Tensor],
    images_NHWC: np.ndarray,
    device: torch.device | str = "cpu",
    batch: int = 256,
    *,
    size: int | None = None,
) -> Tensor:
    """(n, dim) embeddings of uint8 pictures, in order; brought to ``size`` pixels where it is given."""
    out = []
    for i in range(0, len(images_NHWC), batch):
        x = floats(images_NHWC[i : i + batch], size, device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            out.append(encode(normalise(x)).float())
    return torch.cat(out)


def _loss(model: PlaceClassifier, batch: Queue, queue: Queue, config: EncoderConfig, part: slice) -> Tensor:
    """What is asked of a part of a batch's embeddings: their cells, and what lies beyond the gap."""
    z, where = F.normalize(batch.embeddings[:, part], dim=-1), batch.xyz
    some = slice(0, config.cell_batch or len(z))
    target = soft_targets(where[some], model.centres, config)
    loss = config.cell_weight * _cell_loss(model, model.logits(z[some], part), target)
    if config.gap.weight:
        scale = model.log_gap_scale.exp().clamp(max=60)
        earlier = Queue(F.normalize(queue.embeddings[:, part], dim=-1), queue.xyz)
        loss = loss + config.gap.weight * gap_loss(z, where, scale, earlier, config.gap)
    return loss


def _cell_loss(model: PlaceClassifier, logits: Tensor, target: Tensor) -> Tensor:
    log_p = F.log_softmax(logits, 1)
    fine = -(target * log_p).sum(1).mean()
    index = model.coarse.expand(len(logits), -1)
    coarse_target = torch.zeros(len(logits), model.coarse_count, device=logits.device).scatter_add_(1, index, target)
    coarse_p = torch.zeros(len(logits), model.coarse_count, device=logits.device).scatter_add_(1, index, log_p.exp())
    return fine - 0.5 * (coarse_target * coarse_p.clamp(min=1e-8).log()).sum(1).mean()


def _schedule(step: int, steps: int, decay: float, warmup: int = 60) -> float:
    """Warm up, hold, fall linearly: a run can be cut short by resuming it with fewer steps."""
    return min((step + 1) / warmup, 1.0, max(steps - step, 1) / (steps * decay))
