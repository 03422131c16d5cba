"""What a dataset consists of, counted in one pass over its examples.

Per question some 60 bytes are kept: 64-bit hashes, from which repeated pictures, questions and answers are counted at
the end, and coordinates. Texts are not kept, but for the few answers that may be the most frequent ones.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gaea.finetune.dataset import QUESTION_TYPES, Example
from gaea.finetune.splits import BLOCKS, Part, block_address, part_of

_CANDIDATES = 4096  # answers of a type whose texts are kept; one more frequent than 1 in so many is always among them
_AT_ONCE = 1 << 17  # places looked up on the map together
_VERDICTS = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_LETTER = re.compile(r"\W*([A-Z])(?![\w'])")
_OPTION = re.compile(r"(?:^|[\s(])([A-Z])[).:]\s")


class Frequent:
    """The most frequent text of many, in little memory (Misra and Gries, "Finding repeated elements", 1982).

    What is counted is exact: the hashes are all kept, eight bytes each.
    """

    def __init__(self, candidates: int = _CANDIDATES) -> None:
        self._hashes = array("q")
        self._kept: Counter[str] = Counter()
        self._candidates = candidates

    def add(self, text: str) -> None:
        """Count a text."""
        self._hashes.append(hash(text))
        self._kept[text] += 1
        if len(self._kept) > 2 * self._candidates:
            # Taking as much from all as the one in the middle has: every text pays as often as Misra and Gries let it.
            counts = sorted(self._kept.values(), reverse=True)
            least = counts[self._candidates]
            self._kept = Counter({text: n - least for text, n in self._kept.items() if n > least})

    def most(self) -> tuple[str, int] | None:
        """(text, how often); None without texts, or where even the most frequent one is rarer than can be told."""
        if not self._hashes:
            return None
        values, counts = np.unique(np.frombuffer(self._hashes, np.int64), return_counts=True)
        text = next((text for text in self._kept if hash(text) == values[counts.argmax()]), None)
        return None if text is None else (text, int(counts.max()))


class Statistics:
    """Counts examples as they come; see :meth:`summary`."""

    def __init__(self) -> None:
        self.rows = self.questions = self.pictures = 0
        self._types: Counter[str] = Counter()
        self._datasets: Counter[str] = Counter()
        self._countries: Counter[str] = Counter()
        self._sources: Counter[tuple[str, str, str]] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._letters: Counter[str] = Counter()
        self._options: Counter[int] = Counter()
        self._words: dict[str, Counter[int]] = {}
        self._answers: dict[str, Frequent] = {}
        self._images, self._texts, self._asked, self._answered = (array("q") for _ in range(4))
        self._lat, self._lon, self._nameless = array("d"), array("d"), array("b")

    def add(self, example: Example) -> None:
        """Count one example."""
        self.rows += 1
        self._types[example.question_type] += 1
        self._datasets[example.dataset] += 1
        self.pictures += len(example.images)
        self._images.extend(map(hash, example.images))
        self._add_place(example)
        for source in example.ours.get("sources") or ():
            self._sources[_source(source)] += 1
        for question, answer in example.pairs():
            self._add_answer(example, question.spoken, answer.text)

    def _add_place(self, example: Example) -> None:
        country = example.ours.get("country")
        if country:
            self._countries[str(country)] += 1
        if place := example.place:
            self._lat.append(place[0])
            self._lon.append(place[1])
            self._nameless.append(not country)

    def _add_answer(self, example: Example, question: str, answer: str) -> None:
        kind = example.question_type
        self.questions += 1
        self._words.setdefault(kind, Counter())[len(answer.split())] += 1
        self._answers.setdefault(kind, Frequent()).add(answer)
        self._texts.append(hash(question))
        self._asked.append(hash((example.images, question)))
        self._answered.append(hash((example.images, question, answer)))
        if kind == "TF":
            word = answer.split(maxsplit=1)[0].strip(".,;:!*\"'").lower()
            self._verdicts[_VERDICTS.get(word, "other")] += 1
        elif kind == "MCQ":
            letter = _LETTER.match(answer)
            self._letters[letter[1] if letter else "none"] += 1
            self._options[len(set(_OPTION.findall(question)))] += 1

    def summary(self) -> dict[str, Any]:
        """All counts, as JSON has it.

        ``questions_repeated`` are questions asked before about the same picture, and ``contradicted`` those among them
        with another answer than before; ``majority`` is what a model that always says the same would score.
        """
        asked, answered = _distinct(self._asked), _distinct(self._answered)
        return {
            "rows": self.rows,
            "questions": self.questions,
            "images": _distinct(self._images),
            "rows_without_image": self.rows - min(self.pictures, self.rows),
            "question_types": _sorted(self._types),
            "datasets": _sorted(self._datasets),
            "answer_words": {kind: _lengths(self._words[kind]) for kind in _in_order(self._words)},
            "majority": {kind: self._majority(kind) for kind in _in_order(self._answers)},
            "true_false": _sorted(self._verdicts),
            "letters": dict(sorted(self._letters.items())),
            "options": {str(n): count for n, count in sorted(self._options.items())},
            "distinct_questions": _distinct(self._texts),
            "questions_repeated": self.questions - asked,
            "contradicted": answered - asked,
            **self._places(),
            "sources": [
                {"name": name, "licence": licence, "credit": credit, "rows": n}
                for (name, licence, credit), n in self._sources.most_common()
            ],
        }

    def _majority(self, kind: str) -> dict[str, Any] | None:
        most = self._answers[kind].most()
        total = sum(self._words[kind].values())
        return most and {"answer": most[0], "count": most[1], "share": round(most[1] / total, 4)}

    def _places(self) -> dict[str, Any]:
        from gaea.borders import country_codes

        lat, lon = np.array(self._lat), np.array(self._lon)
        nameless = np.array(self._nameless, bool)
        countries = Counter(self._countries)
        blocks: set[int] = set()
        parts: Counter[str] = Counter()
        for start in range(0, len(lat), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            row, column = block_address(lat[some], lon[some])
            blocks.update(np.unique(row * BLOCKS + column).tolist())
            parts.update({part.name.lower(): int((part_of(lat[some], lon[some]) == part).sum()) for part in Part})
            codes = country_codes(lat[some][nameless[some]], lon[some][nameless[some]])
            countries.update({code or "none": n for code, n in zip(*_counted(codes), strict=True)})
        box = [lat.min(), lon.min(), lat.max(), lon.max()] if len(lat) else []
        return {
            "countries": _sorted(countries),
            "coordinates": {
                "rows": len(lat),
                "share": round(len(lat) / self.rows, 4) if self.rows else 0.0,
                "south_west_north_east": [round(float(value), 4) for value in box],
                "blocks": len(blocks),
                "rows_by_part": dict(parts),
            },
        }


def count(examples: Iterable[Example]) -> dict[str, Any]:
    """The summary of examples; see :meth:`Statistics.summary`."""
    statistics = Statistics()
    for example in examples:
        statistics.add(example)
    return statistics.summary()


def _distinct(hashes: array[int]) -> int:
    return len(np.unique(np.frombuffer(hashes, np.int64))) if hashes else 0


def _counted(codes: Any) -> tuple[list[str], list[int]]:
    values, counts = np.unique(codes, return_counts=True)
    return values.tolist(), counts.tolist()


def _lengths(words: Counter[int]) -> dict[str, float]:
    """Of answers, in words, from how many have each length."""
    lengths = np.array(sorted(words))
    up_to = np.cumsum([words[n] for n in lengths.tolist()])
    median, high = (int(lengths[np.searchsorted(up_to, share * up_to[-1])]) for share in (0.5, 0.95))
    mean = round(words.total() and sum(n * k for n, k in words.items()) / words.total(), 1)
    return {"mean": mean, "median": median, "p95": high, "longest": int(lengths[-1])}


def _source(told: Any) -> tuple[str, str, str]:
    if isinstance(told, Mapping):
        return str(told.get("name", "")), str(told.get("licence", "")), str(told.get("credit", ""))
    return str(told), "", ""


def _in_order(kinds: Iterable[str]) -> list[str]:
    order = list(QUESTION_TYPES)
    return sorted(kinds, key=order.index)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
