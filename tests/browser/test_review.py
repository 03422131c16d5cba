"""The review in a real browser: look, accept, reject, by button and by key; only then is anything written."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gaea.rag.sources.xmp import read_sidecar

PATIENCE_MS = 400_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (60, 40), (80 * number, 120, 60)).save(photos / f"{number}.jpg")
    return photos


@pytest.fixture
def url(folder: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, str(Path(__file__).with_name("review.py")), str(folder), str(port)]
    with (tmp_path / "log").open("w") as log:
        env = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
        process = subprocess.Popen(program, stdout=log, stderr=log, env=env)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                urllib.request.urlopen(address).close()
                break
            except OSError:
                time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_one_by_one_and_written_only_after_a_yes(chromium: Any, url: str, folder: Path) -> None:
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.jpg")}
    page = chromium.new_context(viewport={"width": 1180, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.get_by_text("1 of 3").wait_for()
    card = page.locator("#card")
    card.locator("figure img").wait_for()
    assert card.locator("svg").count() >= 2
    assert "near Chamonix" in card.inner_text()
    assert "55 km" in card.inner_text()
    assert "looks similar" in card.inner_text()
    assert page.evaluate("window.pwned") is None
    assert list(folder.glob("*.xmp")) == []
    page.locator("#accept").click()
    page.get_by_text("2 of 3").wait_for()
    assert [p.name for p in folder.glob("*.xmp")] == ["0.jpg.xmp"]
    page.locator("body").press("r")
    page.get_by_text("3 of 3").wait_for()
    page.locator("body").press("a")
    page.get_by_text("2 accepted, 1 rejected, 0 to look at").wait_for()
    assert sorted(p.name for p in folder.glob("*.xmp")) == ["0.jpg.xmp", "2.jpg.xmp"]
    assert read_sidecar(folder / "2.jpg.xmp").lat == pytest.approx(45.9237, abs=1e-5)
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.jpg")} == before
    assert not [address for address in asked if not address.startswith((url, "data:", "blob:"))]
