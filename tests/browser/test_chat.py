"""The chat page as people use it, in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import expect

from gaea.app import sample

pytestmark = pytest.mark.timeout(1800)  # a browser on a busy machine

NILE = (30.9, 31.1)
CLAIMED = (41.5, 12.5)


@pytest.fixture(scope="module")
def delta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Nile delta from orbit, in a file that claims to be from near Rome."""
    path = tmp_path_factory.mktemp("photos") / "delta.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Box Brownie"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "N",
            ExifTags.GPS.GPSLatitude: (41.0, 30.0, 0.0),
            ExifTags.GPS.GPSLongitudeRef: "E",
            ExifTags.GPS.GPSLongitude: (12.0, 30.0, 0.0),
        }
    )
    sample.crop(NILE).save(path, "JPEG", quality=92, exif=exif)
    return path


def seen(locator: Any) -> np.ndarray:
    """What is on the screen, uint8, shape (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))


def test_the_first_visit_needs_nobody_else(visit: Callable[..., Any]) -> None:
    visitor = visit()
    page = visitor.page
    expect(page.get_by_role("heading", name="Where was this taken?")).to_be_visible()
    expect(page.get_by_text("Nothing is kept:")).to_be_visible()
    assert page.locator(".example").count() == 5
    globe = seen(page.locator(".globe"))
    assert len(np.unique(globe.reshape(-1, 3) // 16, axis=0)) > 150, "the globe shows the Earth, not a plain disc"
    assert globe[globe.shape[0] // 2, globe.shape[1] // 2].max() > 40
    nameless = page.evaluate(
        """[...document.querySelectorAll('button,a,input:not([hidden]),textarea')].filter(e => e.offsetParent
        && !(e.ariaLabel || e.title || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"""
    )
    assert nameless == [] or all("submit-button" in each for each in nameless), nameless
    assert visitor.strangers() == []
    assert visitor.faults == []


def test_a_photo_is_answered_beside_a_map(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    page = visitor.page
    page.evaluate(
        """() => { window.said = []; new MutationObserver(() => {
        const bubble = [...document.querySelectorAll('#chatbot [data-testid=bot]')].at(-1);
        if (bubble && said.at(-1) !== bubble.innerText) said.push(bubble.innerText);
        }).observe(document.body, { childList: true, subtree: true, characterData: true }); }"""
    )
    before = seen(page.locator(".globe"))
    visitor.choose(delta)
    words = visitor.answered()

    said = [each.strip() for each in page.evaluate("said") if each.strip() not in ("", "…")]
    assert len(said) > 2, f"the answer came in one piece: {said}"
    assert all(words.startswith(part[:-1]) for part in said[1:]), said
    assert "Egypt" in page.locator(".verdict h1").inner_text()
    expect(page.locator(".verdict .sure .on")).to_have_count(1)
    assert {"50 % within", "90 % within", "50 % area", "90 % area"} <= set(
        page.locator(".numbers dt").all_inner_texts()
    )

    for mass in (50, 90):
        assert len(page.locator(f".regions .edge.m{mass}").get_attribute("d")) > 40
    pins = {kind: page.locator(f".pin.{kind}").count() for kind in ("point", "similar", "dissimilar", "claim")}
    assert pins["point"] == pins["claim"] == 1
    assert pins["similar"] >= 3
    assert pins["dissimilar"] >= 1
    colours = [page.locator(f".pin.{kind} .dot").first.evaluate("e => getComputedStyle(e).fill") for kind in pins]
    assert len(set(colours)) == 4
    scene = json.loads(page.evaluate("JSON.stringify(document.querySelector('.globe').globe.scene.marks)"))
    claim = next(mark for mark in scene if mark["kind"] == "claim")
    assert (claim["lat"], claim["lon"]) == pytest.approx(CLAIMED)

    page.wait_for_function("!document.querySelector('.globe').globe.moving")
    after = seen(page.locator(".globe"))
    height = min(len(before), len(after))
    assert (np.abs(after[:height].astype(int) - before[:height]) > 40).mean() > 0.1, "the globe turned to the answer"
    page.locator("svg.regions").evaluate("e => e.style.visibility = 'hidden'")
    bare = seen(page.locator(".globe"))
    gained = (after.astype(int) - bare).reshape(-1, 3)
    tinted = gained[np.abs(gained).max(axis=1) > 8]
    assert len(tinted) > 0.02 * len(gained), "the regions are drawn"
    assert tinted[:, 0].mean() > tinted[:, 2].mean() + 10, "in yellow"

    cards = page.locator(".gallery .card")
    assert cards.count() == pins["similar"] + pins["dissimilar"]
    assert re.search(r"\d k?m away", cards.first.inner_text())
    assert "NASA Earth Observatory" in cards.first.inner_text()
    assert "Box Brownie" in page.locator("section.claim").inner_text()
    outward = page.locator(".pill.out")
    assert [link.inner_text() for link in outward.all()] == ["OpenStreetMap", "Satellite", "Street View"]
    assert visitor.strangers() == []
    assert visitor.faults == []


def test_a_follow_up_reuses_the_photo_that_was_seen(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    before = visitor.server.test("counts")
    visitor.choose(delta)
    visitor.answered()
    once = visitor.server.test("counts")
    assert (once["seen"] - before["seen"], once["recalled"] - before["recalled"]) == (1, 1)
    visitor.ask("What country, climate and neighbours?")
    assert "Egypt" in visitor.answered(2)
    visitor.page.get_by_role("button", name="How sure, what else?").click()
    assert "%" in visitor.answered(3)
    assert visitor.server.test("counts") == once
    expect(visitor.page.locator("#status")).to_contain_text("the photo was encoded before, once")


def test_stop_ends_the_answer_where_it_is_made(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    page = visitor.page
    visitor.choose(delta)
    whole = visitor.answered()
    visitor.server.test("held/1")
    stopped = visitor.server.test("counts")["stopped"]
    visitor.ask("Where is this?")
    bubbles = page.locator("#chatbot [data-testid=bot]")
    expect(bubbles).to_have_count(2)
    page.get_by_test_id("stop-button").or_(page.locator("#ask-box .stop-button")).first.click()
    expect(page.locator("#status")).to_contain_text("Stopped after")
    for _ in range(50):  # the page says so before the engine's thread has looked up
        if visitor.server.test("counts")["stopped"] > stopped:
            break
        page.wait_for_timeout(100)
    assert visitor.server.test("counts")["stopped"] == stopped + 1, "the engine itself stopped"
    assert len(bubbles.last.inner_text()) < len(whole)
    visitor.server.test("held/0")
    visitor.ask("What country is this?")
    assert "Egypt" in visitor.answered(3), "the conversation goes on"


def test_answers_can_be_taken_away(visit: Callable[..., Any], delta: Path, tmp_path: Path) -> None:
    visitor = visit()
    page = visitor.page
    visitor.choose(delta)
    visitor.answered()
    files = {}
    for link in page.locator(".pill[download]").all():
        with page.expect_download() as waiting:
            link.click()
        files[waiting.value.suggested_filename.rpartition(".")[2]] = path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
    assert set(files) == {"html", "geojson", "kml", "csv"}

    features = json.loads(files["geojson"].read_text(encoding="utf-8"))["features"]
    point = next(f for f in features if f["properties"]["role"] == "answer")["geometry"]["coordinates"]
    assert point == pytest.approx([NILE[1], NILE[0]], abs=2), "longitude first"
    root = ET.parse(files["kml"]).getroot()
    assert root.tag == "{http://www.opengis.net/kml/2.2}kml"
    assert root.findall(".//{*}Point/{*}coordinates")
    (row,) = list(csv.DictReader(io.StringIO(files["csv"].read_text(encoding="utf-8"))))
    assert float(row["lat"]) == pytest.approx(point[1], abs=1e-3)

    report = visitor.context.new_page()
    asked: list[str] = []
    report.on("request", lambda request: asked.append(request.url))
    report.goto(files["html"].as_uri())
    assert "Egypt" in report.locator("h1").inner_text()
    assert report.locator("svg.map").count() == 2
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_bad_file_is_one_clear_line(visit: Callable[..., Any], tmp_path: Path) -> None:
    visitor = visit()
    page = visitor.page
    bad = tmp_path / "notes.jpg"
    bad.write_text("these are no pixels")
    visitor.choose(bad)
    fault = page.get_by_role("alert").filter(has_text="notes.jpg")
    expect(fault).to_be_visible()
    assert "expected a photo (JPEG, PNG" in fault.inner_text()
    assert "\n" not in fault.inner_text()
    cut = tmp_path / "cut.jpg"
    sample.write_jpeg(sample.crop(NILE), cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    visitor.choose(cut)
    expect(page.get_by_role("alert").filter(has_text="cut.jpg: the JPEG file is damaged or cut short")).to_be_visible()
    assert page.locator("#chatbot [data-testid=bot]").count() == 0
    assert visitor.faults == []


def test_sessions_cannot_see_each_other_and_end_with_their_tab(visit: Callable[..., Any], delta: Path) -> None:
    one, other = visit(), visit()
    one.choose(delta)
    one.answered()
    link = one.page.locator(".pill[download]").first.evaluate("e => e.href")
    assert other.page.locator("#chatbot [data-testid=bot]").count() == 0
    expect(other.page.locator(".photo-card")).to_have_attribute("data-state", "empty")
    other.ask("Where is this?")
    expect(other.page.locator("#status .fault")).to_contain_text("there is no photo yet")
    other.page.locator(".example").nth(1).click()
    other.answered()
    theirs = other.page.locator(".pill[download]").first.evaluate("e => e.href")
    assert link != theirs
    assert "Egypt" not in other.page.locator("#chatbot").inner_text()
    assert other.context.request.get(link).ok, "who was given the link can follow it while the tab is open"

    held = one.server.test("counts")
    one.page.close()
    expect(other.page.locator(".verdict h1")).not_to_be_empty()
    for _ in range(600):
        if one.server.test("counts")["pages"] < held["pages"]:
            break
        other.page.wait_for_timeout(100)
    left = one.server.test("counts")
    assert {name: held[name] - left[name] for name in ("sessions", "pages")} == {"sessions": 1, "pages": 1}
    gone = other.context.request.get(link)
    assert gone.status == 404
    assert "ended" in gone.text()
    written = [path for path in one.server.files.rglob("*") if path.is_file()]
    assert written == [], "nothing was written to disk"


def test_it_fits_a_phone(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit(viewport={"width": 390, "height": 844}, has_touch=True, device_scale_factor=2)
    page = visitor.page
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 390
    visitor.choose(delta)
    visitor.answered()
    assert page.evaluate(width) <= 390
    beyond = page.evaluate(
        """[...document.querySelectorAll('#desk *')].filter(e => !e.closest('.globe, .sr-only') && e.offsetParent
        && e.getBoundingClientRect().right > 391).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert beyond == []
    globe = page.locator(".globe").bounding_box()
    assert globe is not None
    assert 340 <= globe["width"] <= 390
    assert page.locator(".globe .zoom button").first.bounding_box()["height"] >= 40


def test_every_suggestion_is_seen_whole_and_asks_its_question(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit(viewport={"width": 1280, "height": 800})
    page = visitor.page
    visitor.choose(delta)
    visitor.answered()
    for width in (1280, 1366, 1440, 390):
        page.set_viewport_size({"width": width, "height": 800})
        cut = page.evaluate(
            """[...document.querySelectorAll('#chips .chip')].filter(e => e.offsetParent).filter(e => {
            const chip = e.getBoundingClientRect(), row = document.querySelector('#chips').getBoundingClientRect()
            return chip.left < row.left || chip.right > row.right || chip.bottom > row.bottom + 1
                || e.scrollWidth > e.clientWidth}).map(e => e.textContent)"""
        )
        assert cut == [], width
        assert page.locator("#chips .chip:visible").count() >= 3
    page.get_by_role("button", name="Languages").click()
    visitor.answered(2)
    expect(page.locator("#chatbot [data-testid=user]").last).to_have_text("Which languages are spoken here?")


def test_what_others_wrote_is_shown_and_never_run(visit: Callable[..., Any], tmp_path: Path) -> None:
    attack = "<img src=x onerror=\"window.pwned='%s'\">"
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = attack % "make"
    exif[ExifTags.Base.Model] = "<script>window.pwned='model'</script>${window.pwned='t'}{{this}}`"
    photo = tmp_path / (attack.replace('"', "'").replace("'", "") % "name" + ".jpg").replace("/", "")
    sample.crop(NILE).save(photo, "JPEG", exif=exif)
    visitor = visit()
    page = visitor.page
    visitor.server.test("hostile/1")
    visitor.choose(photo)
    words = visitor.answered()
    assert "<img src=x onerror=" in words
    assert "<script>" in words
    assert "![x](http://192.0.2.1/model.png)" in words, "no markup is rendered"
    visitor.ask(f"Where is <b>this</b>? {attack % 'question'} $$\\href{{javascript:1}}{{x}}$$ `${{window.pwned=1}}`")
    visitor.answered(2)
    for part, text in {
        "#photo .name": "<img src=x",
        "section.claim": "<img src=x onerror=",
        ".gallery .card h3 >> nth=0": "<img src=x onerror=",
        ".gallery .credit >> nth=0": "<script>",
        "#chatbot [data-testid=user] >> nth=1": "<b>this</b>",
    }.items():
        assert text in page.locator(part).inner_text(), part
    page.locator(".pin.similar").last.dispatch_event("click")
    assert "<img src=x onerror=" in page.locator(".callout").inner_text()
    bad = tmp_path / "<b>bad.jpg"
    bad.write_text("no pixels")
    visitor.choose(bad)
    expect(page.get_by_role("alert").filter(has_text="<b>bad.jpg")).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator("[onerror], #chatbot img, #chatbot a, .card a").count() == 0
    assert visitor.strangers() == []
    assert visitor.faults == []


def test_the_report_escapes_what_others_wrote(visit: Callable[..., Any], delta: Path, tmp_path: Path) -> None:
    visitor = visit()
    visitor.server.test("hostile/1")
    visitor.choose(delta)
    visitor.answered()
    with visitor.page.expect_download() as waiting:
        visitor.page.locator(".pill[download$=html]").click()
    waiting.value.save_as(tmp_path / "report.html")
    report = visitor.context.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    assert "<script>window.pwned" in report.locator("body").inner_text()
    assert report.evaluate("window.pwned") is None


def test_keys_move_the_map_and_send_questions(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    page = visitor.page
    visitor.choose(delta)
    visitor.answered()
    view = "document.querySelector('.globe').globe.view"
    start = page.evaluate(view)
    page.locator(".globe canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    moved = page.evaluate(view)
    assert moved["half"] < start["half"]
    assert moved["lon"] > start["lon"]
    assert moved["lat"] > start["lat"]
    page.keyboard.press("0")
    assert page.evaluate(view) == start
    page.locator(".pin.point").focus()
    page.keyboard.press("Enter")
    assert "50 % within" in page.locator(".callout").inner_text()
    assert "A globe showing the point at" in page.locator(".globe canvas").get_attribute("aria-label")


def test_light_and_dark(visit: Callable[..., Any]) -> None:
    paper = "getComputedStyle(document.querySelector('.photo-card .drop')).backgroundColor"
    by_night = visit(color_scheme="dark").page
    visitor = visit(color_scheme="light")
    assert visitor.page.evaluate(paper) != by_night.evaluate(paper)
    visitor.page.get_by_role("button", name="Switch between light and dark").click()
    assert visitor.page.evaluate(paper) == by_night.evaluate(paper)
    visitor.page.reload()
    visitor.page.locator(".globe.ready").wait_for()
    assert visitor.page.evaluate(paper) == by_night.evaluate(paper), "it is remembered"


def test_a_search_can_be_narrowed_and_coarsened(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    page = visitor.page
    visitor.choose(delta)
    visitor.answered()
    page.get_by_text("Narrow it down").click()
    left = page.locator("#ask-box").bounding_box()["x"]
    for part in ("#narrow", "#area-only", ".privacy"):
        assert page.locator(part).bounding_box()["x"] == pytest.approx(left, abs=12), "one column, however much is open"
    page.get_by_label("Hint").fill("somewhere in Libya")
    page.get_by_role("button", name="Look again").click()
    visitor.answered(2)
    assert "Egypt" not in page.locator(".verdict h1").inner_text()
    page.get_by_label("Hint").fill("by the lake")
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#status .fault")).to_contain_text("names no place that I know")
    page.get_by_label("Hint").fill("")
    page.get_by_role("button", name="Show the answer").click()
    page.get_by_role("button", name="Only what the map shows").click()
    expect(page.get_by_label("Box")).not_to_have_value("")
    south, west, north, east = (float(part) for part in page.get_by_label("Box").input_value().split(","))
    assert -90 <= south < north <= 90
    assert west < east
    page.get_by_label("Box").fill("")
    page.get_by_label("Area only").check()
    visitor.answered(3)
    expect(page.locator(".verdict")).to_contain_text("no finer than region")
    assert page.locator(".pin.point").count() == 0
    assert page.locator(".verdict .where").inner_text() == ""
    assert page.locator(".pill.out").count() == 0
    assert "Egypt" in page.locator(".verdict h1").inner_text()


def test_country_region_and_box_move_the_answer_or_say_why_not(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit()
    page = visitor.page
    headline = page.locator(".verdict h1")

    def choose(label: str, name: str) -> None:
        page.locator("#narrow").get_by_label(label, exact=True).fill(name)
        page.get_by_role("option", name=name, exact=True).click()
        page.keyboard.press("Escape")

    def again(times: int) -> dict[str, float]:
        page.get_by_role("button", name="Look again").click()
        visitor.answered(times)
        marks = page.evaluate("document.querySelector('.globe').globe.scene.marks")
        return next(mark for mark in marks if mark["kind"] == "point")

    visitor.choose(delta)
    visitor.answered()
    assert "Egypt" in headline.inner_text()
    page.get_by_text("Narrow it down").click()
    choose("Country", "Libya")
    again(2)
    assert "Libya" in headline.inner_text()
    choose("Region", "Murzuq")
    again(3)
    assert "Murzuq, Libya" in headline.inner_text()
    assert "Murzuq" in page.locator("#chatbot [data-testid=bot]").last.inner_text()

    page.get_by_label("Box").fill("-20, -75, -10, -65")
    page.get_by_role("button", name="Look again").click()
    expect(page.locator("#status .fault")).to_contain_text("no place on Earth fulfils all of")
    expect(page.locator("#status .fault")).to_contain_text("leave one of them out")
    assert "Murzuq, Libya" in headline.inner_text(), "the answer before stays"
    page.locator("#narrow .token-remove").first.click()
    expect(page.locator("#narrow .token-remove")).to_have_count(0)  # a region goes with its country
    point = again(4)
    assert -20 <= point["lat"] <= -10
    assert -75 <= point["lon"] <= -65
    page.get_by_label("Box").fill("")
    again(5)
    assert "Egypt" in headline.inner_text(), "with nothing set, the whole Earth again"
    assert visitor.strangers() == []
    assert visitor.faults == []


def test_photos_come_in_by_paste_drop_and_camera(visit: Callable[..., Any], delta: Path) -> None:
    visitor = visit(permissions=["camera"])
    page = visitor.page
    data = list(delta.read_bytes())
    transfer = """(bytes) => { const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], 'given.jpg', { type: 'image/jpeg' })); return files; }"""
    card = page.locator(".photo-card")
    for event, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        kind = "ClipboardEvent" if event == "paste" else "DragEvent"
        given = page.evaluate_handle(transfer, data)
        page.evaluate(
            f"given => window.dispatchEvent(new {kind}('{event}', {{ {field}: given, cancelable: true }}))",
            given,
        )
        visitor.answered()
        assert page.locator("#photo .name").inner_text() == "given.jpg"
        page.get_by_role("button", name="Forget it").click()
        expect(card).to_have_attribute("data-state", "empty")
        expect(page.locator("#chatbot [data-testid=bot]")).to_have_count(0)
    page.get_by_role("button", name="Take a photo").click()
    page.wait_for_function("document.querySelector('dialog video').videoWidth > 0")
    page.get_by_role("button", name="Take it").click()
    expect(card).to_have_attribute("data-state", "shown")
    assert page.locator("#photo .name").inner_text() == "camera.jpg"
    visitor.answered()
    assert visitor.faults == []
