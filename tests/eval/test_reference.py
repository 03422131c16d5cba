"""The distances of others recomputed, on invented answers and on real ones."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from gaea.eval.__main__ import main
from gaea.eval.reference import columns, conventions, examine, recomputed
from gaea.eval.spoken import FOLDER
from gaea.sphere import great_circle_km

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[3] / "shared/data"))
COLUMNS = "image_name,model_response,label_lat,label_long,predicted_lat,predicted_long,distance"


def write(root, rows):
    folder = root / FOLDER
    folder.mkdir(parents=True)
    with gzip.open(folder / "invented-full-bench.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join([COLUMNS, *rows]) + "\n")
    return root


def row(number, true, given, distance):
    said = "," if given is None else f"{given[0]},{given[1]}"
    return f"{number}.jpg,words,{true[0]},{true[1]},{said},{distance}"


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(2)
    rows = []
    for n in range(50):
        true, given = rng.uniform((-60, -170), (60, 170)), rng.uniform((-60, -170), (60, 170))
        given = true + 0.1 if n % 2 else given
        rows.append(row(n, true, given, float(great_circle_km(*true, *given)) * 6378.137 / 6371.0088))
    return write(tmp_path, [*rows, row(50, (10, 10), None, ""), row(51, (0.5, 0.5), None, "")])


def test_another_radius_is_recognised_and_told(data):
    (column,) = columns(data)
    told = recomputed(column)
    assert told["their formula"] == "sphere of 6378.14 km"
    assert told["rows recomputed to 10 m by that formula"] == 50
    assert told["largest difference, %"] == pytest.approx(0.112, abs=0.01)
    assert told["median km, theirs and ours"][0] > told["median km, theirs and ours"][1]


def test_conventions_move_the_figures(data):
    (column,) = columns(data)
    told = conventions(column)
    contract = told["contract: every answer, ≤, great circle"]
    assert contract["n"] == 52
    assert contract["≤ 25 km"] == pytest.approx(100 * 25 / 52, abs=0.01)
    assert told["missing answers left out"]["≤ 25 km"] == 50
    null = told["missing answers set to 0, 0"]
    assert null["≤ 200 km"] > contract["≤ 200 km"]  # one truth lies near 0, 0
    assert told["< instead of ≤"]["< 25 km"] == contract["≤ 25 km"]


def test_the_command_prints_and_writes(data, tmp_path, capsys):
    assert main(["reference", "--data", str(data), "--out", str(tmp_path / "o/r.json")]) == 0
    assert "| invented | 50 of 52 |" in capsys.readouterr().out
    assert "python -m gaea.eval reference" in (tmp_path / "o/r.md").read_text()
    assert main(["reference", "--data", str(tmp_path / "absent")]) == 2


@pytest.mark.skipif(not (DATA / FOLDER).is_dir(), reason=f"needs {FOLDER} in GAEA_DATA or ../shared/data")
def test_every_parsed_row_of_real_answers_is_recomputed():
    for told in examine(DATA).values():
        mine = told["recomputed"]
        assert mine["rows recomputed to 10 m by that formula"] == mine["rows with a distance"] >= 800
        assert mine["rows that differ from the contract's by more than 0.6 %"] == 0
        assert not any(mine["rows that change sides of a threshold"].values())
        theirs, ours = mine["median km, theirs and ours"]
        assert ours == pytest.approx(theirs, rel=1e-4)
