"""The gallery as an assistant uses it: a picture goes in, its geotagged neighbours come out."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from PIL import Image

from gaea.locate.neighbours import Neighbours
from gaea.locate.surroundings import RowDensity
from gaea.narrowing import Narrowing
from gaea.rag.encoder import Encoder
from gaea.rag.gallery import Gallery
from gaea.rag.narrow import NarrowedStore, allowed_rows
from gaea.rag.neighbours import DEFAULT, Exclusion, RetrievalConfig, find, search
from gaea.rag.store import Store


@dataclasses.dataclass(frozen=True)
class GalleryMemory:
    """An encoder, the rows it encoded, and a store that finds them again.

    ``caps`` says what else the neighbours must obey; its counts are replaced by the three of ``k``. ``depth`` is how
    many rows of the ranking are given besides, without caps; 0 is none.

    Raises:
        GalleryError: The gallery was built by another encoder.
    """

    encoder: Encoder
    gallery: Gallery
    store: Store
    k: int = 64
    k_dissimilar: int = 2
    k_hard: int = 2
    depth: int = 0
    caps: RetrievalConfig = DEFAULT
    label: str = ""

    def __post_init__(self) -> None:
        self.gallery.check_encoder(self.encoder)

    @cached_property
    def rows(self) -> RowDensity:
        """How densely the gallery's rows lie."""
        return RowDensity(self.gallery.lat, self.gallery.lon)

    @property
    def name(self) -> str:
        """What it is called, or the gallery's source; and its size."""
        return f"{self.label or self.gallery.meta.source} ({len(self.gallery):,} places)"

    def recall(
        self, image: Image.Image, *, exclude: Exclusion | None = None, narrow: Narrowing | None = None
    ) -> Neighbours:
        """The neighbours of one picture.

        Args:
            image: RGB.
            exclude: Leave out what lies near a place; for protocols that forbid looking too close.
            narrow: Only rows that fulfil this; none where the gallery has none.
        """
        store = self.store
        if narrow is not None:
            mask = allowed_rows(narrow, self.gallery)
            if not mask.any():
                return Neighbours((), ())
            store = NarrowedStore(store, self.gallery, mask)
        config = dataclasses.replace(
            self.caps,
            k_similar=self.k,
            k_dissimilar=self.k_dissimilar,
            k_hard=self.k_hard,
            exclusions=(*self.caps.exclusions, *([exclude] if exclude else [])),
        )
        embedding = self.encoder.encode([image])
        found = find(embedding[0], store, self.gallery, config)
        if not self.depth:
            return found
        deep = search(embedding, store, self.gallery, min(self.depth, len(self.gallery)), exclude=exclude)
        return dataclasses.replace(found, ranking=(deep.lat[0], deep.lon[0], deep.similarity[0]))

    def strangeness(self, image: Image.Image) -> float:
        """How unlike the gallery's world a picture is; 0 where the encoder cannot tell."""
        judge = getattr(self.encoder, "strangeness", None)
        return float(judge([image])[0]) if judge else 0.0
