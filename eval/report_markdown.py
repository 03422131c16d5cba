"""A report as Markdown: the same tables and numbers as the page. Nothing of a picture but its name, and NASA's link."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from gaea.eval import figures, report_tables, report_words
from gaea.eval.cases import Case, astronaut_link, groups, ordered
from gaea.eval.figures import Table
from gaea.eval.metrics import FARTHEST_KM
from gaea.eval.report_cases import position
from gaea.eval.report_data import Section


def markdown(sections: Sequence[Section]) -> str:
    """The whole report."""
    told = ["# " + ", ".join(dict.fromkeys(section.benchmark for section in sections)).capitalize()]
    told.append(f"> {sections[0].first.scores['contract']}.")
    for section in sections:
        told += _section(section)
    return "\n\n".join(told) + "\n"


def _section(section: Section) -> Iterator[str]:
    header = section.first.run.header
    yield (
        f"## {section.title}\n\nVersion {header.version}; data sha256 `{header.data_sha256[:16]}`; "
        f"seed {header.seed}; commit `{header.git_commit[:12] or 'unknown'}`."
    )
    yield from _part("Attempted", [report_tables.asked(section)])
    yield from _part("Places", [*report_tables.places(section), *report_tables.names(section)])
    yield from _part("Regions and doubt", [*report_tables.regions(section), *report_tables.doubt(section)])
    yield from _part("Words", report_words.words(section))
    if section.comparisons:
        yield "### Which differences are real"
    for each in section.comparisons:
        yield _folded(report_tables.outcome(each), [report_tables.comparison(each)])
    yield from _part("Published elsewhere", report_tables.published(section))
    for name, cases in ordered(groups(section.first, None)):
        if cases[0].error_km is not None:
            yield f"### {name}\n\n{figures.markdown(_cases(name, cases))}"
    if groups_of := list(report_tables.strata(section)):
        yield f"### Groups\n\n{_folded('Every group of the first system', groups_of)}"
    yield from _part("Faults", report_tables.failures(section))


def _part(title: str, tables: Iterable[Table]) -> Iterator[str]:
    shown = [figures.markdown(each) for each in tables]
    if shown:
        yield f"### {title}"
        yield from shown


def _folded(title: str, tables: Iterable[Table]) -> str:
    """Tables that unfold where Markdown is shown as a page."""
    body = "\n\n".join(figures.markdown(each) for each in tables)
    return f"<details><summary>{escape(title)}</summary>\n\n{body}\n\n</details>"


def _cases(title: str, cases: Sequence[Case]) -> Table:
    rows = []
    for case in cases:
        link, far = astronaut_link(case.item.id), case.error_km or 0.0
        covered = (case.made.covered or {}).get(90)
        rows.append(
            (
                f"[{case.item.id}]({link})" if link else case.item.id,
                position(case.item.truth.point),
                position(case.made.point) if case.made.point else figures.NOTHING,
                "no answer" if far >= FARTHEST_KM else f"{figures.thousands(far)} km",
                figures.NOTHING if covered is None else "yes" if covered else "no",
                case.made.status,
            )
        )
    return Table(title, ("picture", "truth", "answer", "error", "in the 90 % region", "status"), tuple(rows))
