"""A reliability diagram as SVG, drawn from the report's own numbers: plain text, no library, readable anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

SIDE, MARGIN, LEGEND = 360, 56, 210
COLOURS = ("#0b6e99", "#d9730d", "#0f7b6c", "#9065b0", "#ad1a72", "#64473a")


def svg(series: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Draw observed coverage against the nominal mass, with 95 % intervals.

    Args:
        series: By name, what :func:`gaea.eval.reliability.told` calls ``diagram``: nominal mass to
            ``[value, [low, high]]``.
        title: Above it.
    """
    width, height = SIDE + 2 * MARGIN + LEGEND, SIDE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="{MARGIN - 24}" font-size="14">{escape(title)}</text>',
        *_axes(),
    ]
    for index, (name, diagram) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        parts += [*_line(diagram, colour), *_key(name, colour, index)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(share: float) -> float:
    return round(MARGIN + SIDE * share, 1)


def _y(share: float) -> float:
    return round(MARGIN + SIDE * (1 - share), 1)


def _axes() -> list[str]:
    box = f'<rect x="{_x(0)}" y="{_y(1)}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>'
    even = f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#999" stroke-dasharray="4 4"/>'
    told = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        told.append(f'<text x="{_x(tick)}" y="{_y(0) + 18}" text-anchor="middle">{100 * tick:.0f}</text>')
        told.append(f'<text x="{_x(0) - 8}" y="{_y(tick) + 4}" text-anchor="end">{100 * tick:.0f}</text>')
    below = f'<text x="{_x(0.5)}" y="{_y(0) + 38}" text-anchor="middle">mass of the region, %</text>'
    beside = (
        f'<text transform="translate({_x(0) - 38} {_y(0.5)}) rotate(-90)" text-anchor="middle">'
        "regions that hold the truth, %</text>"
    )
    return [box, even, *told, below, beside]


def _line(diagram: Mapping[str, Any], colour: str) -> list[str]:
    rows = [(float(mass), value, low, high) for mass, (value, (low, high)) in diagram.items() if value is not None]
    path = " ".join(f"{_x(mass)},{_y(value)}" for mass, value, _, _ in rows)
    bars = [
        f'<line x1="{_x(mass)}" y1="{_y(low)}" x2="{_x(mass)}" y2="{_y(high)}" stroke="{colour}" opacity="0.35"/>'
        for mass, _, low, high in rows
    ]
    dots = [f'<circle cx="{_x(mass)}" cy="{_y(value)}" r="2.5" fill="{colour}"/>' for mass, value, _, _ in rows]
    return [*bars, f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *dots]


def _key(name: str, colour: str, index: int) -> list[str]:
    x, y = _x(1) + 20, _y(1) + 14 + 20 * index
    return [
        f'<line x1="{x}" y1="{y}" x2="{x + 20}" y2="{y}" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{x + 28}" y="{y + 4}">{escape(name)}</text>',
    ]
