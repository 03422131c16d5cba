"""From a source to rows of an index: check, embed, find duplicates, look up places, commit; again, and it goes on.

An item is known by its source's name and its key. One that the index holds is skipped, so building again after a stop
of any kind continues, and a source that has grown adds what is new. One that is refused is listed with the reason in
``rejected.jsonl`` and looked at again by the next build.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from gaea.errors import GalleryError, InputError, ModelError
from gaea.rag.buildreport import (
    LISTED_TWICE,
    SAME_FILE,
    SAME_PICTURE,
    UNREADABLE,
    BuildConfig,
    BuildReport,
    Embed,
    Progress,
)
from gaea.rag.coordinates import check, survey
from gaea.rag.duplicates import Duplicate, DuplicateFinder
from gaea.rag.encoder import Encoder
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.index import REJECTED_FILE, Index
from gaea.rag.manifest import SourceInfo
from gaea.rag.placing import records_of, storable
from gaea.rag.records import Embedded, Item, Source
from gaea.rag.rejected import Rejected
from gaea.rag.rows import gallery_of
from gaea.rag.writer import Writer

__all__ = ["BuildConfig", "BuildReport", "Embed", "Progress", "build"]

_REPORTED = 1000  # near-duplicates that a report names


def build(
    index: Index,
    source: Source,
    embed: Embed,
    config: BuildConfig | None = None,
    *,
    encoder: Encoder | EncoderIdentity,
    progress: Progress | None = None,
) -> BuildReport:
    """Add what a source offers and the index does not hold yet.

    Args:
        index: Where to; it follows what is committed.
        source: What to add.
        embed: Reads and encodes the items.
        config: Commits and duplicates.
        encoder: The encoder behind ``embed``, held against the index.
        progress: Told after every item.

    Raises:
        GalleryError: Another encoder, another writer, or a disk that is full or cannot be written; what was committed
            before stays.
        InputError: The source is not what its kind expects. What was embedded until then is committed.
        ModelError: The encoder fails. Likewise.
    """
    index.check_encoder(encoder)
    with index.writer() as writer:
        writer.add_source(_info(source))
        run = _Run(writer, source, config or BuildConfig(), progress)
        stream = embed(source, run.wanted())
        try:
            for embedded in stream:
                run.take(embedded)
        except (InputError, ModelError, KeyboardInterrupt):
            run.commit()
            raise
        finally:
            if hasattr(stream, "close"):
                stream.close()
        run.commit()
        return run.report()


class _Run:
    """One build under way: what is pending between two commits, and the counts."""

    def __init__(self, writer: Writer, source: Source, config: BuildConfig, progress: Progress | None) -> None:
        self._writer, self._source, self._config, self._progress = writer, source, config, progress
        self._index = writer.index
        self._begun = self._committed = time.monotonic()
        self._total, self._done = source.count(), 0
        self._known = _keys(self._index, source.name)
        self._listed: set[str] = set()
        self._places: list[tuple[float | None, float | None]] = []
        self._finder = DuplicateFinder(self._index, config.duplicates)
        self._rejected = Rejected(self._index.folder / REJECTED_FILE)
        self._pending: list[Embedded] = []
        self._added = self._present = self._commits = self._near_count = 0
        self._near: list[tuple[str, Duplicate]] = []
        self._reasons: Counter[str] = Counter()

    def wanted(self) -> Iterator[Item]:
        """The source's items that are not there yet and lie somewhere; the embedder reads ahead of :meth:`take`."""
        for item in self._source.items():
            self._places.append((item.lat, item.lon))
            if item.key in self._listed:
                # The row or line of its first mention stands.
                self._reasons[LISTED_TWICE] += 1
                self._tick()
            elif item.key in self._known:
                self._present += 1
                self._rejected.forget(self._source.name, item.key)
                self._tick()
            elif reason := check(item.lat, item.lon) or ("" if storable(item.key) else "name is not UTF-8"):
                self._refuse(item, reason, "; ".join([reason, *map(str, item.extra.get("problems", ()))]))
                self._tick()
            else:
                self._listed.add(item.key)
                yield item
                continue
            self._listed.add(item.key)

    def take(self, embedded: Embedded) -> None:
        """Deal with one item that was embedded."""
        if embedded.embedding is None:
            self._refuse(embedded.item, UNREADABLE, embedded.problem or "no embedding")
        else:
            self._pending.append(embedded)
        self._tick()
        late = time.monotonic() - self._committed >= self._config.commit_seconds
        if len(self._pending) >= self._config.shard_rows or late:
            self.commit()

    def commit(self) -> None:
        """Bring to the disk what is pending."""
        if self._pending:
            self._add(self._pending)
            self._pending = []
            self._commits += 1
        self._rejected.write()
        self._committed = time.monotonic()

    def report(self) -> BuildReport:
        """What was done so far."""
        return BuildReport(
            source=self._source.name,
            listed=self._done,
            added=self._added,
            present=self._present,
            rejected=dict(self._reasons.most_common()),
            near_count=self._near_count,
            near=tuple(self._near),
            commits=self._commits,
            suspicions=survey(*zip(*self._places, strict=True)).suspicions if self._places else (),
            seconds=time.monotonic() - self._begun,
            rows=len(self._index),
        )

    def _add(self, pending: Sequence[Embedded]) -> None:
        rows = gallery_of(self._index, records_of(self._source, pending), np.stack([_vector(one) for one in pending]))
        # As stored and not as computed, so that the same pairs are near whether or not a stop came between them.
        added, duplicates = self._finder.examine(
            [one.sha256 for one in pending], cast("np.ndarray", rows.phash), rows.embeddings
        )
        kept = rows.take(np.flatnonzero(added))
        numbers = self._writer.append_gallery(kept)
        self._finder.add(numbers, kept.labels["sha256"].tolist(), cast("np.ndarray", kept.phash))
        self._added += len(kept)
        for one, is_added, duplicate in zip(pending, added.tolist(), duplicates, strict=True):
            if not is_added and duplicate is not None:
                self._refuse(one.item, SAME_FILE if duplicate.exact else SAME_PICTURE, str(duplicate))
                continue
            self._rejected.forget(self._source.name, one.item.key)
            if duplicate is not None and not duplicate.exact:
                self._near_count += 1
                self._near += [(one.item.key, duplicate)] if len(self._near) < _REPORTED else []

    def _refuse(self, item: Item, kind: str, reason: str) -> None:
        self._reasons[kind] += 1
        self._rejected.add(self._source.name, item, reason)

    def _tick(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _vector(embedded: Embedded) -> np.ndarray:
    if embedded.embedding is None:
        raise GalleryError(f"{embedded.item.key} has no embedding: {embedded.problem}")
    return embedded.embedding


def _keys(index: Index, source: str) -> set[str]:
    import pyarrow.compute as pc

    table = index.table(["source", "key"])
    return set(table.filter(pc.field("source") == source)["key"].to_pylist())


def _info(source: Source) -> SourceInfo:
    kind, location = getattr(source, "kind", type(source).__name__), getattr(source, "location", "")
    return SourceInfo(source.name, source.licence, source.credit, str(kind), str(location))
