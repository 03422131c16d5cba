"""A judge that is no model: word overlap with the reference, and the facts. For machines without one, and labelled so.

The mark is ``10 × (overlap + support) / 2``, where *overlap* is the F1 of the content words that answer and reference
share (as in SQuAD, Rajpurkar et al. 2016, §5), and *support* is ``(supported − contradicted) / (supported +
contradicted)`` of the answer's statements (:mod:`gaea.eval.claims`), at least 0; where the facts decide nothing, the
mark is ``10 × overlap``. It knows no synonyms and no grammar; its marks compare systems of one benchmark with each
other, and never stand in a table of judged ones.
"""

from __future__ import annotations

import re
from collections import Counter

from gaea.eval.claims import Claims, folded
from gaea.eval.verdicts import MOST

VERSION = "2"
"""Of the rules; a part of what verdicts are kept under."""

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an the this that these those it its is are was were be been being has have had do does did of in on at "
        "to from by with for as and or but so if then than there here which what who whom where when how i you he she "
        "they we my your his her their our me him them us also very can could may might would should will shall not no",
    )
)


def mark(answer: str, reference: str, claims: Claims) -> tuple[float, dict[str, float]]:
    """0 to 10, and what it was made of."""
    overlap = f1(answer, reference)
    good, bad = claims.count("supported"), claims.count("contradicted")
    parts = {"overlap": round(overlap, 4)}
    if not good + bad:
        return round(MOST * overlap, 4), parts
    support = max(0.0, (good - bad) / (good + bad))
    return round(MOST * (overlap + support) / 2, 4), parts | {"support": round(support, 4)}


def f1(answer: str, reference: str) -> float:
    """F1 of the content words of two texts, 0 to 1; a word said twice counts twice at most as often as in the other."""
    said, wanted = Counter(content(answer)), Counter(content(reference))
    shared = sum((said & wanted).values())
    if not shared:
        return 0.0
    precision, recall = shared / said.total(), shared / wanted.total()
    return 2 * precision * recall / (precision + recall)


def content(text: str) -> list[str]:
    """Words without case, accents and those that only hold a sentence together; all words if none is left."""
    words = re.findall(r"\w+", folded(text))
    return [word for word in words if word not in _STOP] or words
