"""Counts what an answer claims against the facts that its item carries: supported, contradicted, or neither.

A statement is a sentence or a clause between semicolons. It is *supported* if it names a value that the facts have and
contradicts none, *contradicted* if it gives one of the facts another value, or denies the right one, and *unsupported*
if it says something of which the facts know nothing. What only admits not to know claims nothing. Values are told apart
by the words around them: Libya is wrong as the country and right among the neighbours of Egypt.

It knows the values that the items of a benchmark have, and all countries; a wrong value that nobody ever asked for is
taken as unsupported. The counts are those of a program that reads words, and are called so wherever they are shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gaea.countries import all_countries
from gaea.eval.choices import HEDGE

Fact: TypeAlias = tuple[str, str, str]
"""Name, value, source."""

Support: TypeAlias = Literal["supported", "contradicted", "unsupported"]

CUES: dict[str, str] = {
    "country": r"countr|nation\b|located|taken|this is|lies? in|is in",
    "region": r"region|province|state\b|department|part of",
    "city": r"city|town|village",
    "near": r"near|town|city|close|away",
    "nearest places": r"near|town|city|close|away",
    "distance to the sea": r"\bsea\b|coast|shore",
    "continent": r"continent|is in|part of the world",
    "capital": r"capital|seat of",
    "neighbours": r"neighbo|border|next to",
    "languages": r"language|speak|spoken|tongue",
    "driving": r"driv|traffic|side of the road",
    "driving side": r"driv|traffic|side of the road",
    "currency": r"currenc|money|pay|banknote",
    "climate": r"climate|weather",
    "hemisphere": r"hemisphere|equator|half of the earth",
    "coast": r"coast|inland|sea\b|shore",
    "setting": r"coast|inland|sea\b|shore",
    "sea": r"\bsea\b|ocean|water\b|gulf|bay",
    "calling code": r"call|dial|phone",
    "internet domain": r"domain|internet|web",
}
"""Words that say which fact is spoken of, by its name."""

NEED_CUES = ("driving", "driving side", "hemisphere", "coast", "setting", "distance to the sea")
"""Facts whose values are everyday words."""

_SPLIT = re.compile(r"(?<=[^\W\d_])[.!?]+(?=\s|$)|(?<=[\d)%])[.!?]+(?=\s+[A-Z]|$)|[;\n]+")
_NEGATED = re.compile(r"\b(?:not|no|never|nor|neither|rather than|instead of|unlike)\b[^,]{0,30}$|n['’]t\b[^,]{0,30}$")
_ELSEWHERE = re.compile(
    r"could also|might also|may also|or else|alternativ|another possib|looks? (?:a bit |rather )?like|similar to"
    r"|resembl|as in\b|unlike|compared"
)
_KM = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s*(?:km|kilomet)")
_PARTS = re.compile(r",\s*(?:and\s+)?|\s+and\s+|\s*/\s*|;\s*")
WITHIN = 0.1
"""Share by which a distance may be off."""


@dataclass(frozen=True)
class Claims:
    """What an answer claims; ``statements`` are (words, support) in order."""

    statements: tuple[tuple[str, Support], ...] = ()

    def count(self, support: Support) -> int:
        """How many are so."""
        return sum(each == support for _, each in self.statements)

    @property
    def precision(self) -> float | None:
        """Supported among those that the facts can decide; None where they decide none."""
        good, bad = self.count("supported"), self.count("contradicted")
        return good / (good + bad) if good + bad else None


class ClaimChecker:
    """Checks answers against facts.

    Args:
        facts: Of all items of a benchmark, so that a wrong value is recognised as a value.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._values: dict[str, set[str]] = {}
        for name, value, _ in facts:
            for each in values_of(name, value):
                self._values.setdefault(each, set()).add(name)
        for country in all_countries().values():
            self._values.setdefault(folded(country.name), set()).add("country")
        self._words = {each: re.findall(r"\w+", each) for each in self._values if len(each) > 1}
        self._by_first: dict[str, list[str]] = {}
        for value, words in self._words.items():
            if words:
                self._by_first.setdefault(words[0], []).append(value)

    def check(self, answer: str, facts: Sequence[Fact], question: str = "") -> Claims:
        """Every statement of an answer with how the facts bear on it; the question says what a bare value is of."""
        held: dict[str, set[str]] = {}
        for name, value, _ in facts:
            held.setdefault(name, set()).update(values_of(name, value))
        told = []
        for part in _SPLIT.split(answer):
            words = part.strip(" ,–-")
            if len(re.findall(r"[^\W\d_]{2,}", words)) and not (HEDGE.search(words) and not self._named(folded(words))):
                told.append((words, self._support(words, held, question)))
        return Claims(tuple(told))

    def _support(self, statement: str, held: dict[str, set[str]], question: str) -> Support:
        text = folded(statement)
        cued = _cued(text) or _cued(folded(question))
        found: list[Support] = [_distance(text, held)]
        for value, start in self._named(text):
            names = self._values[value]
            # A name that nothing around it explains is where somebody says to be.
            meant = (names & cued) or names & {"country"} or {name for name in names if name not in NEED_CUES}
            right = any(value in held.get(name, ()) for name in meant)
            decided = right or any(name in held for name in meant)
            if not decided:
                continue
            denied = bool(_NEGATED.search(text[:start]))
            if right != denied:
                found.append("supported")
            elif not _ELSEWHERE.search(text):
                found.append("contradicted")
        return "contradicted" if "contradicted" in found else "supported" if "supported" in found else "unsupported"

    def _named(self, text: str) -> list[tuple[str, int]]:
        """Known values in a text with where they stand, longest first; what lies within one is not found again."""
        words, found = frozenset(re.findall(r"\w+", text)), []
        possible = [v for word in words for v in self._by_first.get(word, ()) if words.issuperset(self._words[v])]
        for value in sorted(possible, key=lambda each: (-len(each), each)):
            for match in re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text):
                found.append((value, match.start()))
                text = text[: match.start()] + "\0" * len(value) + text[match.end() :]
        return found


def _cued(text: str) -> set[str]:
    """Names of the facts that a text speaks of."""
    return {name for name, cue in CUES.items() if re.search(cue, text)}


def values_of(name: str, value: str) -> set[str]:
    """The texts that say a fact's value: the whole, the same without brackets, and its parts where it is a list."""
    whole = folded(value)
    if name == "distance to the sea" or re.match(r"[+-]?\d[\d.,]*(?:\s|$)", whole):
        return {whole}
    bare = re.sub(r"\s*\([^)]*\)|\s+\d[\d.,]*\s*km$", "", whole)
    listed = set() if name == "near" else {*_PARTS.split(bare)}
    return {each.strip() for each in {whole, bare} | listed if each.strip()}


def folded(text: str) -> str:
    """Without case, accents and doubled spaces."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def _distance(text: str, held: dict[str, set[str]]) -> Support:
    """Whether kilometres that are said are a fact's; other numbers are no claims about the facts."""
    known = [float(each.replace(",", "")) for values in held.values() for v in values for each in _KM.findall(v)]
    known += [float(v) for name, values in held.items() if name.endswith("_km") for v in values if _number(v)]
    said = [float(each.replace(",", "")) for each in _KM.findall(text)]
    if not known or not said or not re.search(CUES["near"], text):
        return "unsupported"
    close = all(any(abs(each - true) <= max(WITHIN * true, 1.0) for true in known) for each in said)
    return "supported" if close else "contradicted"


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(?:\.\d+)?", text))
