"""Items, predictions and headers survive their JSON forms; runs survive kills."""

import json

import pytest

from gaea.errors import InputError
from gaea.eval.records import GroundTruth, Item, Prediction, RunHeader, line
from gaea.eval.runs import PREDICTIONS, RunWriter, data_sha256, read_run

ITEMS = tuple(
    Item(f"i{n}", "toy", "locate", f"{n}.jpg", truth=GroundTruth(float(n), 0.0, "FR", facts=[("coast", "yes", "x")]))
    for n in range(4)
)
HEADER = RunHeader("toy", "1", data_sha256(ITEMS), "nobody", {"limit": None, "shard": "1/1"}, 3, started="2026-11-26")


@pytest.mark.parametrize(
    "prediction",
    [
        Prediction("a", "missing"),
        Prediction("a", "answered", "Kraków", 0.0, 0.0, {50: 1.5, 90: 2.5}, {50: False, 90: True}, {50: 1.0, 90: 2.0}),
        Prediction("a", "error", error="timeout", seconds=1.5, log_score=0.0, cells={2: "47c"}, country="PL", raw="{}"),
    ],
)
def test_a_prediction_is_read_back(prediction):
    assert Prediction.from_dict(json.loads(line(prediction))) == prediction


def test_an_item_and_a_header_are_read_back():
    item = Item(
        "q",
        "toy",
        "ask",
        question="Which?",
        question_type="choice",
        truth=GroundTruth(answer="A", choices=("x", "y")),
        strata={"continent": "Asia"},
        place="p",
        split="unseen",
    )
    assert Item.from_dict(json.loads(line(item))) == item
    assert Item.from_dict(json.loads(line(ITEMS[0]))) == ITEMS[0]
    assert ITEMS[0].place == "i0"
    assert RunHeader.from_dict(json.loads(json.dumps(HEADER.to_dict()))) == HEADER


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Prediction("a", "perhaps"),
        lambda: Prediction("a", "answered", lat=91.0, lon=0.0),
        lambda: Prediction("a", "answered", lat="1", lon=0.0),
        lambda: Prediction("a", "answered", lat=1.0),
        lambda: Prediction("a", "answered", lat=float("nan"), lon=0.0),
        lambda: GroundTruth(1.0, 181.0),
        lambda: Item("a", "toy", "guess"),
        lambda: Item("", "toy", "ask"),
        lambda: Item("a", "toy", "ask", question_type="riddle"),
        lambda: Prediction.from_dict({"id": "a", "status": "missing", "mood": 1}),
        lambda: Item.from_dict({"id": "a"}),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_a_run_goes_on_after_a_torn_line(tmp_path):
    with RunWriter(tmp_path / "run", HEADER, ITEMS) as run:
        run.append(Prediction("i0", "answered", lat=1.0, lon=2.0))
    with (tmp_path / "run" / PREDICTIONS).open("a") as file:
        file.write('{"id":"i1","sta')
    with RunWriter(tmp_path / "run", HEADER, ITEMS) as run:
        assert set(run.done) == {"i0"}
        run.append(Prediction("i1", "refused"))
    again = read_run(tmp_path / "run")
    assert not again.faults
    assert [p.status for _, p in again.pairs()] == ["answered", "refused", "missing", "missing"]


def test_another_run_is_not_written_over(tmp_path):
    with RunWriter(tmp_path, HEADER, ITEMS):
        pass
    other = RunHeader("toy", "1", HEADER.data_sha256, "nobody", {"limit": 2, "shard": "1/1"}, 3)
    with pytest.raises(InputError, match=r"settings.limit is None and 2"):
        RunWriter(tmp_path, other, ITEMS)
    with pytest.raises(InputError, match="holds no run"):
        read_run(tmp_path / "absent")


def test_what_is_wrong_in_a_run_is_counted(tmp_path):
    with RunWriter(tmp_path, HEADER, ITEMS) as run:
        run.append(Prediction("i0", "refused"))
        run.append(Prediction("i0", "answered", lat=1.0, lon=2.0))
        run.append(Prediction("stranger", "refused"))
    with (tmp_path / PREDICTIONS).open("a") as file:
        file.write('"no object"\n{"id": "i2", "status": "answered", "lat": "9", "lon": 1}\n')
    again = read_run(tmp_path)
    assert again.faults == {"broken lines": 2, "duplicate predictions": 1, "predictions of no item": 1}
    assert again.predictions["i0"].status == "refused"


def test_shards_are_read_as_one(tmp_path):
    for number in (1, 2):
        header = RunHeader("toy", "1", "x", "nobody", {"shard": f"{number}/2"})
        mine = ITEMS[number - 1 :: 2]
        with RunWriter(tmp_path / str(number), header, mine) as run:
            for item in mine:
                run.append(Prediction(item.id, "refused"))
    whole = read_run(tmp_path / "1", tmp_path / "2")
    assert {item.id for item in whole.items} == {item.id for item in ITEMS}
    assert all(p.status == "refused" for _, p in whole.pairs())
    with RunWriter(tmp_path / "3", RunHeader("toy", "1", "y", "nobody"), ITEMS):
        pass
    with pytest.raises(InputError, match="different runs: data_sha256"):
        read_run(tmp_path / "1", tmp_path / "3")
