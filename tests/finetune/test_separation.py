"""Rows of a small region are held out by whole S2 cells, the same ones whoever asks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gaea import cells
from gaea.errors import InputError
from gaea.finetune.__main__ import main
from gaea.finetune.customs import describe
from gaea.finetune.dataset import Kind, rows_of
from gaea.finetune.geography import Geographer
from gaea.finetune.questions import example_of_item
from gaea.finetune.rowfiles import read_examples
from gaea.finetune.rowlayout import write_rows
from gaea.finetune.separation import held_out, separate
from gaea.finetune.wording import Deck


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two questions about each of 60 points around Vaduz, 200 m to 8 km apart."""
    rng = np.random.default_rng(4)
    geographer, rows = Geographer(rng, Deck(rng)), []
    for lat, lon in zip(47.14 + rng.normal(0, 0.03, 60), 9.52 + rng.normal(0, 0.03, 60), strict=True):
        place = describe(round(float(lat), 4), round(float(lon), 4))
        for item in (geographer.short(place, "country", "a.jpg"), geographer.short(place, "climate", "a.jpg")):
            assert item is not None
            rows += rows_of(example_of_item(item, "test"), Kind.TRAIN)
    write_rows(tmp_path / "all.jsonl", iter(rows))
    return tmp_path / "all.jsonl"


def cells_of(path: Path) -> list[int]:
    return [int(cells.from_latlon(*example.place, 14)) for example in read_examples(path) if example.place]


def test_no_cell_is_in_both_files_and_no_row_is_lost(source: Path, tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    kept, held = separate(source, train, test, share=0.3)
    assert kept + held == len(cells_of(source)) == 120
    assert held > 10
    assert not set(cells_of(train)) & set(cells_of(test))
    assert sorted(cells_of(train) + cells_of(test)) == sorted(cells_of(source))


def test_the_share_is_about_what_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    points = zip(rng.uniform(-60, 60, 3000), rng.uniform(-180, 180, 3000), strict=True)
    assert abs(np.mean([held_out(lat, lon, share=0.2) for lat, lon in points]) - 0.2) < 0.03


def test_the_command_says_how_many_went_where(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(source), str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl")]
    assert main(["dataset", "split", *files, "--share", "0.3"]) == 0
    assert "rows to" in capsys.readouterr().out
    assert main(["dataset", "split", *files, "--share", "1.5"]) == 2
    assert "expected a share between 0 and 1" in capsys.readouterr().err


def test_rows_without_a_place_are_named(source: Path, tmp_path: Path) -> None:
    row = json.loads(source.read_text().splitlines()[0])
    for key in [key for key in row if isinstance(row[key], dict)]:
        row[key] = {k: v for k, v in row[key].items() if k not in ("lat", "lon")}
    (tmp_path / "nowhere.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match="row 1 tells no place"):
        separate(tmp_path / "nowhere.jsonl", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
