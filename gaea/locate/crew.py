"""Threads that share compiled work: one call is divided, and each thread does its part of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

import numpy as np

Part: TypeAlias = Callable[[int, int], Any]
"""Does one part of some work, given which and of how many; it lets go of the interpreter meanwhile."""
_Job: TypeAlias = tuple[Part, int, int, np.ndarray, list[BaseException]]


class Crew:
    """Helpers that stand by, since starting a thread takes as long as what they are to do.

    They are begun when first needed, again in a process that was forked off, and end with this object.
    """

    def __init__(self) -> None:
        self._process, self._orders = 0, list[SimpleQueue[_Job | None]]()
        self._one_at_a_time = threading.Lock()

    def work(self, part: Part, parts: int, gate: np.ndarray) -> Any:
        """Do all parts at the same time.

        Args:
            part: Called once for each of the parts; they may wait for each other.
            parts: 1 for this thread alone.
            gate: What they wait at, int64 (1,); where a part fails it becomes negative, and nobody is to wait any more.

        Returns:
            What part 0 returned, possibly while others still come to an end.

        Raises:
            BaseException: What a part raised.
        """
        faults: list[BaseException] = []
        with self._one_at_a_time:  # all helpers have to do things in the same order, or they would wait for each other
            for at, orders in enumerate(self._helpers(parts - 1), 1):
                orders.put((part, at, parts, gate, faults))
        try:
            found = part(0, parts)
        except BaseException:
            gate[0] = _NEVER
            raise
        if faults:
            raise faults[0]
        return found

    def _helpers(self, count: int) -> list[SimpleQueue[_Job | None]]:
        if self._process != os.getpid():
            self._process, self._orders = os.getpid(), []
        while len(self._orders) < count:
            orders: SimpleQueue[_Job | None] = SimpleQueue()
            threading.Thread(target=_stand_by, args=(orders,), name="gaea-crew", daemon=True).start()
            weakref.finalize(self, orders.put, None)
            self._orders.append(orders)
        return self._orders[:count]


_NEVER = np.iinfo(np.int64).min // 2
"""Negative, however often others still count."""


def _stand_by(orders: SimpleQueue[_Job | None]) -> None:
    while job := orders.get():
        part, at, parts, gate, faults = job
        try:
            part(at, parts)
        except BaseException as fault:  # it is raised where the work was asked for
            faults.append(fault)
            gate[0] = _NEVER
        del job, part, gate, faults  # nothing is kept while nothing is done
