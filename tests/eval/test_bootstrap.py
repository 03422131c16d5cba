"""The fast bootstrap says what the plain one says."""

import numpy as np
import pytest

from gaea.errors import InputError
from gaea.eval.bootstrap import FEWER, MANY, Asked, Bootstrap
from gaea.eval.grouped import Draws

RNG = np.random.default_rng(5)
PLACES = [f"p{n}" for n in RNG.integers(0, 12, 60)]
VALUES = RNG.normal(size=60)
VALUES[[3, 17]] = np.nan


def test_means_are_those_of_the_plain_bootstrap_over_the_same_draws():
    ours = Bootstrap(PLACES, seed=3).estimate(Asked({"x": VALUES}))["x"]
    plain = Draws(PLACES, seed=3).estimate(VALUES)
    assert ours[0] == plain[0]
    assert ours[1] == pytest.approx(plain[1], abs=1e-4)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_a_median_is_numpys(count):
    values = RNG.normal(size=count)
    found = Bootstrap([str(n) for n in range(count)], resamples=50).estimate(Asked(medians={"m": values}))["m"]
    assert found[0] == pytest.approx(np.median(values), abs=1e-4)
    assert found[1][0] <= found[0] <= found[1][1]


def test_medians_follow_the_draws():
    ours = Bootstrap(PLACES, seed=3).estimate(Asked(medians={"m": VALUES}))["m"]
    plain = Draws(PLACES, seed=3).estimate(VALUES, np.median)
    assert ours[0] == pytest.approx(plain[0], abs=1e-4)
    assert ours[1] == pytest.approx(plain[1], abs=1e-4)


def test_what_is_not_asked_is_not_told():
    nothing = np.full(60, np.nan)
    found = Bootstrap(PLACES).estimate(Asked({"x": nothing}, {"m": nothing}))
    assert found == {"x": [None, [None, None]], "m": [None, [None, None]]}


def test_the_same_seed_says_the_same():
    asked = Asked({"x": VALUES}, {"m": VALUES})
    assert Bootstrap(PLACES, seed=1).estimate(asked) == Bootstrap(PLACES, seed=1).estimate(asked)
    assert Bootstrap(PLACES, seed=1).estimate(asked) != Bootstrap(PLACES, seed=2).estimate(asked)


def test_whole_places_are_drawn():
    two = Bootstrap(["a"] * 50 + ["b"] * 50, resamples=400).estimate(Asked({"x": np.repeat([0.0, 1.0], 50)}))["x"]
    assert two == [0.5, [0.0, 1.0]]


def test_nothing_is_an_error_and_much_is_drawn_less():
    with pytest.raises(InputError, match="no items"):
        Bootstrap([])
    assert Bootstrap([str(n) for n in range(MANY + 1)]).resamples == FEWER
