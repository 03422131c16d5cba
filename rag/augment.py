"""Neighbours as prompt text: names and rounded coordinates, similar and dissimilar apart, fenced as data.

Retrieved text is written by strangers. Each value is cleaned of control characters and of the marks that fences and
special tokens are made of, and cut short, so that it can neither close the fence nor pose as part of the prompt. Works
with any model, without fine-tuning (Street-level RAG, arXiv 2509.01341; sections worded after Img2Loc).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.prompts import FENCE_CLOSE, FENCE_OPEN, clean

_SECTIONS = (
    ("similar", "Places of similar pictures, most similar first:"),
    ("hard dissimilar", "Places that look alike but lie far from these:"),
    ("dissimilar", "Places of dissimilar pictures, likely far away:"),
)


def render(
    neighbours: Neighbours,
    *,
    name: Callable[[Neighbour], str] | None = None,
    decimals: int = 1,
    max_chars: int = 60,
) -> str:
    """Write neighbours as a block for a prompt.

    Args:
        neighbours: What was retrieved.
        name: Gives a place's name, such as ``Lyon, France``; where it is left out or gives nothing, the gallery's text.
        decimals: Of the coordinates, in degrees; one decimal is about 11 km.
        max_chars: Longest name kept.

    Returns:
        The fenced block without a final newline; an empty string if there are no neighbours.
    """
    rows = (*neighbours.similar, *neighbours.dissimilar)
    sections: list[str] = []
    for role, title in _SECTIONS:
        lines = [line(row, name=name, decimals=decimals, max_chars=max_chars) for row in rows if row.role == role]
        if lines:
            sections += [title, *(f"{number}. {text}" for number, text in enumerate(lines, start=1))]
    return "\n".join([FENCE_OPEN, *sections, FENCE_CLOSE]) if sections else ""


def line(
    neighbour: Neighbour,
    *,
    name: Callable[[Neighbour], str] | None = None,
    decimals: int = 1,
    max_chars: int = 60,
) -> str:
    """One neighbour on one line, as ``Lyon, France (45.8, 4.8)``: cleaned, but not fenced. As for :func:`render`."""
    # Compatibility forms first: a full-width angle bracket must not survive the cleaning as a plain one.
    label = clean(unicodedata.normalize("NFKC", (name(neighbour) if name else "") or neighbour.text))
    label = label if len(label) <= max_chars else label[: max_chars - 1].rstrip() + "…"
    # Adding zero turns the -0.0 that rounding leaves into 0.0.
    lat, lon = (round(degrees, decimals) + 0.0 for degrees in (neighbour.lat, neighbour.lon))
    place = f"({lat:.{decimals}f}, {lon:.{decimals}f})"
    return f"{label} {place}" if label else place
