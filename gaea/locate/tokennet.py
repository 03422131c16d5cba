"""The encoder and decoder of GeoToken in torch; :mod:`gaea.locate.tokeninputs` says what goes in and how big it is.

Layers normalise before they attend (pre-norm), which the published code is not known to do: it needs no warm-up.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaea import geotokens
from gaea.locate.tokeninputs import Pictures, TokensConfig
from gaea.locate.tokenpacked import Packed
from gaea.locate.tokenseen import Seen
from gaea.locate.tokenstream import Stream
from gaea.sphere import to_xyz

KeysValues: TypeAlias = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """A batch of pictures as tensors: n pictures, k neighbours, L symbols.

    Attributes:
        features: (n, w) for each kind.
        neighbour_features: (n, k, w) for each kind.
        symbols: int64, (n, k, L).
        similarity: (n, k).
        xyz: Unit vectors of the neighbours' places, (n, k, 3).
    """

    features: tuple[Tensor, ...]
    neighbour_features: tuple[Tensor, ...]
    symbols: Tensor
    similarity: Tensor
    xyz: Tensor


def told(pictures: Pictures, config: TokensConfig, *, device: Any) -> Told:
    """Checked pictures as tensors."""
    symbols = geotokens.encode(pictures.lat, pictures.lon)[..., : config.length]
    xyz = to_xyz(pictures.lat, pictures.lon).astype(np.float32)
    features = tuple(torch.from_numpy(np.asarray(rows)).to(device) for rows in pictures.features)
    near = tuple(torch.from_numpy(np.asarray(rows)).to(device) for rows in pictures.neighbour_features)
    rest = (torch.from_numpy(np.asarray(rows)).to(device) for rows in (symbols, pictures.similarity, xyz))
    return Told(features, near, *rest)


class PackableLinear(nn.Linear):
    """A linear layer that can also keep a packed copy; its parameters are the plain layer's and are saved as such."""

    packed: Packed | None = None

    def pack(self) -> None:
        """Make the copy, where it can be used."""
        self.packed = Packed.of(self)

    def forward(self, x: Tensor) -> Tensor:
        """As :class:`torch.nn.Linear`; no gradients go through the copy."""
        if self.packed is not None and x.device.type == "cpu" and not torch.is_grad_enabled():
            return self.packed(x)
        return super().forward(x)


class Attention(nn.Module):
    """Multi-head attention whose keys and values can be computed apart, and so be kept."""

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.query = PackableLinear(config.width, config.width)
        self.key_value = PackableLinear(config.width, 2 * config.width)
        self.out = PackableLinear(config.width, config.width)

    def split(self, x: Tensor) -> Tensor:
        """(n, m, width) to (n, heads, m, width of a head)."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return heads

    def blocks(self, x: Tensor) -> Tensor:
        """(n, any number of heads · width of a head) to (any number of heads, n, width of a head)."""
        return x.view(len(x), -1, self.query.out_features // self.heads).transpose(0, 1)

    def keys_values(self, x: Tensor) -> KeysValues:
        """What others may attend to of (n, m, width)."""
        keys, values = self.key_value(x).chunk(2, -1)
        return self.split(keys), self.split(values)

    def forward(self, x: Tensor, known: KeysValues, *, causal: bool = False) -> Tensor:
        """Let (n, m, width) attend to what is known, with a batch of the same n."""
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(self.split(self.query(x)), *known, dropout_p=dropout, is_causal=causal)
        merged: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return merged


class EncoderLayer(nn.Module):
    """Attention to itself, then a feed-forward part."""

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.itself, self.before_itself = Attention(config), nn.LayerNorm(config.width)
        self.before_forward = nn.LayerNorm(config.width)
        self.feed = nn.Sequential(
            PackableLinear(config.width, config.feedforward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            PackableLinear(config.feedforward, config.width),
        )
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Take a whole sequence (n, m, width) through."""
        normed = self.before_itself(x)
        return self.fed(x + self.drop(self.itself(normed, self.itself.keys_values(normed))))

    def fed(self, x: Tensor) -> Tensor:
        """The feed-forward part."""
        out: Tensor = x + self.drop(self.feed(self.before_forward(x)))
        return out


class DecoderLayer(EncoderLayer):
    """Attends to what the encoder made, between the two parts of an encoder's layer."""

    def __init__(self, config: TokensConfig) -> None:
        super().__init__(config)
        self.memory, self.before_memory = Attention(config), nn.LayerNorm(config.width)

    def following(self, x: Tensor, memory: KeysValues) -> Tensor:
        """Take a whole sequence (n, m, width) through, each position seeing only those before it."""
        normed = self.before_itself(x)
        x = x + self.drop(self.itself(normed, self.itself.keys_values(normed), causal=True))
        return self.fed(x + self.drop(self.memory(self.before_memory(x), memory)))

    def reading(self, x: Tensor, at: int, seen: Seen) -> Tensor:
        """Take new symbols (n, width) through, each by itself; ``at`` says which of the decoder's layers this is."""
        normed = self.before_itself(x)
        told = torch.cat([self.itself.query(normed), self.itself.key_value(normed)], -1)
        x = x + self.itself.out(seen.path(at, self.itself.blocks(told)))
        asked = self.itself.blocks(self.memory.query(self.before_memory(x)))
        return self.fed(x + self.memory.out(seen.memory(at, asked)))


