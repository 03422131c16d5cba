"""Is an index what its manifest says? Everything wrong is listed; damage is what this looks for, so nothing raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaea import cells
from gaea.errors import GalleryError
from gaea.rag.files import file_sha256
from gaea.rag.index import Index
from gaea.rag.manifest import SHARDS_FOLDER, Shard

_MOST = 5  # rows named per fault


def verify(folder: str | Path, *, deep: bool = True) -> tuple[str, ...]:
    """Check an index.

    Args:
        folder: Of the index.
        deep: Read every shard: its hash, rows, numbers, coordinates, cells and vectors, and keys given twice.
            Otherwise only that files are there at their size, and that row numbers ascend.

    Returns:
        What is wrong, one line each naming the file; empty where all is well.
    """
    try:
        index = Index.open(folder)
    except GalleryError as error:
        return (str(error),)
    problems = _manifest_problems(index)
    seen: dict[tuple[Any, Any], int] = {}
    for shard in index.shards:
        found = _file_problems(index, shard, deep)
        if deep and not any("gone" in line or "readable" in line for line in found):
            found += _row_problems(index, shard, seen)
        problems += [f"{shard.file}: {line}" for line in found]
    return tuple(problems)


def _manifest_problems(index: Index) -> list[str]:
    problems, last = [], -1
    for shard in index.shards:
        if not last < shard.first <= shard.last:
            problems.append(f"{shard.file}: rows {shard.first} to {shard.last} come after row {last}: out of order")
        last = max(last, shard.last)
    if last >= index.manifest.next_row:
        problems.append(f"index.json: the next row is {index.manifest.next_row}, but row {last} is taken")
    named = {shard.file for shard in index.shards}
    stray = sorted(file.name for file in (index.folder / SHARDS_FOLDER).glob("*") if file.name not in named)
    if stray:
        problems.append(f"{stray[0]} and {len(stray) - 1} more belong to no commit: the next writer removes them")
    return problems


def _file_problems(index: Index, shard: Shard, deep: bool) -> list[str]:
    path = index.path(shard)
    try:
        size_bytes = path.stat().st_size
        if size_bytes != shard.size_bytes:
            return [f"{size_bytes} bytes, expected {shard.size_bytes}: repair the index, and build again"]
        if deep and file_sha256(path) != shard.sha256:
            return ["its content has changed since it was written: repair the index, and build again"]
    except OSError as error:
        return [f"gone or not readable ({error.strerror or error}): repair the index, and build again"]
    return []


def _row_problems(index: Index, shard: Shard, seen: dict[tuple[Any, Any], int]) -> list[str]:
    from gaea.rag.parquet import read_columns

    try:
        table = read_columns(index.path(shard), ("row", "source", "key", "lat", "lon", "s2"))
        numbers, lat, lon = (table[name].to_numpy() for name in ("row", "lat", "lon"))
    except GalleryError as error:
        return [str(error)]
    problems = []
    if len(table) != shard.rows:
        problems.append(f"holds {len(table)} rows, expected {shard.rows}")
    if len(numbers) and not ((np.diff(numbers) > 0).all() and (numbers[0], numbers[-1]) == (shard.first, shard.last)):
        problems.append("its row numbers do not ascend as the manifest says")
    # NaN compares false, and is caught here too.
    on_earth = (np.abs(lat) <= 90) & (np.abs(lon) <= 180)
    problems += _told(numbers[~on_earth], "coordinates that are none")
    stored = table["s2"].to_numpy()[on_earth]
    unfit = cells.from_latlon(lat[on_earth], lon[on_earth]) != stored
    problems += _told(numbers[on_earth][unfit], "S2 cells that do not hold their coordinates")
    pairs = zip(table["source"].to_pylist(), table["key"].to_pylist(), numbers.tolist(), strict=True)
    doubled = [row for source, key, row in pairs if key and seen.setdefault((source, key), row) != row]
    problems += _told(np.array(doubled, np.int64), "keys that an earlier row has already")
    return problems + _vector_problems(index, shard)


def _vector_problems(index: Index, shard: Shard) -> list[str]:
    try:
        index.read_shard(shard, ())
    except GalleryError as error:
        return [str(error)]
    return []


def _told(numbers: np.ndarray, fault: str) -> list[str]:
    if not len(numbers):
        return []
    shown = ", ".join(map(str, numbers[:_MOST].tolist()))
    return [f"{len(numbers)} rows with {fault}: row {shown}{' …' if len(numbers) > _MOST else ''}"]
