"""However it is asked, the answer follows from the briefing; what the briefing does not hold is not known."""

from collections import Counter

import numpy as np
import pytest

from gaea.briefing import CANNOT_TELL, Briefing
from gaea.finetune import dialogue, qa
from gaea.finetune.briefings import DoubtConfig, doubt, know
from gaea.speech import Conclusion

PLACES = [(45.75, 4.85), (-33.86, 151.2), (35.7, 139.7), (-1.3, 36.8), (-30.0, -120.0), (64.1, -21.9), (19.4, -99.1)]
EGYPT = Briefing(
    facts=(
        ("near", "El-Tor 24 km"), ("region", "Janub Sina'"), ("country", "Egypt"), ("continent", "Africa"),
        ("capital", "Cairo"), ("neighbours", "Libya, Sudan"), ("languages", "Arabic, English"),
        ("climate", "hot desert"), ("coast", "coastal"),
    ),
    sure="unsure",
    radius_km=(190.0, 480.0),
    alternatives=(("Israel", 0.04),),
)  # fmt: skip
OTHERS = {"country": "Peru", "continent": "Asia", "capital": "Lima", "climate": "tundra", "languages": "Arabic, Greek"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def items():
    """Some thousands, with their briefings."""
    rng, world = np.random.default_rng(1), know(*np.array(PLACES).T)
    told = [doubt(world[i % len(world)], world, rng, DoubtConfig(held_share=0.2)) for i in range(400)]
    return [
        (briefing, item)
        for briefing in told
        for item in dialogue.conversation(briefing, [told[int(i)] for i in rng.integers(400, size=5)], rng, 7)
    ]


def test_a_verdict_is_the_one_that_follows_from_the_fact(items):
    verdicts = Counter()
    for briefing, item in items:
        if item.form == "open":
            assert ", so " not in item.answer
            continue
        asked, value = Conclusion(item.question), dict(briefing.facts)[item.kind]
        assert asked.possible
        assert asked.follows([value]) == (item.key[0] if item.form == "choice" else item.key,)
        verdicts[item.key] += 1
    assert set(verdicts) == {"yes", "no", "A)", "B)", "C)", "D)"}
    assert 0.5 < verdicts["yes"] / verdicts["no"] < 1.5


def test_every_way_of_asking_comes_up(items):
    asked = {item.question for _, item in items}
    for phrasings in (dialogue.DESCRIBE, dialogue.OUTSIDE, dialogue.UNTOLD, sum(dialogue.COURTESY.values(), ())):
        assert asked & set(phrasings)
    kinds = Counter(item.kind for _, item in items)
    assert set(qa.ASKED) | {"where", "sure", "else", "why", "outside", "combined"} <= set(kinds)
    assert kinds["combined"] > len(items) / 6


def test_several_questions_get_their_answers_in_order(rng):
    for _ in range(200):
        item = dialogue.joined(EGYPT, rng)
        known = [(kind, qa.part(kind, EGYPT)) for kind in qa.ASKED]
        said = sorted((item.answer.find(part), kind) for kind, part in known if part in item.answer)
        places = [
            min(at for phrase in (*qa.ASKED[kind], *dialogue.MORE[kind])
                if (at := item.question.lower().find(phrase.rstrip("?.").lower())) >= 0)
            for _, kind in said
        ]  # fmt: skip
        assert len(said) >= 2
        assert places == sorted(places), item


def test_a_part_that_is_not_known_is_named(rng):
    little = Briefing(facts=(("country", "Egypt"),), sure="unsure", radius_km=(1.0, 2.0))
    said = {sentence for _ in range(100) for sentence in dialogue.listed(little, rng).answer.split(". ")}
    assert any(sentence.startswith("I do not know the climate") for sentence in said)
    assert any(sentence.startswith("The country is Egypt") for sentence in said)
    assert not any(sentence.startswith("I do not know that") for sentence in said)


def test_one_of_two_is_answered_with_the_fact(rng):
    right = 0
    for _ in range(300):
        item = dialogue.either("country", EGYPT, ["Peru", "Chad", "Peru"], rng)
        assert item.answer == "The country is Egypt."
        right += "Egypt" in item.question
        assert len({"Peru", "Chad", "Egypt"} & set(item.question.strip("?").replace(",", "").split())) == 2
    assert 180 < right < 270


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_claims_are_judged_by_the_fact(kind, rng):
    for _ in range(60):
        item = dialogue.claimed(kind, EGYPT, OTHERS[kind], rng)
        value = dict(EGYPT.facts)[kind]
        named = any(name in item.question for name in [value, *value.split(", ")])
        assert item.key == ("yes" if named else "no"), item  # Arabic is in both lists of languages


def test_a_picture_is_described_by_what_it_gives_away(rng):
    assert dialogue.described(EGYPT, rng).answer == (
        "This may be in Janub Sina', Egypt, near El-Tor 24 km away. Half of my belief lies within 190 km. "
        "The climate is hot desert. It is coastal."
    )
    assert dialogue.described(Briefing(), rng).answer == qa.where(Briefing())


def test_what_nobody_was_told_is_not_known(rng):
    said = {dialogue.unknown(EGYPT, rng).answer for _ in range(50)}
    assert said == {qa.CANNOT, "I do not know that."}
    nowhere = {dialogue.unknown(Briefing(sure=CANNOT_TELL), rng).answer for _ in range(50)}
    assert nowhere == {qa.CANNOT, "I cannot tell, because I do not know where this is."}


def test_what_may_not_be_told_is_not_told(items):
    """A limit of disclosure leaves a briefing without facts, but not without an idea where it is."""
    held = [(b, i) for b, i in items if not b.facts and b.sure != CANNOT_TELL]
    assert len(held) > 100
    for _, item in held:
        if item.kind in qa.ASKED:
            assert item.answer == "I may not say that."
        if item.kind == "where":
            assert item.answer == "I may not say where this is."
        assert "cannot tell, because" not in item.answer


def test_the_same_numbers_ask_the_same(items):
    a, b = (dialogue.conversation(EGYPT, [EGYPT], np.random.default_rng(5), 40) for _ in range(2))
    assert a == b
    assert a != dialogue.conversation(EGYPT, [EGYPT], np.random.default_rng(6), 40)


@pytest.mark.parametrize(
    ("briefing", "answer"),
    [
        (EGYPT, "I do not know that."),
        (Briefing(), "I cannot tell, because I do not know where this is."),
        (Briefing(sure="unsure"), "I may not say that."),
    ],
)
def test_what_is_not_told_is_neither_judged_nor_chosen(briefing, answer, rng):
    others = [Briefing(facts=(("currency", money),)) for money in ("Euro (EUR)", "Sol (PEN)", "Yen (JPY)")]
    asked = [dialogue.unsupported("currency", briefing, others, rng) for _ in range(60)]
    assert {(item.answer, item.form) for item in asked} == {(answer, "open")}
    assert sum("A) " in item.question for item in asked) > 5
    assert sum(" or " in item.question for item in asked) > 5
    assert sum(item.question.startswith(("Is the currency", "Do they pay", "Can I pay")) for item in asked) > 5


def test_who_knows_nothing_is_asked_to_judge_too(items):
    asked = [item.question for briefing, item in items if not briefing.facts]
    assert sum("A) " in question for question in asked) > len(asked) / 50
    assert sum(question.lower().startswith(("is ", "are ", "do ", "does ")) for question in asked) > len(asked) / 25
