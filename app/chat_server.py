"""The web server of ``gaea chat``: the page, its scripts, the Earth, downloads, and a doorkeeper before all of them.

The doorkeeper lets in who names this server by its own name, from its own pages; it keeps uploads to disk shut, caps
what may be sent, and forbids the page to speak to anybody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from gaea.app import chat_map
from gaea.app.chat_session import Sessions, written
from gaea.app.tiles import Tiles
from gaea.errors import InputError

FIRST_PORT, PORTS_TRIED = 7860, 40
MAX_BODY_BYTES = 96 * 2**20
"""A photo of 64 MiB, in base64, and some words."""

SCRIPTS = ("earth.js", "sphere.js", "drawing.js", "globe.js", "tiles.js", "controls.js", "photo.js")
CLOSED = ("/gradio_api/upload", "/gradio_api/process_recording", "/gradio_api/deep_link", "/monitoring")
"""What Gradio would write to disk, or tell of others."""

ALONE: dict[str, Any] = {
    "footer_links": [],
    "run_history": False,
    "show_error": False,
    "enable_monitoring": False,
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
    "max_file_size": 1,
}
"""How pages are mounted: with nothing of Gradio's that shows, keeps or serves more than the page itself."""

# Gradio builds its components' code at run time, hence 'unsafe-eval'; nothing may come from or go to anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:{tiles}; font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; frame-src 'none'; frame-ancestors 'none'; base-uri 'self'; "
    "form-action 'none'"
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def policy(tiles: Tiles | None = None) -> str:
    """The content security policy of every page; open for a tile server's pictures where there is one."""
    return POLICY.format(tiles="" if tiles is None else f" {tiles.origin}")


@lru_cache(maxsize=2)
def script(tiles: Tiles | None = None) -> str:
    """The page's own script: the globe and the photo card, in one file."""
    folder = resources.files("gaea.app") / "web"
    parts = [(folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
    if tiles is not None:
        told = {"url": tiles.url, "credit": tiles.credit, "host": tiles.origin.partition("//")[2]}
        parts.append(f"gaea.TILES = {json.dumps(told)};")
    return "\n".join(parts)


def script_tag(tiles: Tiles | None = None) -> str:
    """What loads :func:`script`, afresh whenever it changed."""
    return f'<script src="gaea/chat.js?v={hashlib.sha256(script(tiles).encode()).hexdigest()[:12]}"></script>'


def routes(sessions: Sessions, tiles: Tiles | None = None) -> FastAPI:
    """The program's own addresses, under ``/gaea``; Gradio is mounted beside them."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    kept = {"cache-control": "public, max-age=86400"}

    @app.get("/gaea/chat.js")
    def _script() -> Response:
        return Response(script(tiles), media_type="text/javascript", headers=kept)

    @app.get("/gaea/earth-{width}.jpg")
    def _earth(width: int) -> Response:
        image = chat_map.earth_jpeg(width) if width in chat_map.EARTH_WIDTHS else None
        return Response(image, media_type="image/jpeg", headers=kept) if image else PlainTextResponse("none", 404)

    @app.get("/gaea/lines.bin")
    def _lines() -> Response:
        return Response(chat_map.lines_file(), media_type="application/octet-stream", headers=kept)

    @app.get("/gaea/answer/{token}.{ending}")
    def _answer(token: str, ending: str) -> Response:
        session = sessions.by_token(token)
        found = written(session, ending) if session is not None else None
        if found is None:
            return PlainTextResponse("There is no such answer: its conversation has ended.", 404)
        name = f'attachment; filename="gaea-answer.{ending}"'
        headers = {"content-disposition": name, "cache-control": "no-store"}
        return Response(found[1], media_type=found[0], headers=headers)

    return app


class Doorkeeper:
    """ASGI middleware: who may come in, with how much, and what the page may do.

    Args:
        app: What stands behind.
        hosts: Names by which this server may be called; empty for any.
        tiles: Whose pictures the page may load besides this server's own.
    """

    def __init__(self, app: Any, hosts: frozenset[str] = frozenset(), tiles: Tiles | None = None) -> None:
        self._app, self._hosts, self._policy = app, hosts, policy(tiles)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await PlainTextResponse(refused[1], refused[0])(scope, receive, send)
            return
        left = MAX_BODY_BYTES

        async def capped() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = {
                    "content-security-policy": self._policy,
                    "x-content-type-options": "nosniff",
                    "referrer-policy": "no-referrer",
                    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
                }
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in added.items()),
                ]
            await send(message)

        await self._app(scope, capped, guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._hosts and urlsplit(f"//{host}").hostname not in self._hosts:
            return 421, "This server does not go by that name."
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
            return 403, "Only this server's own pages may ask."
        if scope["path"].startswith(CLOSED):
            return 404, "Nothing is kept here."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return 413, f"Expected at most {MAX_BODY_BYTES // 2**20} MiB."
        return None


def bound(host: str, port: int | None) -> socket.socket:
    """A socket on an address, listening; on the first free port from 7860 where none is named.

    Raises:
        InputError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    fault: OSError | None = None
    for number in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name != "nt":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((host, number))
            opened.listen(128)
            return opened
        except (OSError, OverflowError) as error:
            opened.close()
            fault = error if isinstance(error, OSError) else OSError(str(error))
    reason = fault.strerror or str(fault) if fault else "no port"
    raise InputError(
        f"{host}, port {port or FIRST_PORT}: cannot be used ({reason}); choose others by --host and --port"
    )


def hosts_of(host: str) -> frozenset[str]:
    """Names by which a server on this address may be called: its own on loopback, any elsewhere."""
    loopback = frozenset({"localhost", "127.0.0.1", "::1"})
    return loopback | {host} if host in loopback or host.startswith("127.") else frozenset()


def serve(app: Any, opened: socket.socket, *, url: str, browser: bool) -> None:
    """Run until interrupted."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    if browser:
        # The socket listens already, so the browser's first request waits for the server rather than failing.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[opened])
