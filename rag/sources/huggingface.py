"""A Hugging Face dataset on disk with pictures and coordinates, among them GAEA's own with its questions.

GAEA's hub columns are file_name (the picture), image (its path), dataset, question, answer, lat, lon (as strings),
location, question_type and subset (``scripts/download_gaea.py`` of UCF-CRCV/GAEA reads them so); several rows ask about
one picture. Such a dataset is listed one picture at a time: rows with the same path (or, without paths, the
same bytes) at the same place are one, and the first of them says the rest. Questions and answers are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gaea.errors import InputError, PhotoError
from gaea.rag.records import Item
from gaea.rag.sources.columns import Columns, words
from gaea.rag.sources.hub import Block, blocks, is_saved, parquet_files, read_cell
from gaea.rag.sources.located import Located, checked_size, inside, read_below

_ASKS = "question"
_SPOKEN = frozenset({_ASKS, "answer", "conversations"})


@dataclass(frozen=True)
class HuggingFace(Located):
    """Rows in the order of splits, files and rows; keys are ``split/path``, or ``split/number`` without paths.

    Attributes:
        split: One split; all of them where none is given.
    """

    split: str = ""
    kind: ClassVar[str] = "huggingface"

    def _check(self, path: Path) -> None:
        super()._check(path)
        if not is_saved(path):
            parquet_files(path, self.split)

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`; pictures are read only where rows of questions name none."""
        pictures: set[int] = set()
        keys: set[int] = set()
        columns = None
        for block in blocks(self.path, self.split):
            names = [name for name in (block.rows[0] if block.rows else {}) if name not in _SPOKEN]
            columns = Columns.find(names, self.path.name, path=not block.picture) if names else columns
            for index, values in enumerate(block.rows):
                assert columns is not None  # noqa: S101 - found with the first row
                kept = {name: value for name, value in values.items() if name not in _SPOKEN}
                key, path = self._key(block, index, kept, columns)
                if _ASKS in values:
                    picture = hash((path or self._digest(block, index), values[columns.lat], values[columns.lon]))
                    if picture in pictures:
                        continue
                    pictures.add(picture)
                if hash(key) in keys:
                    key = f"{key}#{block.first + index}"
                keys.add(hash(key))
                yield columns.item(key, kept, where=(block.where[index], block.picture, path))

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`."""
        where, column, path = item.where
        if column:
            try:
                cell = read_cell(self.path, tuple(where), column)
            except InputError as error:
                raise PhotoError(f"{item.key}: {error}") from error
            data = cell if isinstance(cell, bytes) or cell is None else cell["bytes"]
            if data:
                checked_size(len(data), item.key)
                return bytes(data)
        if not path:
            raise PhotoError(f"{item.key}: the row holds no picture")
        return read_below(self._root(), path)

    def count(self) -> None:
        """Not known: several rows may share one picture."""

    def _root(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def _key(self, block: Block, index: int, values: Mapping[str, Any], columns: Columns) -> tuple[str, str | None]:
        """Key of a row, and the path of its picture where it has one."""
        if block.picture:
            path = self._name(block.paths[index], words(values.get(columns.path)) if columns.path else "")
            return f"{block.label}/{path or block.first + index}", path
        path = inside(
            self._root(), str(values.get(str(columns.path)) or ""), f"{block.label} row {block.first + index}"
        )
        return f"{block.label}/{path}", path

    @staticmethod
    def _name(packed: str | None, told: str) -> str | None:
        """The path of a packed picture: the one in a column beside it, where that is the same with its folders."""
        return told if told and (not packed or told.rpartition("/")[2] == packed.rpartition("/")[2]) else packed

    def _digest(self, block: Block, index: int) -> str:
        cell = read_cell(self.path, block.where[index], block.picture)
        data = cell if isinstance(cell, bytes) or cell is None else cell["bytes"]
        return hashlib.sha256(data or b"").hexdigest()
