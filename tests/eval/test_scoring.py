"""The contract, clause by clause, on runs of invented predictions; and a hundred thousand of them."""

import time

import numpy as np
import pytest

from gaea import cells as s2
from gaea.errors import InputError
from gaea.eval.answers import Answers
from gaea.eval.bootstrap import Bootstrap
from gaea.eval.metrics import FARTHEST_KM, Outcome
from gaea.eval.metrics import score as plain_score
from gaea.eval.promises import abstention, calibration, doubt
from gaea.eval.records import GroundTruth, Item, Prediction, RunHeader
from gaea.eval.runs import Run
from gaea.eval.score_command import lines
from gaea.eval.scoring import score
from gaea.eval.strata import with_strata
from gaea.sphere import destination, geoscore, great_circle_km

PARIS, LYON = (48.8566, 2.3522), (45.7578, 4.8320)


def item(identity="a", point=PARIS, **told):
    truth = {name: told.pop(name) for name in ("country", "region", "city", "answer") if name in told}
    return Item(
        identity, "toy", told.pop("kind", "locate"), truth=GroundTruth(*(point or (None, None)), **truth), **told
    )


def said(identity="a", point=PARIS, status="answered", **told):
    return Prediction(identity, status, lat=point and point[0], lon=point and point[1], **told)


def of(*pairs):
    header = RunHeader("toy", "1", "x", "somebody")
    return Run(None, header, tuple(i for i, _ in pairs), {p.id: p for _, p in pairs if p is not None})


def answers(*pairs):
    return Answers.of(pairs)


def test_nothing_is_an_error():
    with pytest.raises(InputError, match="nothing can be scored"):
        score(of())


@pytest.mark.parametrize("status", ["refused", "unparsable", "error", "missing"])
def test_whatever_is_not_answered_is_a_miss(status):
    told = score(of((item("a"), said("a")), (item("b"), None if status == "missing" else said("b", None, status))))
    assert told["n"]["attempted"] == 2
    assert told["n"][status] == 1
    assert told["places"]["within_2500_km"][0] == 0.5
    assert told["places"]["geoscore"][0] == 2500
    assert told["places"]["mean_km"][0] == pytest.approx(FARTHEST_KM / 2)
    assert told["places"]["country"][0] == 0.5


def test_a_threshold_includes_its_distance():
    lat, lon = destination(*PARIS, 90.0, 200.0)
    made = answers((item(), said(point=(float(lat), float(lon)))))
    assert made.error_km[0] == pytest.approx(200, abs=1e-9)
    exactly = made.error_km[0]
    for km, hit in ((exactly, 1.0), (np.nextafter(exactly, 0), 0.0)):
        assert float(made.error_km[0] <= km) == hit


def test_it_agrees_with_the_plain_metrics():
    rng = np.random.default_rng(1)
    pairs, outcomes, places = [], [], []
    for n in range(200):
        true, guess = (tuple(rng.uniform((-80, -180), (80, 180))) for _ in range(2))
        near = tuple(np.clip(np.array(true) + rng.normal(0, 2, 2), (-90, -180), (90, 180)))
        guess = None if n % 11 == 0 else near if n % 2 else guess
        pairs.append((item(str(n), true, place=f"p{n // 3}"), said(str(n), guess, "answered" if guess else "refused")))
        outcomes.append(Outcome(*true, guess, {}, {}))
        places.append(f"p{n // 3}")
    ours, plain = score(of(*pairs))["places"], plain_score(outcomes, places=places)
    for name in ("median_km", "geoscore", "within_25_km", "within_200_km", "within_750_km", "within_2500_km"):
        assert ours[name][0] == pytest.approx(plain[name][0], abs=0.06)
        assert ours[name][1] == pytest.approx(plain[name][1], rel=0.15, abs=0.05)


def test_abstentions_are_scored_by_their_guess_and_as_misses():
    told = score(of((item("a"), said("a")), (item("b"), said("b", status="abstained"))))
    assert told["places"]["within_1_km"][0] == 1.0
    assert told["places"]["within_1_km, abstentions missed"][0] == 0.5
    assert told["places"]["geoscore, abstentions missed"][0] == 2500
    assert told["abstention"]["beyond_200_km"]["abstained among right"][0] == 0.5


