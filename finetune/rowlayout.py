"""How rows lie in a file, so that they can be written as they were found; and writing them, one by one.

A JSON file is canonical if its rows are what some setting of a common JSON writer (Python's ``json``, ujson) gives.
Such a file is written again byte for byte: :meth:`Layout.of` finds the setting by trying them on the first row.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gaea.errors import InputError, first_line
from gaea.finetune.dataset import Row
from gaea.finetune.hubtable import write_parquet
from gaea.finetune.jsontext import Window, head_bytes, open_text
from gaea.rag.files import write_atomically

_INDENTS: tuple[int | str | None, ...] = (None, 4, 2, "\t", 1, 3, 8)
_SEPARATORS = ((", ", ": "), (",", ":"), (",", ": "))
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TAIL = 4096  # bytes; what follows the last row is a bracket and white space
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """The text between, before and after rows, and how a row becomes text.

    The default is a JSON list with a row a line: any JSON reader takes it, and so do the tools of the command line.

    Attributes:
        opening: Before the first row.
        between: Between two rows.
        closing: After the last row.
        indent: Of :func:`json.dumps`.
        margin: White space before every line of a row but its first.
        separators: Of :func:`json.dumps`.
        ascii_only: Whether other letters are escaped.
        slashes: Whether ``/`` is escaped too, as ujson does.
        exact: Whether rows were found to be written just so.
    """

    opening: str = "[\n"
    between: str = ",\n"
    closing: str = "\n]\n"
    indent: int | str | None = None
    margin: str = ""
    separators: tuple[str, str] = (", ", ": ")
    ascii_only: bool = True
    slashes: bool = False
    exact: bool = True

    @functools.cached_property
    def _encoder(self) -> json.JSONEncoder:
        return json.JSONEncoder(
            indent=self.indent, separators=self.separators, ensure_ascii=self.ascii_only, allow_nan=False
        )

    def text(self, row: Any) -> str:
        """A row as text.

        Raises:
            InputError: It holds something that JSON has not, such as NaN.
        """
        try:
            text = self._encoder.encode(row)
            if not self.ascii_only:  # half a surrogate pair is no letter, and goes through escaped
                text = _HALF_PAIR.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
        except (TypeError, ValueError) as error:
            raise InputError(f"a row cannot be written as JSON: {first_line(error)}") from error
        if self.margin:
            text = text.replace("\n", "\n" + self.margin)
        return text.replace("/", "\\/") if self.slashes else text

    @classmethod
    def of(cls, path: str | Path) -> Layout:
        """The layout of a JSON file; it is read once, because a letter may be escaped or not anywhere in it.

        Raises:
            InputError: It cannot be read.
        """
        place = Path(path)
        opening, raw, between = _first_rows(place)
        ascii_only, tail = _letters_and_tail(place)
        # Without rows there is nothing to try.
        if not raw:
            return LINES if opening.lstrip()[:1] != "[" else cls()
        form = cls(opening, between or (",\n" if "[" in opening else "\n"), tail, ascii_only=ascii_only)
        return _fitted(form, raw)


LINES = Layout("", "\n", "\n")


def layout_for(path: str | Path) -> Layout | None:
    """What a file's name asks for: None for Parquet, JSON lines for ``.jsonl``, a list with a row a line otherwise.

    Raises:
        InputError: No JSON and no Parquet is written under such a name.
    """
    name = Path(path).name.removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in {".json", ".jsonl", ".parquet"} or (suffix == ".parquet" and name != Path(path).name):
        raise InputError(f"{path}: rows are written to .json, .jsonl (either also .gz) or .parquet")
    return {".jsonl": LINES, ".json": Layout()}.get(suffix)


def write_rows(path: str | Path, rows: Iterable[Row], layout: Layout | None = None) -> int:
    """Write rows as they come; the file appears whole or not at all.

    Args:
        path: ``.json`` or ``.jsonl`` (gzipped with ``.gz`` added), or ``.parquet`` for hub rows.
        rows: Of one kind; read once.
        layout: How JSON lies; by the name if left out.

    Returns:
        How many rows were written.

    Raises:
        InputError: A row cannot be written so, or the name is of no known kind.
        GalleryError: The disk is full or may not be written to; what was at ``path`` stays.
    """
    place, counted = Path(path), itertools.count()
    named = layout_for(place)
    counting = (row for row, _ in zip(rows, counted, strict=False))
    place.parent.mkdir(parents=True, exist_ok=True)
    if named is None:
        write_atomically(place, lambda part: write_parquet(part, counting))
    else:
        packed = place.suffix == ".gz"
        write_atomically(place, lambda part: _write_json(part, counting, layout or named, packed=packed))
    return next(counted)


def _write_json(path: Path, rows: Iterator[Row], layout: Layout, *, packed: bool) -> None:
    with path.open("wb") as raw:
        # Without a name and a time in it, so that the same rows give the same bytes.
        file: BinaryIO = gzip.GzipFile("", "wb", 6, raw, 0) if packed else raw  # type: ignore[assignment]
        before = layout.opening
        for row in rows:
            file.write((before + layout.text(row)).encode())
            before = layout.between
        if before is layout.between:
            file.write(layout.closing.encode())
        elif layout.opening:
            file.write(b"[]\n")
        if packed:
            file.close()


def _first_rows(path: Path) -> tuple[str, str, str]:
    """Text before the first row, of it, and between it and the second; each '' where there is none."""
    with open_text(path) as file:
        window = Window(file, path)
        opening = _space(window)
        if window.mark() == "[":
            window.take(window.at + 1)
            opening += "[" + _space(window)
        if window.mark() != "{":
            return opening, "", ""
        try:
            window.value()
            raw = window.text[: window.at]
        except ValueError as error:
            raise InputError(f"{path}: row 1 (line {window.line:,}): is no JSON: {error}") from error
        between = _space(window)
        if window.mark() == ",":
            window.take(window.at + 1)
            between += "," + _space(window)
        return opening, raw, between if window.mark() == "{" else ""


def _space(window: Window) -> str:
    """White space from here on; the window then begins with what follows."""
    passed = ""
    while window.at < len(window.text) or window.more():
        if not window.text[window.at].isspace():
            break
        passed += window.text[window.at]
        window.take(window.at + 1)
    window.text, window.at = window.text[window.at :], 0
    return passed


def _letters_and_tail(path: Path) -> tuple[bool, str]:
    """Whether all letters are ASCII, and what follows the last row."""
    ascii_only, tail = True, b""
    try:
        packed = head_bytes(path)[:2] == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                ascii_only = ascii_only and chunk.removeprefix(b"\xef\xbb\xbf").isascii()
                tail = (tail + chunk)[-_TAIL:]
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error
    return ascii_only, tail.rpartition(b"}")[2].decode("utf-8", "replace")


def _fitted(form: Layout, raw: str) -> Layout:
    """The setting that gives the first row as it stands."""
    row = json.loads(raw)
    margin = form.opening.rpartition("\n")[2] if "\n" in form.opening else ""
    for indent, separators, slashes in itertools.product(_INDENTS, _SEPARATORS, (False, True)):
        tried = dataclasses.replace(
            form, indent=indent, separators=separators, slashes=slashes, margin=margin if indent is not None else ""
        )
        if tried.text(row) == raw:
            return tried
    return dataclasses.replace(form, exact=False)
