"""The server's one long-lived value: how it behaves, what it counts and keeps, and the loaded assistants."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import gaea
from gaea.app.serving.access import Keys
from gaea.app.serving.admission import Admission
from gaea.app.serving.backends import Backend
from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.limits import Limits
from gaea.app.serving.metrics import Metrics
from gaea.app.serving.openchats import OpenChats
from gaea.app.serving.passing import PREFIX, Passing
from gaea.app.serving.pictures import Pictures
from gaea.app.serving.problems import unavailable
from gaea.app.serving.tokencount import TokenCounter
from gaea.assistant import Assistant
from gaea.errors import GaeaError

TIDY_S = 15.0
STARTING_RETRY_S = 10.0

log = logging.getLogger("gaea.server")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """How the server behaves, apart from its engine.

    Attributes:
        keys: Who may ask.
        limits: What may be asked.
        image_hosts: From where pictures may be fetched.
        origins: Web pages that may ask from a browser.
        pass_through: Whether the bare engine is served too.
        counted_as: Folder of the model whose vocabulary counts tokens.
    """

    keys: Keys = dataclasses.field(default_factory=Keys)
    limits: Limits = dataclasses.field(default_factory=Limits)
    image_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    pass_through: bool = False
    counted_as: str | None = None


class Service:
    """All of it.

    Args:
        config: How it behaves.
        backend: What runs behind it.
        fetcher: Gets pictures from listed hosts; one that follows ``config`` if left out.
        on_failure: Called once when the assistants cannot be loaded.

    Attributes:
        models: The assistants by name; empty until they are loaded.
        failure: Why they cannot be.
    """

    def __init__(
        self,
        config: ServiceConfig,
        backend: Backend,
        *,
        fetcher: Fetcher | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        limits = config.limits
        self.config, self.backend = config, backend
        self.models: Mapping[str, Assistant] = {}
        self.failure: GaeaError | None = None
        self.metrics, self.admission, self.chats = Metrics(), Admission(limits), OpenChats(limits)
        self.pictures = Pictures(limits, fetcher or Fetcher(config.image_hosts, limits.body_bytes))
        self.counter = TokenCounter(config.counted_as)
        self.executor = ThreadPoolExecutor(limits.parallel, "gaea-worker")
        self.passing: Passing | None = None
        self.fingerprint = f"gaea-{gaea.__version__}"
        self._on_failure = on_failure
        self._watch()

    @property
    def ready(self) -> bool:
        """Whether a question would be answered now."""
        return bool(self.models) and self.backend.state() == "ready"

    def check_ready(self) -> None:
        """Refuse at once what could not be answered.

        Raises:
            ApiError: 503.
        """
        if not self.models:
            raise unavailable("the model is being loaded", STARTING_RETRY_S)
        if self.backend.state() != "ready":
            raise unavailable("the model server is down and being started again", STARTING_RETRY_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load in the background, keep tidy, and let everything go at the end."""
        tasks = [asyncio.create_task(self._load()), asyncio.create_task(self._tidy())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if self.passing is not None:
                await self.passing.close()
            await asyncio.to_thread(self._close)
            await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        """The models that can be asked for."""
        bare = [PREFIX + name for name in self.models] if self.passing is not None else []
        return [*self.models, *bare]

    async def _load(self) -> None:
        try:
            loaded = await asyncio.to_thread(self.backend.load)
        except GaeaError as error:
            self.failure = error
            self._on_failure()
            return
        except Exception as error:
            log.exception("loading failed")
            self.failure = GaeaError(f"loading failed: {type(error).__name__}")
            self._on_failure()
            return
        if self.config.pass_through and self.backend.url is not None:
            self.passing = Passing(self.backend.url, self.backend.api_key)
        self.models = loaded
        log.info("ready: %s", ", ".join(self.names()))

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            self.chats.tidy()
            self.pictures.tidy()

    def _close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.backend.close()
        self.executor.shutdown(wait=True)
        self.chats.clear()

    def _watch(self) -> None:
        watch, door, chats = self.metrics.watch, self.admission, self.chats
        watch("gaea_working", "Requests at work", lambda: door.working)
        watch("gaea_waiting", "Requests that wait or arrive", lambda: door.waiting)
        watch("gaea_open_chats", "Conversations in memory", lambda: len(chats))
        watch("gaea_open_chat_bytes", "Memory of their photos, counted generously", lambda: chats.size)
        watch("gaea_photos_opened", "Photos decoded and looked at", lambda: chats.opened)
        watch("gaea_photos_found", "Questions whose photo was known already", lambda: chats.found)
        watch("gaea_ready", "1 when questions are answered", lambda: float(self.ready))
        watch("gaea_engine_restarts", "Restarts of the model server", self.backend.restarts)
