"""Briefings to learn from: real places, invented doubt, and facts that are sometimes swapped.

What a briefing says of a place is true for many conversations. In a share of them facts are exchanged between places,
left out, or given names that do not exist, so that the only way to answer well is to read the briefing rather than to
remember the world.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from gaea import places
from gaea.briefing import CANNOT_TELL, Briefing, how_sure, place_facts

_NAMED = frozenset({"near", "region", "country", "sea", "capital", "neighbours", "languages", "currency"})
_NAME = re.compile(r"[^\W\d_]{4,}")  # so that km, of and the stay


@dataclasses.dataclass(frozen=True)
class DoubtConfig:
    """Shares of the conversations in which something is missing or exchanged.

    Attributes:
        unknown_share: Nothing is known, since the belief is too wide.
        swapped_share: Facts are exchanged between places.
        invented_share: Names are no real ones.
        held_share: Disclosure is limited: half of these are told nothing, the others no more than the country.
        dropped: Share of the facts that are left out.
        abstain_radius_km: Widest half of a belief that is told.
    """

    unknown_share: float = 0.1
    swapped_share: float = 0.35
    invented_share: float = 0.0
    held_share: float = 0.0
    dropped: float = 0.08
    abstain_radius_km: float = 1500.0


@dataclasses.dataclass(frozen=True)
class KnownPlace:
    """A place and what is known of it."""

    facts: tuple[tuple[str, str], ...]
    label: str
    country: str
    neighbours: tuple[str, ...]

    @classmethod
    def read(cls, told: dict[str, Any]) -> KnownPlace:
        """From the JSON form of :func:`dataclasses.asdict`."""
        facts = tuple((str(name), str(value)) for name, value in told["facts"])
        return cls(facts, told["label"], told["country"], tuple(told["neighbours"]))


def know(lat: np.ndarray, lon: np.ndarray) -> list[KnownPlace]:
    """Look up every place once."""
    known = []
    for a, b in zip(lat.tolist(), lon.tolist(), strict=True):
        place = places.describe(a, b)
        known.append(KnownPlace(place_facts(place), short_label(place), place.country or "", place.neighbours))
    return known


def short_label(place: places.PlaceFacts) -> str:
    """Region and country, or the sea: how a gallery names its rows."""
    return ", ".join(v for v in (place.region, place.country) if v) or place.sea or "open sea"


def doubt(place: KnownPlace, world: list[KnownPlace], rng: np.random.Generator, config: DoubtConfig) -> Briefing:
    """One briefing about ``place``, as sure or unsure as chance has it.

    Args:
        place: The place.
        world: Others, from which names are taken.
        rng: Source of randomness.
        config: How often what is missing.
    """
    similar = [place.label] + [_any(world, rng).label for _ in range(2)]
    similar = list(dict.fromkeys(np.array(similar)[rng.permutation(3)][: int(rng.integers(0, 4))].tolist()))
    if rng.random() < config.unknown_share:
        return Briefing(sure=CANNOT_TELL)
    half = float(np.exp(rng.uniform(np.log(4), np.log(config.abstain_radius_km))))
    most = half * float(np.exp(rng.uniform(np.log(1.3), np.log(9))))
    facts = list(place.facts)
    if rng.random() < config.swapped_share:
        facts = [(name, dict(_any(world, rng).facts).get(name, value)) for name, value in facts]
    if config.invented_share and rng.random() < config.invented_share:
        facts = [(name, _invented(value, world, rng) if name in _NAMED else value) for name, value in facts]
    facts = [fact for fact in facts if rng.random() >= config.dropped]
    near = [n for n in place.neighbours if n] + [_any(world, rng).country for _ in range(2)]
    country = dict(facts).get("country", "")
    names = [n for n in dict.fromkeys(np.array(near)[rng.permutation(len(near))].tolist()) if n and n != country]
    shares = np.sort(rng.uniform(0.02, 0.3, int(rng.integers(0, 4))))[::-1]
    told = Briefing(
        facts=tuple(facts),
        sure=how_sure(half, most, 20.0, config.abstain_radius_km),
        radius_km=(half, min(most, 19000.0)),
        alternatives=tuple(zip(names, shares.tolist(), strict=False)),
        similar=tuple(similar),
    )
    return _held(told, rng) if config.held_share and rng.random() < config.held_share else told


def _held(told: Briefing, rng: np.random.Generator) -> Briefing:
    """The briefing as a limit of disclosure leaves it."""
    if rng.random() < 0.5:
        return Briefing(sure=told.sure)
    facts = tuple((name, value) for name, value in told.facts if name not in ("near", "region"))
    return dataclasses.replace(told, facts=facts, similar=())


def _invented(value: str, world: list[KnownPlace], rng: np.random.Generator) -> str:
    """The same number of names, none of them real: halves of words of other places, glued together."""
    return _NAME.sub(lambda _: _half(world, rng, first=True) + _half(world, rng, first=False), value)


def _half(world: list[KnownPlace], rng: np.random.Generator, *, first: bool) -> str:
    facts = [value for name, value in _any(world, rng).facts if name in _NAMED]
    words = _NAME.findall(" ".join(facts)) or ["Nowhere"]
    word = words[int(rng.integers(len(words)))]
    middle = (len(word) + 1) // 2
    return word[:middle] if first else word[middle:].lower()


def _any(world: list[KnownPlace], rng: np.random.Generator) -> KnownPlace:
    return world[int(rng.integers(len(world)))]
