"""What a small model may say next: words of speech, and what it was told, whole.

A model of a few million parameters can tell which line of its briefing answers a question, but it misspells a name half
way and miscopies numbers. So its choice is left to it, and its spelling is not: after words of speech it may begin any
value that the fenced data holds, and what it has begun it must finish as it was told. Which value, and which words
around it, remain the model's own; a wrong choice is still a wrong answer. This is constrained decoding, as S2 symbols
are decoded under a mask (a finite-state machine over tokens; Willard & Louf 2023, arXiv 2307.09702). Larger models are
not held.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from gaea.prompts import FENCE_CLOSE, FENCE_OPEN, Message

_MEASURE = re.compile(r"\d[\d.]*(?: (?:km|%))?")


def told(messages: Sequence[Message]) -> list[str]:
    """The values in the fenced data of a conversation: what stands behind each name, and each measure within it."""
    values: dict[str, None] = {}
    for message in messages:
        for part in message["content"]:
            _, opened, rest = part.get("text", "").partition(FENCE_OPEN)
            for line in rest.partition(FENCE_CLOSE)[0].splitlines() if opened else ():
                value = line.partition(": ")[2].strip()
                values |= dict.fromkeys([value, *_MEASURE.findall(value)]) if value else {}
    return list(values)


@dataclasses.dataclass(frozen=True)
class Speech:
    """A machine whose states are: free to speak, or so many tokens into a value.

    Attributes:
        spoken: Tokens of words of speech, allowed whenever no value is under way.
        values: What was told, as tokens, in every form in which it may be written within a sentence.
        opening: The same as it is written at the very start of a reply.
        end: The token that ends a reply.
    """

    spoken: frozenset[int]
    values: tuple[tuple[int, ...], ...]
    opening: tuple[tuple[int, ...], ...]
    end: int

    @classmethod
    def about(
        cls, messages: Sequence[Message], spoken: Sequence[int], tokenize: Callable[[str], list[int]], end: int
    ) -> Speech:
        """For one conversation.

        Args:
            messages: Whose fenced data may be repeated.
            spoken: Tokens of speech.
            tokenize: Text to ids, without special tokens; a leading space matters to it.
            end: The token that ends a reply.
        """
        values = told(messages)
        inside = {tuple(tokenize(f" {value}")) for value in values}
        return cls(frozenset(spoken), tuple(sorted(inside)), tuple(sorted(tuple(tokenize(v)) for v in values)), end)

    def allowed(self, said: Sequence[int]) -> list[int]:
        """Tokens that may follow what was said of a reply so far; the end alone where nothing fits."""
        free, within = True, set[tuple[tuple[int, ...], int]]()
        for position, token in enumerate(said):
            moved = {(value, at + 1) for value, at in within if value[at] == token}
            if free:
                moved |= {(value, 1) for value in self._begun(position) if value[0] == token}
            free = (free and token in self.spoken) or any(at == len(value) for value, at in moved)
            within = {(value, at) for value, at in moved if at < len(value)}
        following = {value[at] for value, at in within}
        if free:
            following |= self.spoken | {value[0] for value in self._begun(len(said))} | {self.end}
        return sorted(following) or [self.end]

    def _begun(self, position: int) -> tuple[tuple[int, ...], ...]:
        return self.values if position else self.values + self.opening
