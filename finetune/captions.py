"""Teaches the text tower to meet the vision tower: captions made of facts, against pictures whose features are frozen.

Contrastive learning with a locked image tower (LiT, arXiv 2111.07991): the picture embeddings are computed once, so
that only the small text transformer runs. Captions that say the same of two pictures are no negatives of each other.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaea.finetune.briefings import KnownPlace


@dataclasses.dataclass(frozen=True)
class CaptionConfig:
    """The text tower and its schedule."""

    width: int = 128
    heads: int = 2
    layers: int = 3
    context: int = 40
    steps: int = 800
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0


def caption(place: KnownPlace, rng: np.random.Generator) -> str:
    """One sentence about a place as it is seen from above; which facts it tells is left to chance."""
    facts = dict(place.facts)
    where = [facts.get(k) for k in ("region", "country", "continent", "sea")]
    told = [w for w in where if w and rng.random() < 0.7] or [next((w for w in where if w), "the Earth")]
    extra = [facts[k] for k in ("climate", "coast") if k in facts and rng.random() < 0.5]
    opening = ("a picture from orbit of", "the Earth from above:", "a satellite view of", "seen from space:")
    return " ".join([opening[int(rng.integers(4))], ", ".join([*told, *extra])])


def train(
    clip: nn.Module, tokenize: object, embeddings: Tensor, world: list[KnownPlace], config: CaptionConfig
) -> list[float]:
    """Train the text tower of an open_clip model in place.

    Args:
        clip: ``open_clip.CLIP``; its vision tower is not used.
        tokenize: Texts to an (n, context) tensor of ids.
        embeddings: (n, dim) unit embeddings of pictures.
        world: What is known of each picture's place.
        config: Schedule.

    Returns:
        The loss of every tenth step.
    """
    torch.manual_seed(config.seed)
    learned = [p for name, p in clip.named_parameters() if not name.startswith("visual.") and p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.1)
    losses = []
    for step in range(config.steps):
        rng = np.random.default_rng((config.seed, step))
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * min((step + 1) / 50, 1 - step / config.steps)
        rows = rng.choice(len(world), min(config.batch_size, len(world)), replace=False)
        texts = [caption(world[int(r)], rng) for r in rows]
        words = clip.encode_text(tokenize(texts), normalize=True)  # type: ignore[operator]
        logits = words @ embeddings[torch.from_numpy(rows)].T * clip.logit_scale.exp().clamp(max=50)  # type: ignore[operator]
        same = np.array([[a == b for b in texts] for a in texts])
        np.fill_diagonal(same, False)
        logits = logits.masked_fill(torch.from_numpy(same), -1e4)
        target = torch.arange(len(rows))
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 10 == 0:
            losses.append(loss.item())
    return losses
