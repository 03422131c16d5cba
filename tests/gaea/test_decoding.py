"""The search tree is the belief: nothing is sampled, nothing is dropped."""

import numpy as np
import pytest

from gaea import cells, geotokens
from gaea.decoding import SearchConfig, search
from gaea.errors import InputError, ModelError
from gaea.sphere import great_circle_km

PARIS = (48.8584, 2.2945)


def even(prefixes):
    n, length = prefixes.shape
    choices = 6 if length == 0 else 16
    return np.full((n, choices), -np.log(choices))


def towards(lat, lon, certainty):
    """Gives the true next symbol ``certainty`` wherever the path is right so far, and is even elsewhere."""
    truth = geotokens.encode(lat, lon)

    def score(prefixes):
        length = prefixes.shape[1]
        log_p = even(prefixes)
        right = (prefixes == truth[:length]).all(1)
        choices = log_p.shape[1]
        log_p[right] = np.log((1 - certainty) / (choices - 1))
        log_p[right, truth[length]] = np.log(certainty)
        return log_p

    return score


def noisy(seed):
    """A fixed random distribution over the whole tree."""

    def score(prefixes):
        length = prefixes.shape[1]
        rows = []
        for prefix in prefixes:
            raw = np.random.default_rng([seed, length, *prefix.tolist()]).normal(size=6 if length == 0 else 16) * 2
            rows.append(raw - np.logaddexp.reduce(raw))
        return np.array(rows)

    return score


def test_a_scorer_that_knows_nothing_gives_an_even_tree():
    belief = search(even, SearchConfig(symbols=2, width=6, keep=1e-6))
    assert len(belief.cells) == 6 * 16
    np.testing.assert_allclose(np.exp(belief.log_prob), 1 / 96)
    assert belief.elsewhere == 0


@pytest.mark.parametrize("seed", range(4))
def test_each_cell_has_the_product_of_its_path(seed):
    belief = search(noisy(seed), SearchConfig(symbols=4, width=10, keep=0.001))
    np.testing.assert_allclose(np.exp(belief.log_prob).sum(), 1)
    score = noisy(seed)
    for cell, log_prob in list(zip(belief.cells, belief.log_prob, strict=True))[::17]:
        path = geotokens.encode_cells(cell)
        expected = sum(float(score(path[None, :k])[0, path[k]]) for k in range(len(path)))
        assert log_prob == pytest.approx(expected, abs=1e-9)


def test_the_tree_covers_the_earth_once():
    belief = search(noisy(0), SearchConfig(symbols=5))
    assert cells.area_km2(belief.cells).sum() == pytest.approx(4 * np.pi * 6371.0088**2, rel=1e-6)


def test_what_is_certain_is_followed_to_the_end():
    belief = search(towards(*PARIS, 0.999), SearchConfig(symbols=6))
    assert cells.level(belief.cells).max() == 10
    best = belief.cells[np.argmax(belief.log_prob)]
    assert best == cells.from_latlon(*PARIS, 10)
    assert np.exp(belief.log_prob.max()) == pytest.approx(0.999**6)
    assert great_circle_km(*belief.point("median"), *PARIS) < 10


def test_eleven_symbols_reach_level_20():
    belief = search(towards(*PARIS, 0.9999), SearchConfig(symbols=11))
    assert belief.cells[np.argmax(belief.log_prob)] == cells.from_latlon(*PARIS, 20)


def test_only_the_heaviest_cells_are_opened():
    asked = []

    def watched(prefixes):
        asked.append(prefixes.shape)
        return even(prefixes)

    search(watched, SearchConfig(symbols=4, width=5, keep=1e-9))
    assert asked == [(1, 0), (5, 1), (5, 2), (5, 3)]
    asked.clear()
    search(watched, SearchConfig(symbols=4, width=5, keep=0.5))  # no face holds half
    assert asked == [(1, 0)]


def test_symbols_that_are_masked_hold_nothing():
    def only_face_2(prefixes):
        log_p = even(prefixes)
        if prefixes.shape[1] == 0:
            log_p[:] = -np.inf
            log_p[0, 2] = 0.0
        return log_p

    belief = search(only_face_2, SearchConfig(symbols=2))
    assert set(cells.face(belief.cells).tolist()) == {2}
    np.testing.assert_allclose(np.exp(belief.log_prob).sum(), 1)


def test_temperature_flattens_and_sharpens():
    share = {}
    for temperature in (0.5, 1.0, 2.0):
        belief = search(towards(*PARIS, 0.6), SearchConfig(symbols=1, temperature=temperature))
        np.testing.assert_allclose(np.exp(belief.log_prob).sum(), 1)
        share[temperature] = np.exp(belief.log_prob.max())
    assert share[1.0] == pytest.approx(0.6)
    assert share[0.5] == pytest.approx(0.36 / (0.36 + 5 * 0.08**2))
    assert share[2.0] == pytest.approx(0.6**0.5 / (0.6**0.5 + 5 * 0.08**0.5))


def test_unnormalised_scores_are_normalised():
    belief = search(lambda prefixes: even(prefixes) + 3.0, SearchConfig(symbols=1))
    np.testing.assert_allclose(np.exp(belief.log_prob), 1 / 6)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p: even(p)[:, :-1], r"shape \(1, 5\), expected \(1, 6\)"),
        (lambda p: even(p)[0], r"shape \(6,\)"),
        (lambda p: np.where(np.arange(6) == 3, np.nan, even(p)), "NaN"),
        (lambda p: np.full((1, 6), -np.inf), "no symbol"),
        (lambda p: np.full((1, 6), np.inf), "NaN, or a mask"),
    ],
)
def test_a_broken_scorer_is_named(broken, message):
    with pytest.raises(ModelError, match=message):
        search(broken, SearchConfig(symbols=1))


def test_a_mask_that_leaves_nothing_for_one_prefix_is_named():
    def score(prefixes):
        log_p = even(prefixes)
        if prefixes.shape[1]:
            log_p[-1] = -np.inf
        return log_p

    with pytest.raises(ModelError, match="no symbol"):
        search(score, SearchConfig(symbols=2))


@pytest.mark.parametrize(
    "bad", [{"symbols": 0}, {"symbols": 12}, {"width": 0}, {"temperature": 0}, {"temperature": -1}]
)
def test_settings_out_of_range(bad):
    with pytest.raises(InputError):
        SearchConfig(**bad)