def test_countries_are_compared_as_codes():
    named = [
        (item("a", country="France"), said("a", None, country="FR")),
        (item("b", country="FR"), said("b", LYON)),
        (item("c"), said("c", LYON)),
        (item("d", country="United_Kingdom"), said("d", None, country="UK")),
        (item("e", country="Türkiye"), said("e", None, country="Turkey")),
        (item("f", country="France"), said("f", PARIS, country="Spain")),
        (item("g", point=(0.0, -30.0)), said("g")),
        (item("h", country="Atlantis", point=None), said("h")),
    ]
    found = answers(*named).country_hit
    assert found[:6].tolist() == [1, 1, 1, 1, 1, 0]
    assert np.isnan(found[6:]).all()


def test_cities_are_compared_by_name_or_by_place():
    named = [
        (item("a", city="Paris", country="France"), said("a", None, city="paris")),
        (item("b", city="Paris", country="France"), said("b", (48.9, 2.4))),
        (item("c", city="Paris", country="France"), said("c", LYON, city="Lyon")),
        (item("d", city="Paris", country="France"), said("d", (33.66, -95.55), city="Paris", country="US")),
        (item("e", city="Nowhere Such", country="France"), said("e", (48.9, 2.4))),
        (item("f", city="Abu_Dhabi", country="United_Arab_Emirates", point=None), said("f", None, city="Abu Dhabi")),
        (item("g"), said("g")),
    ]
    found = answers(*named).city_hit
    assert found[:6].tolist() == [1, 1, 0, 0, 1, 1]
    assert np.isnan(found[6])


def test_regions_and_cells():
    made = answers(
        (item("a", LYON), said("a", (45.70, 4.90))),
        (item("b", LYON), said("b", PARIS)),
        (item("c"), said("c", None, "refused")),
    )
    assert made.region_hit.tolist() == [1, 0, 0]
    coarse, fine = made.cell_hit(0), made.cell_hit(20)
    assert coarse.tolist() == [1, 1, 0]
    assert fine.tolist() == [0, 0, 0]
    levels = [made.cell_hit(level).sum() for level in range(0, 21, 2)]
    assert levels == sorted(levels, reverse=True)


def test_places_without_coordinates_have_names_alone():
    told = score(of((item("a", None, country="FR"), said("a", LYON)), (item("b", None, country="DE"), said("b", LYON))))
    assert told["places"]["country"][0] == 0.5
    assert "median_km" not in told["places"]


def test_groups_follow_from_the_place():
    (found,) = with_strata([item("a", PARIS, strata={"scene": "urban"})])
    assert found.strata == {
        "scene": "urban",
        "continent": "Europe",
        "hemisphere": "north east",
        "climate": "temperate",
        "people per km²": "over 1000",
    }
    (sea,) = with_strata([item("b", (-40.0, -120.0))])
    assert (sea.strata["continent"], sea.strata["climate"], sea.strata["people per km²"]) == (
        "at sea",
        "none",
        "under 1",
    )
    (named,) = with_strata([item("c", None, country="FR")])
    assert named.strata == {}


def test_groups_are_scored_each_by_itself():
    north = [(item(f"n{n}", PARIS, strata={"half": "north"}), said(f"n{n}")) for n in range(3)]
    south = [(item(f"s{n}", (-33.0, 20.0), strata={"half": "south"}), said(f"s{n}")) for n in range(2)]
    told = score(of(*north, *south))["strata"]["half"]
    assert (told["north"]["n"], told["south"]["n"]) == (3, 2)
    assert told["north"]["within_200_km"][0] == 1.0
    assert told["south"]["within_200_km"][0] == 0.0


def test_splits_are_told_apart():
    told = score(of((item("a", split="seen"), said("a")), (item("b", split="unseen"), said("b", LYON))))
    assert told["splits"]["seen"]["places"]["within_200_km"][0] == 1.0
    assert told["splits"]["unseen"]["places"]["within_200_km"][0] == 0.0
    assert told["splits"]["unseen"]["n"]["attempted"] == 1


def regions(identity, covered_50, needed, radius, point=PARIS, density=-5.0):
    return said(
        identity,
        point,
        covered={50: covered_50, 90: True},
        area_km2={50: 100.0, 90: 1000.0},
        radius_km={50: radius, 90: 3 * radius},
        needed=needed,
        log_score=density,
    )


