"""A model behind a server, with a stand-in that answers as it is told to: what is asked, and whatever comes back."""

import contextlib
import email.utils
import json
import math
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from gaea import connection, geotokens, prompts
from gaea.briefing import Briefing
from gaea.decoding import SearchConfig, search
from gaea.endpoint import EndpointEngine, EndpointScorer
from gaea.errors import ModelError

PICTURE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
TALK = prompts.talk(Briefing(), [], "Where is this?")
LOCATE = prompts.locate()
IDS = list(range(700, 724))
ROOT = np.zeros((1, 0), np.int64)


def scores(path, ids):
    """Log-probabilities over a whole vocabulary: the same for the same path, and they need a mask to add up."""
    rng = np.random.default_rng([len(path), *path])
    return dict(zip(ids, (-3 + rng.normal(size=len(ids))).tolist(), strict=True))


class Server(ThreadingHTTPServer):
    """As vLLM, and as told: each of the ``next`` answers comes once, before what it would say by itself."""

    daemon_threads = True

    def __init__(self):
        self.models = {"data": [{"id": "big"}, {"id": "small"}, {"id": "gaea-nano"}, {"id": "mine"}]}
        self.models["data"][3]["parent"] = "gaea-nano"
        self.tokens = (200, {"tokens": IDS, "token_strs": list(geotokens.all_symbols())})
        self.reply = (200, {"choices": [{"message": {"content": " In France. "}}]})
        self.change = lambda said: said
        self.next, self.headers = [], {}
        self.delay, self.requests = 0.0, []
        self.busy, self.busiest, self.lock = 0, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def respond(self, path, body):
        if path.endswith("/tokenize"):
            return self.tokens
        if self.next:
            return self.next.pop(0)
        if "logprob_token_ids" not in body:
            return self.reply
        symbols = {symbol: i for i, symbol in enumerate(geotokens.all_symbols())}
        marks = body["messages"][-1]["content"].removeprefix("<|geo|>").replace("><", ">\n<").split()
        path = [symbols[mark] - (6 if k else 0) for k, mark in enumerate(marks)]
        sent = self.change(scores(path, body["logprob_token_ids"]))
        top = [{"token": f"token_id:{i}", "logprob": value} for i, value in sent.items()]
        return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(*(200, self.server.models) if self.path.endswith("/v1/models") else (404, {}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.busy += 1
            self.server.busiest = max(self.server.busy, self.server.busiest)
            self.server.requests.append((self.path, self.headers["Authorization"], body))
            response = self.server.respond(self.path, body)
        time.sleep(self.server.delay)
        with self.server.lock:
            self.server.busy -= 1
        self.answer(*response)

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked did not wait
            super().handle()


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def connect(server):
    opened = []

    def make(url=None, **options):
        opened.append(EndpointEngine(url or server.url(), **options))
        server.requests.clear()
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def waits(monkeypatch):
    """Sleeps are counted, not slept."""
    slept = []
    monkeypatch.setattr(connection, "time", types.SimpleNamespace(sleep=slept.append, time=time.time))
    return slept


def one_line(call):
    with pytest.raises(ModelError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- talking


def test_an_endpoint_is_asked_in_openai_form(server, connect):
    engine = connect(api_key="secret")
    assert engine.name.startswith("big at http://127.0.0.1")
    assert engine.complete(TALK, engine.see(PICTURE), max_new_tokens=7) == "In France."
    ((path, key, body),) = server.requests
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("big", 7, 0)
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    image, text = body["messages"][1]["content"]
    assert image["type"] == "image_url"
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == TALK[0]["content"][1]
    assert TALK[0]["content"][0] == {"type": "image"}  # what was given is not changed


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        ({}, ["system", "user"]),
        ({"system": False}, ["user"]),
        ({"model": "gaea-nano"}, ["user"]),
        ({"model": "mine"}, ["user"]),  # a LoRA module on nano
        ({"model": "gaea-nano", "system": True}, ["system", "user"]),
    ],
)
def test_the_system_message_goes_to_models_that_know_it(options, roles, server, connect):
    engine = connect(**options)
    engine.complete(TALK, engine.see(PICTURE))
    assert [m["role"] for m in server.requests[0][2]["messages"]] == roles


@pytest.mark.parametrize(("model", "silenced"), [("big", []), ("gaea-nano", IDS), ("mine", [])])
def test_only_nano_itself_talks_without_symbols_and_it_points_with_them(model, silenced, server, connect):
    engine = connect(model=model)
    sight = engine.see(PICTURE)
    engine.complete(TALK, sight)
    list(engine.stream(TALK, sight))
    engine.scorer(TALK, sight)(np.zeros((1, 0), int))
    spoken, streamed, pointed = (body for path, _, body in server.requests if path.endswith("completions"))
    for body in (spoken, streamed):
        assert body.get("logit_bias", {}) == {str(token): -100 for token in silenced}
    assert "logit_bias" not in pointed


def test_a_model_is_chosen_by_name(connect):
    assert connect(model="small").name.startswith("small at ")
    assert "does not serve 'huge'; it serves big, small" in one_line(lambda: connect(model="huge"))


def test_credentials_in_the_url_are_sent_and_never_shown(server, connect):
    engine = connect(server.url().replace("//", "//me:secret@"))
    assert engine.complete(TALK, engine.see(PICTURE)) == "In France."
    assert server.requests[0][1].startswith("Basic ")
    server.reply = (404, {})
    said = one_line(lambda: engine.complete(TALK, engine.see(PICTURE)))
    assert "secret" not in said + engine.name + one_line(lambda: connect(engine.name[7:], model="absent"))


@pytest.mark.parametrize(
    "models",
    [{"data": []}, {}, [], b"<html>", {"data": None}, {"data": ["big"]}, {"data": [{"name": "big"}]}, {"data": "big"}],
)
def test_a_server_without_models_is_one_line(models, server, connect):
    server.models = models
    assert "127.0.0.1" in one_line(connect)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((404, {"error": "no such model"}), "HTTP 404: no such model"),
        ((400, {"error": {"message": "longer than\n 512 tokens", "type": "x"}}), "HTTP 400: longer than 512 tokens"),
        ((422, {"detail": [{"loc": ["body"]}]}), "HTTP 422"),
        ((500, {"error": "out of memory"}), "500"),
        ((401, {}), "401"),
        ((302, {}), "302"),
        ((200, b"\xff\xfenot json"), "no usable reply"),
        ((200, b""), "no usable reply"),
        ((200, []), "sent no text back"),
        ((200, {}), "sent no text back"),
        ((200, {"choices": []}), "sent no text back"),
        ((200, {"choices": "text"}), "sent no text back"),
        ((200, {"choices": [None]}), "sent no text back"),
        ((200, {"choices": [{"message": None}]}), "sent no text back"),
        ((200, {"choices": [{"message": {"content": None}}]}), "sent no text back"),
    ],
)
def test_a_reply_that_is_none_is_one_line(reply, message, server, connect):
    engine = connect()
    server.reply = reply
    assert message in one_line(lambda: engine.complete(TALK, engine.see(PICTURE)))


