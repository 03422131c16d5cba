"""A loss in which every row counts the same, however long its answer.

The mean over the tokens of a batch, as models of transformers compute it, is ruled by long answers: among a region's
questions a verdict is two tokens and a description of the surroundings 170.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from gaea.finetune.collate import IGNORED


def row_mean(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of each row's mean cross-entropy.

    Args:
        logits: (n, length, vocabulary).
        labels: (n, length), :data:`gaea.finetune.collate.IGNORED` where nothing is learned; some of each row is.
    """
    asked = labels[:, 1:] != IGNORED
    losses = F.cross_entropy(logits[:, :-1][asked].float(), labels[:, 1:][asked], reduction="none")
    weights = (1 / asked.sum(1, keepdim=True).clamp(min=1)).expand(asked.shape)[asked]
    return (losses * weights).sum() / len(labels)
