"""The engine itself, behind the same door: ``engine/NAME`` passes a conversation on as it is.

Off unless it is switched on, and only where disclosure is ``precise``: what a bare model says cannot be held to less.
Key, limits, queue and the checks of pictures are the same. Only parameters that this server knows are passed on, and
pictures only as data, so nothing reaches the engine that could make it fetch or do anything else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from gaea.app.serving.problems import GONE, ApiError, refused_by_engine, unavailable
from gaea.app.serving.schema import ChatRequest

PREFIX = "engine/"
_OURS = {"model", "gaea", "stream_options", "store", "metadata", "user", "safety_identifier", "service_tier"}


class Passing:
    """Passes requests on to one engine.

    Args:
        url: Its base URL.
        api_key: What it wants to be sent.
        timeout_s: Its longest silence.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float = 120.0) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            trust_env=False,
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """The engine's reply.

        Raises:
            ApiError: It refuses, or is not there.
        """
        try:
            reply = await self._client.post("chat/completions", json=_body(request))
        except httpx.HTTPError:
            raise unavailable(GONE) from None
        if not reply.is_success:
            raise _refusal(reply)
        content: dict[str, Any] = reply.json()
        return {**content, "model": request.model}

    async def stream(self, request: ChatRequest) -> AsyncIterator[bytes]:
        """The engine's events, as they come; the first ``await`` tells whether it takes the request."""
        sent = self._client.build_request("POST", "chat/completions", json=_body(request))
        try:
            reply = await self._client.send(sent, stream=True)
        except httpx.HTTPError:
            raise unavailable(GONE) from None
        if not reply.is_success:
            await reply.aread()
            await reply.aclose()
            raise _refusal(reply)
        return _pieces(reply)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


async def _pieces(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in reply.aiter_raw():
            yield piece
    except httpx.HTTPError:
        raise unavailable("the model server has gone in the middle of its reply") from None
    finally:
        await reply.aclose()  # so it hears that nobody listens


def _body(request: ChatRequest) -> dict[str, Any]:
    body = request.model_dump(exclude_unset=True, exclude=_OURS, by_alias=True)
    if request.stream and request.stream_options is not None and request.stream_options.include_usage:
        body["stream_options"] = {"include_usage": True}
    return {**body, "model": request.model.removeprefix(PREFIX)}


def _refusal(reply: httpx.Response) -> ApiError:
    if reply.status_code in (429, 503):
        return unavailable("the model server is busy")
    if reply.status_code >= 500:
        return ApiError(502, "the model server failed", kind="server_error", code="engine_failed")
    return refused_by_engine(reply.text)


def pictures_as_data(request: ChatRequest, packed: Callable[[str], str]) -> ChatRequest:
    """The same request with every picture's address replaced."""
    changed = request.model_copy(deep=True)
    for message in changed.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type == "image_url":
                part.image_url.url = packed(part.image_url.url)
    return changed
