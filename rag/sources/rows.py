"""Rows of CSV, TSV, JSON-lines and Parquet files, one at a time, with the number by which a message can name them."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from gaea.errors import InputError

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")

Row: TypeAlias = tuple[int, Mapping[str, Any]]

_PEEK = 100  # JSON lines may leave columns out; this many are looked at to learn the columns


def at(file: Path, number: int) -> str:
    """``metadata.csv line 7``, for messages."""
    return f"{file.name} {'row' if file.suffix.lower() == '.parquet' else 'line'} {number}"


def column_names(file: Path) -> list[str]:
    """The columns of a file.

    Raises:
        InputError: The file is missing, empty, or not what its name says.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the path")
    if file.suffix.lower() == ".parquet":
        return list(_parquet(file).schema_arrow.names)
    if file.suffix.lower() == ".jsonl":
        names = {name: None for _, values in islice(read_rows(file), _PEEK) for name in values}
    else:
        with file.open("rb") as lines:
            names = dict.fromkeys(next(_csv_lines(file, lines), (0, []))[1])
    if not names:
        raise InputError(f"{file}: the file is empty; expected a header or rows with a path, latitude and longitude")
    return list(names)


def read_rows(file: Path) -> Iterator[Row]:
    """All rows in file order, read lazily; strings where the format knows no types.

    Yields:
        Line number (row number for Parquet), counted from 1, and the values by column.

    Raises:
        InputError: A row is broken; the message names file and line.
    """
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file}: cannot read rows of {file.suffix or 'a file without ending'}: expected {ENDINGS}")
    return reader(file)


def count_rows(file: Path) -> int:
    """How many rows there are, without parsing their values."""
    if file.suffix.lower() == ".parquet":
        return int(_parquet(file).metadata.num_rows)
    if file.suffix.lower() == ".jsonl":
        with file.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    with file.open("rb") as lines:
        return max(sum(1 for _, fields in _csv_lines(file, lines) if fields) - 1, 0)


def _read_csv(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        rows = _csv_lines(file, lines)
        names = next(rows, (0, []))[1]
        for number, fields in rows:
            if not fields:
                continue
            if len(fields) != len(names):
                raise InputError(
                    f"{at(file, number)}: {len(fields)} fields, but the header has {len(names)}; quote fields that "
                    f"hold the separator"
                )
            yield number, dict(zip(names, fields, strict=True))


def _csv_lines(file: Path, lines: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Fields of each record, with the number of its last line."""
    first = lines.readline()
    lines.seek(0)
    # Spreadsheets of half of Europe write semicolons and call it CSV.
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ";" if b";" in first and b"," not in first else ","
    if first.startswith(codecs.BOM_UTF8):
        lines.seek(len(codecs.BOM_UTF8))
    # Decoded line by line, so that a wrong byte is found on its own line.
    reader = csv.reader((line.decode() for line in lines), delimiter=delimiter, strict=True)
    number = 0
    try:
        for fields in reader:
            number = reader.line_num
            yield number, [field.strip() for field in fields]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"{at(file, number + 1)}: not readable as UTF-8 {file.suffix[1:].upper()} ({_short(error)})"
        ) from error


def _read_jsonl(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            yield number, parse_object(line, at(file, number))


def parse_object(text: bytes, where: str) -> dict[str, Any]:
    """One JSON object.

    Raises:
        InputError: It is broken or something else; the message begins with ``where``.
    """
    try:
        value = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: broken JSON ({_short(error)}); expected one object per line") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: a JSON {type(value).__name__}, expected an object with columns as its names")
    return value


def _read_parquet(file: Path) -> Iterator[Row]:
    import pyarrow as pa

    parquet, number = _parquet(file), 0
    # Pictures inside the file are not copied out only to list the rows.
    wanted = [field.name for field in parquet.schema_arrow if not _holds_bytes(field.type)]
    try:
        for batch in parquet.iter_batches(batch_size=4096, columns=wanted):
            for values in batch.to_pylist():
                number += 1
                yield number, values
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{at(file, number + 1)}: cannot be read ({_short(error)}); get the file again") from error


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def parquet_schema(file: Path) -> Any:
    """The Arrow schema of a Parquet file.

    Raises:
        InputError: It is damaged or something else.
    """
    return _parquet(file).schema_arrow


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: not a readable Parquet file ({_short(error)}); get the file again") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
