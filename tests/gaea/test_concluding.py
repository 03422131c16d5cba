"""An adapter that names a fact first is held to what follows from it, and to nothing else."""

import json

import pytest

from gaea import adapters
from gaea.concluding import Concluding
from gaea.speech import Conclusion

PIECES = [
    "pharmacy",
    "bank",
    "bar",
    "north",
    "-east",
    ",",
    " so",
    ".",
    " yes",
    " no",
    *(f" {c}" for c in "ABCDEFGH"),
    "a",
]
END = len(PIECES)
EVERYTHING = list(range(END + 1))
CHOICE = "At 47.1° N, 9.5° E. What is Guflina?\nA. bank\nB. pharmacy\nC. bar"


def tokenize(text):
    """The longest piece that a text begins with, again and again."""
    found = []
    while text:
        piece = max((p for p in PIECES if text.startswith(p)), key=len, default=None)
        if piece is None:
            return [*found, END]
        found.append(PIECES.index(piece))
        text = text[len(piece) :]
    return found


def about(question):
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    return Concluding.about(messages, tokenize, lambda ids: "".join(PIECES[i] for i in ids), EVERYTHING, END)


def follows(held, reply):
    return [("".join(PIECES[i : i + 1])).strip() or "end" for i in held.allowed(tokenize(reply))]


def test_of_a_choice_an_option_is_named_and_its_letter_follows():
    held = about(CHOICE)
    assert sorted(follows(held, "")) == ["bank", "bar", "pharmacy"]
    assert follows(held, "pharmacy, so") == ["B"]
    assert follows(held, "bar, so") == ["C"]
    assert "yes" not in follows(held, "pharmacy")


@pytest.mark.parametrize(
    ("reply", "verdicts"), [("north, so", ["no"]), ("north-east, so", ["yes"]), ("bank, so", ["no"])]
)
def test_of_a_statement_the_verdict_agrees_with_the_fact(reply, verdicts):
    assert follows(about("Is this true? Guflina lies to the north-east of this place."), reply) == verdicts


@pytest.mark.parametrize("reply", ["", "north", "north,", "north so"])
def test_all_else_is_free(reply):
    held = about("Is this true? Guflina lies to the north of this place.")
    assert held.allowed(tokenize(reply)) == EVERYTHING


def test_coordinates_are_no_options():
    assert Conclusion(CHOICE).options == {"A": "bank", "B": "pharmacy", "C": "bar"}
    assert Conclusion("I am at 47.1° N, 9.5° E. Where is this?").options == {}


def test_an_adapter_says_itself_whether_it_concludes(tmp_path):
    assert not adapters.concludes(tmp_path)
    for said in (False, True):
        (tmp_path / adapters.LIKENESS_FILE).write_text(json.dumps({"likeness": {}, "concludes": said}))
        assert adapters.concludes(tmp_path) == said
