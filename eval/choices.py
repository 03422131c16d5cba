"""What was chosen, read out of words without a judge: a letter, or the text of an option.

The rules are few and can be checked by hand. An answer counts only when it settles on one thing: what names two, none,
or a letter together with another option's text is *unparsable*, which scores nothing and is counted under its reason.
A guess after a hedge ("I cannot tell, but B") is a guess; a hedge alone is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gaea.countries import normalise

LETTERS = "ABCDEFGH"
HEDGE = re.compile(
    r"\b(?:cannot|can['’]?t|could not|couldn['’]?t|unable to) (?:tell|say|know|determine|answer)"
    r"|\bdon['’]?t know|\bunsure|\bnot sure|\bnone of the (?:above|options)|\ball of the above|\bit depends"
    r"|\bpart(?:ly|ially) (?:true|false|correct|right)|\bhalf[- ]true|\bnot known|\bunknown",
    re.IGNORECASE,
)

FINAL = r"(?:final answer|final verdict|final choice|my answer|answer|verdict|correct (?:answer|option|choice))"
SAYS = r"(?:\s+(?:is|was|would be|should be|must be)|\s*[:=])+\s*"
MARKS = re.compile(r"[*_`#]+|<[^>]{0,40}>")
_LISTED = re.compile(r"(?:^|[\s(])\(?([A-H])[).:]\s+")
_CLAUSE = re.compile(r"[,;.!?:\n]|\bbut\b|\bso\b", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:not|cannot|nor|neither|without|rather than|instead of|unlike|rul(?:e|es|ed|ing) out|exclud\w+|eliminat\w+)\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\W*\s(?:is|are|was|would be|can be|seems|looks)\s+(?:\w+\s+)?(?:wrong|incorrect|not|false|excluded|ruled out)\b"
    r"|\W*\s(?:is|are|was)n['’]t\b",
    re.IGNORECASE,
)
_CONNECTED = r"(?:is|was|or|and|nor|but|because|since|as|seems|looks|fits|would|with|then|for|again|instead|here)\b"


@dataclass(frozen=True)
class Parsed:
    """What was settled on; ``value`` is None where nothing was, and ``why`` says so in few words."""

    value: str | None
    why: str = ""


EMPTY, NOTHING, SEVERAL, DISAGREE, HEDGED = (
    "no answer",
    "nothing is named",
    "more than one is named",
    "letter and text disagree",
    "only hedged",
)


def options_in(question: str) -> tuple[str, ...]:
    """The options that a question lists as ``A) … B) …``, ``(A) …`` or ``A. …``; () where it lists none from A on."""
    marks = list(_LISTED.finditer(question))
    for first in range(len(marks)):
        run = marks[first:]
        letters = "".join(mark[1] for mark in run)
        if len(letters) > 1 and LETTERS.startswith(letters):
            ends = [mark.start() for mark in run[1:]] + [len(question)]
            told = tuple(question[m.end() : end].strip(" \n,;/") for m, end in zip(run, ends, strict=True))
            return told if all(told) else ()
    return ()


def letter_of(reference: str, options: Sequence[str]) -> str | None:
    """The right letter of a reference that is a letter, an option's text, or a sentence that settles on one."""
    plain = normalise(reference)
    for letter, option in zip(LETTERS, options, strict=False):
        if plain and plain == normalise(option):
            return letter
    return chosen(reference, options).value


def chosen(answer: str, options: Sequence[str]) -> Parsed:
    """The letter that an answer settles on.

    Read in this order, each only where what came before found nothing: the whole answer; what is announced as the
    answer, the last time if several; letters that stand as such; texts of options. Negated ones do not count.
    """
    text, options = MARKS.sub(" ", answer).strip(), options[: len(LETTERS)]
    letters = LETTERS[: len(options)] if options else LETTERS[:4]
    if not text:
        return Parsed(None, EMPTY)
    settled = _whole(text, letters, options) or _announced(text, letters, options)
    if settled:
        return Parsed(settled)
    named, told = _letters(text, letters), _texts(text, options)
    if named and len(told) == 1 and named != told:
        return Parsed(None, SEVERAL if len(named) > 1 else DISAGREE)
    found = named or told
    if len(found) == 1:
        return Parsed(found.pop())
    return Parsed(None, SEVERAL if found else HEDGED if HEDGE.search(text) else NOTHING)


def _whole(text: str, letters: str, options: Sequence[str]) -> str | None:
    """An answer that is nothing but a letter or one option's text."""
    letter = re.fullmatch(rf"\W*(?:option|answer|choice)?\W*([{letters}])\W*", text, re.IGNORECASE)
    same = [c for c, option in zip(letters, options, strict=False) if normalise(text) == normalise(option)]
    return letter[1].upper() if letter else same[0] if len(same) == 1 else None


def _announced(text: str, letters: str, options: Sequence[str]) -> str | None:
    """What the last "the answer is …" announces, if that is one thing."""
    for found in reversed(list(re.finditer(rf"\b{FINAL}{SAYS}", text, re.IGNORECASE))):
        said = re.split(r"[.!?;](?:\s|$)|\n", text[found.end() :], maxsplit=1)[0]
        first = re.match(rf"(?:option |choice )?\(?([{letters}])(?![\w'’])", said)
        other = set(re.findall(rf"\b(?:or|and)\s+\(?([{letters}])(?!\w)", said))
        if first and not other:
            return first[1]
        named = _texts(said, options)
        if not first and len(named) == 1:
            return next(iter(named))
    return None


def _letters(text: str, letters: str) -> set[str]:
    """Letters that stand as such, or in brackets; negated ones left out.

    A bare A is an article, too: it counts before a mark, at the end, and before words that no noun begins with.
    """
    small = letters.lower()
    bracketed = re.finditer(rf"(?<![\w.])\(?([{letters}{small}])\)", text)
    bare = re.finditer(rf"(?<![\w.'’°-])(?<!\d )([{letters}])(?![\w'’)-]|\.\w)", text)
    counts = [m for m in bare if m[1] != "A" or re.match(rf"\W*$|\s*[^\w\s]|\s+{_CONNECTED}", text[m.end() :])]
    return {m[1].upper() for m in (*bracketed, *counts) if not _negated(text, m.start(), m.end())}


def _texts(text: str, options: Sequence[str]) -> set[str]:
    """Letters of options whose texts are said; a longer option hides a shorter one within it (Guinea in Papua …)."""
    plain = _folded(text)
    said: set[str] = set()
    wanted = [re.findall(r"\w+", _folded(option)) for option in options]
    for index in sorted(range(len(wanted)), key=lambda i: -len(" ".join(wanted[i]))):
        if not wanted[index]:
            continue
        pattern = r"\W+".join(map(re.escape, wanted[index]))
        for found in list(re.finditer(rf"(?<!\w){pattern}(?!\w)", plain)):
            if not _negated(plain, found.start(), found.end()):
                said.add(LETTERS[index])
            plain = plain[: found.start()] + "\0" * len(found[0]) + plain[found.end() :]
    return said


def _folded(text: str) -> str:
    """Without case and accents, marks kept."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(c))


def _negated(text: str, start: int, end: int) -> bool:
    """Whether what stands at ``start:end`` is denied: a negation before it in its clause, or "… is wrong" after it."""
    clause = _CLAUSE.split(text[max(0, start - 80) : start])[-1]
    return bool(_NOT.search(clause) or _WRONG.match(text[end:]))
