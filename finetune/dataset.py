"""GAEA's own dataset format: what a row of it is, what is wrong with one, and what it says whichever file it lies in.

Four kinds of row are published (UCF-CRCV/GAEA): *train* ``{image, dataset, question_type, conversations}``, *benchmark*
``{image, unique_id, question_type, conversations}``, *predictions* ``{filename, predicted_answer, ground_truth,
question, question_type, unique_id}``, and the *hub* columns ``image, question, answer, lat, lon, location,
question_type, subset``, one question each. A row is a plain dict, so that what this module does not know is kept as it
is. :class:`Example` is what the conversational kinds have in common.

What our own generator knows besides (place, facts, sources) rides along under the one key :data:`OURS`, which the
published trainer and scorer do not look at.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from gaea.errors import InputError

Row: TypeAlias = dict[str, Any]

OURS = "gaea"
IMAGE_TAG = "<image>"
HUMAN, MODEL = "human", "gpt"

# The codes of the published trainer, and what its paper calls them.
QUESTION_TYPES: Mapping[str, str] = {
    "LOC": "location",
    "LVQA": "long",
    "SVQA": "short",
    "MCQ": "multiple choice",
    "TF": "true/false",
    "GEN": "general",
}


class Kind(enum.StrEnum):
    """Which of the published formats a row has."""

    TRAIN = "train"
    BENCHMARK = "benchmark"
    PREDICTIONS = "predictions"
    HUB = "hub"


FIELDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TRAIN: ("image", "dataset", "question_type", "conversations"),
    Kind.BENCHMARK: ("image", "unique_id", "question_type", "conversations"),
    Kind.PREDICTIONS: ("filename", "predicted_answer", "ground_truth", "question", "question_type", "unique_id"),
    Kind.HUB: ("image", "question", "answer", "lat", "lon", "location", "question_type", "subset"),
}

_COLUMNS = ("lat", "lon", "location")  # of the hub; elsewhere they lie among our facts


def kind_of(row: Mapping[str, Any]) -> Kind:
    """The kind whose fields a row has most of.

    Raises:
        InputError: It has none of any kind's own fields.
    """
    share = {kind: sum(name in row for name in names) / len(names) for kind, names in FIELDS.items()}
    best = max(share, key=share.__getitem__)
    if share[best] < 0.5:
        raise InputError(
            f"a row with the fields {', '.join(row) or 'none'} is of no GAEA format: see gaea.finetune.dataset"
        )
    return best


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said; ``speaker`` is ``human`` or ``gpt``, ``text`` may hold :data:`IMAGE_TAG`."""

    speaker: str
    text: str

    @property
    def spoken(self) -> str:
        """The text without image tags."""
        return self.text.replace(IMAGE_TAG + "\n", "").replace(IMAGE_TAG, "")


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation about pictures.

    Attributes:
        images: Paths or names, as found; where the bytes lie inside the file, the name that goes with them.
        question_type: A code of :data:`QUESTION_TYPES`.
        turns: Human and model in turn; the first text holds a tag for each picture.
        dataset: Where the pictures come from (``MP16``, ``GLDv2``, ``CityGuessr``); '' where the kind does not say.
        unique_id: The benchmark's, None where there is none.
        ours: What lies under :data:`OURS`: ``lat``, ``lon`` (degrees), ``location``, ``country`` (ISO 3166-1 alpha-2),
            ``facts``, ``sources`` (name, licence, credit each), ``sha256``, ``phash``; all optional.
        other: Fields of the row that no published format has.
    """

    images: tuple[str, ...]
    question_type: str
    turns: tuple[Turn, ...]
    dataset: str = ""
    unique_id: str | int | None = None
    ours: Mapping[str, Any] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The first question, without image tags."""
        return self.turns[0].spoken

    @property
    def answer(self) -> str:
        """The first answer."""
        return self.turns[1].text

    @property
    def place(self) -> tuple[float, float] | None:
        """(lat_deg, lon_deg), or None where the row does not tell."""
        return place(self.ours)

    def replied(self, answer: str) -> Example:
        """The same with another first answer."""
        return replace(self, turns=(self.turns[0], replace(self.turns[1], text=answer), *self.turns[2:]))

    def pairs(self) -> Iterator[tuple[Turn, Turn]]:
        """Each question with its answer."""
        return zip(self.turns[::2], self.turns[1::2], strict=True)


