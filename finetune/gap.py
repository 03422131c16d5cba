"""Teaches an encoder to find the surroundings of a place that is missing from its gallery.

A picture of an unseen place has no near neighbour: the nearest row lies a picture's width away or farther. An encoder
taught by classes alone spends itself on telling places that it has seen. Here every training picture is asked to do
what an unseen one must: pictures nearer than a gap are hidden from it, and among the others the nearest on the ground
shall be the most similar. It is InfoNCE with a soft target (a kernel of distance beyond the gap), over the batch and a
queue of embeddings from earlier steps (X. Wang et al., Cross-Batch Memory, CVPR 2020).
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from gaea.errors import InputError
from gaea.sphere import EARTH_RADIUS_KM

HIDDEN = -1e4  # a logit no picture can have: what is hidden is neither asked for nor in the way


@dataclasses.dataclass(frozen=True)
class GapConfig:
    """What is hidden, and what is asked for.

    Attributes:
        weight: Of this term in the loss; 0 leaves it out.
        gap_km: Pictures nearer than this are hidden.
        reach_km: Length of the exponential kernel of the target.
        known_km: A picture that has no other between the gap and this distance is not asked.
        queue: Embeddings of earlier steps that are compared with as well.
        after: Steps before the queue begins: the first embeddings are soon out of date.
    """

    weight: float = 0.0
    gap_km: float = 140.0
    reach_km: float = 150.0
    known_km: float = 500.0
    queue: int = 4096
    after: int = 60

    def __post_init__(self) -> None:
        """Check the distances."""
        if not 0 <= self.gap_km < self.known_km or self.reach_km <= 0 or self.queue < 0:
            raise InputError(
                f"gap_km {self.gap_km}, known_km {self.known_km}, reach_km {self.reach_km}, queue {self.queue}: "
                "expected a gap below the distance of what is known, a reach above 0 and no negative queue"
            )


@dataclasses.dataclass(frozen=True)
class Queue:
    """What some steps embedded, newest first: unit embeddings (m, dim) and unit vectors of their places (m, 3)."""

    embeddings: Tensor
    xyz: Tensor

    @classmethod
    def empty(cls, dim: int, device: torch.device | str = "cpu") -> Queue:
        """Nothing yet."""
        return cls(torch.zeros(0, dim, device=device), torch.zeros(0, 3, device=device))

    def pushed(self, embeddings: Tensor, xyz: Tensor, limit: int) -> Queue:
        """With a step's embeddings in front, and no more than ``limit`` kept."""
        joined = torch.cat([embeddings.detach(), self.embeddings]), torch.cat([xyz, self.xyz])
        return Queue(joined[0][:limit], joined[1][:limit])


def gap_loss(embeddings: Tensor, xyz: Tensor, scale: Tensor, queue: Queue, config: GapConfig) -> Tensor:
    """The mean surprise at which pictures lie nearest beyond the gap; 0 where no picture can be asked.

    Args:
        embeddings: Unit, (n, dim).
        xyz: Unit vectors of their places, (n, 3).
        scale: By which cosines are multiplied.
        queue: Further pictures to compare with.
        config: What is hidden, and what is asked for.
    """
    keys, places = torch.cat([embeddings, queue.embeddings]), torch.cat([xyz, queue.xyz])
    # Chords instead of arcs: the target vanishes long before the two differ.
    distance_km = (2 - 2 * xyz @ places.T).clamp(min=0).sqrt() * EARTH_RADIUS_KM
    hidden = distance_km < config.gap_km
    asked = (~hidden & (distance_km < config.known_km)).any(1)
    target = F.softmax((-distance_km / config.reach_km).masked_fill(hidden, HIDDEN), 1)
    log_p = F.log_softmax((embeddings @ keys.T * scale).masked_fill(hidden, HIDDEN), 1)
    surprise = -(target * log_p).sum(1)[asked]
    return surprise.mean() if len(surprise) else surprise.sum()
