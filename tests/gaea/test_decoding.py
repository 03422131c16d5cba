"""The search tree is the belief, whichever search grew it: nothing is dropped, nothing is asked twice."""

import dataclasses

import numpy as np
import pytest

from gaea import cells, geotokens
from gaea.decoding import (
    BeamConfig,
    BestFirstConfig,
    SampleConfig,
    SearchConfig,
    beam,
    best_first,
    greedy,
    sample,
    search,
)
from gaea.errors import InputError, ModelError
from gaea.searchtree import Tree
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


# ---- the searches that come back with candidates


def all_paths(score, symbols):
    """Every path and its log-probability, by brute force."""
    paths, log_p = np.zeros((1, 0), np.int64), np.zeros(1)
    for length in range(symbols):
        choices = 6 if length == 0 else 16
        log_p = (log_p[:, None] + score(paths)).ravel()
        paths = np.array([[*path, symbol] for path in paths.tolist() for symbol in range(choices)])
    return {tuple(path): float(value) for path, value in zip(paths.tolist(), log_p, strict=True)}


def ranked(paths):
    return sorted(paths, key=lambda path: -paths[path])


PLAIN = {"keep": 0.0, "least_gain_bits": 0.0}
ALL_SEARCHES = [
    lambda score, **o: greedy(score, BeamConfig(**o)),
    lambda score, **o: beam(score, BeamConfig(width=7, **o)),
    lambda score, **o: beam(score, BeamConfig(width=7, **PLAIN, **o)),
    lambda score, **o: best_first(score, BestFirstConfig(mass=0.5, most_scored=300, **o)),
    lambda score, **o: sample(score, SampleConfig(seed=3, **o)),
]


