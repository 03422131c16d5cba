"""Words held to a level of disclosure: sentences that would tell more of the place than the level allows are left out.

A model sees the picture and may know more of it than it was told, and whoever asks may ask for it in any way. So what
it writes is read sentence by sentence before anybody else does, and a sentence passes only if nothing in it could be a
finer place: no coordinates, codes or long numbers, no distance that was not told, no script but the Latin one, and no
word written like a name other than the names that were told and words that begin sentences. That is stricter than
finding places, because landmarks and quarters stand in no gazetteer; it costs sentences about Gothic arches, and saves
those about the Eiffel Tower. Lower-case names of cities and spelled-out words are looked for as well. What a model
hides on purpose in other words, no filter finds: where that matters, the level has to be ``withheld`` or the model
one that speaks told values only, as nano does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from gaea.coordinates import find_coordinates
from gaea.countries import CONTINENTS, all_countries, normalise, words
from gaea.disclosure import Level
from gaea.toponyms import known_names

LARGE = 50_000
"""Towns of so many people are known in lower case, too."""

LONGEST = 2000
"""A sentence that does not end is read after so many characters."""

_END = re.compile(r"[.!?。！？…]+[\"')\]*_”’]*\s+|\n+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_CODE = re.compile(
    r"<\||\|>|s2:|\b[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b|°|º|///|https?:|www\.|\blat(?:itude|\.)?\b"
    r"|\blon(?:g|gitude|\.)?\b|\b(?:what3words|plus code|geohash|mgrs|utm|postcode|zip code|coordinates|degrees?"
    r"|parallel|meridian)\b",
    re.IGNORECASE,
)
_MIXED = re.compile(r"\b(?=\w*\d)(?=\w*[^\W\d_])\w{5,}\b")
_LONG = re.compile(r"\S{30,}")
_NUMBER = re.compile(r"\d[\d.,\u00a0 ]*\d|\d")
_SPELLED = re.compile(r"(?<!\w)(?:[^\W\d_][\s.\-–·_*,|/]{1,3}){3,}[^\W\d_](?!\w)")
_FROM = re.compile(r"(?:north|south|east|west)(?:\W|ern|ward|east|west|$)|\b(?:away|from|off)\b", re.IGNORECASE)
_VERDICT = re.compile(
    r"\W*(?:(?:yes|no|yeah|yep|nope|not|correct|incorrect|right|wrong|true|false|indeed|exactly|precisely|agreed|close"
    r"|warm\w*|cold\w*|hot\w*|farther|further|nearer|closer|higher|lower|option|answer)\b|[A-H]\W*\Z)|.*\b(?:you(?:['’]re|\sare)"
    r"|that(?:['’]s|\sis)|it\s(?:is|isn['’]t)|this\sis)\s(?:\w+\s)?(?:right|correct|wrong|so|true|close|not|it)\b",
    re.IGNORECASE | re.DOTALL,
)
_MEASURE = re.compile(r"[\d.,]+ ?(?:km|%)?")
_DISTANCE = re.compile(
    r"(\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|forty|fifty|sixty"
    r"|hundred|thousand|few|dozen|several)\b)[\s-]{0,3}(?:km|kilomet\w+|mi|miles?|m|met(?:re|er)s?|minutes?|hours?|blocks?"
    r"|yards?|feet|ft|leagues?)\b",
    re.IGNORECASE,
)


def _list(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ORDINARY = _list(
    """a about above across after again against all along already also although always am among an and another any
    anyone anything apart are around as asking at based be because before behind being below beneath beside besides
    between beyond both but by can cannot certain clearly clouds compared could data definitely despite do does down
    due during each either english even every everything evidence except far few finally first for from further
    generally given green grey had half has have he her here hers high his how however i i'd i'll i'm i've if in indeed
    inside instead is it it's its itself just large last least less let like likely little long looking looks low made
    many may maybe me mine more most mostly much my near neither no nobody none nor not note nothing now of off often
    ok okay on one only or other others otherwise our outside over overall own people perhaps please possibly probably
    quite rather really sand sea seen several shall she should show shows since small snow so some somebody someone
    something sometimes somewhere sorry still such sure than thank thanks that that's the their them then there
    there's therefore these they this those though three through thus to today together too trees two under unlike
    unsure until up upon us usually very was water we well were what what's when where where's whether which while white
    who whole whose why will with within without would yes yet you you're your yours red blue yellow brown black
    driving cars buildings houses roads vegetation dry wet cold warm hot light dark hard both gaea confident fairly
    b c d e f g h correct right wrong true false indeed exactly incorrect option answer""",
)
"""Words that may be written with a capital and are no names."""

_COMMON = _list(
    """reading mobile nice bath split orange most same best male hat man van central of as is to many lens central
    university green spring hill park beach mission santa union enterprise independence hope faith temple cross
    victoria georgia turkey china china's jordan chad mali niger cuba peru oman guinea polish tours nancy anna young
    villages along bar sale ford lada march may june april august general mary sign school bank bus latin image
    language architecture liberal time date guess city country region state area location media photo step notice look
    market battle clue clues likely buildings normal commerce industry coast part rest lime gold lone soul sine dual
    vine oral lion basic brick panda worms vista samba tango turbo roman capital inland coastal river street"""
)
"""Ordinary words that are towns somewhere, in lower case."""


@dataclass(frozen=True)
class Discretion:
    """What may be said at a level.

    Attributes:
        level: Finest level.
        told: Values that the model was told, and with that may be repeated: names of the place, measures.
        place: The place as the level tells it; said in place of what was left out.
        asked: All that was asked so far. Where that names finer places itself, a yes, a no or a letter would tell
            whether they are right, and does not leave either: with enough such questions anything can be found.
    """

    level: Level
    told: tuple[str, ...] = ()
    place: str = ""
    asked: str = ""
    _left_out: list[str] = field(default_factory=list, compare=False, repr=False)

    def held(self, pieces: Iterable[str]) -> Iterator[str]:
        """Pieces of text, a whole sentence at a time, without sentences that tell too much.

        What was left out is said at the end. Text that may be precise passes as it comes.
        """
        if self.level is Level.PRECISE:
            yield from pieces
            return
        rest, said = "", ""
        try:
            for piece in pieces:
                rest += piece
                while (end := self._first_end(rest)) is not None:
                    sentence, rest = rest[:end], rest[end:]
                    if self.allows(sentence):
                        said = sentence
                        yield sentence
                    else:
                        self._left_out.append(sentence)
            if rest.strip() and self.allows(rest):
                said = rest
                yield rest
            elif rest.strip():
                self._left_out.append(rest)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if self._left_out:
            yield (" " if said and not said[-1].isspace() else "") + self.note

    @property
    def note(self) -> str:
        """What is said in place of what was left out."""
        if self.level is Level.WITHHELD:
            return "I may not say where this is."
        if self.place:
            return f"{self.place}: that is as much as I may say of the place."
        return f"I may not say more of the place than its {self.level}."

    def allows(self, sentence: str) -> bool:
        """Whether a sentence tells nothing finer than the level."""
        return self._names_nothing(sentence) and not (_VERDICT.match(sentence) and self._guessing)

    @cached_property
    def _guessing(self) -> bool:
        """Whether what was asked names something finer than the level itself."""
        return not self._names_nothing(self.asked)

    def _names_nothing(self, sentence: str) -> bool:
        text = unicodedata.normalize("NFKC", "".join(c for c in sentence if unicodedata.category(c) != "Cf"))
        unnamed = self._names.sub(" ", text) if self._names else text
        bare = self._measures.sub(" ", unnamed) if self._measures else unnamed
        return not (
            _CODE.search(bare)
            or _MIXED.search(bare)
            or _LONG.search(bare)
            or _SPELLED.search(bare)
            or _DISTANCE.search(bare)
            or (_DISTANCE.search(unnamed) and _FROM.search(text))
            or find_coordinates(bare)
            or any(not _plain(number[0]) for number in _NUMBER.finditer(bare))
            or any(not self._word_allowed(word[0]) for word in _WORD.finditer(bare))
            or self._named_in_lower_case(bare)
        )

    def _first_end(self, text: str) -> int | None:
        found = _END.search(text)
        if found:
            return found.end()
        return LONGEST if len(text) > LONGEST else None

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        """All told names, and those that anybody may say."""
        return _any_of(value for value in (*self.told, *self._wide) if not _MEASURE.fullmatch(value.strip()))

    @cached_property
    def _measures(self) -> re.Pattern[str] | None:
        """All told measures. They may be repeated, but not as a distance from something."""
        return _any_of(value for value in self.told if _MEASURE.fullmatch(value.strip()))

    @cached_property
    def _wide(self) -> tuple[str, ...]:
        """Names that tell no more than a country, and may be said unless the place is withheld."""
        if self.level is Level.WITHHELD:
            return ()
        aliases = [alias for known in words()["aliases"].values() for alias in known if len(alias) > 3]
        seas = [str(sea["name"]) for sea in words()["seas"]]
        return (*(one.name for one in all_countries().values()), *CONTINENTS.values(), *aliases, *seas)

    def _word_allowed(self, word: str) -> bool:
        """Whether a word is no name: of Latin letters, and without a capital unless it may have one."""
        if not all(unicodedata.name(c, "").startswith("LATIN") or c in "'’" for c in word):
            return False
        if word == word.lower():
            return True
        return re.sub(r"['’]s\Z", "", word.lower()) in _ORDINARY or word.lower() in _ORDINARY

    def _named_in_lower_case(self, text: str) -> bool:
        """Whether words in a row are the name of a larger town, country or region that was not told."""
        said = [m[0] for m in _WORD.finditer(text)]
        known = known_names()
        for count in (1, 2, 3, 4):
            for first in range(len(said) - count + 1):
                key = normalise(" ".join(said[first : first + count]))
                small = len(key) < 4 or known.get(key, 0) < LARGE * (10 if len(key) == 4 else 1)
                if small or (count == 1 and (key in _COMMON or key in _ORDINARY)):
                    continue
                return True
        return False


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Any of the values, as words of their own, the longest first."""
    known = sorted({value.strip() for value in values} - {""}, key=len, reverse=True)
    written = "|".join(re.escape(unicodedata.normalize("NFKC", value)) for value in known)
    return re.compile(rf"(?<![^\W_])(?:{written})(?:['’]s)?(?![^\W_])", re.IGNORECASE) if known else None


def _plain(number: str) -> bool:
    """Whether a number is too short to be a coordinate, an address or a code."""
    digits = re.sub(r"\D", "", number)
    fraction = re.search(r"[.,](\d+)\Z", number)
    return len(digits) <= 3 and not (fraction and len(fraction[1]) > 2)
