"""What was chosen, and true or false, out of every way to say it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.eval.choices import DISAGREE, EMPTY, HEDGED, NOTHING, SEVERAL, chosen, letter_of, options_in
from gaea.eval.yesno import verdict

COUNTRIES = ("Egypt", "Libya", "Sudan", "South Sudan")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("**C**", "C"),
        ("C.", "C"),
        ("Option D", "D"),
        ("B) Libya", "B"),
        ("The country is Egypt, so A).", "A"),
        ("Answer: C", "C"),
        ("The answer is D, South Sudan.", "D"),
        ("The correct option is (B).", "B"),
        ("Libya", "B"),
        ("LIBYA!", "B"),
        ("I think it is Libya.", "B"),
        ("South Sudan", "D"),
        ("It lies in South Sudan, near the Nile.", "D"),
        ("I cannot tell, but B.", "B"),
        ("It isn't Egypt; it is Libya.", "B"),
        ("Not A, but B", "B"),
        ("A is wrong, B is right", "B"),
        ("It looks like Egypt, rather than Libya", "A"),
        ("Egypt is tempting, but the final answer is B", "B"),
        ("A. Egypt", "A"),
        ("Egypt (A)", "A"),
        ("Let me think. A or B? The answer is C.", "C"),
        ("The answer is A and the capital is Cairo", "A"),
    ],
)
def test_an_answer_that_settles_on_one_option(answer, letter):
    assert chosen(answer, COUNTRIES).value == letter


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", EMPTY),
        (" \n", EMPTY),
        ("A or B", SEVERAL),
        ("either A or B", SEVERAL),
        ("The answer is either A or B", SEVERAL),
        ("Could be A, B, C or D", SEVERAL),
        ("Sudan and Libya", SEVERAL),
        ("neither A nor B", NOTHING),
        ("it is not B", NOTHING),
        ("Not Egypt", NOTHING),
        ("hello", NOTHING),
        ("A desert climate.", NOTHING),
        ("France", NOTHING),
        ("None of the above", HEDGED),
        ("I cannot tell.", HEDGED),
        ("I don’t know", HEDGED),
        ("A) Libya", DISAGREE),
    ],
)
def test_an_answer_that_settles_on_none_says_why(answer, why):
    assert (chosen(answer, COUNTRIES).value, chosen(answer, COUNTRIES).why) == (None, why)


def test_accents_hyphens_and_words_within_words():
    assert chosen("cote d'ivoire", ("Côte d’Ivoire", "Ghana")).value == "A"
    assert chosen("on the left hand side", ("left-hand", "right-hand")).value == "A"
    assert chosen("It is in Papua New Guinea", ("Guinea", "Papua New Guinea")).value == "B"
    assert chosen("Nigeria", ("Niger", "Chad")).value is None


def test_options_are_read_from_the_question():
    assert options_in("Which country? A) Egypt B) Libya C) Sudan") == ("Egypt", "Libya", "Sudan")
    assert options_in("Which?\nA. Egypt\nB. Libya") == ("Egypt", "Libya")
    assert options_in("Which? (A) Egypt (B) South Sudan") == ("Egypt", "South Sudan")
    assert options_in("Is (A) one option?") == ()
    assert options_in("Where is this?") == ()


def test_the_right_letter_may_be_told_as_letter_text_or_sentence():
    for reference in ("C", "C) Sudan", "Sudan", "The country is Sudan, so C)."):
        assert letter_of(reference, COUNTRIES) == "C"
    assert letter_of("France", COUNTRIES) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("True", "true"),
        ("false.", "false"),
        ("**Yes**", "true"),
        ("No, it is not.", "false"),
        ("Correct!", "true"),
        ("True or false: it is true", "true"),
        ("The statement is true.", "true"),
        ("The statement is not true.", "false"),
        ("That isn't correct", "false"),
        ("That isn’t correct", "false"),
        ("Not true", "false"),
        ("It is not false.", "true"),
        ("this statement is incorrect", "false"),
        ("They drive on the right, so no.", "false"),
        ("There is no coast here, so yes.", "true"),
        ("The climate is hot desert, so no.", "false"),
        ("The answer is False because there is no sea.", "false"),
        ("I believe it is false, therefore the answer is false", "false"),
        ("It is likely true", "true"),
        ("True. The capital is Cairo, so it is true.", "true"),
    ],
)
def test_true_and_false_in_other_words(answer, said):
    assert verdict(answer).value == said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", EMPTY),
        ("yes, that is false", SEVERAL),
        ("Is it? Yes and no.", SEVERAL),
        ("neither true nor false", HEDGED),
        ("partly true", HEDGED),
        ("It depends.", HEDGED),
        ("I cannot tell.", HEDGED),
        ("maybe", NOTHING),
        ("People drive on the right.", NOTHING),
        ("Egypt is in true north", NOTHING),
        ("There is no coast here", NOTHING),
    ],
)
def test_no_verdict_says_why(answer, why):
    assert (verdict(answer).value, verdict(answer).why) == (None, why)


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=12))
def test_whatever_is_said_nothing_breaks_and_nothing_else_is_chosen(answer, options):
    found = chosen(answer, options)
    assert found.value is None or found.value in "ABCDEFGH"[: len(options) or 4]
    assert bool(found.why) == (found.value is None)
    assert verdict(answer).value in (None, "true", "false")
    options_in(answer)
