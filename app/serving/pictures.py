"""Where a request's pictures come from, and what was found of them: data URLs, or addresses of listed hosts.

A bare engine opens what it is passed by itself, so its pictures are opened here first. A client sends the whole
conversation again with each question, its picture with it; that it was opened once is remembered by its SHA-256, for
whoever sent it, and for as long as conversations are.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.limits import Limits
from gaea.app.serving.problems import invalid
from gaea.photo import read_picture
from gaea.source import read_source

REMEMBERED = 1024
"""Pictures whose hashes are kept, 32 bytes each."""

_AT_ONCE = 2**20  # characters that are hashed on the spot, in less time than another thread takes to begin


class Pictures:
    """The pictures of a server's requests; lives in one event loop.

    Args:
        limits: How large they may be, and for how long they are remembered.
        fetcher: Gets those of listed hosts.
        clock: Seconds.

    Attributes:
        opened: Pictures that were decoded to see what they are, before an engine was passed them.
    """

    def __init__(self, limits: Limits, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic) -> None:
        self.opened = 0
        self._limits, self._fetcher, self._clock = limits, fetcher, clock
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    async def bytes_of(self, url: str) -> Callable[[], bytes]:
        """How a worker gets a picture's bytes; what has to come over the network is fetched here.

        Raises:
            ApiError: 400, it is no data URL, and not from a listed host.
        """
        if _is_data(url):
            return lambda: data_of(url, self._limits)
        if url[:5].lower() not in ("http:", "https"):
            raise invalid(
                "image_url: expected a data URL such as data:image/jpeg;base64,…", "messages", "image_url_refused"
            )
        data = await self._fetcher.fetch(url)
        return lambda: data

    async def checked(self, urls: Sequence[str], holder: str) -> dict[str, str]:
        """See to it that all of them are pictures of a size that may be opened.

        Args:
            urls: As a client sent them.
            holder: Who sent them: what one client showed, no other can find out.

        Returns:
            What the engine is sent in place of addresses: those that were fetched, as data URLs.

        Raises:
            ApiError, PhotoError: 400, one is none, too large, or not from a listed host.
        """
        sent = [(url, await self.bytes_of(url)) for url in dict.fromkeys(urls)]
        if all(_is_data(url) for url, _ in sent) and sum(len(url) for url, _ in sent) < _AT_ONCE:
            sent = [(url, read) for url, read in sent if not self._remembers(url, holder)]
        if not sent:
            return {}
        return await asyncio.to_thread(self._opened, sent, holder)

    def tidy(self) -> None:
        """Forget what is too long ago."""
        with self._lock:
            now = self._clock()
            for key in [key for key, seen in self._known.items() if now - seen > self._limits.chat_s]:
                del self._known[key]

    def _opened(self, sent: Sequence[tuple[str, Callable[[], bytes]]], holder: str) -> dict[str, str]:
        fetched = {}
        for url, read in sent:
            if _is_data(url) and self._remembers(url, holder):
                continue
            data = read()
            read_picture(data, limits=self._limits.photo, name="image_url")
            self.opened += 1
            if _is_data(url):
                self._remember(url, holder)
            else:
                fetched[url] = as_data_url(data)
        return fetched

    def _remembers(self, url: str, holder: str) -> bool:
        key = _key(url, holder)
        with self._lock:
            seen = self._known.get(key)
            if seen is None or self._clock() - seen > self._limits.chat_s:
                return False
            self._known[key] = self._clock()
            self._known.move_to_end(key)
            return True

    def _remember(self, url: str, holder: str) -> None:
        with self._lock:
            self._known[_key(url, holder)] = self._clock()
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def data_of(url: str, limits: Limits) -> bytes:
    """The bytes of a data URL.

    Raises:
        PhotoError: It is none, or too large.
    """
    data, _ = read_source(url, limits.photo)
    return data


def as_data_url(data: bytes) -> str:
    """A picture's bytes as a data URL."""
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def _key(url: str, holder: str) -> bytes:
    return hashlib.sha256(f"{holder}\n{url}".encode()).digest()
