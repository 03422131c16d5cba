"""Which photos are meant: those below a folder, those named, and those listed in a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaea.errors import InputError
from gaea.rag.sources.located import folders, inside, is_picture
from gaea.rag.sources.rows import ENDINGS, column_names, read_rows
from gaea.source import printable

PATH_COLUMNS = ("photo", "path", "file", "filename", "file_name", "image", "image_path", "img", "picture")
"""What the column of a table that names the photos may be called, upper or lower case, the first that is there."""


@dataclass(frozen=True)
class Listed:
    """One photo that is meant.

    Attributes:
        name: As it was given; what answers call it.
        path: Where it lies, absolute.
    """

    name: str
    path: Path


def photos(sources: Sequence[str]) -> list[Listed]:
    """All photos that some sources mean, each once, in order.

    Args:
        sources: Folders, files of photos, and tables (CSV, TSV, JSON lines, Parquet) with a column of paths.

    Raises:
        InputError: Something is not there, a table has no such column, or no photo is meant at all.
    """
    found: dict[Path, Listed] = {}
    for source in sources:
        for one in _meant(source):
            found.setdefault(one.path, one)
    if not found:
        raise InputError(
            f"{', '.join(map(printable, sources))}: no photo is there; expected .jpg, .png, .heic and such"
        )
    return list(found.values())


def _meant(source: str) -> Iterator[Listed]:
    path = Path(source).expanduser()
    if path.is_dir():
        for folder, files in folders(path):
            for name in filter(is_picture, files):
                below = Path(folder) / name if folder else Path(name)
                yield Listed(str(Path(source) / below), _absolute(path / below))
    elif path.suffix.lower() in ENDINGS and path.is_file():
        yield from _of_table(path)
    elif path.exists():
        yield Listed(source, _absolute(path))
    else:
        raise InputError(f"{printable(source)}: there is no such file or folder; check the path")


def _of_table(table: Path) -> Iterator[Listed]:
    names = {name.lower(): name for name in column_names(table)}
    column = next((names[each] for each in PATH_COLUMNS if each in names), None)
    if column is None:
        raise InputError(f"{table}: no column of paths; expected one called {', '.join(PATH_COLUMNS)}")
    root = _absolute(table.parent)
    for number, values in read_rows(table):
        below = inside(root, str(values.get(column) or ""), (table, number))
        yield Listed(below, root / below)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
