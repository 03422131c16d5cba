"""A connection to a model server: JSON goes out, JSON comes back, and a server that is busy is given time.

What can go wrong on the way becomes one line: no server, no answer in time, an answer that is not JSON, or a refusal,
with the server's own reason where it gave one in OpenAI's form.
"""

from __future__ import annotations

import email.utils
import time
from typing import Any

from gaea.errors import MissingDependencyError, ModelError, first_line

MOST_AT_ONCE = 16
"""Requests under way at the same time."""

BUSY = (429, 503)
LONGEST_WAIT_S = 30.0
_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Between the tries, where a busy server does not say how long it wants to be left alone."""


class NoReplyError(ModelError):
    """The server answered, but not with success and JSON: it is busy for long, refuses, or has no such page.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One server; may be used from several threads.

    Args:
        url: Base URL. What it holds before an ``@`` is sent as credentials, and never shown.
        api_key: Sent as a bearer token where given.
        timeout_s: Longest silence of the server.

    Attributes:
        shown: The URL as it may be told to anybody.

    Raises:
        MissingDependencyError: httpx is not installed.
        ModelError: That is not a URL.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout_s: float = 120) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependencyError("--engine URL needs httpx: pip install 'gaea-geo[serve]'") from error
        try:
            self._base = httpx.URL(url.rstrip("/"))
            self._client = httpx.Client(
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=timeout_s,
                limits=httpx.Limits(max_connections=MOST_AT_ONCE, max_keepalive_connections=MOST_AT_ONCE),
            )
        except httpx.InvalidURL as error:
            raise ModelError(f"'{url}' is not a URL: {first_line(error)}") from error
        self.shown = str(self._base.copy_with(userinfo=b""))

    def get(self, path: str) -> dict[str, Any]:
        """Fetch a JSON object; anything else that is JSON counts as an empty one.

        Args:
            path: Under the base URL, or from the server's root where it begins with a slash.

        Raises:
            NoReplyError: The server answered without success, was too busy for too long, or wrote no JSON.
            ModelError: The server cannot be reached, or did not answer in time.
        """
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a JSON object and fetch one; see :meth:`get`."""
        return self._call("POST", path, body)

    def close(self) -> None:
        """Let go of the sockets."""
        self._client.close()

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        import httpx

        # What lies beside /v1 is under the same prefix, which a gateway may have put before both.
        folder = self._base.path.removesuffix("/v1") if path[:1] == "/" else self._base.path.rstrip("/") + "/"
        url = self._base.copy_with(path=folder + path)
        failed = f"no usable reply from {url.copy_with(userinfo=b'')}"
        try:
            reply = self._client.request(method, url, json=body)
            for wait_s in _WAITS_S:
                if reply.status_code not in BUSY:
                    break
                time.sleep(_asked_to_wait_s(reply.headers.get("Retry-After"), wait_s))
                reply = self._client.request(method, url, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ModelError(f"{failed}: {first_line(error)}") from error
        try:
            content = reply.json()
        except ValueError as error:
            raise NoReplyError(f"{failed}: HTTP {reply.status_code}, and no JSON", reply.status_code) from error
        if not reply.is_success:
            raise NoReplyError(f"{failed}: HTTP {reply.status_code}{_reason(content)}", reply.status_code)
        return content if isinstance(content, dict) else {}


def _asked_to_wait_s(retry_after: str | None, otherwise_s: float) -> float:
    """What a ``Retry-After`` header asks for, as seconds or as a date; at most :data:`LONGEST_WAIT_S`."""
    said = (retry_after or "").strip()
    if said.isdecimal():
        return min(float(said), LONGEST_WAIT_S)
    try:
        seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
    except ValueError:
        return otherwise_s
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _reason(said: Any) -> str:
    """What the server says of its refusal, in OpenAI's form or FastAPI's; empty where it says nothing."""
    said = said.get("error", said.get("detail")) if isinstance(said, dict) else None
    said = said.get("message") if isinstance(said, dict) else said
    return ": " + " ".join(said.split())[:300] if isinstance(said, str) and said.strip() else ""
