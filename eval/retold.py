"""The same assistant, told something else: the variants of an ablation are what memory recalls and the engine reads.

Nothing of the assistant is imitated. Its memory is replaced by one that has already recalled, and its engine by one
that finds the neighbours' block in a prompt and writes the variant's own in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from gaea import prompts
from gaea.assistant import Assistant, Chat
from gaea.decoding import NextToken
from gaea.engine import Engine, Sight
from gaea.errors import InputError
from gaea.locate.neighbours import Neighbours, Role
from gaea.locate.surroundings import RowDensity
from gaea.photo import Photo

TOLD_OTHERS = 4  # lines of the block of S2 symbols, after the prompt's own number of similar ones
CONTROL = f"{prompts.NEIGHBOURS + TOLD_OTHERS} similar"
"""The variant that tells as many lines as those with dissimilar ones."""
NAMED_OTHERS = 3  # places of the briefing's "unlike" line, as many as its "similar" line has


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is told of the neighbours.

    Attributes:
        name: In tables.
        similar: Whether the similar ones are recalled at all.
        others: Which of the dissimilar the engine is told as well.
        lines: Similar ones in the engine's block; the prompt's own number, if nothing else is said.
    """

    name: str
    similar: bool = True
    others: Role | None = None
    lines: int = prompts.NEIGHBOURS


VARIANTS = (
    Variant("k = 0", similar=False),
    Variant("similar"),
    Variant(CONTROL, lines=prompts.NEIGHBOURS + TOLD_OTHERS),
    Variant("similar + dissimilar", others="dissimilar"),
    Variant("similar + hard dissimilar", others="hard dissimilar"),
)


def chat(assistant: Assistant, image: Image.Image, recalled: Neighbours, variant: Variant, seen: Seen) -> Chat:
    """A conversation about a picture of which the gallery was already asked.

    Args:
        assistant: As it is.
        image: The picture.
        recalled: Neighbours of all three roles.
        variant: What of them is told.
        seen: What the picture cost already, shared by the variants.
    """
    others = tuple(n for n in recalled.dissimilar if n.role == variant.others)
    told = Neighbours(recalled.similar, others, recalled.ranking) if variant.similar else Neighbours()
    engine = _Retold(assistant.engine, told, seen, variant.lines)
    rows = getattr(assistant.memory, "rows", None)
    memory = _Recalled(assistant.memory.name if assistant.memory else "", told, seen.strangeness, rows)
    return dataclasses.replace(assistant, engine=engine, memory=memory).open(Photo.open(image))


@dataclasses.dataclass
class Seen:
    """What engine and encoder made of one picture."""

    strangeness: float
    sight: Sight | None = None


def symbols_told(told: Neighbours, lines: int = prompts.NEIGHBOURS) -> str:
    """The block of S2 symbols with the dissimilar after the similar, each led by its similarity in per cent.

    A similarity is what tells the roles apart: near 100 for the similar, negative for the farthest. Hard ones have a
    high one and another place, which is the point of them.
    """
    rows = (*told.similar[:lines], *told.dissimilar[:TOLD_OTHERS])
    return prompts.neighbour_tokens(rows, len(rows))


def unlike(told: Neighbours) -> str:
    """The briefing's line about the dissimilar, empty where there are none."""
    names = tuple(dict.fromkeys(prompts.clean(n.text) for n in told.dissimilar if n.text))[:NAMED_OTHERS]
    return f"unlike: {'; '.join(names)}\n" if names else ""


@dataclasses.dataclass(frozen=True)
class _Recalled:
    """A memory that has already recalled."""

    name: str
    neighbours: Neighbours
    strange: float
    rows: RowDensity | None = None

    def recall(self, image: Image.Image) -> Neighbours:
        del image
        return self.neighbours

    def strangeness(self, image: Image.Image) -> float:
        del image
        return self.strange


class _Retold:
    """An engine whose prompts hold the variant's neighbours instead of the assistant's choice of them."""

    def __init__(self, engine: Engine, told: Neighbours, seen: Seen, lines: int) -> None:
        self.name, self.has_geotokens = engine.name, engine.has_geotokens
        self._engine, self._told, self._seen, self._lines = engine, told, seen, lines

    def see(self, image: Image.Image) -> Sight:
        if self._seen.sight is None:
            self._seen.sight = self._engine.see(image)
        return self._seen.sight

    def scorer(self, messages: Sequence[prompts.Message], sight: Sight) -> NextToken:
        chosen, wanted = prompts.neighbour_tokens(self._told.similar), symbols_told(self._told, self._lines)
        if chosen != wanted:
            messages = _rewritten(messages, chosen, wanted)
        return self._engine.scorer(messages, sight)

    def stream(self, messages: Sequence[prompts.Message], sight: Sight, **options: Any) -> Iterator[str]:
        return self._engine.stream(self._as_told(messages), sight, **options)

    def complete(self, messages: Sequence[prompts.Message], sight: Sight, **options: Any) -> str:
        return self._engine.complete(self._as_told(messages), sight, **options)

    def _as_told(self, messages: Sequence[prompts.Message]) -> Sequence[prompts.Message]:
        if line := unlike(self._told):
            messages = _rewritten(messages, prompts.FENCE_CLOSE, line + prompts.FENCE_CLOSE)
        return messages


def _rewritten(messages: Sequence[prompts.Message], old: str, new: str) -> list[prompts.Message]:
    """Messages with the only occurrence of a block replaced in the first text that holds it."""
    first, *rest = messages
    parts = [dict(part) for part in first["content"]]
    holding = [part for part in parts if part.get("text", "").count(old) == 1]
    if len(holding) != 1:
        raise InputError("the assistant's prompt no longer holds the block of neighbours that the ablation replaces")
    holding[0]["text"] = holding[0]["text"].replace(old, new)
    return [{**first, "content": parts}, *rest]
