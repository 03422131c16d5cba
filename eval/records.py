"""What an examination is made of: items that are asked, predictions that were made of them, and the header of a run.

All three are plain values with a JSON form, one line each. A run is a folder of them: ``header.json``, ``items.jsonl``
(what was asked, so that scoring needs neither benchmark nor pictures), ``predictions.jsonl`` (appended as they come,
one line an item), later ``verdicts.jsonl`` and ``scores.json``; see :mod:`gaea.eval.runs`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from gaea.errors import InputError

Kind: TypeAlias = Literal["locate", "ask"]
QuestionType: TypeAlias = Literal["location", "short", "long", "choice", "true_false"]
Status: TypeAlias = Literal["answered", "abstained", "refused", "unparsable", "error", "missing"]
KINDS: tuple[str, ...] = get_args(Kind)
QUESTION_TYPES: tuple[str, ...] = get_args(QuestionType)
STATUSES: tuple[str, ...] = get_args(Status)
MASSES = (50, 90)
"""Of the regions whose coverage and area are kept, percent."""


@dataclass(frozen=True)
class GroundTruth:
    """What is true of an item, as far as its benchmark says.

    Attributes:
        lat: Degrees, WGS84; None where only names are known.
        lon: Likewise.
        country: Name or ISO 3166-1 code, as the benchmark has it.
        region: First-level division, likewise.
        city: Likewise.
        answer: Reference answer to the question; of a choice the letter or the text, of true/false ``true``/``false``.
        choices: What may be chosen from, in the order shown.
        facts: ``(name, value, source)`` that hold at the place, for checking what is claimed.
    """

    lat: float | None = None
    lon: float | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    answer: str | None = None
    choices: tuple[str, ...] = ()
    facts: tuple[tuple[str, str, str], ...] = ()

    def __post_init__(self) -> None:
        _check_place("truth", self.lat, self.lon)
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "facts", tuple((str(n), str(v), str(s)) for n, v, s in self.facts))

    @property
    def point(self) -> tuple[float, float] | None:
        """(lat_deg, lon_deg), or None."""
        return None if self.lat is None or self.lon is None else (self.lat, self.lon)


@dataclass(frozen=True)
class Item:
    """One thing that is asked of a system.

    Attributes:
        id: Unique within the benchmark.
        benchmark: Its name.
        kind: ``locate`` wants a place, ``ask`` an answer in words.
        image: Path relative to the benchmark's root, or the key of a generator; None where there is no picture.
        question: What is asked.
        question_type: Of a conversational item; None where only a place is wanted.
        truth: What is true.
        strata: Names of groups it is counted in beside the whole, by dimension (``continent``: ``Africa``).
        place: Items of one place depend on each other: the unit of the bootstrap.
        split: ``seen``, ``unseen``, ``test`` …
    """

    id: str
    benchmark: str
    kind: Kind
    image: str | None = None
    question: str = ""
    question_type: QuestionType | None = None
    truth: GroundTruth = field(default_factory=GroundTruth)
    strata: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        _check_one_of("kind", self.kind, KINDS)
        if self.question_type is not None:
            _check_one_of("question_type", self.question_type, QUESTION_TYPES)
        if not self.id:
            raise InputError(f"an item of {self.benchmark} has no id")
        object.__setattr__(self, "place", self.place or self.id)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what is empty is left out."""
        return _lean(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Item:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            InputError: A field is missing, unknown or holds what it cannot.
        """
        return _build(cls, {**told, "truth": _build(GroundTruth, told.get("truth") or {})})


@dataclass(frozen=True)
class Prediction:
    """What a system made of one item.

    Attributes:
        id: The item's.
        status: ``abstained`` knew that it does not know, ``refused`` would not say, of ``unparsable`` words nothing
            could be read, ``error`` failed on the way, ``missing`` was never made.
        text: The answer in words.
        lat: Degrees, WGS84. An abstained prediction may keep the point that was given when asked to guess.
        lon: Likewise.
        radius_km: By 50 and 90: a circle about the point that holds so much of the belief.
        covered: By 50 and 90: whether the region of that mass holds the truth.
        area_km2: By 50 and 90: of those regions.
        needed: Mass that the belief's region needs to hold the truth, 0 to 1 (:func:`gaea.conformal.mass_to_reach`).
        log_score: Natural logarithm of the density at the truth, per km².
        cells: Token of the belief's most probable S2 cell, by level.
        country: That was named.
        city: That was named.
        seconds: That it took.
        error: What went wrong, one line.
        raw: What the model sent, where that is not ``text``.
    """

    id: str
    status: Status
    text: str = ""
    lat: float | None = None
    lon: float | None = None
    radius_km: Mapping[int, float] | None = None
    covered: Mapping[int, bool] | None = None
    area_km2: Mapping[int, float] | None = None
    needed: float | None = None
    log_score: float | None = None
    cells: Mapping[int, str] | None = None
    country: str | None = None
    city: str | None = None
    seconds: float = 0.0
    error: str | None = None
    raw: str | None = None

    def __post_init__(self) -> None:
        _check_one_of("status", self.status, STATUSES)
        _check_place(f"prediction {self.id}", self.lat, self.lon)
        for name in ("radius_km", "covered", "area_km2", "cells"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, {int(key): each for key, each in value.items()})

    @property
    def point(self) -> tuple[float, float] | None:
        """(lat_deg, lon_deg), or None."""
        return None if self.lat is None or self.lon is None else (self.lat, self.lon)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what is empty is left out."""
        return _lean(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Prediction:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            InputError: A field is missing, unknown or holds what it cannot.
        """
        return _build(cls, told)


@dataclass(frozen=True)
class RunHeader:
    """What has to be known to make a run again.

    Attributes:
        benchmark: Its name.
        version: Of the benchmark.
        data_sha256: Of its items (ids, questions, truths), in order.
        system: Its name.
        settings: Resolved ones of system and benchmark (limit, shard and root among them).
        seed: Of everything that draws.
        hashes: ``model``, ``prompt``, ``index`` … as far as the system has them.
        git_commit: Of the program, with ``+`` where the tree was changed; '' where it is not known.
        contract: The evaluation contract that it is scored by.
        started: ISO 8601, UTC.
    """

    benchmark: str
    version: str
    data_sha256: str
    system: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    hashes: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    contract: str = ""
    started: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, every field."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> RunHeader:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            InputError: A field is missing or unknown.
        """
        return _build(cls, told)


def line(record: Item | Prediction) -> str:
    """One line of JSON, UTF-8 characters kept, with its newline; NaN and infinity are refused with a ValueError."""
    return json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _lean(record: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        value = _lean(value) if dataclasses.is_dataclass(value) else value
        if each.name in ("id", "benchmark", "kind", "status") or value not in (None, "", (), {}, 0.0):
            told[each.name] = value
        elif value == 0.0 and each.name in ("lat", "lon", "log_score", "needed"):
            told[each.name] = value  # the equator is a place
    return told


def _build(kind: Any, told: Mapping[str, Any]) -> Any:
    try:
        return kind(**told)
    except (TypeError, AttributeError) as error:
        raise InputError(f"not a valid {kind.__name__}: {error}; see gaea.eval.records") from error


def _check_one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} {value!r} is not one of {', '.join(known)}")


def _check_place(name: str, lat: Any, lon: Any) -> None:
    """Both numbers in range, or both None."""
    if lat is None and lon is None:
        return
    good = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (lat, lon))
    if not (good and math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180):
        raise InputError(f"{name}: lat {lat!r} and lon {lon!r} are no coordinates; expected degrees, ±90 and ±180")
