"""Where a request's pictures come from, and what was found of them: data URLs, or addresses of listed hosts.

A bare engine opens what it is passed by itself, so its pictures are opened here, too. A client sends the whole
conversation again with each question, its picture with it; that it was opened once is remembered by its SHA-256, for
whoever sent it, and for as long as conversations are.

What is new is opened before the engine gets it, except for small JPEGs: once the size in their headers is known, they
may be opened while the engine works. Nothing that the engine makes of them is told before that is done.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.jpeghead import jpeg_size
from gaea.app.serving.limits import Limits
from gaea.app.serving.problems import invalid
from gaea.photo import check_picture
from gaea.source import read_source

REMEMBERED = 1024
"""Pictures whose hashes are kept, 32 bytes each."""

_AT_ONCE = 2**20  # characters that are hashed on the spot, in less time than another thread takes to begin
_FEW_PIXELS = 2**22  # of all new pictures of a request together, that the engine may have before they were opened


@dataclasses.dataclass(frozen=True)
class Looked:
    """What came of a look at a request's pictures.

    Attributes:
        packed: What the engine is sent in place of addresses: those that were fetched, as data URLs.
        rest: Does the rest of the check, and raises what :meth:`Pictures.checked` does; None where nothing is left.
            To be waited for before anything of a reply is told.
    """

    packed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rest: Callable[[], Awaitable[object]] | None = None


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

    async def checked(self, urls: Sequence[str], holder: str) -> Looked:
        """See to it that all of them are pictures of a size that may be opened.

        Args:
            urls: As a client sent them.
            holder: Who sent them: what one client showed, no other can find out.

        Raises:
            ApiError, PhotoError: 400, one is none, too large, or not from a listed host.
        """
        sent = [(url, await self.bytes_of(url)) for url in dict.fromkeys(urls)]
        short = all(_is_data(url) for url, _ in sent) and sum(len(url) for url, _ in sent) < _AT_ONCE
        if short:
            sent = [(url, read) for url, read in sent if not self._remembers(_key(url, holder))]
        if not sent:
            return Looked()
        if short and self._may_go_ahead([url for url, _ in sent]):
            return Looked(rest=lambda: asyncio.to_thread(self._opened, sent, holder))
        return Looked(await asyncio.to_thread(self._opened, sent, holder))

    def tidy(self) -> None:
        """Forget what is too long ago."""
        with self._lock:
            now = self._clock()
            for key in [key for key, seen in self._known.items() if now - seen > self._limits.chat_s]:
                del self._known[key]

    def _may_go_ahead(self, urls: Sequence[str]) -> bool:
        """Whether all are small JPEGs by their headers, of a shape that would not be refused."""
        limits, pixels = self._limits.photo, 0
        for url in urls:
            width, height = jpeg_size(url) or (0, 0)
            if not 0 < max(width, height) <= limits.max_aspect * min(width, height):
                return False
            pixels += width * height
        return pixels <= min(_FEW_PIXELS, limits.max_pixels)

    def _opened(self, sent: Sequence[tuple[str, Callable[[], bytes]]], holder: str) -> dict[str, str]:
        fetched = {}
        for url, read in sent:
            key = _key(url, holder) if _is_data(url) else None
            if key is not None and self._remembers(key):
                continue
            data = read()
            check_picture(data, limits=self._limits.photo, name="image_url")
            self.opened += 1
            if key is not None:
                self._remember(key)
            else:
                fetched[url] = as_data_url(data)
        return fetched

    def _remembers(self, key: bytes) -> bool:
        with self._lock:
            seen = self._known.get(key)
            if seen is None or self._clock() - seen > self._limits.chat_s:
                return False
            self._known[key] = self._clock()
            self._known.move_to_end(key)
            return True

    def _remember(self, key: bytes) -> None:
        with self._lock:
            self._known[key] = self._clock()
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
