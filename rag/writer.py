"""The one who changes an index: every change is one commit, and a process killed between two leaves the first.

A commit writes new shards under names that were never used, then replaces the manifest, and only then removes shards
that it no longer names. Whatever a killed writer left unnamed is removed by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import GalleryError, InputError
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.files import discard, file_sha256, remove_parts, unwritable, write_atomically
from gaea.rag.gallery import Gallery
from gaea.rag.index import Index, timestamp
from gaea.rag.manifest import SHARDS_FOLDER, Manifest, Shard, SourceInfo
from gaea.rag.records import Record
from gaea.rag.rowfilter import RowFilter
from gaea.rag.rows import completed, gallery_of

IntArray: TypeAlias = NDArray[np.int64]
LOCK_FILE = "index.lock"
HOLDER_FILE = "index.lock.json"


class Writer:
    """Holds an index's lock from ``with`` to its end; the index object follows what is committed.

    Raises:
        GalleryError: On entering: another process (named by number and machine) writes, or the folder is not writable.
    """

    def __init__(self, index: Index) -> None:
        from filelock import FileLock

        self.index = index
        self._lock = FileLock(index.folder / LOCK_FILE, timeout=0)

    def __enter__(self) -> Self:
        from filelock import Timeout

        folder = self.index.folder
        try:
            self._lock.acquire()
        except Timeout:
            raise GalleryError(
                f"{folder} is being written by {_holder(folder)}: wait until it is done, or stop it"
            ) from None
        except OSError as error:
            raise unwritable(folder / LOCK_FILE, error) from error
        try:
            self.index.refresh()
            self._clean()
            me = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": timestamp()})
            # On a full disk rows can still be removed, by a writer whom others do not know by name.
            with contextlib.suppress(GalleryError):
                write_atomically(folder / HOLDER_FILE, lambda part: _write_text(part, me))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        discard(self.index.folder / HOLDER_FILE)
        self._lock.release()

    def append(self, records: Sequence[Record], embeddings: ArrayLike) -> IntArray:
        """Add rows in one commit.

        Args:
            records: What is known of each; their ``row`` is not read, the index gives numbers of its own.
            embeddings: float, shape (n, dim), any length but zero.

        Returns:
            The new row numbers, shape (n,).

        Raises:
            GalleryError: Nothing was added: embeddings of another shape, coordinates that are none, a full disk.
        """
        return self.append_gallery(gallery_of(self.index, records, embeddings))

    def append_gallery(self, rows: Gallery) -> IntArray:
        """Add the rows of a gallery in one commit and one shard; missing S2 cells are computed."""
        meta = rows.meta
        self.index.check_encoder(EncoderIdentity(meta.encoder, "", meta.fingerprint, "", "", meta.dim))
        if str(rows.codes.dtype) != self.index.manifest.dtype:
            raise GalleryError(
                f"rows are {rows.codes.dtype}, the index holds {self.index.manifest.dtype}: convert them"
            )
        first = self.index.manifest.next_row
        numbers = np.arange(first, first + len(rows), dtype=np.int64)
        if len(rows):
            manifest = self.index.manifest
            shard = self._write_shard(completed(rows, numbers, self.index), manifest.next_shard)
            self._commit(
                replace(
                    manifest,
                    shards=(*manifest.shards, shard),
                    next_row=first + len(rows),
                    next_shard=manifest.next_shard + 1,
                )
            )
        return numbers

    def add_source(self, source: SourceInfo) -> None:
        """Record where rows come from."""
        manifest = self.index.manifest.with_source(source)
        if set(manifest.sources) != set(self.index.manifest.sources):
            self._commit(manifest)

    def remove(self, which: RowFilter | Iterable[int]) -> int:
        """Remove rows, by number or by what they are, in one commit.

        A source that still has them gives them again, under new numbers, when it is built again.

        Returns:
            How many there were.

        Raises:
            GalleryError: A shard cannot be read, or the new ones not written; nothing was removed.
        """
        meant = which if isinstance(which, RowFilter) else RowFilter(numbers=tuple(int(row) for row in which))
        kept: list[Shard] = []
        removed, name = 0, self.index.manifest.next_shard
        for shard in self.index.shards:
            rows = self.index.read_shard(shard)
            gone = meant.mask(rows)
            removed += int(gone.sum())
            if not gone.any():
                kept.append(shard)
            elif not gone.all():
                kept.append(self._write_shard(rows.take(np.flatnonzero(~gone)), name))
                name += 1
        if removed:
            self._commit(replace(self.index.manifest, shards=tuple(kept), next_shard=name))
        return removed

    def compact(self, *, shard_rows: int = 65_536) -> int:
        """Merge neighbouring shards while they stay within ``shard_rows``, in one commit.

        Returns:
            How many shards there are fewer.
        """
        if shard_rows < 1:
            raise InputError(f"shard_rows is {shard_rows}: expected at least 1")
        groups: list[list[Shard]] = []
        for shard in self.index.shards:
            if groups and sum(one.rows for one in groups[-1]) + shard.rows <= shard_rows:
                groups[-1].append(shard)
            else:
                groups.append([shard])
        shards, name = [], self.index.manifest.next_shard
        for group in groups:
            if len(group) == 1:
                shards += group
                continue
            shards.append(self._write_shard(Gallery.join([self.index.read_shard(one) for one in group]), name))
            name += 1
        fewer = len(self.index.shards) - len(shards)
        if fewer:
            self._commit(replace(self.index.manifest, shards=tuple(shards), next_shard=name))
        return fewer

    def repair(self) -> tuple[Shard, ...]:
        """Drop shards that are gone or damaged, in one commit; building again adds their rows anew.

        Returns:
            The shards that were dropped.
        """
        lost = tuple(shard for shard in self.index.shards if not self._whole(shard))
        if lost:
            kept = tuple(shard for shard in self.index.shards if shard not in lost)
            self._commit(replace(self.index.manifest, shards=kept))
        return lost

    def _whole(self, shard: Shard) -> bool:
        try:
            return file_sha256(self.index.path(shard)) == shard.sha256 and len(self.index.read_shard(shard)) > 0
        except (OSError, GalleryError):
            return False

    def _write_shard(self, rows: Gallery, name: int) -> Shard:
        from gaea.rag.parquet import write_file

        file = f"{name:08d}.parquet"
        path = self.index.folder / SHARDS_FOLDER / file
        write_atomically(path, lambda part: write_file(rows, part))
        numbers = rows.row_numbers
        return Shard(file, len(rows), int(numbers[0]), int(numbers[-1]), file_sha256(path), path.stat().st_size)

    def _commit(self, manifest: Manifest) -> None:
        if not self._lock.is_locked:
            raise GalleryError(f"{self.index.folder} is not open for writing: use the writer inside its with block")
        manifest = replace(manifest, updated=timestamp())
        manifest.write(self.index.folder)
        self.index.adopt(manifest)
        self._clean()

    def _clean(self) -> None:
        """Remove what no manifest names: replaced shards, and what a killed writer left."""
        folder = self.index.folder / SHARDS_FOLDER
        named = {shard.file for shard in self.index.shards}
        for file in folder.glob("*.parquet"):
            if file.name not in named:
                discard(file)
        remove_parts(folder)
        remove_parts(self.index.folder)


def _holder(folder: Path) -> str:
    try:
        told = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    # The lock is held, but its holder has not said who it is yet, or not in words that this version knows.
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
