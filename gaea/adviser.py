"""Asks a language model where a picture is, with a search's candidates before it.

Two ways, both with any engine: it chooses one of numbered candidates, or it names a point of its own with the
candidates as hints. It has to answer with a JSON object and nothing else. A reply that is not one, or that names no
candidate or no place on Earth, is a failure: it is noted, and the point of least expected loss is given in its stead.

Source:
    GeoToken (arXiv 2511.01082): selection from the pool, and free generation after greedy and 30 samples. The wording
    is our own.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gaea import places, prompts
from gaea.belief import Belief
from gaea.engine import Engine, Sight
from gaea.errors import InputError, ModelError
from gaea.quadrature import Loss
from gaea.searchtree import Candidate, Decoded
from gaea.selection import Choice, by_least_loss

CHOOSE = (
    "Where was this picture taken? The data lists candidates. Look at the picture, choose the one that fits it best, "
    'and answer with JSON only, its number in place of N: {"choice": N}'
)
POINT = (
    "Where was this picture taken? The data lists a first guess and further ones, which may be wrong. Look at the "
    'picture and answer with JSON only, in degrees, north and east positive: {"lat": LAT, "lon": LON}'
)
MOST_TOKENS = 48


class ReplyError(ModelError):
    """Why a reply is no answer, in few words that can be counted."""


@dataclasses.dataclass(frozen=True)
class Adviser:
    """A model, the picture before it, and what is answered where it fails.

    Attributes:
        engine: Who is asked.
        sight: The picture, from the engine's own ``see``.
        belief: Gives the point of least expected loss where the model does not answer.
        loss: Which loss that is.
        radius_km: Of a hit, for ``loss="hit"``.
    """

    engine: Engine
    sight: Sight
    belief: Belief
    loss: Loss = "median"
    radius_km: float = 200.0

    def choose(self, candidates: Sequence[Candidate]) -> Choice:
        """Let the model choose one of the candidates by its number.

        Raises:
            InputError: There are no candidates.
            ModelError: The engine cannot be reached; that is no failure of the model's.
        """
        if not candidates:
            raise InputError("there are no candidates to choose from: the search found none")
        reply = self._ask(choose_messages(candidates))
        try:
            chosen = candidates[parse_choice(reply, len(candidates)) - 1]
        except ReplyError as error:
            return self._instead(str(error))
        return Choice(*chosen.point, "model's choice", chosen)

    def point(self, greedy: Decoded, drawn: Decoded) -> Choice:
        """Let the model name a point of its own.

        Args:
            greedy: The first guess.
            drawn: Samples, told as hints with how often each came.

        Raises:
            InputError: There is no first guess.
            ModelError: The engine cannot be reached.
        """
        if not greedy.candidates:
            raise InputError("there is no first guess: the greedy search found none")
        reply = self._ask(point_messages(greedy.candidates[0], drawn.candidates))
        try:
            return Choice(*parse_point(reply), "model's own point")
        except ReplyError as error:
            return self._instead(str(error))

    def _ask(self, messages: list[prompts.Message]) -> str:
        return self.engine.complete(messages, self.sight, max_new_tokens=MOST_TOKENS)

    def _instead(self, failure: str) -> Choice:
        safe = by_least_loss(self.belief, loss=self.loss, radius_km=self.radius_km)
        return dataclasses.replace(safe, failure=failure)


@dataclasses.dataclass(frozen=True)
class Failures:
    """How often a rule was asked and could not answer.

    Attributes:
        asked: Choices counted.
        failed: Of these, how many fell back.
        reasons: How often each reason came.
    """

    asked: int
    failed: int
    reasons: dict[str, int]


def count_failures(choices: Sequence[Choice]) -> Failures:
    """Count what fell back, to be reported beside any accuracy."""
    reasons = Counter(choice.failure for choice in choices if choice.failure)
    return Failures(len(choices), sum(reasons.values()), dict(reasons.most_common()))


def choose_messages(candidates: Sequence[Candidate]) -> list[prompts.Message]:
    """The numbered candidates, fenced as data, and the question; see :func:`gaea.prompts.talk` for the form."""
    return _messages([f"{i}: {_told(candidate)}" for i, candidate in enumerate(candidates, 1)], CHOOSE)


def point_messages(first: Candidate, drawn: Sequence[Candidate]) -> list[prompts.Message]:
    """The first guess and the samples, fenced as data, and the question."""
    lines = [f"first guess: {_told(first)}"]
    lines += [f"guess: {_told(c)}, {c.count} time{'s' if c.count > 1 else ''}" for c in drawn]
    return _messages(lines, POINT)


def parse_choice(reply: str, count: int) -> int:
    """Read ``{"choice": n}`` with n from 1 to ``count``.

    Raises:
        ReplyError: It is anything else.
    """
    number = _strict(reply, {"choice"})["choice"]
    if type(number) is not int:
        raise ReplyError("choice is no whole number")
    if not 1 <= number <= count:
        raise ReplyError("choice is out of range")
    return number


def parse_point(reply: str) -> tuple[float, float]:
    """Read ``{"lat": …, "lon": …}`` in degrees.

    Raises:
        ReplyError: It is anything else, or no place on Earth.
    """
    values = _strict(reply, {"lat", "lon"})
    lat, lon = values["lat"], values["lon"]
    if type(lat) not in (int, float) or type(lon) not in (int, float):
        raise ReplyError("coordinates are no numbers")
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ReplyError("coordinates are out of range")
    return float(lat), float(lon)


def _strict(reply: str, keys: set[str]) -> dict[str, Any]:
    """One JSON object with exactly these keys, each once, and nothing around it but blanks."""
    try:
        pairs = json.loads(reply, object_pairs_hook=_Pairs, parse_constant=float)
    except (ValueError, RecursionError) as error:
        raise ReplyError("reply is not JSON") from error
    if not isinstance(pairs, _Pairs) or sorted(key for key, _ in pairs) != sorted(keys):
        raise ReplyError(f"reply is not an object with {' and '.join(sorted(keys))} alone")
    return dict(pairs)


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, repeated ones too."""


def _told(candidate: Candidate) -> str:
    lat, lon = candidate.point
    return f"{prompts.clean(places.describe(lat, lon).label)} ({lat:.2f}, {lon:.2f})"


def _messages(lines: list[str], question: str) -> list[prompts.Message]:
    text = "\n".join([prompts.FENCE_OPEN, *lines, prompts.FENCE_CLOSE, question])
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