def test_a_server_that_does_not_answer_in_time_is_one_line(server, connect):
    engine = connect(timeout=0.2)
    server.delay = 0.6
    assert "no usable reply" in one_line(lambda: engine.complete(TALK, engine.see(PICTURE)))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://[", "http://127.0.0.1:99999/v1"])
def test_a_server_that_is_not_there_is_one_line(url):
    assert one_line(lambda: EndpointEngine(url, timeout=2))


# ---- a server that is busy


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(status, server, connect, waits):
    engine = connect()
    server.next = [(status, {}), (status, b"busy")]
    assert engine.complete(TALK, engine.see(PICTURE)) == "In France."
    assert waits == [0.5, 1.0]
    assert len(server.requests) == 3
    server.next = [(status, {"error": {"message": "too many"}})] * 9
    assert f"HTTP {status}: too many" in one_line(lambda: engine.complete(TALK, engine.see(PICTURE)))
    assert len(server.requests) == 3 + 5


@pytest.mark.parametrize(
    ("header", "wait"),
    [("3", 3), ("0", 0), ("86400", 30), ("soon", 0.5), ("-1", 0.5), ("nan", 0.5), ("", 0.5)],
)
def test_it_waits_as_long_as_the_server_asks(header, wait, server, connect, waits):
    engine = connect()
    server.headers["Retry-After"] = header
    server.next = [(429, {})]
    engine.complete(TALK, engine.see(PICTURE))
    assert waits == [wait]


