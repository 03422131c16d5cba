"""Scores paths of the S2 tree with GeoToken's decoder, for many pictures at once, reading each symbol of a path once.

What a symbol leaves in the decoder (its keys and values in every layer) is kept, and any later path through it goes on
from there; :mod:`gaea.locate.tokenseen` says how, and nothing is copied when a search reorders its paths. The encoder's
memory is projected once per picture. The six faces are read with the start symbol: as many rows cost no more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea import geotokens
from gaea.decoding import NextToken
from gaea.errors import InputError
from gaea.hilbert import IntArray
from gaea.locate.tokenseen import ManyPictures, OnePicture, Path, Seen
from gaea.locate.tokenstream import plain
from gaea.sphere import FloatArray

if TYPE_CHECKING:
    from gaea.locate.tokennet import TokensNet

_FIRST_ROOM = 64
REMEMBERED = 4096
"""Symbols whose keys and values are kept, of all pictures together."""

_Key = tuple[int, int]  # picture, and a number for the path; 0 before the first symbol
_AT = np.arange(geotokens.LENGTH - 1)
_POWERS = np.triu(32 ** np.maximum(_AT - _AT[:, None], 0))  # of that number, in which each symbol is a digit
_SIZES = np.array(geotokens.VOCAB_SIZES)
_FIRST_INPUT = 1 + np.cumsum(_SIZES) - _SIZES  # of each position, among all that the decoder may read


class TokenTree:
    """Next-symbol probabilities of several pictures.

    Args:
        net: In evaluation mode.
        memory: What its encoder made of the pictures, (q, positions, width).
        remembered: Symbols to keep; beyond it all are forgotten, and read again if need be.

    Attributes:
        pictures: How many there are.
        symbols_read: By the decoder so far, start symbols and faces included.
    """

    def __init__(self, net: TokensNet, memory: Tensor, *, remembered: int = REMEMBERED) -> None:
        self.pictures, self.symbols_read = len(memory), 0
        self._net, self._remembered, self._layers = net, remembered, net.layers()
        self._stream = net.stream if self.pictures == 1 else None
        with torch.inference_mode():
            if self._stream:
                self._told = self._stream.memory(memory[0])
            else:
                self._memory = net.read_memory(memory)
            self._inputs = net.inputs()
        self._rows: dict[_Key, FloatArray] = {}
        self._forget()

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
        if np.any((prefixes < 0) | (prefixes >= _SIZES[:length])):
            geotokens.decode(prefixes)  # says what is wrong
        names = np.zeros((n, length + 1), np.int64)
        names[:, 1:] = (prefixes + 1) @ _POWERS[:length, :length]
        asked = list(zip(pictures.tolist(), names[:, -1].tolist(), strict=True))
        missing = np.array([at for at, key in enumerate(asked) if key not in self._rows], np.int64)
        if missing.size:
            self._learn(pictures[missing], prefixes[missing], names[missing], asked)
        return np.stack([self._rows[key] for key in asked])

    def _learn(self, pictures: IntArray, prefixes: IntArray, names: IntArray, asked: list[_Key]) -> None:
        """Read every symbol of some paths that has not been read, the first ones first."""
        keys = [[(q, name) for name in row] for q, row in zip(pictures.tolist(), names.tolist(), strict=True)]
        new = {key for row in keys for key in row} - self._paths.keys()
        if len(self._paths) + len(new) > self._remembered:
            self._forget()
            self._rows = {key: self._rows[key] for key in asked if key in self._rows}
        if begun := [q for q in dict.fromkeys(pictures.tolist()) if (q, 0) not in self._paths]:
            self._begin(begun)
        shortest = names.shape[1] - 1  # of the paths whose last symbol has not been read
        while shortest > 1 and any(row[shortest - 1] not in self._paths for row in keys):
            shortest -= 1
        for k in range(max(shortest, 1), names.shape[1]):
            fresh = {row[k]: at for at, row in enumerate(keys) if row[k] not in self._paths}
            if fresh:
                at = list(fresh.values())
                self._read(list(fresh), [keys[i][k - 1] for i in at], _FIRST_INPUT[k - 1] + prefixes[at, k - 1])

    def _begin(self, pictures: list[int]) -> None:
        """Read the start symbols of some pictures, and all that can follow them."""
        faces = geotokens.VOCAB_SIZES[0] if self._net.config.length > 1 else 0
        keys = [(q, name) for q in pictures for name in range(faces + 1)]
        self._read(keys, [(q, 0) if name else None for q, name in keys], np.array([name for _, name in keys]))

    def _read(self, keys: list[_Key], parents: Sequence[_Key | None], inputs: IntArray) -> None:
        """Read the last symbols (n,) of new paths, all before them being known or read in the same call."""
        for key, parent in zip(keys, parents, strict=True):
            before = self._paths[parent] if parent else ()
            self._paths[key] = (*before, self._held[key[0]])
            self._held[key[0]] += 1
        self._make_room(max(self._held))
        paths = [self._paths[key] for key in keys]
        self.symbols_read += len(keys)
        if self._stream and len(keys) <= self._stream.most:
            found = self._stream.read(inputs, self._kept_one, paths, self._told)
            rows = [
                row if len(path) > 1 else row[: geotokens.VOCAB_SIZES[0]]
                for path, row in zip(paths, found, strict=True)
            ]
        else:
            rows = self._read_by_torch(inputs, paths, [q for q, _ in keys])
        self._rows.update(zip(keys, rows, strict=True))

    @torch.inference_mode()
    def _read_by_torch(self, inputs: IntArray, paths: Sequence[Path], pictures: list[int]) -> list[FloatArray]:
        """Take symbols through the network's own layers: log-probabilities of what may follow each."""
        x = self._inputs[torch.from_numpy(inputs).to(self._inputs.device)]
        seen: Seen
        if self.pictures == 1:
            seen = OnePicture(self._kept, self._one_memory, paths)
        else:
            seen = ManyPictures(self._kept, self._memory, paths, np.array(pictures))
        for at, layer in enumerate(self._layers):
            x = layer.reading(x, at, seen)
        lengths, normed = np.array([len(path) - 1 for path in paths]), self._net.decoder_norm(x)
        rows = [np.empty(0)] * len(paths)
        for length in np.unique(lengths).tolist():
            these = np.flatnonzero(lengths == length)
            logits = self._net.heads[length](normed[torch.from_numpy(these)])
            for at, row in zip(these.tolist(), logits.double().log_softmax(-1).cpu().numpy(), strict=True):
                rows[at] = row
        return rows

    @cached_property
    def _one_memory(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the only picture's memory, as its attention multiplies with them."""
        if self._stream:
            return plain(self._told)
        return [(keys[0].transpose(1, 2), values[0]) for keys, values in self._memory]

    def _forget(self) -> None:
        """Know nothing of any path."""
        heads, width = self._net.config.heads, self._net.config.width
        self._paths: dict[_Key, Path] = {}
        self._held = [0] * self.pictures  # symbols
        self._kept = self._inputs.new_zeros(len(self._layers), self.pictures, 2 * heads, 0, width // heads)
        self._make_room(_FIRST_ROOM)

    def _make_room(self, symbols: int) -> None:
        """Have room for the keys and values of so many symbols of each picture; it is doubled, so growing costs little.

        Zeros, for a mask does not hide what is not a number.
        """
        held = self._kept.shape[3]
        if symbols <= held:
            return
        more = max(symbols, 2 * held) - held
        if self._stream:  # without torch's threads, which would go on spinning for milliseconds on the crew's cores
            grown = np.pad(self._kept.numpy(), ((0, 0), (0, 0), (0, 0), (0, more), (0, 0)))
            self._kept, self._kept_one = torch.from_numpy(grown), grown[:, 0]
        else:
            self._kept = F.pad(self._kept, (0, 0, 0, more))