def place(told: Mapping[str, Any]) -> tuple[float, float] | None:
    """(lat_deg, lon_deg) of anything with ``lat`` and ``lon``, numbers or strings; None where either is empty.

    Raises:
        InputError: They are no coordinates.
    """
    lat, lon = told.get("lat"), told.get("lon")
    if lat in (None, "") or lon in (None, ""):
        return None
    try:
        if isinstance(lat, bool) or isinstance(lon, bool):
            raise TypeError
        lat_deg, lon_deg = float(lat), float(lon)  # type: ignore[arg-type] # what is no number raises
    except (TypeError, ValueError):
        raise InputError(f"lat {lat!r} and lon {lon!r} are no numbers") from None
    if not (math.isfinite(lat_deg) and math.isfinite(lon_deg) and abs(lat_deg) <= 90 and abs(lon_deg) <= 180):
        raise InputError(f"lat {lat!r} and lon {lon!r} are out of range")
    return lat_deg, lon_deg


def image_names(value: Any) -> tuple[str, ...]:
    """Names of the pictures in an ``image`` field: a path, a list of them, or the hub's bytes with a path."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return (str(value.get("path") or ""),)
    return tuple(name for one in value or () for name in image_names(one))


def example_of(row: Mapping[str, Any], kind: Kind | None = None) -> Example:
    """What a sound row of any kind says (see :mod:`gaea.finetune.faults` for what is not sound).

    A hub row's coordinates and location come under ``ours``, as the strings they are, so that nothing is lost on the
    way back; a prediction's ground truth is its answer.
    """
    kind = kind or kind_of(row)
    known = FIELDS[kind]
    ours = dict(row.get(OURS) or {})
    other = {name: value for name, value in row.items() if name not in known and name != OURS}
    if kind is Kind.PREDICTIONS:
        turns = _asked(row["question"], row["ground_truth"], 1)
        return Example((row["filename"],), row["question_type"], turns, "", row["unique_id"], ours, other)
    if kind is Kind.HUB:
        images = image_names(row["image"])
        other = {name: value for name, value in other.items() if value is not None}  # a column is never left out
        ours |= {name: row[name] for name in _COLUMNS if name not in ours and row[name] not in (None, "")}
        turns = _asked(row["question"], row["answer"], len(images))
        return Example(
            images, row["question_type"], turns, row["subset"] or "", other.pop("unique_id", None), ours, other
        )
    turns = tuple([Turn(turn["from"], turn["value"]) for turn in row["conversations"]])
    dataset, unique_id = (row.get(name, other.pop(name, None)) for name in ("dataset", "unique_id"))
    other.pop("dataset", None)
    other.pop("unique_id", None)
    return Example(image_names(row.get("image")), row["question_type"], turns, dataset or "", unique_id, ours, other)


def rows_of(example: Example, kind: Kind) -> list[Row]:
    """An example as rows of a kind, fields in the published order; several where the hub splits a conversation.

    Raises:
        InputError: Predictions are asked for, which only a model makes; or a benchmark row without ``unique_id``.
    """
    ours = {OURS: dict(example.ours)} if example.ours else {}
    if kind is Kind.PREDICTIONS:
        raise InputError("predictions come from a model, not from another file: convert to train, benchmark or hub")
    if kind is Kind.HUB:
        return [_hub_row(example, question, answer) for question, answer in example.pairs()]
    image = {"image": example.images[0] if len(example.images) == 1 else list(example.images)} if example.images else {}
    said = [{"from": turn.speaker, "value": turn.text} for turn in example.turns]
    named: Row = {"dataset": example.dataset}
    extra: Row = {} if example.unique_id is None else {"unique_id": example.unique_id}
    if kind is Kind.BENCHMARK:
        if example.unique_id is None:
            raise InputError("a benchmark row has a unique_id, and this example has none: number the examples first")
        named, extra = extra, {"dataset": example.dataset} if example.dataset else {}
    return [
        {
            **image,
            **named,
            "question_type": example.question_type,
            "conversations": said,
            **extra,
            **example.other,
            **ours,
        }
    ]


def _hub_row(example: Example, question: Turn, answer: Turn) -> Row:
    columns = {name: "" if (value := example.ours.get(name)) is None else str(value) for name in _COLUMNS}
    # What a column says to the letter needs no second place; a number does, because a column holds text.
    told = {name: value for name, value in example.ours.items() if name not in _COLUMNS or not isinstance(value, str)}
    extra: Row = {} if example.unique_id is None else {"unique_id": str(example.unique_id)}
    return {
        "image": example.images[0] if example.images else "",
        "question": question.spoken,
        "answer": answer.text,
        **columns,
        "question_type": example.question_type,
        "subset": example.dataset,
        **extra,
        **example.other,
        **({OURS: told} if told else {}),
    }


def _asked(question: str, answer: str, images: int) -> tuple[Turn, Turn]:
    missing = max(images - question.count(IMAGE_TAG), 0)
    return Turn(HUMAN, (IMAGE_TAG + "\n") * missing + question), Turn(MODEL, answer)
