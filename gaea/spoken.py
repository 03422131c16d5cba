"""What a model's words say about where a picture was taken: candidates with weights, a refusal, or nothing usable.

Coordinates are believed before place names: reasoning names many places, and an answer that ends in coordinates has
made up its mind. Without coordinates, named fields (``"city": "Lyon", "country": "France"``) are read, then the places
in the part of the text that commits itself (*my best guess is …*), then, unless the model declined, those anywhere.
Nothing is guessed: coordinates that cannot be, and texts that name no place, are reported in ``problem``.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gaea import cells as s2
from gaea import geotokens
from gaea.coordinates import Coordinates, find_coordinates
from gaea.mentions import find_mentions
from gaea.phrasing import COMMITMENT, EXAMPLE, REFUSAL, declines, sentences, weigh
from gaea.sphere import great_circle_km
from gaea.toponyms import Meaning, meanings

Kind: TypeAlias = Literal["coordinates", "cell", "city", "region", "country", "sea", "continent"]

MOST_CHARACTERS = 20_000
"""Of a longer text only the end is read, where the answer stands."""

MOST_COMMITMENTS = 12
"""So many phrases that commit, from the end, are looked at for a place."""

FAR_KM = 100.0
"""Coordinates that lie farther than this from the edge of the place named beside them contradict it."""


@dataclass(frozen=True)
class Candidate:
    """One place that a text says.

    Attributes:
        lat: degrees.
        lon: degrees.
        radius_km: how wide the place is, or how wide the text says the range is; None where nothing tells.
        weight: share of the answer; those of one text add up to at most one.
        kind: what was said.
        text: the words that say it.
        span: where they stand, as (start, end).
    """

    lat: float
    lon: float
    radius_km: float | None
    weight: float
    kind: Kind
    text: str
    span: tuple[int, int]


@dataclass(frozen=True)
class Spoken:
    """What one text says.

    Attributes:
        candidates: places, in the order of the text; empty if it says none.
        refused: the text declines to answer.
        problem: what is wrong with the text, or ``""``. Candidates may stand beside a problem, such as a named city
            that lies far from the coordinates.
    """

    candidates: tuple[Candidate, ...] = ()
    refused: bool = False
    problem: str = ""


# ── coordinates, cells, fields, names ───────────────────────────────────────

_WITHIN = re.compile(
    r"""(?:within|±|\+/-|radius(?:_km)?|uncertainty|error|accura\w{1,4}|margin|give\sor\stake)["'*_\s:=]{0,6}(?:of\s)?(?:about\s|approximately\s|~)?
    ([0-9]{1,5}(?:\.[0-9]{1,3})?)\s?(?:km|kilomet|"|,|\}|\Z|\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_FIELD = re.compile(
    r"""["'“*_-]{0,3}\b(city|town|village|region|state|province|country|place)\b["'”*_]{0,3}\s{0,2}[:=]\s{0,3}[*_]{0,3}["'“]?([^"'“”\n{}|*:\[\]]{2,60})""",
    re.IGNORECASE | re.VERBOSE,
)
_ORDER = {"place": 0, "village": 0, "town": 0, "city": 0, "region": 1, "state": 1, "province": 1, "country": 2}
_EMPTY = re.compile(
    r"\W*(?:unknown|n/?a|none|null|undetermined|not\s\w+|unspecified|uncertain|various)\b", re.IGNORECASE
)


def _fields(text: str) -> list[tuple[str, str, tuple[int, int]]]:
    """Places written as named fields, fine to coarse: (name, kind of the finest, span)."""
    groups: list[dict[int, tuple[str, str, tuple[int, int]]]] = []
    for match in _FIELD.finditer(text):
        rank, name = _ORDER[match[1].lower()], match[2].strip(" ,.;\\")
        if not name or _EMPTY.match(name):
            continue
        last_end = max((v[2][1] for v in groups[-1].values()), default=0) if groups else 0
        if not groups or rank in groups[-1] or match.start() - last_end > 200:
            groups.append({})
        groups[-1][rank] = (name, match[1].lower(), match.span())
    found = []
    for group in groups:
        parts = [group[rank] for rank in sorted(group)]
        kind = parts[0][1]
        kind = {"state": "region", "province": "region", "place": ""}.get(
            kind, "city" if kind in ("town", "village") else kind
        )
        span = (min(p[2][0] for p in parts), max(p[2][1] for p in parts))
        found.append((", ".join(p[0] for p in parts), kind, span))
    return found


def _candidates(text: str, said: list[tuple[tuple[int, int], tuple[Meaning, ...]]]) -> tuple[Candidate, ...]:
    weights = weigh(text, [span for span, _ in said]) if said else []
    return tuple(
        Candidate(m.lat, m.lon, m.radius_km, w * m.weight, m.kind, text[slice(*span)], span)  # type: ignore[arg-type]
        for (span, options), w in zip(said, weights, strict=True)
        for m in options
    )


def _from_coordinates(text: str, pairs: list[Coordinates]) -> tuple[Candidate, ...]:
    """Candidates of usable pairs: those behind the last words that commit, each place once."""
    cues = [m.start() for m in COMMITMENT.finditer(text)]
    for cue in reversed(cues):
        behind = [pair for pair in pairs if pair.span[0] >= cue]
        if behind:
            # Alternatives follow the best guess; what was weighed before it does not count any more.
            pairs = behind if len({(p.lat, p.lon) for p in behind}) < len({(p.lat, p.lon) for p in pairs}) else pairs
            break
    unique = {(round(p.lat, 4), round(p.lon, 4)): p for p in reversed(pairs)}
    kept = sorted(unique.values(), key=lambda p: p.span)
    weights = weigh(text, [p.span for p in kept])
    found = []
    for i, (pair, weight) in enumerate(zip(kept, weights, strict=True)):
        until = kept[i + 1].span[0] if i + 1 < len(kept) else len(text)
        stated = _WITHIN.search(text[pair.span[1] : min(until, pair.span[1] + 120)])
        radius = float(stated[1]) if stated else pair.radius_km
        found.append(Candidate(pair.lat, pair.lon, radius, weight, "coordinates", text[slice(*pair.span)], pair.span))
    return tuple(found)


def _from_cells(text: str) -> tuple[Candidate, ...]:
    """GeoTokens, if the model speaks them."""
    found = []
    for tokens in geotokens.from_text(text):
        cell = geotokens.cell_of_prefix(tokens)
        lat, lon = (float(v) for v in s2.to_latlon(cell))
        written = geotokens.to_text(tokens)
        start = text.find(written)
        radius = math.sqrt(float(s2.area_km2(cell)) / math.pi)
        found.append(Candidate(lat, lon, radius, 1.0, "cell", written, (start, start + len(written))))
    return tuple(dataclasses.replace(c, weight=1.0 / len(found)) for c in found)


def _contradiction(text: str, candidates: Sequence[Candidate]) -> str:
    """What is wrong where a single pair of coordinates and the place named in the fields beside it disagree."""
    fields = _fields(text)
    if len(candidates) != 1 or len(fields) != 1:
        return ""
    name, kind, _ = fields[0]
    options = meanings(name, kind)
    one = candidates[0]
    edges = [float(great_circle_km(one.lat, one.lon, m.lat, m.lon)) - m.radius_km for m in options]
    if not edges or min(edges) <= FAR_KM:
        return ""
    return f"the coordinates {one.lat:g}, {one.lon:g} lie {min(edges):.0f} km outside {name!r}, named beside them"


def _committed(text: str) -> tuple[int, int] | None:
    """The part of a text behind its last commitment that names a place; to the end of the paragraph and its list."""
    for match in reversed(list(COMMITMENT.finditer(text))[-MOST_COMMITMENTS:]):
        start = max(text.rfind(".", 0, match.start()), text.rfind("\n", 0, match.start())) + 1
        end = text.find("\n\n", match.end())
        colon = text[match.end() : end].rstrip(" *_").endswith(":") if end >= 0 else False
        if colon:  # "My best guesses:" and the list behind it
            end = text.find("\n\n", end + 2)
        end = len(text) if end < 0 else end
        if find_mentions(text[start:end]):
            return start, end
    return None


def _from_names(text: str) -> tuple[tuple[Candidate, ...], bool]:
    """Candidates of places named in running text, and whether the text declines."""
    part = _committed(text)
    refused = declines(text, part is not None)
    if part is None and refused:
        return (), True
    start, end = part or (0, len(text))
    said = []
    for a, b in sentences(text[start:end]):
        sentence = text[start + a : start + b]
        if EXAMPLE.search(sentence) and not COMMITMENT.search(sentence):
            continue
        if REFUSAL.search(sentence) and not COMMITMENT.search(sentence):
            continue
        said += [(start + a, mention) for mention in find_mentions(sentence)]
    unique = {mention.options: (at, mention) for at, mention in reversed(said)}
    told = [((at + m.span[0], at + m.span[1]), m.options) for at, m in unique.values()]
    told = [
        (s, o) for s, o in told if not any(x.holds(y) for _, other in told if other is not o for x in o for y in other)
    ]
    return _candidates(text, sorted(told, key=lambda pair: pair[0])), refused


def read(text: str) -> Spoken:
    """Read what a model wrote.

    Args:
        text: any text; of more than ``MOST_CHARACTERS`` characters only the end is read.

    Returns:
        What it says; never an error.
    """
    text = text[-MOST_CHARACTERS:]
    if not text.strip():
        return Spoken(problem="the answer is empty")
    if cells := _from_cells(text):
        return Spoken(cells)
    pairs = find_coordinates(text)
    faults = [pair.problem for pair in pairs if pair.problem]
    usable = [pair for pair in pairs if not pair.problem]
    if usable:
        candidates = _from_coordinates(text, usable)
        return Spoken(candidates, problem=_contradiction(text, candidates))
    fields = [(span, options) for name, kind, span in _fields(text) if (options := meanings(name, kind))]
    if fields:
        return Spoken(_candidates(text, fields), problem=faults[0] if faults else "")
    named, refused = _from_names(text)
    if named:
        return Spoken(named, problem=faults[0] if faults else "")
    return Spoken(refused=refused, problem=faults[0] if faults else "" if refused else "the answer names no place")
