"""What passes between the parts of an index: a picture as a source offers it, and a row as an index keeps it.

A *source* (``gaea.rag.sources``) lists :class:`Item` objects in a fixed order and reads their bytes when asked; a
*builder* turns each into a :class:`Record` and an embedding; shards of those are the source of truth. Items are plain
data that can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """One picture that a source offers; nothing of it has been decoded yet.

    Attributes:
        key: Its name within the source, stable between runs: a relative path, ``shard.tar/000123.jpg``, ``8/130/87``.
        lat: Degrees north as found, None where the source gives none; not validated.
        lon: Degrees east as found.
        text: A caption or place name.
        licence: Of this picture, where it differs from the source's.
        credit: Whom to name.
        width_km: Width of what it shows, where the source knows it.
        where: How the source finds the bytes again (a path, an offset, a row number).
        extra: Any other columns, kept with the row as JSON.
    """

    key: str
    lat: float | None
    lon: float | None
    text: str = ""
    licence: str = ""
    credit: str = ""
    width_km: float | None = None
    where: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Embedded:
    """An item after reading, decoding and encoding; ``problem`` says why there is no embedding.

    Attributes:
        item: What was read.
        sha256: Of the file's bytes, hex.
        phash: 64-bit perceptual hash of the upright picture.
        embedding: float32 unit vector of shape (dim,), or None.
        problem: One line; empty where all went well.
    """

    item: Item
    sha256: str = ""
    phash: int = 0
    embedding: NDArray[np.float32] | None = None
    problem: str = ""


@runtime_checkable
class Source(Protocol):
    """Somewhere geotagged pictures lie. Implementations are frozen dataclasses that pickle, so that workers can read.

    Attributes:
        name: What provenance calls it, such as a folder's or file's name; chosen by the user if given.
        licence: Default for its pictures.
        credit: Default for its pictures.
    """

    name: str
    licence: str
    credit: str

    def items(self) -> Iterator[Item]:
        """All pictures, in an order that depends on the source alone.

        Raises:
            InputError: The source is not what its kind expects, naming file, row and column.
        """
        ...

    def read(self, item: Item) -> bytes:
        """The encoded bytes of one picture.

        Raises:
            PhotoError: They are gone or cannot be read.
        """
        ...

    def count(self) -> int | None:
        """How many items there are, where that can be told without listing them all."""
        ...


@dataclass(frozen=True)
class Record:
    """One row of an index, beside its embedding.

    Attributes:
        row: Number that is never used twice in an index; the vector store knows the row by it.
        key: The item's key; with ``source`` unique in an index.
        source: Name of the source.
        lat: Degrees, validated.
        lon: Degrees, validated.
        s2: Leaf (level 30) S2 cell id.
        country: ISO 3166 alpha-2 code, empty at sea.
        region: First-level division, empty where unknown.
        text: Caption or place name.
        licence: Of the picture.
        credit: Whom to name.
        sha256: Of the file's bytes, hex.
        phash: 64-bit perceptual hash (DCT), to find the same picture saved again.
        width_km: Footprint, NaN where unknown.
        extra: Other columns, as a JSON object.
    """

    row: int
    key: str
    source: str
    lat: float
    lon: float
    s2: int
    country: str = ""
    region: str = ""
    text: str = ""
    licence: str = ""
    credit: str = ""
    sha256: str = ""
    phash: int = 0
    width_km: float = float("nan")
    extra: str = ""
