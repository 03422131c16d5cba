"""Takes a few rows through a layer of GeoToken's decoder, waiting for memory and for calls as little as can be done.

A search reads some five symbols at a time, and all weights of the decoder pass through the caches for them. What counts
is how fast they stream: as products of a few rows with blocks of the weights, each a head wide, they do so faster than
as one product, and on huge pages a little faster still. What else is called counts too, for each call finds
its own code and data evicted; so attention works on what such blocks give, one head after the other, as it is.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from gaea.locate.tokennet import DecoderLayer

_FEW_ROWS = 8  # up to which blocks are faster than one product
_MANY_ROWS = 256  # of a call, for which the order of packed weights is chosen; others are computed as well
_HUGE_PAGE = 2 << 20


class Seen(Protocol):
    """What the rows of one call may attend to; :mod:`gaea.locate.tokenseen`."""

    def path(self, layer: int, told: Tensor) -> Tensor:
        """Keep keys and values of n rows, and let them attend to their own path: (3 · heads, n, w) to (n, width)."""

    def memory(self, layer: int, asked: Tensor) -> Tensor:
        """Let them attend to what the encoder made of their picture: (heads, n, w) to (n, width)."""


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Packed:
    """Linear layers side by side for many rows, their weights in oneDNN's order.

    The layers must not be changed any more, because the copy would not follow them.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *layers: nn.Linear) -> Packed | None:
        """Make the copy, of 32-bit weights on a CPU whose torch has oneDNN; elsewhere there is none."""
        weight = torch.cat([layer.weight.detach() for layer in layers])
        bias = torch.cat([layer.bias.detach() for layer in layers])
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
            return None
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight, _MANY_ROWS), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Rows (…, in) to (…, out)."""
        out: Tensor = _LINEAR(x, self.weight, self.bias, "none", [], "")
        return out


_LINEAR: Any = torch.ops.mkldnn._linear_pointwise.default if torch.backends.mkldnn.is_available() else None


class Blocks:
    """A linear layer whose outputs come in blocks: (n, in) to (blocks, n, width of a block).

    Args:
        width: Of a block, where the outputs can be divided by it; else of the largest that divides both.
        weight: (out, in).
        bias: (out,).
    """

    def __init__(self, width: int, weight: Tensor, bias: Tensor) -> None:
        self.width, self.weight, self.bias = math.gcd(width, len(weight)), weight, bias
        self._turned = weight.view(-1, self.width, weight.shape[1]).transpose(1, 2)
        self._biases, self._count = bias.view(-1, 1, self.width), len(self._turned)

    @classmethod
    def of(cls, width: int, *layers: nn.Linear) -> Blocks:
        """Take the weights of a layer as they are, or copy those of several side by side."""
        weights, biases = [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]
        return cls(width, *(parts[0] if len(parts) == 1 else torch.cat(parts) for parts in (weights, biases)))

    def __call__(self, x: Tensor) -> Tensor:
        """As the class says."""
        n = x.shape[0]
        if n > _FEW_ROWS:
            return F.linear(x, self.weight, self.bias).view(n, -1, self.width).transpose(0, 1)
        return torch.baddbmm(self._biases, x.expand(self._count, -1, -1), self._turned)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Reader:
    """One layer of the decoder, for symbols of which each is read once; not for training.

    Attributes:
        norms: Weights, biases and epsilons before attention to the path, to the memory, and before feeding forward.
        ask_and_tell: To queries, keys and values of all heads, (3 · heads, n, width of a head).
        out: After attention to the path.
        ask_memory: Queries of the memory.
        out_memory: After attention to it.
        first: Of the two that feed forward.
        second: Likewise.
    """

    norms: tuple[tuple[Tensor, Tensor, float], ...]
    ask_and_tell: Blocks
    out: Blocks
    ask_memory: Blocks
    out_memory: Blocks
    first: Blocks
    second: Blocks

    @classmethod
    def of(cls, layer: DecoderLayer) -> Reader:
        """Take the weights of a layer."""
        itself, memory, feed = layer.itself, layer.memory, layer.feed
        norms = (layer.before_itself, layer.before_memory, layer.before_forward)
        width = itself.query.out_features // itself.heads
        rows: list[Any] = [itself.out, memory.query, memory.out, feed[0], feed[3]]
        return cls(
            tuple((norm.weight, norm.bias, norm.eps) for norm in norms),
            Blocks.of(width, itself.query, itself.key_value),
            *(Blocks.of(width, row) for row in rows),
        )

    def read(self, x: Tensor, blocks: Tensor, layer: int, seen: Seen) -> None:
        """Take n new symbols through.

        Args:
            x: (n, width), overwritten with the result.
            blocks: The same in blocks of a head's width, (n, heads, width of a head).
            layer: Which of the decoder's layers this is.
            seen: What may be attended to.
        """
        told = self.ask_and_tell(self._normed(x, 0))
        blocks += self.out(seen.path(layer, told)).transpose(0, 1)
        asked = self.ask_memory(self._normed(x, 1))
        blocks += self.out_memory(seen.memory(layer, asked)).transpose(0, 1)
        fed = self.first(self._normed(x, 2)).relu_()
        blocks += self.second(fed.transpose(0, 1).reshape(x.shape[0], -1)).transpose(0, 1)

    def _normed(self, x: Tensor, which: int) -> Tensor:
        weight, bias, eps = self.norms[which]
        return torch.layer_norm(x, weight.shape, weight, bias, eps)


def settled(readers: Sequence[Reader]) -> list[Reader]:
    """Copy 32-bit weights to where a CPU streams them fastest: one after the other, on huge pages if there are any.

    The layers must not be changed any more, because the copy would not follow them. Others are returned as they are.
    """
    names = [field.name for field in dataclasses.fields(Reader) if field.name != "norms"]  # in the order of their use
    rows = [[getattr(reader, name) for name in names] for reader in readers]
    weights = [row.weight for layer in rows for row in layer]
    if any(weight.device.type != "cpu" or weight.dtype != torch.float32 for weight in weights):
        return list(readers)
    sizes = [weight.numel() for weight in weights]
    pages = mmap.mmap(-1, 4 * sum(sizes) + _HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    room = torch.frombuffer(pages, dtype=torch.float32)
    first = -room.data_ptr() % _HUGE_PAGE // 4
    parts = room[first : first + sum(sizes)].split(sizes)
    places = iter([part.view(weight.shape).copy_(weight) for part, weight in zip(parts, weights, strict=True)])
    moved: list[dict[str, Any]] = [
        {name: Blocks(row.width, next(places), row.bias) for name, row in zip(names, layer, strict=True)}
        for layer in rows
    ]
    return [dataclasses.replace(reader, **layer) for reader, layer in zip(readers, moved, strict=True)]
