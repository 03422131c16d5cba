"""Where pictures may be fetched from, and every way that was found to lead elsewhere."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from gaea.app.serving.fetch import Fetcher, is_public
from gaea.app.serving.problems import ApiError
from gaea.errors import InputError

PUBLIC = "93.184.215.14"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1000)

NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "2001:db8::1",
    "not an address",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


class Wire(httpx.AsyncBaseTransport):
    """Notes where requests go, and carries them to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.asked: list[httpx.Request] = []
        self._port, self._carrier = port, httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        there = httpx.Request("GET", f"http://127.0.0.1:{self._port}{request.url.raw_path.decode()}")
        return await self._carrier.handle_async_request(there)

    async def aclose(self) -> None:
        await self._carrier.aclose()


class Pictures(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/absent"):
            self.send_error(404)
        else:
            body = PICTURE * (200 if self.path.startswith("/large") else 1)
            self.send_response(200)
            self.end_headers()  # no length: what comes has to be counted
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Wire(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def fetcher(wire: Wire | None = None, addresses: list[str] | None = None, hosts: tuple[str, ...] = ("pics.example",)):
    return Fetcher(
        hosts, 100_000, resolver=lambda host, port: [PUBLIC] if addresses is None else addresses, transport=wire
    )


def refusal(url: str, made: Fetcher) -> str:
    with pytest.raises(ApiError) as caught:
        asyncio.run(made.fetch(url))
    assert (caught.value.status, caught.value.code) == (400, "image_url_refused")
    return str(caught.value)


def test_a_listed_host_is_fetched_from_the_address_that_was_checked(wire: Wire) -> None:
    assert asyncio.run(fetcher(wire).fetch("https://PICS.example./a%20b.png?x=1&y=ä")) == PICTURE
    sent = wire.asked[0]
    assert sent.url.host == PUBLIC
    assert sent.headers["host"] == "pics.example"
    assert sent.extensions["sni_hostname"] == "pics.example"
    assert sent.url.raw_path == b"/a%20b.png?x=1&y=%C3%A4"
    assert "authorization" not in sent.headers


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_listed_name_that_leads_to_a_place_that_is_not_public(address: str, wire: Wire) -> None:
    for addresses in ([address], [PUBLIC, address]):
        assert "public" in refusal("http://pics.example/a.png", fetcher(wire, addresses))
    assert not wire.asked


def test_a_name_is_resolved_once_so_that_its_second_answer_does_not_matter(wire: Wire) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    made = Fetcher(["pics.example"], 100_000, resolver=lambda *_: next(answers), transport=wire)
    assert asyncio.run(made.fetch("http://pics.example/a.png")) == PICTURE
    assert [request.url.host for request in wire.asked] == [PUBLIC]
    assert "public" in refusal("http://pics.example/a.png", made)  # the next request asks anew, and checks anew
    assert len(wire.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.png",
        "http://pics.example.evil.example/a.png",
        "http://evil-pics.example/a.png",
        "http://sub.pics.example/a.png",
        "http://pics.example:8080/a.png",
        "http://pics.example@evil.example/a.png",
        "http://evil.example#@pics.example/",
        "http://evil.example\\@pics.example/",
        "http://user:secret@pics.example/a.png",
        "http://127.0.0.1/a.png",
        "http://localhost/a.png",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[pics.example]/",
        "http:///a.png",
        "http://pics.example:x/",
        "http://pics.example:99999/",
        "http://pics.example\r\nhost: evil/",
        "http://pics.example /",
        "file:///etc/passwd",
        "ftp://pics.example/a.png",
        "gopher://pics.example/",
        "//pics.example/a.png",
        "",
    ],
)
def test_what_is_not_on_the_list_is_refused_before_any_name_is_looked_up(url: str, wire: Wire) -> None:
    def never(*_: object) -> list[str]:
        raise AssertionError("looked up")

    refusal(url, Fetcher(["pics.example"], 100_000, resolver=never, transport=wire))
    assert not wire.asked


def test_without_a_list_nothing_is_fetched() -> None:
    assert "data URL" in refusal("https://pics.example/a.png", fetcher(hosts=()))


def test_redirects_failures_and_endless_bodies(wire: Wire) -> None:
    assert "redirects" in refusal("http://pics.example/moved", fetcher(wire))
    assert "404" in refusal("http://pics.example/absent", fetcher(wire))
    assert "larger" in refusal("http://pics.example/large", fetcher(wire))
    assert [request.url.path for request in wire.asked] == ["/moved", "/absent", "/large"]


def test_a_name_that_does_not_exist(wire: Wire) -> None:
    def unknown(*_: object) -> list[str]:
        raise socket.gaierror

    assert "not found" in refusal(
        "http://pics.example/", Fetcher(["pics.example"], 9, resolver=unknown, transport=wire)
    )


def test_a_port_may_be_listed() -> None:
    made = fetcher(hosts=("pics.example:8443",))
    assert made.checked("https://pics.example:8443/a.png").port == 8443
    refusal("https://pics.example/a.png", made)


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "*", "*.example", "http://x.example", "x/y", "u@x"],
)
def test_only_names_can_be_listed(host: str) -> None:
    with pytest.raises(InputError, match="is no name"):
        Fetcher([host], 1)
