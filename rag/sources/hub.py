"""Hugging Face datasets as they lie on disk: folders of ``save_to_disk``, and the Parquet shards of the hub.

Both are read block by block through Arrow, without the pictures when rows are listed, and one cell at a time when a
picture is wanted. Nothing is converted or cached on disk.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaea.errors import InputError, MissingDependencyError

_SAVED_ROWS = 256
_NAMES = ("image", "jpg", "jpeg", "png", "webp", "img", "photo", "picture", "file_name", "bytes")


@dataclass(frozen=True)
class Block:
    """Some rows of a dataset, without the bytes of the pictures.

    Attributes:
        label: The split, or the Parquet file relative to the dataset, for keys.
        first: Number of the first row within the label, from 0.
        rows: Values by column.
        paths: The name that each picture had before it was packed, None where there is none.
        picture: The column of the pictures, empty where rows hold no bytes.
        where: For each row, what :func:`read_cell` needs.
    """

    label: str
    first: int
    rows: list[dict[str, Any]]
    paths: list[str | None]
    picture: str
    where: list[tuple[Any, ...]]


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote the folder."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def blocks(location: Path, split: str) -> Iterator[Block]:
    """All rows of a dataset, or of one split.

    Raises:
        InputError: It cannot be read, or has no such split.
    """
    yield from _saved_blocks(location, split) if is_saved(location) else _parquet_blocks(location, split)


def read_cell(location: Path, where: tuple[Any, ...], column: str) -> Any:
    """The picture of one row: bytes, or a mapping with ``bytes`` and ``path``.

    Raises:
        InputError: The files changed or are damaged.
    """
    try:
        if is_saved(location):
            split, row = where
            dataset = _saved(str(location), _changed_ns(location))[split].with_format("arrow")
            return dataset[row].column(column)[0].as_py()
        name, group, row = where
        return _group(str(location / name), _changed_ns(location / name), group, column)[row].as_py()
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise InputError(f"{location}: {where} cannot be read ({' '.join(str(error).split())[:100]})") from error


def picture_column(schema: Any) -> str:
    """The column that holds pictures as bytes; '' where there is none."""
    import pyarrow as pa

    def holds(field: Any) -> bool:
        if pa.types.is_struct(field.type):
            return bool(field.type.get_field_index("bytes") >= 0)
        binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        return bool(binary and field.name.casefold() in _NAMES)

    found = [field.name for field in schema if holds(field)]
    rank = {name: index for index, name in enumerate(_NAMES)}
    return min(found, key=lambda name: rank.get(name.casefold(), len(rank)), default="")


def _changed_ns(path: Path) -> int:
    """So that what is kept open is not kept when the files are written again."""
    described = next((path / name for name in ("dataset_dict.json", "state.json") if (path / name).is_file()), path)
    return described.stat().st_mtime_ns


# ── save_to_disk ────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=4)
def _saved(location: str, changed_ns: int) -> dict[str, Any]:  # noqa: ARG001 - part of the cache's key
    """Splits by name, '' for a dataset without splits; memory-mapped."""
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            f"{location}: reading a saved dataset needs the package datasets; run: pip install 'gaea-geo[index]'"
        ) from error
    try:
        loaded = datasets.load_from_disk(location)
    # The library lets through whatever its files make Arrow, JSON and its own checks raise.
    except Exception as error:
        raise InputError(f"{location}: not a readable saved dataset ({' '.join(str(error).split())[:160]})") from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}


def _saved_blocks(location: Path, split: str) -> Iterator[Block]:
    splits = _saved(str(location), _changed_ns(location))
    if split and split not in splits:
        raise InputError(f"{location}: no split {split!r}; it has {', '.join(filter(None, splits)) or 'no splits'}")
    for name in [split] if split else sorted(splits):
        dataset = splits[name].with_format("arrow")
        picture = picture_column(dataset.features.arrow_schema)
        for first in range(0, len(dataset), _SAVED_ROWS):
            table = dataset[first : first + _SAVED_ROWS]
            where = [(name, row) for row in range(first, first + len(table))]
            yield Block(name or "rows", first, _rows(table, picture), _paths(table, picture), picture, where)


# ── Parquet shards ──────────────────────────────────────────────────────────


def parquet_files(location: Path, split: str) -> list[Path]:
    """The shards of a dataset, or of one split: ``data/train-00000-of-00002.parquet`` or ``train/0000.parquet``.

    Raises:
        InputError: There are none.
    """
    files = [location] if location.is_file() else sorted(location.rglob("*.parquet"))
    named = re.compile(rf"(^|/){re.escape(split)}([-./][^/]*)?\.parquet$|(^|/){re.escape(split)}/")
    chosen = [file for file in files if not split or named.search(file.relative_to(_base(location)).as_posix())]
    if not chosen:
        raise InputError(f"{location}: no Parquet files{f' of split {split!r}' if split else ''} there")
    return chosen


def _base(location: Path) -> Path:
    return location.parent if location.is_file() else location


def _parquet_blocks(location: Path, split: str) -> Iterator[Block]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in parquet_files(location, split):
        name = file.name if location.is_file() else file.relative_to(location).as_posix()
        try:
            with pq.ParquetFile(file) as parquet:
                schema = parquet.schema_arrow
                picture = picture_column(schema)
                named = picture and pa.types.is_struct(schema.field(picture).type)
                columns = [field.name for field in schema if field.name != picture]
                columns += [f"{picture}.path"] if named else []
                first = 0
                for group in range(parquet.num_row_groups):
                    table = parquet.read_row_group(group, columns=columns)
                    # A single file lies at the location itself, to which nothing is added.
                    held = "" if location.is_file() else name
                    where = [(held, group, row) for row in range(len(table))]
                    yield Block(name, first, _rows(table, picture), _paths(table, picture), picture, where)
                    first += len(table)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file}: not readable Parquet ({' '.join(str(error).split())[:120]})") from error


@functools.lru_cache(maxsize=2)
def _group(file: str, changed_ns: int, group: int, column: str) -> Any:  # noqa: ARG001 - part of the cache's key
    """The pictures of one row group: rows are mostly read in order, and a group is read as a whole anyway."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(column)


def _rows(table: Any, picture: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.drop_columns(
        [name for name in [picture] if name in table.column_names]
    ).to_pylist()
    # A table of no columns has no rows for Arrow.
    return rows if len(rows) == len(table) else [{} for _ in range(len(table))]


def _paths(table: Any, picture: str) -> list[str | None]:
    import pyarrow as pa

    column = table.column(picture).combine_chunks() if picture in table.column_names else None
    if column is None or not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
        return [None] * len(table)
    paths: list[str | None] = column.field("path").to_pylist()
    return paths
