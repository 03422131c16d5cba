"""One answer out of many: each rule picks what it promises, failures are counted, and an oracle is no answer."""

import dataclasses
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gaea
from gaea import cells, geotokens
from gaea.adviser import Adviser, choose_messages, count_failures, point_messages
from gaea.belief import Belief
from gaea.decoding import BeamConfig, SampleConfig, beam, greedy, sample
from gaea.engine import TransformersEngine
from gaea.errors import InputError, ModelError
from gaea.eval.metrics import Outcome, score
from gaea.reward import FEATURES, RewardHead, features
from gaea.searchtree import Candidate, Decoded
from gaea.selection import (
    Choice,
    by_least_loss,
    by_likelihood,
    by_majority,
    by_reward,
    by_score,
    oracle_best_in_pool,
)
from gaea.sphere import great_circle_km

NANO = Path(gaea.__file__).parent / "nano"
PARIS, LYON, SYDNEY = (48.8584, 2.2945), (45.7578, 4.832), (-33.8568, 151.2153)


def at(place, probability, count=1, symbols=6):
    return Candidate(tuple(geotokens.encode(*place)[:symbols].tolist()), float(np.log(probability)), count)


POOL = (at(SYDNEY, 0.4), at(PARIS, 0.3, 2), at((48.7, 2.3), 0.05, 3), at(LYON, 0.1, 4))


def decoded(candidates=POOL):
    """A search that found these, with the rest of the mass on the faces."""
    belief = Belief.from_weights(
        np.array([*(c.cell for c in candidates), *cells.FACES], np.uint64),
        [*(np.exp(c.log_prob) for c in candidates), *[0.15 / 6] * 6],
        nested="remainder",
    )
    return Decoded(tuple(candidates), belief.cells, belief.log_prob, 1, 1)


def near(choice, place, km=20):
    return great_circle_km(*choice.point, *place) < km


def test_likelihood_takes_the_most_probable():
    chosen = by_likelihood(POOL)
    assert (chosen.candidate, chosen.how, chosen.failure) == (POOL[0], "likelihood", "")
    assert near(chosen, SYDNEY)


def test_likelihood_compares_long_paths_with_short_ones():
    pool = (at(SYDNEY, 0.5, symbols=2), at(PARIS, 0.4, symbols=6))
    assert near(by_likelihood(pool), PARIS)
    assert by_likelihood(pool, length_power=0).candidate == pool[0]


def test_the_majority_adds_up_what_lies_in_one_cell():
    assert near(by_majority(POOL, level=6), PARIS)  # 2 + 3 draws in the cell, of which the more probable
    assert near(by_majority(POOL, level=10), LYON)  # apart, Lyon has most
    assert near(by_majority(POOL, level=0), PARIS)  # all of Europe against Sydney


def test_equal_votes_go_by_probability_and_coarse_candidates_vote_for_their_own_cell():
    assert near(by_majority((at(PARIS, 0.1), at(SYDNEY, 0.2))), SYDNEY)
    coarse = at(PARIS, 0.9, count=2, symbols=2)
    assert by_majority((coarse, at(PARIS, 0.1), at(SYDNEY, 0.2)), level=6).candidate == coarse


@pytest.mark.parametrize("pool", [POOL, POOL[::-1], (POOL[2], POOL[0], POOL[3], POOL[1])])
def test_the_order_of_a_pool_does_not_matter(pool):
    assert by_likelihood(pool).candidate == POOL[0]
    assert near(by_majority(pool), PARIS)


def test_least_loss_is_the_beliefs_own_point():
    belief = decoded().belief()
    for loss in ("median", "geoscore", "hit"):
        chosen = by_least_loss(belief, loss=loss, radius_km=500)
        assert chosen.point == belief.point(loss, 500)
        assert chosen.how == f"least loss ({loss})"
    assert near(by_least_loss(belief, loss="hit", radius_km=500), PARIS, 400)  # Paris and Lyon together outweigh Sydney
    with pytest.raises(InputError, match="loss 'best'"):
        by_least_loss(belief, loss="best")


def test_another_score_chooses_and_is_checked():
    assert by_score(POOL, [0, 0, 0.1, 0.9], how="similarity").candidate == POOL[3]
    assert by_score(POOL, [0.5, 0.5, 0.1, 0.5]).candidate == POOL[0]
    for bad in ([1, 2, 3], [1, 2, 3, np.nan], [[1, 2, 3, 4]]):
        with pytest.raises(ModelError, match="a number for each"):
            by_score(POOL, bad)


