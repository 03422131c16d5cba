"""The tables of a report, read from scores: places, names, regions, doubt, groups, differences, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gaea.eval import figures
from gaea.eval.figures import Cell, Table, count, km, km2, number, points, share
from gaea.eval.metrics import THRESHOLDS_KM
from gaea.eval.records import STATUSES
from gaea.eval.report_data import Examined, Section

_TOLD: Mapping[str, tuple[str, Callable[[Any], Cell]]] = {
    "median_km": ("median", km),
    **{f"within_{each}_km": (f"≤ {each:,} km", share) for each in THRESHOLDS_KM},
    "geoscore": ("GeoScore", points),
}
_NAMES = {"country": "country", "region": "region", "city": "city"}
_HEADS: Mapping[str, tuple[str, Callable[[Any], Cell]]] = {
    "geoscore": ("GeoScore", points),
    "country": ("country", share),
} | {f"within_{each}_km": (f"≤ {each:,} km", share) for each in (200, 2500)}


def asked(section: Section) -> Table:
    """What became of every item."""
    rows = [
        (each.name, count(each.scores["n"]["attempted"]), *(count(each.scores["n"].get(name)) for name in STATUSES))
        for each in section.examined
    ]
    note = "Nothing is left out: whatever is not answered counts as a miss. An abstained item keeps its guess."
    return Table("What was asked, and what became of it", ("system", "attempted", *STATUSES), tuple(rows), note, 0)


def places(section: Section) -> Iterator[Table]:
    """Distances, of all places and of each split."""
    yield from _places("Places", section, lambda scores: scores)
    splits = dict.fromkeys(name for each in section.examined for name in each.scores.get("splits", {}))
    for name in splits:
        yield from _places(f"Places: {name}", section, lambda scores, name=name: scores.get("splits", {}).get(name, {}))
    yield from _places("Location questions", section, lambda scores: {"places": scores.get("location questions", {})})


def _places(title: str, section: Section, part: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Iterator[Table]:
    found = [(each, part(each.scores).get("places") or {}) for each in section.examined]
    found = [(each, told) for each, told in found if told.get("median_km")]
    if found:
        rows = [
            (each.name, f"{told['n']:,}", *(tell(told.get(key)) for key, (_, tell) in _TOLD.items()))
            for each, told in found
        ]
        heads = ("system", "n", *(head for head, _ in _TOLD.values()))
        yield Table(title, heads, tuple(rows), mark=row_of(section, [each for each, _ in found]))


def names(section: Section) -> Iterator[Table]:
    """Countries, regions and cities, and S2 cells level by level."""
    found = [(each, each.scores.get("places", {})) for each in section.examined if each.scores.get("places")]
    shown = {key: head for key, head in _NAMES.items() if any(told.get(key) for _, told in found)}
    if shown:
        rows = [(each.name, *(share(told.get(key)) for key in shown)) for each, told in found]
        yield Table("Names", ("system", *shown.values()), tuple(rows), mark=row_of(section, [e for e, _ in found]))
    levels = [level for level in range(0, 21, 2) if any((told.get(f"s2_level_{level}") or [0])[0] for _, told in found)]
    if levels:
        rows = [
            (each.name, *(_plain(share(told.get(f"s2_level_{level}"))) for level in levels)) for each, told in found
        ]
        yield Table(
            "The right S2 cell, by level",
            ("system", *(str(level) for level in levels)),
            tuple(rows),
            "Share whose point lies in the cell that holds the truth; level 4 is about 580 km wide, 8 about 36 km.",
            row_of(section, [each for each, _ in found]),
        )


def regions(section: Section) -> Iterator[Table]:
    """Calibration: what the regions promised, and what came true."""
    found = [(each, told) for each in section.examined if (told := each.scores.get("calibration", {})).get("n")]
    if found:
        rows = [
            (
                each.name,
                f"{told['n']:,}",
                *(tell(told.get(f"{key}_{mass}{unit}")) for mass in (50, 90) for key, unit, tell in _REGIONS),
                number(told.get("bits_gained")),
                _error(told.get("reliability_error")),
                count(told.get("no_density")),
            )
            for each, told in found
        ]
        heads = ("system", "n", "50 % holds the truth", "its area", "90 % holds the truth", "its area")
        yield Table(
            "Regions",
            (*heads, "bits gained", "reliability error", "no density"),
            tuple(rows),
            "Areas are medians. Bits gained: log₂ of the density at the truth over that of a guess at random on the "
            "Earth (its negative log-likelihood in other units); reliability error: mean distance of the curve below "
            "from the diagonal; no density: places to which the belief gave none.",
            row_of(section, [each for each, _ in found]),
        )


_REGIONS = (("coverage", "", share), ("area", "_km2", km2))


def doubt(section: Section) -> Iterator[Table]:
    """Risk and coverage, and whether it was right to abstain."""
    rows: list[tuple[Cell, ...]] = []
    for each in section.examined:
        for wrong, told in _beyond(each.scores.get("doubt", {})):
            rows.append((each.name, wrong, *(share(told.get(key)) for key in ("aurc", "random", "oracle"))))
    if rows:
        yield Table(
            "Risk and coverage",
            ("system", "wrong is", "area under the curve", "without any order", "the best order"),
            tuple(rows),
            "The mean share of wrong answers among the surest ones, over all coverages; lower is better.",
        )
    rows = []
    heads = ("wrong among abstained", "wrong among given", "abstained among wrong", "abstained among right")
    for each in section.examined:
        told = each.scores.get("abstention", {})
        for wrong, values in _beyond(told):
            counts = (count(told["abstained"]), count(told["given"]))
            rows.append((each.name, *counts, wrong, *(share(values.get(key)) for key in heads)))
    if rows:
        yield Table("Abstention", ("system", "abstained", "given", "wrong is", *heads), tuple(rows))


def strata(section: Section) -> Iterator[Table]:
    """Groups of the first system, a table a dimension."""
    for dimension, groups in section.first.scores.get("strata", {}).items():
        rows = [
            (name, f"{told['n']:,}", *(tell(told.get(key)) for key, (_, tell) in _HEADS.items()))
            for name, told in groups.items()
        ]
        heads = (dimension, "n", *(head for head, _ in _HEADS.values()))
        yield Table(f"{section.first.name}, by {dimension}", heads, tuple(rows))


def comparison(told: Mapping[str, Any]) -> Table:
    """Which differences between two systems are real."""
    rows = []
    for name, row in told["scores"].items():
        tell = _TOLD.get(name, (name, share if row["one"] <= 1 and not name.endswith(")") else number))[1]
        head = _TOLD.get(name, (name.replace("_", " "), None))[0]
        change = _difference(name, row["difference"])
        who = told[row["better"]] if row["real"] else "not told apart"
        values = [figures.text_of(tell([row[side], [None, None]])) for side in ("one", "other")]
        rows.append((head, count(row["n"]), *values, change, _p(row["p"]), _p(row["p_adjusted"]), who))
    note = (
        f"{told['n']:,} items of {told['places']:,} places that both were asked; differences are {told['one']} minus "
        f"{told['other']}; {told['method']}; "
        f"{told['resamples']:,} resamples. Real is what the adjusted p puts below {told['level']:g}."
    )
    heads = ("score", "n", told["one"], told["other"], "difference", "p", "p adjusted", "really better")
    return Table(f"{told['one']} against {told['other']}", heads, tuple(rows), note)


def outcome(told: Mapping[str, Any]) -> str:
    """A comparison in one line."""
    rows = told["scores"].values()
    better, worse = (sum(row["better"] == side for row in rows) for side in ("one", "other"))
    rest = len(rows) - better - worse
    return f"{told['one']} against {told['other']}: better in {better}, worse in {worse}, not told apart in {rest}"


def published(section: Section) -> Iterator[Table]:
    """Rows of papers; never in a table with measured ones."""
    if not section.published:
        return
    keys = list(dict.fromkeys(key for row in section.published for key in row["scores"]))
    rows = [
        (
            f"{row['system']} (published)",
            *(f"{row['scores'][key]:g}" if key in row["scores"] else "" for key in keys),
            row["source"],
        )
        for row in section.published
    ]
    note = "As their authors published them, under their own rules; nothing here was measured by this program."
    yield Table(f"Published on {section.benchmark}", ("system", *keys, "source"), tuple(rows), note)


def failures(section: Section) -> Iterator[Table]:
    """What went wrong in runs and in the benchmark's files."""
    rows: list[tuple[Cell, ...]] = []
    for each in section.examined:
        rows += [(each.name, reason, count(times)) for reason, times in each.scores.get("errors", {}).items()]
        faults = dict(each.scores.get("faults", {}))
        faults.pop("benchmark", None)
        rows += [(each.name, name, count(times)) for name, times in faults.items()]
    for name, told in (section.first.scores.get("faults", {}).get("benchmark") or {}).items():
        rows.append((section.benchmark, f"{name} ({', '.join(told['first'])} …)", count(told["count"])))
    if rows:
        yield Table("Faults", ("of", "what", "n"), tuple(rows))


def _beyond(told: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, values in told.items():
        if key.startswith("beyond_"):
            yield f"beyond {float(key.split('_')[1]):,g} km", values


def row_of(section: Section, found: Sequence[Examined]) -> int | None:
    """The row of the system that the report is about."""
    return found.index(section.first) if section.first in found else None


def _difference(name: str, estimate: Any) -> str:
    value, (low, high) = estimate
    scale = 100 if name.startswith(("within", "coverage", "country")) else 1
    digits = 0 if name in ("median_km", "geoscore") else 2 if name == "log_density" else 1
    a, b, c = (f"{scale * each:+,.{digits}f}".replace("-", "−") for each in (value, low, high))
    return f"{a} ({b} to {c})"


def _plain(cell: Cell) -> str:
    return figures.text_of(cell).split(" (")[0]


def _error(value: float | None) -> str:
    return figures.NOTHING if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
