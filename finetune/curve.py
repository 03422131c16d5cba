"""The loss of a run as a picture: one SVG, drawn without a plotting library, and the same numbers as JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 360, 56, 40, 28, 16
Points = list[tuple[float, float]]
_COLOURS = {"loss": "#2b6cb0", "eval_loss": "#c05621"}
_NAMES = {"loss": "training", "eval_loss": "held out"}


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """(step, loss) pairs of training and evaluation from a trainer's log; numbers that are none are left out."""
    return {
        name: [
            (float(line["step"]), float(line[name])) for line in history if name in line and math.isfinite(line[name])
        ]
        for name in _COLOURS
    }


def draw(history: Sequence[Mapping[str, Any]], *, title: str = "loss") -> str:
    """The curves as SVG; an empty frame where nothing was logged yet."""
    found = {name: points for name, points in curves(history).items() if points}
    everything = [point for points in found.values() for point in points] or [(0.0, 0.0), (1.0, 1.0)]
    steps, losses = zip(*everything, strict=True)
    low, high = min(losses), max(losses)
    last, span = max(*steps, 1.0), (high - low) or 1.0

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (1 - (loss - low) / span)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{_escaped(title)}</text>',
    ]
    for tick in range(5):
        loss, step = low + span * tick / 4, last * tick / 4
        (x, _), (_, y) = place(step, low), place(0, loss)
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e2e8f0"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{step:.0f}</text>',
        ]
    for number, (name, points) in enumerate(found.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[name]}" stroke-width="1.6"/>',
            f'<text x="{WIDTH - RIGHT}" y="{TOP + 14 * (number + 1)}" text-anchor="end" fill="{_COLOURS[name]}">'
            f"{_NAMES[name]}: {points[-1][1]:.3f}</text>",
        ]
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">step</text></svg>')
    return "\n".join(parts) + "\n"


def write(history: Sequence[Mapping[str, Any]], folder: Path, *, title: str) -> None:
    """Write ``loss.svg`` and ``log.jsonl`` into a folder."""
    (folder / "loss.svg").write_text(draw(history, title=title), encoding="utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