def test_a_date_to_wait_for_is_read(server, connect, waits):
    engine = connect()
    server.headers["Retry-After"] = email.utils.formatdate(time.time() + 10, usegmt=True)
    server.next = [(503, {})]
    engine.complete(TALK, engine.see(PICTURE))
    assert waits[0] == pytest.approx(10, abs=2)


def test_other_failures_are_not_tried_again(server, connect, waits):
    engine = connect()
    server.next = [(500, {})]
    one_line(lambda: engine.complete(TALK, engine.see(PICTURE)))
    assert (waits, len(server.requests)) == ([], 1)


# ---- pointing


@pytest.mark.parametrize(
    "tokens",
    [
        (404, {}),
        (405, {"detail": "Method Not Allowed"}),
        (401, {}),
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (200, {"tokens": None}),
        (200, {"tokens": [*IDS, 5]}),  # a symbol cut in two
        (200, {"tokens": [IDS[0]] * 24}),  # an unknown token, again and again
        (200, {"tokens": [str(i) for i in IDS]}),
        (200, {"tokens": IDS, "token_strs": ["<"] * 24}),
    ],
)
def test_a_vocabulary_without_symbols_talks_but_does_not_point(tokens, server, connect):
    server.tokens = tokens
    engine = connect()
    assert not engine.has_geotokens
    assert "no S2 tokens in its vocabulary" in one_line(lambda: engine.scorer(LOCATE, engine.see(PICTURE)))
    assert engine.complete(TALK, engine.see(PICTURE)) == "In France."


def test_a_server_that_fails_at_the_question_is_not_taken_for_one_without_symbols(server, connect, waits):
    server.tokens = (500, {})
    assert "/tokenize: HTTP 500" in one_line(connect)
    server.tokens = (429, {})
    assert "/tokenize: HTTP 429" in one_line(connect)


def test_the_page_beside_v1_is_asked_under_the_same_prefix(server, connect):
    server.requests.clear()
    EndpointEngine(server.url().replace("/v1", "/models/nano/v1/")).close()
    ((path, _, body),) = server.requests
    assert path == "/models/nano/tokenize"
    assert body["prompt"] == "".join(geotokens.all_symbols())
    assert body["add_special_tokens"] is False


def test_the_next_symbol_is_asked_of_a_reply_that_was_begun(server, connect):
    engine = connect(system=False)
    assert engine.has_geotokens
    row = engine.scorer(LOCATE, engine.see(PICTURE))(np.array([[2, 15, 0]]))
    ((path, _, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]
    assert body["messages"][1]["content"] == "<|geo|><|s2:f2|><|s2:15|><|s2:0|>"
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["max_tokens"], body["temperature"], body["logprobs"]) == (1, 0, True)
    assert body["logprob_token_ids"] == IDS[6:22]
    expected = np.array(list(scores([2, 15, 0], IDS[6:22]).values()))
    np.testing.assert_allclose(row, [expected - np.log(np.exp(expected).sum())], atol=1e-12)
    faces = engine.scorer(LOCATE, engine.see(PICTURE))(ROOT)
    assert faces.shape == (1, 6)
    assert server.requests[-1][2]["messages"][1]["content"] == "<|geo|>"
    assert server.requests[-1][2]["logprob_token_ids"] == IDS[:6]
    assert np.exp(faces).sum() == pytest.approx(1)


def pictures_of(server):
    return [body["messages"][-2]["content"][0] for _, _, body in server.requests]


