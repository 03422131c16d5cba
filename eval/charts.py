"""Charts of a report as SVG: errors, regions and doubt, one line a system. Plain markup, no library, dark and light.

Lines differ in colour, dash and mark, so that none of the three is needed alone. Colours are classes of the page's
style sheet. Every chart names itself and says in words what it shows; the same numbers stand in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from gaea.eval.answers import Answers
from gaea.eval.metrics import FARTHEST_KM, THRESHOLDS_KM

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46
SERIES = 8
"""Kinds of line that the style sheet knows."""

MOST_POINTS = 240


@dataclass(frozen=True)
class Axis:
    """From values to 0…1 along an axis, with its ticks and what it measures."""

    title: str
    ticks: tuple[tuple[float, str], ...]
    place: Callable[[float], float] = float


SHARE_TICKS = tuple((each / 100, f"{each}") for each in range(0, 101, 20))
LOG_KM = Axis(
    "error, km (logarithmic)",
    tuple((float(each), f"{each:,}") for each in (1, 10, 25, 100, 200, 750, 2500, 10000)),
    lambda km: math.log10(max(km, 1.0)) / math.log10(FARTHEST_KM),
)


def error_curve(named: Mapping[str, Answers]) -> str:
    """Share of places within each distance; what was not answered is beyond every distance."""
    lines, told = [], []
    for name, answers in named.items():
        far = answers.error_km[~np.isnan(answers.error_km)]
        if not len(far):
            continue
        given = np.sort(far[far < FARTHEST_KM])
        at = np.unique(np.linspace(0, max(len(given) - 1, 0), MOST_POINTS).astype(int)) if len(given) else []
        steps = [(float(given[i]), (i + 1) / len(far)) for i in at]
        lines.append(Line(name, [(1.0, float((given <= 1).sum() / len(far))), *steps], marks=False))
        shares = ", ".join(f"{100 * (far <= km).mean():.0f} % within {km:,} km" for km in THRESHOLDS_KM[1:])
        told.append(f"{name}: {shares}.")
    guides = [(float(km), 0.0, float(km), 1.0) for km in THRESHOLDS_KM]
    y = Axis("places within that, %", SHARE_TICKS)
    return draw("How far off the answers are", " ".join(told), x=LOG_KM, y=y, lines=lines, guides=guides)


def reliability(named: Mapping[str, Sequence[Any]]) -> str:
    """How often regions of each mass hold the truth; the diagonal is what they promise.

    Args:
        named: By system: rows of nominal mass, share, and its interval.
    """
    lines, told = [], []
    for name, curve in named.items():
        bars = [(x, low, high) for x, _, (low, high) in curve if low is not None]
        lines.append(Line(name, [(x, value) for x, value, _ in curve if value is not None], bars))
        told.append(
            f"{name}: " + ", ".join(f"{100 * x:.0f} % hold it in {100 * v:.0f} %" for x, v, _ in curve[::4]) + "."
        )
    x, y = Axis("mass of the region, %", SHARE_TICKS), Axis("regions that hold the truth, %", SHARE_TICKS)
    return draw(
        "What regions promise, and what comes true", " ".join(told), x=x, y=y, lines=lines, guides=[(0, 0, 1, 1)]
    )


def risk(named: Mapping[str, Answers], wrong_km: float) -> str:
    """Share of wrong answers among the surest, from few to all."""
    lines, told = [], []
    for name, answers in named.items():
        wrong = _wrong_by_doubt(answers, wrong_km)
        if wrong is None:
            continue
        risks = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
        least = max(1, len(wrong) // 50)
        at = np.unique(np.linspace(least - 1, len(wrong) - 1, MOST_POINTS).astype(int))
        lines.append(Line(name, [((i + 1) / len(wrong), float(risks[i])) for i in at], marks=False))
        tenth = risks[max(1, len(wrong) // 10) - 1]
        told.append(f"{name}: {100 * tenth:.0f} % wrong among the surest tenth, {100 * risks[-1]:.0f} % among all.")
    x = Axis("answers given, surest first, %", SHARE_TICKS)
    y = Axis(f"wrong among them (beyond {wrong_km:,.0f} km), %", SHARE_TICKS)
    return draw("Does it know when it is wrong?", " ".join(told), x=x, y=y, lines=lines)


@dataclass(frozen=True)
class Line:
    """One system's points, with vertical bars (x, low, high) where there are intervals."""

    name: str
    points: Sequence[tuple[float, float]]
    bars: Sequence[tuple[float, float, float]] = ()
    marks: bool = True


