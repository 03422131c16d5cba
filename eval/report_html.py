"""A report as one self-contained HTML page: the contract on top, then figures, charts, a map, tables and single cases.

It needs no network and no script. Names, questions and answers are untrusted and are escaped on their way in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from gaea.eval import charts, error_map, figures, report_cases, report_tables, report_words
from gaea.eval.answers import Answers
from gaea.eval.cases import Picture, groups
from gaea.eval.figures import Cell, Figure, Table
from gaea.eval.report_data import Examined, Section
from gaea.eval.report_style import document

NAMED = 6
"""Other systems that are named on top; of more, their number."""

TEXT_CLASS = ' class="text"'
MOST_LINES = 8
"""Systems in a chart; of more, which could not be told apart, half are the first and half the last."""

_TEXT = ("why", "what", "source", "of", "by", "wrong is", "really better", "check", "system", "type")
"""Columns that hold words."""


def html(sections: Sequence[Section], pictures: Mapping[str, Picture] | None = None) -> str:
    """The page.

    Args:
        sections: One a benchmark.
        pictures: By benchmark, what opens an item's picture; benchmarks without one are shown without pictures.
    """
    several = len(sections) > 1
    names = " and ".join(dict.fromkeys(each.benchmark[:1].upper() + each.benchmark[1:] for each in sections))
    contract = sections[0].first.scores["contract"]
    links = "".join(f'<li><a href="#{_anchor(s)}">{escape(s.title)}</a></li>' for s in sections)
    head = [
        '<header class="top"><span class="brand">GAEA</span><span>examination</span></header>',
        f"<h1>{escape(names)}</h1>",
        f'<p class="lead">{escape(sections[0].first.name)}, examined beside {_others(sections)}.</p>',
        '<section class="contract" aria-label="Evaluation contract"><b>The contract</b>',
        f"<p>{escape(contract[:1].upper() + contract[1:])}.</p></section>",
        f'<nav aria-label="Benchmarks"><ul>{links}</ul></nav>' if several else "",
        '<span id="tables"></span>',
    ]
    body = [_section(each, (pictures or {}).get(each.benchmark), several=several) for each in sections]
    foot = "<footer>Made by <code>python -m gaea.eval report</code>; every figure follows from the runs named.</footer>"
    return document(f"{names} – GAEA examination", "\n".join([*filter(None, head), *body, foot]))


def _section(section: Section, picture: Picture | None, *, several: bool) -> str:
    told = [
        f'<section id="{_anchor(section)}">{f"<h2>{escape(section.title)}</h2>" if several else ""}',
        _identity(section),
        _cards(section),
        *_part("Attempted", [report_tables.asked(section)]),
        *_part("Places", [*report_tables.places(section), *report_tables.names(section)], before=_charts(section)),
        *_part(
            "Regions and doubt",
            [*report_tables.regions(section), *report_tables.doubt(section)],
            before=_trust(section),
        ),
        *_part("Words", report_words.words(section)),
        *_differences(section),
        *_part("Published elsewhere", report_tables.published(section)),
        *report_cases.shown(groups(section.first, picture)),
        *_part("Groups", report_tables.strata(section), folded="Every group of the first system"),
        *_part("Faults", report_tables.failures(section)),
        _provenance(section),
        "</section>",
    ]
    return "\n".join(each for each in told if each)


def _identity(section: Section) -> str:
    """What the contract wants to be known beside it: data, seed, commit, hashes, and how many were asked."""
    header, counts = section.first.run.header, section.first.scores["n"]
    told = [f"version {header.version}", f"data {header.data_sha256[:16]}", f"seed {header.seed}"]
    told += [f"commit {header.git_commit[:12] or 'unknown'}"]
    told += [f"{name} {value[:16]}" for name, value in header.hashes.items()]
    told += [f"{count:,} {name}" for name, count in counts.items() if count]
    return f'<p class="identity">{escape(" · ".join(told))}</p>'


def _part(title: str, tables: Iterable[Table], before: str = "", folded: str = "") -> Iterator[str]:
    shown = [table(each) for each in tables]
    if shown or before:
        body = before + "\n".join(shown)
        yield f"<h3>{escape(title)}</h3>"
        yield f"<details><summary>{escape(folded)}</summary>{body}</details>" if folded else body


def _differences(section: Section) -> Iterator[str]:
    """Each comparison in one line; its table unfolds."""
    if section.comparisons:
        yield "<h3>Which differences are real</h3>"
    for each in section.comparisons:
        body = table(report_tables.comparison(each))
        yield f"<details><summary>{escape(report_tables.outcome(each))}</summary>{body}</details>"


def table(told: Table) -> str:
    """A table; intervals are also drawn."""
    heads = "".join(
        f'<th scope="col"{TEXT_CLASS if head in _TEXT else ""}>{escape(head)}</th>' for head in told.columns
    )
    rows = []
    for index, (first, *cells) in enumerate(told.rows):
        kind = ' class="first"' if index == told.mark and len(told.rows) > 1 else ""
        body = "".join(_cell(cell, head) for cell, head in zip(cells, told.columns[1:], strict=True))
        rows.append(f'<tr{kind}><th scope="row">{escape(figures.text_of(first))}</th>{body}</tr>')
    note = f'<p class="note">{escape(told.note)}</p>' if told.note else ""
    label = escape(told.title, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<caption>{escape(told.title)}</caption><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _cell(cell: Cell, head: str) -> str:
    text = figures.text_of(cell)
    if head in _TEXT:
        real = ' class="text real"' if head == "really better" and text != "not told apart" else ' class="text"'
        return f"<td{real}>{escape(text)}</td>"
    value, _, interval = text.partition(" (")
    small = f"<small>{escape(interval.rstrip(')'))}</small>" if interval else ""
    return f"<td>{escape(value)}{small}{_range(cell)}</td>"


def _range(cell: Cell) -> str:
    """A dot with its interval, on the column's scale."""
    if not isinstance(cell, Figure) or cell.at is None:
        return ""
    low, high = (cell.at if each is None else each for each in (cell.low, cell.high))
    a, b, at = (round(100 * each, 1) for each in (low, high, cell.at))
    return (
        '<svg class="range" viewBox="0 0 100 7" preserveAspectRatio="none" aria-hidden="true"><path d="M0 3.5H100"/>'
        f'<path class="span" d="M{a} 3.5H{max(b, a + 0.5)}"/><path class="dot" d="M{at} 3.5h.01"/></svg>'
    )


