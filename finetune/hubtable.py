"""Writes rows as the hub has them: Parquet, in groups of rows, with the published columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gaea.errors import InputError, first_line
from gaea.finetune.dataset import FIELDS, OURS, Kind, Row

_GROUP_ROWS = 10_000
_GROUP_BYTES = 64 << 20  # or as many bytes of pictures


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Write hub rows, a group of them at a time.

    The columns are the published ones, ours as JSON text, and whatever else the first group's rows have.

    Raises:
        InputError: A row lacks a published column, or a later one does not fit the columns.
        OSError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    try:
        for group in _groups(rows):
            try:
                table = pa.Table.from_pylist(group, schema=writer.schema if writer else _hub_schema(group))
            except (pa.ArrowException, TypeError) as error:
                raise InputError(f"rows do not fit the columns of the first ones: {first_line(error)}") from error
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer:
            writer.close()
    if writer is None:
        pq.write_table(_hub_schema([]).empty_table(), path)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for number, row in enumerate(rows, 1):
        if missing := [name for name in FIELDS[Kind.HUB] if name not in row]:
            raise InputError(f"row {number:,}: {missing[0]}: is missing; Parquet holds hub rows, so convert to hub")
        group.append({**row, OURS: json.dumps(row[OURS])} if OURS in row else row)
        size += len(row["image"].get("bytes") or b"") if isinstance(row["image"], dict) else 0
        if len(group) == _GROUP_ROWS or size > _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _hub_schema(rows: list[Row]) -> Any:
    """The published columns, ours, and what else the rows have; pictures as ``datasets`` keeps them."""
    import pyarrow as pa

    known = {name: pa.string() for name in (*FIELDS[Kind.HUB], OURS)}
    if rows and isinstance(rows[0]["image"], dict):
        known["image"] = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    more = [{name: value for name, value in row.items() if name not in known} for row in rows]
    names = {name: None for row in more for name in row}
    try:
        extra = {name: pa.array([row.get(name) for row in more]).type for name in names}
    except pa.ArrowException as error:
        raise InputError(f"a column holds values of several types: {first_line(error)}") from error
    return pa.schema({**known, **extra})
