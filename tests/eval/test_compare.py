"""Which differences are real: paired, place by place, adjusted for how many are looked at."""

import json

import numpy as np
import pytest

from gaea.errors import InputError
from gaea.eval.__main__ import main
from gaea.eval.comparing import Sides, compare, differences, holm, p_value
from gaea.eval.records import GroundTruth, Item, Prediction, RunHeader
from gaea.eval.runs import RunWriter, read_run
from gaea.sphere import destination


def make_run(folder, errors_km, *, places=None, system="a", benchmark="toy", lat=0.0):
    asked = [
        Item(f"i{n}", benchmark, "locate", truth=GroundTruth(lat, 10.0), place=places[n] if places else "")
        for n in range(len(errors_km))
    ]
    with RunWriter(folder, RunHeader(benchmark, "1", "0" * 64, system), asked) as writer:
        for item, km in zip(asked, errors_km, strict=True):
            at = None if km is None else tuple(float(each) for each in destination(lat, 10.0, 90.0, km))
            writer.append(Prediction(item.id, "answered", "", *(at or (None, None))))
    return read_run(folder)


def test_a_difference_that_is_there_is_found_and_chance_is_not(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.exponential(500, 200)
    a = make_run(tmp_path / "a", base)
    b = make_run(tmp_path / "b", base * 0.8, system="b")
    c = make_run(tmp_path / "c", rng.permutation(base), system="c")
    told = compare(a, b)
    assert (told["n"], told["places"], told["one"], told["other"]) == (200, 200, "a", "b")
    assert told["scores"]["median_km"]["real"]
    assert told["scores"]["median_km"]["better"] == "other"
    assert told["scores"]["geoscore"]["better"] == "other"
    assert told["scores"]["geoscore"]["difference"][0] < 0, "one minus other"
    low, high = told["scores"]["geoscore"]["difference"][1]
    assert low < told["scores"]["geoscore"]["difference"][0] < high < 0
    again = compare(a, c)
    assert not any(row["real"] for row in again["scores"].values())
    assert {row["better"] for row in again["scores"].values()} == {None}


def test_pairing_is_what_finds_it(tmp_path):
    """The same small gain on every item: far smaller than the spread between items."""
    base = np.random.default_rng(1).exponential(900, 60)
    told = compare(make_run(tmp_path / "a", base), make_run(tmp_path / "b", base - 0.03 * base, system="b"))
    assert told["scores"]["geoscore"]["real"]
    spread = np.std(5000 * np.exp(-base / 1492.7)) / np.sqrt(60)
    assert abs(told["scores"]["geoscore"]["difference"][0]) < 0.5 * spread


def test_places_and_not_items_are_drawn(tmp_path):
    """Two hundred copies of one place are one observation, and show nothing."""
    base = [500.0] * 200 + [400.0]
    better = [100.0] * 200 + [600.0]
    places = ["one"] * 200 + ["two"]
    told = compare(
        make_run(tmp_path / "a", base, places=places), make_run(tmp_path / "b", better, places=places, system="b")
    )
    assert told["places"] == 2
    assert not any(row["real"] for row in told["scores"].values())
    free = compare(make_run(tmp_path / "c", base), make_run(tmp_path / "d", better, system="b"))
    assert free["scores"]["geoscore"]["real"]


def test_identical_runs_do_not_differ(tmp_path):
    base = [10.0, 300.0, 5000.0, None]
    told = compare(make_run(tmp_path / "a", base), make_run(tmp_path / "b", base, system="b"))
    for row in told["scores"].values():
        assert (row["difference"], row["p"], row["real"]) == ([0.0, [0.0, 0.0]], 1.0, False)


def test_a_missing_answer_counts_on_its_side(tmp_path):
    a = make_run(tmp_path / "a", [10.0] * 30)
    b = make_run(tmp_path / "b", [10.0] * 15 + [None] * 15, system="b")
    told = compare(a, b)["scores"]["within_25_km"]
    assert (told["one"], told["other"], told["n"], told["better"]) == (1.0, 0.5, 30, "one")


def test_only_what_both_were_asked_is_compared(tmp_path):
    told = compare(make_run(tmp_path / "a", [1.0] * 5), make_run(tmp_path / "b", [1.0] * 3, system="b"))
    assert (told["n"], told["one alone"], told["other alone"]) == (3, 2, 0)


def test_what_cannot_be_compared_is_refused(tmp_path):
    a = make_run(tmp_path / "a", [1.0])
    with pytest.raises(InputError, match="only runs of one benchmark"):
        compare(a, make_run(tmp_path / "b", [1.0], benchmark="else"))
    with pytest.raises(InputError, match="say another thing"):
        compare(a, make_run(tmp_path / "c", [1.0], lat=5.0))


def test_holm_is_that_of_the_textbook():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_p_is_two_sided_and_never_zero():
    assert p_value(np.arange(1, 1000.0)) == pytest.approx(2 / 1000)
    assert p_value(-np.arange(1, 1000.0)) == pytest.approx(2 / 1000)
    assert p_value(np.r_[-np.ones(500), np.ones(500)]) == 1.0
    assert p_value(np.zeros(100)) == 1.0


def test_chance_alone_is_called_real_about_as_often_as_it_may():
    """Of sixty pairs of scores that do not differ, at 5 % each, hardly more than eight may look real."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(60):
        sides = {"x": Sides(rng.normal(size=40), rng.normal(size=40))}
        found += differences(sides, [str(n) for n in range(40)])["x"]["real"]
    assert found <= 8


def test_nan_on_either_side_leaves_an_item_out():
    sides = {"x": Sides(np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, np.nan]))}
    assert differences(sides, ["a", "b", "c"])["x"]["n"] == 1
    assert differences({}, []) == {}


def test_marks_of_different_judges_are_never_compared(tmp_path):
    from gaea.eval.verdicts import Verdict

    asked = [Item(f"q{n}", "toy", "ask", question="?", question_type="long") for n in range(4)]
    runs = []
    for name in "ab":
        with RunWriter(tmp_path / name, RunHeader("toy", "1", "0" * 64, name), asked) as writer:
            for item in asked:
                writer.append(Prediction(item.id, "answered", "words"))
        runs.append(read_run(tmp_path / name))

    def marks(judge, value):
        return [Verdict(item.id, "long", judge, value, "judged") for item in asked]

    same = compare(*runs, (marks("x", 8.0), marks("x", 2.0)))["scores"]
    assert same["long (judged by x)"]["difference"][0] == 60.0
    assert compare(*runs, (marks("x", 8.0), marks("y", 2.0)))["scores"] == {}
    assert "long (lexical, not judged)" in compare(*runs, (marks("lexical", 8.0), marks("lexical", 8.0)))["scores"]


def test_the_command_says_what_is_real(tmp_path, capsys):
    make_run(tmp_path / "a", [1000.0] * 40)
    make_run(tmp_path / "b", [10.0] * 40, system="b")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(tmp_path / "c.json")]) == 0
    printed = capsys.readouterr().out
    assert "Real: median km, geoscore" in printed
    assert "adjusted by Holm" in printed
    assert json.loads((tmp_path / "c.json").read_text())["scores"]["geoscore"]["better"] == "other"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
