"""Open conversations: looked at once, bounded, and nobody's but their own."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from PIL import Image

from gaea.app.serving.limits import Limits
from gaea.app.serving.openchats import OpenChats, Which
from gaea.assistant import Assistant
from gaea.errors import PhotoError
from gaea.photo import Photo

MINE = Which("key1", "gaea-nano", "00", "None", "None")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def photo(side: int = 10) -> Photo:
    return Photo.open(Image.new("RGB", (side, side)))


def ask(chats: OpenChats, which: Which, assistant: Assistant, side: int = 10) -> None:
    with chats.chat(which, [], lambda: assistant.open(photo(side))) as chat:
        assert chat.stream("Where?").preview is not None


def test_a_photo_is_looked_at_once_and_turns_do_not_mix(speaking, speaker) -> None:
    chats = OpenChats(Limits())
    opened = []

    def open_():
        opened.append(1)
        return speaking.open(photo())

    for turns in ([], [("Where?", "Chad.")], []):
        with chats.chat(MINE, turns, open_) as chat:
            assert chat.turns == turns
            reply = chat.stream("Sure?")
        assert reply.answer.text
    assert (len(opened), speaker.seen, chats.opened, chats.found) == (1, 1, 1, 2)


@pytest.mark.parametrize("field", ["holder", "model", "sha256", "narrow", "disclosure"])
def test_nobody_meets_anothers(field: str, speaking, speaker) -> None:
    chats = OpenChats(Limits())
    ask(chats, MINE, speaking)
    ask(chats, replace(MINE, **{field: "other"}), speaking)
    assert (speaker.seen, chats.opened, len(chats)) == (2, 2, 2)


def test_bounds_of_number_memory_and_time(speaking) -> None:
    clock = Clock()
    chats = OpenChats(Limits(chats=3, chat_bytes=3 * 3 * 100 * 100 * 3, chat_s=60), clock)
    for k in range(5):
        ask(chats, replace(MINE, sha256=str(k)), speaking)
    assert len(chats) == 3
    for k in range(5):
        ask(chats, replace(MINE, sha256=str(k)), speaking, side=100)
    assert chats.size <= 3 * 3 * 100 * 100 * 3
    ask(chats, replace(MINE, sha256="large"), speaking, side=200)
    assert chats.size == 0  # one that is larger than all bounds is not kept either
    ask(chats, MINE, speaking)
    clock.now = 61
    chats.tidy()
    assert len(chats) == 0


def test_an_idle_one_is_opened_anew_even_before_it_is_tidied_away(speaking) -> None:
    clock = Clock()
    chats = OpenChats(Limits(chat_s=60), clock)
    ask(chats, MINE, speaking)
    clock.now = 61
    ask(chats, MINE, speaking)
    assert chats.opened == 2


def test_what_cannot_be_opened_leaves_nothing(speaking) -> None:
    chats = OpenChats(Limits())

    def fail():
        raise PhotoError("no photo")

    with pytest.raises(PhotoError), chats.chat(MINE, [], fail):
        pass
    assert len(chats) == 0
    ask(chats, MINE, speaking)


def test_many_at_once_look_once(speaking, speaker) -> None:
    chats = OpenChats(Limits())
    threads = [threading.Thread(target=ask, args=(chats, MINE, speaking)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (speaker.seen, chats.opened, chats.found) == (1, 1, 7)
