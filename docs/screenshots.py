"""Pictures of the chat page for the documents: ``make screenshots``, or ``python docs/screenshots.py``.

Starts the page on the shipped model, opens it in Chromium (``$CHROMIUM``, or the one on the PATH), asks of the first
example, and writes ``docs/images/chat*.png``, each with as few colours as keep it below 300 kB.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).parent / "images"
LARGEST_BYTES = 300_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PATIENCE_MS = 600_000
DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}
SHOTS: dict[str, dict[str, Any]] = {
    "chat-first": {**DESK, "color_scheme": "light"},
    "chat": {**DESK, "color_scheme": "light"},
    "chat-dark": {**DESK, "color_scheme": "dark"},
    "chat-mobile": {**PHONE, "color_scheme": "light"},
}
KEPT = (
    (255, 75, 58),
    (39, 194, 245),
    (224, 54, 155),
    (255, 210, 63),
    (255, 159, 28),
    (11, 110, 110),
    (95, 208, 196),
    (255, 255, 255),
    (22, 32, 42),
)
"""Colours of marks and letters, too few pixels for a palette to notice."""

PHONE_HEIGHT = 3600
"""Of the long page of a phone, down to the globe and its legend; pixels."""

FOLLOW_UP = "Country and climate"


def main() -> int:
    """Take every picture."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import uvicorn
    from playwright.sync_api import sync_playwright

    import gaea
    from gaea.app import chat, chat_server

    opened = chat_server.bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{opened.getsockname()[1]}"
    app = chat.application(gaea.load(store="memory"), hosts=chat_server.hosts_of("127.0.0.1"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    running = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    running.start()
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for name, options in SHOTS.items():
            picture = shot(browser, url, options, answered=name != "chat-first")
            size = write(picture, IMAGES / f"{name}.png")
            sys.stdout.write(f"{name}.png: {picture.width} × {picture.height}, {size / 1000:.0f} kB\n")
        browser.close()
    server.should_exit = True
    running.join(timeout=10)
    return 0


def shot(browser: Any, url: str, options: dict[str, Any], *, answered: bool) -> Image.Image:
    """One visit: the page as it comes, or with an example answered and a follow-up asked."""
    context = browser.new_context(**options, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.locator(".globe.ready").wait_for()
    if answered:
        page.locator(".example").first.click()
        page.locator("#status .done").wait_for()
        if "has_touch" not in options:
            page.get_by_role("button", name=FOLLOW_UP).click()
            page.get_by_text("encoded before").wait_for()
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1500)
    picture = Image.open(io.BytesIO(page.screenshot(full_page="has_touch" in options))).convert("RGB")
    context.close()
    return picture.crop((0, 0, picture.width, min(picture.height, PHONE_HEIGHT)))


def write(picture: Image.Image, path: Path) -> int:
    """Write a picture as PNG, with fewer colours and pixels until it is small enough; its size in bytes."""
    for width, colours in ((picture.width, 240), (1200, 240), (1200, 120), (1000, 120), (900, 80)):
        smaller = picture.copy()
        smaller.thumbnail((min(width, picture.width), 10_000), Image.Resampling.LANCZOS)
        palette = smaller.quantize(colours, method=Image.Quantize.MEDIANCUT).getpalette() or []
        chosen = Image.new("P", (1, 1))
        chosen.putpalette([*palette[: 3 * colours], *(channel for colour in KEPT for channel in colour)])
        packed = io.BytesIO()
        smaller.quantize(palette=chosen, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= LARGEST_BYTES:
            break
    path.write_bytes(packed.getvalue())
    return packed.tell()


if __name__ == "__main__":
    sys.exit(main())
