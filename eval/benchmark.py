"""A benchmark: items with a version and a hash, the pictures that go with them, and what was wrong with its files.

Benchmarks are read from the layouts in which they were published. Nothing that is wrong in them is dropped in silence:
every fault is counted under its kind, and the first few are named.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaea.errors import InputError
from gaea.eval.records import Item
from gaea.eval.runs import data_sha256
from gaea.eval.strata import with_strata
from gaea.photo import Photo

NAMED = 5
"""Faults of a kind that are named."""


def _none(item: Item) -> Photo:
    raise InputError(f"{item.id} has no picture here")


class Faults:
    """Counts what is wrong, by kind, and keeps the names of the first few."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def note(self, kind: str, name: str) -> None:
        """One more of a kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= NAMED:
            self.names.setdefault(kind, []).append(name)

    def note_all(self, kind: str, count: int, names: Sequence[str]) -> None:
        """Several of a kind at once, of which some are named."""
        if count:
            self.counts[kind] += count
            self.names.setdefault(kind, []).extend(names[:NAMED])

    def told(self) -> dict[str, Any]:
        """By kind: how many, and the first names."""
        return {kind: {"count": count, "first": self.names[kind]} for kind, count in sorted(self.counts.items())}

    def lines(self) -> list[str]:
        """The same, a line a kind."""
        return [
            f"{kind}: {count:,} ({', '.join(self.names[kind])}{', …' if count > NAMED else ''})"
            for kind, count in sorted(self.counts.items())
        ]


@dataclass(frozen=True)
class Benchmark:
    """Everything that is asked.

    Attributes:
        name: What it is called in :mod:`gaea.eval.benchmarks`.
        version: Of its data, as published or as fixed here.
        items: In the published order.
        root: Where it lies; None where it is made here.
        faults: What was wrong with its files.
        picture: Opens an item's picture; a PhotoError or InputError where there is none.
    """

    name: str
    version: str
    items: tuple[Item, ...]
    root: Path | None = None
    faults: Mapping[str, Any] = field(default_factory=dict)
    picture: Callable[[Item], Photo] = field(default=_none, repr=False)

    @cached_property
    def sha256(self) -> str:
        """Of all items, whatever is left out afterwards."""
        return data_sha256(self.items)

    def chosen(self, limit: int | None = None, shard: str = "1/1", seed: int = 0) -> tuple[Item, ...]:
        """Some of the items, in order.

        Args:
            limit: So many, drawn by the seed and spread over splits and types of question; all if None.
            shard: ``i/n``: every n-th item, from the i-th.
            seed: Of the draw.

        Raises:
            InputError: There are no items, or the shard is none.
        """
        if not self.items:
            raise InputError(f"{self.name} has no items: nothing can be asked")
        number, of = _shard(shard)
        kept = range(len(self.items)) if limit is None else sorted(self._drawn(limit, seed))
        return tuple(self.items[index] for index in list(kept)[number - 1 :: of])

    def _drawn(self, limit: int, seed: int) -> Sequence[int]:
        """The first of each group, then the second of each, and so on, until there are enough."""
        if limit < 1:
            raise InputError(f"a limit of {limit} leaves nothing to ask")
        order = np.random.default_rng(seed).permutation(len(self.items)).tolist()
        seen: Counter[tuple[Any, ...]] = Counter()
        turn = {}
        for index in order:
            group = (self.items[index].split, self.items[index].kind, self.items[index].question_type)
            turn[index] = seen[group]
            seen[group] += 1
        return sorted(order, key=turn.__getitem__)[:limit]


def benchmark(
    name: str, version: str, items: Sequence[Item], *, faults: Faults, root: Path | None = None, picture: Any = None
) -> Benchmark:
    """Put a benchmark together: ids made unique, strata added.

    Of items with the same id the first stays; whether the others say the same or another thing is told apart.
    """
    kept: dict[str, Item] = {}
    for item in items:
        if item.id not in kept:
            kept[item.id] = item
        else:
            same = kept[item.id] == item
            faults.note(
                "ids that come again, saying the same" if same else "ids that come again, saying another", item.id
            )
    whole = with_strata([dataclasses.replace(item, benchmark=name) for item in kept.values()])
    return Benchmark(name, version, whole, root, faults.told(), picture or _none)


def picture_in(root: Path) -> Callable[[Item], Photo]:
    """Opens pictures that lie under a folder."""

    def opened(item: Item) -> Photo:
        if item.image is None:
            return _none(item)
        return Photo.open(root / item.image)

    return opened


def rendered(pixels: np.ndarray) -> Photo:
    """A picture that was drawn rather than read."""
    return Photo.open(Image.fromarray(pixels))


def _shard(shard: str) -> tuple[int, int]:
    number, _, of = shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(f"'{shard}' is not a shard: give i/n, such as 1/4")
    return int(number), int(of)
