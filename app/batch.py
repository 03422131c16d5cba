"""Many photos, one after the other and several at a time: each becomes an answer or a line saying why not."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from gaea.answer import Answer
from gaea.app.journal import Journal, stamp
from gaea.app.listing import Listed
from gaea.errors import GaeaError, ModelError, PhotoError, first_line

MOST_IN_A_ROW = 8
"""So many failures of the model one after the other end a batch: they are not the photos' fault."""

_RECENT = 32  # photos whose pace the time left is told by


@dataclasses.dataclass
class Progress:
    """How far a batch is.

    Attributes:
        total: Photos in all.
        known: Photos that the journal knew already.
        done: Photos answered in this run, or found to be no photos.
        failed: Photos of this run or an earlier one without an answer.
    """

    total: int
    known: int = 0
    done: int = 0
    failed: int = 0
    _ends: collections.deque[float] = dataclasses.field(default_factory=lambda: collections.deque(maxlen=_RECENT + 1))

    def begin(self, now: float) -> None:
        """Start the clock, in seconds."""
        self._ends.append(now)

    def end_one(self, now: float) -> None:
        """One more is done."""
        self.done += 1
        self._ends.append(now)

    @property
    def per_second(self) -> float | None:
        """Photos a second of late; None before the first."""
        if len(self._ends) < 2 or self._ends[-1] <= self._ends[0]:
            return None
        return (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at that pace."""
        pace = self.per_second
        return None if pace is None else (self.total - self.known - self.done) / pace

    def line(self) -> str:
        """The same in words."""
        parts = [f"{self.known + self.done:,} of {self.total:,}"]
        if self.per_second is not None and self.seconds_left is not None:
            parts += [f"{self.per_second:.2g} a second", f"{duration(self.seconds_left)} left"]
        if self.failed:
            parts.append(f"{self.failed:,} without an answer")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``3 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


Ask = Callable[[Listed], Answer]


def run(
    listed: Sequence[Listed],
    ask: Ask,
    journal: Journal,
    *,
    workers: int = 2,
    tell: Callable[[Progress], None] = lambda _: None,
    limit: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Answer | str]:
    """Ask about every photo that the journal does not know, and keep each answer in it at once.

    A photo that cannot be read is kept as a refusal. What fails for another reason, such as a server that is down, is
    told but not kept, so that the next run tries it again.

    Args:
        listed: The photos.
        ask: Gives the answer about one; called from several threads.
        journal: What is known, and where answers go.
        workers: Photos under way at the same time.
        tell: Called after every photo.
        limit: Ask about so many at most.
        clock: Seconds.

    Returns:
        In the order of ``listed``: the answer, or why there is none; of photos beyond the limit an empty reason.

    Raises:
        InputError: The journal cannot be written.
        ModelError: Too many failures in a row that are not the photos'.
    """
    told: dict[int, Answer | str] = {}
    for number, one in enumerate(listed):
        known = journal.find(one.path)
        if known is not None:
            told[number] = known
    progress = Progress(len(listed), known=len(told), failed=sum(isinstance(each, str) for each in told.values()))
    open_ = collections.deque(number for number in range(len(listed)) if number not in told)
    if limit is not None:
        open_ = collections.deque(list(open_)[:limit])
    stopping, in_a_row = threading.Event(), 0

    def work(number: int) -> tuple[int, Answer | str, Exception | None]:
        if stopping.is_set():
            return number, "", None
        one = listed[number]
        seen = stamp(one.path)
        try:
            outcome: Answer | str = ask(one)
        except PhotoError as error:
            outcome = first_line(error)
        # Whatever a photo does to a decoder or a model, the others are still to be asked about.
        except Exception as error:
            return number, first_line(error) if isinstance(error, GaeaError) else _unforeseen(error), error
        journal.add(one.path, outcome, seen)
        return number, outcome, None

    progress.begin(clock())
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="gaea locate") as pool:
        running: set[Future[tuple[int, Answer | str, Exception | None]]] = set()
        try:
            while open_ or running:
                while open_ and len(running) < workers:
                    running.add(pool.submit(work, open_.popleft()))
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    number, outcome, fault = future.result()
                    told[number] = outcome
                    in_a_row = in_a_row + 1 if fault is not None else 0
                    progress.failed += isinstance(outcome, str)
                    progress.end_one(clock())
                    tell(progress)
                    if in_a_row >= MOST_IN_A_ROW:
                        raise ModelError(f"{in_a_row} photos in a row failed, the last one so: {outcome}") from fault
        except BaseException:
            stopping.set()
            open_.clear()
            raise
    return [told.get(number, "") for number in range(len(listed))]


def _unforeseen(error: Exception) -> str:
    return f"unforeseen {type(error).__name__}: {first_line(error)}"
