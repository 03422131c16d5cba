"""A connection to a model server: JSON goes out, JSON comes back, and a server that is busy is given time.

What can go wrong on the way becomes one line: no server, no answer in time, an answer that is not JSON, or a refusal,
with the server's own reason where it gave one in OpenAI's form.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from gaea.errors import MissingDependencyError, ModelError, first_line

MOST_AT_ONCE = 16
"""Requests under way at the same time."""

END: dict[str, Any] = {}
"""What a stream of events ends with where the server said ``[DONE]``: this very object."""

BUSY = (429, 503)
LONGEST_WAIT_S = 30.0
_WAITS_S = (0.5, 1.0, 2.0, 4.0)
"""Between the tries, where a busy server does not say how long it wants to be left alone."""

_DRAIN_S = 1.0
"""How long a server may take to end a reply after its last event, before its connection is given up."""


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

    def events(
        self, path: str, body: dict[str, Any], *, hang_up: Callable[[Callable[[], None] | None], None] | None = None
    ) -> Generator[dict[str, Any]]:
        """Send a JSON object and fetch JSON objects as the server sends them; :data:`END` stands for its ``[DONE]``.

        A server that answers with one object instead of a stream of events sends that one. Closing the iterator closes
        the connection, by which the server learns that nobody listens; who asks on after :data:`END` gets no more, but
        lets the connection serve others.

        Args:
            path: As for :meth:`get`.
            body: What is sent.
            hang_up: Given, once the server has begun to answer, a function that ends the answer from another thread,
                even while the server is silent; and None when the connection is about to serve others.

        Raises:
            NoReplyError: As :meth:`post`.
            ModelError: The server cannot be reached, fell silent, or broke off in the middle of an event.
        """
        import httpx

        url, failed = self._at(path)
        ended = False

        def shut(stream: Any) -> None:
            nonlocal ended
            ended = True
            # Closing a socket does not wake who reads from it; shutting it down does.
            with contextlib.suppress(OSError, AttributeError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

        told = hang_up or (lambda _: None)
        try:
            with self._opened(url, body) as reply, contextlib.ExitStack() as before_closing:
                told(lambda: shut(reply.extensions.get("network_stream")))
                before_closing.callback(told, None)
                if not reply.is_success or "event-stream" not in reply.headers.get("Content-Type", ""):
                    reply.read()
                    yield self._object(reply, failed)
                    return
                chunks = reply.iter_bytes()
                for data in _data(chunks):
                    if data == b"[DONE]":
                        told(None)
                        ended = True
                        yield END
                        self._drain(reply, chunks, shut)
                        return
                    try:
                        event = json.loads(data)
                    except ValueError as error:
                        raise ModelError(f"{failed}: an event that is no JSON") from error
                    yield event if isinstance(event, dict) else {}
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            if not ended:
                raise ModelError(f"{failed}: {first_line(error)}") from error

    def close(self) -> None:
        """Let go of the sockets."""
        self._client.close()

    def _at(self, path: str) -> tuple[Any, str]:
        """The URL of a path, and how a message about it begins."""
        # What lies beside /v1 is under the same prefix, which a gateway may have put before both.
        folder = self._base.path.removesuffix("/v1") if path[:1] == "/" else self._base.path.rstrip("/") + "/"
        url = self._base.copy_with(path=folder + path)
        return url, f"no usable reply from {url.copy_with(userinfo=b'')}"

    @staticmethod
    def _drain(reply: Any, chunks: Iterator[bytes], shut: Callable[[Any], None]) -> None:
        """Read what ends a reply, so that its connection can be used again; not where it ends with the connection."""
        if "Transfer-Encoding" not in reply.headers:
            return
        late = threading.Timer(_DRAIN_S, shut, [reply.extensions.get("network_stream")])
        late.start()
        try:
            for _ in chunks:
                pass
        finally:
            late.cancel()

    @contextlib.contextmanager
    def _opened(self, url: Any, body: dict[str, Any]) -> Iterator[Any]:
        """A reply whose headers have come; a busy server is asked again, as by :meth:`post`."""
        for wait_s in (*_WAITS_S, None):
            with self._client.stream("POST", url, json=body) as reply:
                if reply.status_code not in BUSY or wait_s is None:
                    yield reply
                    return
                asked = reply.headers.get("Retry-After")
            time.sleep(_asked_to_wait_s(asked, wait_s))

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        import httpx

        url, failed = self._at(path)
        try:
            reply = self._client.request(method, url, json=body)
            for wait_s in _WAITS_S:
                if reply.status_code not in BUSY:
                    break
                time.sleep(_asked_to_wait_s(reply.headers.get("Retry-After"), wait_s))
                reply = self._client.request(method, url, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ModelError(f"{failed}: {first_line(error)}") from error
        return self._object(reply, failed)

    @staticmethod
    def _object(reply: Any, failed: str) -> dict[str, Any]:
        """The JSON object of a reply."""
        try:
            content = reply.json()
        except ValueError as error:
            raise NoReplyError(f"{failed}: HTTP {reply.status_code}, and no JSON", reply.status_code) from error
        if not reply.is_success:
            raise NoReplyError(f"{failed}: HTTP {reply.status_code}{reason(content)}", reply.status_code)
        return content if isinstance(content, dict) else {}


def _data(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What stands behind ``data:`` in a stream of server-sent events, a line each; a last half line is dropped.

    Split as bytes, because what splits text also splits at characters that JSON leaves as they are (U+2028).
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()


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


def reason(said: Any) -> str:
    """What the server says of its refusal, in OpenAI's form or FastAPI's; empty where it says nothing."""
    said = said.get("error", said.get("detail")) if isinstance(said, dict) else None
    said = said.get("message") if isinstance(said, dict) else said
    return ": " + " ".join(said.split())[:300] if isinstance(said, str) and said.strip() else ""
