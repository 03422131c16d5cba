"""The reward head learns what makes a candidate near, and says how sure it may be."""

import numpy as np
import pytest

from gaea.errors import InputError, ModelError
from gaea.finetune.reward import RewardConfig, assess, train
from gaea.reward import FEATURES, RewardHead

D = len(FEATURES)


def candidates(n, seed, *, curved=False):
    """Features with one that matters, linearly or only by its size."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, D)) * np.linspace(0.1, 30, D) + 5
    rows[:, 4] = 3.0  # a constant says nothing and breaks nothing
    signal = (rows[:, 2] - 5) / rows[:, 2].std()
    logit = 4 * (np.abs(signal) - 0.7) if curved else 2 * signal - 1
    return rows, rng.random(n) < 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize(("hidden", "curved", "best"), [((), False, 0.8), ((16,), False, 0.78), ((16,), True, 0.85)])
def test_it_learns_what_is_there_to_learn(hidden, curved, best):
    head = train(*candidates(1500, 0, curved=curved), RewardConfig(hidden=hidden))
    quality = assess(head, *candidates(1500, 1, curved=curved))
    assert quality.auc > best
    assert quality.log_loss < quality.base_log_loss - 0.1
    assert len(head.weights) == len(hidden) + 1


def test_a_straight_line_cannot_learn_what_is_curved():
    head = train(*candidates(1500, 0, curved=True), RewardConfig(hidden=()))
    assert assess(head, *candidates(1500, 1, curved=True)).auc < 0.65


def test_the_same_seed_gives_the_same_head(tmp_path):
    data = candidates(200, 3)
    one, two, other = (train(*data, RewardConfig(steps=20, seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(one(data[0]), two(data[0]))
    assert np.abs(one(data[0]) - other(data[0])).max() > 1e-3
    one.save(tmp_path / "reward.safetensors")
    np.testing.assert_array_equal(RewardHead.load(tmp_path / "reward.safetensors")(data[0]), one(data[0]))


def test_what_it_says_is_a_probability():
    rows, near = candidates(4000, 5)
    told = train(*candidates(4000, 4), RewardConfig(hidden=()))(rows)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        inside = (told >= low) & (told < high)
        assert near[inside].mean() == pytest.approx(told[inside].mean(), abs=0.05)


@pytest.mark.parametrize(
    ("rows", "near", "message"),
    [
        (np.zeros((3, 2)), [True, True, True], "all are near"),
        (np.zeros((3, 2)), [False, False, False], "none are near"),
        (np.zeros((3, 2)), [True, False], "labels"),
        (np.zeros(3), [True, False, True], "labels"),
        (np.zeros((0, 2)), [], "labels"),
        (np.full((2, 2), np.nan), [True, False], "finite"),
    ],
)
def test_data_that_cannot_be_learnt_from_is_named(rows, near, message):
    with pytest.raises(InputError, match=message):
        train(rows, near)


def test_settings_and_widths_are_checked():
    for bad in ({"hidden": (0,)}, {"steps": 0}, {"learning_rate": 0}, {"weight_decay": -1}):
        with pytest.raises(InputError):
            RewardConfig(**bad)
    head = train(*candidates(50, 0), RewardConfig(steps=2))
    with pytest.raises(ModelError, match="takes"):
        assess(head, np.zeros((4, 3)), [True, False, True, False])
