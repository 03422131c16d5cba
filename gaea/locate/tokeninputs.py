"""What GeoToken's transformer is and what it sees: its sizes, and pictures with their neighbours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gaea import geotokens
from gaea.errors import InputError, ModelError

CONFIG_FILE = "config.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """Sizes of the network, and what it is told.

    Attributes:
        image_width: Length of an image feature.
        location_width: Length of what a location head makes of the image (G3, GeoCLIP); 0 where there is none.
        text_width: Length of what a text head makes of it; 0 where there is none.
        width: Of the transformer.
        encoder_layers: Its encoder's.
        decoder_layers: Its decoder's.
        heads: Of each attention.
        feedforward: Width within the feed-forward layers.
        dropout: In training.
        neighbours: Most neighbours told.
        length: Symbols of a place, 1 to 11; so many of the neighbours' are told, and so many are written.
        folded: A neighbour takes one position, the sum of its features and symbols, in place of one for each.
        similarity: The neighbours' cosines are told.
        place_waves: Octaves of sines and cosines of the neighbours' unit vectors that are told; 0 for none.
        encoder: Fingerprint of the encoder whose embeddings it has learned to read; empty where nothing was learned.

    Raises:
        InputError: A size out of range.
    """

    image_width: int = 768
    location_width: int = 768
    text_width: int = 768
    width: int = 512
    encoder_layers: int = 10
    decoder_layers: int = 10
    heads: int = 8
    feedforward: int = 1024
    dropout: float = 0.1
    neighbours: int = 15
    length: int = geotokens.LENGTH
    folded: bool = False
    similarity: bool = False
    place_waves: int = 0
    encoder: str = ""

    def __post_init__(self) -> None:
        """Check every field, naming those at fault."""
        checks = {
            "image_width": self.image_width >= 1,
            "location_width": self.location_width >= 0,
            "text_width": self.text_width >= 0,
            "width": self.width >= 1 and self.heads >= 1 and self.width % self.heads == 0,
            "encoder_layers": self.encoder_layers >= 1,
            "decoder_layers": self.decoder_layers >= 1,
            "feedforward": self.feedforward >= 1,
            "dropout": 0 <= self.dropout < 1,
            "neighbours": self.neighbours >= 0,
            "length": 1 <= self.length <= geotokens.LENGTH,
            "place_waves": 0 <= self.place_waves <= 16,
        }
        if bad := [name for name, good in checks.items() if not good]:
            told = ", ".join(f"{name}={getattr(self, name)!r}" for name in bad)
            raise InputError(f"token network sizes out of range: {told}; width is a multiple of the {self.heads} heads")

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """Lengths of the features of a picture, in their order: image, location head, text head."""
        return tuple(w for w in (self.image_width, self.location_width, self.text_width) if w)

    @property
    def positions(self) -> int:
        """Most positions of the encoder: CLS, the picture's features, and the neighbours."""
        kinds = len(self.feature_widths)
        return 1 + kinds + self.neighbours * (1 if self.folded else kinds + self.length)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """What the network sees of q pictures with k neighbours each, most similar first.

    Attributes:
        features: For each kind of feature the network has, ``(q, w)``.
        neighbour_features: Likewise ``(q, k, w)``.
        lat: Where the neighbours are, degrees, ``(q, k)``.
        lon: Likewise.
        similarity: Their cosines to the picture, ``(q, k)``.
    """

    features: Sequence[npt.ArrayLike]
    neighbour_features: Sequence[npt.ArrayLike]
    lat: npt.ArrayLike
    lon: npt.ArrayLike
    similarity: npt.ArrayLike

    @classmethod
    def one(
        cls,
        embedding: npt.ArrayLike,
        neighbour_embeddings: npt.ArrayLike,
        lat: npt.ArrayLike,
        lon: npt.ArrayLike,
        similarity: npt.ArrayLike,
    ) -> Self:
        """One picture ``(w,)`` with its neighbours ``(k, w)`` for a network that has image features alone."""
        rows = [np.asarray(column)[None] for column in (embedding, neighbour_embeddings, lat, lon, similarity)]
        return cls([rows[0]], [rows[1]], *rows[2:])

    def checked(self, config: TokensConfig) -> Self:
        """The same as float32 arrays, cut to as many neighbours as the network reads.

        Raises:
            InputError: Shapes that do not fit the network or each other, or something that is not a number.
        """
        features = [np.asarray(rows, np.float32) for rows in self.features]
        near = [np.asarray(rows, np.float32) for rows in self.neighbour_features]
        lat, lon, cosine = (np.asarray(rows, np.float64) for rows in (self.lat, self.lon, self.similarity))
        everything: list[npt.NDArray[np.floating]] = [*features, *near, lat, lon, cosine]
        given, widths = [rows.shape for rows in everything], config.feature_widths
        n, k = len(features[0]) if features else 0, lat.shape[-1] if lat.ndim else 0
        if given != [*((n, w) for w in widths), *((n, k, w) for w in widths), *((n, k),) * 3]:
            raise InputError(
                f"features and neighbours of shapes {given}: expected (q, w) and (q, k, w) for each w of {widths}, "
                "then latitude, longitude and similarity (q, k)"
            )
        if not all(bool(np.isfinite(rows).all()) for rows in everything):
            raise InputError("features, places and similarities have to be finite numbers, and some are not")
        heard = slice(config.neighbours)
        return dataclasses.replace(
            self,
            features=features,
            neighbour_features=[rows[:, heard] for rows in near],
            lat=lat[:, heard],
            lon=lon[:, heard],
            similarity=cosine[:, heard].astype(np.float32),
        )


def read_config(folder: Path) -> TokensConfig:
    """The sizes kept in a folder.

    Raises:
        ModelError: The file is missing or damaged, or a key is not one of :class:`TokensConfig`.
    """
    known = {field.name: type(field.default) for field in dataclasses.fields(TokensConfig)}
    path = folder / CONFIG_FILE
    try:
        values: dict[str, Any] = dict(json.loads(path.read_text()))
        if unknown := sorted(set(values) - set(known)):
            raise ModelError(f"{path} has unknown keys {', '.join(unknown)}: it was written by another version")
        if odd := [name for name, value in values.items() if type(value) not in {known[name], int}]:
            raise ModelError(f"{path} has values of another kind for {', '.join(odd)}: another version wrote it")
        return TokensConfig(**values)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is no token network's: {' '.join(str(error).split())}") from error
