from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

pytest.importorskip("shapely", reason="outlines need the osm extra")

from gaea.errors import InputError
from gaea.finetune import overpass
from gaea.finetune.overpass import Overpass, OverpassConfig, OverpassError

ANSWER: dict[str, Any] = {
    "version": 0.6,
    "elements": [
        {"type": "node", "id": 1, "lat": 47.0, "lon": 9.0, "tags": {"amenity": "cafe", "name": "Café Röhrle"}},
        {
            "type": "way",
            "id": 2,
            "geometry": [{"lat": 47.001, "lon": 9.0}, {"lat": 47.001, "lon": 9.01}],
            "tags": {"waterway": "river", "name": "Samina"},
        },
        {
            "type": "relation",
            "id": 3,
            "tags": {"type": "multipolygon", "leisure": "park", "name": "Stadtpark"},
            "members": [
                {"type": "way", "ref": 8, "role": "outer", "geometry": _line}
                for _line in (
                    [{"lat": 46.999, "lon": 8.999}, {"lat": 46.999, "lon": 9.001}, {"lat": 47.002, "lon": 9.001}],
                    [{"lat": 47.002, "lon": 9.001}, {"lat": 47.002, "lon": 8.999}, {"lat": 46.999, "lon": 8.999}],
                )
            ],
        },
        {"type": "node", "id": "broken"},
    ],
}


class StandIn(ThreadingHTTPServer):
    """Answers as its script says; the last line is repeated."""

    daemon_threads = True

    def __init__(self, script: list[tuple[Any, ...]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.requests, self.let_go = script, [], threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/interpreter"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.requests.append((self.headers["User-Agent"], parse_qs(body)["data"][0]))
        step = self.server.script[min(len(self.server.requests), len(self.server.script)) - 1]
        if step[0] == "silence":
            self.server.let_go.wait(20)
            return
        status, headers, content = step
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

    def log_message(self, *args: Any) -> None:
        pass


GOOD = (200, {}, ANSWER)


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Any]:
    running: list[StandIn] = []

    def start(*script: tuple[Any, ...]) -> StandIn:
        server = StandIn(list(script))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.let_go.set()
        server.shutdown()
        server.server_close()


def client(server: StandIn, waits: list[float], cache: Path | None = None, **options: Any) -> Overpass:
    config = OverpassConfig(url=server.url, cache=cache, **{"pause_s": 0.0, "timeout_s": 5.0} | options)
    return Overpass(config, sleep=lambda s: waits.append(s) if s > 0 else None, rng=random.Random(0))


def test_an_answer_becomes_an_extract_that_knows_points_lines_and_areas(serve: Any) -> None:
    server, waits = serve(GOOD), []
    found = client(server, waits).around(47.0, 9.0).around(47.0, 9.0)
    assert [(near.thing.osm_id, near.thing.kind) for near in found] == [
        ("node/1", "cafe"),
        ("relation/3", "park"),
        ("way/2", "river"),
    ]
    assert found[1].distance_km == 0.0  # inside the park
    assert found[2].distance_km == pytest.approx(0.111, abs=0.001)
    assert waits == []


def test_the_request_says_who_asks_and_asks_for_the_radius(serve: Any) -> None:
    server = serve(GOOD)
    client(server, [], contact="someone@example.org").around(47.123456, 9.0)
    agent, query = server.requests[0]
    assert agent.startswith("gaea-geo/")
    assert "(someone@example.org)" in agent
    assert "(around:1000,47.12346,9.00000)" in query
    assert 'nwr["amenity"]' in query
    assert "[timeout:5]" in query


def test_an_answer_is_kept_and_never_asked_for_again_even_by_another_process(serve: Any, tmp_path: Path) -> None:
    server = serve(GOOD)
    first = client(server, [], tmp_path).around(47.0, 9.0)
    again = client(server, [], tmp_path).around(47.0000001, 9.0)
    assert again.objects == first.objects
    assert len(server.requests) == 1
    client(server, [], tmp_path).around(47.0, 9.0, 0.5)
    assert len(server.requests) == 2  # another question


def test_a_damaged_cache_file_is_asked_for_again_and_mended(serve: Any, tmp_path: Path) -> None:
    server = serve(GOOD)
    client(server, [], tmp_path).around(47.0, 9.0)
    (kept,) = tmp_path.iterdir()
    kept.write_text('{"query": "cut of')
    assert len(client(server, [], tmp_path).around(47.0, 9.0).objects) == 3
    client(server, [], tmp_path).around(47.0, 9.0)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        (429, {}, b"rate_limited"),
        (504, {}, b"<html>The server is probably too busy</html>"),
        (200, {}, b"<html>dispatcher error</html>"),
        (200, {}, b'{"elements": [{"type"'),
        (200, {}, [1, 2]),
        (200, {}, {"elements": [], "remark": 'runtime error: Query timed out in "query" at line 1 after 25 seconds.'}),
    ],
    ids=["429", "504", "html", "cut", "other json", "remark"],
)
def test_after_a_refusal_it_waits_longer_each_time_and_then_gets_its_answer(
    serve: Any, tmp_path: Path, refusal: tuple[Any, ...]
) -> None:
    server, waits = serve(refusal, refusal, GOOD), []
    assert len(client(server, waits, tmp_path, backoff_s=2.0).around(47.0, 9.0).objects) == 3
    assert len(waits) == 2
    assert 2 <= waits[0] <= 3
    assert 4 <= waits[1] <= 6
    assert len(list(tmp_path.iterdir())) == 1  # refusals are not kept


