"""A real Chromium in front of a real server: the page of ``gaea chat`` on the shipped model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("gradio", reason="gradio is not installed")

BROWSERS = "chromium", "chromium-browser", "google-chrome"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE_MS = 400_000  # a busy machine is slow, and nothing here is about speed


@dataclass(frozen=True)
class Server:
    """A running chat page."""

    url: str
    files: Path

    def test(self, what: str) -> dict[str, int]:
        """Ask the server's test door: ``counts``, ``held/1``, ``hostile/0``."""
        with urllib.request.urlopen(f"{self.url}/test/{what}") as answer:
            return json.load(answer)


@dataclass
class Visit:
    """One visitor: a page in a context of its own, and everything it asked for."""

    page: Any
    context: Any
    server: Server
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def strangers(self) -> list[str]:
        """Requests that went to anybody but the server."""
        here = (self.server.url, "data:", "blob:")
        return [url for url in self.requests if not url.startswith(here)]

    def choose(self, *files: Path) -> None:
        """Give the photo card a file."""
        self.page.locator("input.choose").set_input_files(list(files))

    def answered(self, times: int = 1) -> str:
        """Wait until so many answers are complete; the last one's words."""
        bubbles = self.page.locator("#chatbot [data-testid=bot]")
        sync_api.expect(bubbles).to_have_count(times, timeout=PATIENCE_MS)
        sync_api.expect(self.page.locator("#status .done")).to_be_visible(timeout=PATIENCE_MS)
        return bubbles.last.inner_text()

    def ask(self, question: str) -> None:
        """Type a question and send it."""
        box = self.page.locator("#ask-box textarea")
        box.fill(question)
        box.press("Enter")


@contextlib.contextmanager
def running(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[Server]:
    """A server in a process of its own; anything Gradio writes to disk lands in ``files``."""
    files = tmp_path_factory.mktemp("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, str(Path(__file__).with_name("serve.py")), str(port), *options]
    log = (files.parent / f"server-{port}.log").open("w+", encoding="utf-8")
    process = subprocess.Popen(program, env={**os.environ, "GRADIO_TEMP_DIR": str(files)}, stdout=log, stderr=log)
    started = Server(f"http://127.0.0.1:{port}", files)
    try:
        while True:
            assert process.poll() is None, Path(log.name).read_text(encoding="utf-8")
            try:
                started.test("counts")
                break
            except OSError:
                time.sleep(0.25)
        yield started
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server with options; it ends with the module."""
    with contextlib.ExitStack() as ends:
        yield lambda *options: ends.enter_context(running(tmp_path_factory, *options))


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    """One server per module."""
    return start()


@pytest.fixture(scope="module")  # its event loop runs in this thread while it lives, and would be in others' way
def chromium() -> Iterator[Any]:
    """A browser; skipped where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """Make a visitor; options are those of a Playwright context."""
    contexts = []

    def made(**options: Any) -> Visit:
        usual = {"viewport": {"width": 1180, "height": 760}, "reduced_motion": "reduce"}
        context = chromium.new_context(**{**usual, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        visitor = Visit(page, context, server)
        context.on("request", lambda request: visitor.requests.append(request.url))
        page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        page.on("dialog", lambda dialog: (visitor.faults.append(dialog.message), dialog.dismiss()))
        page.goto(server.url)
        page.locator(".globe.ready").wait_for()
        page.locator(".photo-card[data-live]").wait_for()
        return visitor

    yield made
    server.test("held/0")
    server.test("hostile/0")
    for context in contexts:
        context.close()
