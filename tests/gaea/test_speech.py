"""A reply repeats what it was told whole, or says something else."""

import re

import pytest

from gaea import prompts
from gaea.briefing import Briefing
from gaea.speech import VERDICTS, Speech, Unrepeated, Words, told

BRIEFING = Briefing(
    facts=(("near", "Quţūr 10 km"), ("region", "Al Gharbiyah"), ("country", "Egypt"), ("neighbours", "Libya, Sudan")),
    sure="unsure",
    radius_km=(550.0, 920.0),
    alternatives=(("Saudi Arabia", 0.03),),
)
MESSAGES = prompts.talk(BRIEFING, [("Where?", "In Egypt, 7 km.")], "Which country?")
END = 0


def alone(tokens):
    """Words of one token each."""
    return Words(inside=tuple((token,) for token in tokens))


def tokenize(text):
    """One token a character: the hardest case, for every value can be left in the middle of a word."""
    return [ord(c) for c in text]


@pytest.fixture
def speech():
    return Speech.about(MESSAGES, alone(tokenize(" theisnarywmbhlfo.,")), tokenize, END)


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
    assert told(MESSAGES, apart=False) == [value for value in told(MESSAGES) if value not in ("10 km", "3 %")]


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
        "Egypt 10 km",
        "Saudi Arabia 3 %",
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


def words(value):
    """One token a word, with the space before it: as a tokenizer that knows " so"."""
    return [hash(word) % 10**9 for word in re.findall(r" ?[^ ,.)]+|[,.)]", value)]


def concluding(question, reply):
    """The verdicts that may follow a reply to a question about Egypt."""
    messages = prompts.talk(BRIEFING, [("Where?", "In Egypt.")], question)
    speech = Speech.about(messages, alone(words("The country neighbours is are, so no).")), words, END)
    return [word for word in VERDICTS if speech.verdicts[word][0] in speech.allowed(words(reply))]


@pytest.mark.parametrize(
    ("question", "reply", "verdicts"),
    [
        ("Is the country Peru?", "The country is Egypt, so", ["no"]),
        ("Is the country Egypt?", "The country is Egypt, so", ["yes"]),
        ("Which country? A) Peru B) Egypt C) Chad", "The country is Egypt, so", ["B"]),
        ("Which country?\nA. Peru\nB. Chad\nC. Egypt", "The country is Egypt, so", ["C"]),
        ("Which country? A) Peru B) Chad", "The country is Egypt, so", ["A", "B"]),  # neither follows
        ("Are its neighbours Libya, Chad?", "The neighbours are Libya, Sudan, so", ["no"]),
        ("Are its neighbours Libya, Sudan?", "The neighbours are Libya, Sudan, so", ["yes"]),
        ("Are its neighbours Libya, Sudan, Chad?", "The neighbours are Libya, Sudan, so", ["no"]),
        ("Are these Chad, Egypt?", "The country is Egypt, so", ["no"]),
        ("Is this EGYPT?", "The country is Egypt, so", ["yes"]),
        ("Is it the Arab Republic of Egypt?", "The country is Egypt, so", ["yes"]),
        ("Is it Chad?", "The country is Egypt, so", ["no"]),
        ("This is Egypt, right?", "The country is Egypt, so", ["yes"]),
        ("this is Egypt, isn't it", "The country is Egypt, so", ["yes"]),
        ("So it is Chad, or not?", "The country is Egypt, so", ["no"]),
        ("Is Sudan a neighbour?", "The neighbours are Libya, Sudan, so", ["yes"]),
        ("Is the country Peru?", "The country is so", ["yes", "no"]),  # nothing was named
    ],
)
def test_a_conclusion_agrees_with_the_fact_that_was_named(question, reply, verdicts):
    assert concluding(question, reply) == verdicts


@pytest.mark.parametrize(
    ("question", "possible"),
    [
        ("Is it Egypt?", True),
        ("True or false: this is Egypt", True),
        ("This is Egypt, right?", True),
        ("I think this is Egypt.", True),
        ("Which country? A) Peru B) Egypt C) Chad", True),
        ("Which country is this?", False),
        ("hello! which country is this", False),
        ("Please: and in which country are we?", False),
        ("And what do people speak?", False),
        ("On which side do they drive?", False),
        ("Name the neighbouring countries.", False),
        ("Whatever you say, is it Egypt?", True),
    ],
)
def test_nothing_is_concluded_of_a_question_for_a_fact(question, possible):
    """A small model says "so no" behind a list of languages where the grammar lets it."""
    speech = Speech.about(prompts.talk(BRIEFING, (), question), alone(words("The country is, so no.")), words, END)
    (so,) = words(" so")
    assert speech.conclusion.possible is possible
    assert (so in speech.allowed(words("The country is Egypt,"))) is possible


def test_a_conclusion_rests_on_the_last_question_alone():
    speech = Speech.about(prompts.talk(BRIEFING, [("Is it Chad?", "No.")], "Is it Egypt?"), Words(), words, END)
    assert speech.conclusion.question == "Is it Egypt?"


