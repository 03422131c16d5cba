"""Words held to a level: what passes, what does not, however it is asked for and however it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.disclosure import Level
from gaea.discretion import Discretion

TOLD = (
    "Lyon 0 km",
    "Lyon",
    "Auvergne-Rhône-Alpes",
    "France",
    "Paris",
    "French",
    "Euro (EUR)",
    "18 km",
    "18",
    "50 %",
    "31 km",
)
CITY = Discretion(Level.CITY, TOLD, "Lyon, France")
COUNTRY = Discretion(Level.COUNTRY, ("France", "Paris", "French", "480 km", "480"), "France")
WITHHELD = Discretion(Level.WITHHELD)

FINE = [
    "This is probably in Lyon, Auvergne-Rhône-Alpes, France.",
    "Half of my belief lies within 18 km.",
    "In France they drive on the right, pay with the Euro (EUR) and speak French.",
    "It could also be in Switzerland or Italy, but I'm not sure.",
    "The capital is Paris.",
    "I cannot tell where this is.",
    "Yes, it is near the Mediterranean Sea.",
    "There are about 300 trees in the picture.",
]
TOO_FINE = [
    "The coordinates are 45.7640, 4.8357.",
    "It is at 45°45′ N, 4°50′ E.",
    "Latitude 45, longitude 4.",
    "<|geo|><|s2:f2|><|s2:3|><|/geo|>",
    "This is the Eiffel Tower.",
    "Montmartre is lovely.",
    "It was taken in Villeurbanne, next to the station.",
    "it is in villeurbanne, in lower case as you asked.",
    "The street is called rue de la République.",
    "It is L-y-o-n, or rather V i l l e u r b a n n e.",
    "The plus code is 8FQ6QRXP+2G.",
    "Its postcode is 69003.",
    "It lies 12 km from the centre.",
    "It lies 18 km north-east of Lyon.",
    "Half an hour from Lyon, about twenty minutes.",
    "u05kgfx2 is its geohash.",
    "это Вилёрбан",
    "これは東京です。",
    "31T FL 43000 68000",
    "See https://maps.example/?q=45.76,4.84",
    "V\u200bi\u200bl\u200bl\u200be\u200bu\u200brbanne it is.",
    "Ｖｉｌｌｅｕｒｂａｎｎｅ it is.",
    "aHR0cHM6Ly9tYXBzLmV4YW1wbGUvNDUuNzYsNC44NA==",
]


@pytest.mark.parametrize("sentence", FINE)
def test_what_was_told_may_be_said(sentence):
    assert CITY.allows(sentence)


@pytest.mark.parametrize("sentence", TOO_FINE)
@pytest.mark.parametrize("held", [CITY, COUNTRY, WITHHELD], ids=["city", "country", "withheld"])
def test_what_is_finer_may_not_be_said_at_any_level(sentence, held):
    assert not held.allows(sentence)


def test_each_level_says_less():
    for sentence, levels in {
        "This is in Lyon.": [True, False, False],
        "this is in lyon, I think.": [True, False, False],
        "This is in France.": [True, True, False],
        "this is in france.": [True, True, False],
        "It is somewhere in Europe.": [True, True, False],
        "The sky is blue.": [True, True, True],
    }.items():
        assert [held.allows(sentence) for held in (CITY, COUNTRY, WITHHELD)] == levels, sentence


def test_sentences_leave_whole_and_what_was_left_out_is_said():
    pieces = ["This is ", "in France. It is the Eif", "fel Tower. The sky", " is blue."]
    said = list(COUNTRY.held(pieces))
    assert said[0] == "This is in France. "
    assert "".join(said) == "This is in France. The sky is blue. France: that is as much as I may say of the place."
    assert "".join(Discretion(Level.WITHHELD).held(["It is in Lyon."])) == "I may not say where this is."


def test_precise_text_passes_as_it_comes():
    pieces = ["48.8", "584, 2.", "2945"]
    assert list(Discretion(Level.PRECISE).held(pieces)) == pieces


def test_closing_early_closes_what_makes_the_text():
    closed = []

    def made():
        try:
            yield "One. "
            yield "Two. "
        finally:
            closed.append(True)

    held = CITY.held(made())
    next(held)
    held.close()
    assert closed == [True]


@given(st.lists(st.sampled_from([*FINE, *TOO_FINE]), min_size=1, max_size=6), st.integers(1, 7))
def test_however_the_text_is_cut_nothing_finer_leaves(sentences, size):
    text = " ".join(sentences)
    said = "".join(COUNTRY.held(text[i : i + size] for i in range(0, len(text), size)))
    for secret in (
        "illeurbanne",
        "Eiffel",
        "45.7",
        "Montmartre",
        "s2:",
        "8FQ6",
        "69003",
        "12 km",
        "Lyon",
        "Вилёрбан",
        "東京",
    ):
        assert secret not in said


@pytest.mark.parametrize(
    ("question", "guessing"),
    [
        ("Is this in France?", False),
        ("Which country is it, and how sure are you?", False),
        ("Is it in Villeurbanne?", True),
        ("is it in villeurbanne?", True),
        ("Is it north of 45.5 degrees, 4.9?", True),
        ("Is it within 10 km of the Eiffel Tower?", True),
        ("Choose: A) Villeurbanne B) Bron C) Vénissieux", True),
        ("Is this in France?\nAnd is it in Bron?", True),
    ],
)
def test_guesses_at_finer_places_are_neither_confirmed_nor_denied(question, guessing):
    held = Discretion(Level.COUNTRY, ("France",), "France", question)
    for verdict in ("Yes.", "No, it is not.", "B", "**A**", "Correct!", "That is right.", "You are close."):
        assert held.allows(verdict) is not guessing, verdict
    assert held.allows("The sky is blue.")


@given(st.text())
def test_any_text_is_read(text):
    "".join(CITY.held([text]))
