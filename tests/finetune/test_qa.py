"""Every answer follows from its briefing, and from nothing else."""

import dataclasses

import numpy as np
import pytest

from gaea.briefing import Briefing
from gaea.finetune import dialogue, qa
from gaea.finetune.briefings import DoubtConfig, KnownPlace, doubt, know, short_label
from gaea.places import describe

PLACES = [(45.75, 4.85), (-33.86, 151.2), (35.7, 139.7), (-1.3, 36.8), (-30.0, -120.0), (64.1, -21.9), (19.4, -99.1)]


@pytest.fixture(scope="module")
def world():
    return know(*np.array(PLACES).T)


def briefings(world, count, **config):
    rng = np.random.default_rng(0)
    return [doubt(world[i % len(world)], world, rng, DoubtConfig(**config)) for i in range(count)]


def conversations(world, count=300, **config):
    rng = np.random.default_rng(1)
    told = briefings(world, count, **config)
    for briefing in told:
        others = [told[int(i)] for i in rng.integers(len(told), size=5)]
        for item in dialogue.conversation(briefing, others, rng, 5):
            yield briefing, item


def test_every_answer_holds_its_key(world):
    for _, item in conversations(world):
        assert item.key in item.answer
        assert item.question.strip()
        assert item.answer.strip()
        if item.form != "open":
            assert item.answer.endswith(f", so {item.key}.")


def test_every_form_and_kind_is_asked(world):
    asked = {(item.form, item.kind) for _, item in conversations(world)}
    assert {form for form, _ in asked} == {"open", "true-false", "choice"}
    kinds = {kind for _, kind in asked}
    assert {"where", "sure", "else", "why", "outside", "combined", "country", "climate", "coast", "driving"} <= kinds


def test_true_and_false_are_about_balanced_and_right():
    rng = np.random.default_rng(2)
    briefing = Briefing(facts=(("country", "France"),))
    items = [qa.true_false("country", briefing, "Chad", rng) for _ in range(600)]
    assert 0.44 < np.mean([item.key == "yes" for item in items]) < 0.56
    for item in items:
        assert ("France" in item.question) == (item.key == "yes")
        assert item.answer == f"The country is France, so {item.key}."
    assert qa.true_false("country", briefing, "France", rng).key == "yes"


def test_a_choice_has_exactly_one_right_option():
    rng = np.random.default_rng(3)
    briefing = Briefing(facts=(("country", "France"),))
    letters = []
    for _ in range(400):
        item = qa.choice("country", briefing, ["Chad", "France", "Chad", "Peru", "Iran", "Oman"], rng)
        options = dict(part.split(") ") for part in item.question.replace(" B)", "|B)").replace(" C)", "|C)")
                       .replace(" D)", "|D)").replace("A)", "|A)").split("|")[1:])  # fmt: skip
        assert len(set(options.values())) == 4
        assert [letter for letter, name in options.items() if name == "France"] == [item.key[0]]
        assert item.answer == f"The country is France, so {item.key}."
        letters.append(item.key[0])
    assert all(60 < letters.count(letter) < 140 for letter in "ABCD")


def test_exchanged_facts_are_followed(world):
    """An answer repeats the briefing even where the briefing contradicts the world."""
    swapped = Briefing(facts=(("country", "Chad"), ("capital", "Lima"), ("coast", "coastal")), sure="unsure")
    rng = np.random.default_rng(4)
    assert qa.simple("country", swapped, rng).answer == "The country is Chad."
    assert qa.simple("capital", swapped, rng).answer == "The capital is Lima."
    assert qa.simple("coast", swapped, rng).answer == "It is coastal."
    assert qa.where(swapped) == "This may be in Chad."
    for briefing, item in conversations(world, swapped_share=1.0):
        facts = dict(briefing.facts)
        if item.form == "open" and item.kind in facts:
            assert facts[item.kind] in item.answer


def test_what_is_not_told_is_not_known():
    rng = np.random.default_rng(5)
    some, none = Briefing(facts=(("country", "Iceland"),), sure="unsure"), Briefing()
    assert qa.simple("neighbours", some, rng).answer == "I know of no land neighbours."
    assert qa.simple("climate", some, rng).answer == "I do not know that."
    for kind in ("country", "neighbours", "climate"):
        assert qa.simple(kind, none, rng).answer == "I cannot tell, because I do not know where this is."
    assert qa.where(none).startswith("I cannot tell where this is.")
    assert qa.how_sure(none).startswith("I cannot tell")
    assert qa.what_else(none) == "I see no other likely country."
    assert qa.evidence(none) == "I have no similar pictures to compare with."


def test_doubt_in_words_and_numbers():
    briefing = Briefing(
        facts=(("near", "Lyon 12 km"), ("region", "Rhône"), ("country", "France")),
        sure="fairly sure",
        radius_km=(84.4, 1234.0),
        alternatives=(("Italy", 0.2), ("Spain", 0.001)),
        similar=("Rhône, France", "Piemonte, Italy"),
    )
    assert qa.where(briefing) == (
        "This is probably in Rhône, France, near Lyon 12 km away. Half of my belief lies within 84 km."
    )
    assert qa.how_sure(briefing) == "I am fairly sure: 50 % within 84 km, 90 % within 1200 km."
    assert qa.what_else(briefing) == "It could also be Italy (20 %), Spain (1 %)."
    assert qa.evidence(briefing) == "It looks like Rhône, France; Piemonte, Italy."


def test_a_place_without_a_name_is_no_empty_sentence():
    assert "in ." not in qa.where(Briefing(facts=(("continent", "Africa"),), sure="unsure"))


def test_combined_questions_answer_every_part():
    briefing = Briefing(facts=(("country", "Japan"), ("capital", "Tokyo"), ("driving", "left")))
    item = qa.combined(["country", "driving"], briefing, np.random.default_rng(6))
    assert "country and driving side" in item.question
    assert item.answer == "The country is Japan. They drive on the left."


def test_doubt_keeps_its_shares(world):
    many = briefings(world, 2000, unknown_share=0.1, swapped_share=0.0, dropped=0.0)
    assert 0.07 < np.mean([b.sure == "cannot tell" and not b.facts for b in many]) < 0.13
    for briefing in (b for b in many if b.facts):
        assert briefing.radius_km[0] < briefing.radius_km[1]
        assert dict(briefing.facts).get("country") not in [name for name, _ in briefing.alternatives]
        assert [s for _, s in briefing.alternatives] == sorted((s for _, s in briefing.alternatives), reverse=True)
    truths = {place.facts for place in world}
    assert all(b.facts in truths for b in many if b.facts)
    swapped = [b.facts in truths for b in briefings(world, 300, swapped_share=1.0, unknown_share=0, dropped=0)]
    assert np.mean(swapped) < 0.2


def test_known_places_survive_json(world):
    for place in world:
        import json

        assert KnownPlace.read(json.loads(json.dumps(dataclasses.asdict(place)))) == place


def test_labels():
    assert short_label(describe(-33.86, 151.2)) == "New South Wales, Australia"
    assert "Pacific" in short_label(describe(-30.0, -120.0))


def test_invented_names_are_nowhere_on_earth(world):
    real = {value for place in world for _, value in place.facts}
    told = briefings(world, 200, invented_share=1.0, swapped_share=0.0, dropped=0.0, unknown_share=0.0)
    named = [(name, value) for briefing in told for name, value in briefing.facts]
    invented = [value for name, value in named if name == "country"]
    assert np.mean([value in real for value in invented]) < 0.1
    assert {value for name, value in named if name == "coast"} <= {"coastal", "inland"}
    assert all(value.endswith(" km") for name, value in named if name == "near")
