"""The chat page on the shipped model, with what tests need: counts, a pause in the middle of an answer, hostile texts.

Run as ``python tests/browser/serve.py PORT [TILES]``. Nothing of the page itself is replaced; ``/test/...`` is added
beside it.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi.responses import JSONResponse
from gradio.state_holder import StateHolder

import gaea
from gaea.app import chat, chat_server
from gaea.app.chat_session import Sessions
from gaea.app.tiles import Tiles
from gaea.locate.neighbours import Neighbours

HOSTILE = (
    "<img src=x onerror=\"window.pwned='%s'\"> <script>window.pwned='%s'</script> ${window.pwned='%s'} {{this}} `"
    " ![x](http://192.0.2.1/%s.png) [x](javascript:window.pwned=1) $$\\href{javascript:window.pwned=1}{x}$$"
)


def hostile(where: str) -> str:
    """Text that would run, or fetch, wherever it is not escaped."""
    return HOSTILE.replace("%s", where)


class MeteredEngine:
    """The real engine, counted; it pauses after every piece while it is held."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.seen, self.held, self.stopped, self.hostile = 0, False, 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def see(self, image: Any) -> Any:
        self.seen += 1
        return self._engine.see(image)

    def stream(
        self, messages: Any, sight: Any, *, stopped: Callable[[], bool] | None = None, **rest: Any
    ) -> Iterator[str]:
        pieces = self._engine.stream(messages, sight, stopped=stopped, **rest)
        try:
            for piece in [hostile("model"), *pieces] if self.hostile else pieces:
                yield piece
                while self.held and not (stopped and stopped()):
                    time.sleep(0.02)
                if stopped and stopped():
                    break
        finally:  # also where it was stopped before there was a first piece, or closed while it held one
            if stopped and stopped():
                self.stopped += 1


class MeteredMemory:
    """The real memory, counted; its captions turn hostile on demand."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self.recalled, self.hostile = 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def recall(self, image: Any, **rest: Any) -> Neighbours:
        self.recalled += 1
        found = self._memory.recall(image, **rest)
        if not self.hostile:
            return found

        def turned(neighbours: Any) -> Any:
            return tuple(
                dataclasses.replace(n, text=hostile("text"), source=hostile("source"), credit=hostile("credit"))
                for n in neighbours
            )

        return Neighbours(turned(found.similar), turned(found.dissimilar))


def main(port: int, tiles: str | None = None) -> None:
    sessions: list[Sessions] = []

    class Watched(Sessions):
        def __init__(self) -> None:
            super().__init__()
            sessions.append(self)

    chat_session = sys.modules["gaea.app.chat_session"]
    chat_session.Sessions = Watched  # type: ignore[attr-defined]
    assistant = gaea.load(store="memory")  # no index to build first
    engine, memory = MeteredEngine(assistant.engine), MeteredMemory(assistant.memory)
    opened = chat_server.bound("127.0.0.1", port)
    app = chat.application(
        dataclasses.replace(assistant, engine=engine, memory=memory),
        hosts=chat_server.hosts_of("127.0.0.1"),
        tiles=Tiles(tiles, "© the makers of <b>tiles</b>") if tiles else None,
    )

    async def tested(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if not path.startswith("/test/"):
            await app(scope, receive, send)
            return
        _, _, name, value = f"{path}/".split("/")[:4]
        if name in ("held", "hostile"):
            setattr(engine, name, value == "1")
            memory.hostile = engine.hostile
        pages = sum(len(each.session_data) for each in gc.get_objects() if isinstance(each, StateHolder))
        counts = {"pages": pages, "seen": engine.seen, "recalled": memory.recalled, "stopped": engine.stopped}
        await JSONResponse({**counts, "sessions": len(sessions[0])})(scope, receive, send)

    uvicorn.Server(uvicorn.Config(tested, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[opened])


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
