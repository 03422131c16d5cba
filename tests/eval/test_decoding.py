"""Searches and selections are scored on the same pictures, the oracle stays apart, and what is missing is said."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from gaea import geotokens
from gaea.errors import InputError
from gaea.eval import decoding, decoding_report, decoding_run
from gaea.eval.__main__ import main
from gaea.eval.orbit import Case, save
from gaea.eval.strategies import SAMPLES, SELECTIONS, curves, select, strategies
from gaea.finetune.reward import RewardConfig

EXAM = decoding.DecodingExam(symbols=3, advised=2, reward=RewardConfig(hidden=(), steps=40))
PICTURE = Image.new("RGB", (8, 8))


class Knowing:
    """Tells most symbols of the truth's path, and errs at some; the same for the same place."""

    def __init__(self, case, sure=2.0):
        self.path = geotokens.encode(case.lat, case.lon)
        self.seed = abs(int(case.lat * 1000 + case.lon * 7919))
        self.sure = sure

    def __call__(self, prefixes):
        length = prefixes.shape[1]
        rows = []
        for prefix in prefixes.tolist():
            rng = np.random.default_rng((self.seed, *prefix))
            row = rng.normal(0, 1, geotokens.VOCAB_SIZES[length])
            if prefix == self.path[:length].tolist():
                row[self.path[length]] += self.sure * rng.random() * 2
            rows.append(row - np.logaddexp.reduce(row))
        return np.array(rows)


class Talking:
    """An engine that answers as it was told to."""

    name, has_geotokens = "talking", True

    def __init__(self, replies):
        self.replies = list(replies)

    def see(self, image):
        return image

    def complete(self, messages, sight, *, max_new_tokens=0):
        return self.replies.pop(0)


def cases(count, seed):
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, count))), rng.uniform(-180, 180, count)
    return [Case(PICTURE, float(a), float(o), f"{i // 2}/0") for i, (a, o) in enumerate(zip(lat, lon, strict=True))]


@pytest.fixture(scope="module")
def heads():
    return decoding.train_heads(Knowing, cases(24, 1), dataclasses.replace(EXAM, symbols=4))


@pytest.fixture(scope="module")
def told(heads):
    replies = ['{"choice": 2}', "the second", '{"lat": 10, "lon": 20}'] * 2
    return decoding.examine(Knowing, cases(6, 2), heads, dataclasses.replace(EXAM, symbols=4), Talking(replies))


def test_every_search_meets_every_selection(told):
    assert set(told["table"]) == set(strategies(4))
    assert len(told["table"]) == 9
    for name, row in told["table"].items():
        assert set(row) == {"scored cells", *SELECTIONS}, name
        for selection in SELECTIONS:
            assert row[selection]["n"] == 6
            assert row[selection]["places"] == 3
            assert row[selection]["answered"] == 6


def test_a_model_that_knows_is_found_to_know(heads):
    quick = dataclasses.replace(EXAM, advised=0, curved=False)
    sure = decoding.examine(lambda case: Knowing(case, 60.0), cases(4, 3), heads, quick)
    assert sure["table"]["beam 5"]["likelihood"]["within_2500_km"][0] > 0.7
    lost = decoding.examine(lambda case: Knowing(case, 0.0), cases(4, 3), heads, quick)
    assert lost["table"]["beam 5"]["likelihood"]["within_2500_km"][0] < 0.5
    assert sure["a model chooses"] == {}


def test_more_compute_is_more_scored_cells_and_the_first_draws_of_more(told):
    for steps in told["curve"].values():
        cells = [row["scored cells"] for row in steps.values()]
        assert cells == sorted(cells)
        assert cells[-1] > cells[0]
    case = cases(1, 4)[0]
    kinds = curves(4)["samples, grid"]
    few, many = (kinds[n](Knowing(case)) for n in (SAMPLES[2], SAMPLES[4]))
    assert {c.tokens for c in few.candidates} <= {c.tokens for c in many.candidates}
    assert told["more compute"]["beam"]["likelihood"]["times the cells"] > 1


