"""The bare engine behind the same door: what it is sent, what comes back, and which pictures it gets to see."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from gaea.app.serving.access import Keys
from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.limits import Limits
from gaea.app.serving.passing import passed
from gaea.app.serving.pictures import REMEMBERED, Pictures
from gaea.app.serving.schema import ChatRequest
from gaea.app.serving.service import ServiceConfig
from gaea.assistant import Assistant
from gaea.errors import PhotoError

from .conftest import Running, asked, data_url, plain, serving, until
from .loopback import MODEL, Loopback, loopback

CHAT = "/v1/chat/completions"
KEY, OTHER = "k" * 24, "o" * 24
SAID = "A desert, perhaps in Chad."


@pytest.fixture
def engine() -> Iterator[Loopback]:
    with loopback(lambda body: SAID) as made:
        yield made


def through(engine: Loopback, speaking: Assistant, **config: Any) -> Any:
    made = ServiceConfig(pass_through=True, **config)
    return serving({MODEL: speaking}, made, engine=(engine.url, "secret-of-the-engine"))


def bare(url: str, **more: Any) -> dict[str, Any]:
    return {**asked(url), "model": f"engine/{MODEL}", **more}


def say(running: Running, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    with running.client(key) as client:
        return client.post(CHAT, json=body)


def test_the_engine_is_sent_what_was_asked_and_nothing_of_ours(engine: Loopback, speaking: Assistant) -> None:
    picture = plain()
    body = bare(picture, max_tokens=9, temperature=0.5, stop=["x"], user="somebody", store=True, gaea={"guess": True})
    body["messages"][0]["name"] = "an extra field"
    with through(engine, speaking) as running:
        reply = say(running, body)
    assert reply.status_code == 200
    assert reply.json()["model"] == f"engine/{MODEL}"
    assert reply.json()["choices"][0]["message"]["content"] == SAID
    (sent,) = engine.bodies
    assert sent == {**asked(picture), "model": MODEL, "max_tokens": 9, "temperature": 0.5, "stop": ["x"]}
    assert engine.authorizations == ["Bearer secret-of-the-engine"]


def test_a_stream_comes_as_the_engine_sends_it(engine: Loopback, speaking: Assistant) -> None:
    with through(engine, speaking) as running:
        usage = {"include_usage": True, "include_obfuscation": True}
        reply = say(running, bare(plain(), stream=True, stream_options=usage))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in reply.text.split("\n\n") if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == SAID
    assert engine.bodies[0]["stream_options"] == {"include_usage": True}


def test_its_connections_are_used_again(engine: Loopback, speaking: Assistant) -> None:
    with through(engine, speaking) as running, running.client() as client:
        for stream in (False, True, False, True):
            assert client.post(CHAT, json=bare(plain(), stream=stream)).status_code == 200
    assert engine.connections == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "refusal", "told", "code"),
    [
        (400, '{"error": {"message": "This model\'s maximum context length is 9"}}', 400, "context_length_exceeded"),
        (400, '{"error": {"message": "no such thing at http://10.0.0.1/"}}', 502, "engine_refused"),
        (429, "", 503, "engine_unavailable"),
        (503, "", 503, "engine_unavailable"),
        (500, "Traceback in http://10.0.0.1/", 502, "engine_failed"),
        (302, "", 502, "engine_refused"),
        (307, "", 502, "engine_refused"),
    ],
)
def test_what_the_engine_refuses_is_told_in_openais_form(
    status: int, refusal: str, told: int, code: str, stream: bool, engine: Loopback, speaking: Assistant
) -> None:
    engine.status, engine.refusal = status, refusal
    with through(engine, speaking) as running:
        reply = say(running, bare(plain(), stream=stream))
    assert (reply.status_code, reply.json()["error"]["code"]) == (told, code)
    assert "10.0.0.1" not in reply.text
    assert len(engine.bodies) == 1, "no redirect is followed, and nothing is asked twice"


def test_words_that_are_no_json_are_a_failure_of_the_engine(engine: Loopback, speaking: Assistant) -> None:
    engine.status, engine.refusal = 201, "<html>"
    with through(engine, speaking) as running:
        reply = say(running, bare(plain()))
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "engine_failed")


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_is_not_there_is_503(stream: bool, engine: Loopback, speaking: Assistant) -> None:
    with serving({MODEL: speaking}, ServiceConfig(pass_through=True), engine=("http://127.0.0.1:9/v1", None)) as gone:
        reply = say(gone, bare(plain(), stream=stream))
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_unavailable")
        assert "retry-after" in reply.headers


def test_credentials_of_its_url_are_sent_in_place_of_the_key(engine: Loopback, speaking: Assistant) -> None:
    url = engine.url.replace("http://", "http://me:word@")
    with serving({MODEL: speaking}, ServiceConfig(pass_through=True), engine=(url, "unused")) as running:
        assert say(running, bare(plain())).status_code == 200
    assert engine.authorizations == ["Basic " + base64.b64encode(b"me:word").decode()]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_hangs_up_on_the_engine(stream: bool, engine: Loopback, speaking: Assistant) -> None:
    engine.hold = threading.Event()
    with through(engine, speaking) as running:
        body = json.dumps(bare(plain(), stream=stream)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))) as leaving:
            leaving.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: engine.bodies)
        assert engine.gone.wait(60)
        until(lambda: running.service.admission.inside == 0)


def test_half_a_character_is_the_clients_to_mend() -> None:
    request = ChatRequest.model_validate(bare(plain(), logit_bias={"a": "\ud800"}))
    with pytest.raises(Exception, match="half a character"):
        passed(request)


# ---- its pictures


def test_a_picture_is_opened_once_for_each_who_sends_it(engine: Loopback, speaking: Assistant) -> None:
    with through(engine, speaking, keys=Keys.of([KEY, OTHER])) as running:
        opened = []
        for key, url in ((KEY, plain()), (KEY, plain()), (OTHER, plain()), (OTHER, plain()), (KEY, plain(7))):
            assert say(running, bare(url), key).status_code == 200
            opened.append(running.service.pictures.opened)
    assert opened == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("before", [False, True])
def test_what_is_no_picture_never_reaches_the_engine(before: bool, engine: Loopback, speaking: Assistant) -> None:
    good, large = plain(), data_url(Image.new("1", (9000, 9000)))
    cut, page = good[:-40], "data:text/html;base64," + base64.b64encode(b"<script>alert(1)</script>").decode()
    with through(engine, speaking) as running:
        if before:  # a picture that is known lets no other one pass, alone or beside it
            assert say(running, bare(good)).status_code == 200
        for url in (large, cut, page, "data:image/png;base64,@@@@", large, cut):
            body = bare(good)
            body["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": url}})
            for each in (bare(url), body):
                reply = say(running, each)
                assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_image")
        assert say(running, bare("http://127.0.0.1/a.png")).json()["error"]["code"] == "image_url_refused"
    assert len(engine.bodies) == int(before)


def test_a_picture_from_a_listed_host_is_fetched_opened_and_sent_as_data(engine: Loopback, speaking: Assistant) -> None:
    data = base64.b64decode(plain().partition(",")[2])

    class Wire(Fetcher):
        async def fetch(self, url: str) -> bytes:
            return data if self.checked(url).path == "/a.png" else b"<html>"

    made = ServiceConfig(pass_through=True)
    wire = Wire(["pics.example"], 9999)
    with serving({MODEL: speaking}, made, fetcher=wire, engine=(engine.url, None)) as running:
        for _ in range(2):
            assert say(running, bare("https://pics.example/a.png")).status_code == 200
        assert running.service.pictures.opened == 2, "what a host gives today it may not give tomorrow"
        assert say(running, bare("https://pics.example/b.png")).json()["error"]["code"] == "invalid_image"
    for body in engine.bodies:
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        assert base64.b64decode(url.partition(",")[2]) == data


def check(pictures: Pictures, *urls: str, holder: str = "key1") -> int:
    """How many of them were opened."""
    before = pictures.opened
    asyncio.run(pictures.checked(urls, holder))
    return pictures.opened - before


def test_what_is_remembered_is_bounded_and_forgotten() -> None:
    now = [0.0]
    pictures = Pictures(Limits(chat_s=100), Fetcher([], 9), lambda: now[0])
    assert [check(pictures, plain(), plain()), check(pictures, plain())] == [1, 0]
    now[0] += 60
    assert check(pictures, plain()) == 0
    now[0] += 99
    pictures.tidy()
    assert check(pictures, plain()) == 0, "each question counts anew"
    now[0] += 101
    assert check(pictures, plain()) == 1
    now[0] += 101
    pictures.tidy()
    assert not pictures._known
    for number in range(REMEMBERED + 5):
        pictures._remember(f"data:,{number}", "key1")
    assert len(pictures._known) == REMEMBERED


def test_a_large_picture_is_hashed_beside_the_loop_and_found_again() -> None:
    url = data_url(Image.effect_noise((1200, 1200), 90))
    assert len(url) > 2**20
    pictures = Pictures(Limits(), Fetcher([], 9))
    assert [check(pictures, url), check(pictures, url), check(pictures, url, holder="b")] == [1, 0, 1]
    with pytest.raises(PhotoError):
        check(pictures, url[:-400])