@pytest.mark.parametrize("decode", ALL_SEARCHES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_every_search_leaves_a_tree_that_covers_the_earth(decode, temperature):
    found = decode(noisy(5), symbols=4, temperature=temperature)
    assert cells.area_km2(found.cells).sum() == pytest.approx(4 * np.pi * 6371.0088**2, rel=1e-6)
    np.testing.assert_allclose(np.exp(found.log_prob).sum(), 1)
    assert found.belief().elsewhere == 0
    assert len({c.tokens for c in found.candidates}) == len(found.candidates) > 0
    for candidate in found.candidates[:12]:  # what was found is what the tree says of it
        inside = found.log_prob[cells.contains(np.uint64(candidate.cell), found.cells)]
        assert candidate.log_prob == pytest.approx(np.logaddexp.reduce(inside), abs=1e-9)
        assert cells.from_latlon(*candidate.point, cells.level(np.uint64(candidate.cell))) == candidate.cell
    assert found.leftover == pytest.approx(1 - sum(np.exp(c.log_prob) for c in found.candidates))


@pytest.mark.parametrize("decode", ALL_SEARCHES)
def test_every_search_is_repeatable_and_counts_its_calls(decode):
    seen, calls = [], []

    def watched(prefixes):
        calls.append(prefixes.shape[0])
        seen.extend(map(tuple, prefixes.tolist()))
        return noisy(6)(prefixes)

    first, again = decode(watched, symbols=4, batch=4), decode(noisy(6), symbols=4, batch=4)
    assert [c.tokens for c in first.candidates] == [c.tokens for c in again.candidates]
    assert len(seen) == len(set(seen)) == first.scored == again.scored  # nothing is asked twice
    assert len(calls) == first.calls == again.calls
    assert max(calls) <= 4


@pytest.mark.parametrize("decode", ALL_SEARCHES)
def test_every_search_follows_what_is_certain(decode):
    best = decode(towards(*PARIS, 0.999), symbols=6).candidates[0]
    assert best.tokens == tuple(geotokens.encode(*PARIS)[:6])
    assert best.log_prob == pytest.approx(6 * np.log(0.999))
    assert great_circle_km(*best.point, *PARIS) < 10


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_wide_enough_finds_the_best_of_all_paths(seed):
    score = noisy(seed)
    truth = all_paths(score, 3)
    wide = beam(score, BeamConfig(width=96, symbols=3, **PLAIN))
    assert [c.tokens for c in wide.candidates] == ranked(truth)[:96]
    for candidate in wide.candidates[::7]:
        assert candidate.log_prob == pytest.approx(truth[candidate.tokens])


def reference_beam(score, width, symbols):
    """A loop as the reference has it: every prefix again at each step, no tree."""
    beams = [((), 0.0)]
    for length in range(symbols):
        grown = []
        for path, log_p in beams:
            row = score(np.array([path], np.int64).reshape(1, length))[0]
            grown += [((*path, symbol), log_p + value) for symbol, value in enumerate(row)]
        beams = sorted(grown, key=lambda b: -b[1])[:width]
    return beams


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_plain_beam_is_the_reference_loop(width):
    found = beam(noisy(9), BeamConfig(width=width, symbols=11, **PLAIN))
    expected = reference_beam(noisy(9), width, 11)
    assert [c.tokens for c in found.candidates] == [path for path, _ in expected]
    np.testing.assert_allclose([c.log_prob for c in found.candidates], [value for _, value in expected])
    assert found.scored == 1 + 10 * width


def test_greedy_takes_the_best_symbol_at_each_step():
    score, path = noisy(2), []
    for length in range(6):
        path.append(int(np.argmax(score(np.array([path], np.int64).reshape(1, length))[0])))
    (candidate,) = greedy(score, BeamConfig(symbols=6, **PLAIN)).candidates
    assert list(candidate.tokens) == path


def known_to(level_symbols, lat=PARIS[0], lon=PARIS[1]):
    """Sure of the first symbols, and of nothing after them."""
    sure = towards(lat, lon, 0.99)
    return lambda prefixes: sure(prefixes) if prefixes.shape[1] < level_symbols else even(prefixes)


@pytest.mark.parametrize("known", [1, 3, 5])
def test_a_path_ends_where_the_model_knows_nothing_finer(known):
    best = beam(known_to(known), BeamConfig(width=3, symbols=8)).candidates[0]
    assert best.tokens == tuple(geotokens.encode(*PARIS)[:known])
    plain = beam(known_to(known), BeamConfig(width=3, symbols=8, **PLAIN)).candidates[0]
    assert len(plain.tokens) == 8


def test_a_path_ends_where_no_finer_cell_holds_enough():
    def halves(prefixes):  # two of sixteen at each step: informative for ever, thinner and thinner
        log_p = even(prefixes)
        if prefixes.shape[1]:
            log_p[:] = -np.inf
            log_p[:, :2] = np.log(0.5)
        return log_p

    lengths = {}
    for keep in (0.0, 0.02, 0.05):
        found = beam(halves, BeamConfig(width=4, symbols=8, keep=keep)).candidates
        lengths[keep] = {len(c.tokens) for c in found}
        assert all(np.exp(c.log_prob) >= keep for c in found)
    assert lengths == {0.0: {8}, 0.02: {4}, 0.05: {2}}  # 1/6 · 2^-3 ≥ 0.02 > 1/6 · 2^-4


def two_places(share):
    """A place known coarsely, with ``share``, on face 0; and one known finely on face 1."""

    def score(prefixes):
        log_p = even(prefixes)
        if prefixes.shape[1] == 0:
            log_p[0] = np.log(np.array([share, 1 - share, 0, 0, 0, 0]) + 1e-12)
            return log_p - np.logaddexp.reduce(log_p, 1, keepdims=True)
        fine = prefixes[:, 0] == 1
        log_p[fine] = np.log(0.3 / 15)
        log_p[fine, 4] = np.log(0.7)
        return log_p

    return score


def test_long_and_short_paths_compete_by_length():
    fine, coarse = (1, 4, 4, 4), (0,)
    for power, expected in ((0.0, coarse), (1.0, fine)):
        found = beam(two_places(0.5), BeamConfig(width=2, symbols=4, keep=0, length_power=power)).candidates
        assert found[0].tokens == expected, power
        assert {c.tokens for c in found} >= {coarse}
    # A short one that is worse than all that go on loses its place in the beam, and a better one keeps it.
    for share, stays in ((0.01, False), (0.5, True)):
        found = beam(two_places(share), BeamConfig(width=2, symbols=4, keep=0)).candidates
        assert (coarse in {c.tokens for c in found}) is stays
        assert len(found) == 2


@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("mass", [0.3, 0.8, 1.0])
def test_best_first_finds_the_fewest_cells_that_hold_the_mass(batch, mass):
    score = noisy(4)
    truth = all_paths(score, 3)
    found = best_first(score, BestFirstConfig(symbols=3, mass=mass, batch=batch))
    order = ranked(truth)
    held = np.cumsum([np.exp(truth[path]) for path in order])
    needed = int(np.searchsorted(held, mass - 1e-12)) + 1
    assert [c.tokens for c in found.candidates] == order[:needed]
    assert found.leftover == pytest.approx(1 - held[needed - 1], abs=1e-9)
    if mass == 0.3:
        assert found.scored < 1 + 6 + 96


def test_best_first_opens_no_more_than_it_may():
    found = best_first(even, BestFirstConfig(symbols=6, most_scored=50, batch=16))
    assert found.scored == 50
    assert {len(c.tokens) for c in found.candidates} == {2, 3}  # nothing fine was reached: what there is, as it stands
    assert found.leftover == pytest.approx(0, abs=1e-9)
    fine = best_first(noisy(1), BestFirstConfig(symbols=3, mass=1.0, most_scored=20))
    assert {len(c.tokens) for c in fine.candidates} == {3}
    assert fine.leftover > 0.05


def test_samples_are_seeded_counted_and_nested():
    config = SampleConfig(symbols=4, samples=30, seed=11)
    found = sample(noisy(0), config)
    assert sum(c.count for c in found.candidates) == 30
    assert [c.count for c in found.candidates] == sorted((c.count for c in found.candidates), reverse=True)
    assert found.candidates[0].count > 1
    assert found.calls <= 4
    assert sample(noisy(0), config).candidates == found.candidates
    assert sample(noisy(0), dataclasses.replace(config, seed=12)).candidates != found.candidates
    pool = {c.tokens: c.count for c in found.candidates}
    fewer = sample(noisy(0), dataclasses.replace(config, samples=10))
    assert all(pool[c.tokens] >= c.count for c in fewer.candidates)


def test_samples_follow_the_probabilities_at_their_temperature():
    truth = np.exp(noisy(8)(np.zeros((1, 0), np.int64))[0])
    for temperature in (0.5, 1.0, 2.0):
        found = sample(noisy(8), SampleConfig(symbols=1, samples=20_000, temperatures=(temperature,)))
        counts = np.zeros(6)
        for c in found.candidates:
            counts[c.tokens[0]] = c.count
            assert np.exp(c.log_prob) == pytest.approx(truth[c.tokens[0]])  # the model's own, not the tempered one
        expected = truth ** (1 / temperature)
        np.testing.assert_allclose(counts / 20_000, expected / expected.sum(), atol=0.02)


def test_draws_take_turns_in_the_grid():
    cold, grid = ((0.01,), (0.01, 100.0))
    one = sample(noisy(3), SampleConfig(symbols=1, samples=40, temperatures=cold))
    two = sample(noisy(3), SampleConfig(symbols=1, samples=40, temperatures=grid))
    assert [c.count for c in one.candidates] == [40]
    assert 20 <= two.candidates[0].count < 40


def test_votes_are_the_shares_of_the_draws():
    found = sample(noisy(0), SampleConfig(symbols=3, samples=25))
    votes = found.votes()
    share = dict(zip(votes.cells.tolist(), np.exp(votes.log_prob), strict=True))
    assert share == pytest.approx({c.cell: c.count / 25 for c in found.candidates})


def test_masked_symbols_are_never_drawn_nor_found():
    def only_one(prefixes):
        log_p = np.full((len(prefixes), 6 if prefixes.shape[1] == 0 else 16), -np.inf)
        log_p[:, 3] = 0.0
        return log_p

    for decode in ALL_SEARCHES:
        found = decode(only_one, symbols=4)
        assert found.candidates[0].tokens[:1] == (3,)
        assert all(set(c.tokens) == {3} for c in found.candidates)


@pytest.mark.parametrize("decode", ALL_SEARCHES)
def test_a_broken_scorer_is_named_by_every_search(decode):
    with pytest.raises(ModelError, match="NaN"):
        decode(lambda p: np.full((len(p), 6 if p.shape[1] == 0 else 16), np.nan), symbols=3)
    with pytest.raises(ModelError, match=r"expected \(\d+, 16\)"):
        decode(lambda p: np.full((len(p), 6), -np.log(6)), symbols=3)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (SearchConfig, {"keep": -1}),
        (SearchConfig, {"batch": 0}),
        (BeamConfig, {"width": 0}),
        (BeamConfig, {"least_gain_bits": -0.1}),
        (BeamConfig, {"keep": float("nan")}),
        (BestFirstConfig, {"mass": 0}),
        (BestFirstConfig, {"mass": 1.1}),
        (BestFirstConfig, {"most_scored": 0}),
        (SampleConfig, {"samples": 0}),
        (SampleConfig, {"temperatures": ()}),
        (SampleConfig, {"temperatures": (0.5, 0)}),
        (SampleConfig, {"temperature": float("nan")}),
    ],
)
def test_settings_of_every_search_are_checked(kind, bad):
    with pytest.raises(InputError) as caught:
        kind(**bad)
    assert "\n" not in str(caught.value)


def test_a_tree_is_opened_from_the_root():
    tree = Tree(even)
    with pytest.raises(InputError, match="before its parent"):
        tree.open(np.array([[2, 3]]))
    tree.open(np.zeros((1, 0), np.int64))
    assert tree.open(np.array([[2], [2], [4]])).shape == (3, 16)
    assert (tree.calls, tree.scored) == (2, 3)
    with pytest.raises(InputError, match="k from 0 to 10"):
        tree.open(np.zeros((1, 11), np.int64))
    with pytest.raises(InputError, match="out of range"):
        tree.open(np.array([[6]]))