def test_the_oracle_is_told_apart_and_bounds_what_selects_from_the_pool(told):
    diagnostic = told["diagnostic: best in pool, never an answer"]
    assert "oracle" not in json.dumps(told["table"])
    for name, mine in diagnostic.items():
        assert mine["best_km"][0] <= told["table"][name]["likelihood"]["median_km"][0]
        assert mine["best_km"][0] <= told["table"][name]["reward head"]["median_km"][0]


def test_reward_heads_are_measured_on_blocks_that_did_not_train_them(heads):
    assert heads.heads
    assert not set(heads.heads) & set(heads.absent)
    assert set(heads.heads) | set(heads.absent) == set(strategies(4))
    for quality in heads.quality.values():
        assert quality["candidates"] > 0
        assert quality["log_loss"] > 0


def test_a_head_that_cannot_be_trained_says_why():
    none = decoding.train_heads(lambda case: Knowing(case, 0.0), cases(4, 5), dataclasses.replace(EXAM, symbols=1))
    assert "none are near" in none.absent["greedy"]
    assert not none.heads
    told = decoding.examine(Knowing, cases(2, 6), none, dataclasses.replace(EXAM, symbols=1, curved=False))
    assert "reward head" not in told["table"]["greedy"]
    assert "not asked: no head" in decoding_report._table(told["table"])
    assert "no validation places" in decoding.train_heads(Knowing, [], EXAM).absent["greedy"]


def test_a_model_that_does_not_answer_is_counted_and_scored_as_what_stood_in(told):
    chosen = told["a model chooses"]
    assert chosen["chooses from beam 5"]["failed"] == 0
    failed = chosen["chooses from 30 samples, grid"]
    assert (failed["asked"], failed["failed"]) == (2, 2)
    assert failed["reasons"] == {"reply is not JSON": 2}
    assert failed["answers"] == failed["least loss (median) on the same"]
    assert chosen["names a point after greedy and 30 samples"]["failed"] == 0


def test_rules_can_be_asked_alone():
    decoded = strategies(3)["beam 5"](Knowing(cases(1, 7)[0]))
    assert set(select(decoded, None, ("hit",)).points) == {"likelihood", "majority", "least loss (hit)"}


def report_of(told):
    return {
        "contract": "c",
        "command": "python -m gaea.eval decoding",
        "commit": "abc",
        "exam": dataclasses.asdict(EXAM),
        "models": {"nano LLaVA": {"reward heads": {"trained": {}, "absent": {"greedy": "none near"}}, "seen": told}},
        "absent": {"GeoToken": "no weights in runs/tokens"},
    }


def test_the_report_says_what_was_done_and_what_was_not(told, tmp_path, capsys):
    save(report_of(told), tmp_path / "decoding.json")
    assert main(["report", str(tmp_path / "decoding.json")]) == 0
    page = capsys.readouterr().out
    for name in strategies(3):
        assert page.count(f"\n| {name} |") >= len(SELECTIONS)
    assert "| greedy | none: none near | – | – | – |" in page
    assert "Not examined: no weights in runs/tokens." in page
    assert "Diagnostic, not an answer" in page
    assert "reply is not JSON (2)" in page


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ([60.0, [30.0, 90.0]], "helps"),
        ([4.0, [1.0, 7.0]], "helps, too little to notice"),
        ([-60.0, [-90.0, -30.0]], "harms"),
        ([5.0, [-10.0, 20.0]], "makes no difference"),
        ([50.0, [-10.0, 120.0]], "cannot be told from nothing"),
        ([None, [None, None]], "not asked"),
    ],
)
def test_a_verdict_claims_nothing_from_an_interval_that_holds_zero(difference, said):
    assert decoding_report.verdict(difference, 100) == said
    assert decoding_report.verdict(difference, 3) in ("too few blocks to tell (3)", "not asked")


def test_missing_weights_and_imagery_are_named(tmp_path):
    assert "python -m gaea.finetune tokens" in decoding_run.geotoken(None, tmp_path)
    with pytest.raises(InputError, match="--data"):
        decoding_run.tiles(tmp_path, tmp_path)
