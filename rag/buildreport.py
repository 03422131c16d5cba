"""What a build is asked for, and what it tells when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gaea.errors import InputError
from gaea.rag.duplicates import Duplicate, DuplicateConfig
from gaea.rag.records import Embedded, Item, Source

Embed: TypeAlias = Callable[[Source, Iterable[Item]], Iterator[Embedded]]
"""Embeds items in their order: :func:`gaea.rag.embed.embed_local` or ``embed_ray`` with its other arguments bound."""

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with how many items are dealt with, and how many there are if the source knows."""

# Reasons to refuse an item, beside those of gaea.rag.coordinates.REASONS.
UNREADABLE, SAME_FILE, SAME_PICTURE, LISTED_TWICE = "unreadable", "same file", "same picture", "listed twice"


@dataclass(frozen=True)
class BuildConfig:
    """How an index is built.

    Attributes:
        shard_rows: Rows per commit and shard.
        commit_seconds: A commit at the latest after so long, so that a stop loses no more.
        duplicates: What becomes of pictures that come twice.

    Raises:
        InputError: A number out of range.
    """

    shard_rows: int = 8192
    commit_seconds: float = 60.0
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)

    def __post_init__(self) -> None:
        """Check every field."""
        if self.shard_rows < 1 or not self.commit_seconds > 0:
            raise InputError(f"{self.shard_rows} rows or {self.commit_seconds} s per commit: expected more than 0")


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        source: Its name.
        listed: Items that the source offered.
        added: Rows that are new.
        present: Items that were rows already.
        rejected: Items that were refused, by reason.
        near_count: New rows that show what an earlier row shows.
        near: The first thousand of them: key, and what it repeats.
        commits: How many.
        suspicions: What looks wrong with the coordinates as a whole, such as latitude and longitude exchanged.
        seconds: How long it took.
        rows: In the index now.
    """

    source: str
    listed: int
    added: int
    present: int
    rejected: Mapping[str, int]
    near_count: int
    near: tuple[tuple[str, Duplicate], ...]
    commits: int
    suspicions: tuple[str, ...]
    seconds: float
    rows: int

    @property
    def rows_per_s(self) -> float:
        """New rows per second."""
        return self.added / self.seconds if self.seconds > 0 else 0.0
