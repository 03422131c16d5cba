"""Diagrams show what is so: a calibrated belief lies on the diagonal, one that is too sure below it."""

import dataclasses
import json
from xml.etree import ElementTree

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief, calibrate
from gaea.calibration import Calibration
from gaea.conformal import Promise, Risk
from gaea.eval import diagram, reliability, reliability_report
from gaea.eval.__main__ import main
from gaea.eval.grouped import Draws
from gaea.eval.orbit import save

CELLS = cells.children(cells.children(cells.children(cells.FACES).reshape(-1)).reshape(-1)).reshape(-1)
COUNT = 120


@pytest.fixture(scope="module")
def places():
    """Beliefs, and truths drawn from them."""
    rng = np.random.default_rng(0)
    beliefs, truths = [], []
    for _ in range(COUNT):
        belief = Belief.from_weights(CELLS, np.exp(rng.normal(0, 1 + rng.random(), CELLS.size)))
        lat, lon = belief.sample(1, rng)
        beliefs.append(belief)
        truths.append((float(lat[0]), float(lon[0])))
    return beliefs, truths


DRAWS = Draws([str(i // 3) for i in range(COUNT)], resamples=100)


def reads(beliefs, truths, masses=(0.5, 0.9)):
    return [reliability.Read.of(belief, *at, masses) for belief, at in zip(beliefs, truths, strict=True)]


@pytest.fixture(scope="module")
def honest(places):
    return reads(*places)


def test_a_calibrated_belief_lies_on_the_diagonal(honest):
    told = reliability.told(honest, DRAWS)
    assert len(told["diagram"]) == 19
    assert told["mean gap"] < 0.09
    assert abs(told["regions"]["90"]["held"][0] - 0.9) < 0.08
    assert told["regions"]["50"]["mean_km2"][0] < told["regions"]["90"]["mean_km2"][0]


def test_one_that_is_too_sure_lies_below_and_is_more_surprised(places, honest):
    beliefs, truths = places
    told = reliability.told(reads([calibrate(b, 0.4) for b in beliefs], truths), DRAWS)
    assert told["diagram"]["0.50"][0] < 0.4
    assert told["mean gap"] > 0.1
    assert told["surprise_nats"][0] > reliability.told(honest, DRAWS)["surprise_nats"][0]


def test_the_risk_curve_by_hand():
    doubt = np.array([3.0, 1.0, 2.0, np.inf])
    error = np.array([3000.0, 10.0, 800.0, 9000.0])
    curve = reliability.risk_curve(doubt, error)
    assert curve["answerable"] == 0.75
    assert curve["2500 km"]["points"] == [[0.25, 0.0], [0.5, 0.0], [0.75, 0.3333]]
    assert curve["2500 km"]["area"] == curve["2500 km"]["best area"] == 0.1111
    assert curve["750 km"]["points"] == [[0.25, 0.0], [0.5, 0.5], [0.75, 0.6667]]
    turned = reliability.risk_curve(-doubt[:3], error[:3])
    assert turned["2500 km"]["area"] > turned["2500 km"]["best area"]
    assert reliability.risk_curve(np.full(2, np.inf), error[:2])["750 km"]["points"] == []


def test_abstention_counts_only_what_is_answered(honest):
    radius = float(np.median([r.doubt_km for r in honest]))
    promise = Promise(Risk(0.1, 2500.0, 0.9), radius, 0.5, 0.05, 200)
    told = reliability.abstention(honest, Calibration(abstain_radius_km=radius, promise=promise), DRAWS)
    given = [r for r in honest if r.doubt_km <= radius]
    assert told["answered"][0] == pytest.approx(len(given) / COUNT, abs=1e-4)
    assert told["wrong of the answered"][0] == pytest.approx(np.mean([r.error_km > 2500 for r in given]), abs=1e-4)
    assert told["wrong of the answered"][0] < told["wrong of all"][0]
    nobody = reliability.abstention(honest, Calibration(abstain_radius_km=0.0), DRAWS)
    assert nobody["wrong of the answered"] == [None, [None, None]]
    assert nobody["promise"] is None


def test_a_belief_that_knows_nothing_gives_no_point():
    read = reliability.Read.of(Belief.uniform(), 10.0, 20.0, (0.5, 0.9))
    assert read.doubt_km == float("inf")
    assert read.nats == pytest.approx(20.05, abs=0.01)


def report_of(honest):
    trust = Calibration(promise=Promise(Risk(), 800.0, 0.4, 0.06, 250))
    return {
        "contract": "c",
        "command": "python -m gaea.eval reliability",
        "commit": "abc",
        "seed": 0,
        "calibration": dataclasses.asdict(trust),
        "pool": dataclasses.asdict(trust.pool),
        "absent": {"GeoToken": "no weights"},
        "abstention on both": reliability.abstention(honest, trust, DRAWS),
        "beliefs": {
            "unseen": {
                "n": COUNT,
                "places": 100,
                "figure": "reliability-unseen.svg",
                "read": {"pool, calibrated": reliability.told(honest, DRAWS)},
                "abstention": reliability.abstention(honest, trust, DRAWS),
            }
        },
    }


def test_the_report_is_printed_from_its_json(honest, tmp_path, capsys):
    save(report_of(honest), tmp_path / "reliability.json")
    assert main(["report", str(tmp_path / "reliability.json")]) == 0
    page = capsys.readouterr().out
    assert page == reliability_report.markdown(json.loads((tmp_path / "reliability.json").read_text()))
    assert page.count("at most 10 % are off by more than 2500 km") == 2
    assert "GeoToken is not in the tables: no weights." in page
    assert "(reliability-unseen.svg)" in page


def test_the_figure_is_svg_with_a_line_for_each_belief(honest):
    told = reliability.told(honest, DRAWS)["diagram"]
    root = ElementTree.fromstring(diagram.svg({"one & only": told, "<two>": told}, "A & B"))
    space = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f"{space}polyline")
    assert len(lines) == 2
    assert len(lines[0].attrib["points"].split()) == 19
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {"one & only", "<two>", "A & B"} <= set(texts)
