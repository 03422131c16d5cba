"""What every request passes before the application sees it: host, key, place in the queue, size and time of its body.

A pure ASGI middleware. It reads a body whole, within the limits, so that a slow or endless one never holds more than
its place; it names each request, times it, and writes one log line that holds no word of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gaea.app.serving.access import NOBODY, Keys, check_host_header
from gaea.app.serving.admission import Admission
from gaea.app.serving.limits import Limits
from gaea.app.serving.metrics import Metrics
from gaea.app.serving.problems import LEFT, ApiError, internal, told
from gaea.errors import GaeaError

CHAT = "/v1/chat/completions"
ROUTES = (CHAT, "/v1/models", "/health", "/ready", "/metrics", "/openapi.json")
OPEN = "/health"
"""The only route without a key."""

_DRAINED = 4  # times the largest body are taken and thrown away, so that a client reads its refusal
_DRAIN_S = 10.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("gaea.server")


class Gate:
    """The middleware.

    Args:
        app: What is behind it.
        keys: Who may pass.
        limits: Of bodies.
        admission: The queue before the engine.
        metrics: Told of every request.
    """

    def __init__(self, app: App, keys: Keys, limits: Limits, admission: Admission, metrics: Metrics) -> None:
        self._app, self._keys, self._limits = app, keys, limits
        self._admission, self._metrics = admission, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Passage(self, scope, receive, send).run()

    def admit(self, scope: Scope) -> str:
        """Who asks.

        Raises:
            ApiError: 401 or 403.
        """
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        check_host_header(headers.get(b"host"), self._keys)
        return NOBODY if scope["path"] == OPEN else self._keys.holder(headers.get(b"authorization"))


class _Passage:
    """One request on its way through."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self.receive, self._send = gate, scope, receive, send
        self.id = f"req_{uuid.uuid4().hex[:24]}"
        self.status = 0
        self.ended = False
        self.taken = 0

    async def run(self) -> None:
        gate, scope = self.gate, self.scope
        began, holder, ticket = time.monotonic(), "-", None
        route = scope["path"] if scope["path"] in ROUTES or scope["path"].startswith("/v1/models/") else "other"
        route = "/v1/models" if route.startswith("/v1/models") else route
        try:
            holder = gate.admit(scope)
            if route == CHAT and scope["method"] == "POST":
                ticket = gate._admission.enter()
            body = await self._body()
            scope.setdefault("state", {}).update(holder=holder, ticket=ticket, request_id=self.id)
            await gate._app(scope, self._replaying(body), self.send)
        except asyncio.CancelledError:
            raise
        except GaeaError as error:
            await self._refuse(told(error))
        except Exception as error:
            # The message may hold what was asked; where it happened does not.
            where = "".join(traceback.format_tb(error.__traceback__)[-4:])
            log.error("%s failed: %s\n%s", self.id, type(error).__name__, where)
            await self._refuse(internal(self.id))
        finally:
            if ticket is not None and not ticket.handed_on:
                ticket.leave()
            seconds = time.monotonic() - began
            gate._metrics.requests.labels(route, str(self.status or LEFT)).inc()
            gate._metrics.seconds.labels(route).observe(seconds)
            log.info(
                "%s %s %s %s %d %.0f ms", self.id, holder, scope["method"], route, self.status or LEFT, 1000 * seconds
            )

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self.id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
            ]
        elif message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)
        await self._send(message)

    async def _body(self) -> bytes:
        """The whole body.

        Raises:
            ApiError: 413, it is too large; 408, it did not arrive in time; 499, the client has left.
        """
        limits = self.gate._limits
        length = dict(self.scope["headers"]).get(b"content-length", b"0")
        too_large = ApiError(
            413, f"the body is larger than {limits.body_bytes / 2**20:.0f} MiB: scale the photo down", code="too_large"
        )
        if length.isdigit() and int(length) > limits.body_bytes:
            raise too_large
        received: list[bytes] = []
        try:
            async with asyncio.timeout(limits.body_s):
                while True:
                    piece, more = await self._piece()
                    received.append(piece)
                    if self.taken > limits.body_bytes:
                        raise too_large
                    if not more:
                        return b"".join(received)
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {limits.body_s:.0f} s", code="timeout") from None

    async def _piece(self) -> tuple[bytes, bool]:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ApiError(LEFT, "the client has left")
        piece = message.get("body", b"")
        self.taken += len(piece)
        self.ended_body = not message.get("more_body", False)
        return piece, not self.ended_body

    def _replaying(self, body: bytes) -> Receive:
        sent = False

        async def receive() -> MutableMapping[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await self.receive()

        return receive

    ended_body = False

    async def _refuse(self, error: ApiError) -> None:
        if self.status:  # part of a reply is out already: all that is left is to end it
            if not self.ended:
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if error.status != 408:
            await self._drain()
        content = json.dumps(error.body()).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), **error.headers()}
        listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": listed})
        await self.send({"type": "http.response.body", "body": content})

    async def _drain(self) -> None:
        """Take what still comes of a refused body, within bounds, and keep nothing of it."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not self.ended_body and self.taken < _DRAINED * self.gate._limits.body_bytes:
                    await self._piece()
        except (TimeoutError, ApiError):
            return
