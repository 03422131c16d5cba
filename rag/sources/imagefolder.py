"""A folder of pictures with a metadata file, after the ImageFolder convention of the ``datasets`` library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gaea.errors import InputError
from gaea.rag.records import Item
from gaea.rag.sources.located import Located, folders, read_below, require_folder
from gaea.rag.sources.rows import count_rows
from gaea.rag.sources.table import listed

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class ImageFolder(Located):
    """Pictures listed in ``metadata.csv``, ``.jsonl`` or ``.parquet``, there or in folders below (one per split).

    Keys are paths relative to the folder; pictures that no metadata file lists are not part of it.
    """

    kind: ClassVar[str] = "imagefolder"

    def _check(self, path: Path) -> None:
        require_folder(path, self.kind)

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`."""
        yield from listed({table: table.parent for table in self._tables()}, self.path)

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`."""
        return read_below(self.path, item.key)

    def count(self) -> int:
        """How many rows there are; a picture listed twice counts twice."""
        return sum(count_rows(table) for table in self._tables())

    def _tables(self) -> list[Path]:
        tables = [
            self.path / folder / next(name for name in METADATA if name in files)
            for folder, files in folders(self.path)
            if not set(METADATA).isdisjoint(files)
        ]
        if not tables:
            raise InputError(f"{self.path}: no {', '.join(METADATA)}; add one with file_name, lat and lon")
        return tables