def test_promises_are_held_against_what_came_true():
    made = answers(
        (item("a"), regions("a", True, 0.2, 10)),
        (item("b"), regions("b", True, 0.4, 20)),
        (item("c"), regions("c", False, 0.7, 30, LYON, None)),
        (item("d"), said("d", None, "refused")),
    )
    told = calibration(made, Bootstrap(made.places))
    assert told["n"] == 3
    assert told["coverage_50"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert told["coverage_90"][0] == 1.0
    assert told["area_50_km2"][0] == 100
    assert told["no_density"] == 1
    assert told["log_density"][0] == -5
    assert told["bits_gained"][0] == pytest.approx((-5 + np.log(510065621.7)) / np.log(2), abs=1e-3)
    curve = {nominal: share for nominal, share, _ in told["reliability"]}
    assert curve[0.1] == 0
    assert curve[0.5] == pytest.approx(2 / 3, abs=1e-4)
    assert curve[0.9] == 1


def test_risk_follows_doubt():
    sure_is_right = answers(
        *((item(f"r{n}"), regions(f"r{n}", True, 0.1, n)) for n in range(5)),
        *((item(f"w{n}"), regions(f"w{n}", True, 0.1, 100 + n, LYON)) for n in range(5)),
    )
    told = doubt(sure_is_right, Bootstrap(sure_is_right.places))["beyond_200_km"]
    assert told["curve"][0] == [0.1, 0.0]
    assert told["curve"][-1] == [1.0, 0.5]
    assert (
        told["aurc"][0]
        == told["oracle"][0]
        == pytest.approx(np.mean([0] * 5 + [n / (5 + n) for n in range(1, 6)]), abs=1e-4)
    )
    assert told["random"][0] == 0.5
    sure_is_wrong = answers(
        *((item(f"r{n}"), regions(f"r{n}", True, 0.1, 100 + n)) for n in range(5)),
        *((item(f"w{n}"), regions(f"w{n}", True, 0.1, n, LYON)) for n in range(5)),
    )
    assert doubt(sure_is_wrong, Bootstrap(sure_is_wrong.places))["beyond_200_km"]["aurc"][0] > 0.5


def test_abstention_that_is_right():
    made = answers(
        (item("a"), said("a", LYON, "abstained")),
        (item("b"), said("b", LYON)),
        (item("c"), said("c")),
    )
    told = abstention(made, Bootstrap(made.places))
    assert (told["abstained"], told["given"]) == (1, 2)
    assert told["beyond_200_km"]["wrong among abstained"][0] == 1.0
    assert told["beyond_200_km"]["wrong among given"][0] == 0.5
    assert told["beyond_200_km"]["abstained among wrong"][0] == 0.5
    assert abstention(answers((item(), said())), Bootstrap(["p"])) == {"abstained": 0}


def test_the_likeliest_cell_is_asked_too():
    right = {2: s2.to_token(s2.from_latlon(*PARIS, 2)), 4: s2.to_token(s2.from_latlon(*LYON, 4))}
    told = score(of((item(), said(cells=right))))["places"]
    assert told["s2_level_2, likeliest cell"][0] == 1.0
    assert told["s2_level_4, likeliest cell"][0] == float(right[4] == s2.to_token(s2.from_latlon(*PARIS, 4)))


def test_location_questions_are_read_in_words():
    asked = item("q", kind="ask", question="Where?", question_type="location", country="FR", city="Lyon", point=LYON)
    told = score(of((asked, Prediction("q", "answered", "Lyon, France", lat=PARIS[0], lon=PARIS[1]))))
    assert told["location questions"]["country, in words"][0] == 1.0
    assert told["location questions"]["city, in words"][0] == 1.0
    assert told["location questions"]["within_200_km"][0] == 0.0
    assert told["questions"]["location"]["answered"] == 1
    assert any(line.startswith("location questions (1)") for line in lines(told))


def test_a_hundred_thousand_predictions_are_scored_in_seconds(record_property):
    rng = np.random.default_rng(0)
    count = 100_000
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    lon = rng.uniform(-180, 180, count)
    guess = np.clip(np.stack([lat, lon], 1) + rng.normal(0, 5, (count, 2)), (-90, -180), (90, 180))
    items = with_strata([item(str(n), (float(a), float(o))) for n, (a, o) in enumerate(zip(lat, lon, strict=True))])
    made = {i.id: said(i.id, (float(a), float(o))) for i, (a, o) in zip(items, guess, strict=True)}
    started = time.process_time()
    told = score(Run(None, RunHeader("toy", "1", "x", "somebody"), items, made))
    record_property("processor seconds", round(time.process_time() - started, 1))
    far = great_circle_km(lat, lon, *guess.T)
    assert told["places"]["median_km"][0] == pytest.approx(np.median(far), abs=1e-3)
    assert told["places"]["geoscore"][0] == pytest.approx(geoscore(far).mean(), abs=1e-3)
    assert sum(each["n"] for each in told["strata"]["climate"].values()) == count
