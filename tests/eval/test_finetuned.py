"""Base and adapters on the same questions: what counts as right, and that gains are taken question by question."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea import geotokens
from gaea.errors import InputError
from gaea.eval import finetuned
from gaea.eval.__main__ import main
from gaea.finetune.customs import describe
from gaea.finetune.dataset import Kind, rows_of
from gaea.finetune.generate import picture_name
from gaea.finetune.geography import Geographer
from gaea.finetune.questions import Item, example_of_item
from gaea.finetune.reasoning import city_and_country, coordinates
from gaea.finetune.rowfiles import read_examples
from gaea.finetune.rowlayout import write_rows
from gaea.finetune.wording import Deck

VADUZ = (47.1393, 9.5217)


def item(skill: str, form: str) -> Item:
    """A question about Vaduz."""
    rng = np.random.default_rng(3)
    made = getattr(Geographer(rng, Deck(rng)), form)(describe(*VADUZ), skill, "a.jpg")
    assert made is not None
    return made


def test_each_type_is_right_by_its_own_rule() -> None:
    short, verdict, choice = item("country", "short"), item("driving", "true_false"), item("continent", "choice")
    assert finetuned.right(short, "This is Liechtenstein, I think.")
    assert not finetuned.right(short, "This is Austria.")
    other = {"True": "False", "False": "True"}[verdict.key]
    assert finetuned.right(verdict, f"{verdict.key}.")
    assert finetuned.right(verdict, {"True": "Yes", "False": "No"}[verdict.key])
    assert not finetuned.right(verdict, other)
    assert not finetuned.right(verdict, "")
    letter = "ABCD"[choice.options.index("Europe")]
    assert finetuned.right(choice, f"{letter}. Europe")
    assert finetuned.right(choice, letter)
    assert not finetuned.right(choice, "ABCD".replace(letter, "")[0])


def test_a_place_is_right_by_its_town_and_country_or_by_its_distance() -> None:
    rng = np.random.default_rng(0)
    named, cell = city_and_country(describe(*VADUZ), rng, "a.jpg"), coordinates(describe(*VADUZ), rng, "a.jpg")
    assert named is not None
    assert cell is not None
    assert finetuned.right(named, "Vaduz, Liechtenstein")
    assert not finetuned.right(named, "Schaan, Liechtenstein")
    for lat, lon, right in ((47.5, 9.7, True), (48.2, 16.4, False)):
        assert finetuned.right(cell, geotokens.to_text(geotokens.encode(lat, lon)[:8])) == right
    assert not finetuned.right(cell, "somewhere")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twelve questions about pictures of six places."""
    rng = np.random.default_rng(1)
    geographer = Geographer(rng, Deck(rng))
    written = []
    for lat, lon in ((47.14, 9.52), (48.2, 16.4), (46.9, 7.4), (52.5, 13.4), (45.4, 9.2), (50.1, 14.4)):
        name = picture_name(lat, lon, 60.0)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (96, 96), (int(lat), int(lon), 40)).save(tmp_path / name)
        for made in (
            geographer.short(describe(lat, lon), "country", name),
            geographer.true_false(describe(lat, lon), "driving", name),
        ):
            assert made is not None
            written += rows_of(example_of_item(dataclasses.replace(made, image=name), "test"), Kind.TRAIN)
    write_rows(tmp_path / "rows.jsonl", iter(written))
    return tmp_path / "rows.jsonl"


def test_gains_are_over_the_same_questions(rows: Path) -> None:
    asked = finetuned.read(read_examples(rows), rows.parent)
    keys = [one.item.key for one in asked]
    report = finetuned.compare(asked, {"base": ["?"] * len(asked), "all right": keys, "the same": ["?"] * len(asked)})
    assert report["types"]["all"]["n"] == 12
    assert report["types"]["all"]["places"] == 6
    assert report["types"]["SVQA"]["accuracy"] == {
        "base": [0, [0, 0]], "all right": [1, [1, 1]], "the same": [0, [0, 0]],
    }  # fmt: skip
    assert report["types"]["all"]["gain"] == {"all right": [1, [1, 1]], "the same": [0, [0, 0]]}
    assert {given: told["n"] for given, told in report["given"].items()} == {"the picture alone": 12}
    table = finetuned.markdown(report)
    assert "| all | 12 | 0.0 (0.0 to 0.0) | 100.0 (100.0 to 100.0) |" in table
    assert "| +100.0 (+100.0 to +100.0) |" in table


def test_the_command_asks_the_shipped_nano_and_keeps_every_reply(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "report.json"
    assert main(["finetuned", str(rows), "--limit", "4", "--out", str(out)]) == 0
    assert "| all | 4 |" in capsys.readouterr().out
    replies = json.loads(out.read_text())["replies"]
    assert len(replies) == 4
    assert all(set(reply) == {"id", "key", "base"} for reply in replies)
    assert out.with_suffix(".md").read_text().startswith("4 questions about")


def test_everyone_is_asked_under_each_condition(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = ["finetuned", str(rows), "--limit", "2", "--retrieval", "nano", "--evidence", "wrong", "none"]
    assert main([*command, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert list(report["seconds"]) == ["base, wrong", "base, none"]
    assert list(report["types"]["all"]["gain"]) == ["base, none"]


@pytest.mark.parametrize("told", ["folder", "=folder", "name=", "name=folder@3bit"])
def test_a_contestant_without_a_name_or_folder_is_refused(told: str) -> None:
    with pytest.raises(InputError, match="NAME=FOLDER"):
        finetuned.contestants([told], base=True)


def test_contestants_have_names_of_their_own() -> None:
    assert finetuned.contestants(["a=x", "b=y@4bit"], base=True) == [
        ("base", None, None), ("a", "x", None), ("b", "y", "4bit"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="name of its own"):
        finetuned.contestants(["base=x"], base=True)
    with pytest.raises(InputError, match="at least one"):
        finetuned.contestants([], base=False)
