"""The chat page without a browser: scenes, panels, sessions, wishes, and the doorkeeper."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from gaea.answer import Answer
from gaea.app import chat_map, chat_server, chat_session, chat_view, cli
from gaea.app.chat_narrow import countries, narrowing, regions
from gaea.app.chat_session import Session, Sessions, Wishes
from gaea.app.tiles import Tiles
from gaea.errors import InputError
from gaea.findings import Alternative, Confidence, Evidence, FileClaim, Place, Point
from gaea.limiting import limit
from gaea.narrowing import Narrowing
from gaea.photo import Photo

ATTACK = "<img src=x onerror=alert(1)>&\"'<script>alert(2)</script>"
SQUARE = {"type": "Polygon", "coordinates": [[[10, 40], [14, 40], [14, 44], [10, 44], [10, 40]]]}


def answer(**changed: Any) -> Answer:
    made = Answer(
        question=ATTACK,
        text=ATTACK,
        point=Point(42.0, 12.0),
        radius_km={50: 100.0, 90: 300.0},
        region={50: SQUARE, 90: SQUARE},
        place=Place(ATTACK, 12.0, country="Italy", country_code="IT"),
        evidence=(
            Evidence("similar", ATTACK, 42.1, 12.1, 13.0, 0.9, ATTACK, ATTACK, 0.5),
            Evidence("dissimilar", "elsewhere", -30.0, 20.0, 8000.0, 0.1),
        ),
        confidence=Confidence("unsure", 9.0, {50: 1e5, 90: 4e5}),
        alternatives=(Alternative(ATTACK, 0.2, Point(45.0, 9.0)),),
        file_claim=FileClaim(41.0, 12.0, "2020-01-01", ATTACK, 111.0, (ATTACK,)),
        timings={"recall": 0.1, "talk": 0.2, "total": 0.3},
        provenance={"model": ATTACK, "versions": {"torch": ATTACK}},
    )
    return dataclasses.replace(made, **changed)


class Tags(HTMLParser):
    """The elements of a piece of HTML, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


# ── the globe ───────────────────────────────────────────────────────────────


def test_a_scene_holds_what_the_answer_shows() -> None:
    scene = json.loads(chat_map.scene(answer()))
    assert [region["mass"] for region in scene["regions"]] == [90, 50], "the larger below the smaller"
    assert [mark["kind"] for mark in scene["marks"]] == ["dissimilar", "similar", "alternative", "claim", "point"]
    assert scene["view"]["lat"] == pytest.approx(42, abs=0.5)
    assert 200 < scene["view"]["half"] < 600
    flat = np.array(scene["regions"][0]["rings"][0]["flat"]).reshape(-1, 2)
    assert flat.min(axis=0).tolist() == [40, 10]
    assert flat.max(axis=0).tolist() == [44, 14]
    assert "the point at 42.0° N, 12.0° E" in scene["words"]
    assert "1 neighbour that looks similar" in scene["words"]


def test_without_cells_the_radii_are_drawn() -> None:
    scene = json.loads(chat_map.scene(answer(region={})))
    assert len(scene["regions"]) == 2
    assert len(scene["regions"][0]["rings"][0]["flat"]) > 100


def test_no_answer_is_the_whole_earth() -> None:
    assert json.loads(chat_map.scene(None)) == {
        "view": None,
        "regions": [],
        "marks": [],
        "words": "A globe, with no answer on it yet.",
    }


def test_an_area_has_no_point_on_the_map_nor_links_to_one() -> None:
    limited = limit(answer(), "region")
    assert limited.point is not None, "its middle, which would look like a finding"
    kinds = [mark["kind"] for mark in json.loads(chat_map.scene(limited))["marks"]]
    assert "point" not in kinds
    assert "openstreetmap" not in chat_view.details(limited, "t")
    assert '<p class="where"></p>' in chat_view.verdict(limited)
    assert "no finer than region" in chat_view.verdict(limited)


def test_the_lines_file_holds_six_sets_of_places_on_earth() -> None:
    data, at, counts = chat_map.lines_file(), 0, []
    while at < len(data):
        count = int(np.frombuffer(data, "<u4", 1, at)[0])
        lat = np.frombuffer(data, "<i2", count, at + 4)
        at += 4 + 4 * count
        counts.append(count)
        assert (np.abs(lat[lat != -32768]) <= 32767).all()
    assert at == len(data)
    assert len(counts) == 2 * len(chat_map.LEVELS)
    assert counts[0] < counts[2] < counts[4], "from crude to fine"


