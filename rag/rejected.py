"""The list of what a build refused and why: one JSON object a line, one line an item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gaea.errors import GalleryError
from gaea.rag.files import write_atomically
from gaea.rag.records import Item


class Rejected:
    """Refused items of an index, by source and key; an item refused again replaces its line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False
        self._lines: dict[tuple[str, str], dict[str, Any]] = {}
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except OSError as error:
            raise GalleryError(f"{file} cannot be read: {error.strerror or error}") from error
        for line in text.splitlines():
            try:
                found = json.loads(line)
                self._lines[found["source"], found["key"]] = found
            except (ValueError, KeyError, TypeError) as error:
                raise GalleryError(
                    f"{file} is damaged: delete it, and it is written again by the next build"
                ) from error

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, source: str, item: Item, reason: str) -> None:
        """Note that an item was refused; ``reason`` is one line."""
        line = {"source": source, "key": item.key, "reason": reason, "lat": _number(item.lat), "lon": _number(item.lon)}
        self._changed |= self._lines.get((source, item.key)) != line
        self._lines[source, item.key] = line

    def forget(self, source: str, key: str) -> None:
        """Note that an item that was refused once is a row now."""
        self._changed |= self._lines.pop((source, key), None) is not None

    def write(self) -> None:
        """Bring the list to the disk, whole or not at all, if it has changed."""
        if not self._changed:
            return
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines.values())
        write_atomically(self._file, lambda part: _write_text(part, text))
        self._changed = False


def _number(value: float | None) -> float | str | None:
    """As found; JSON has no NaN."""
    return value if value is None or value - value == 0 else str(value)


def _write_text(path: Path, text: str) -> None:
    # A name that is not UTF-8 is the reason of some lines; so written, its bytes are valid JSON escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
