"""Scores paths of the S2 tree with GeoToken's decoder, for many pictures at once, reading each symbol of a path once.

What a symbol leaves in the decoder (its keys and values in every layer) is kept, and any later path through it goes on
from there. A path's own ancestors are gathered by number, so no mask is needed and nothing is copied when a search
reorders its paths. The encoder's memory is projected once per picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gaea import geotokens
from gaea.decoding import NextToken
from gaea.errors import InputError
from gaea.hilbert import IntArray
from gaea.sphere import FloatArray

if TYPE_CHECKING:
    from gaea.locate.tokennet import KeysValues, TokensNet

_FIRST_ROOM = 64
REMEMBERED = 4096
"""Symbols whose keys and values are kept, of all pictures together."""

_Key = tuple[int, int]  # picture, and a number for the path; 0 before the first symbol
_BITS = 5  # of that number for each symbol: 16 symbols and none


class TokenTree:
    """Next-symbol probabilities of several pictures.

    Args:
        net: In evaluation mode.
        memory: What its encoder made of the pictures, (q, positions, width).
        remembered: Symbols to keep; beyond it all are forgotten, and read again if need be.

    Attributes:
        pictures: How many there are.
        symbols_read: By the decoder so far, start symbols included.
    """

    def __init__(self, net: TokensNet, memory: Tensor, *, remembered: int = REMEMBERED) -> None:
        self.pictures, self.symbols_read = len(memory), 0
        self._net, self._remembered, self._readers = net, remembered, net.readers()
        with torch.inference_mode():
            self._memory = net.read_memory(memory)
        self._rows: dict[_Key, FloatArray] = {}
        self._slots: dict[_Key, tuple[int, ...]] = {}  # of a path's symbols, the start symbol first
        self._kept = self._empty()  # keys and values of each layer and symbol, (layers, room, 2 · width)

    def scorer(self, picture: int) -> NextToken:
        """Scores paths for one of the pictures."""

        def score(prefixes: IntArray) -> FloatArray:
            return self.log_probs(np.full(len(prefixes), picture), prefixes)

        return score

    def log_probs(self, pictures: IntArray, prefixes: IntArray) -> FloatArray:
        """Log-probabilities of the next symbol; asking again costs nothing.

        Args:
            pictures: Which picture each prefix is for, ``(n,)``.
            prefixes: ``(n, k)`` symbols so far, k from 0 to one less than the network writes.

        Returns:
            ``(n, 6)`` for k = 0, else ``(n, 16)``.

        Raises:
            InputError: A prefix longer than the network reads, or that is no path.
        """
        n, length = prefixes.shape
        if length >= self._net.config.length:
            raise InputError(
                f"the network writes {self._net.config.length} symbols, and was asked for one after {length}: "
                "search with fewer symbols"
            )
        if length:
            geotokens.decode(prefixes)  # refuses what is no path
        names = np.zeros((n, length + 1), np.int64)
        for k in range(length):
            names[:, k + 1] = (names[:, k] << _BITS) + prefixes[:, k] + 1
        asked = list(zip(pictures.tolist(), names[:, -1].tolist(), strict=True))
        missing = np.array([at for at, key in enumerate(asked) if key not in self._rows], np.int64)
        if missing.size:
            self._learn(pictures[missing], prefixes[missing], names[missing], asked)
        return np.stack([self._rows[key] for key in asked])

    def _learn(self, pictures: IntArray, prefixes: IntArray, names: IntArray, asked: list[_Key]) -> None:
        """Read every symbol of some paths that has not been read, the first ones first."""
        keys = [[(q, name) for name in row] for q, row in zip(pictures.tolist(), names.tolist(), strict=True)]
        if len(self._slots) + len({key for row in keys for key in row} - self._slots.keys()) > self._remembered:
            self._slots, self._kept = {}, self._empty()
            self._rows = {key: self._rows[key] for key in asked if key in self._rows}
        for k in range(names.shape[1]):
            new = {row[k]: at for at, row in enumerate(keys) if row[k] not in self._slots}
            if new:
                at = np.array(list(new.values()))
                found = self._read(pictures[at], prefixes[at, :k], [keys[i][: k + 1] for i in at])
                self._rows.update(zip(new, found, strict=True))

    @torch.inference_mode()
    def _read(self, pictures: IntArray, prefixes: IntArray, keys: list[list[_Key]]) -> FloatArray:
        """Read the last symbol of n new paths of one length, all before it being known."""
        net, device = self._net, self._memory[0][0].device
        n, length = prefixes.shape
        base = len(self._slots)
        paths = [(*(self._slots[row[-2]] if length else ()), base + at) for at, row in enumerate(keys)]
        self._slots.update((row[-1], path) for row, path in zip(keys, paths, strict=True))
        path = torch.tensor(paths, device=device)
        if length:
            x = net.embed(torch.from_numpy(np.ascontiguousarray(prefixes[:, -1])).to(device), length - 1)
        else:
            x = net.begin(n)
        self._make_room(base + n)
        where = Groups(pictures, self.pictures, device)
        for reader, kept, memory in zip(self._readers, self._kept, self._memory, strict=True):
            x = reader.read(x, kept, path, memory, where)
        self.symbols_read += n
        logits = net.heads[length](net.decoder_norm(x))
        return np.asarray(logits.double().log_softmax(-1).cpu().numpy(), np.float64)

    def _empty(self) -> Tensor:
        """Room for nothing."""
        return self._memory[0][0].new_empty(len(self._memory), 0, 2 * self._net.config.width)

    def _make_room(self, symbols: int) -> None:
        """Have room for the keys and values of so many symbols; it is doubled, so that growing costs little."""
        held = self._kept.shape[1]
        if symbols > held:
            width = 2 * self._net.config.width
            more = self._kept.new_empty(len(self._memory), max(symbols, 2 * held, _FIRST_ROOM) - held, width)
            self._kept = torch.cat([self._kept, more], 1)


class Groups:
    """Rows sorted out by picture, so that each picture's memory serves all its rows without being copied."""

    def __init__(self, pictures: IntArray, count: int, device: torch.device) -> None:
        used, group, sizes = np.unique(pictures, return_inverse=True, return_counts=True)
        order = np.argsort(group, kind="stable")
        rank = np.empty(len(pictures), np.int64)
        rank[order] = np.arange(len(pictures)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._shape = len(used), int(sizes.max())
        self._at = torch.from_numpy(group.reshape(-1)).to(device), torch.from_numpy(rank).to(device)
        self._used = None if len(used) == count else torch.from_numpy(used).to(device)

    def spread(self, x: Tensor) -> Tensor:
        """(n, width) to (pictures, most rows of one, width), zeros where a picture has fewer."""
        if self._shape[0] == 1:
            return x[None]
        rows = x.new_zeros(*self._shape, x.shape[-1])
        rows[self._at] = x
        return rows

    def gather(self, x: Tensor) -> Tensor:
        """Undo :meth:`spread`."""
        return x[0] if self._shape[0] == 1 else x[self._at]

    def of(self, memory: KeysValues) -> KeysValues:
        """The memory of the pictures that are asked for."""
        return memory if self._used is None else (memory[0][self._used], memory[1][self._used])