@pytest.mark.parametrize(
    "rule",
    [
        by_likelihood,
        by_majority,
        lambda pool: by_score(pool, []),
        lambda pool: oracle_best_in_pool(pool, PARIS),
        lambda pool: by_reward(decoded(pool), HEAD),
        lambda pool: adviser(Scripted(""))[0].choose(pool),  # noqa: PLW0108 - made when it is called
    ],
)
def test_an_empty_pool_has_no_answer(rule):
    with pytest.raises(InputError, match="no candidates"):
        rule(())


# ---- the oracle


def test_the_oracle_measures_the_pool():
    found = oracle_best_in_pool(POOL, LYON)
    assert (found.rank, found.pool) == (3, 4)
    assert found.best_km == pytest.approx(great_circle_km(*POOL[3].point, *LYON))
    with pytest.raises(InputError):
        oracle_best_in_pool(POOL, (91.0, 0.0))


def test_an_oracle_cannot_be_scored_as_a_guess():
    diagnostic = oracle_best_in_pool(POOL, PARIS)
    honest = Outcome(*PARIS, by_likelihood(POOL).point, {}, {})
    assert score([honest], resamples=10)["n"] == 1
    with pytest.raises(InputError, match="diagnostic, not a guess"):
        score([honest, Outcome(*PARIS, diagnostic, {}, {})], resamples=10)
    with pytest.raises(InputError, match="diagnostic, not a guess"):
        Outcome(*PARIS, tuple(diagnostic), {}, {})
    assert not {"lat", "lon", "point"} & set(dir(diagnostic))


# ---- the reward head

HEAD = RewardHead(
    np.zeros(len(FEATURES)), np.ones(len(FEATURES)), (np.eye(1, len(FEATURES), 3),), (np.zeros(1),)
)  # likes a large share of the draws


