"""A reply repeats what it was told whole, or says something else."""

import pytest

from gaea import prompts
from gaea.briefing import Briefing
from gaea.speech import Speech, told

BRIEFING = Briefing(
    facts=(("near", "Quţūr 10 km"), ("region", "Al Gharbiyah"), ("country", "Egypt"), ("neighbours", "Libya, Sudan")),
    sure="unsure",
    radius_km=(550.0, 920.0),
    alternatives=(("Saudi Arabia", 0.03),),
)
MESSAGES = prompts.talk(BRIEFING, [("Where?", "In Egypt, 7 km.")], "Which country?")
END = 0


def tokenize(text):
    """One token a character: the hardest case, for every value can be left in the middle of a word."""
    return [ord(c) for c in text]


@pytest.fixture
def speech():
    return Speech.about(MESSAGES, tokenize(" theisnarywmbhlfo.,"), tokenize, END)


def says(speech, text):
    """Whether every character of a reply was allowed, and the reply may end."""
    said = tokenize(text)
    return all(token in speech.allowed(said[:i]) for i, token in enumerate(said)) and END in speech.allowed(said)


def test_what_was_told_is_every_value_and_every_measure():
    assert told(MESSAGES) == [
        "Quţūr 10 km",
        "10 km",
        "Al Gharbiyah",
        "Egypt",
        "Libya, Sudan",
        "unsure",
        "50 % within 550 km, 90 % within 920 km",
        "50 %",
        "550 km",
        "90 %",
        "920 km",
        "Saudi Arabia (3 %)",
        "3 %",
    ]


def test_a_value_is_repeated_whole(speech):
    assert says(speech, "this is Al Gharbiyah, Egypt, near Quţūr 10 km.")
    assert says(speech, "Egypt.")
    assert says(speech, "half is in 550 km.")


@pytest.mark.parametrize(
    "wrong",
    [
        "this is Al Gharb",
        "this is Al Egypt",
        "it is Egy, Egypt",
        "near Quţūr 550 km",
        "in 551 km",
        "in 55",
        "Chad",
        "7 km",
    ],
)
def test_nothing_else_is_said(speech, wrong):
    assert not says(speech, wrong)


def test_a_shared_beginning_leaves_every_value_open():
    speech = Speech(frozenset({1}), ((5, 6, 7), (5, 6, 8), (5,)), (), END)
    assert speech.allowed([1]) == [END, 1, 5]
    assert speech.allowed([1, 5]) == [END, 1, 5, 6]
    assert speech.allowed([1, 5, 6]) == [7, 8]
    assert speech.allowed([1, 5, 6, 7]) == [END, 1, 5]


def test_the_start_of_a_reply_needs_no_space():
    speech = Speech(frozenset(), ((32, 9),), ((9,),), END)
    assert speech.allowed([]) == [END, 9, 32]
    assert speech.allowed([9]) == [END, 32]


def test_what_cannot_be_gone_on_with_ends():
    assert Speech(frozenset({1}), ((5, 6),), (), END).allowed([5, 9]) == [END]