# ── the panels ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("panel", ["verdict", "evidence", "details", "legend", "status"])
def test_panels_escape_what_came_from_outside(panel: str) -> None:
    made = answer()
    html = {
        "verdict": lambda: chat_view.verdict(made),
        "evidence": lambda: chat_view.evidence(made),
        "details": lambda: chat_view.details(made, "token"),
        "legend": lambda: chat_view.legend(made),
        "status": lambda: chat_view.status_line(ATTACK, fault=True),
    }[panel]()
    tags = Tags(html).found
    assert not [tag for tag, _ in tags if tag == "script"]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    sources = [attributes["src"] or "" for tag, attributes in tags if tag == "img"]
    assert all(source.startswith("data:image/jpeg") for source in sources)


def test_links_out_are_plain_and_hold_the_point() -> None:
    links = [attributes for tag, attributes in Tags(chat_view.details(answer(), "t")).found if tag == "a"]
    out = [link["href"] or "" for link in links if (link["href"] or "").startswith("http")]
    assert len(out) == 3
    assert all("42.00000" in link and "12.00000" in link for link in out)
    assert all(link.get("rel") == "noopener noreferrer" for link in links if "download" not in link)


def test_how_sure_is_told_in_words_and_numbers() -> None:
    html = chat_view.verdict(answer())
    assert 'aria-label="How sure: unsure"' in html
    assert "I am unsure" in html
    assert re.findall(r"<dd>(.*?)</dd>", html) == ["100 km", "300 km", "100,000 km²", "400,000 km²", "9.0 bits"]


def test_the_status_says_whether_the_photo_was_looked_at_again() -> None:
    assert "before" not in chat_view.status(answer(), stopped=False)
    later = chat_view.status(answer(timings={"talk": 0.5}), stopped=True)
    assert later == "Stopped after 0.50 s · the photo was encoded before, once"


# ── narrowing ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("somewhere in southern Peru", Narrowing(countries=("PE",))),
        ("provence", Narrowing(countries=("FR",), regions=("Provence-Alpes-Côte d'Azur",))),
        ("I think Bavaria", Narrowing(countries=("DE",), regions=("Bayern",))),
    ],
)
def test_hints_are_understood(hint: str, expected: Narrowing) -> None:
    assert narrowing(hint=hint) == expected


def test_a_town_stands_for_its_surroundings_and_a_continent_for_its_countries() -> None:
    lyon = narrowing(hint="near Lyon")
    assert lyon is not None
    assert lyon.circle == pytest.approx((45.75, 4.85, 150), abs=0.05)
    africa = narrowing(hint="Africa")
    assert africa is not None
    assert {"EG", "ZA"} <= set(africa.countries)
    assert "FR" not in africa.countries


def test_all_that_is_said_must_be_true() -> None:
    assert narrowing() is None
    both = narrowing(["PE"], ["Cusco"], box="-20; -75, -10 -65", hint="South America")
    assert both == Narrowing(countries=("PE",), regions=("Cusco",), box=(-20, -75, -10, -65))
    assert ("Peru", "PE") in countries()
    assert "Cusco" in regions(["PE"])
    assert regions([]) == []


@pytest.mark.parametrize("said", [{"box": "1, 2, 3"}, {"hint": "by the lake"}, {"box": "10, 0, -10, 5"}])
def test_what_cannot_be_understood_is_told(said: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"box|hint"):
        narrowing(**said)


# ── sessions ────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Reply:
    preview: Answer
    answer: Answer

    def __iter__(self) -> Iterator[str]:
        yield from ("It is ", "here.")


@dataclasses.dataclass
class Talk:
    """A stand-in for :class:`gaea.assistant.Chat` that answers at once."""

    opened: Wishes
    turns: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def stream(self, question: str, *, guess: bool, stopped: Any) -> Reply:
        self.turns.append((question, "It is here."))
        return Reply(answer(question=question, text=""), answer(question=question, text="It is here."))


class Opener:
    def __init__(self) -> None:
        self.chats: list[Talk] = []

    def open(self, source: Any, *, narrow: Any, disclosure: Any) -> Talk:
        self.chats.append(Talk(Wishes(narrow, disclosure)))
        return self.chats[-1]


@pytest.fixture
def photo() -> Photo:
    from PIL import Image

    return Photo.open(Image.new("RGB", (40, 30), "navy"), name=ATTACK)


