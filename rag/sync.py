"""A vector store that follows an index: it adds the rows of new shards, removes those of gone ones, or is rebuilt.

Beside the store lies a record of the shards it holds, by hash. A store whose record names the shards of the index,
and which counts as many rows as they have, is opened as it is. Otherwise one process at a time brings it in line. Row
numbers are never reused, so the ids that a store holds tell what is missing and what is too much: a sync that was
killed goes on from there, whatever the last batch left behind. A store that does not fit (another encoder, other
settings, damage) is thrown away; nothing is lost, because the Parquet rows are the source of truth.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gaea.errors import GalleryError
from gaea.rag.backends import Place, Record, place_of
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.files import unwritable
from gaea.rag.gallery import Gallery
from gaea.rag.manifest import Shard
from gaea.rag.store import IntArray, MemoryStore, Progress, Store, StoreLostError, batches

T = TypeVar("T")
_BATCH = 5_000


class ShardedIndex(Protocol):
    """What a store needs of an index; :class:`gaea.rag.index.Index` is one."""

    folder: Path

    @property
    def encoder(self) -> EncoderIdentity:
        """Whose vectors these are."""
        ...

    @property
    def shards(self) -> tuple[Shard, ...]:
        """In ascending order of row numbers."""
        ...

    @property
    def gallery(self) -> Gallery:
        """All rows."""
        ...

    def refresh(self) -> bool:
        """Look for commits of others."""
        ...

    def steady(self, read: Callable[[], T]) -> T:
        """Do something, again from the start where a writer has replaced shards meanwhile."""
        ...

    def read_shard(self, shard: Shard, labels: Sequence[str] = ...) -> Gallery:
        """The rows of one shard."""
        ...

    def table(self, columns: Sequence[str]) -> Any:
        """Some columns of all rows."""
        ...


def open_index_store(
    index: ShardedIndex,
    backend: str,
    *,
    location: str | Path | None = None,
    token: str = "",
    progress: Progress | None = None,
) -> Store:
    """The vector store of an index, first brought in line with its shards if need be.

    The index is refreshed where the store has to change, so that no reader turns a store back; ids are row numbers.
    A second process that wants the same store waits for the first.

    Args:
        index: An open index.
        backend: ``memory`` (exact), ``chroma`` (embedded), ``chroma-server`` or ``milvus``.
        location: A folder for ``chroma`` and for Milvus Lite, by default in the index's own ``stores``; the address of
            a Chroma server or a Milvus cluster, such as ``http://127.0.0.1:8000``.
        token: Of a Milvus cluster; kept nowhere.
        progress: Called with (rows done, rows to add).

    Raises:
        InputError: Another backend, or a server without address.
        GalleryError: The store cannot be written or reached, or the index cannot be read.
        MissingDependencyError: The backend's package is not installed.
    """
    if backend == "memory":
        return MemoryStore.open(index.gallery)
    place = place_of(index.folder, backend, location, token)
    if (store := _as_it_is(place, index)) is not None:
        return store
    from filelock import FileLock

    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(place.folder / "store.lock"):
            index.refresh()
            return index.steady(lambda: _as_it_is(place, index) or _in_line(place, index, progress))
    except OSError as error:
        raise unwritable(place.folder, error) from error


def _as_it_is(place: Place, index: ShardedIndex) -> Store | None:
    """The store, if it holds just what the index does."""
    record = place.read()
    if record is None or not record.whole or not _fits(place, record, index):
        return None
    if set(record.shards) != {shard.sha256 for shard in index.shards}:
        return None
    try:
        store = place.open(record)
    except StoreLostError:
        return None
    if store.count() == record.rows:
        return store
    store.close()
    return None


def _fits(place: Place, record: Record, index: ShardedIndex) -> bool:
    built = (record.fingerprint, record.dim, record.settings)
    return built == (index.encoder.fingerprint, index.encoder.dim, place.settings)


def _in_line(place: Place, index: ShardedIndex, progress: Progress | None) -> Store:
    """The store, brought in line; the caller holds the lock."""
    store, record, held = _opened(place, index)
    try:
        place.write(record := replace(record, whole=False))
        if held is not None:
            held, record = _tidied(index, store, held, record)
        record = _filled(place, index, store, record, held=held, progress=progress)
        if store.count() == record.rows:
            place.write(replace(record, whole=True))
            return store
    except BaseException:
        store.close()
        raise
    counted = store.count()
    store.close()
    place.discard(record)
    raise GalleryError(
        f"vector store {place.address or place.folder} counts {counted} rows after adding all {record.rows} of the "
        "index: it was thrown away; open it again to rebuild it"
    )


def _opened(place: Place, index: ShardedIndex) -> tuple[Store, Record, IntArray | None]:
    """The store as it was left, or an empty one; its record, and the ids in it where they have to be known."""
    record = place.read()
    if record is not None and _fits(place, record, index):
        with contextlib.suppress(StoreLostError), contextlib.ExitStack() as stack:
            store = stack.enter_context(contextlib.closing(place.open(record)))
            held = _known_ids(index, store, record)
            stack.pop_all()
            return store, record, held
    place.discard(record)
    encoder, name = index.encoder, f"rows-{secrets.token_hex(8)}"
    record = Record(name, encoder.fingerprint, encoder.dim, place.settings, whole=True, shards={})
    place.write(record)
    return place.open(record), record, None


def _known_ids(index: ShardedIndex, store: Store, record: Record) -> IntArray | None:
    """The ids in the store; None where they need not be listed, because new shards only follow old ones."""
    new = [shard for shard in index.shards if shard.sha256 not in record.shards]
    kept = len(index.shards) - len(new) == len(record.shards)
    appended = kept and all(shard.first > record.last for shard in new)
    return None if record.whole and appended and store.count() == record.rows else store.ids()


def _tidied(index: ShardedIndex, store: Store, held: IntArray, record: Record) -> tuple[IntArray, Record]:
    """Remove rows that the index no longer has, and forget its gone shards."""
    numbers = index.table(["row"])["row"].to_numpy()
    if len(gone := np.setdiff1d(held, numbers)):
        store.remove(gone)
    present = {shard.sha256 for shard in index.shards}
    kept = {sha256: span for sha256, span in record.shards.items() if sha256 in present}
    return np.intersect1d(held, numbers), replace(record, shards=kept)


def _filled(
    place: Place, index: ShardedIndex, store: Store, record: Record, *, held: IntArray | None, progress: Progress | None
) -> Record:
    """Add what the store has not yet, and record each shard that is done."""
    done, total = 0, sum(shard.rows for shard in index.shards) - store.count()
    for shard in index.shards:
        if held is None and shard.sha256 in record.shards:
            continue
        inside = 0 if held is None else int(np.diff(np.searchsorted(held, [shard.first, shard.last + 1]))[0])
        if inside < shard.rows:
            rows = index.read_shard(shard, ())
            missing = np.arange(len(rows)) if held is None else np.flatnonzero(~np.isin(rows.row_numbers, held))
            for ids, vectors in batches(rows, _BATCH, missing):
                store.add(ids, vectors)
                done += len(ids)
                if progress is not None:
                    progress(done, total)
        record = replace(record, shards={**record.shards, shard.sha256: (shard.first, shard.last, shard.rows)})
        place.write(record)
    return record
