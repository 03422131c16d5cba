"""How precisely a place may be told: the levels, and who decides.

Precise for public places; a city, region or country, or nothing, where the picture shows somebody's home or is about
a person. The configuration sets a limit, what the picture shows may lower it, and whoever asks may lower it further;
nobody who asks can raise it. :mod:`gaea.limiting` holds an answer to a level, :mod:`gaea.discretion` its words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from gaea.errors import InputError

if TYPE_CHECKING:  # the command line lists the levels, and loads nothing heavy for it
    from PIL import Image

SCENES = ("private interior", "home", "minors", "person")
"""What a picture may show for which less is told."""


class Level(StrEnum):
    """How finely a place is told; in this order, from finest to none."""

    PRECISE = "precise"
    CITY = "city"
    REGION = "region"
    COUNTRY = "country"
    WITHHELD = "withheld"

    @property
    def rank(self) -> int:
        """0 for the finest."""
        return list(Level).index(self)

    @classmethod
    def of(cls, name: Level | str) -> Level:
        """The level of a name.

        Raises:
            InputError: There is no such level.
        """
        try:
            return cls(name)
        except ValueError as error:
            raise InputError(f"disclosure {name!r} is not known: expected {', '.join(cls)}") from error


def coarsest(*levels: Level) -> Level:
    """The one of several levels that tells least."""
    return max(levels, key=lambda level: level.rank)


class SceneJudge(Protocol):
    """Whoever can tell what kind of scene a picture shows."""

    def scenes(self, image: Image.Image) -> frozenset[str] | None:
        """Which of :data:`SCENES` a picture shows, or None where that cannot be judged."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """A level, and why it is that one, in one line."""

    level: Level
    reason: str


@dataclasses.dataclass(frozen=True)
class Policy:
    """What may be told of which picture.

    Attributes:
        limit: The finest level for any picture.
        scenes: The finest level for pictures of a kind; kinds that are not named have the limit.
        unjudged: The finest level for pictures of which nobody can tell what they show; None for the limit.

    Raises:
        InputError: A kind or level is not known.
    """

    limit: Level = Level.PRECISE
    scenes: Mapping[str, Level] = dataclasses.field(
        default_factory=lambda: MappingProxyType(dict.fromkeys(SCENES, Level.CITY))
    )
    unjudged: Level | None = None

    def __post_init__(self) -> None:
        for kind in self.scenes:
            if kind not in SCENES:
                raise InputError(f"scene {kind!r} is not known: expected {', '.join(SCENES)}")
        object.__setattr__(self, "limit", Level.of(self.limit))
        scenes = {kind: Level.of(level) for kind, level in self.scenes.items()}
        object.__setattr__(self, "scenes", MappingProxyType(scenes))
        object.__setattr__(self, "unjudged", None if self.unjudged is None else Level.of(self.unjudged))

    @classmethod
    def of(cls, said: Policy | Level | str | None) -> Policy:
        """A policy from itself, from a level that is its limit, or the one that holds where nothing is said."""
        if isinstance(said, Policy):
            return said
        return cls() if said is None else cls(limit=Level.of(said))

    @property
    def judges(self) -> bool:
        """Whether it matters what a picture shows."""
        return any(level.rank > self.limit.rank for level in self.scenes.values())

    def decide(self, scenes: frozenset[str] | None, asked: Level | None = None) -> Decision:
        """The level for one picture.

        Args:
            scenes: What it shows, or None where nobody could judge.
            asked: The level that somebody asked for; it counts only where it tells less.
        """
        found = Decision(self.limit, "configured")
        if scenes is None:
            if self.unjudged is not None and self.unjudged.rank > found.level.rank:
                found = Decision(self.unjudged, "configured for pictures that cannot be judged")
        else:
            for kind in sorted(scenes):
                level = self.scenes.get(kind, self.limit)
                if level.rank > found.level.rank:
                    found = Decision(level, f"the picture shows: {kind}")
        if asked is not None and asked.rank > found.level.rank:
            found = Decision(asked, "asked for")
        return found
