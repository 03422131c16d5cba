"""What GeoToken's decoder attends to while it reads new symbols: their paths' earlier symbols, and the memory.

What symbols left in each layer (keys and values) lies in one tensor for each picture, in the order of reading; a mask
says which of them are on a row's path. :class:`OnePicture` makes do with few and small calls;
:class:`ManyPictures` lets each picture's rows attend together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea.hilbert import IntArray

Path = tuple[int, ...]
"""Where the symbols of a path lie among those of its picture, the start symbol first and the path's last one last."""


class Seen(Protocol):
    """What the rows of one call may attend to."""

    def path(self, layer: int, told: Tensor) -> Tensor:
        """Keep keys and values of n rows, and let them attend to their own path: (3 · heads, n, w) to (n, width)."""

    def memory(self, layer: int, asked: Tensor) -> Tensor:
        """Let them attend to what the encoder made of their picture: (heads, n, w) to (n, width)."""


class OnePicture:
    """Attention for rows of one picture.

    Args:
        kept: Keys and values of what was read, and room for these rows: (layers, 1, 2 · heads, room, width of a head).
        memory: For each layer, keys of the encoder's memory, (heads, width of a head, positions), and values, the other
            way round.
        paths: Of each row; rows take the places that follow those of what was read before.
    """

    def __init__(self, kept: Tensor, memory: Sequence[tuple[Tensor, Tensor]], paths: Sequence[Path]) -> None:
        self._heads = heads = kept.shape[2] // 2
        self._scale = kept.shape[-1] ** -0.5
        first, end = paths[0][-1], paths[-1][-1] + 1
        known = kept[:, 0, :, :end]
        self._room = known[:, :, first:].unbind()
        self._keys, self._values = known[:, :heads].transpose(2, 3).unbind(), known[:, heads:].unbind()
        self._mask = torch.from_numpy(_mask(paths, end)).to(kept)
        self._nothing = kept.new_zeros(1, 1, 1)
        self._memory = memory

    def path(self, layer: int, told: Tensor) -> Tensor:
        """As :class:`Seen`."""
        self._room[layer].copy_(told[self._heads :])
        asked = told[: self._heads]
        scores = torch.baddbmm(self._mask, asked, self._keys[layer], alpha=self._scale)
        return _side_by_side(torch.bmm(scores.softmax(-1), self._values[layer]))

    def memory(self, layer: int, asked: Tensor) -> Tensor:
        """As :class:`Seen`."""
        keys, values = self._memory[layer]
        scores = torch.baddbmm(self._nothing, asked, keys, beta=0, alpha=self._scale)
        return _side_by_side(torch.bmm(scores.softmax(-1), values))


class ManyPictures:
    """Attention for rows of several pictures, sorted out by picture, so that nothing is copied for each row.

    Args:
        kept: As :class:`OnePicture`, (layers, pictures, 2 · heads, room, width of a head).
        memory: For each layer, keys and values of the encoder's memory, (pictures, heads, positions, width of a head).
        paths: Likewise.
        pictures: Which picture each row is of, (n,).
    """

    def __init__(
        self, kept: Tensor, memory: Sequence[tuple[Tensor, Tensor]], paths: Sequence[Path], pictures: IntArray
    ) -> None:
        self._heads, device = kept.shape[2] // 2, kept.device
        self._kept, self._memory = kept, memory
        used, group, sizes = np.unique(pictures, return_inverse=True, return_counts=True)
        order = np.argsort(group, kind="stable")
        rank = np.empty(len(pictures), np.int64)
        rank[order] = np.arange(len(pictures)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._shape = len(used), int(sizes.max())
        self._at = torch.from_numpy(group.reshape(-1)).to(device), torch.from_numpy(rank).to(device)
        self._used = None if len(used) == kept.shape[1] else torch.from_numpy(used).to(device)
        last = np.array([path[-1] for path in paths])
        self._room = torch.from_numpy(pictures).to(device), torch.from_numpy(last).to(device)
        self._end = int(last.max()) + 1
        mask = np.zeros((*self._shape, self._end), np.float32)  # rows that no symbol takes may see anything
        mask[group.reshape(-1), rank] = _mask(paths, self._end)
        self._mask = torch.from_numpy(mask)[:, None].to(kept)

    def path(self, layer: int, told: Tensor) -> Tensor:
        """As :class:`Seen`."""
        kept = self._kept[layer]
        kept[self._room[0], :, self._room[1]] = told[self._heads :].transpose(0, 1)
        known = (kept if self._used is None else kept[self._used])[:, :, : self._end]
        return self._attend(told[: self._heads], known[:, : self._heads], known[:, self._heads :], self._mask)

    def memory(self, layer: int, asked: Tensor) -> Tensor:
        """As :class:`Seen`."""
        keys, values = self._memory[layer]
        if self._used is not None:
            keys, values = keys[self._used], values[self._used]
        return self._attend(asked, keys, values, None)

    def _attend(self, asked: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        heads, _, width = asked.shape
        rows = asked.new_zeros(*self._shape, heads, width)
        rows[self._at] = asked.transpose(0, 1)
        seen = F.scaled_dot_product_attention(rows.transpose(1, 2), keys, values, attn_mask=mask)
        return seen.transpose(1, 2).flatten(2)[self._at]


def _mask(paths: Sequence[Path], count: int) -> np.ndarray:
    """What is added to scores: 0 for the symbols of a row's own path, -inf for others, (n, count)."""
    mask = np.full((len(paths), count), -np.inf, np.float32)
    rows = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
    mask[rows, np.concatenate(paths)] = 0.0
    return mask


def _side_by_side(heads: Tensor) -> Tensor:
    """(heads, n, width of a head) to (n, width)."""
    return heads.transpose(0, 1).reshape(heads.shape[1], -1)
