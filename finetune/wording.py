"""How questions are worded: makers and checkers say places, distances and directions in the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from gaea import geotokens

LETTERS = "ABCD"
OCTANTS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
_WITH_THE = {
    "Bahamas", "Comoros", "Gambia", "Maldives", "Netherlands", "Philippines", "Seychelles", "Caribbean Netherlands",
    "Ivory Coast",
}  # fmt: skip


def in_sentence(name: str) -> str:
    """A country's name as it stands in a sentence: ``"the Maldives"``."""
    starts = ("United ", "Democratic ", "Republic ", "Central African", "Isle ", "U.S.", "Dominican Rep", "British ")
    ends = (" Islands", " Territories", " Territory")
    needs = name.startswith(starts) or name.endswith(ends) or name in _WITH_THE
    return f"the {name}" if needs else name


def a_an(word: str) -> str:
    """A noun with its article."""
    vowel = word[0].lower() in "aeiou" and not word.lower().startswith(("uni", "eu", "one", "used"))
    return f"{'an' if vowel else 'a'} {word}"


def spoken_distance(km: float) -> str:
    """A distance in words: to 10 m below 1 km, to 0.1 km below 10 km, then to 1 km.

    One rule, so that the answer and its check agree.
    """
    metres = round(km * 100) * 10
    if metres < 1000:
        return f"{max(metres, 10)} m"
    return f"{km:.1f} km" if km < 9.95 else f"{km:.0f} km"


def octant(bearing_deg: float) -> str:
    """The nearest of eight directions."""
    return OCTANTS[round(bearing_deg / 45) % 8]


def off_octant_deg(bearing_deg: float) -> float:
    """How far a bearing is from the middle of its octant, 0 to 22.5."""
    return abs((bearing_deg + 22.5) % 45 - 22.5)


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@lru_cache(maxsize=256)
def tokens_text(lat: float, lon: float) -> str:
    """The place as S2 symbols, to level 20."""
    return geotokens.to_text(geotokens.encode(lat, lon))


def pick(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of several phrasings."""
    return options[int(rng.integers(len(options)))]


def degrees_text(lat: float, lon: float) -> str:
    """``"47.1410° N, 9.5209° E"``."""
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


_CONTEXTS = (
    "At {plain}. {q}",
    "Coordinates {plain}. {q}",
    "I am at {degrees}. {q}",
    "Take the point {degrees}. {q}",
    "{tokens} {q}",
    "{q} The place is {plain}.",
    "{q} (The point is {degrees}.)",
    "A photo was taken at {plain}. {q}",
)


def with_place(question: str, lat: float, lon: float, rng: np.random.Generator) -> str:
    """A question that tells where, for places without a picture that shows it: coordinates to 11 m, or S2 symbols."""
    form = pick(_CONTEXTS, rng)
    said = {"plain": f"{lat:.4f}, {lon:.4f}", "degrees": degrees_text(lat, lon), "tokens": tokens_text(lat, lon)}
    return form.format(q=question, **said)


class Deck:
    """Draws truth values and letters so that each comes as often as the others, skill by skill."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: dict[tuple[str, int], list[int]] = {}

    def draw(self, skill: str, values: int) -> int:
        """A number below ``values``; over a full deck every one comes equally often."""
        left = self._left.setdefault((skill, values), [])
        if not left:
            left += [int(v) for v in self._rng.permutation(np.repeat(np.arange(values), 4))]
        return left.pop()


def placed_options(right: str, wrong: Sequence[str], skill: str, deck: Deck) -> tuple[tuple[str, ...], str]:
    """Three wrong options around the right one, and the letter that it got."""
    options = list(wrong[:3])
    seat = deck.draw(skill, len(options) + 1)
    options.insert(seat, right)
    return tuple(options), LETTERS[seat]


def with_options(question: str, options: Sequence[str]) -> str:
    """The question, and an option a line."""
    return "\n".join([question, *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))])


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def numbers_in(text: str) -> list[str]:
    """The numbers of a text as written, S2 symbols and option letters left out."""
    return _NUMBER.findall(re.sub(r"<\|[^|]{1,8}\|>|\bS2\b", " ", text))
