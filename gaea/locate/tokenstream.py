"""GeoToken's decoder as a search of one picture streams it: weights in the order of their use, told to the kernel."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gaea import geotokens
from gaea.hilbert import IntArray
from gaea.locate.crew import Crew
from gaea.locate.tokenseen import Path
from gaea.sphere import FloatArray

if TYPE_CHECKING:
    from gaea.locate.tokennet import TokensNet

_HUGE_PAGE = 2 << 20
_MOST_THREADS = 4  # memory is soon as fast as it gets
_WORTH_SHARING = 8 << 20  # bytes of weights, below which a step takes less than calling others does

Memory: TypeAlias = tuple[np.ndarray, np.ndarray, int]
"""Keys and values of the encoder's memory as :func:`gaea.locate.tokenkernel.tell` leaves them, and its positions."""


class Stream:
    """A decoder in one piece, on a CPU; the network must not be changed any more, because this would not follow.

    Attributes:
        bits: Of a weight: 16 where all of them are half-precision numbers, else 32.
        most: Rows that it reads at once.
        inputs: All that the decoder may read, as the network gives them.
    """

    def __init__(self, net: TokensNet) -> None:
        from gaea.locate import tokenkernel

        tokenkernel.keep()
        layers, config = net.layers(), net.config
        self._kernel, self.most, self.inputs = tokenkernel, tokenkernel.ROWS, net.inputs().detach()
        self._table, self._crew = self.inputs.numpy(), Crew()
        weights, numbers, epsilons = [], [], []
        for norm, *rows in [step for layer in layers for step in _in_order(layer)] + [(net.decoder_norm,)]:
            if norm:
                numbers += [norm.weight.detach(), norm.bias.detach()]
                epsilons.append(norm.eps)
            numbers += [row.bias.detach() for row in rows]
            weights += [torch.cat([row.weight.detach() for row in rows])] if rows else []
        exact = all(
            torch.equal(weight, weight.half().float()) for weight in [*weights, *(r.weight for r in _telling(net))]
        )
        self.bits = 16 if exact else 32
        self._numbers, self._epsilons = torch.cat(numbers).numpy(), np.array(epsilons, np.float32)
        self._weights = _on_huge_pages([_tiled(weight, tokenkernel.TILE, half=exact) for weight in weights])
        self._feed, self._heads, self._choices = config.feedforward, config.heads, _choices(net)
        told = [(row.weight.detach().chunk(2), row.bias.detach().chunk(2)) for row in _telling(net)]
        keys = torch.cat([weight[0] for weight, _ in told]).numpy()
        self._keys = tokenkernel.interleaved(keys, len(keys))
        values = torch.cat([weight[1] for weight, _ in told])
        self._values = _on_huge_pages([_tiled(values, tokenkernel.TILE, half=exact)])
        self._value_biases = torch.cat([bias[1] for _, bias in told]).numpy()

    @classmethod
    def of(cls, net: TokensNet) -> Stream | None:
        """None where the kernel does not serve: no numba, another device or precision, widths of no whole tiles.

        Nor does it for weights that are not numbers, which it may take for some; torch's layers pass them on.
        """
        if find_spec("numba") is None:
            return None
        from gaea.locate import tokenkernel

        config, weight = net.config, net.start
        widths = (config.width, config.feedforward, config.width // config.heads)
        fits = weight.device.type == "cpu" and weight.dtype == torch.float32 and tokenkernel.supported()
        if not fits or any(width % tokenkernel.TILE for width in widths):
            return None
        return cls(net) if all(values.isfinite().all() for values in net.parameters()) else None

    def memory(self, encoded: Tensor) -> Memory:
        """What the layers see of a picture, from what the encoder made of it, (positions, width)."""
        (positions, width), tile = encoded.shape, self._kernel.TILE
        tiles, w = -(-positions // tile), width // self._heads
        padded = np.zeros((tiles * tile, width), np.float32)
        padded[:positions] = encoded.detach().numpy()
        layers = len(self._value_biases) // width
        keys = np.empty((layers, self._heads, tiles, w, tile), np.float32)
        values = np.empty((layers, self._heads, w // tile, tiles * tile, tile), np.float32)
        given = (padded, positions, self._keys, self._values, self._value_biases, keys, values)
        gate = np.zeros(1, np.int64)
        self._crew.work(lambda *part: self._kernel.tell(*given, gate, *part), self._parts, gate)
        return keys, values, positions

    def read(self, symbols: IntArray, kept: np.ndarray, paths: Sequence[Path], memory: Memory) -> FloatArray:
        """Take new symbols of a picture through all layers.

        Args:
            symbols: Which of the inputs the decoder reads, (n,), at most `most`.
            kept: Keys and values of what was read, and room for these rows: (layers, 2 · heads, room, width of a head).
            paths: Of each row; rows take the places that follow what was read.
            memory: What :meth:`memory` made of the picture.

        Returns:
            Log-probabilities of what may follow, (n, 16); those of faces are the first 6.
        """
        lengths = np.array([len(path) for path in paths])
        longest = int(lengths.max())
        table = np.array([path + (0,) * (longest - len(path)) for path in paths])
        rows, width = self._kernel.FEW if len(paths) <= self._kernel.FEW else self._kernel.ROWS, self._table.shape[1]
        gate = np.zeros(1, np.int64)
        work = (*(np.zeros((rows, size), np.float32) for size in (3 * width, width, width, self._feed)), gate)
        net = self._weights, self._numbers, self._epsilons, self._choices
        asked = kept, paths[0][-1], table, lengths, memory, work
        inputs = self._table[symbols]
        found: FloatArray = self._crew.work(
            lambda *part: self._kernel.read(inputs, *net, *asked, *part), self._parts, gate
        )
        return found

    @property
    def _parts(self) -> int:
        shared = self._kernel.SHARED and self._weights.nbytes >= _WORTH_SHARING
        return min(torch.get_num_threads(), self._heads, _MOST_THREADS) if shared else 1


def plain(memory: Memory) -> list[tuple[Tensor, Tensor]]:
    """Each layer's keys, (heads, width of a head, positions), and values, the other way round."""
    keys, values = (torch.from_numpy(each) for each in memory[:2])
    turned = keys.transpose(2, 3).reshape(*keys.shape[:2], keys.shape[3], -1)[..., : memory[2]]
    straight = values.transpose(2, 3).reshape(*values.shape[:2], values.shape[3], -1)[:, :, : memory[2]]
    return list(zip(turned, straight, strict=True))


def _telling(net: TokensNet) -> list[Any]:
    """What projects the encoder's memory for each layer, keys before values."""
    return [layer.memory.key_value for layer in net.layers()]


def _in_order(layer: Any) -> list[tuple[Any, ...]]:
    """Norms and the linear layers of a decoder's layer as they are used; those of one line are computed together."""
    itself, memory, feed = layer.itself, layer.memory, layer.feed
    return [
        (layer.before_itself, itself.query, itself.key_value),
        (None, itself.out),
        (layer.before_memory, memory.query),
        (None, memory.out),
        (layer.before_forward, feed[0]),
        (None, feed[3]),
    ]


def _choices(net: TokensNet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many symbols may follow each length of a path, and the heads that tell."""
    parts = [[part.detach().numpy() for part in head.parameters()] for head in net.heads]
    sizes, most = np.array([len(bias) for _, bias in parts]), max(geotokens.VOCAB_SIZES)
    weights = np.zeros((len(sizes), most, net.config.width), np.float32)
    biases = np.zeros((len(sizes), most), np.float32)
    for k, (weight, bias) in enumerate(parts):
        weights[k, : len(bias)], biases[k, : len(bias)] = weight, bias
    return sizes, weights, biases


def _tiled(weight: Tensor, tile: int, *, half: bool) -> np.ndarray:
    """(out, in) as the kernel takes it, flat."""
    tiles = weight.view(-1, tile, weight.shape[1]).transpose(1, 2).reshape(-1)
    return tiles.half().view(torch.int16).numpy().view(np.uint16) if half else tiles.numpy()


def _on_huge_pages(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of a kind one after the other, on huge pages if there are any, which a CPU streams fastest."""
    size, kind = sum(part.nbytes for part in parts), parts[0].dtype
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.concatenate(parts)
    pages = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared ones stay small
    pages.madvise(mmap.MADV_HUGEPAGE)
    room = np.frombuffer(pages, np.uint8)
    first = -room.ctypes.data % _HUGE_PAGE
    together = room[first : first + size].view(kind)
    np.concatenate(parts, out=together)
    return together