class TokensNet(nn.Module):
    """Pictures and neighbours in, logits of the next S2 symbol out."""

    def __init__(self, config: TokensConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.stream: Stream | None = None
        self._told_memory: Packed | None = None
        sizes = geotokens.VOCAB_SIZES[: config.length]
        # Symbols of all positions stand in one table, those of later positions further down.
        self.first_row: Tensor
        self.register_buffer("first_row", torch.tensor((0, *np.cumsum(sizes)[:-1].tolist())), persistent=False)
        self.project = nn.ModuleList(
            nn.Sequential(PackableLinear(w, width), nn.ReLU(), PackableLinear(width, width))
            for w in config.feature_widths
        )
        self.cls = nn.Parameter(torch.empty(width))
        self.position = nn.Parameter(torch.empty(config.positions, width))
        self.neighbour_symbols = nn.Embedding(sum(sizes), width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.start = nn.Parameter(torch.empty(width))
        self.step = nn.Parameter(torch.empty(config.length, width))
        self.symbols = nn.Embedding(sum(sizes), width)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(PackableLinear(width, size) for size in sizes)
        self.alike = _perceptron(_SIMILARITY, width) if config.similarity else None
        self.place = _perceptron(3 + 6 * config.place_waves, width) if config.place_waves else None
        # As long as the features, which have unit length.
        for table in (
            self.cls,
            self.position,
            self.start,
            self.step,
            self.neighbour_symbols.weight,
            self.symbols.weight,
        ):
            nn.init.normal_(table, std=width**-0.5)

    def encode(self, seen: Told) -> Tensor:
        """What the decoder may look at: (n, positions, width)."""
        own = [F.normalize(mlp(rows), dim=-1) for mlp, rows in zip(self.project, seen.features, strict=True)]
        x = torch.cat([torch.stack([self.cls.expand(len(own[0]), -1), *own], 1), self._neighbours(seen)], 1)
        x = x + self.position[: x.shape[1]]
        for layer in self.encoder:
            x = layer(x)
        normed: Tensor = self.encoder_norm(x)
        return normed

    def _neighbours(self, seen: Told) -> Tensor:
        """The neighbours' positions, (n, k · positions of each, width)."""
        pairs = zip(self.project, seen.neighbour_features, strict=True)
        features = torch.stack([F.normalize(mlp(rows), dim=-1) for mlp, rows in pairs], 2)
        if self.alike is not None:
            features = features + self.alike(_similarity(seen.similarity))[:, :, None]
        if self.place is not None:
            features = features + self.place(_waves(seen.xyz, self.config.place_waves))[:, :, None]
        symbols = self.neighbour_symbols(seen.symbols + self.first_row)
        if self.config.folded:
            folded: Tensor = features.sum(2) + symbols.sum(2)
            return folded
        return torch.cat([features, symbols], 2).flatten(1, 2)

    def read_memory(self, memory: Tensor) -> list[KeysValues]:
        """Each decoder layer's keys and values of what the encoder made, (n, heads, positions, width of a head)."""
        if self._told_memory is None:
            return [layer.memory.keys_values(memory) for layer in self.layers()]
        told = self._told_memory(memory).view(*memory.shape[:2], len(self.decoder), 2, self.config.heads, -1)
        return [(keys, values) for keys, values in told.permute(2, 3, 0, 4, 1, 5)]

    def pack(self) -> None:
        """Make encoding and reading fast on the CPU, for a network that is not trained any more."""
        for module in (*self.project.modules(), *self.encoder.modules()):
            if isinstance(module, PackableLinear):
                module.pack()
        self._told_memory = Packed.of(*(layer.memory.key_value for layer in self.layers()))
        self.stream = Stream.of(self)

    def layers(self) -> list[DecoderLayer]:
        """The decoder's."""
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    def begin(self, count: int) -> Tensor:
        """What the decoder reads before the first symbol: (count, width)."""
        return (self.start + self.step[0]).expand(count, -1)

    def embed(self, symbols: Tensor, position: int) -> Tensor:
        """What it reads of the symbols (n,) that were written at a position: (n, width)."""
        rows: Tensor = self.symbols(symbols + self.first_row[position])
        return rows + self.step[position + 1]

    def inputs(self) -> Tensor:
        """All that the decoder may read, (n, width): what is before the first symbol, then each position's symbols."""
        if self.stream is not None:
            return self.stream.inputs
        given = [
            self.embed(torch.arange(size, device=self.start.device), position)
            for position, size in enumerate(geotokens.VOCAB_SIZES[: self.config.length - 1])
        ]
        return torch.cat([self.begin(1), *given])

    def forward(self, seen: Told, symbols: Tensor) -> list[Tensor]:
        """Logits of each symbol of the places (n, L) given those before it: L tensors, (n, 6) then (n, 16)."""
        memory = self.read_memory(self.encode(seen))
        given = [self.embed(symbols[:, k], k) for k in range(symbols.shape[1] - 1)]
        x = torch.stack([self.begin(len(symbols)), *given], 1)
        for layer, known in zip(self.layers(), memory, strict=True):
            x = layer.following(x, known)
        x = self.decoder_norm(x)
        return [self.heads[k](x[:, k]) for k in range(symbols.shape[1])]


_SIMILARITY = 3


def _similarity(cosine: Tensor) -> Tensor:
    """How alike, alone and beside the best, on scales that tell near-duplicates apart: (n, k) to (n, k, 3)."""
    best = cosine.amax(-1, keepdim=True)
    return torch.stack([1 - cosine, torch.log(1.001 - cosine.clamp(-1, 1)), (cosine - best) / 0.05], -1)


def _waves(xyz: Tensor, octaves: int) -> Tensor:
    """Unit vectors and their sines and cosines at wavelengths from 2 Earth radii downwards: (…, 3 + 6 · octaves)."""
    angles = (xyz[..., None] * (math.pi * 2.0 ** torch.arange(octaves, device=xyz.device))).flatten(-2)
    return torch.cat([xyz, angles.sin(), angles.cos()], -1)


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(PackableLinear(inputs, width), nn.ReLU(), PackableLinear(width, width))
