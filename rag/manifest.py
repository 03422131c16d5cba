"""The manifest of an index: which encoder its vectors belong to, which shards it holds, where its rows come from.

What the manifest does not name does not exist: it is the one file whose replacement is a commit
(``docs/decisions/0005-how-an-index-lies-on-disk.md``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from gaea.errors import GalleryError, InputError
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.files import write_atomically

MANIFEST_FILE = "index.json"
SHARDS_FOLDER = "shards"
DTYPES = ("int8", "float16")
_FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """One Parquet file of an index.

    Attributes:
        file: Its name in the folder ``shards``; never used twice in an index.
        rows: How many.
        first: Lowest row number in it.
        last: Highest row number in it.
        sha256: Of the file.
        size_bytes: Of the file.
    """

    file: str
    rows: int
    first: int
    last: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class SourceInfo:
    """Where rows of an index come from: a source's name, default licence and credit, kind and location."""

    name: str
    licence: str = ""
    credit: str = ""
    kind: str = ""
    location: str = ""


@dataclass(frozen=True)
class Manifest:
    """All that an index says about itself.

    Attributes:
        encoder: Whose vectors these are.
        dtype: ``int8`` or ``float16``.
        created: UTC, ISO 8601.
        updated: When it was last committed.
        shards: In ascending order of row numbers.
        next_row: Number of the next row.
        next_shard: Number in the next shard's name.
        sources: Every source that was ever built into it.
    """

    encoder: EncoderIdentity
    dtype: str
    created: str
    updated: str
    shards: tuple[Shard, ...] = ()
    next_row: int = 0
    next_shard: int = 0
    sources: tuple[SourceInfo, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a storage type that no gallery has, and an encoder that could not be compared."""
        if self.encoder.dim < 1 or not self.encoder.fingerprint:
            raise InputError(f"encoder {self.encoder.name!r} has no fingerprint, or vectors of no length")
        if self.dtype not in DTYPES:
            raise InputError(f"embedding dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")

    @property
    def rows(self) -> int:
        """How many rows the index holds."""
        return sum(shard.rows for shard in self.shards)

    def with_source(self, source: SourceInfo) -> Manifest:
        """The same with a source added, or replaced where one of that name is known."""
        others = tuple(known for known in self.sources if known.name != source.name)
        return replace(self, sources=(*others, source))

    def write(self, folder: Path) -> None:
        """Commit: replace the manifest of an index folder in one step; GalleryError where that is not possible."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        write_atomically(folder / MANIFEST_FILE, lambda part: _write_text(part, text))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index folder.

        Raises:
            GalleryError: There is none, it is damaged, or it is of a later format.
        """
        file = folder / MANIFEST_FILE
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            written = found["format"]
            if written == _FORMAT:
                return cls(
                    **_known(cls, found)
                    | {
                        "encoder": EncoderIdentity(**_known(EncoderIdentity, found["encoder"])),
                        "shards": tuple(Shard(**_known(Shard, shard)) for shard in found["shards"]),
                        "sources": tuple(SourceInfo(**_known(SourceInfo, source)) for source in found["sources"]),
                    }
                )
        except (FileNotFoundError, NotADirectoryError):
            raise GalleryError(f"no index at {folder}: expected a folder that holds {MANIFEST_FILE}") from None
        except OSError as error:
            raise GalleryError(f"{file} cannot be read: {error.strerror or error}") from error
        # JSON cut short, another structure, or values that no manifest has.
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise GalleryError(
                f"{file} is damaged ({detail}): restore it from a copy, or recover the index from its shards"
            ) from error
        raise GalleryError(f"{file} has format {written}, this program reads {_FORMAT}: upgrade gaea")


def _known(of: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this version knows; what a later one added under the same format does not matter here."""
    names = {item.name for item in fields(of)}
    return {name: value for name, value in found.items() if name in names}


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