def test_a_picture_that_vllm_has_is_named_and_sent_again_when_it_is_forgotten(server, connect):
    engine = connect()
    sight = engine.see(PICTURE)
    score = engine.scorer(LOCATE, sight)
    score(ROOT)
    score(np.array([[1], [2]]))
    first, second, third = pictures_of(server)
    assert first["image_url"]["url"] == sight.kept["url"]
    assert second == third == {"type": "image_url", "image_url": None, "uuid": first["uuid"]}
    expected = engine.scorer(LOCATE, engine.see(PICTURE))(np.array([[3]]))
    server.requests.clear()
    server.next = [(400, {"error": {"message": "Cache miss for image at index 0 but data is not provided."}})]
    np.testing.assert_array_equal(score(np.array([[3]])), expected)
    assert [part["image_url"] is None for part in pictures_of(server)] == [True, False]
    assert engine.see(PICTURE).kept["uuid"] != first["uuid"]  # nobody gets at a picture by knowing it


def test_a_refusal_that_is_not_about_the_picture_is_told(server, connect):
    engine = connect()
    sight = engine.see(PICTURE)
    engine.complete(TALK, sight)
    server.next = [(400, {"error": {"message": "too long"}})] * 2
    assert "HTTP 400: too long" in one_line(lambda: engine.complete(TALK, sight))
    server.next = [(500, {})]
    server.requests.clear()
    assert "HTTP 500" in one_line(lambda: engine.complete(TALK, sight))
    assert len(server.requests) == 1


def test_servers_other_than_vllm_get_the_picture_every_time_and_no_name_for_it(server, connect):
    server.tokens = (404, {})
    engine = connect(system=False)
    sight = engine.see(PICTURE)
    for _ in range(2):
        engine.complete(TALK, sight)
    parts = [body["messages"][0]["content"][0] for _, _, body in server.requests]
    assert parts == [{"type": "image_url", "image_url": {"url": sight.kept["url"]}}] * 2


def test_each_prefix_is_asked_once_and_rows_keep_their_order(server, connect):
    engine = connect()
    score = engine.scorer(LOCATE, engine.see(PICTURE))
    first = score(np.array([[2, 3], [1, 0], [2, 3]]))
    again = score(np.array([[1, 0], [4, 4], [2, 3]]))
    assert len(server.requests) == score.asked == 3
    np.testing.assert_array_equal(first[[1, 0]], again[[0, 2]])
    np.testing.assert_array_equal(first[0], first[2])
    assert np.abs(first[0] - first[1]).max() > 0.1


def test_what_is_remembered_is_bounded(server, connect):
    engine = connect()
    made = engine.scorer(LOCATE, engine.see(PICTURE))
    score = EndpointScorer(made._post, "tiny", IDS, remembered=4)
    all_of = np.array([[2, k] for k in range(4)])
    score(all_of)
    score(np.array([[2, 0], [2, 5]]))  # makes room, and keeps what this call needs
    assert len(server.requests) == 5
    score(np.array([[2, 0]]))
    assert len(server.requests) == 5
    score(all_of[1:2])
    assert len(server.requests) == 6
    assert len(score._rows) <= 4


def test_prefixes_are_asked_together_with_a_bound(server, connect):
    engine = connect()
    server.delay = 0.05
    rows = engine.scorer(LOCATE, engine.see(PICTURE))(np.array([[2, k, j] for k in range(4) for j in range(16)]))
    assert rows.shape == (64, 16)
    assert 4 < server.busiest <= connection.MOST_AT_ONCE


def test_a_search_makes_a_belief_of_it(server, connect):
    engine = connect()
    belief = search(engine.scorer(LOCATE, engine.see(PICTURE)), SearchConfig(symbols=3, width=6))
    assert np.exp(belief.log_prob).sum() == pytest.approx(1, abs=1e-6)
    assert len(server.requests) == 1 + 6 + 6


