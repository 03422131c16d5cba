"""What an index holds, counted for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gaea.rag.encoders import EncoderIdentity

if TYPE_CHECKING:
    from gaea.rag.index import Index

REJECTED_FILE = "rejected.jsonl"


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds, for people.

    Attributes:
        folder: Where it lies.
        encoder: Whose vectors these are.
        dtype: ``int8`` or ``float16``.
        created: UTC.
        updated: Time of the last commit, UTC.
        rows: How many.
        shards: In how many files.
        size_bytes: Of the shards.
        sources: Rows per source, most first.
        countries: Rows per ISO code, most first; '' for the sea.
        licences: Rows per licence, most first.
        rejected: How many items were refused.
    """

    folder: Path
    encoder: EncoderIdentity
    dtype: str
    created: str
    updated: str
    rows: int
    shards: int
    size_bytes: int
    sources: dict[str, int]
    countries: dict[str, int]
    licences: dict[str, int]
    rejected: int


def count_rows(index: Index) -> IndexInfo:
    """Count what an index holds; GalleryError where a shard is gone or damaged."""
    counted = index.table(["source", "country", "licence"])
    sources, countries, licences = (
        dict(Counter(counted[name].to_pylist()).most_common()) for name in ("source", "country", "licence")
    )
    rejected = index.folder / REJECTED_FILE
    return IndexInfo(
        folder=index.folder,
        encoder=index.encoder,
        dtype=index.manifest.dtype,
        created=index.manifest.created,
        updated=index.manifest.updated,
        rows=len(index),
        shards=len(index.shards),
        size_bytes=sum(shard.size_bytes for shard in index.shards),
        sources=sources,
        countries=countries,
        licences=licences,
        rejected=len(rejected.read_bytes().splitlines()) if rejected.exists() else 0,
    )
