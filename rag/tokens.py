"""GeoToken's transformer over a gallery: a picture and what is recalled for it go in, next-symbol probabilities out."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from gaea.belief import Belief
from gaea.decoding import NextToken, SearchConfig, search
from gaea.errors import InputError
from gaea.locate.neighbours import Neighbours
from gaea.locate.tokens import Pictures, TokensLocator
from gaea.rag.memory import GalleryMemory


@dataclasses.dataclass(frozen=True)
class GalleryTokens:
    """A trained network and the gallery whose embeddings it reads.

    Raises:
        InputError: The network reads other features than the gallery has, or has learned from another encoder's.
    """

    memory: GalleryMemory
    locator: TokensLocator

    def __post_init__(self) -> None:
        widths, dim = self.locator.config.feature_widths, self.memory.gallery.meta.dim
        if widths != (dim,):
            raise InputError(f"the network reads features of lengths {widths}, and the gallery has one of {dim}")
        learned, held = self.locator.config.encoder, self.memory.gallery.meta.fingerprint
        if learned not in ("", held):
            raise InputError(
                f"the network learned to read the encoder {learned[:12]}, and the gallery is of {held[:12]}: train it "
                "on this gallery with python -m gaea.finetune tokens"
            )

    def scorer(self, image: Image.Image, recalled: Neighbours) -> NextToken:
        """How probable each next S2 symbol is for a picture with its neighbours, most similar first."""
        gallery = self.memory.gallery
        near = recalled.similar[: self.locator.config.neighbours]
        rows = gallery.positions(np.array([n.row for n in near], np.int64))
        lat, lon, similarity = Neighbours(near).arrays()
        embedding = self.memory.encoder.encode([image])[0]
        return self.locator.scorer(Pictures.one(embedding, gallery.embeddings[rows], lat, lon, similarity))

    def belief(self, image: Image.Image, recalled: Neighbours, config: SearchConfig | None = None) -> Belief:
        """The belief of a picture with its neighbours."""
        config = config or SearchConfig()
        symbols = min(config.symbols, self.locator.config.length)
        return search(self.scorer(image, recalled), dataclasses.replace(config, symbols=symbols))
