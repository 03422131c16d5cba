"""Choices and verdicts are taught fact first, and only where the reader of names concludes the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gaea.finetune.collate import IGNORED
from gaea.finetune.conclusions import fact_first, taught
from gaea.finetune.customs import describe
from gaea.finetune.dataset import Example, Turn
from gaea.finetune.geography import Geographer
from gaea.finetune.questions import Item, example_of_item
from gaea.finetune.rowloss import asked_positions, row_mean
from gaea.finetune.trainer import LoraTrainer
from gaea.finetune.wording import LETTERS, Deck
from gaea.speech import Conclusion

PLACES = ((47.14, 9.52), (-33.9, 18.5), (35.7, 139.7), (51.5, -0.1), (-22.9, -43.2))


def made(form: str, skill: str) -> list[Item]:
    rng = np.random.default_rng(2)
    geographer = Geographer(rng, Deck(rng))
    items = (getattr(geographer, form)(describe(*place), skill, "a.jpg") for place in PLACES for _ in range(4))
    return [item for item in items if item is not None]


@pytest.mark.parametrize("skill", ["country", "continent", "capital", "languages"])
def test_the_right_option_comes_before_its_letter(skill: str) -> None:
    for item in made("choice", skill):
        answer = fact_first(item)
        assert answer == f"{item.key}, so {LETTERS[item.options.index(item.key)]}."
        assert Conclusion(item.question).follows([item.key]) == (answer[-2],)


@pytest.mark.parametrize("skill", ["country", "driving", "climate", "setting"])
def test_what_is_true_comes_before_the_verdict(skill: str) -> None:
    verdicts = set()
    for item in made("true_false", skill):
        answer = fact_first(item)
        if answer is None:
            continue
        value, _, verdict = answer.rpartition(", so ")
        assert (value == item.params["claim"]) == (item.key == "True") == (verdict == "yes.")
        verdicts.add(verdict)
    assert verdicts == {"yes.", "no."}


def test_open_answers_and_rows_of_strangers_stay() -> None:
    assert all(fact_first(item) is None for item in made("short", "country"))
    stranger = Example(("a.jpg",), "MCQ", (Turn("human", "<image>\nWhich?"), Turn("gpt", "A")))
    choice = example_of_item(made("choice", "country")[0], "test")
    kept, changed = taught([stranger, choice])
    assert kept is stranger
    assert (changed.question, changed.ours) == (choice.question, choice.ours)
    assert changed.answer != choice.answer


def test_rows_count_alike_however_long_their_answers() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 5, requires_grad=True)
    labels = torch.full((2, 9), IGNORED)
    labels[0, 1:8], labels[1, 8] = 1, 2
    each = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    each = each.view(2, 8)
    wanted = (each[0, :7].mean() + each[1, 7]) / 2
    torch.testing.assert_close(row_mean(logits[:, asked_positions(labels)], labels), wanted)


def test_an_accumulated_batch_is_one_mean() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(4, 6, 5), torch.randint(0, 5, (4, 6))
    labels[0, 3:], labels[:2, 4:], labels[3, :2] = IGNORED, IGNORED, IGNORED
    trainer = SimpleNamespace(current_gradient_accumulation_steps=2)
    parts = [
        LoraTrainer._row_loss(trainer, kept(logits[half], labels[half]), labels[half], torch.tensor(7))  # type: ignore[arg-type]
        for half in (slice(0, 2), slice(2, 4))
    ]
    whole = row_mean(kept(logits, labels)["logits"], labels)
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(
        LoraTrainer._row_loss(trainer, kept(logits, labels), labels),  # type: ignore[arg-type] # evaluation: no share
        whole,
    )


def kept(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a model gives that is asked for the positions of a batch alone."""
    return {"logits": logits[:, asked_positions(labels)]}


def test_scores_are_asked_for_where_something_is_learned() -> None:
    labels = torch.tensor([[IGNORED, IGNORED, IGNORED, 4, 5], [IGNORED, 7, IGNORED, IGNORED, IGNORED]])
    assert asked_positions(labels).tolist() == [0, 2, 3]
