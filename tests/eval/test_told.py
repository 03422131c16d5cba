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
