"""The engine itself, behind the same door: ``engine/NAME`` passes a conversation on as it is.

Off unless it is switched on, and only where disclosure is ``precise``: what a bare model says cannot be held to less.
Key, limits, queue and the checks of pictures are the same. Only parameters that this server knows are passed on, and
pictures only as data, so nothing reaches the engine that could make it fetch or do anything else.

All of the work here is added to somebody's waiting, hence aiohttp: it sends a request in one piece and reads a reply
with a third of the processor time that httpx takes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from gaea.app.serving.problems import GONE, ApiError, invalid, refused_by_engine, unavailable
from gaea.app.serving.schema import ChatRequest, StreamOptions

PREFIX = "engine/"
IDLE_S = 4.0
"""How long a connection that nobody uses is kept: vLLM closes it after 5 s."""

_OURS = {"gaea", "store", "metadata", "user", "safety_identifier", "service_tier"}
_MOST_CONNECTIONS = 256
_GONE = (aiohttp.ClientError, TimeoutError, OSError)

Check = Callable[[], Awaitable[object]]
"""Raises where the engine should not have been asked."""


class Passing:
    """Passes requests on to one engine. Made within the event loop that uses it.

    Args:
        url: Its base URL. What it holds before an ``@`` is sent as credentials, in place of the key.
        api_key: What it wants to be sent.
        timeout_s: Its longest silence.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float = 120.0) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        keyed = api_key and "@" not in url
        self._session = aiohttp.ClientSession(
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {api_key}"} if keyed else {})},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s),
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, keepalive_timeout=IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def complete(self, request: ChatRequest, check: Check | None = None) -> dict[str, Any]:
        """The engine's reply.

        Args:
            request: What it is asked.
            check: Waited for while the engine works. Where it raises, the engine is hung up on, whatever it says.

        Raises:
            ApiError: It refuses, or is not there.
        """
        try:
            async with await self._asked(request, check) as reply:
                said = await reply.read()
        except _GONE:
            raise unavailable(GONE) from None
        content = _object(said)
        if not _success(reply):
            raise _refusal(reply.status, said)
        if content is None:
            raise ApiError(502, "the model server failed", kind="server_error", code="engine_failed")
        return {**content, "model": request.model}

    async def stream(self, request: ChatRequest, check: Check | None = None) -> AsyncIterator[bytes]:
        """The engine's events, as they come; the first ``await`` tells whether it takes the request.

        Args, Raises: As :meth:`complete`; the check is done before the first event.
        """
        try:
            reply = await self._asked(request, check)
            if _success(reply):
                return _pieces(reply)
            said = await reply.read()
        except _GONE:
            raise unavailable(GONE) from None
        raise _refusal(reply.status, said)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._session.close()

    async def _asked(self, request: ChatRequest, check: Check | None) -> aiohttp.ClientResponse:
        """The head of the reply, the check done."""
        if check is None:
            return await self._posted(request)
        posting = asyncio.ensure_future(self._posted(request))
        try:
            await asyncio.sleep(0)  # the request is made before a thread competes with it
            await check()
            return await posting
        except BaseException:
            posting.cancel()
            (came,) = await asyncio.gather(posting, return_exceptions=True)
            if isinstance(came, aiohttp.ClientResponse):
                came.close()
            raise

    async def _posted(self, request: ChatRequest) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json"}
        return await self._session.post(self._url, data=passed(request), headers=headers, allow_redirects=False)


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in reply.content.iter_any():
            yield piece
    except _GONE:
        raise unavailable("the model server has gone in the middle of its reply") from None
    finally:
        reply.close()  # so it hears that nobody listens


def passed(request: ChatRequest) -> bytes:
    """The body that the engine is sent: the parameters that it may have, each as the client wrote it.

    Raises:
        ApiError: 400, one of them cannot be written.
    """
    usage = request.stream_options is not None and request.stream_options.include_usage
    engines = {"model": request.model.removeprefix(PREFIX)}
    if request.stream and usage:
        engines["stream_options"] = StreamOptions(include_usage=True)  # type: ignore[assignment]
    left_out = _OURS if "stream_options" in engines else {*_OURS, "stream_options"}
    body = request.model_copy(update=engines)
    try:
        return body.model_dump_json(exclude_unset=True, exclude=left_out, by_alias=True).encode()
    except ValueError:
        raise invalid("a parameter holds half a character (a lone surrogate)") from None


def _success(reply: aiohttp.ClientResponse) -> bool:
    return 200 <= reply.status < 300


def _object(said: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(said)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _refusal(status: int, said: bytes) -> ApiError:
    if status in (429, 503):
        return unavailable("the model server is busy")
    if status >= 500:
        return ApiError(502, "the model server failed", kind="server_error", code="engine_failed")
    return refused_by_engine(said.decode("utf-8", "replace"))


def pictures_as_data(request: ChatRequest, packed: Mapping[str, str]) -> ChatRequest:
    """The same request with pictures' addresses replaced.

    Args:
        request: What a client asked.
        packed: Data URLs by the addresses that they replace.
    """
    if not packed:
        return request
    changed = request.model_copy(deep=True)
    for message in changed.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type == "image_url":
                part.image_url.url = packed.get(part.image_url.url, part.image_url.url)
    return changed
