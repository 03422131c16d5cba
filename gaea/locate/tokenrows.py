"""Takes a few rows through a layer of GeoToken's decoder in as few calls as it can be done in.

A search reads some five symbols at a time. All weights of the network pass through the caches for them, so what counts
is in what order weights lie, and what else is called in between: each call finds its own code and data evicted.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from gaea.locate.tokennet import DecoderLayer, KeysValues

_FEW_ROWS = 8  # of a call, for which the order of packed weights is chosen; others are computed as well


class Rows(Protocol):
    """A linear layer: rows in, rows out."""

    def __call__(self, x: Tensor, *, relu: bool = False, plus: Tensor | None = None) -> Tensor:
        """Take rows (…, in) to (…, out), what is negative made 0 with ``relu``, or ``plus`` added."""


class Spread(Protocol):
    """Rows sorted out by picture; :class:`gaea.locate.tokentree.Groups`."""

    def spread(self, x: Tensor) -> Tensor:
        """(n, width) to (pictures, most rows of one, width)."""

    def gather(self, x: Tensor) -> Tensor:
        """Undo it."""

    def of(self, memory: KeysValues) -> KeysValues:
        """The memory of those pictures."""


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Packed:
    """Linear layers side by side, their weights in oneDNN's order, in which a few rows take half the time.

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
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight, _FEW_ROWS), bias)

    def __call__(self, x: Tensor, *, relu: bool = False, plus: Tensor | None = None) -> Tensor:
        """As :class:`Rows`."""
        if plus is not None:
            added: Tensor = _LINEAR_PLUS(x, plus, self.weight, self.bias, "add")
            return added
        out: Tensor = _LINEAR(x, self.weight, self.bias, "relu" if relu else "none", [], "")
        return out


_LINEAR: Any = torch.ops.mkldnn._linear_pointwise.default if torch.backends.mkldnn.is_available() else None
_LINEAR_PLUS: Any = torch.ops.mkldnn._linear_pointwise.binary if torch.backends.mkldnn.is_available() else None


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Reader:
    """One layer of the decoder, for symbols of which each is read once; not for training.

    Attributes:
        heads: Of its attentions.
        norms: Weights, biases and epsilons before attention to the path, to the memory, and before feeding forward.
        ask_and_tell: (n, width) to queries, keys and values side by side, (n, 3 · width).
        out: After attention to the path.
        ask_memory: Queries of the memory.
        out_memory: After attention to it.
        first: Of the two that feed forward.
        second: Likewise.
    """

    heads: int
    norms: tuple[tuple[Tensor, Tensor, float], ...]
    ask_and_tell: Rows
    out: Rows
    ask_memory: Rows
    out_memory: Rows
    first: Rows
    second: Rows

    @classmethod
    def of(cls, layer: DecoderLayer, *, pack: bool = False) -> Reader:
        """Take the weights of a layer; ``pack`` once those of its linear layers are packed."""
        itself, memory, feed = layer.itself, layer.memory, layer.feed

        def ask_and_tell(x: Tensor, *, relu: bool = False, plus: Tensor | None = None) -> Tensor:  # noqa: ARG001
            return torch.cat([itself.query(x), itself.key_value(x)], -1)

        norms = (layer.before_itself, layer.before_memory, layer.before_forward)
        rows: list[Any] = [itself.out, memory.query, memory.out, feed[0], feed[3]]
        return cls(
            itself.heads,
            tuple((norm.weight, norm.bias, norm.eps) for norm in norms),
            (Packed.of(itself.query, itself.key_value) if pack else None) or ask_and_tell,
            *(row.packed or row for row in rows),
        )

    def read(self, x: Tensor, kept: Tensor, path: Tensor, memory: KeysValues, where: Spread) -> Tensor:
        """Take n new symbols through.

        Args:
            x: (n, width).
            kept: Keys and values of symbols that were read, (room, 2 · width); the new ones' are written into it.
            path: Where in ``kept`` each symbol's ancestors stand and, last, itself: (n, length), in ascending order.
            memory: Keys and values of all pictures' memories.
            where: Which picture each row belongs to.

        Returns:
            (n, width).
        """
        (n, width), heads = x.shape, self.heads
        told = self.ask_and_tell(self._normed(x, 0))
        first = int(path[0, -1])
        kept[first : first + n] = told[:, width:]
        known = kept[path].view(n, -1, 2 * heads, width // heads).transpose(1, 2)
        seen = F.scaled_dot_product_attention(told[:, :width].view(n, heads, 1, -1), known[:, :heads], known[:, heads:])
        x = self.out(seen.view(n, width), plus=x)
        asked = where.spread(self.ask_memory(self._normed(x, 1)))
        pictures, rows, _ = asked.shape
        asked = asked.view(pictures, rows, heads, -1).transpose(1, 2)
        seen = F.scaled_dot_product_attention(asked, *where.of(memory)).transpose(1, 2).reshape(pictures, rows, width)
        x = self.out_memory(where.gather(seen), plus=x)
        return self.second(self.first(self._normed(x, 2), relu=True), plus=x)

    def _normed(self, x: Tensor, which: int) -> Tensor:
        weight, bias, eps = self.norms[which]
        return torch.layer_norm(x, weight.shape, weight, bias, eps)