def _cards(section: Section) -> str:
    """The main figures of the first system."""
    scores = section.first.scores
    told, regions = scores.get("places", {}), scores.get("calibration", {})
    shown: list[tuple[str, Cell]] = []
    for name, key, tell in _CARDS:
        if told.get(key):
            shown.append((name, tell(told[key])))
    if regions.get("coverage_90"):
        shown.append(("90 % regions hold the truth", figures.share(regions["coverage_90"])))
    judged = section.first.judged or section.first.lexical
    if judged.get("mean of types"):
        by = "judged" if section.first.judged else "lexical, not judged"
        shown.append((f"words, mean of types ({by})", figures.mark(judged["mean of types"])))
    cells = []
    for name, cell in shown:
        value, _, interval = figures.text_of(cell).partition(" (")
        small = f"<small>95 %: {escape(interval.rstrip(')'))}</small>" if interval else ""
        cells.append(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>")
    return f'<dl class="cards">{"".join(cells)}</dl>' if cells else ""


_CARDS: tuple[tuple[str, str, Callable[[Any], Cell]], ...] = (
    ("median error", "median_km", figures.km),
    ("within 200 km", "within_200_km", figures.share),
    ("within 2,500 km", "within_2500_km", figures.share),
    ("GeoScore, of 5,000", "geoscore", figures.points),
)


def _charts(section: Section) -> str:
    named = _answers(section)
    if not named:
        return ""
    first, both = next(iter(named)), charts.error_curve(named) + charts.risk(named, 200.0)
    few = f"The charts show {len(named)} of {len(section.examined)} systems: the first and the last."
    note = f'<p class="note">{few}</p>' if len(section.examined) > MOST_LINES else ""
    return f'<div class="two">{both}</div>{note}{error_map.draw(named[first], first)}'


def _trust(section: Section) -> str:
    curves = {each.name: each.scores.get("calibration", {}).get("reliability") for each in _drawn(section)}
    shown = charts.reliability({name: curve for name, curve in curves.items() if curve})
    wide = charts.risk(_answers(section), 2500.0)
    return f'<div class="two">{shown}{wide}</div>' if shown or wide else ""


def _drawn(section: Section) -> tuple[Examined, ...]:
    found = section.examined
    return found if len(found) <= MOST_LINES else (*found[: MOST_LINES // 2], *found[-MOST_LINES // 2 :])


def _answers(section: Section) -> dict[str, Answers]:
    named = {}
    for each in _drawn(section):
        located = [(item, made) for item, made in each.run.pairs() if item.kind == "locate"]
        if located:
            named[each.name] = Answers.of(located)
    return named


def _provenance(section: Section) -> str:
    parts = []
    for each in section.examined:
        header, settings = each.run.header, dict(each.scores.get("settings", {}))
        settings.pop("benchmark faults", None)
        told = {
            "commit": header.git_commit or "unknown",
            "started": header.started,
            "seed": header.seed,
            **{f"hash of {name}": value for name, value in header.hashes.items()},
            **{name: value for name, value in settings.items() if value not in (None, "", [], ())},
            **{f"timing, {name}": value for name, value in (each.scores.get("timing") or {}).items()},
        }
        rows = "".join(f"<dt>{escape(str(k))}</dt><dd><code>{escape(str(v))}</code></dd>" for k, v in told.items())
        parts.append(f'<details><summary>{escape(each.name)}</summary><dl class="facts">{rows}</dl></details>')
    return f"<h3>Provenance</h3>{''.join(parts)}"


def _others(sections: Sequence[Section]) -> str:
    """The other systems by name, or how many."""
    first = sections[0].first.name
    others = list(dict.fromkeys(each.name for section in sections for each in section.examined if each.name != first))
    if len(others) > NAMED:
        return f"{len(others)} others"
    return escape(", ".join(others)) if others else "nothing else"


def _anchor(section: Section) -> str:
    header = section.first.run.header
    return re.sub(r"[^a-z0-9]+", "-", f"{section.title}-{header.data_sha256[:8]}".lower())