def test_what_is_not_asked_for_does_no_harm(server, connect):
    engine = connect()
    plain = engine.scorer(LOCATE, engine.see(PICTURE))(ROOT)
    server.change = lambda said: {5: -0.01} | said  # vLLM adds the token that it drew
    np.testing.assert_array_equal(engine.scorer(LOCATE, engine.see(PICTURE))(ROOT), plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: dict(list(said.items())[:-1]), "sent log-probabilities of 5 of the 6 S2 symbols"),
        (lambda said: {}, "of 0 of the 6 S2 symbols"),
        (lambda said: {i + 100: value for i, value in said.items()}, "of 0 of the 6 S2 symbols"),
        (lambda said: dict.fromkeys(said, math.nan), "no numbers, after <|geo|>"),
        (lambda said: said | {IDS[0]: math.nan}, "no numbers"),
        (lambda said: said | {IDS[0]: math.inf}, "no numbers"),
        (lambda said: dict.fromkeys(said, -math.inf), "no numbers"),
        (lambda said: said | {IDS[0]: None}, "of 0 of the 6 S2 symbols"),
        (lambda said: said | {IDS[0]: "high"}, "of 0 of the 6 S2 symbols"),
    ],
)
def test_anything_but_the_log_probabilities_asked_for_is_one_line(change, message, server, connect):
    engine = connect()
    server.change = change
    assert message in one_line(lambda: engine.scorer(LOCATE, engine.see(PICTURE))(ROOT))


@pytest.mark.parametrize(
    "reply",
    [
        [],
        {},
        {"choices": []},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": {"content": []}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "France", "logprob": -1}]}]}}]},
        {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": 5, "logprob": -1}]}]}}]},
    ],
)
def test_a_reply_without_log_probabilities_is_one_line(reply, server, connect):
    engine = connect()
    score = engine.scorer(LOCATE, engine.see(PICTURE))
    server.next = [(200, reply)]
    assert "pointing needs a vLLM that knows logprob_token_ids" in one_line(lambda: score(ROOT))


def test_one_failure_among_many_ends_the_call_and_spares_the_server(server, connect):
    engine = connect()
    server.delay = 0.02
    server.next = [(500, {"error": "out of memory"})]
    score = engine.scorer(LOCATE, engine.see(PICTURE))
    all_of = np.array([[2, k, j] for k in range(16) for j in range(16)])
    assert "HTTP 500: out of memory" in one_line(lambda: score(all_of))
    assert len(server.requests) < len(all_of) / 2
    assert score(all_of[:3]).shape == (3, 16)  # and the next call works


# ---- streaming


class Streaming(ThreadingHTTPServer):
    """A server that sends what it is told, event by event, and notices who hangs up."""

    daemon_threads = True

    def __init__(self, events, *, hold=None, kind="text/event-stream", handler=None):
        self.events, self.hold, self.kind = events, hold, kind
        self.bodies, self.gone = [], threading.Event()
        super().__init__(("127.0.0.1", 0), handler or StreamingHandler)


class StreamingHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": "big"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("completions"):
            self.send_error(404)
            return
        self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        for event in self.server.events:
            self.wfile.write(event)
            self.wfile.flush()
        if self.server.hold is not None:
            self.connection.settimeout(60)
            with contextlib.suppress(OSError):
                if self.connection.recv(1) == b"":  # whoever asked has hung up
                    self.server.gone.set()

    def log_message(self, *_):
        pass


def said(text, finish=None, **more):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}, ensure_ascii=False).encode() + b"\n\n"


@contextlib.contextmanager
def streaming(*events, **options):
    server = Streaming(events, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    engine = EndpointEngine(f"http://127.0.0.1:{server.server_port}/v1")
    try:
        yield server, engine
    finally:
        engine.close()
        server.shutdown()
        thread.join()
        server.server_close()


DONE = b"data: [DONE]\n\n"


def test_pieces_come_as_the_server_sends_them():
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 3}}\n\n'
    role = b'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\n\n'
    events = [b": hello\n\n", role, said(" In"), said(" the \u2028Alps"), said(". ", "stop"), usage, DONE]
    with streaming(*events) as (server, engine):
        pieces = list(engine.stream(TALK, engine.see(PICTURE), max_new_tokens=7))
        assert pieces == ["In", " the \u2028Alps", "."]
        (body,) = server.bodies
        assert (body["stream"], body["max_tokens"], body["temperature"]) == (True, 7, 0)
        assert (engine.used.requests, engine.used.prompt_tokens, engine.used.completion_tokens) == (1, 40, 3)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_events_are_whole_however_they_are_cut(size):
    whole = said("né 東京") + said(" 🙂", "stop") + DONE
    with streaming(*(whole[i : i + size] for i in range(0, len(whole), size))) as (_, engine):
        assert "".join(engine.stream(TALK, engine.see(PICTURE))) == "né 東京 🙂"


