"""A server in this process, over nano or over an engine that speaks as slowly as a test wants."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image

import gaea
from gaea.app.serving.application import application
from gaea.app.serving.backends import NANO_NAME, served_as
from gaea.app.serving.fetch import Fetcher
from gaea.app.serving.service import Service, ServiceConfig
from gaea.assistant import Assistant
from gaea.calibration import Calibration
from gaea.engine import Sight


def data_url(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(packed.getvalue()).decode()


def asked(url: str, question: str = "Where is this?", **more: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": NANO_NAME, "messages": [{"role": "user", "content": parts}], **more}


def plain(shade: int = 120) -> str:
    return data_url(Image.new("RGB", (64, 48), (shade, 100, 80)))


def until(true: Any) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


class Speaker:
    """An engine that says a word at a time, and remembers how often it looked, spoke, and was stopped."""

    name = "speaker"
    has_geotokens = False

    def __init__(self, words: Sequence[str] = ("perhaps ", "in ", "a ", "desert"), pause_s: float = 0.0) -> None:
        self.words, self.pause_s = list(words), pause_s
        self.seen = self.spoken = self.stopped = 0
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.heard: list[Any] = []
        self.fails: Exception | None = None

    def see(self, image: Image.Image) -> Sight:
        self.seen += 1
        return Sight(image, {})

    def complete(self, messages: Any, sight: Sight, *, max_new_tokens: int = 160) -> str:
        return '{"candidates": [{"place": "Faya, Chad", "lat": 18, "lon": 19, "radius_km": 200, "probability": 0.9}]}'

    def stream(
        self, messages: Any, sight: Sight, *, max_new_tokens: int = 160, stopped: Callable[[], bool] | None = None
    ) -> Iterator[str]:
        self.heard.append(messages)
        if self.fails is not None:
            raise self.fails
        for word in self.words:
            self.began.set()
            while not self.go_on.wait(0.01):
                if stopped is not None and stopped():
                    break
            if stopped is not None and stopped():
                self.stopped += 1
                return
            time.sleep(self.pause_s)
            yield word
        self.spoken += 1

    def scorer(self, messages: Any, sight: Sight) -> Any:
        raise NotImplementedError


class Behind:
    """A backend of given assistants, whose state a test can change."""

    def __init__(self, models: Mapping[str, Assistant], url: str | None = None, api_key: str | None = None) -> None:
        self.models, self.now = models, "ready"
        self.url, self.api_key = url, api_key

    def load(self) -> Mapping[str, Assistant]:
        return self.models

    def state(self) -> Any:
        return self.now

    def restarts(self) -> int:
        return 0

    def close(self) -> None:
        self.now = "stopped"


@dataclasses.dataclass
class Running:
    url: str
    service: Service

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, trust_env=False, **options)


@contextlib.contextmanager
def serving(
    models: Mapping[str, Assistant],
    config: ServiceConfig | None = None,
    *,
    fetcher: Fetcher | None = None,
    engine: tuple[str | None, str | None] = (None, None),
) -> Iterator[Running]:
    service = Service(config or ServiceConfig(), Behind(models, *engine), fetcher=fetcher)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(service), log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=10)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not (server.started and service.models) and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", service)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="session")
def nano() -> Assistant:
    return served_as(gaea.load(store="memory"), NANO_NAME)


@pytest.fixture(scope="session")
def nano_server(nano: Assistant) -> Iterator[Running]:
    with serving({NANO_NAME: nano}) as running:
        yield running


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
def speaking(speaker: Speaker) -> Assistant:
    return Assistant(speaker, None, Calibration(), {"model": NANO_NAME})  # type: ignore[arg-type]
