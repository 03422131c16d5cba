"""One command that makes every run of the published report, and asks nothing twice."""

import json

from gaea.eval import suite_command
from gaea.eval.__main__ import main
from gaea.eval.running import Plan
from gaea.eval.runs import read_run


def test_every_run_is_made_marked_scored_and_kept(tmp_path, monkeypatch):
    rows = [
        {"file_name": f"{n}.jpg", "latitude": 40 + n, "longitude": 3 * n, "country_iso2": code, "title": f"Tower {n}"}
        for n, code in enumerate(["FR", "DE", "IT", "ES", "PT", "GB"])
    ]
    folder = tmp_path / "data/photos/travel_photos"
    folder.mkdir(parents=True)
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    baselines = tuple(each for each in suite_command.SYSTEMS if each[1] in ("majority", "random-place", "always-true"))
    monkeypatch.setattr(suite_command, "SYSTEMS", baselines)
    asked = ["suite", "--data", str(tmp_path / "data"), "--benchmark", "travel", "--out", str(tmp_path / "out")]
    assert main(asked) == 0
    made = {path.parent.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/*/*/scores.json")}
    assert made == {
        "travel-places/01-majority",
        "travel-places/02-random-place",
        "travel-questions/01-majority",
        "travel-questions/02-random-place",
        "travel-questions/03-always-true",
    }
    marks = json.loads((tmp_path / "out/travel-questions/03-always-true/lexical.json").read_text())
    assert marks["scores"]["true_false"]["n"] == 6
    lines = tmp_path / "out/travel-places/01-majority/predictions.jsonl"
    before = lines.read_bytes()
    assert main(asked) == 0
    assert lines.read_bytes() == before
    assert read_run(lines.parent).header.settings["only"] == "locate"
    assert Plan().limit is None


def test_the_suite_has_every_way_and_every_baseline():
    labels = {label for label, *_ in suite_command.SYSTEMS}
    assert {"nano", "nano without retrieval", "nano, picture blanked", "nearest neighbour", "EXIF"} <= labels
    assert {"nano, greedy", "nano, beam 5", "nano, 30 samples, grid", "nano, best first"} <= labels
