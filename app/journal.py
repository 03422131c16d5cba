"""What a batch has answered so far, a line a photo, so that it can go on where it was stopped, however it was stopped.

A line is on the disk before the next is begun. A process that is killed may leave half a line, which is cut off when
the journal is opened again: that photo is answered again, the others are not. The journal holds answers as they were
told, held to their level of disclosure, and belongs to its owner alone. Photos are known by path, size and time of
change: a photo that was changed is answered anew. Answers to other questions or from other models are not mixed in.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from gaea.answer import Answer
from gaea.errors import InputError
from gaea.source import printable

VERSION = 1


class Journal:
    """Answers and refusals by photo; one process at a time.

    Args:
        path: Of the file; made where it is not there.
        asked: What every answer in it depends on: question, model, index, level and the like.

    Raises:
        InputError: It belongs to other questions, another process holds it, or it cannot be written.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._guard = threading.Lock()
        self._lock = FileLock(str(path) + ".lock")
        try:
            path.parent.stat()  # a lock would make the folder
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"{path}: another gaea locate is writing this journal; wait for it") from error
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        except OSError as error:
            self._lock.release()
            raise self._unwritable(error) from error
        try:
            self._read(dict(asked))
        except BaseException:
            self.close()
            raise

    def _read(self, asked: dict[str, Any]) -> None:
        head = {"gaea_locate": VERSION, "asked": asked}
        end = 0
        for number, line in enumerate(self._file):
            if not line.endswith(b"\n"):
                break  # cut off in the middle
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if number == 0:
                self._check_head(said, head)
            elif not isinstance(said, dict) or "photo" not in said:
                raise InputError(f"{self.path}, line {number + 1}: no journal of gaea locate; give another --journal")
            else:
                self._known[said["photo"]] = said
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)
        if end == 0:
            self._write(head)

    def _check_head(self, said: Any, head: dict[str, Any]) -> None:
        if not isinstance(said, dict) or said.get("gaea_locate") != VERSION:
            raise InputError(f"{self.path}: no journal of gaea locate; give another --journal")
        other = said.get("asked") or {}
        differing = [name for name in {**other, **head["asked"]} if other.get(name) != head["asked"].get(name)]
        if differing:
            name = differing[0]
            raise InputError(
                f"{self.path}: was begun with {name} {other.get(name)!r} and not {head['asked'].get(name)!r}; "
                "go on as it was begun, or give another --journal"
            )

    def find(self, photo: Path) -> Answer | str | None:
        """The answer about a photo, or why there is none; None where it was not asked about as it is now."""
        said = self._known.get(str(photo))
        if said is None or said["stamp"] != stamp(photo):
            return None
        return Answer.from_dict(said["answer"]) if "answer" in said else str(said["error"])

    def add(self, photo: Path, told: Answer | str, seen: list[int] | None) -> None:
        """Keep an answer, or why there is none.

        Args:
            photo: Absolute path.
            told: The answer, or the error in one line.
            seen: The photo's :func:`stamp` from before it was read.

        Raises:
            InputError: It cannot be written, such as on a full disk; the journal is as before.
        """
        outcome = {"answer": told.to_dict()} if isinstance(told, Answer) else {"error": told}
        with self._guard:
            line = {"photo": str(photo), "stamp": seen, **outcome}
            self._write(line)
            self._known[str(photo)] = line

    def _write(self, line: dict[str, Any]) -> None:
        begun = self._file.tell()
        try:
            self._file.write(json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut(begun)
            raise self._unwritable(error) from error

    def _cut(self, end: int) -> None:
        """Take back half a line; where even that fails, it is cut off when the journal is opened again."""
        try:
            os.ftruncate(self._file.fileno(), end)
            self._file.seek(end)
        except OSError:
            return

    def _unwritable(self, error: OSError) -> InputError:
        reason = error.strerror or type(error).__name__
        return InputError(
            f"{printable(str(self.path))}: cannot be written ({reason}); make room, or give another place by --journal"
        )

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        try:
            self._file.close()
        except OSError:  # what could not be written was said already
            pass
        finally:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def stamp(photo: Path) -> list[int] | None:
    """Size and time of change of a file, by which it is known to be the same; None where it is not there."""
    try:
        status = photo.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