def test_a_tokenizer_that_breaks_the_word_leaves_conclusions_free(speech):
    assert speech.verdicts == {}


def test_words_are_not_made_up_of_pieces_of_others(speech):
    """Of "w", "elcome", "Ask" a model makes "Aw", and calls a town so."""
    told_words = Words(opening=((5, 6), (7,)), inside=((20, 21), (22,), (20, 23, 24)))
    speech = Speech.about(MESSAGES, told_words, lambda text: [1000 + ord(c) for c in text], END)

    def may(*said):
        return {token for token in speech.allowed(said) if token < 1000}

    assert may() == {END, 5, 7, 20, 22}
    assert may(5) == {6}
    assert may(5, 6) == may(7) == may(22) == {END, 20, 22}
    assert may(22, 20) == {21, 23}
    assert may(22, 20, 23) == {24}
    assert may(22, 20, 23, 24) == {END, 20, 22}
    assert may(22, 5) == {END}, "what opens a reply does not go on with it"


def test_a_value_is_named_once_in_a_sentence_or_as_often_as_it_was_told(speech):
    assert says(speech, "this is Egypt. this is Egypt.")
    assert not says(speech, "this is Egypt, Egypt")
    assert says(speech, "this is Egypt, Libya, Sudan.")
    city = Briefing(facts=(("region", "Luxembourg"), ("country", "Luxembourg")))
    twice = Speech.about(prompts.talk(city, (), "Where?"), alone(tokenize(" thisn,.")), tokenize, END)
    assert says(twice, "this is in Luxembourg, Luxembourg.")
    assert not says(twice, "this is in Luxembourg, Luxembourg, Luxembourg")


def test_a_stop_that_grew_together_with_a_value_ends_the_sentence_too():
    def joined(value):
        return [ord("\u2025") if c == "!" else ord(c) for c in value.replace(").", "!")]

    briefing = Briefing(facts=(("country", "Chad"), ("currency", "Franc (XAF)")))
    speech = Speech.about(prompts.talk(briefing, (), "Where?"), alone(joined(" is.")), joined, END)
    said = joined("is Chad is Franc (XAF). is")
    assert ord("C") in speech.allowed([*said, ord(" ")])
    assert ord("C") not in speech.allowed([*joined("is Chad is"), ord(" ")])


def test_a_verdict_of_several_tokens_is_finished():
    def halves(text):
        return [hash(part) % 10**9 for word in re.findall(r" ?[^ ,.)]+|[,.)]", text)
                for part in ([" y", "es"] if word == " yes" else [word])]  # fmt: skip

    speech = Speech.about(
        prompts.talk(BRIEFING, (), "Is it Egypt?"), alone(halves("The country is, so no.")), halves, END
    )
    said = halves("The country is Egypt, so yes")
    assert speech.allowed(said[:-2]) == [said[-2]]
    assert speech.allowed(said[:-1]) == [said[-1]]
    assert END in speech.allowed(said)
    assert said[-2] not in speech.allowed(said[:-3]), "and is not said without the word that leads to it"


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        ("It is dry. It is dry. It is warm.", "It is dry. It is warm."),
        ("It is dry. It is dry.", "It is dry."),
        ("It is dry. The sea is near. It is dry. The sea is far.", "It is dry. The sea is near. The sea is far."),
        ("It is dry. It is", "It is dry. It is"),
        ("This is in St. Ives. It is 5.5 km to St. Ives.", "This is in St. Ives. It is 5.5 km to St. Ives."),
        ("I see no other. It is dry.", "I see no other. It is dry."),
        ("", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_no_sentence_is_said_twice(said, passed, size):
    pieces = []
    once = Unrepeated(pieces.append)
    for start in range(0, len(said), size):
        once(said[start : start + size])
    once.end()
    assert "".join(pieces) == passed


def test_what_is_new_is_passed_on_at_once():
    pieces = []
    once = Unrepeated(pieces.append)
    for word in ("It", " is", " dry", ".", " The", " sea", " It", " is", " wet"):
        once(word)
    assert [p for p in pieces if p] == ["It", " is", " dry", ".", " The sea", " It", " is", " wet"]


def test_words_of_speech_are_read_from_json():
    assert Words.read({"opening": [[1, 2]], "inside": [[3]]}) == Words(((1, 2),), ((3,),))
    for wrong in ([1, 2], {"opening": []}, {"opening": [], "inside": [3]}, None):
        with pytest.raises((ValueError, TypeError)):
            Words.read(wrong)


def test_a_mark_that_grows_together_with_a_value_may_follow_it():
    def joined(value):
        return [ord("\u2025") if c == "!" else ord(c) for c in value.replace("),", "!")]

    briefing = Briefing(facts=(("currency", "Franc (CHF)"),))
    speech = Speech.about(prompts.talk(briefing, (), "Which money?"), alone(joined("is o")), joined, END)
    assert says(speech, "Franc (CHF)")
    assert joined("),")[0] in speech.allowed(joined("is Franc (CHF"))
    assert ord("o") in speech.allowed(joined("is Franc (CHF),"))
