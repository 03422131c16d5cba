"""Whether a briefing is read rightly: the truth is told, so every fault is the reader's."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np

from gaea.eval import told
from gaea.finetune.splits import Part, part_of


class Reader:
    """Looks the value up in the fenced data, and says yes or A) to everything that is to be judged or chosen."""

    def see(self, image: Any) -> Any:
        return SimpleNamespace(image=image)

    def complete(self, messages: Any, sight: Any, **_: Any) -> str:
        text = messages[-1]["content"][-1]["text"]
        question = text.rpartition("</data>")[2]
        if "A) " in question:
            return "so A)."
        if re.match(r"\s*(Is|Are|Do|True)\b.* (the|in|on|people|neighbours|place) .*", question):
            return "so yes."
        return text


def test_briefings_are_true_and_of_validation_land() -> None:
    known = told.briefings(20, np.random.default_rng(2))
    lat, lon = np.array([[float(v) for v in name.split()] for name, _ in known]).T
    assert set(part_of(lat, lon).tolist()) == {Part.VALIDATION}
    assert all(dict(briefing.facts).get("country") for _, briefing in known)


def test_a_reader_without_judgement_is_found_out() -> None:
    report = told.examine(Reader(), 90, seed=1)  # type: ignore[arg-type]
    forms = report["forms"]
    assert sum(form["n"] for form in forms.values()) == 90
    assert forms["open"]["accuracy"][0] > 0.7
    assert 0.2 < forms["true-false"]["accuracy"][0] < 0.8
    assert forms["choice"]["accuracy"][0] < 0.6
    assert len(report["wrong"]) > 20


class Parrot:
    """Has one sentence for everything."""

    def __init__(self, said: str) -> None:
        self.said, self.asked = said, list[Any]()

    def see(self, image: Any) -> Any:
        return image

    def complete(self, messages: Any, sight: Any, **_: Any) -> str:
        self.asked.append(messages)
        return self.said


def test_conversations_are_marked_word_for_word() -> None:
    parrot = Parrot("I see no other likely country.")
    report = told.converse(parrot, 100, seed=3)  # type: ignore[arg-type]
    assert len(parrot.asked) == report["forms"]["all"]["n"] == 100
    assert report["forms"]["all"]["n"] == sum(form["n"] for kind, form in report["forms"].items() if kind != "all")
    right = [kind for kind, form in report["forms"].items() if form["accuracy"][0] > 0 and kind != "all"]
    assert right == ["else"]
    assert len(report["wrong"]) == round(100 * (1 - report["forms"]["all"]["accuracy"][0]))
    assert any(m["content"][0].get("text") == parrot.said for m in parrot.asked[4]), "its own words went before"
