"""What is wrong with a row of a GAEA dataset, in one line each, and a tally of it over a file."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gaea.errors import InputError
from gaea.finetune.dataset import FIELDS, HUMAN, IMAGE_TAG, MODEL, OURS, QUESTION_TYPES, Kind, image_names, place

_KEPT = 20  # faults told in full; the others are counted


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with one row.

    Attributes:
        number: Of the row, from 1.
        line: Where it begins in a text file, from 1; 0 where there are no lines.
        name: The field it is about.
        problem: What came and what was expected, one line.
    """

    number: int
    line: int
    name: str
    problem: str

    def __str__(self) -> str:
        where = f"row {self.number:,}" + (f" (line {self.line:,})" if self.line else "")
        return f"{where}: {self.name}: {self.problem}" if self.name else f"{where}: {self.problem}"


@dataclass
class FaultLog:
    """Counts the faults of a file, and keeps the first few.

    Attributes:
        first: Whether to stop at the first one.
        kept: The first faults, in order.
        rows: How many rows have any.
        counts: Faults by field; '' for rows that could not be read at all.
    """

    first: bool = False
    kept: list[Fault] = field(default_factory=list)
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def note(self, faults: list[Fault]) -> None:
        """Take in all faults of one row.

        Raises:
            InputError: The first one, if that is where to stop.
        """
        if not faults:
            return
        if self.first:
            raise InputError(str(faults[0]))
        self.rows += 1
        self.counts.update(fault.name for fault in faults)
        self.kept.extend(faults[: max(_KEPT - len(self.kept), 0)])

    def lines(self) -> Iterator[str]:
        """The first faults, then how many there are of what."""
        yield from map(str, self.kept)
        total = sum(self.counts.values())
        if total > len(self.kept):
            yield f"and {total - len(self.kept):,} more"
        if total:
            told = ", ".join(f"{name or 'unreadable'} {n:,}" for name, n in self.counts.most_common())
            yield f"{self.rows:,} rows with faults: {told}"


def faults_of(row: Any, kind: Kind) -> list[tuple[str, str]]:
    """(field, problem) of all that is wrong with a row of a kind; empty where it is sound."""
    if not isinstance(row, dict):
        return [("", f"a {type(row).__name__} stands where a row with the fields {', '.join(FIELDS[kind])} belongs")]
    missing = [name for name in FIELDS[kind] if name not in row]
    if missing == ["image"] and row.get("question_type") == "GEN":  # which the published trainer takes without
        missing = []
    found = [(name, "is missing") for name in missing]
    for name, test in _TESTS[kind].items():
        if name in row and (problem := test(row[name])):
            found.append((name, problem))
    if not found and kind in (Kind.TRAIN, Kind.BENCHMARK):
        found += _tag_faults(row)
    if not found and kind is Kind.HUB:
        found += _place_faults(row)
    if OURS in row:
        found += _our_faults(row[OURS])
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return f"{_shown(value)} is no text"
    return "" if value.strip() else "is empty"


def _any_text(value: Any) -> str:
    return "" if isinstance(value, str) or value is None else f"{_shown(value)} is no text"


def _type(value: Any) -> str:
    if isinstance(value, str) and value in QUESTION_TYPES:
        return ""
    near = difflib.get_close_matches(str(value).upper(), QUESTION_TYPES, 1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(QUESTION_TYPES)}"
    return f"{_shown(value)} is unknown; {hint}"


def _identity(value: Any) -> str:
    return "" if isinstance(value, (str, int)) and value != "" else f"{_shown(value)} is neither text nor a number"


def _pictures(value: Any) -> str:
    several = isinstance(value, list) and value and all(isinstance(one, str) and one for one in value)
    return "" if several or (isinstance(value, str) and value) else f"{_shown(value)} is no path and no list of paths"


def _hub_picture(value: Any) -> str:
    # The hub keeps pictures as {bytes, path}; one without either shows nothing.
    if isinstance(value, Mapping):
        return "" if value.get("bytes") or value.get("path") else "has neither bytes nor a path"
    return _pictures(value)


def _predictions(value: Any) -> str:
    # The published model's answers are a list, those of others plain text; the published scorer reads both.
    several = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return "" if several or isinstance(value, str) else f"{_shown(value)} is no list of texts"


def _conversations(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return f"{_shown(value)} is no list of turns"
    for number, turn in enumerate(value, 1):
        if (
            not isinstance(turn, dict)
            or not isinstance(turn.get("from"), str)
            or not isinstance(turn.get("value"), str)
        ):
            return f"turn {number} is {_shown(turn)}, expected {{from, value}}"
        expected = MODEL if number % 2 == 0 else HUMAN
        if turn["from"] != expected:
            return f"turn {number} is {_shown(turn['from'])}'s, expected {expected}'s: {HUMAN} and {MODEL} alternate"
        if not turn["value"].strip():
            return f"turn {number} says nothing"
    return f"the last of {len(value)} turns is {HUMAN}'s: no answer" if len(value) % 2 else ""


def _tag_faults(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    pictures = len(image_names(row.get("image")))
    asked = "\0".join([turn["value"] for turn in row["conversations"][::2]])
    tags = asked.count(IMAGE_TAG)
    if tags != pictures:
        return [("conversations", f"{tags} {IMAGE_TAG} for {pictures} {'image' if pictures == 1 else 'images'}")]
    # The published trainer replaces the tag together with its newline, and shows no picture without.
    if asked.count(IMAGE_TAG + "\n") != tags:
        return [("conversations", f"{IMAGE_TAG} without a newline after it, which the published trainer overlooks")]
    if any(IMAGE_TAG in turn["value"] for turn in row["conversations"][1::2]):
        return [("conversations", f"{IMAGE_TAG} in an answer")]
    return []


def _our_faults(ours: Any) -> list[tuple[str, str]]:
    if not isinstance(ours, dict):
        return [(OURS, f"{_shown(ours)} is no object")]
    return [(f"{OURS}.{name}", problem) for name, problem in _place_faults(ours)]


def _place_faults(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    empty = [told.get(name) in (None, "") for name in ("lat", "lon")]
    if empty[0] != empty[1]:
        return [("lat" if empty[0] else "lon", "is empty where the other coordinate is not")]
    try:
        place(told)
    except InputError as error:
        return [("lat", str(error))]
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_TALK: dict[str, Callable[[Any], str]] = {
    "image": _pictures,
    "question_type": _type,
    "conversations": _conversations,
}
_TESTS: Mapping[Kind, dict[str, Callable[[Any], str]]] = {
    Kind.TRAIN: {**_TALK, "dataset": _text},
    Kind.BENCHMARK: {**_TALK, "unique_id": _identity},
    Kind.PREDICTIONS: {
        "filename": _text,
        "predicted_answer": _predictions,
        "ground_truth": _text,
        "question": _text,
        "question_type": _type,
        "unique_id": _identity,
    },
    Kind.HUB: {
        "image": _hub_picture,
        "question": _text,
        "answer": _text,
        "location": _any_text,
        "question_type": _type,
        "subset": _any_text,
    },
}
