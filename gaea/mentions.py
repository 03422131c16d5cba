"""Place names in running text: which words are meant as places, and which only look like one.

Names are matched longest first against the gazetteer, and joined with the larger places written after them (``Lyon,
France``; ``Paris in Texas``; ``Porto (Portugal)``). Most short words are a town somewhere (Of, Nice, Reading, Mobile),
so a single word counts only where it is written like a name and the words around it speak for a place. Missing a name
costs less than inventing one. Time is linear in the length of the text.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from gaea.countries import normalise
from gaea.toponyms import Meaning, is_wide, known_names, meanings

LARGE_CITY = 1_000_000
"""A city of this size needs no other sign than its capital letter, in the middle of a sentence."""

LISTED_CITY = 100_000
"""Cities of this size stand for each other in a list."""

MOST_WORDS, MOST_PARTS = 6, 4
MOST_MENTIONS = 60
"""Of a text that names more different places, the last ones are kept."""

_WORD = re.compile(r"[^\W\d_]+(?:['’`][^\W\d_]+)*\.?")
_JOINED = re.compile(r"(?:[ \t]?-[ \t]?|[ \t]|)\Z")
_LINK = re.compile(r"\s{0,2},\s{1,3}(?:in\s|the\s){0,2}\Z|\s\((?:the\s)?\Z|\sin\s(?:the\s)?\Z|,\Z")
_CODE = re.compile(r",\s{0,2}((?:[A-Z]\.){2,3}|[A-Z]{2})(?![A-Za-z])")
_LISTED = re.compile(r"[*_]{0,3}(?:\s?[,/]\s{0,2}|\s)(?:(?:or|and|to)\s)?[*_]{0,3}")
_AFTER = re.compile(r"[*_]{0,3}\s(?:is|lies|would\sbe|could\sbe)\b")
_BEFORE = re.compile(
    r"(?:\b(?:in|near|at|around|from|outside|between|and|or|either|of|is|be|like|towards?|to|maybe|perhaps|probably"
    r"|possibly|city|town|capital|area|guess|answer|location)[:,]?[\s*_\"“'(]{1,4}(?:the\s)?(?:city\sof\s)?|[:>]\s{0,2}[*_\"“]{0,3})\Z",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\b(?:an?|this|that|these|those|its|their|his|her|my|your)\s+[\"“*_]{0,3}\Z", re.IGNORECASE)
_NOT_USA = re.compile(r"\b(?:Latin|Central|Spanish|Meso)[\s-]\Z")
_SENTENCE_START = re.compile(r"(?:\A|[.!?:;]|\n)[\s\d.)*_#>\"“-]{0,8}\Z")
_LIST_MARK = re.compile(r"(?:\A|\n)\s{0,4}(?:[-*•]|\d{1,2}[.)])\s{1,3}[*_]{0,3}\Z")
_AFTER_LIST = re.compile(r"[*_]{0,3}\s{0,2}(?:$|\n|[(:–—-]\s?\(?\d{1,3}(?:\.\d+)?\s?%|\d{1,3}\s?%)")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_SMALL_WORDS = _words(
    "of de la le les los las the da do dos das di del della al el an am im upon sur und and y e en es ar bin"
)
_STREETS = _words(
    "street st road rd avenue ave boulevard blvd lane drive highway hotel restaurant bank university airlines style "
    "cathedral church school company square plaza station airport river view maps sandwich cars"
)
_NO_PLACES = _words(
    "north south east west northern southern eastern western central centre center upper lower new old great big best "
    "most many same such of to as is it in on no so us i a the this that here there given based please however without "
    "while street road bath sale male man police nice mobile reading orange split ford toyota honda lada march may "
    "june april august general mary sign signs school university bank bus latin lat long see image vegetation language "
    "architecture spring hill green liberal young time date guess city country region state area location coordinates "
    "god law media photo google step notice look water market temple park beach bar cross battle clue clues likely "
    "victor buildings normal union enterprise commerce industry hope faith asian european"
)


@dataclass(frozen=True)
class Mention:
    """A place named in a text.

    Attributes:
        text: as written.
        span: where, as (start, end).
        options: what it may mean, with weights that add up to one.
    """

    text: str
    span: tuple[int, int]
    options: tuple[Meaning, ...]


@dataclass(frozen=True)
class _Name:
    start: int
    end: int
    words: int


def _names(text: str) -> list[_Name]:
    """Runs of words that are written like a known name, longest first, without overlaps."""
    words = [(m.start(), m.end()) for m in _WORD.finditer(text)]
    known = known_names()
    found, i = [], 0
    while i < len(words):
        taken = 1
        for count in range(_run(text, words, i), 0, -1):
            start, end = words[i][0], words[i + count - 1][1]
            written = re.sub(r"['’]s\Z", "", text[start:end])
            key = normalise(written)
            if key in known and (len(key) > 3 or written.isupper() or known[key] < 10**9):
                found.append(_Name(start, start + len(written.rstrip(".")), count))
                taken = count
                break
        i += taken
    return found


def _run(text: str, words: list[tuple[int, int]], first: int) -> int:
    """How many words from one on may belong to one name; 0 if it has no capital."""
    if not text[words[first][0]].isupper():
        return 0
    longest = 1
    for count in range(2, min(MOST_WORDS, len(words) - first) + 1):
        (_, before), (start, end) = words[first + count - 2], words[first + count - 1]
        if not _JOINED.match(text[before:start]) or (
            text[before - 1] == "." and before - words[first + count - 2][0] > 4
        ):
            break
        if text[start].isupper():
            longest = count
        elif text[start:end].lower() not in _SMALL_WORDS:
            break
    return longest


def _one_of(text: str, names: list[_Name], first: int) -> bool:
    """Whether a name and the one behind it are members of a list: ``Paris, London or Berlin``."""
    if first + 1 >= len(names):
        return False
    pair = names[first : first + 2]
    people = min(known_names()[normalise(text[n.start : n.end])] for n in pair)
    return people >= LISTED_CITY and bool(_LISTED.fullmatch(text, pair[0].end, pair[1].start))


def _meant(text: str, name: _Name, lower: frozenset[str], *, qualified: bool, listed: bool) -> bool:
    """Whether a name is meant as a place where it stands."""
    before, written = text[max(0, name.start - 40) : name.start], text[name.start : name.end]
    following = _WORD.match(text, min(name.end + 1, len(text)))
    if following and text[name.end] in " -" and following[0].lower().rstrip(".") in _STREETS:
        return False
    if _ARTICLE.search(before) or (written == "America" and _NOT_USA.search(before)):
        return False
    if qualified or is_wide(written) or name.words > 1:
        return True
    key = normalise(written)
    if key in lower or key in _NO_PLACES or len(key) < 3:
        return False
    item = _LIST_MARK.search(before) and _AFTER_LIST.match(text, name.end)
    whole = len(text) < name.end - name.start + 12 and text.strip(" .!*_\"'\n") == written
    if listed or item or whole or _BEFORE.search(before) or _AFTER.match(text, name.end):
        return True
    return known_names()[key] >= LARGE_CITY and not _SENTENCE_START.search(before)


def _within(inner: tuple[Meaning, ...], outer: tuple[Meaning, ...]) -> bool:
    return any(o.holds(i) for o in outer for i in inner)


def _outer(part: str) -> tuple[Meaning, ...]:
    """What a name may mean as the place around another."""
    return (*meanings(part, "region"), *meanings(part, "country"))


def _joined(text: str, names: list[_Name], first: int) -> tuple[int, int, tuple[Meaning, ...]]:
    """Join names that say one place (``Lyon``, ``Rhône``, ``France``): how many, where they end, what they mean."""
    parts = [text[names[first].start : names[first].end]]
    end, count = names[first].end, 1
    options = meanings(parts[0])
    while len(parts) < MOST_PARTS:
        tried = [*_code_after(text, end), *_name_after(text, names, first + count, end)]
        for part, until, step in tried:
            narrowed = meanings(", ".join([*parts, part]))
            same = any(_alike(n, o) for n in narrowed for o in options)
            if same and (_within(narrowed, _outer(part)) if step else _one_country(narrowed)):
                parts.append(part)
                options, end, count = narrowed, until, count + step
                break
        else:
            break
    return count, end, options


def _code_after(text: str, end: int) -> list[tuple[str, int, int]]:
    """A code behind a name (``, OR``), where it ends, and that it is not one of the names."""
    code = _CODE.match(text, end)
    return [(code[1], code.end(), 0)] if code else []


def _name_after(text: str, names: list[_Name], index: int, end: int) -> list[tuple[str, int, int]]:
    if index >= len(names) or names[index].start - end > 12 or not _LINK.match(text[end : names[index].start]):
        return []
    return [(text[names[index].start : names[index].end], names[index].end, 1)]


def _one_country(options: tuple[Meaning, ...]) -> bool:
    return len({m.country_code for m in options}) == 1


def _alike(a: Meaning, b: Meaning) -> bool:
    return a.name == b.name or (a.kind, a.country_code, a.region) == (b.kind, b.country_code, b.region)


def find_mentions(text: str) -> list[Mention]:
    """Places named in a text, in order.

    A larger place that holds another of the mentions (``France`` beside ``Lyon``) narrows that one's meanings and is
    then left out, so that what remains are the finest places said.
    """
    lower = frozenset(normalise(m[0]) for m in _WORD.finditer(text) if m[0].islower())
    names = _names(text)
    found: list[Mention] = []
    index = 0
    while index < len(names):
        count, end, options = _joined(text, names, index)
        first = names[index]
        alone = end == first.end
        listed = alone and (_one_of(text, names, index) or (index > 0 and _one_of(text, names, index - 1)))
        if options and _meant(text, first, lower, qualified=not alone, listed=listed):
            found.append(Mention(text[first.start : end], (first.start, end), options))
            index += count
        else:
            index += 1
    first_said: dict[tuple[Meaning, ...], Mention] = {}
    for mention in found:
        first_said.setdefault(mention.options, mention)
    return _finest(list(first_said.values())[-MOST_MENTIONS:])


def _finest(found: list[Mention]) -> list[Mention]:
    kept = []
    for mention in found:
        if any(other is not mention and _within(other.options, mention.options) for other in found):
            continue
        around = [m for other in found if other is not mention for m in other.options if m.weight > 0.5]
        inside = [option for option in mention.options if any(m.holds(option) for m in around)]
        options = inside if inside and len(inside) < len(mention.options) else list(mention.options)
        total = sum(option.weight for option in options)
        scaled = tuple(dataclasses.replace(option, weight=option.weight / total) for option in options)
        kept.append(dataclasses.replace(mention, options=scaled))
    return kept