def test_features_describe_a_candidate_among_its_rivals():
    rows = features(decoded(), [7.0, 8.0])
    assert rows.shape == (4, len(FEATURES) + 2)
    column = dict(zip(FEATURES, rows.T, strict=False))
    np.testing.assert_allclose(column["share of the draws"], [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(column["rank by probability"], np.log1p([0, 1, 3, 2]))
    np.testing.assert_allclose(column["log probability"], np.log([0.4, 0.3, 0.05, 0.1]))
    assert column["distance from the most probable, log km"][0] == 0
    np.testing.assert_allclose(column["draws within 25 km"], [0.1, 0.5, 0.5, 0.4])
    np.testing.assert_allclose(column["draws within 750 km"], [0.1, 0.9, 0.9, 0.9])
    assert column["belief within 25 km"][0] == pytest.approx(0.4, abs=0.01)
    assert column["belief within 750 km"][1] == pytest.approx(0.45, abs=0.01)  # and the nearest of the rest
    np.testing.assert_array_equal(rows[:, -2:], np.tile([7.0, 8.0], (4, 1)))
    assert np.isfinite(rows).all()
    with pytest.raises(InputError, match="picture features"):
        features(decoded(), [np.nan])


def test_a_reward_head_chooses_what_it_scores_highest():
    chosen = by_reward(decoded(), HEAD)
    assert (chosen.candidate, chosen.how) == (POOL[3], "reward head")
    with pytest.raises(ModelError, match=r"takes \(n, 14\)"):
        by_reward(decoded(), HEAD, picture=[1.0])


def test_a_reward_head_is_kept_as_safetensors(tmp_path):
    rng = np.random.default_rng(0)
    widths = (len(FEATURES), 5, 3, 1)
    weights = tuple(rng.normal(size=(o, i)) for i, o in itertools.pairwise(widths))
    head = RewardHead(rng.normal(size=14), rng.random(14) + 0.5, weights, tuple(rng.normal(size=o) for o in widths[1:]))
    head.save(tmp_path / "reward.safetensors")
    rows = 0.1 * rng.normal(size=(9, 14))
    np.testing.assert_array_equal(RewardHead.load(tmp_path / "reward.safetensors")(rows), head(rows))
    assert head(rows).min() > 0
    assert head(rows).max() < 1


def test_a_file_that_is_no_reward_head_is_named(tmp_path):
    from safetensors.numpy import save_file

    def refused(name):
        with pytest.raises(ModelError, match=name) as caught:
            RewardHead.load(tmp_path / name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "cannot" not in refused("absent.safetensors")
    (tmp_path / "text.safetensors").write_text("not a tensor in it")
    refused("text.safetensors")
    save_file({"mean": np.zeros(3)}, tmp_path / "other.safetensors")
    refused("other.safetensors")
    about = {"layers": 1, "within_km": 25.0, "features": FEATURES}
    tensors = {
        "mean": HEAD.mean,
        "scale": HEAD.scale,
        "layers.0.weight": HEAD.weights[0],
        "layers.0.bias": HEAD.biases[0],
    }
    save_file(tensors, tmp_path / "near.safetensors", metadata={"reward_head": json.dumps(about)})
    assert "other features" in refused("near.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"scale": np.zeros(14)},
        {"mean": np.zeros(13)},
        {"weights": (np.zeros((2, 14)),)},
        {"biases": (np.array([np.nan]),)},
        {"weights": (), "biases": ()},
    ],
)
def test_a_head_that_does_not_fit_together_is_refused(change):
    with pytest.raises(ModelError):
        dataclasses.replace(HEAD, **change)


# ---- asking a language model


class Scripted:
    """An engine that says what it was told to."""

    name, has_geotokens = "scripted", False

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def see(self, image):
        return image

    def complete(self, messages, sight, *, max_new_tokens=160):
        self.asked.append((messages, sight, max_new_tokens))
        return self.replies.pop(0)

    def scorer(self, messages, sight):
        raise ModelError("no symbols")


def adviser(engine, **options):
    belief = decoded().belief()
    return Adviser(engine, "the sight", belief, **options), belief


def test_a_model_chooses_by_number():
    engine = Scripted('{"choice": 4}', ' {"choice":1}\n')
    asked, _ = adviser(engine)
    first, second = asked.choose(POOL), asked.choose(POOL)
    assert (first.candidate, first.how, first.failure) == (POOL[3], "model's choice", "")
    assert second.candidate == POOL[0]
    (messages, sight, tokens), _ = engine.asked
    assert (messages, sight) == (choose_messages(POOL), "the sight")
    assert tokens < 100


def test_a_model_names_a_point():
    engine = Scripted('{"lat": -33.9, "lon": 151}', '{"lon": -180, "lat": 90.0}')
    asked, _ = adviser(engine)
    chosen = asked.point(decoded(POOL[:1]), decoded())
    assert (chosen.point, chosen.how, chosen.candidate, chosen.failure) == (
        (-33.9, 151.0),
        "model's own point",
        None,
        "",
    )
    assert asked.point(decoded(), decoded()).point == (90.0, -180.0)
    assert engine.asked[0][0] == point_messages(POOL[0], POOL)


WRONG_CHOICES = {
    "": "not JSON",
    "4": "not an object",
    "[4]": "not an object",
    "null": "not an object",
    "The answer is 4.": "not JSON",
    '```json\n{"choice": 4}\n```': "not JSON",
    '{"choice": 4} because of the light': "not JSON",
    "{'choice': 4}": "not JSON",
    '{"choice": "4"}': "no whole number",
    '{"choice": 4.0}': "no whole number",
    '{"choice": true}': "no whole number",
    '{"choice": null}': "no whole number",
    '{"choice": [4]}': "no whole number",
    '{"choice": 0}': "out of range",
    '{"choice": -1}': "out of range",
    '{"choice": 5}': "out of range",
    '{"choice": 1' + "0" * 5000 + "}": "not JSON",
    '{"choice": 4, "why": "light"}': "choice alone",
    '{"choice": 4, "choice": 1}': "choice alone",
    '{"Choice": 4}': "choice alone",
    "[" * 100_000: "not JSON",
}
WRONG_POINTS = {
    "Paris": "not JSON",
    "48.86, 2.29": "not JSON",
    '{"lat": 48.86}': "lat and lon alone",
    '{"lat": 48.86, "lon": 2.29, "lat": 1}': "lat and lon alone",
    '{"lat": "48.86", "lon": "2.29"}': "no numbers",
    '{"lat": true, "lon": 2}': "no numbers",
    '{"lat": 91, "lon": 2}': "out of range",
    '{"lat": 48, "lon": 181}': "out of range",
    '{"lat": NaN, "lon": 2}': "out of range",
    '{"lat": 1e999, "lon": 2}': "out of range",
    '{"latitude": 48.86, "longitude": 2.29}': "lat and lon alone",
}


@pytest.mark.parametrize(("reply", "reason"), WRONG_CHOICES.items(), ids=range(len(WRONG_CHOICES)))
def test_a_reply_that_chooses_nothing_falls_back(reply, reason):
    asked, belief = adviser(Scripted(reply), loss="hit", radius_km=300)
    chosen = asked.choose(POOL)
    assert reason in chosen.failure
    assert chosen.point == belief.point("hit", 300)
    assert (chosen.how, chosen.candidate) == ("least loss (hit)", None)


@pytest.mark.parametrize(("reply", "reason"), WRONG_POINTS.items(), ids=range(len(WRONG_POINTS)))
def test_a_reply_that_is_no_place_falls_back(reply, reason):
    asked, belief = adviser(Scripted(reply))
    chosen = asked.point(decoded(), decoded())
    assert reason in chosen.failure
    assert chosen.point == belief.point("median")


def test_failures_are_counted():
    asked, _ = adviser(Scripted('{"choice": 1}', "no", '{"choice": 9}', "never"))
    choices = [asked.choose(POOL) for _ in range(4)]
    counted = count_failures(choices)
    assert (counted.asked, counted.failed) == (4, 3)
    assert counted.reasons == {"reply is not JSON": 2, "choice is out of range": 1}
    assert count_failures([]).asked == 0


def test_a_server_that_is_down_is_no_failure_of_the_models():
    class Down(Scripted):
        def complete(self, messages, sight, *, max_new_tokens=160):
            raise ModelError("no usable reply from http://127.0.0.1:9")

    with pytest.raises(ModelError, match="no usable reply"):
        adviser(Down())[0].choose(POOL)


def test_the_wording_of_the_choice():
    (message,) = choose_messages(POOL[:2])
    assert message["role"] == "user"
    image, text = message["content"]
    assert image == {"type": "image"}
    assert text["text"] == (
        "<data>\n"
        "1: near Sydney, New South Wales, Australia (-33.84, 151.19)\n"
        "2: near Paris, Île-de-France, France (48.90, 2.33)\n"
        "</data>\n"
        "Where was this picture taken? The data lists candidates. Look at the picture, choose the one that fits it "
        'best, and answer with JSON only, its number in place of N: {"choice": N}'
    )


def test_the_wording_of_the_point():
    (message,) = point_messages(POOL[0], POOL[1:3])
    assert message["content"][1]["text"] == (
        "<data>\n"
        "first guess: near Sydney, New South Wales, Australia (-33.84, 151.19)\n"
        "guess: near Paris, Île-de-France, France (48.90, 2.33), 2 times\n"
        "guess: near Vitry-sur-Seine, Île-de-France, France (48.74, 2.31), 3 times\n"
        "</data>\n"
        "Where was this picture taken? The data lists a first guess and further ones, which may be wrong. Look at the "
        'picture and answer with JSON only, in degrees, north and east positive: {"lat": LAT, "lon": LON}'
    )


def test_nano_is_asked_and_its_failures_are_counted():
    """Nano was not taught JSON: it may fail every time, and then every failure is counted and answered for."""
    from gaea import prompts

    engine = TransformersEngine(NANO / "llava", system=False)
    sight = engine.see(Image.new("RGB", (96, 96), "navy"))
    scorer = engine.scorer(prompts.locate(), sight)
    first, drawn = greedy(scorer, BeamConfig(symbols=4)), sample(scorer, SampleConfig(symbols=4, samples=3))
    asked = Adviser(engine, sight, drawn.belief())
    choices = [asked.choose(drawn.candidates), asked.point(first, drawn)]
    for choice in choices:
        assert choice.failure or choice.how.startswith("model's")
        if choice.failure:
            assert choice.point == drawn.belief().point("median")
    counted = count_failures(choices)
    assert counted.asked == 2
    assert counted.failed == sum(counted.reasons.values()) == sum(bool(c.failure) for c in choices)


def test_a_pool_from_a_real_search_goes_through_every_rule():
    truth = geotokens.encode(*LYON)

    def scorer(prefixes):
        length = prefixes.shape[1]
        log_p = np.full((len(prefixes), 6 if length == 0 else 16), -8.0)
        log_p[:, truth[length]] = 0.0
        return log_p

    drawn, best = sample(scorer, SampleConfig(temperatures=(1.2,))), beam(scorer)
    for found in (drawn, best):
        rules = [by_likelihood(found.candidates), by_majority(found.candidates), by_least_loss(found.belief())]
        assert all(isinstance(choice, Choice) and near(choice, LYON, 25) for choice in rules)
        assert by_reward(found, HEAD).candidate in found.candidates
        assert oracle_best_in_pool(found.candidates, LYON).best_km < 10
    assert Counter(len(c.tokens) for c in drawn.candidates) == {6: len(drawn.candidates)}