def test_leaving_hangs_up_even_while_the_server_is_silent():
    with streaming(said("In "), said("the "), hold=True) as (server, engine):
        pieces = engine.stream(TALK, engine.see(PICTURE))
        assert next(pieces) == "In"
        pieces.close()
        assert server.gone.wait(60)
    with streaming(said("In "), said("the "), hold=True) as (server, engine):
        heard = []
        heard.extend(engine.stream(TALK, engine.see(PICTURE), stopped=lambda: bool(heard)))
        assert heard[0] == "In"
        assert server.gone.wait(60)


class ChunkedHandler(StreamingHandler):
    """The same in chunks, whose end is told, so that the connection can serve again; where it is held, it is not."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections = getattr(self.server, "connections", 0) + 1

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.send_response(200)
        if not self.path.endswith("completions"):
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        self.send_header("Content-Type", self.server.kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in [*self.server.events, *([] if self.server.hold else [b""])]:
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            self.wfile.flush()
        if self.server.hold is not None:
            self.connection.settimeout(60)
            with contextlib.suppress(OSError):
                if self.connection.recv(1) == b"":
                    self.server.gone.set()
            self.close_connection = True


def test_a_connection_serves_the_next_reply_too():
    with streaming(said("In "), said("France.", "stop"), DONE, handler=ChunkedHandler) as (server, engine):
        sight = engine.see(PICTURE)
        for _ in range(4):
            assert "".join(engine.stream(TALK, sight)) == "In France."
            for thread in threading.enumerate():
                if thread.name == "gaea reply":
                    thread.join()  # what the server has still to say is read after the reader has left
        assert server.connections == 1


def test_a_server_that_never_ends_its_reply_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(connection, "_DRAIN_S", 0.2)
    with streaming(said("In France.", "stop"), DONE, hold=True, handler=ChunkedHandler) as (server, engine):
        assert "".join(engine.stream(TALK, engine.see(PICTURE))) == "In France."
        assert server.gone.wait(60), "and is given up"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([said("In ")], "broke off in the middle"),
        ([said("In "), DONE], "broke off in the middle"),
        ([said("In "), b'data: {"error": {"message": "out of\\nmemory"}}\n\n', DONE], "broke off: out of memory"),
        ([said("In "), b"data: {not json\n\n"], "an event that is no JSON"),
        ([b'data: {"object": "what"}\n\n', DONE], "sent no text back"),
    ],
)
def test_a_stream_that_is_none_is_one_line(events, message):
    with streaming(*events) as (_, engine):
        assert message in one_line(lambda: list(engine.stream(TALK, engine.see(PICTURE))))


def test_a_server_that_streams_nothing_sends_all_at_once(server, connect):
    engine = connect()
    assert list(engine.stream(TALK, engine.see(PICTURE))) == ["In France."]


def test_a_stream_is_refused_busy_and_forgotten_as_any_reply(server, connect, waits):
    engine = connect()
    sight = engine.see(PICTURE)
    server.next = [(503, {}), (429, b"busy")]
    assert "".join(engine.stream(TALK, sight)) == "In France."
    assert waits == [0.5, 1.0]
    server.next = [(400, {"error": {"message": "Cache miss for image"}})]
    server.requests.clear()
    assert "".join(engine.stream(TALK, sight)) == "In France."
    pictures = [body["messages"][-1]["content"][0]["image_url"] for _, _, body in server.requests]
    assert [picture is None for picture in pictures] == [True, False]
    server.next = [(500, {"error": "out of memory"})]
    assert "HTTP 500: out of memory" in one_line(lambda: list(engine.stream(TALK, sight)))