def test_one_chat_serves_a_conversation_until_the_wishes_change(photo: Photo) -> None:
    session, opener = Session(), Opener()
    session.begin(photo)
    states = list(session.ask(opener, "Where?", Wishes()))  # type: ignore[arg-type]
    assert [complete for _, complete in states] == [False, False, False, True]
    assert session.messages[-1] == {"role": "assistant", "content": "It is here."}
    list(session.ask(opener, "And?", Wishes()))  # type: ignore[arg-type]
    assert len(opener.chats) == 1
    list(session.ask(opener, "And now?", Wishes(level="region")))  # type: ignore[arg-type]
    assert len(opener.chats) == 2
    assert [question for question, _ in opener.chats[1].turns] == ["Where?", "And?", "And now?"]
    assert len(session.answers) == 3


def test_downloads_hold_no_answer_finer_than_what_was_last_asked_for(photo: Photo) -> None:
    session = Session()
    session.begin(photo)
    session.answers += [answer(), limit(answer(text="in Italy"), "region")]
    assert len(session.told) == 2
    session.wishes = Wishes(level="region")
    assert [each.disclosure for each in session.told] == ["region"]
    session.wishes = Wishes(level="country")
    assert chat_session.written(session, "csv") is None


def test_without_a_photo_nothing_is_asked() -> None:
    with pytest.raises(InputError, match="drop one first"):
        list(Session().ask(Opener(), "Where?", Wishes()))  # type: ignore[arg-type]


def test_sessions_are_apart_and_forgotten(photo: Photo) -> None:
    sessions = Sessions()
    one, two = sessions.of("a"), sessions.of("b")
    assert one is not two
    assert sessions.of("a") is one
    assert sessions.by_token(one.token) is one
    assert sessions.by_token("") is None
    one.begin(photo)
    running = one.stop
    sessions.forget("a")
    assert running.is_set(), "what runs is stopped"
    assert one.photo is None
    assert sessions.by_token(one.token) is None
    assert len(sessions) == 1


def test_a_server_holds_only_so_many_sessions() -> None:
    sessions = Sessions()
    running = sessions.of("first").stop
    for number in range(chat_session.MAX_SESSIONS):
        sessions.of(str(number))
    assert len(sessions) == chat_session.MAX_SESSIONS
    assert running.is_set()


def test_forgetting_while_an_answer_is_made_keeps_nothing(photo: Photo) -> None:
    session = Session()
    session.begin(photo)
    asking = session.ask(Opener(), "Where?", Wishes())  # type: ignore[arg-type]
    next(asking)
    session.begin(None)
    list(asking)
    assert session.answers == []
    assert session.messages == []


# ── the door ────────────────────────────────────────────────────────────────


@pytest.fixture
def door() -> TestClient:
    sessions = Sessions()
    app = chat_server.routes(sessions)

    @app.post("/echo")
    async def _echo() -> PlainTextResponse:
        return PlainTextResponse("came in")

    @app.post("/gradio_api/upload")
    async def _upload() -> PlainTextResponse:
        return PlainTextResponse("written")

    client = TestClient(chat_server.Doorkeeper(app, chat_server.hosts_of("127.0.0.1")), base_url="http://127.0.0.1:7")
    client.sessions = sessions  # type: ignore[attr-defined]
    return client


def test_the_page_may_speak_to_its_own_server_only(door: TestClient) -> None:
    policy = door.get("/gaea/chat.js").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy


def test_a_tile_server_is_the_only_other_one_and_only_for_pictures() -> None:
    tiles = Tiles("https://tiles.example:8443/{z}/{x}/{y}@2x.png?key=k", "© who\n made it")
    app = chat_server.routes(Sessions(), tiles)
    door = TestClient(chat_server.Doorkeeper(app, frozenset(), tiles))
    got = door.get("/gaea/chat.js")
    policy = dict(part.strip().split(" ", 1) for part in got.headers["content-security-policy"].split(";"))
    assert policy["img-src"] == "'self' data: blob: https://tiles.example:8443"
    assert not [name for name, value in policy.items() if "tiles.example" in value and name != "img-src"]
    assert json.dumps({"url": tiles.url, "credit": "© who made it", "host": "tiles.example:8443"}) in got.text
    assert chat_server.script_tag(tiles) != chat_server.script_tag()
    assert "gaea.TILES =" not in chat_server.script()