def draw(
    title: str, words: str, *, x: Axis, y: Axis, lines: Sequence[Line], guides: Sequence[tuple[float, ...]] = ()
) -> str:
    """A chart with its legend; '' where there is nothing to draw."""
    if not any(line.points for line in lines):
        return ""
    body = [*_axes(x, y)]
    for guide in guides:
        (x1, y1), (x2, y2) = _at(x, y, guide[0], guide[1]), _at(x, y, guide[2], guide[3])
        body.append(f'<path class="guide" d="M{x1} {y1}L{x2} {y2}"/>')
    for index, line in reversed(list(enumerate(lines))):
        body += _line(line, index % SERIES, x, y)
    marked = "".join(
        f'<li><svg viewBox="0 0 34 14" aria-hidden="true"><g class="s{index % SERIES}"><path class="line" d="M1 7H33"/>'
        f"{_mark(index % SERIES, 17, 7)}</g></svg>{escape(line.name)}</li>"
        for index, line in enumerate(lines)
    )
    label = escape(f"{title}. {words}", quote=True)
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(body)}</svg>'
        f'<ul class="keys">{marked}</ul></figure>'
    )


def _at(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return round(LEFT + wide * min(1.0, max(0.0, x.place(across))), 1), round(TOP + high * (1 - y.place(up)), 1)


def _axes(x: Axis, y: Axis) -> list[str]:
    base, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    told = [f'<path class="axis" d="M{LEFT} {TOP}V{base}H{end}"/>']
    for value, text in x.ticks:
        at = _at(x, y, value, 0)[0]
        told.append(
            f'<path class="axis" d="M{at} {base}v5"/><text x="{at}" y="{base + 18}" class="middle">{text}</text>'
        )
    for value, text in y.ticks:
        at = _at(x, y, x.ticks[0][0], value)[1]
        told.append(
            f'<path class="grid" d="M{LEFT} {at}H{end}"/><text x="{LEFT - 8}" y="{at + 4}" class="end">{text}</text>'
        )
    told.append(f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 8}" class="middle axis-title">{escape(x.title)}</text>')
    middle = (TOP + base) / 2
    told.append(
        f'<text transform="translate(13 {middle}) rotate(-90)" class="middle axis-title">{escape(y.title)}</text>'
    )
    return told


def _line(line: Line, kind: int, x: Axis, y: Axis) -> list[str]:
    if not line.points:
        return []
    at = [_at(x, y, *point) for point in line.points]
    bars = "".join(
        "M{} {}L{} {}".format(*_at(x, y, across, low), *_at(x, y, across, high)) for across, low, high in line.bars
    )
    told = [f'<g class="s{kind}"><title>{escape(line.name)}</title>']
    if bars:
        told.append(f'<path class="bar" d="{bars}"/>')
    told.append(f'<path class="line" d="M{"L".join(f"{a} {b}" for a, b in at)}"/>')
    if line.marks:
        told += [_mark(kind, *each) for each in at]
    return [*told, "</g>"]


def _mark(kind: int, x: float, y: float) -> str:
    """A shape a kind: circle, square, triangle, diamond."""
    shapes = (
        f'<circle class="mark" cx="{x}" cy="{y}" r="3.6"/>',
        f'<path class="mark" d="M{x - 3.3} {y - 3.3}h6.6v6.6h-6.6z"/>',
        f'<path class="mark" d="M{x} {y - 4.2}l4 7h-8z"/>',
        f'<path class="mark" d="M{x} {y - 4.6}l4.2 4.6l-4.2 4.6l-4.2 -4.6z"/>',
    )
    return shapes[kind % len(shapes)]


def _wrong_by_doubt(answers: Answers, wrong_km: float) -> np.ndarray | None:
    """(m,) wrong or not, surest first; None where no prediction has a radius."""
    made = answers.predictions
    if not any(each.radius_km for each in made):
        return None
    asked = np.flatnonzero(~np.isnan(answers.error_km))
    radius = np.array([(p.radius_km[50], p.radius_km[90]) if p.radius_km else (np.inf, np.inf) for p in made])
    order = asked[np.lexsort(radius[asked].T[::-1])]
    return (answers.error_km[order] > wrong_km).astype(float)
