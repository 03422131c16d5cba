"""Single answers that are worth looking at: the worst and the best of a run, and small splits one by one.

Pictures come from the benchmark itself, are embedded small and without metadata, and are only ever written into a page
that somebody asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from gaea.app import backdrop
from gaea.errors import GaeaError
from gaea.eval.answers import Answers
from gaea.eval.metrics import FARTHEST_KM
from gaea.eval.records import Item, Prediction
from gaea.eval.report_data import Examined
from gaea.eval.verdicts import LEXICAL, PARSER, Verdict
from gaea.photo import Photo

Picture = Callable[[Item], Photo]

FEW = 12
"""Splits of at most so many places are shown one by one."""

SHOWN = 6
THUMBNAIL_PX = (300, 220)


@dataclass(frozen=True)
class Case:
    """One item and what was made of it.

    Attributes:
        item: What was asked.
        made: What was answered.
        error_km: How far off; None where no place is asked, the farthest where none was given.
        mark: 0 to 100 of an answer in words; None where there is none.
        why: Of the mark.
        picture: As a data URI; None where it cannot be opened.
    """

    item: Item
    made: Prediction
    error_km: float | None = None
    mark: float | None = None
    why: str = ""
    picture: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the picture."""
        truth, made = self.item.truth, self.made
        told: dict[str, Any] = {"id": self.item.id, "split": self.item.split, "status": made.status}
        if self.error_km is not None:
            told |= {
                "truth": truth.point,
                "answer": made.point,
                "error_km": round(self.error_km, 1),
                "in the 90 % region": made.covered.get(90) if made.covered else None,
            }
        if self.mark is not None:
            told |= {"question": self.item.question, "reference": truth.answer, "said": made.text, "mark": self.mark}
        return told


def groups(examined: Examined, picture: Picture | None) -> dict[str, tuple[Case, ...]]:
    """Cases by what they are shown for; empty groups are left out.

    Args:
        examined: A run with its marks.
        picture: Opens the picture of an item; None embeds none.
    """
    located = [(item, made) for item, made in examined.run.pairs() if item.kind == "locate" and item.truth.point]
    found: dict[str, tuple[Case, ...]] = {}
    if located:
        few = _small_splits(located)
        far = Answers.of(located).error_km
        cases = [Case(item, made, float(km)) for (item, made), km in zip(located, far, strict=True)]
        found |= {
            f"One by one: {split}": tuple(case for case in cases if case.item.split == split) for split in sorted(few)
        }
        others = [case for case in cases if case.item.split not in few]
        given = sorted((c for c in others if c.error_km is not None and c.error_km < FARTHEST_KM), key=_by_error)
        found |= {"The best": tuple(given[:SHOWN]), "The worst": tuple(given[SHOWN:][::-1][:SHOWN])}
    spoken = _spoken(examined)
    found |= {"Words marked highest": spoken[:SHOWN], "Words marked lowest": spoken[SHOWN:][::-1][:SHOWN]}
    return {name: tuple(_seen(case, picture) for case in cases) for name, cases in found.items() if cases}


def astronaut_link(name: str) -> str | None:
    """Where NASA shows an astronaut's photograph (``ISS050-E-70536``); None for other names."""
    mission, _, rest = name.partition("-")
    roll, _, frame = rest.partition("-")
    if not (mission.startswith(("ISS", "STS")) and roll.isalnum() and frame.isdecimal()):
        return None
    return f"https://eol.jsc.nasa.gov/SearchPhotos/photo.pl?mission={mission}&roll={roll}&frame={frame}"


def _small_splits(located: Sequence[tuple[Item, Prediction]]) -> set[str]:
    names = [item.split for item, _ in located]
    splits = set(names)
    return {split for split in splits if names.count(split) <= FEW} if len(splits) > 1 else set()


def _by_error(case: Case) -> tuple[float, str]:
    return (case.error_km or 0.0, case.item.id)


def _spoken(examined: Examined) -> tuple[Case, ...]:
    """Answers in words by falling mark: of the model that judged, else the lexical ones; parsed ones are left out."""
    judge = examined.judged.get("judge") or LEXICAL
    marks: Mapping[str, Verdict] = {
        v.item: v for v in examined.verdicts if v.judge == judge and v.judge != PARSER and not v.probe
    }
    cases = [
        Case(item, made, mark=10 * marks[item.id].mark, why=_why(marks[item.id]))
        for item, made in examined.run.pairs()
        if item.id in marks and made.text.strip()
    ]
    return tuple(sorted(cases, key=lambda case: (-(case.mark or 0.0), case.item.id)))


def _why(verdict: Verdict) -> str:
    parts = ", ".join(f"{name} {value:g}" for name, value in verdict.parts.items() if value)
    return ": ".join(each for each in (verdict.outcome, verdict.detail or parts) if each)


def _seen(case: Case, picture: Picture | None) -> Case:
    return Case(case.item, case.made, case.error_km, case.mark, case.why, _thumbnail(case.item, picture))


def _thumbnail(item: Item, picture: Picture | None) -> str | None:
    if picture is None or item.image is None:
        return None
    try:
        image = picture(item).image()
    except GaeaError:
        return None
    image.thumbnail(THUMBNAIL_PX, Image.Resampling.LANCZOS)
    return backdrop.jpeg_uri(image.convert("RGB"), quality=72)


def ordered(found: Mapping[str, Sequence[Case]]) -> Iterator[tuple[str, Sequence[Case]]]:
    """One by one first, then worst before best."""
    rank = {"The worst": 1, "The best": 2, "Words marked lowest": 3, "Words marked highest": 4}
    yield from sorted(found.items(), key=lambda each: (rank.get(each[0], 0), each[0]))
