"""Online tiles on the globe: asked of nobody until the switch is on, and then drawn where they belong."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(1800)  # a browser on a busy machine


def colour(z: int, x: int, y: int) -> tuple[int, int, int]:
    """What a tile is filled with: where it is, so that a pixel tells which tile it came from."""
    return round(255 * x / 2**z), round(255 * y / 2**z), 200


class TileServer(ThreadingHTTPServer):
    """One-coloured tiles; remembers which were asked for, and by whom."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.referers: set[str | None] = set()
        self.broken = False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def template(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{{z}}/{{x}}/{{y}}.png"


class _Handler(BaseHTTPRequestHandler):
    server: TileServer

    def do_GET(self) -> None:
        z, x, y = (int(part) for part in re.findall(r"\d+", self.path))
        self.server.asked.append((z, x, y))
        self.server.referers.add(self.headers["Referer"])
        packed = io.BytesIO()
        Image.new("RGB", (256, 256), colour(z, x, y)).save(packed, "PNG")
        self.send_response(500 if self.server.broken else 200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(b"" if self.server.broken else packed.getvalue())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def tiles() -> Iterator[TileServer]:
    server = TileServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def server(start: Callable[..., Any], tiles: TileServer) -> Any:
    return start(tiles.template)


def middle(page: Any) -> np.ndarray:
    """The pixel in the middle of the globe, RGB."""
    picture = np.asarray(Image.open(io.BytesIO(page.locator(".globe").screenshot())).convert("RGB"))
    return picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)


def look(page: Any, lat: float, lon: float, half: float) -> None:
    """Turn the globe, and wait until it rests and every tile of the view is there."""
    view = {"lat": lat, "lon": lon, "half": half}
    page.evaluate("view => document.querySelector('.globe').globe.go(view, false)", view)
    page.wait_for_function(
        """() => { const { tiles, pending, moving } = document.querySelector('.globe').globe;
        return !pending && !moving && (!tiles.on || tiles.made?.whole); }"""
    )
    page.wait_for_timeout(300)


def test_tiles_are_asked_for_and_drawn_only_while_the_switch_is_on(
    visit: Callable[..., Any], tiles: TileServer
) -> None:
    visitor = visit()
    page = visitor.page
    switch = page.get_by_role("button", name="Online map")
    expect(switch).to_have_attribute("aria-pressed", "false")
    assert "learns what part of the map you look at" in switch.get_attribute("title")
    look(page, 47.0, 9.0, 800.0)
    offline = middle(page)
    assert tiles.asked == []
    assert visitor.strangers() == []

    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    for lat, lon, half in ((47.0, 9.0, 800.0), (-17.0, 179.9, 300.0), (64.1, -21.9, 20.0), (20.0, 30.0, 7600.0)):
        look(page, lat, lon, half)
        z = page.evaluate("document.querySelector('.globe').globe.tiles.made.z")
        x, y = int((lon + 180) / 360 * 2**z), row(lat, z)
        assert (z, x, y) in tiles.asked
        assert np.abs(middle(page) - colour(z, x, y)).max() <= 12, f"the tile of {lat}, {lon} lies elsewhere"
    assert max(z for z, _, _ in tiles.asked) >= 10, "closer up, finer tiles"
    assert all(0 <= x < 2**z and 0 <= y < 2**z for z, x, y in tiles.asked)
    assert page.locator(".globe .credit").inner_text() == "© the makers of <b>tiles</b>"
    assert {url.rpartition("//")[2].partition("/")[0] for url in visitor.strangers()} == {
        f"127.0.0.1:{tiles.server_port}"
    }
    assert tiles.referers == {f"{visitor.server.url}/"}, "who asks is told, and nothing of what"

    switch.click()
    many = len(tiles.asked)
    look(page, 47.0, 9.0, 800.0)
    assert np.abs(middle(page) - offline).max() <= 12, "the imagery that came with the package"
    look(page, 20.0, 60.0, 300.0)
    assert len(tiles.asked) == many
    assert "NASA" in page.locator(".globe .credit").inner_text()
    assert visitor.faults == []


def row(lat: float, z: int) -> int:
    """Web Mercator's row of a latitude."""
    return int((0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi)) * 2**z)


def test_the_page_may_load_pictures_from_there_and_nothing_else(visit: Callable[..., Any], tiles: TileServer) -> None:
    page = visit().page
    other = tiles.template.replace("127.0.0.1", "localhost").format(z=0, x=0, y=0)
    load = """url => new Promise(done => { const image = new Image();
        image.onload = () => done('shown'); image.onerror = () => done('refused'); image.src = url; })"""
    assert page.evaluate(load, tiles.template.format(z=0, x=0, y=0)) == "shown"
    assert page.evaluate(load, other) == "refused", "another name is another server"
    fetched = "url => fetch(url).then(() => 'read', () => 'refused')"
    assert page.evaluate(fetched, tiles.template.format(z=0, x=0, y=0)) == "refused"


def test_a_server_that_has_no_tiles_is_told_and_the_imagery_stays(visit: Callable[..., Any], tiles: TileServer) -> None:
    page = visit().page
    tiles.broken = True
    try:
        page.get_by_role("button", name="Online map").click()
        expect(page.locator(".globe .credit")).to_contain_text("No tile came from 127.0.0.1")
        assert middle(page).max() > 40
    finally:
        tiles.broken = False
    page.get_by_role("button", name="Online map").click()
    page.get_by_role("button", name="Online map").click()
    expect(page.locator(".globe .credit")).to_contain_text("the makers of")
