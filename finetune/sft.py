"""Teaches a LLaVA to point and to talk, on picture features that were computed once.

The tower is frozen and its patch features are cached, so a pass costs no vision: projector, language model and S2
rows are trained. Two kinds of sample alternate: *pointing* (picture and neighbours in, S2 symbols out) and *talking*
(picture and briefing in, several questions and answers out). The loss is on what the assistant says, and on nothing
else.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SftConfig:
    """Schedule of the language stage.

    Attributes:
        steps: Optimiser steps; each takes one pointing and one talking batch.
        point_batch: Pointing samples per step.
        talk_batch: Conversations per step.
        learning_rate: Peak.
        weight_decay: AdamW's, on matrices.
        turns: Questions in a conversation.
        neighbours: Neighbours told when pointing.
        blind_share: Share of pointing samples without neighbours.
        unseen_share: Share whose neighbours are taken only from beyond ``unseen_km``, as at an unseen place.
        unseen_km: That distance.
    """

    steps: int = 2500
    point_batch: int = 24
    talk_batch: int = 12
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    turns: int = 5
    neighbours: int = 6
    blind_share: float = 0.15
    unseen_share: float = 0.5
    unseen_km: float = 180.0
    checkpoint_every: int = 250
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Sample:
    """One training text: ``text`` in the chat template, ``row`` of the picture it is about."""

    text: str
    row: int


def tokenize(samples: Sequence[Sample], tokenizer: Any, image_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels of a batch, padded on the right.

    Labels are −100 everywhere but on what follows ``<|assistant|>`` up to and including the end mark; of an answer in
    S2 symbols, the opening mark is given and not asked for.

    Returns:
        Three (n, length) int64 tensors.
    """
    image = "<image>" * image_tokens
    rows = [tokenizer(s.text.replace("<image>", image), add_special_tokens=False)["input_ids"] for s in samples]
    length = max(map(len, rows))
    speaks, ends, opens = tokenizer.convert_tokens_to_ids(["<|assistant|>", "</s>", "<|geo|>"])
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    labels = torch.full((len(rows), length), -100)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        speaking = False
        for j, token in enumerate(row):
            if speaking and not (token == opens and row[j - 1] == speaks):
                labels[i, j] = token
            speaking = token == speaks or (speaking and token != ends)
    return ids, (ids != tokenizer.pad_token_id).long(), labels


def spoken_tokens(answers: Sequence[tuple[str, Sequence[str]]], tokenizer: Any, share: float = 0.0005) -> list[int]:
    """Tokens of what answers say around the values they repeat: the words of speech.

    Args:
        answers: Each with the values that were told.
        tokenizer: The model's.
        share: Least share of the answers that a token must appear in.
    """
    seen: Counter[int] = Counter()
    for answer, values in answers:
        around = [answer]
        for value in sorted(values, key=len, reverse=True):
            around = [part for text in around for part in text.split(value)]
        rows = tokenizer([part.rstrip(" ") for part in around if part.strip()], add_special_tokens=False)["input_ids"]
        seen.update({token for row in rows for token in row})
    return sorted(token for token, n in seen.items() if n >= share * len(answers))


def answer_loss(model: Any, features: Tensor, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled tokens of a LLaVA whose tower has already run.

    Args:
        model: ``LlavaForConditionalGeneration``.
        features: (n, patches, width) of the tower.
        ids: (n, length) with one image token per patch.
        mask: (n, length).
        labels: (n, length).
    """
    embeds = model.get_input_embeddings()(ids)
    seen = model.model.multi_modal_projector(features).to(embeds.dtype)
    where = (ids == model.config.image_token_id).unsqueeze(-1)
    embeds = embeds.masked_scatter(where, seen)
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state[:, :-1]
    asked = labels[:, 1:] != -100
    return F.cross_entropy(model.lm_head(hidden[asked]).float(), labels[:, 1:][asked])


@dataclasses.dataclass(frozen=True)
class Material:
    """What is learned from.

    Attributes:
        features: Rows of pictures to their (n, patches, width) tower features.
        point: Draws pointing samples.
        talk: Draws conversations.
    """

    features: Callable[[np.ndarray], Tensor]
    point: Callable[[np.random.Generator, int], list[Sample]]
    talk: Callable[[np.random.Generator, int], list[Sample]]


def train(
    model: Any,
    tokenizer: Any,
    material: Material,
    config: SftConfig,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Callable[..., Any] | None = None,
) -> Any:
    """Train projector and language model, or go on from the checkpoint in ``folder``.

    Args:
        model: The LLaVA; its tower is left as it is.
        tokenizer: Its tokenizer.
        material: Features and samples.
        config: Schedule.
        folder: Where checkpoints and ``log.jsonl`` go.
        device: Torch device.
        progress: A tqdm-like wrapper.
    """
    torch.manual_seed(config.seed)
    for parameter in model.model.vision_tower.parameters():
        parameter.requires_grad_(False)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    folder.mkdir(parents=True, exist_ok=True)
    kept, first = folder / "checkpoint.pt", 0
    if kept.exists():
        state = torch.load(kept, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        logger.info("resumed %s at step %d", folder.name, first)
    image_tokens, started = model.config.image_seq_length, time.monotonic()
    steps = range(first, config.steps)
    model.to(device).train()
    for step in progress(steps, initial=first, total=config.steps) if progress else steps:
        rng = np.random.default_rng((config.seed, step))
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps)
        losses = []
        for draw, count in ((material.point, config.point_batch), (material.talk, config.talk_batch)):
            samples = draw(rng, count)
            ids, mask, labels = (t.to(device) for t in tokenize(samples, tokenizer, image_tokens))
            seen = material.features(np.array([s.row for s in samples])).to(device)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                loss = answer_loss(model, seen, ids, mask, labels)
            loss.backward()
            losses.append(loss.item())
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            record = {"step": step + 1, "point": losses[0], "talk": losses[1], "seconds": time.monotonic() - started}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps({k: round(v, 4) for k, v in record.items()}) + "\n")
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            partial = kept.with_suffix(".part")
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, partial)
            partial.replace(kept)
    return model.eval()


def _schedule(step: int, steps: int, warmup: int = 50) -> float:
    return min((step + 1) / warmup, 0.03 + 0.97 * (0.5 + 0.5 * math.cos(math.pi * step / steps)))
