"""Real answers of four models, where they are at hand: what is read, and agreement with the file's own parser."""

import gzip
import os
from pathlib import Path

import pytest

from gaea.errors import InputError
from gaea.eval.__main__ import main
from gaea.eval.spoken import FOLDER, agrees, examine, replies
from gaea.spoken import read

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[3] / "shared/data"))
real = pytest.mark.skipif(not (DATA / FOLDER).is_dir(), reason=f"needs {FOLDER} in GAEA_DATA or ../shared/data")

COLUMNS = "image_name,model_response,label_lat,label_long,predicted_lat,predicted_long,distance"
ROWS = [
    '0.jpg,"{""lat"": 45.75, ""long"": 4.85, ""city"": ""Lyon""}",45.75,4.85,45.75,4.85,0.0',
    "1.jpg,I cannot tell.,10,10,,,",
    '2.jpg,"First (45.75, 4.85). Or (46.20, 6.14).",46.2,6.14,45.75,4.85,111.4',
    '3.jpg,"{""lat"": 46.75, ""long"": 4.85, ""city"": ""Sydney""}",45.75,4.85,46.75,4.85,111.195',
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    with gzip.open(folder / "invented-full-bench.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join([COLUMNS, *ROWS]) + "\n")
    return tmp_path


def test_what_is_counted(data):
    (counts,) = examine(data, beliefs=2).values()
    assert (counts["answers"], counts["coordinates"], counts["refused"]) == (4, 3, 1)
    assert (counts["the file parses"], counts["agree"], counts["differ"]) == (3, 2, [2])
    assert counts["city contradicts coordinates"] == 1
    assert counts["largest difference of distances, %"] < 0.5
    assert counts["beliefs"] == 2


def test_the_command(data, capsys):
    assert main(["spoken", "--data", str(data)]) == 0
    assert '"agree": 2' in capsys.readouterr().out
    assert main(["spoken", "--data", str(data / "absent")]) == 2
    with pytest.raises(InputError, match="give --data the folder"):
        next(replies(data / "absent"))


@real
def test_real_answers_are_read_as_by_their_own_parser():
    """Every ninth answer; ``python -m gaea.eval spoken`` reads all of them."""
    some = [reply for reply in replies(DATA) if reply.row % 9 == 1]
    said = [read(reply.text) for reply in some]
    parsed = [agrees(one, reply.parsed) for reply, one in zip(some, said, strict=True) if reply.parsed]
    assert len(parsed) > 500
    assert sum(parsed) / len(parsed) > 0.998
    silent = [one for one in said if not one.candidates]
    assert sum(one.refused for one in silent) >= 0.8 * len(silent)
