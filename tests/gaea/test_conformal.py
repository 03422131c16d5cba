"""What is promised of regions and answers holds for new places, and what cannot be shown is not promised."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom

from gaea import cells
from gaea.belief import Belief
from gaea.conformal import Risk, at_most, conformal_mass, keep_risk, mass_to_reach
from gaea.errors import InputError

FINER = cells.children(cells.FACES).reshape(-1)


def belief(elsewhere=0.0):
    ids = np.sort(cells.from_latlon(np.array([10.0, 10.0, -40.0]), np.array([20.0, 80.0, 150.0]), 6))
    return Belief.from_weights(ids, [0.5, 0.3, 0.2], elsewhere=elsewhere)


@pytest.mark.parametrize("elsewhere", [0.0, 0.1])
@pytest.mark.parametrize("place", [(10.0, 20.0), (10.0, 80.0), (-40.0, 150.0)])
def test_a_region_of_the_mass_to_reach_holds_the_place_and_a_smaller_one_does_not(elsewhere, place):
    known = belief(elsewhere)
    needed = mass_to_reach(known, *place)
    assert known.region(needed).contains(*place)
    assert needed < 1e-8 or not known.region(needed - 1e-8).contains(*place)


@given(place=st.tuples(st.floats(-90, 90), st.floats(-180, 180)), mass=st.floats(0.01, 1.0), seed=st.integers(0, 9))
def test_it_says_of_every_region_whether_it_holds_the_place(place, mass, seed):
    weights = np.random.default_rng(seed).random(FINER.size) ** 3
    known = Belief.from_weights(FINER, weights)
    needed = mass_to_reach(known, *place)
    assume(abs(needed - mass) > 1e-6)
    assert known.region(mass).contains(*place) == (needed <= mass)


def test_a_place_in_no_cell_takes_the_whole_earth():
    assert mass_to_reach(belief(0.1), 0.0, -100.0) == 1.0
    assert belief(0.1).region(1.0).contains(0.0, -100.0)


def test_the_conformal_mass_is_an_order_statistic():
    needed = np.arange(1, 10) / 10
    assert conformal_mass(needed, 0.5) == 0.5  # the 5th of 9
    assert conformal_mass(needed, 0.9) == 0.9  # the 9th of 9
    assert conformal_mass(needed, 0.95) == 0.995  # a 10th is not there
    assert conformal_mass(needed[::-1], 0.5) == 0.5


def test_groups_count_once_whatever_they_hold():
    needed = np.arange(1, 10) / 10
    assert conformal_mass(needed, 0.5, groups=list("abcdefghi")) == conformal_mass(needed, 0.5)
    often = np.concatenate([needed, np.full(500, 0.1)])
    groups = [*range(9), *[0] * 500]
    assert conformal_mass(often, 0.5) == 0.1
    assert conformal_mass(often, 0.5, groups=groups) == 0.5
    with pytest.raises(InputError, match="8 groups for 9 places"):
        conformal_mass(needed, 0.5, groups=range(8))


def test_a_new_group_is_covered_as_often_as_asked():
    rng = np.random.default_rng(1)

    def world(groups):
        """Masses of places whose groups differ by far more than the places within one."""
        size = rng.integers(1, 9, groups)
        which = np.repeat(np.arange(groups), size)
        return np.clip(rng.beta(3, 1, groups)[which] + rng.normal(0, 0.02, which.size), 0, 1), which.tolist()

    held = []
    for _ in range(2000):
        needed, which = world(40)
        fresh = world(1)[0][0]
        held.append(fresh <= conformal_mass(needed, 0.9, groups=which, most=1.0))
    assert 0.88 < np.mean(held) < 0.93


def test_coverage_of_new_places_is_what_was_asked():
    rng = np.random.default_rng(0)
    held = [rng.beta(3, 1) <= conformal_mass(rng.beta(3, 1, 99), 0.9, most=1.0) for _ in range(3000)]
    assert abs(np.mean(held) - 0.9) < 0.02


@pytest.mark.parametrize("masses", [[], [0.5, 1.1], [np.nan]])
def test_masses_that_are_none_are_refused(masses):
    with pytest.raises(InputError, match="expected some masses of 0 to 1"):
        conformal_mass(masses, 0.9)


@given(trials=st.integers(1, 400), share=st.floats(0.01, 0.99), part=st.floats(0, 1))
def test_the_binomial_tail_is_scipys(trials, share, part):
    successes = int(part * trials)
    assert at_most(successes, trials, share) == pytest.approx(binom.cdf(successes, trials, share), rel=1e-9, abs=1e-12)


def world(rng, n):
    """Doubt grows with the radius, and so does the chance to be wrong: beyond a doubt of 0.5, a quarter and more."""
    doubt = rng.random(n)
    return 4000 * doubt, np.where(rng.random(n) < doubt**2, 5000.0, 100.0)


def test_the_promise_is_broken_no_more_often_than_told():
    """Wrong among those answered below doubt t are t²/3; 10 % at t = 0.548."""
    rng = np.random.default_rng(1)
    promises = [keep_risk(*world(rng, 300)) for _ in range(400)]
    true_risk = np.array([(p.threshold / 4000) ** 2 / 3 for p in promises if p])
    assert len(true_risk) > 350
    assert np.mean(true_risk > 0.1) <= 0.1 + 0.03
    assert np.median(true_risk) > 0.03  # and it is not kept by answering hardly anybody


def test_a_promise_tells_how_it_did():
    doubt, error = np.arange(100.0), np.where(np.arange(100) < 50, 10.0, 9000.0)
    promise = keep_risk(doubt, error)
    assert promise is not None
    assert promise.threshold == 49.0
    assert (promise.answered, promise.wrong, promise.places) == (0.5, 0.0, 100)


def test_nothing_is_promised_where_nothing_can_be_shown():
    assert keep_risk(np.arange(20.0), np.zeros(20)) is None  # 0.9^20 > 0.1: too few, though never wrong
    assert keep_risk(np.arange(200.0), np.full(200, 9000.0)) is None
    assert keep_risk(np.full(200, np.inf), np.zeros(200)) is None
    assert keep_risk([], []) is None


def test_thresholds_do_not_look_at_the_errors_of_those_that_are_not_answered():
    doubt = np.concatenate([np.arange(100.0), np.full(100, np.inf)])
    good = np.zeros(200)
    bad = np.concatenate([np.zeros(100), np.full(100, 9000.0)])
    assert keep_risk(doubt, good) == keep_risk(doubt, bad)


@pytest.mark.parametrize("change", [{"share": 0.0}, {"share": 1.0}, {"confidence": 1.0}, {"beyond_km": 0.0}])
def test_a_risk_out_of_range_is_refused(change):
    with pytest.raises(InputError, match="between 0 and 1"):
        Risk(**change)


def test_doubts_and_errors_have_to_fit():
    with pytest.raises(InputError, match="expected \\(n,\\) numbers each"):
        keep_risk([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="expected \\(n,\\) numbers each"):
        keep_risk([np.nan], [1.0])
