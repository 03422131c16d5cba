"""Text in pieces: all of it, in order, whole characters, and no thread left behind."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.answer import Answer
from gaea.reply import Reply
from gaea.streaming import Growing, in_thread


def test_pieces_come_in_order_and_empty_ones_do_not():
    def make(listener):
        for piece in ("a", "", "b", "c"):
            listener.put(piece)

    assert list(in_thread(make)) == ["a", "b", "c"]


def test_what_the_maker_raises_is_raised_where_it_is_read():
    def make(listener):
        listener.put("a")
        raise ValueError("broken")

    said = in_thread(make)
    assert next(said) == "a"
    with pytest.raises(ValueError, match="broken"):
        next(said)


def test_who_leaves_is_noticed_even_by_a_maker_that_waits():
    ended, woken = threading.Event(), threading.Event()

    def make(listener):
        listener.put("a")
        listener.wake_by(woken.set)
        woken.wait(60)
        listener.wake_by(None)
        assert listener.enough()
        ended.set()

    said = in_thread(make)
    next(said)
    said.close()
    assert ended.wait(60)


def test_a_maker_that_begins_to_wait_too_late_is_woken_at_once():
    left, woken = threading.Event(), threading.Event()

    def make(listener):
        listener.put("a")
        left.wait(60)
        listener.wake_by(woken.set)

    said = in_thread(make)
    next(said)
    said.close()
    left.set()
    assert woken.wait(60)


def test_stopping_ends_a_silent_reply():
    release = threading.Event()

    def make(listener):
        listener.put("a")
        release.wait(60)

    heard = []
    heard.extend(in_thread(make, lambda: bool(heard)))
    release.set()
    assert heard == ["a"]


@given(st.text(), st.booleans())
def test_a_growing_text_adds_up_however_it_is_cut(text, by_words):
    data, growing, pieces = text.encode(), Growing(by_words), []
    pieces += [growing.grown(data[:end].decode(errors="replace")) for end in range(1, len(data) + 1)]
    pieces.append(growing.grown(text, done=True))
    assert "".join(pieces) == text.strip()


def test_half_a_character_is_kept_back():
    growing, data = Growing(), "né 東".encode()
    said = [growing.grown(data[:end].decode(errors="replace")) for end in range(1, len(data) + 1)]
    assert said == ["n", "", "é", "", "", "", " 東"]


def reply(pieces, finished):
    def finish(text):
        finished.append(text)
        return Answer(question="?", text=text)

    return Reply(Answer(question="?", text=""), iter(pieces), finish)


def test_a_reply_is_an_answer_when_it_was_read():
    finished = []
    one = reply(["In ", "France. "], finished)
    assert one.preview.text == ""
    assert list(one) == ["In ", "France. "]
    assert one.answer.text == "In France."
    assert list(one) == []
    assert reply(["x"], finished).answer.text == "x"
    assert finished == ["In France.", "x"]


def test_a_reply_that_is_left_is_an_answer_so_far():
    finished = []
    with reply(["In ", "France. "], finished) as one:
        for _ in one:
            break
    assert one.answer.text == "In"
    assert one.text == "In "
    assert finished == ["In"]


def test_a_reply_that_fails_is_no_answer():
    def broken():
        yield "In "
        raise ValueError("gone")

    finished = []
    one = Reply(Answer(question="?", text=""), broken(), finished.append)
    with pytest.raises(ValueError, match="gone"):
        list(one)
    with pytest.raises(ValueError, match="gone"):
        _ = one.answer
    assert finished == []
