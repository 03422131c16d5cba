"""What the calibration stage learns: fitted on some blocks, promised from others, and nothing that it cannot show."""

import dataclasses

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief
from gaea.calibration import Calibration
from gaea.conformal import Risk
from gaea.finetune import calibrate
from gaea.finetune.calibrate import TOKEN_TEMPERATURES, Evidence
from gaea.finetune.splits import block_address
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.sphere import destination

RISK = Risk(share=0.3, beyond_km=1500.0, confidence=0.8)


def evidence_of(rng, unseen):
    """Neighbours about the truth, near for seen places and far for unseen; tokens that know the face."""
    lat, lon = float(np.degrees(np.arcsin(rng.uniform(-0.9, 0.9)))), float(rng.uniform(-180, 180))
    sure = float(rng.uniform(0.5, 0.99))
    off_km = rng.exponential((9000 if unseen else 3000) * (1 - sure) ** 1.5, 8) + 20
    at_lat, at_lon = destination(np.full(8, lat), np.full(8, lon), rng.uniform(0, 360, 8), np.minimum(off_km, 15000))
    near = [
        Neighbour(i, float(a), float(o), sure - 0.01 * i, "similar")
        for i, (a, o) in enumerate(zip(at_lat, at_lon, strict=True))
    ]
    face = cells.parent(cells.from_latlon(lat, lon), 0)
    tokens = Belief.from_weights(cells.FACES, np.where(face == cells.FACES, 3.0, 1.0))
    return Evidence(Neighbours(tuple(near)), dict.fromkeys(TOKEN_TEMPERATURES, tokens), lat, lon, rng.random(), unseen)


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(0)
    return [evidence_of(rng, unseen=i % 2 == 0) for i in range(240)]


@pytest.fixture(scope="module")
def learned(evidence):
    return calibrate.learn(evidence, RISK)


def test_pictures_of_one_block_stay_together(evidence):
    many = evidence + evidence[:50]
    fold = calibrate.folds(many)
    assert np.bincount(fold).min() > len(many) / calibrate.FOLDS / 2

    blocks: dict[tuple, set] = {}
    for e, mine in zip(many, fold, strict=True):
        blocks.setdefault(tuple(int(v) for v in block_address(e.lat, e.lon)), set()).add(int(mine))
    assert all(len(mine) == 1 for mine in blocks.values())


def test_few_pictures_fit_and_size(evidence):
    assert calibrate.held_out(evidence[:20]) is None
    assert calibrate.learn(evidence[:20], RISK).region_mass[1] > 0


def test_no_picture_is_read_by_what_it_fitted(evidence, monkeypatch):
    fits, read = [], []
    monkeypatch.setattr(calibrate, "beliefs_of", lambda e, trust: read.append((id(e), len(fits))) or {})
    some = evidence[:120]
    monkeypatch.setattr(calibrate, "fitted", lambda part: fits.append({id(e) for e in part}) or Calibration())
    assert len(calibrate.held_out(some)) == len(some)
    assert len(fits) == calibrate.FOLDS
    assert sorted(i for i, _ in read) == sorted(map(id, some))
    assert all(i not in fits[turn - 1] for i, turn in read)


def test_a_block_counts_once_however_often_it_was_asked(evidence):
    unseen = [e for e in evidence if e.unseen]
    lucky, unlucky = unseen[0], unseen[1:10]
    knows = {id(lucky): Belief.from_weights([int(cells.parent(cells.from_latlon(lucky.lat, lucky.lon), 3))], [1.0])}
    asked = [lucky] * 200 + unlucky
    beliefs = [knows.get(id(e), Belief.from_weights(cells.FACES, np.ones(6))) for e in asked]
    sized = calibrate.promised(Calibration(), asked, beliefs, RISK)
    assert sized.region_mass[0] > 0.01, "200 views of one block are one voice among ten"


def test_regions_cover_new_unseen_places(learned):
    rng = np.random.default_rng(1)
    fresh = [evidence_of(rng, unseen=True) for _ in range(150)]
    pooled = [learned.pool(calibrate.beliefs_of(e, learned)) for e in fresh]
    for mass, wanted in zip(learned.region_mass, (0.5, 0.9), strict=True):
        held = np.mean([b.region(mass).contains(e.lat, e.lon) for b, e in zip(pooled, fresh, strict=True)])
        assert abs(held - wanted) < 0.15


def test_the_promise_is_stored_and_rules_abstention(learned, evidence, tmp_path):
    promise = learned.promise
    assert promise is not None
    assert promise.risk == RISK
    assert learned.abstain_radius_km == promise.threshold
    blocks = {e.unseen: set() for e in evidence}
    for e, block in zip(evidence, calibrate.blocks_of(evidence).tolist(), strict=True):
        blocks[e.unseen].add(block)
    assert promise.places <= 2 * min(map(len, blocks.values())), "one of each block, as many seen as unseen"
    assert promise.places > len(evidence) / 2
    assert promise.wrong <= RISK.share
    learned.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == learned


def test_a_risk_that_cannot_be_kept_is_not_promised(learned, evidence):
    unseen = [e for e in evidence if e.unseen]
    lost = [Belief.uniform()] * len(unseen)
    assert calibrate.promised(Calibration(), unseen, lost, RISK).promise is None
    assert calibrate.promised(Calibration(), unseen, lost, RISK).abstain_radius_km == Calibration().abstain_radius_km


def test_a_further_locator_is_weighed_with_the_others(evidence):
    def knowing(e):
        cell = cells.parent(cells.from_latlon(e.lat, e.lon), 5)
        return Belief.from_weights([int(cell)], [1.0], elsewhere=0.3)

    with_more = [dataclasses.replace(e, others={"oracle": knowing(e)}) for e in evidence[:60]]
    learned = calibrate.learn(with_more, RISK)
    assert learned.other_weights["oracle"] > 0.3
    assert set(learned.pool.weights) == {"neighbours", "tokens", "text", "oracle"}


def test_no_point_is_given_whose_half_lies_beyond_what_is_of_use():
    def disc(radius_km):
        ids = cells.cover_cap(10.0, 20.0, radius_km)
        return Belief.from_weights(ids, cells.area_km2(ids))

    assert disc(4000.0).information_gain() > calibrate.LEAST_BITS  # it is not for want of knowledge
    assert calibrate._doubt(disc(4000.0), 0.5) == float("inf")
    assert 300 < calibrate._doubt(disc(600.0), 0.5) < 600