@pytest.mark.parametrize(
    "url",
    [
        "http://tiles.example/{z}/{x}/{y}.png",
        "https://tiles.example/{z}/{x}.png",
        "https://{z}.tiles.example/{x}/{y}.png",
        "https://tiles.example/{z}/{x}/{y}/{s}.png",
        "https://tiles.example/{z}/{x}/{y}#{z}",
        "https://tiles.example;script-src/{z}/{x}/{y}",
        "https://tiles.example script-src/{z}/{x}/{y}",
        "https://*.example/{z}/{x}/{y}",
        "https://me:word@tiles.example/{z}/{x}/{y}",
        "https://tiles.example:port/{z}/{x}/{y}",
        "https:///{z}/{x}/{y}",
        "//tiles.example/{z}/{x}/{y}",
        "javascript:alert({z}+{x}+{y})",
        "data:image/png,{z}{x}{y}",
        "file:///tiles/{z}/{x}/{y}",
        "https://tiles.example/{z}/{x}/{y}'",
        "https://tiles.example/${z}/{x}/{y}",
        "http://127.0.0.1.evil.example/{z}/{x}/{y}",
    ],
)
def test_what_is_no_tile_server_is_one_line(url: str) -> None:
    with pytest.raises(InputError, match="--tiles") as refused:
        Tiles(url, "somebody")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Tile.OpenStreetMap.org/{z}/{x}/{y}.png", "https://tile.openstreetmap.org"),
        ("http://127.0.0.1:8080/{z}/{x}/{y}", "http://127.0.0.1:8080"),
        ("http://localhost/{z}/{x}/{y}", "http://localhost"),
        ("http://[::1]:8080/?z={z}&x={x}&y={y}", "http://[::1]:8080"),
    ],
)
def test_tiles_come_by_https_or_from_this_machine(url: str, origin: str) -> None:
    assert Tiles(url, "somebody").origin == origin


@pytest.mark.parametrize("credit", ["", "  ", "a\x07b", "x" * 201])
def test_who_made_the_tiles_has_to_be_told(credit: str) -> None:
    with pytest.raises(InputError, match="--tiles-credit"):
        Tiles("https://tiles.example/{z}/{x}/{y}", credit)


@pytest.mark.parametrize(
    "options", [["--tiles", "http://tiles.example/{z}/{x}/{y}", "--tiles-credit", "x"], ["--tiles-credit", "x"]]
)
def test_the_command_refuses_them_before_anything_is_loaded(options: list[str], capsys: Any) -> None:
    assert cli.main(["chat", *options]) == 2
    assert "--tiles" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.1:7860", ""])
def test_other_names_are_refused(door: TestClient, host: str) -> None:
    assert door.get("/gaea/chat.js", headers={"host": host}).status_code == 421
    assert door.get("/gaea/chat.js", headers={"host": "localhost:7860"}).status_code == 200
    assert door.get("/gaea/chat.js", headers={"host": "[::1]:7860"}).status_code == 200


def test_other_pages_may_not_ask(door: TestClient) -> None:
    assert door.post("/echo", headers={"origin": "http://evil.example"}).status_code == 403
    assert door.post("/echo", headers={"origin": "null"}).status_code == 403
    assert door.post("/echo", headers={"origin": "http://127.0.0.1:7"}).text == "came in"


def test_nothing_is_uploaded_to_disk_and_nothing_huge_comes_in(door: TestClient) -> None:
    assert door.post("/gradio_api/upload").status_code == 404
    huge = {"content-length": str(chat_server.MAX_BODY_BYTES + 1)}
    assert door.post("/echo", headers=huge, content=b"x").status_code == 413


def test_downloads_are_for_who_holds_the_token(door: TestClient, photo: Photo) -> None:
    session = door.sessions.of("a")  # type: ignore[attr-defined]
    assert door.get(f"/gaea/answer/{session.token}.csv").status_code == 404, "nothing was answered yet"
    session.begin(photo)
    session.answers.append(answer())
    for ending, (media_type, _) in chat_session.WRITERS.items():
        got = door.get(f"/gaea/answer/{session.token}.{ending}")
        assert got.status_code == 200
        assert got.headers["content-type"] == media_type
        assert got.headers["content-disposition"].startswith("attachment")
        assert got.headers["cache-control"] == "no-store"
    assert door.get("/gaea/answer/guessed.csv").status_code == 404
    assert door.get(f"/gaea/answer/{session.token}.exe").status_code == 404


def test_a_taken_port_is_told_and_another_found() -> None:
    taken = chat_server.bound("127.0.0.1", 0)
    with taken, pytest.raises(InputError, match="cannot be used"):
        chat_server.bound("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="cannot be used"):
        chat_server.bound("127.0.0.1", 99_999)


def test_the_command_opens_the_page_and_ends_when_interrupted() -> None:
    free = chat_server.bound("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    command = [sys.executable, "-m", "gaea.app.cli", "chat", "--port", str(port), "--store", "memory"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}  (Ctrl+C ends it)\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            text = page.read().decode()
        assert "<title>GAEA</title>" in text or '"title":"GAEA"' in text
        assert "googleapis" not in text
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert process.returncode in (0, 130), errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()
