"""OpenStreetMap around a point, asked of an Overpass server: politely, patiently, and once.

osmnx asks Overpass too, but changes settings and name resolution of the whole process, pauses a fixed minute on 429 and
504, and tries again without end; so the asking is done here, and what osmnx brings is read by
:func:`gaea.finetune.osm.from_geodataframe`. An answer is kept on disk by its question and never asked for again. The
public servers are shared by everybody: their usage policy wants a user agent that says who asks, few requests at a
time, and a pause where one is told to (https://dev.overpass-api.de/overpass-doc/en/preface/commons.html).
"""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaea.errors import GaeaError, InputError, MissingDependencyError, first_line
from gaea.finetune import categories
from gaea.finetune.osm import RADIUS_KM, Extract, collect
from gaea.finetune.overpass_json import elements
from gaea.sphere import validate_latlon

PUBLIC = "https://overpass-api.de/api/interpreter"
TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same question may be answered later."""


class OverpassError(GaeaError):
    """The server did not answer the question, and asking again now would not help."""


@dataclass(frozen=True)
class OverpassConfig:
    """How to ask.

    Attributes:
        url: Of the interpreter; a mirror or an own server works as well.
        cache: Folder of answers, one JSON file each; None keeps none.
        timeout_s: Longest silence of the server; it is told to give up within that time, too.
        attempts: How often one question is asked.
        pause_s: Shortest time between two requests.
        backoff_s: First wait after a refusal; doubles each time, plus up to half of it by chance.
        longest_wait_s: A server that wants to be left alone for longer is left alone: the question fails.
        most_bytes: Longest answer taken.
        contact: A mail address or page for the user agent, as the usage policy asks of heavy users.
    """

    url: str = PUBLIC
    cache: Path | None = None
    timeout_s: float = 60.0
    attempts: int = 5
    pause_s: float = 1.0
    backoff_s: float = 2.0
    longest_wait_s: float = 120.0
    most_bytes: int = 64 << 20
    contact: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"'{self.url}' is not an Overpass server: expected a URL that ends in /api/interpreter")
        if self.attempts < 1 or min(self.timeout_s, self.most_bytes) <= 0 or min(self.pause_s, self.backoff_s) < 0:
            raise InputError(
                "Overpass: expected attempts ≥ 1, positive timeout_s and most_bytes, and no negative pause"
            )


@dataclass(frozen=True)
class _Reply:
    """What came back; ``status`` is 0 where the server gave none that helps."""

    status: int = 0
    retry_after_s: float = 0.0
    fault: str = ""
    answer: dict[str, Any] | None = None


@dataclass(eq=False)
class Overpass:
    """One server, asked one question at a time; may be used from several threads.

    Attributes:
        config: How to ask.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.
        rng: Spreads the waits of many clients.
        asked: Requests sent so far.
    """

    config: OverpassConfig = field(default_factory=OverpassConfig)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    asked: int = 0

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._last = -float("inf")

    def around(
        self,
        lat: float,
        lon: float,
        radius_km: float = RADIUS_KM,
        *,
        translate: categories.Translator | None = None,
    ) -> Extract:
        """What the map knows within a distance of a point.

        Raises:
            InputError: A coordinate or the radius is not usable.
            OverpassError: No answer after all attempts, or a refusal that will not change.
            MissingDependencyError: httpx is not installed.
        """
        query = question(lat, lon, radius_km, self.config.timeout_s)
        answer = self._kept(query)
        if answer is None:
            with self._turn:
                answer = self._kept(query) or self._ask(query)
        return collect(f"overpass {lat:.5f},{lon:.5f}", elements(answer), translate=translate)

    # ── asking ──────────────────────────────────────────────────────────────

    def _ask(self, query: str) -> dict[str, Any]:
        said = ""
        for attempt in range(self.config.attempts):
            self.sleep(max(0.0, self._last + self.config.pause_s - self.clock()))
            reply = self._request(query)
            self._last = self.clock()
            if reply.answer is not None:
                self._keep(query, reply.answer)
                return reply.answer
            said = reply.fault
            if reply.status and reply.status not in TRANSIENT:
                raise OverpassError(f"{self.config.url} refuses the question with status {reply.status}: {said}")
            wait = min(self.config.backoff_s * 2**attempt * (1 + self.rng.random() / 2), self.config.longest_wait_s)
            wait = max(wait, reply.retry_after_s)
            if wait > self.config.longest_wait_s:
                raise OverpassError(f"{self.config.url} wants to be left alone for {wait:.0f} s: ask again later")
            if attempt + 1 < self.config.attempts:
                self.sleep(wait)
        raise OverpassError(
            f"{self.config.url} gave no answer in {self.config.attempts} attempts, last: {said}; "
            "ask again later, or read an extract from disk"
        )

    def _request(self, query: str) -> _Reply:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependencyError("asking Overpass needs httpx: pip install 'gaea-geo[osm]'") from error
        self.asked += 1
        config, deadline = self.config, self.clock() + 3 * self.config.timeout_s
        sent = {"data": {"data": query}, "headers": {"User-Agent": user_agent(config.contact)}}
        body = bytearray()
        try:
            with httpx.stream("POST", config.url, timeout=config.timeout_s, **sent) as reply:
                for piece in reply.iter_bytes():
                    body += piece
                    if len(body) > config.most_bytes:
                        raise OverpassError(
                            f"{config.url} sent more than {config.most_bytes:,} bytes: ask for a smaller radius"
                        )
                    if self.clock() > deadline:
                        return _Reply(fault="an answer that does not end")
        except httpx.TimeoutException:
            return _Reply(fault=f"silence for {config.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _Reply(fault=first_line(error))
        wanted = _retry_after(reply.headers.get("Retry-After", ""))
        if reply.status_code != 200:
            return _Reply(reply.status_code, wanted, _plain(body) or reply.reason_phrase)
        return _read(bytes(body), wanted)

    # ── keeping ─────────────────────────────────────────────────────────────

    def _path(self, query: str) -> Path | None:
        key = hashlib.sha256(f"{self.config.url}\n{query}".encode()).hexdigest()[:32]
        return None if self.config.cache is None else self.config.cache / f"{key}.json"

    def _kept(self, query: str) -> dict[str, Any] | None:
        path = self._path(query)
        if path is None or not path.is_file():
            return None
        try:
            kept = json.loads(path.read_text("utf-8"))
            return dict(kept["answer"]) if kept["query"] == query else None
        except (ValueError, KeyError, TypeError, OSError):
            return None  # damaged: it is asked for again and replaced

    def _keep(self, query: str, answer: Mapping[str, Any]) -> None:
        path = self._path(query)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
            told = {"url": self.config.url, "query": query, "asked": _now(), "answer": answer}
            fresh.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
            fresh.replace(path)
        except OSError as error:
            raise OverpassError(f"'{path.parent}' cannot keep answers: {first_line(error)}") from error


def question(lat: float, lon: float, radius_km: float = RADIUS_KM, timeout_s: float = 60.0) -> str:
    """Overpass QL for everything with a key of interest around a point; coordinates to 1 m, so that caches meet.

    Raises:
        InputError: A coordinate is out of range, or the radius is not between 0 and 10 km.
    """
    validate_latlon(lat, lon)
    if not 0 < radius_km <= 10:
        raise InputError(f"a radius of {radius_km} km is not usable: expected more than 0 and at most 10")
    where = f"(around:{radius_km * 1000:.0f},{float(lat):.5f},{float(lon):.5f})"
    wanted = "".join(f'nwr["{key}"]{where};' for key in categories.TAG_KEYS)
    return f"[out:json][timeout:{max(round(timeout_s), 1)}];({wanted});out geom;"


def user_agent(contact: str = "") -> str:
    """Who asks: project, version, and where to complain."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("gaea-geo")
    except PackageNotFoundError:
        number = "unknown"
    return f"gaea-geo/{number}" + (f" ({contact})" if contact else "")


def _read(body: bytes, wanted: float) -> _Reply:
    """An answer of status 200, which may still be none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return _Reply(0, wanted, f"an answer that is not JSON: {_plain(body)}")
    if not isinstance(answer, dict) or not isinstance(answer.get("elements"), list):
        return _Reply(0, wanted, "JSON without elements")
    # A query that ran out of time or memory is answered with 200, what was found so far, and a remark.
    if "error" in str(answer.get("remark", "")):
        return _Reply(0, wanted, str(answer["remark"])[:200])
    return _Reply(200, answer=answer)


def _retry_after(header: str) -> float:
    """Seconds, from either form of the header (RFC 9110 §10.2.3); 0 where it says nothing."""
    if header.strip().isdigit():
        return float(header)
    try:
        then = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _plain(body: bytes | bytearray) -> str:
    """The start of a page of text or HTML as one line."""
    return " ".join(re.sub(r"<[^>]{0,200}>", " ", bytes(body[:4000]).decode("utf-8", "replace")).split())[:160]
