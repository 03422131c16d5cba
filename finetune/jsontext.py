"""A window that moves over a JSON text of any length, and takes one value after the other from it.

The standard library's decoder, in C, parses a value where the window has all of it; where it is cut off, the window
reads on. That is all that an event parser (ijson) would be needed for, with the very values that ``json.load`` gives.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from gaea.errors import InputError, first_line

LONGEST_ROW = 1 << 26  # characters
_CHUNK = 1 << 20
_NEAR_END = 16  # characters within which a cut-off literal or escape shows


class Window:
    """A stretch of a text file, from the place where reading stands."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.text, self.at, self.line = "", 0, 1
        self._file, self._path = file, path

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        rest = self.text[self.at :]
        if len(rest) > LONGEST_ROW:
            raise ValueError(f"is longer than {LONGEST_ROW >> 20} million characters, or a bracket is not closed")
        try:
            # As much again as a row that does not fit, so that a long one is not parsed many times.
            new = self._file.read(max(_CHUNK, len(rest)))
        except UnicodeDecodeError as error:
            raise InputError(f"{self._path} is not UTF-8 somewhere after line {self.line:,}: {error.reason}") from error
        if new:
            self.text, self.at = rest + new, 0
        return bool(new)

    def take(self, end: int) -> None:
        """Stand at ``end``, a place in ``text``."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def mark(self) -> str:
        """Pass white space; the character after it, '' at the end of the file."""
        while True:
            at = self.at
            while at < len(self.text) and self.text[at] in " \t\r\n":
                at += 1
            self.take(at)
            if at < len(self.text):
                return self.text[at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The JSON value that begins here.

        Raises:
            ValueError: There is none.
        """
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _NEAR_END
                if cut and self.more():
                    continue
                self.take(error.pos)
                raise ValueError(error.msg) from error
            # A number that ends with the window may go on.
            if end < len(self.text) or not self.more():
                self.take(end)
                return value


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file, unpacked if it is gzipped, with line ends as they are.

    Raises:
        InputError: It cannot be read.
    """
    try:
        packed = head_bytes(path)[:2] == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type, unused-ignore]
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def head_bytes(path: Path) -> bytes:
    """The first four bytes of a file, which tell Parquet and gzip; InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


DECODER = json.JSONDecoder(parse_constant=_refuse)
