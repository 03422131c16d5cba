"""Choices and verdicts with the fact first: "pharmacy, so B." and "north-east, so no".

A small model that has to begin with the letter must know the fact and compare names before its first word. Said first,
the fact is learned as any other answer, and what follows from it needs no learning: :mod:`gaea.concluding` holds the
conclusion to the fact. Rows keep GAEA's own answers; this is how they are taught (``concludes`` of a recipe).
"""

from __future__ import annotations

from collections.abc import Sequence

from gaea.errors import InputError
from gaea.finetune.dataset import Example
from gaea.finetune.questions import CHOICE, TRUE_FALSE, Item, item_of_example
from gaea.finetune.solving import FACT_SKILLS
from gaea.finetune.wording import LETTERS, octant
from gaea.speech import CONCLUDES, Conclusion


def fact_first(item: Item) -> str | None:
    """An item's answer with the fact before the conclusion; None where no single fact decides, or for other types.

    What a reader of names would not conclude rightly from the fact (:class:`gaea.speech.Conclusion`) is left as it is.
    """
    if item.question_type == CHOICE:
        value, verdict = item.key, LETTERS[item.options.index(item.key)]
    elif item.question_type == TRUE_FALSE:
        value, verdict = _true_value(item), "yes" if item.key == "True" else "no"
    else:
        return None
    if not value or Conclusion(item.question).follows([value]) != (verdict,):
        return None
    return f"{value},{CONCLUDES} {verdict}."


def _true_value(item: Item) -> str:
    """What is true of that which a statement speaks of; empty where it is no single name."""
    if item.skill in FACT_SKILLS:
        accepted = [text for fact in item.facts if fact.name == item.skill for text in fact.accepted]
        claim = str(item.params["claim"])
        return claim if claim in accepted else (accepted or [""])[0]
    about = str(item.params.get("about", ""))
    if item.skill == "is kind":
        return str(item.value("kind", about))
    return octant(float(item.value("bearing_deg", about))) if item.skill == "is direction" else ""


def taught(rows: Sequence[Example]) -> list[Example]:
    """The rows with their answers fact first where that is possible; others, and rows of strangers, as they are."""
    return [_taught(row) for row in rows]


def _taught(row: Example) -> Example:
    try:
        answer = fact_first(item_of_example(row))
    except InputError:
        return row
    return row if answer is None else row.replied(answer)
