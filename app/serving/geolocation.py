"""The structured answer as the server sends it: that of `gaea.answer`, with the belief's cells.

Cells are listed only where the answer may be precise. Where it is held to a city or less, the probabilities of cells
would tell more than its regions do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gaea import cells as s2
from gaea.answer import Answer, schema
from gaea.belief import Belief
from gaea.disclosure import Level


def geolocation(answer: Answer, belief: Belief, most_cells: int) -> dict[str, Any]:
    """An answer with the most probable cells of its belief.

    Args:
        answer: Already limited by disclosure.
        belief: What it was read from.
        most_cells: How many to list.

    Returns:
        The form of :func:`described`. ``elsewhere`` is the probability of lying in none of the listed cells; None where
        no cells may be listed, or the answer abstains.
    """
    told = answer.to_dict()
    if answer.disclosure != Level.PRECISE or answer.abstained:
        return {**told, "cells": [], "elsewhere": None}
    order = np.argsort(-belief.log_prob, kind="stable")[:most_cells]
    cells, probability = belief.cells[order], np.exp(belief.log_prob[order])
    listed = [
        {"token": s2.to_token(cell), "level": int(level), "probability": float(p)}
        for cell, level, p in zip(cells, s2.level(cells), probability, strict=True)
    ]
    return {**told, "cells": listed, "elsewhere": max(0.0, 1.0 - float(probability.sum()))}


def described() -> dict[str, Any]:
    """The JSON schema of :func:`geolocation`."""
    document = schema()
    cell = {
        "type": "object",
        "additionalProperties": False,
        "required": ["token", "level", "probability"],
        "properties": {
            "token": {"type": "string", "description": "S2 cell token"},
            "level": {"type": "integer", "minimum": 0, "maximum": 30},
            "probability": {"type": "number", "minimum": 0, "maximum": 1.000001},
        },
    }
    document["properties"]["cells"] = {
        "type": "array",
        "items": cell,
        "description": "Disjoint cells of the belief, most probable first, no finer than disclosure allows",
    }
    document["properties"]["elsewhere"] = {
        "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}],
        "description": "Probability of lying in none of the listed cells; null where none may be listed",
    }
    document["required"] = [*document["required"], "cells", "elsewhere"]
    document["title"] = "GAEA geolocation"
    return {name: value for name, value in document.items() if name not in ("$schema", "$id")}
