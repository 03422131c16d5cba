"""Many searches in step find what each finds alone, with fewer calls, and leave no thread behind."""

import threading

import numpy as np
import pytest

from gaea import geotokens
from gaea.decoding import BeamConfig, BestFirstConfig, SampleConfig, beam, best_first, greedy, sample
from gaea.errors import InputError, ModelError
from gaea.locate.lockstep import lockstep

SEARCHES = [
    lambda score: beam(score, BeamConfig(symbols=4)),
    lambda score: sample(score, SampleConfig(samples=9, symbols=5)),
    lambda score: best_first(score, BestFirstConfig(symbols=3, mass=0.5)),
    greedy,
    lambda score: beam(score, BeamConfig(symbols=4)),
]


class World:
    """Log-probabilities that are any, but the same for the same photo and prefix."""

    def __init__(self):
        self.calls = 0

    def __call__(self, pictures, prefixes):
        self.calls += 1
        choices = geotokens.VOCAB_SIZES[prefixes.shape[1]]
        rows = [
            np.random.default_rng((7, q, *p)).normal(0, 2, choices) for q, p in zip(pictures, prefixes, strict=True)
        ]
        rows = np.stack(rows)
        return rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)

    def of(self, picture):
        return lambda prefixes: self(np.full(len(prefixes), picture), prefixes)


def test_each_search_finds_what_it_finds_alone_in_fewer_calls():
    together, alone = World(), World()
    found = lockstep(SEARCHES, together)
    for picture, (search, one) in enumerate(zip(SEARCHES, found, strict=True)):
        expected = search(alone.of(picture))
        assert one.candidates == expected.candidates
        np.testing.assert_array_equal(one.cells, expected.cells)
        np.testing.assert_array_equal(one.log_prob, expected.log_prob)
    assert found[0].candidates != found[4].candidates  # each was asked about a photo of its own
    assert together.calls < alone.calls / 2


def test_one_search_needs_no_thread():
    before = threading.active_count()
    seen = []
    lockstep([lambda score: seen.append((threading.active_count(), greedy(score)))], World())
    assert seen[0][0] == before


def broken(_):
    raise ModelError("this one breaks")


def test_what_a_search_raises_is_raised_and_the_others_end():
    before = threading.active_count()
    with pytest.raises(ModelError, match="this one breaks"):
        lockstep([SEARCHES[0], broken, SEARCHES[1]], World())
    assert threading.active_count() == before


def test_what_the_scorer_raises_is_raised_and_all_end():
    before = threading.active_count()
    with pytest.raises(ModelError, match="scorer"):
        lockstep(SEARCHES, lambda *_: (_ for _ in ()).throw(ModelError("the scorer is gone")))
    assert threading.active_count() == before


def test_no_searches_are_an_error():
    with pytest.raises(InputError, match="one search for each photo"):
        lockstep([], World())
