"""Visual clues by country: plates, bollards, poles, signs, plants, houses. Written by a model and never checked.

The collection (stiles/guessr-meta-generator, CC0) contains errors, so it is used only where it cannot decide an answer:
as colour in long answers, with its source and its doubtfulness in the record. What better sources know (driving side,
capital, language, domain, flag) is left out, and so is what contradicts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaea.countries import all_countries
from gaea.errors import InputError, first_line

USED = (
    "environment",
    "infrastructure",
    "foliage",
    "topography",
    "cars",
    "signs",
    "stop",
    "bollards",
    "poles",
    "culture",
)
_BETTER_KNOWN = re.compile(
    r"\b(?:left|right)[- ]hand|\b(?:on|keep|keeps|drive|drives) (?:to )?(?:the )?(?:left|right)\b", re.I
)
_EMPTY = re.compile(r"\b(?:varies|vary|no specific|not specific|unknown|n/a|may |might |typical international)\b", re.I)
_LONGEST = 220

Clues = Mapping[str, Mapping[str, str]]
"""By ISO code of the country, then by topic; one sentence each."""


def read_clues(path: Path) -> Clues:
    """Read ``geoguessr_clues.json``.

    Raises:
        InputError: The file is missing or of another form.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        entries = {str(entry["code"]).upper(): entry.get("geoguessr_clues") or {} for entry in told.values()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"'{path}' is not a collection of clues: {first_line(error)}") from error
    known = all_countries()
    return {code: _usable(groups) for code, groups in entries.items() if code in known}


def _usable(groups: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for group in groups.values():
        for topic, text in group.items() if isinstance(group, dict) else ():
            sentence = re.split(r"(?<=[.;])\s", str(text).strip())[0].rstrip(" ;.")
            doubtful = _BETTER_KNOWN.search(sentence) or _EMPTY.search(sentence) or any(c.isdigit() for c in sentence)
            if topic in USED and 25 <= len(sentence) <= _LONGEST and not doubtful:
                found[topic] = sentence
    return found
