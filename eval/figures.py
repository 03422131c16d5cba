"""Tables of a report as values: what a cell says, and where its interval lies, whatever the page is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

NOTHING = "–"


@dataclass(frozen=True)
class Figure:
    """A number in a table.

    Attributes:
        text: As it is read, interval included.
        at: Where the value lies on its scale, 0 to 1; None draws nothing.
        low: Of the interval.
        high: Likewise.
    """

    text: str
    at: float | None = None
    low: float | None = None
    high: float | None = None


Cell: TypeAlias = str | Figure


@dataclass(frozen=True)
class Table:
    """A table with its title.

    Attributes:
        title: Of the table.
        columns: Heads; the first is that of the rows.
        rows: As many cells each as there are columns.
        note: What has to be known to read it.
        mark: Index of a row that stands out, the system that the report is about.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    mark: int | None = None


def share(estimate: Any) -> Cell:
    """Of 1, in percent."""
    return _figure(estimate, lambda v: f"{100 * v:.1f}", unit=" %", place=lambda v: v)


def km(estimate: Any) -> Cell:
    """A distance; drawn on a logarithmic scale from 1 to 20,015 km."""
    return _figure(estimate, thousands, unit=" km", place=lambda v: math.log10(max(v, 1.0)) / math.log10(20015.1))


def km2(estimate: Any) -> Cell:
    """An area; drawn on a logarithmic scale from 1 km² to the whole Earth."""
    return _figure(estimate, thousands, unit=" km²", place=lambda v: math.log10(max(v, 1.0)) / 8.71)


def points(estimate: Any) -> Cell:
    """A GeoScore, 0 to 5000."""
    return _figure(estimate, thousands, place=lambda v: v / 5000)


def mark(estimate: Any) -> Cell:
    """A score from 0 to 100."""
    return _figure(estimate, lambda v: f"{v:.1f}", place=lambda v: v / 100)


def number(estimate: Any) -> Cell:
    """Any other estimate, not drawn."""
    return _figure(estimate, lambda v: f"{v:.2f}")


def thousands(value: float) -> str:
    """Whole numbers with separators; one decimal below 10."""
    return f"{value:,.1f}" if abs(value) < 10 and value != round(value) else f"{value:,.0f}"


def count(value: int | None) -> str:
    """How many; a dash for none."""
    return f"{value:,}" if value else NOTHING


def text_of(cell: Cell) -> str:
    """A cell in words."""
    return cell if isinstance(cell, str) else cell.text


def markdown(table: Table) -> str:
    """A table in Markdown, with its title and note."""
    lines = [f"**{plain(table.title)}**", "", _row(table.columns), "|" + "---|" * len(table.columns)]
    lines += [_row([text_of(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, *(["", plain(table.note)] if table.note else [])])


def plain(text: str) -> str:
    """Text that opens no tag and breaks no line in Markdown; names come from outside."""
    return re.sub(r"<(?=[A-Za-z/!])", "&lt;", text.replace("\n", " "))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", "\\|") or NOTHING for cell in cells) + " |"


def _figure(
    estimate: Any, tell: Callable[[float], str], *, unit: str = "", place: Callable[[float], float] | None = None
) -> Cell:
    """``[value, [low, high]]`` as a cell; a dash where nothing is known."""
    value, (low, high) = estimate if estimate else (None, (None, None))
    if value is None:
        return NOTHING
    if low is None or high is None:
        return Figure(f"{tell(value)}{unit}", None if place is None else _clipped(place(value)))
    told = f"{tell(value)}{unit} ({tell(low)}–{tell(high)})"
    if place is None:
        return Figure(told)
    return Figure(told, *(_clipped(place(each)) for each in (value, low, high)))


def _clipped(position: float) -> float:
    return min(1.0, max(0.0, position))
