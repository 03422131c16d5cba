"""From a worker's thread to the event loop: what an iterator yields there is read here, and leaving stops it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.requests import Request

from gaea.app.serving.admission import Ticket
from gaea.app.serving.problems import LEFT, ApiError

T = TypeVar("T")
_END = object()


async def bridged(
    executor: Executor, make: Callable[[Callable[[], bool]], Iterator[T]], ticket: Ticket
) -> AsyncIterator[T]:
    """Iterate in a worker's thread.

    The place in the queue is given up when the worker is done, which may be after the reader has left: what is at work
    is counted as such.

    Args:
        executor: Where it runs.
        make: Makes the iterator, in that thread; given what tells whether the reader has left.
        ticket: The place.
    """
    loop, items, left = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event()

    def put(item: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(items.put_nowait, item)

    def work() -> None:
        try:
            if not left.is_set():
                for item in make(left.is_set):
                    put(item)
                    if left.is_set():
                        break
            put(_END)
        except BaseException as error:
            put(error)

    def leave(_: Any) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ticket.leave)

    ticket.handed_on = True
    try:
        executor.submit(work).add_done_callback(leave)
    except BaseException:
        ticket.leave()
        raise
    try:
        while (item := await items.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()


async def unless_left(request: Request, work: Awaitable[T]) -> T:
    """Wait for something as long as the client does.

    Raises:
        ApiError: 499, the client has left; the work was cancelled.
    """
    doing, watching = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ApiError(LEFT, "the client has left")
    finally:
        for each in (doing, watching):
            each.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
