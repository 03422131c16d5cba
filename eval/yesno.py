"""True or false, read out of words without a judge: yes, not correct, it isn't, so no, and their like.

As with choices (:mod:`gaea.eval.choices`), an answer counts only when it settles on one thing.
"""

from __future__ import annotations

import re

from gaea.eval.choices import EMPTY, FINAL, HEDGE, HEDGED, MARKS, NOTHING, SAYS, SEVERAL, Parsed

_YES = r"(?:true|yes|yeah|yep|correct|right|affirmative|accurate)"
_NO = r"(?:false|no|nope|incorrect|wrong|untrue|negative|inaccurate)"
_ECHO = re.compile(r"\btrue\s*(?:or|/)\s*false\b|\byes\s*(?:or|/)\s*no\b", re.IGNORECASE)
_NEITHER = re.compile(r"\bneither\s+(?:true|yes|correct)\s+nor\b|\bboth\s+(?:true|yes)\s+and\b", re.IGNORECASE)
_HENCE = r"(?:so|hence|thus|therefore)"
_STATED = re.compile(
    rf"\b(?:{FINAL}{SAYS}|(?:statement|claim|that|this|it|which)(?:\s+(?:is|was)|['’]s)\s+|{_HENCE},?\s+)"
    rf"(?P<not>not\s+)?(?:(?:completely|entirely|indeed|clearly|probably|likely|actually|therefore)\s+)*"
    rf"(?P<word>{_YES}|{_NO})\b(?!\s+(?:side|hand|north|colou?r|coast\w*|land|other|one)\b)",
    re.IGNORECASE,
)
_ISNT = re.compile(
    r"\b(?:is|was)n['’]?t\s+(?P<word>true|correct|right|false|wrong|accurate|incorrect)\b", re.IGNORECASE
)
_LOOSE = re.compile(
    r"(?P<not>\bnot\s+)?\b(?P<word>true|false|untrue|yes|nope|yeah|incorrect|no(?=\W*$|[.,;!]))\b(?!\s+(?:north|colou?r))",
    re.IGNORECASE,
)


def verdict(answer: str) -> Parsed:
    """``true`` or ``false``, as an answer says of a statement, in whichever words (yes, not correct, isn't true …).

    Read in this order: the whole answer or its first word; what is announced, the last time if several; any such word.
    """
    text = _ECHO.sub(" ", MARKS.sub(" ", answer)).strip()
    if not text:
        return Parsed(None, EMPTY)
    if _NEITHER.search(text):
        return Parsed(None, HEDGED)
    text = re.sub(r"\bpart(?:ly|ially) (?:true|false|correct|right)|\bhalf[- ]true", " ", text, flags=re.IGNORECASE)
    opened = re.match(rf"\W*(?P<not>not\s+)?(?P<word>{_YES}|{_NO})\s*(?:[.,;:!–—-]|$|\n)", text, re.IGNORECASE)
    stated = [_truth(m) for m in (*_STATED.finditer(text), *_ISNT.finditer(text))]
    if opened:
        first = _truth(opened)
        # "Yes, that is false" says two things; "False. It is true that …" is not taken apart further.
        return Parsed(None, SEVERAL) if stated and first not in stated else Parsed(first)
    said = set(stated[-1:]) if _final_stated(text) else set(stated)
    said = said or {_truth(m) for m in _LOOSE.finditer(text)}
    if len(said) == 1:
        return Parsed(said.pop())
    return Parsed(None, SEVERAL if said else HEDGED if HEDGE.search(answer) else NOTHING)


def _final_stated(text: str) -> bool:
    """Whether the last thing stated is announced as the answer or follows from what was said before it."""
    found = list(_STATED.finditer(text))
    return bool(found) and bool(re.match(rf"\W*(?:{FINAL}|{_HENCE})\b", found[-1][0], re.IGNORECASE))


def _truth(found: re.Match[str]) -> str:
    positive = bool(re.fullmatch(_YES, found["word"], re.IGNORECASE))
    negated = "n't" in found[0].casefold().replace("’", "'")[:8] or bool(found.groupdict().get("not"))
    return "true" if positive != negated else "false"
