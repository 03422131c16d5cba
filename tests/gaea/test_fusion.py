"""Exponents of the pool are those under which the truth is least surprising, however many locators there are."""

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief, calibrate, fuse
from gaea.errors import InputError
from gaea.fusion import Pool, fit

CELLS = cells.children(cells.children(cells.FACES).reshape(-1)).reshape(-1)
LAT, LON = cells.to_latlon(CELLS)


def told(rng, spread):
    """Log-weights of the cells."""
    return rng.normal(0, spread, CELLS.size)


def of(log_weights):
    return Belief.from_weights(CELLS, np.exp(log_weights - log_weights.max()))


@pytest.fixture(scope="module")
def places():
    """Truth drawn from the pool p1^1.0 · p2^0.4; a third locator tells noise, a fourth repeats the first."""
    rng = np.random.default_rng(0)
    beliefs, index = [], []
    for _ in range(300):
        first, second, noise = told(rng, 1.5), told(rng, 1.5), told(rng, 1.5)
        p = np.exp(first + 0.4 * second)
        index.append(rng.choice(CELLS.size, p=p / p.sum()))
        beliefs.append({"first": of(first), "second": of(second), "noise": of(noise)})
    return beliefs, LAT[index], LON[index]


def surprise(pool, beliefs, lat, lon):
    return -np.mean([pool(b).log_density(*at) for b, at in zip(beliefs, zip(lat, lon, strict=True), strict=True)])


def test_it_finds_the_exponents_that_made_the_truth(places):
    beliefs, lat, lon = places
    pool = fit(beliefs, lat, lon).pool
    assert pool.weights["first"] == pytest.approx(1.0, abs=0.12)
    assert pool.weights["second"] == pytest.approx(0.4, abs=0.12)
    assert pool.weights["noise"] < 0.1
    assert pool.temperature == 1.0


def test_no_other_exponents_do_better(places):
    beliefs, lat, lon = places
    fitted = fit(beliefs, lat, lon)
    best = surprise(fitted.pool, beliefs, lat, lon)
    assert fitted.surprise_nats == pytest.approx(best, abs=1e-9)
    assert best < min(fitted.alone_nats.values())
    rng = np.random.default_rng(1)
    for _ in range(8):
        other = {name: max(weight + rng.normal(0, 0.1), 0.0) for name, weight in fitted.pool.weights.items()}
        assert surprise(Pool(other), beliefs, lat, lon) > best - 1e-3


def test_a_locator_that_is_too_sure_is_cooled_like_a_temperature(places):
    beliefs, lat, lon = places
    sharp = [{"first": calibrate(b["first"], 0.5), "second": b["second"]} for b in beliefs]
    plain = [{"first": b["first"], "second": b["second"]} for b in beliefs]
    one, other = fit(sharp, lat, lon).pool, fit(plain, lat, lon).pool
    assert one.weights["first"] / one.temperature == pytest.approx(
        other.weights["first"] / other.temperature / 2, rel=0.02
    )


def test_locators_that_say_the_same_share_what_one_is_worth(places):
    beliefs, lat, lon = places
    alone = fit([{"a": b["first"]} for b in beliefs], lat, lon).pool
    both = fit([{"a": b["first"], "b": b["first"]} for b in beliefs], lat, lon).pool
    assert sum(both.weights.values()) == pytest.approx(alone.weights["a"], rel=0.01)
    assert both.weights["a"] == pytest.approx(both.weights["b"], rel=1e-6)


def test_beliefs_cut_in_other_cells_and_with_mass_elsewhere_are_pooled_alike():
    coarse = Belief.from_weights(cells.FACES[:3], [3.0, 2.0, 1.0], elsewhere=0.2)
    fine = Belief.from_weights(cells.from_latlon([3.0, 50.0], [4.0, 90.0], 8), [1.0, 2.0], elsewhere=0.4)
    fitted = fit([{"coarse": coarse, "fine": fine}] * 2, [3.0, -70.0], [4.0, -120.0])
    expected = -np.mean(
        [fitted.pool({"coarse": coarse, "fine": fine}).log_density(*at) for at in ((3, 4), (-70, -120))]
    )
    assert fitted.surprise_nats == pytest.approx(expected, abs=1e-6)


def test_a_pool_is_fuse_and_calibrate(places):
    one = places[0][0]
    pooled = Pool({"first": 1.0, "second": 0.5}, 1.3)(one)
    expected = calibrate(fuse([one["first"], one["second"]], [1.0, 0.5]), 1.3)
    np.testing.assert_allclose(pooled.log_density(LAT, LON), expected.log_density(LAT, LON), atol=1e-4)


def test_who_is_not_trusted_is_not_heard(places):
    one = places[0][0]
    pool = Pool({"first": 1.0, "noise": 0.0})
    np.testing.assert_array_equal(pool(one).log_prob, pool({"first": one["first"]}).log_prob)
    assert pool({"second": one["second"]}).information_gain() == 0
    assert pool({}).information_gain() == 0


def test_what_cannot_be_fitted_is_refused(places):
    beliefs, lat, lon = places
    with pytest.raises(InputError, match="same locators"):
        fit([beliefs[0], {"first": beliefs[1]["first"]}], lat[:2], lon[:2])
    with pytest.raises(InputError, match="at least one place"):
        fit([], [], [])
    with pytest.raises(InputError, match="expected one each"):
        fit(beliefs[:2], lat[:3], lon[:2])
    with pytest.raises(InputError, match="not negative"):
        Pool({"first": -1.0})
    with pytest.raises(InputError, match="temperature is above 0"):
        Pool({"first": 1.0}, 0.0)
