"""A table of pictures: CSV, TSV, JSON lines or Parquet with a path, a latitude and a longitude in every row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from gaea.errors import InputError
from gaea.rag.records import Item
from gaea.rag.sources.columns import Columns
from gaea.rag.sources.located import Located, inside, read_below, require_folder
from gaea.rag.sources.rows import ENDINGS, at, column_names, count_rows, read_rows


@dataclass(frozen=True)
class Table(Located):
    """Pictures listed in one file, in its order; keys are paths relative to the root.

    Attributes:
        root: Folder that paths are relative to; the table's own where none is given.
    """

    root: str = ""
    kind: ClassVar[str] = "table"

    def _check(self, path: Path) -> None:
        super()._check(path)
        if path.suffix.lower() not in ENDINGS or path.is_dir():
            raise InputError(f"{path}: kind {self.kind!r} needs a file that ends in {', '.join(ENDINGS)}")
        root = Path(self.root).expanduser() if self.root else path.parent
        object.__setattr__(self, "root", os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        require_folder(Path(self.root), self.kind)

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`."""
        yield from listed({self.path: Path(self.root)}, Path(self.root))

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`."""
        return read_below(Path(self.root), item.key)

    def count(self) -> int:
        """How many rows there are; a picture listed twice counts twice."""
        return count_rows(self.path)


def listed(tables: Mapping[Path, Path], root: Path) -> Iterator[Item]:
    """The pictures of some tables, each once, in the order of their first rows.

    Tables are read twice: first for their paths and positions alone, so that a broken row is told before hours of
    encoding and not after. A picture listed again at the same position is one picture, as in tables of several
    captions. One that is listed at two positions can be at neither: it comes without one, and ``extra`` says why.

    Args:
        tables: Files, each with the absolute folder that its paths are relative to.
        root: What keys are relative to, absolute: the same folder or above.

    Raises:
        InputError: A column is missing, a row is broken, or a path leaves its folder.
    """
    # Hashes, because the paths of millions of pictures would fill the memory.
    positions: dict[int, int] = {}
    torn: dict[int, list[str]] = {}
    for key, where, columns, values in _keyed(tables, root):
        position = hash((str(values.get(columns.lat)).strip(), str(values.get(columns.lon)).strip()))
        if positions.setdefault(hash(key), position) != position:
            torn.setdefault(hash(key), []).append(at(*where))
    for key, where, columns, values in _keyed(tables, root):
        if positions.pop(hash(key), None) is None:
            continue
        item = columns.item(key, values)
        if others := torn.get(hash(key)):
            problem = f"listed at different positions: {at(*where)}, {', '.join(others[:5])}"
            item = replace(item, lat=None, lon=None, extra={**item.extra, "problems": [problem]})
        yield item


def _keyed(
    tables: Mapping[Path, Path], root: Path
) -> Iterator[tuple[str, tuple[Path, int], Columns, Mapping[str, Any]]]:
    """Key, file and line, columns and values of every row."""
    for table, folder in tables.items():
        columns = Columns.find(column_names(table), table.name)
        path = str(columns.path)
        prefix = "" if folder == root else folder.relative_to(root).as_posix() + "/"
        for number, values in read_rows(table):
            relative = inside(folder, str(values.get(path) or ""), (table, number))
            yield prefix + relative, (table, number), columns, values
