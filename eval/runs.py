"""The folder of a run: written so that a kill at any moment loses at most the item in hand, and read back with faults.

A line of ``predictions.jsonl`` is on the disk before the next item is asked. A torn last line, which a kill leaves, is
cut off when the run goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from gaea.errors import InputError
from gaea.eval.records import Item, Prediction, RunHeader, line
from gaea.rag.files import write_atomically

HEADER, ITEMS, PREDICTIONS = "header.json", "items.jsonl", "predictions.jsonl"
MAY_DIFFER = ("started", "git_commit", "contract")
"""Of a header, when a run goes on."""
SHARDED = ("shard",)
SYNC_S = 0.5


@dataclass(frozen=True)
class Run:
    """A run as read back.

    Attributes:
        folder: Where it lies; the first of several shards.
        header: Of the first shard.
        items: What was asked.
        predictions: By item id, of items that have one.
        faults: What was wrong with the files, counted by kind.
    """

    folder: Path
    header: RunHeader
    items: tuple[Item, ...]
    predictions: Mapping[str, Prediction]
    faults: Mapping[str, int] = field(default_factory=dict)

    def pairs(self) -> Iterator[tuple[Item, Prediction]]:
        """Every item with its prediction, in order; one that was never made is ``missing``."""
        for item in self.items:
            yield item, self.predictions.get(item.id) or Prediction(item.id, "missing")


class RunWriter:
    """Appends predictions to the folder of a run, and knows which are there already.

    Raises:
        InputError: The folder holds another run, or cannot be written.
    """

    def __init__(self, folder: Path, header: RunHeader, items: Sequence[Item]) -> None:
        self.folder, self.done = folder, {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / HEADER).exists():
                _check_same(folder, header)
                _cut_torn(folder / PREDICTIONS)
                self.done = _predictions(folder / PREDICTIONS, Counter())
            else:
                _write(folder / ITEMS, "".join(line(item) for item in items))
                (folder / PREDICTIONS).write_bytes(b"")
                _write(folder / HEADER, json.dumps(header.to_dict(), indent=2, ensure_ascii=False) + "\n")
            self._file = (folder / PREDICTIONS).open("a", encoding="utf-8")
            self._synced = float("-inf")
        except OSError as error:
            raise InputError(f"{folder} cannot hold a run: {error}") from error

    def append(self, prediction: Prediction) -> None:
        """Add one line and hand it to the system; it is on the disk at once, of quick systems within half a second."""
        self._file.write(line(prediction))
        self._file.flush()
        self.done[prediction.id] = prediction
        if time.monotonic() - self._synced > SYNC_S:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sync()
        self._file.close()


def read_run(folder: str | Path, *shards: str | Path) -> Run:
    """Read a run, or several shards of one as if they had been one.

    Raises:
        InputError: A folder holds no run, or they are of different runs.
    """
    runs = [_read(Path(each)) for each in (folder, *shards)]
    first = runs[0]
    for other in runs[1:]:
        if different := _differences(first.header, other.header, but=(*MAY_DIFFER, *SHARDED)):
            raise InputError(f"{first.folder} and {other.folder} are of different runs: {different[0]}")
    faults = sum((Counter(run.faults) for run in runs), Counter())
    items = {item.id: item for run in runs for item in run.items}
    faults["items in several shards"] = sum(len(run.items) for run in runs) - len(items)
    predictions = {key: each for run in reversed(runs) for key, each in run.predictions.items()}
    return Run(first.folder, first.header, tuple(items.values()), predictions, {k: n for k, n in faults.items() if n})


def data_sha256(items: Iterable[Item]) -> str:
    """Of all that items say, in order; pictures by their names."""
    told = hashlib.sha256()
    for item in items:
        told.update(line(item).encode())
    return told.hexdigest()


def git_commit(folder: Path | None = None) -> str:
    """Commit of the program, ``+`` behind it where tracked files were changed; '' where there is none."""
    here = folder or Path(__file__).resolve().parent
    told = []
    for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        whole = ["git", "-C", str(here), *command]
        try:
            done = subprocess.run(whole, capture_output=True, text=True, check=True)  # noqa: S603 - nothing from outside
        except (OSError, subprocess.CalledProcessError):
            return ""
        told.append(done.stdout.strip())
    return told[0] + ("+" if told[1] else "")


def _read(folder: Path) -> Run:
    faults: Counter[str] = Counter()
    try:
        header = RunHeader.from_dict(json.loads((folder / HEADER).read_text(encoding="utf-8")))
        lines = (folder / ITEMS).read_text(encoding="utf-8").splitlines()
        items = tuple(Item.from_dict(json.loads(each)) for each in lines)
        predictions = _predictions(folder / PREDICTIONS, faults)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no run: {error}; expected {HEADER}, {ITEMS} and {PREDICTIONS}") from error
    known = {item.id for item in items}
    faults["predictions of no item"] = sum(key not in known for key in predictions)
    return Run(folder, header, items, {k: p for k, p in predictions.items() if k in known}, dict(faults))


def _predictions(path: Path, faults: Counter[str]) -> dict[str, Prediction]:
    """The first of each id that is no error; lines that are none, and ids that come again, are counted."""
    found: dict[str, Prediction] = {}
    for each in path.read_text(encoding="utf-8").splitlines():
        try:
            prediction = Prediction.from_dict(json.loads(each))
        except (ValueError, AttributeError):
            faults["broken lines"] += 1
            continue
        if prediction.id in found and found[prediction.id].status != "error":
            faults["duplicate predictions"] += 1
            continue
        found[prediction.id] = prediction
    return found


def _check_same(folder: Path, header: RunHeader) -> None:
    try:
        held = RunHeader.from_dict(json.loads((folder / HEADER).read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{folder / HEADER} is damaged: {error}; run into another folder") from error
    if different := _differences(held, header, but=MAY_DIFFER):
        raise InputError(
            f"{folder} holds another run ({'; '.join(different[:3])}): go on with that, or run into another"
        )


def _differences(one: RunHeader, other: RunHeader, but: tuple[str, ...]) -> list[str]:
    a, b = (_flat(json.loads(json.dumps(each.to_dict())), but) for each in (one, other))
    return [f"{key} is {a.get(key)!r} and {b.get(key)!r}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _flat(told: Mapping[str, Any], but: tuple[str, ...]) -> dict[str, Any]:
    nested = {f"{k}.{inner}": v for k, each in told.items() if isinstance(each, Mapping) for inner, v in each.items()}
    plain = {key: each for key, each in told.items() if not isinstance(each, Mapping)}
    return {key: each for key, each in (plain | nested).items() if key.split(".")[-1] not in but}


def _cut_torn(path: Path) -> None:
    """Cut off what comes after the last newline."""
    held = path.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    if len(whole) < len(held):
        with path.open("r+b") as file:
            file.truncate(len(whole))


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8") and None)
