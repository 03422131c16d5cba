"""Single cases of a report as HTML: the picture, what is true, what was said, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from gaea import places
from gaea.eval import figures
from gaea.eval.cases import Case, astronaut_link, ordered
from gaea.eval.metrics import FARTHEST_KM


def shown(found: Mapping[str, Sequence[Case]]) -> Iterator[str]:
    """Every group under its name."""
    for name, cases in ordered(found):
        yield f'<h3>{escape(name)}</h3><ul class="cases">{"".join(_case(case) for case in cases)}</ul>'


def _case(case: Case) -> str:
    item, made = case.item, case.made
    seen = (
        f'<img src="{case.picture}" alt="What was asked about: {escape(item.id, quote=True)}" loading="lazy">'
        if case.picture
        else '<div class="none">no picture</div>'
    )
    link = astronaut_link(item.id)
    name = f'<a href="{escape(link, quote=True)}" rel="noreferrer">{escape(item.id)}</a>' if link else escape(item.id)
    lines = list(_placed(case) if case.error_km is not None else _said(case))
    body = "".join(f"<p>{line}</p>" for line in lines[1:])
    foot = f'<p class="id">{name} · {escape(made.status)}</p>'
    return f'<li>{seen}<div class="body"><strong>{lines[0]}</strong>{body}{foot}</div></li>'


def _placed(case: Case) -> Iterator[str]:
    far = case.error_km or 0.0
    yield "no answer" if far >= FARTHEST_KM else f"{figures.thousands(far)} km off"
    truth = case.item.truth
    known = (truth.city, truth.country) if truth.country else _there(truth.point)
    yield f"true: {position(truth.point)}{_names(*known)}"
    if case.made.point:
        yield f"said: {position(case.made.point)}{_names(case.made.city, case.made.country)}"
    if case.made.covered:
        yield f"90 % region: {'holds the truth' if case.made.covered.get(90) else 'misses the truth'}"


def _said(case: Case) -> Iterator[str]:
    yield f"{case.mark:.0f} of 100"
    yield escape(case.item.question)
    yield f"<q>{escape(case.made.text[:400])}</q>"
    yield f"reference: {escape((case.item.truth.answer or '')[:300])}"
    yield f'<span class="id">{escape(case.why[:200])}</span>'


def _there(point: tuple[float, float] | None) -> tuple[str | None, ...]:
    """Names of a point for which the benchmark has none."""
    if point is None:
        return ()
    place = places.describe(*point, cities=1)
    return (place.region, place.country) if place.country else (place.sea,)


def position(point: tuple[float, float] | None) -> str:
    """``45.9° N, 6.9° E``."""
    if point is None:
        return "unknown"
    lat, lon = point
    return f"{abs(lat):.1f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.1f}° {'E' if lon >= 0 else 'W'}"


def _names(*names: str | None) -> str:
    told = ", ".join(name for name in names if name)
    return f" ({escape(told)})" if told else ""
