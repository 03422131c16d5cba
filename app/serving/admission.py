"""Back-pressure: so many requests at work, so many waiting, and one more is told when to come back."""

from __future__ import annotations

import asyncio
import time

from gaea.app.serving.limits import Limits
from gaea.app.serving.problems import ApiError, unavailable

FIRST_GUESS_S = 1.0
_MOST_RETRY_S = 60.0
_SMOOTHING = 0.2


class Admission:
    """The door to the engine; lives in one event loop.

    Attributes:
        inside: Requests that were let in and have not left: at work, waiting, or still arriving.
        working: Those at work.
    """

    def __init__(self, limits: Limits) -> None:
        self.inside = self.working = 0
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.parallel)
        self._takes_s = FIRST_GUESS_S

    @property
    def waiting(self) -> int:
        """Requests that are not at work yet."""
        return self.inside - self.working

    def enter(self) -> Ticket:
        """Let a request in.

        Raises:
            ApiError: 429, with the time after which a place should be free.
        """
        if self.inside >= self._limits.parallel + self._limits.waiting:
            raise ApiError(
                429,
                f"{self.working} requests are at work and {self.waiting} wait; come back later",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                retry_s=self.retry_s,
            )
        self.inside += 1
        return Ticket(self)

    @property
    def retry_s(self) -> float:
        """How long it should take to work off what waits now."""
        return min(_MOST_RETRY_S, self._takes_s * (self.waiting + 1) / self._limits.parallel)

    def _worked(self, seconds: float) -> None:
        self._takes_s += _SMOOTHING * (seconds - self._takes_s)


class Ticket:
    """One request's place.

    Attributes:
        handed_on: Whether a worker has taken it over, who then leaves for it.
    """

    def __init__(self, admission: Admission) -> None:
        self.handed_on = False
        self._admission = admission
        self._began: float | None = None
        self._left = False

    async def turn(self) -> None:
        """Wait until it may work.

        Raises:
            ApiError: 503, it waited for too long.
        """
        door = self._admission
        try:
            async with asyncio.timeout(door._limits.wait_s):
                await door._turns.acquire()
        except TimeoutError:
            raise unavailable("this request waited too long for its turn", door.retry_s) from None
        self._began = time.monotonic()
        door.working += 1

    def leave(self) -> None:
        """Give the place up; more than once does no harm."""
        if self._left:
            return
        self._left = True
        self._admission.inside -= 1
        if self._began is not None:
            self._admission.working -= 1
            self._admission._worked(time.monotonic() - self._began)
            self._admission._turns.release()
