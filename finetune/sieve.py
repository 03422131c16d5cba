"""What is kept of the items that are made: the sound, the new, the balanced; and how many of each there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from gaea import cells
from gaea.finetune.questions import TRUE_FALSE, Item
from gaea.finetune.solving import FACT_SKILLS, check, tells_place
from gaea.finetune.splits import Part, part_of

_UNEVEN = 6
"""Most by which one verdict may lead the other, within a skill and part."""


class Sieve:
    """Lets sound, new and balanced items through, and counts everything."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._exact: set[int] = set()
        self._near: set[int] = set()
        self._lead: Counter[tuple[str, Part]] = Counter()
        self._types: Counter[tuple[str, str]] = Counter()
        self._skills: Counter[str] = Counter()
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._letters: Counter[str] = Counter()
        self._countries: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def part_for(self, item: Item) -> Part | None:
        """The part that an item belongs to, None if it is dropped."""
        faults = check(item)
        if faults:
            self.counted["items that fail their check"] += 1
            self._faults[f"{item.skill}: {faults[0]}"] += 1
            return None
        part = Part(int(part_of(np.array(item.lat), np.array(item.lon))))
        exact, near = _hash(item.image, item.question), _near_hash(item)
        if exact in self._exact:
            self.counted["exact repetitions"] += 1
            return None
        if near in self._near:
            self.counted["near repetitions"] += 1
            return None
        if item.question_type == TRUE_FALSE:
            step = 1 if item.key == "True" else -1
            if abs(self._lead[item.skill, part] + step) > _UNEVEN:
                self.counted["items dropped to keep true and false even"] += 1
                return None
            self._lead[item.skill, part] += step
        self._exact.add(exact)
        self._near.add(near)
        self._count(item, part)
        return part

    def _count(self, item: Item, part: Part) -> None:
        name = part.name.lower()
        self._types[name, item.question_type] += 1
        self._skills[f"{item.question_type} {item.skill}"] += 1
        self._countries[item.country] += 1
        if item.question_type == TRUE_FALSE:
            self._verdicts[name, item.key] += 1
        elif item.options:
            self._letters[item.answer[0]] += 1

    def summary(self) -> dict[str, Any]:
        """Everything counted, ready for JSON."""
        parts = [part.name.lower() for part in Part]
        types = {part: {t: n for (p, t), n in sorted(self._types.items()) if p == part} for part in parts}
        return {
            "items": sum(self._types.values()),
            "items_by_part": {part: sum(types[part].values()) for part in parts},
            "types_by_part": types,
            "skills": dict(self._skills.most_common()),
            "true_false": {p: {v: self._verdicts[p, v] for v in ("True", "False")} for p in parts},
            "letters": dict(sorted(self._letters.items())),
            "countries": len(self._countries),
            "largest_countries": dict(self._countries.most_common(12)),
            "dropped": dict(self.counted.most_common()),
            "faults": dict(self._faults.most_common(20)),
        }


def _near_hash(item: Item) -> int:
    """The same for items that ask the same of the same picture, or of places in one small cell."""
    if not tells_place(item):
        return _hash(item.question_type, item.skill, item.image)
    level = 10 if item.skill in FACT_SKILLS else 16 if item.skill == "coordinates" else 14
    cell = 0 if item.skill == "clues" else int(cells.from_latlon(item.lat, item.lon, level))
    asked = {k: v for k, v in item.params.items() if k != "left"}
    return _hash(item.question_type, item.skill, item.key, sorted(item.options), sorted(asked.items()), cell)


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")
