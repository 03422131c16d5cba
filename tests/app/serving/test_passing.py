"""The bare engine behind the same door: what it is sent, what comes back, and which pictures it gets to see."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from gaea.app.serving.access import Keys
from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.limits import Limits
from gaea.app.serving.passing import passed
from gaea.app.serving.pictures import REMEMBERED, Pictures
from gaea.app.serving.problems import told
from gaea.app.serving.schema import ChatRequest
from gaea.app.serving.service import ServiceConfig
from gaea.assistant import Assistant
from gaea.errors import PhotoError
from gaea.photo import check_picture, read_picture
from gaea.source import read_source

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
        leave(running, bare(plain(), stream=stream), engine)


def leave(running: Running, asked: dict[str, Any], engine: Loopback) -> None:
    """Ask, leave as soon as the engine has been asked, and see that it is hung up on and nothing is left behind."""
    body = json.dumps(asked).encode()
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

    async def whole() -> None:
        looked = await pictures.checked(urls, holder)
        if looked.rest is not None:
            await looked.rest()

    before = pictures.opened
    asyncio.run(whole())
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
        pictures._remember(str(number).encode())
    assert len(pictures._known) == REMEMBERED


def test_a_large_picture_is_hashed_beside_the_loop_and_found_again() -> None:
    url = data_url(Image.effect_noise((1200, 1200), 90))
    assert len(url) > 2**20
    pictures = Pictures(Limits(), Fetcher([], 9))
    assert [check(pictures, url), check(pictures, url), check(pictures, url, holder="b")] == [1, 0, 1]
    with pytest.raises(PhotoError):
        check(pictures, url[:-400])


# ---- small JPEGs, opened while the engine works


def jpeg(size: tuple[int, int] = (64, 48), **options: Any) -> str:
    return data_url(Image.new("RGB", size, (120, 100, 80)), "JPEG", **options)


def changed(url: str, change: Callable[[bytes], bytes]) -> str:
    kind, _, body = url.partition(",")
    return f"{kind}," + base64.b64encode(change(base64.b64decode(body))).decode()


def sized(width: int, height: int) -> Callable[[bytes], bytes]:
    """The same file, which says that it is of another size."""

    def lie(data: bytes) -> bytes:
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]

    return lie


def bad_table(data: bytes) -> bytes:
    """The same file with a table that promises more codes than there can be."""
    at = data.index(b"\xff\xc4") + 5
    return data[:at] + 16 * b"\xff" + data[at + 16 :]


NOISE = data_url(Image.effect_noise((200, 200), 90).convert("RGB"), "JPEG")
SENT_ON = "words of the engine"
BROKEN = {
    "its end is missing": NOISE[:-40],
    "half of it is missing": NOISE[: len(NOISE) // 8 * 4],
    "a table is none": changed(NOISE, bad_table),
    "its end is no base64": NOISE[:-8] + "@@@@====",
}


def refused(url: str, limits: Limits | None = None) -> dict[str, Any]:
    """The error that a picture is answered with when it is opened before anything else is done."""
    with pytest.raises(PhotoError) as error:
        read_picture(
            read_source(url, (limits or Limits()).photo)[0], limits=(limits or Limits()).photo, name="image_url"
        )
    return told(error.value).body()


def opened_once(true: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pictures be opened only when something has come to be."""

    def waiting(data: bytes, **more: Any) -> None:
        until(true)
        check_picture(data, **more)

    monkeypatch.setattr("gaea.app.serving.pictures.check_picture", waiting)


