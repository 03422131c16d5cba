"""The gate: within its intervals or not, and what could not be run is said."""

import dataclasses
import json

import pytest

from gaea.errors import InputError
from gaea.eval import gate
from gaea.eval.__main__ import main
from gaea.eval.gate import Entry, held, load, measure, save
from gaea.eval.running import Plan

SUITE = {
    "here": Entry("travel", "random-place", Plan(), exact=True),
    "questions": Entry("travel", "majority", Plan(only="ask"), exact=True),
}


def travel(root, count=4):
    folder = root / "photos/travel_photos"
    folder.mkdir(parents=True)
    rows = [
        {"file_name": f"{n}.jpg", "latitude": 40 + n, "longitude": 3 * n, "country_iso2": "FR", "title": f"Tower {n}"}
        for n in range(count)
    ]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


def test_the_same_again_passes_and_anything_else_does_not(tmp_path):
    data = travel(tmp_path / "data")
    first = measure(tmp_path / "a", data, tmp_path, suite=SUITE)
    save(first, tmp_path / "gate.json")
    findings, notes = held(measure(tmp_path / "b", data, tmp_path, suite=SUITE), load(tmp_path / "gate.json"))
    assert findings
    assert all(each.passed for each in findings)
    assert not notes
    assert {each.figure for each in findings if each.entry == "questions"} >= {"answered", "short, by rule"}
    changed = json.loads((tmp_path / "gate.json").read_text())
    changed["entries"]["here"]["figures"]["geoscore"][0] += 0.01
    findings, _ = held(first, changed)
    (out,) = [each for each in findings if not each.passed]
    assert out.line().startswith("OUT here: geoscore")


def test_an_interval_is_what_counts_where_a_model_answers():
    was = {"data_sha256": "x", "hashes": {"model": "m"}, "exact": False, "figures": {"geoscore": [10.0, [5.0, 15.0]]}}
    for value, passed in ((5.0, True), (15.0, True), (4.9, False), (15.1, False)):
        now = {**was, "figures": {"geoscore": [value, [0, 99]]}, "hashes": {"model": "n"}}
        (finding,), notes = held({"entries": {"e": now}, "absent": {}}, {"entries": {"e": was}})
        assert finding.passed is passed
        assert notes == ["e: another model than committed"]
    gone = {**was, "figures": {}}
    (finding,), _ = held({"entries": {"e": gone}, "absent": {}}, {"entries": {"e": was}})
    assert not finding.passed
    assert "nothing" in finding.line()


def test_none_and_all_leave_room():
    assert gate._widened([0.0, [0.0, 0.0]], 1.0, 12) == [0.0, [0.0, 0.25]]
    assert gate._widened([100.0, [100.0, 100.0]], 100.0, 2) == [100.0, [0.0, 100.0]]
    assert gate._widened([0.5, [0.5, 0.5]], 1.0, 3) == [0.5, [0.5, 0.5]]


def test_what_cannot_be_compared_is_said(tmp_path):
    was = {"data_sha256": "x", "hashes": {}, "exact": True, "figures": {"geoscore": [1.0, [1.0, 1.0]]}}
    other = {**was, "data_sha256": "y"}
    with pytest.raises(InputError, match="data are others"):
        held({"entries": {"e": other}, "absent": {}}, {"entries": {"e": was}})
    with pytest.raises(InputError, match=r"not run \(no pictures\)"):
        held({"entries": {}, "absent": {"e": "no pictures"}}, {"entries": {"e": was}})
    with pytest.raises(InputError, match="nothing of the suite"):
        measure(tmp_path, tmp_path / "absent", tmp_path, suite=SUITE)
    with pytest.raises(InputError, match="--update"):
        load(tmp_path / "absent.json")


def test_the_command_exits_with_what_was_found(tmp_path, monkeypatch, capsys):
    data = travel(tmp_path / "data")
    monkeypatch.setattr(gate, "SUITE", SUITE)
    monkeypatch.setattr("gaea.eval.gate_command.SUITE", SUITE)
    asked = ["gate", "--data", str(data), "--cache", str(tmp_path), "--committed", str(tmp_path / "gate.json")]
    assert main([*asked, "--out", str(tmp_path / "0")]) == 2
    assert main([*asked, "--out", str(tmp_path / "1"), "--update"]) == 0
    assert main([*asked, "--out", str(tmp_path / "2")]) == 0
    assert "figures within their committed intervals" in capsys.readouterr().out
    told = json.loads((tmp_path / "gate.json").read_text())
    told["entries"]["here"]["figures"]["median_km"][0] *= 2
    (tmp_path / "gate.json").write_text(json.dumps(told))
    assert main([*asked, "--out", str(tmp_path / "3"), "--entry", "here"]) == 1


def test_the_suite_is_small():
    from gaea.eval.gate import SUITE as REAL

    asked = [entry.plan.limit for entry in REAL.values() if not entry.exact]
    assert all(asked)
    assert sum(asked) <= 120
    assert all(dataclasses.asdict(entry.plan)["seed"] == 0 for entry in REAL.values())
