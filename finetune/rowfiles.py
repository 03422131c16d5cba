"""Reads the rows of a dataset one by one: a JSON list, JSON lines or Parquet, of any length, in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from gaea.errors import InputError, first_line
from gaea.finetune.dataset import OURS, Example, Kind, example_of, kind_of
from gaea.finetune.faults import Fault, FaultLog, faults_of
from gaea.finetune.jsontext import DECODER, LONGEST_ROW, Window, head_bytes, open_text

_PARQUET_ROWS = 256  # few, because the hub keeps pictures in its rows


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it was found.

    Attributes:
        number: From 1.
        line: Where it begins in a text file, from 1; 0 in Parquet.
        row: Usually a dict; whatever JSON value stands there.
        problem: Why there is no row, one line; '' where there is.
    """

    number: int
    line: int
    row: Any
    problem: str = ""


def scan_rows(path: str | Path, *, columns: Sequence[str] | None = None) -> Iterator[Found]:
    """All rows of a file in order; those that cannot be read come with a problem.

    After a broken row JSON lines go on with the next line; a JSON list ends, because nobody can tell where the next row
    begins.

    Args:
        path: ``.json``, ``.jsonl`` (either also ``.gz``) or Parquet, told by the content; or a folder of Parquet files.
        columns: Of Parquet, those to read; all if left out.

    Raises:
        InputError: There is no such file, or it is none of these.
    """
    place = Path(path)
    if place.is_dir() or head_bytes(place) == b"PAR1":
        yield from _parquet_rows(place, columns)
        return
    with open_text(place) as file:
        window = Window(file, place)
        mark = window.mark()
        if mark == "[":
            yield from _list_rows(window)
        elif mark == "{":
            file.seek(0)
            yield from _line_rows(file, place)
        else:
            what = f"begins with {mark!r}" if mark else "is empty"
            raise InputError(f"{place} {what}: expected a JSON list, JSON lines or Parquet")


def read_rows(path: str | Path, *, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """All rows of a file; what they say is not checked.

    Raises:
        InputError: A row cannot be read; its number and line are named.
    """
    for found in scan_rows(path, columns=columns):
        if found.problem or not isinstance(found.row, dict):
            problem = found.problem or f"a {type(found.row).__name__} stands where a row belongs"
            raise InputError(f"{path}: {Fault(found.number, found.line, '', problem)}")
        yield found.row


def sound_rows(
    path: str | Path, kind: Kind | None = None, *, log: FaultLog | None = None, columns: Sequence[str] | None = None
) -> Iterator[tuple[Found, Kind]]:
    """The rows of a file that are sound, with their kind.

    Args:
        path: See :func:`scan_rows`.
        kind: What the rows should be; that of the first row if left out.
        log: Takes in the faults of the others, which are left out; without it the first fault is an error.
        columns: Of Parquet, those to read.

    Raises:
        InputError: A fault, where there is no log or the log says to stop at the first.
    """
    log = FaultLog(first=True) if log is None else log
    for found in scan_rows(path, columns=columns):
        if kind is None and isinstance(found.row, dict):
            kind = _told_kind(path, found)
        wrong = [("", found.problem)] if found.problem else faults_of(found.row, kind or Kind.TRAIN)
        if wrong:
            faults = [Fault(found.number, found.line, name, problem) for name, problem in wrong]
            if log.first:
                raise InputError(f"{path}: {faults[0]}")
            log.note(faults)
        elif kind:
            yield found, kind


def read_examples(
    path: str | Path, kind: Kind | None = None, *, log: FaultLog | None = None, columns: Sequence[str] | None = None
) -> Iterator[Example]:
    """The sound rows of a file as examples; arguments and errors as of :func:`sound_rows`."""
    for found, known in sound_rows(path, kind, log=log, columns=columns):
        yield example_of(found.row, known)


def _told_kind(path: str | Path, found: Found) -> Kind:
    try:
        return kind_of(found.row)
    except InputError as error:
        raise InputError(f"{path}: {Fault(found.number, found.line, '', str(error))}") from None


def count_rows(path: str | Path) -> int | None:
    """How many rows there are, where that costs nothing to know."""
    place = Path(path)
    if not place.is_dir() and head_bytes(place) != b"PAR1":
        return None
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in _parquet_files(place))


def _list_rows(window: Window) -> Iterator[Found]:
    window.take(window.at + 1)
    number, line = 0, window.line
    try:
        mark = window.mark()
        while mark != "]":
            number, line = number + 1, window.line
            yield Found(number, line, window.value())
            mark = window.mark()
            if mark == ",":
                window.take(window.at + 1)
                mark = "," if window.mark() == "]" else ""
            elif mark != "]":
                line = window.line
                raise ValueError("',' or ']' expected" if mark else "the file ends before its list does")
            if mark == ",":
                raise ValueError("a row expected after ','")
        window.take(window.at + 1)
        if window.mark():
            raise ValueError("the file goes on after its list")
    except (ValueError, RecursionError) as error:
        yield _broken(number, window.line, error)


def _line_rows(file: TextIO, path: Path) -> Iterator[Found]:
    number = line = 0
    while True:
        try:
            text = file.readline(LONGEST_ROW)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 somewhere after line {line:,}: {error.reason}") from error
        if not text:
            return
        line += 1
        if not text.strip():
            continue
        number += 1
        try:
            found = Found(number, line, DECODER.decode(text))
        except (ValueError, RecursionError) as error:
            found = _broken(number, line, error)
        yield found


def _broken(number: int, line: int, error: Exception) -> Found:
    reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", None) or str(error)
    return Found(number, line, None, f"is no JSON: {reason}")


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    for name in _parquet_files(path):
        try:
            with pq.ParquetFile(name) as file:
                wanted = None if columns is None else [one for one in columns if one in file.schema_arrow.names]
                for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted):
                    for row in batch.to_pylist():
                        number += 1
                        yield _with_ours(number, row)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{name} cannot be read after row {number:,}: {first_line(error)}") from error


def _with_ours(number: int, row: dict[str, Any]) -> Found:
    """Columns have one type, our facts have not: they lie there as JSON."""
    if not isinstance(row.get(OURS), str):
        if row.get(OURS, 0) is None:
            del row[OURS]
        return Found(number, 0, row)
    try:
        return Found(number, 0, {**row, OURS: json.loads(row[OURS])})
    except ValueError as error:
        return Found(number, 0, None, f"the column {OURS} is no JSON: {first_line(error)}")


def _parquet_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if files := sorted(path.rglob("*.parquet")):
        return files
    raise InputError(f"{path} is a folder without Parquet files: name the JSON file in it")
