"""A loss in which every row counts the same, however long its answer.

The mean over the tokens of a batch, as models of transformers compute it, is ruled by long answers: among a region's
questions a verdict is two tokens and a description of the surroundings 170. Scores are asked for only where some row of
the batch has something to learn: with a short answer behind a long prompt, most of a model's last layer goes unused.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from gaea.finetune.collate import IGNORED


def asked_positions(labels: Tensor) -> Tensor:
    """Where in a batch the next token is learned by any of its rows, ``(m,)``; for a model's ``logits_to_keep``."""
    return (labels[:, 1:] != IGNORED).any(0).nonzero()[:, 0]


def row_mean(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of each row's mean cross-entropy.

    Args:
        logits: At :func:`asked_positions`, ``(n, m, vocabulary)``.
        labels: ``(n, length)``, :data:`gaea.finetune.collate.IGNORED` where nothing is learned; some of each row is.
    """
    targets = labels[:, 1:][:, asked_positions(labels)]
    asked = targets != IGNORED
    losses = F.cross_entropy(logits[asked].float(), targets[asked], reduction="none")
    weights = (1 / asked.sum(1, keepdim=True).clamp(min=1)).expand(asked.shape)[asked]
    return (losses * weights).sum() / len(labels)
