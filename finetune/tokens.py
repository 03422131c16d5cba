"""Trains GeoToken's transformer on a gallery: each row is a picture, and the rows most like it are its neighbours.

A gallery holds training places only (docs/decisions/0004), so nothing else is learned from.

Source:
    GeoToken (arXiv 2511.01082 and its code): teacher forcing, cross-entropy weighted linearly from the first symbol to
    the last, AdamW, the rate multiplied after each epoch. Unseen places and noise are our own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea.errors import ModelError
from gaea.finetune import recipe
from gaea.finetune.tokenrows import Progress, Rows, TokensRecipe, nearest_rows
from gaea.locate import tokens as locator
from gaea.locate.tokennet import TokensNet, Told
from gaea.rag.gallery import Gallery

__all__ = ["Rows", "TokensRecipe", "loss_of", "make", "nearest_rows", "train"]

logger = logging.getLogger(__name__)


def loss_of(logits: list[Tensor], symbols: Tensor, config: TokensRecipe) -> tuple[Tensor, Tensor]:
    """Weighted mean of the symbols' cross-entropies, and each of them, (L,), in nats."""
    each = torch.stack([F.cross_entropy(step.float(), symbols[:, k]) for k, step in enumerate(logits)])
    weights = torch.linspace(config.first_weight, config.last_weight, len(logits), device=each.device)
    return (each * weights).sum() / weights.sum(), each.detach()


def train(
    config: TokensRecipe,
    rows: Rows,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> TokensNet:
    """Train, or go on from the checkpoint in ``folder``; a run that was killed ends as it would have.

    Args:
        config: Network and schedule.
        rows: What is learned from.
        folder: Where ``checkpoint.pt`` and ``log.jsonl`` go, and at the end the network itself.
        device: Torch device.
        progress: A tqdm-like wrapper.

    Raises:
        ModelError: The checkpoint is of another network.
    """
    torch.manual_seed(config.seed)
    net = TokensNet(config.model).to(device).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    folder.mkdir(parents=True, exist_ok=True)
    kept, first = folder / "checkpoint.pt", 0
    if kept.exists():
        first = _resume(kept, net, optimiser, device)
    a_pass = max(len(rows) // config.batch_size, 1)
    total, started = config.epochs * a_pass, time.monotonic()
    steps = range(first, total)
    for step in progress(steps, initial=first, total=total, desc="tokens") if progress else steps:
        epoch, at = divmod(step, a_pass)
        # Drawn anew at each step from its number, so that a resumed run draws what the first would have.
        rng = np.random.default_rng((config.seed, step))
        torch.manual_seed(config.seed + step)
        order = np.random.default_rng((config.seed, epoch, 1)).permutation(len(rows))
        pictures, symbols = rows.draw(order[at * config.batch_size : (at + 1) * config.batch_size], rng)
        rate = config.learning_rate * config.epoch_decay**epoch * min((step + 1) / max(config.warmup_steps, 1), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss, each = loss_of(net(_moved(pictures, device), symbols.to(device)), symbols.to(device), config)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0 or step + 1 == total:
            record: dict[str, Any] = {
                "step": step + 1,
                "epoch": epoch,
                "rate": rate,
                "loss": loss.item(),
                "seconds": time.monotonic() - started,
            }
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(record | {"nats": [round(v, 3) for v in each.tolist()]}) + "\n")
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == total:
            partial = kept.with_suffix(".part")
            torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, partial)
            partial.replace(kept)
    net.eval()
    locator.save(net, folder)
    return net


def _resume(kept: Path, net: TokensNet, optimiser: torch.optim.Optimizer, device: str) -> int:
    state = torch.load(kept, map_location=device, weights_only=True)
    try:
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{kept} is of another network: choose another folder, or delete it") from error
    logger.info("resumed %s at step %d", kept.parent.name, state["step"])
    return int(state["step"])


def _moved(pictures: Told, device: str) -> Told:
    features, near = (tuple(t.to(device) for t in kind) for kind in (pictures.features, pictures.neighbour_features))
    rest = (t.to(device) for t in (pictures.symbols, pictures.similarity, pictures.xyz))
    return Told(features, near, *rest)


def make(
    config: TokensRecipe,
    gallery: Gallery,
    out: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> TokensNet:
    """Find neighbours and train; what is done is not done again, and the settings are kept beside the result.

    Raises:
        ModelError: The folder holds a network of another recipe or another encoder.
    """
    model = dataclasses.replace(config.model, encoder=gallery.meta.fingerprint)
    config = dataclasses.replace(config, model=model)
    described = out / "recipe.json"
    asked = json.loads(recipe.text(config))["model"]
    if described.exists() and json.loads(described.read_text()).get("model", asked) != asked:
        raise ModelError(f"{out} is of another network or another encoder: choose another folder, or delete it")
    recipe.save(config, described)
    kept = out / f"nearest-{gallery.content_hash[:16]}-{config.candidates}.npy"
    return train(
        config,
        Rows(gallery, nearest_rows(gallery, config.candidates, kept, progress=progress), config),
        out,
        device=device,
        progress=progress,
    )
