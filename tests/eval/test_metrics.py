"""The evaluation contract, clause by clause."""

import math

import pytest

from gaea.errors import InputError
from gaea.eval.metrics import FARTHEST_KM, THRESHOLDS_KM, Outcome, score
from gaea.sphere import EARTH_RADIUS_KM

DEGREE_KM = math.radians(1) * EARTH_RADIUS_KM


def at(km, **changes):
    """A picture on the equator, answered so many km to the east."""
    values = {"lat": 0.0, "lon": 0.0, "guess": (0.0, km / DEGREE_KM), "covered": {}, "area_km2": {}}
    return Outcome(**(values | changes))


MISSING = at(0, guess=None, abstained=True)


def test_distance_is_great_circle():
    assert at(1000).error_km == pytest.approx(1000)
    assert Outcome(0, 179.5, (0, -179.5), {}, {}).error_km == pytest.approx(DEGREE_KM)


@pytest.mark.parametrize("km", THRESHOLDS_KM)
def test_a_threshold_includes_its_own_distance(km, monkeypatch):
    monkeypatch.setattr("gaea.eval.metrics.great_circle_km", lambda *_: float(km))
    assert score([at(0)])[f"within_{km}_km"][0] == 1.0
    monkeypatch.setattr("gaea.eval.metrics.great_circle_km", lambda *_: math.nextafter(km, math.inf))
    assert score([at(0)])[f"within_{km}_km"][0] == 0.0


def test_a_missing_answer_is_a_miss_everywhere():
    result = score([at(0), MISSING])
    assert (result["n"], result["answered"], result["abstained"]) == (2, 1, 1)
    assert [result[f"within_{km}_km"][0] for km in THRESHOLDS_KM] == [0.5] * 5
    assert result["geoscore"][0] == 2500.0
    assert score([MISSING])["median_km"][0] == pytest.approx(FARTHEST_KM)
    assert score([MISSING])["geoscore"][0] == 0.0


def test_an_answer_given_though_the_assistant_would_abstain_counts_as_answered():
    result = score([at(10, abstained=True)])
    assert (result["answered"], result["abstained"], result["within_25_km"][0]) == (1, 1, 1.0)


def test_median_and_geoscore():
    result = score([at(10), at(100), at(4000)])
    assert result["median_km"][0] == 100.0
    expected = sum(5000 * math.exp(-d / 1492.7) for d in (10, 100, 4000)) / 3
    assert result["geoscore"][0] == pytest.approx(expected, abs=0.06)


def test_intervals_hold_the_estimate_and_follow_the_seed():
    outcomes = [at(km) for km in range(1, 400, 7)]
    result = score(outcomes)
    for name in ("median_km", "geoscore", "within_25_km", "within_200_km"):
        value, (low, high) = result[name]
        assert low < value < high
    assert result == score(outcomes)
    assert result["median_km"][1] != score(outcomes, seed=1)["median_km"][1]


def test_coverage_is_over_those_that_gave_an_area():
    held = at(0, covered={50: False, 90: True}, area_km2={50: 10.0, 90: 100.0})
    lost = at(0, covered={50: False, 90: False}, area_km2={50: 30.0, 90: 300.0})
    result = score([held, lost, at(0)])
    assert result["coverage_50"] == [0.0, 2]
    assert result["coverage_90"] == [0.5, 2]
    assert result["median_area_90_km2"] == 200
    assert "coverage_90" not in score([at(0)])


def test_nothing_is_not_zero():
    with pytest.raises(InputError, match="nothing to score"):
        score([])


def test_pictures_of_one_place_are_resampled_together():
    """Ten pictures of two places say no more than two pictures, and the interval shows it."""
    outcomes = [at(10)] * 5 + [at(3000)] * 5
    alone = score(outcomes)
    together = score(outcomes, places=["a"] * 5 + ["b"] * 5)
    assert together["places"] == 2
    assert alone["within_25_km"][0] == together["within_25_km"][0] == 0.5
    assert together["within_25_km"][1] == [0.0, 1.0]
    assert alone["within_25_km"][1][0] > 0
    assert alone["within_25_km"][1][1] < 1