@pytest.mark.parametrize("stream", [False, True])
def test_a_small_jpeg_is_passed_on_once_while_it_is_opened(
    stream: bool, engine: Loopback, speaking: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_once(lambda: engine.bodies, monkeypatch)
    with through(engine, speaking) as running:
        for url in (jpeg(), NOISE, jpeg(), jpeg(progressive=True, exif=Image.Exif().tobytes())):
            reply = say(running, bare(url, stream=stream))
            assert reply.status_code == 200
            assert SAID[:7] in reply.text
            assert engine.bodies.pop()["messages"] == bare(url)["messages"]
            assert not engine.bodies
        assert running.service.pictures.opened == 3, "it is remembered like any other"
        until(lambda: running.service.admission.inside == 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_one_that_is_broken_after_its_header_is_refused_as_ever(
    status: int, stream: bool, engine: Loopback, speaking: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, before = jpeg(), 0
    engine.say, engine.refusal = lambda body: SENT_ON, SENT_ON
    opened_once(lambda: engine.replied > before, monkeypatch)  # all is there that might be told
    with through(engine, speaking) as running:
        assert SENT_ON[:7] in say(running, bare(good, stream=stream)).text
        engine.status = status
        for name, url in BROKEN.items():
            beside = bare(url, stream=stream)  # one that was opened
            beside["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": good}})
            for body in (bare(url, stream=stream), beside):
                before = engine.replied
                reply = say(running, body)
                assert (reply.status_code, reply.json()) == (400, refused(url)), name
                assert reply.headers["content-type"] == "application/json"
        assert running.service.pictures.opened == 1
        until(lambda: running.service.admission.inside == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_hung_up_on_when_one_turns_out_broken(
    stream: bool, engine: Loopback, speaking: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.hold = threading.Event()
    opened_once(lambda: engine.bodies, monkeypatch)
    url = BROKEN["its end is missing"]
    with through(engine, speaking) as running:
        reply = say(running, bare(url, stream=stream))
        assert (reply.status_code, reply.json()) == (400, refused(url))
        assert engine.gone.wait(60)
        assert engine.replied == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_while_one_is_opened_hangs_up_on_the_engine(
    stream: bool, engine: Loopback, speaking: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.hold = threading.Event()
    opened_once(engine.gone.is_set, monkeypatch)
    with through(engine, speaking) as running:
        leave(running, bare(jpeg(), stream=stream), engine)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "lie",
    [
        sized(65_000, 65_000),
        sized(7_000, 48),  # a strip
        sized(0, 48),
        sized(2_000, 1_000),  # two million pixels, more than this server takes
        lambda data: data.replace(
            b"\xff\xda", sized(65_000, 65_000)(data[data.index(b"\xff\xc0") :])[:19] + b"\xff\xda"
        ),
    ],
    ids=["bomb", "strip", "empty", "beyond the limit", "two headers"],
)
def test_what_its_header_forbids_never_reaches_the_engine(
    lie: Callable[[bytes], bytes], stream: bool, engine: Loopback, speaking: Assistant
) -> None:
    limits = Limits(pixels=1_000_000)
    url = changed(jpeg(), lie)
    with through(engine, speaking, limits=limits) as running:
        body = bare(jpeg(), stream=stream)
        body["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": url}})
        for each in (bare(url, stream=stream), body):
            reply = say(running, each)
            assert (reply.status_code, reply.json()) == (400, refused(url, limits))
    assert not engine.bodies


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # it is one piece in any case
@pytest.mark.parametrize(
    "url",
    [
        plain(),
        jpeg((2200, 2000)),
        jpeg(comment=bytes(60_000)),
        jpeg().replace("/9j/", "%2F9j/"),
        data_url(Image.effect_noise((1200, 1200), 90).convert("RGB"), "JPEG", quality=98),
    ],
    ids=["no jpeg", "many pixels", "a long header", "another spelling", "a long one"],
)
def test_all_others_are_opened_first(
    url: str, engine: Loopback, speaking: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    monkeypatch.setattr("gaea.app.serving.pictures.check_picture", lambda data, **_: heard.append(len(engine.bodies)))
    with through(engine, speaking) as running:
        looked = asyncio.run(running.service.pictures.checked([url, jpeg()], "somebody"))
        assert looked.rest is None
        assert say(running, bare(url)).status_code == 200
    assert heard == [0, 0, 0]
    assert len(engine.bodies) == 1
