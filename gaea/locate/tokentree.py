"""Scores paths of the S2 tree with GeoToken's decoder, for many pictures at once, reading each symbol of a path once.

What a symbol leaves in the decoder (its keys and values in every layer) is kept, and any later path through it goes on
from there; :mod:`gaea.locate.tokenseen` says how, and nothing is copied when a search reorders its paths. The encoder's
memory is projected once per picture. The six faces are read with the start symbol: as many rows cost no more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gaea import geotokens
from gaea.decoding import NextToken
from gaea.errors import InputError
from gaea.hilbert import IntArray
from gaea.locate.tokenseen import ManyPictures, OnePicture, Path
from gaea.sphere import FloatArray

if TYPE_CHECKING:
    from gaea.locate.tokennet import TokensNet

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
        symbols_read: By the decoder so far, start symbols and faces included.
    """

    def __init__(self, net: TokensNet, memory: Tensor, *, remembered: int = REMEMBERED) -> None:
        self.pictures, self.symbols_read = len(memory), 0
        self._net, self._remembered, self._readers = net, remembered, net.readers()
        with torch.inference_mode():
            self._memory = net.read_memory(memory)
            # As one picture's attention multiplies with them.
            self._turned = [(keys[0].transpose(1, 2), values[0]) for keys, values in self._memory]
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

    @torch.inference_mode()
    def _learn(self, pictures: IntArray, prefixes: IntArray, names: IntArray, asked: list[_Key]) -> None:
        """Read every symbol of some paths that has not been read, the first ones first."""
        keys = [[(q, name) for name in row] for q, row in zip(pictures.tolist(), names.tolist(), strict=True)]
        new = {key for row in keys for key in row} - self._paths.keys()
        if len(self._paths) + len(new) > self._remembered:
            self._forget()
            self._rows = {key: self._rows[key] for key in asked if key in self._rows}
        if begun := [q for q in dict.fromkeys(pictures.tolist()) if (q, 0) not in self._paths]:
            self._begin(begun)
        for k in range(1, names.shape[1]):
            fresh = {row[k]: at for at, row in enumerate(keys) if row[k] not in self._paths}
            if fresh:
                at = list(fresh.values())
                self._read(list(fresh), [keys[i][k - 1] for i in at], self._embedded(prefixes[at, k - 1], k - 1))

    def _begin(self, pictures: list[int]) -> None:
        """Read the start symbols of some pictures, and all that can follow them."""
        faces = geotokens.VOCAB_SIZES[0] if self._net.config.length > 1 else 0
        rows = self._net.begin(1)
        if faces:
            rows = torch.cat([rows, self._embedded(np.arange(faces), 0)])
        keys = [(q, name) for q in pictures for name in range(faces + 1)]
        self._read(keys, [(q, 0) if name else None for q, name in keys], rows.repeat(len(pictures), 1))

    def _embedded(self, symbols: IntArray, position: int) -> Tensor:
        given = torch.from_numpy(np.ascontiguousarray(symbols)).to(self._memory[0][0].device)
        return self._net.embed(given, position)

    def _read(self, keys: list[_Key], parents: Sequence[_Key | None], x: Tensor) -> None:
        """Read the last symbols (n, width) of new paths, all before them being known or read in the same call."""
        for key, parent in zip(keys, parents, strict=True):
            before = self._paths[parent] if parent else ()
            self._paths[key] = (*before, self._held[key[0]])
            self._held[key[0]] += 1
        self._make_room(max(self._held))
        paths = [self._paths[key] for key in keys]
        seen: OnePicture | ManyPictures
        if self.pictures == 1:
            seen = OnePicture(self._kept, self._turned, paths)
        else:
            seen = ManyPictures(self._kept, self._memory, paths, np.array([q for q, _ in keys]))
        blocks = x.view(len(keys), self._net.config.heads, -1)
        for at, reader in enumerate(self._readers):
            reader.read(x, blocks, at, seen)
        self.symbols_read += len(keys)
        lengths, normed = np.array([len(path) - 1 for path in paths]), self._net.decoder_norm(x)
        for length in np.unique(lengths).tolist():
            these = np.flatnonzero(lengths == length)
            logits = self._net.heads[length](normed[torch.from_numpy(these)])
            found = logits.double().log_softmax(-1).cpu().numpy()
            self._rows.update(zip([keys[i] for i in these], found, strict=True))

    def _forget(self) -> None:
        """Know nothing of any path."""
        heads, width = self._net.config.heads, self._net.config.width
        self._paths: dict[_Key, Path] = {}
        self._held = [0] * self.pictures  # symbols
        self._kept = self._memory[0][0].new_zeros(len(self._memory), self.pictures, 2 * heads, 0, width // heads)

    def _make_room(self, symbols: int) -> None:
        """Have room for the keys and values of so many symbols of each picture; it is doubled, so growing costs little.

        Zeros, for a mask does not hide what is not a number.
        """
        held = self._kept.shape[3]
        if symbols > held:
            more = max(symbols, 2 * held, _FIRST_ROOM) - held
            self._kept = F.pad(self._kept, (0, 0, 0, more))