def test_retry_after_is_obeyed_in_both_its_forms(serve: Any) -> None:
    then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    server, waits = serve((429, {"Retry-After": "17"}, b""), (503, {"Retry-After": then}, b""), GOOD), []
    client(server, waits, backoff_s=0.1).around(47.0, 9.0)
    assert waits[0] == 17
    assert 50 < waits[1] <= 61


def test_a_server_that_wants_a_long_rest_gets_it(serve: Any) -> None:
    server, waits = serve((429, {"Retry-After": "3600"}, b"")), []
    with pytest.raises(OverpassError, match="left alone for 3600 s"):
        client(server, waits).around(47.0, 9.0)
    assert (len(server.requests), waits) == (1, [])


def test_silence_ends_in_one_line_after_so_many_attempts(serve: Any) -> None:
    server, waits = serve(("silence",)), []
    with pytest.raises(OverpassError, match=r"no answer in 2 attempts, last: silence for 0\.2 s") as caught:
        client(server, waits, timeout_s=0.2, attempts=2).around(47.0, 9.0)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 2


def test_a_refusal_that_will_not_change_is_not_repeated(serve: Any) -> None:
    server, waits = serve((400, {}, b"<p>parse error: Unknown type</p>")), []
    with pytest.raises(OverpassError, match="status 400: parse error"):
        client(server, waits).around(47.0, 9.0)
    assert (len(server.requests), waits) == (1, [])


def test_no_server_at_all_is_told_plainly() -> None:
    config = OverpassConfig(url="http://127.0.0.1:9/api/interpreter", attempts=2, pause_s=0)
    with pytest.raises(OverpassError, match="gave no answer in 2 attempts"):
        Overpass(config, sleep=lambda _: None).around(47.0, 9.0)


def test_an_endless_answer_is_cut_off(serve: Any) -> None:
    server = serve((200, {}, b"x" * 5000))
    with pytest.raises(OverpassError, match="more than 1,000 bytes"):
        client(server, [], most_bytes=1000).around(47.0, 9.0)


def test_requests_keep_their_distance_in_time_from_many_threads(serve: Any) -> None:
    server, slept = serve(GOOD), []
    asking = client(server, slept, pause_s=10.0)
    threads = [threading.Thread(target=asking.around, args=(47.0, 9.0 + k)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 3
    assert len(slept) == 2  # the first goes at once
    assert all(9 < s <= 10 for s in slept)


def test_what_cannot_be_asked_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InputError, match="latitude 91"):
        overpass.question(91, 0)
    with pytest.raises(InputError, match="radius of 50 km"):
        overpass.question(0, 0, 50)
    with pytest.raises(InputError, match="not an Overpass server"):
        OverpassConfig(url="overpass")
    with pytest.raises(InputError, match="attempts ≥ 1"):
        OverpassConfig(attempts=0)
