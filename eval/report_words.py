"""The tables of a report about answers in words: marks by judge, whether the judge can be trusted, and claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gaea.eval import figures
from gaea.eval.figures import Cell, Table, count, share
from gaea.eval.report_data import Examined, Section
from gaea.eval.report_tables import row_of
from gaea.eval.verdicts import GOOD

TYPES = {"long": "long", "short": "short", "choice": "choice", "true_false": "true/false", "location": "location"}


def words(section: Section) -> Iterator[Table]:
    """Marks by type; one table a judge, the lexical judge's by itself."""
    judges = dict.fromkeys(each.judged["judge"] for each in section.examined if each.judged.get("scores"))
    for judge in judges:
        mine = [each for each in section.examined if each.judged.get("judge") == judge]
        yield _marks(f"Answers in words, judged by {judge}", section, [(each, each.judged) for each in mine])
        yield from _checks(mine)
    if lexical := [(each, each.lexical) for each in section.examined if each.lexical.get("scores")]:
        yield _marks("Answers in words, lexical: not judged", section, lexical)
    failed = [
        (each, told) for each in section.examined for told in (each.judged or each.lexical,) if told.get("scores")
    ]
    rows: list[tuple[Cell, ...]] = [
        (each.name, TYPES[kind], str(row["by"]), name, count(times))
        for each, told in failed
        for kind, row in told["scores"].items()
        for name, times in row["outcomes"].items()
        if name not in GOOD
    ]
    if rows:
        yield Table("What could not be marked, and counts as 0", ("system", "type", "by", "why", "n"), tuple(rows))
    yield from _claims(section)


def _marks(title: str, section: Section, found: Sequence[tuple[Examined, Mapping[str, Any]]]) -> Table:
    kinds = [kind for kind in TYPES if any(kind in told["scores"] for _, told in found)]
    rows = []
    for each, told in found:
        marks = [figures.mark(told["scores"].get(kind, {}).get("score")) for kind in kinds]
        means = [figures.mark(told.get(f"mean of {of}")) for of in ("types", "questions")]
        rows.append((each.name, f"{told['n']:,}", *marks, *means))
    heads = ("system", "n", *(TYPES[kind] for kind in kinds), "mean of types", "mean of questions")
    label = f"{found[0][1]['label'].capitalize()}. 0 to 100: mean mark × 10."
    return Table(title, heads, tuple(rows), label, row_of(section, [each for each, _ in found]))


def _checks(mine: Sequence[Examined]) -> Iterator[Table]:
    rows: list[tuple[Cell, ...]] = []
    for each in mine:
        checks = dict(each.judged.get("checks", {}))
        both = checks.pop("two judges", {}).get("all")
        beside = {
            "second judge": both,
            "order swapped": checks.get("order swapped"),
            "said twice": checks.get("said twice"),
        }
        for name, told in beside.items():
            if told and told["n"]:
                numbers = [_decimal(told[key]) for key in ("kappa", "pearson", "mean_difference", "mean_apart")]
                rows.append((each.name, name, count(told["n"]), *numbers, _percent(told["within_one"])))
        length = checks.get("length") or {}
        if length.get("pearson") is not None:
            rows.append(
                (each.name, "length of answers", count(length["n"]), "", _decimal(length["pearson"]), "", "", "")
            )
    heads = ("system", "check", "n", "quadratic kappa", "Pearson", "mean difference", "mean apart", "within one mark")
    if rows:
        note = (
            "Of marks from 0 to 10. An even-handed judge keeps them when the order changes or an answer is said twice."
        )
        yield Table("Can the judge be trusted?", heads, tuple(rows), note)


def _claims(section: Section) -> Iterator[Table]:
    rows: list[tuple[Cell, ...]] = []
    for each in section.examined:
        told = (each.judged or each.lexical).get("claims") or {}
        if told:
            counts = [count(told[name]) for name in ("supported", "unsupported", "contradicted")]
            rows.append((each.name, count(told["answers"]), *counts, share(told["precision"])))
    if rows:
        yield Table(
            "Statements against the facts of their items",
            ("system", "answers", "supported", "unsupported", "contradicted", "supported of decided"),
            tuple(rows),
            "Counted by a program that reads words; what the facts do not speak of is unsupported, not wrong.",
        )


def _decimal(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{100 * value:.0f} %"
