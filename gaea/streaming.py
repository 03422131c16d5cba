"""Text as it is made: pieces that add up to the whole reply, made in a thread of their own and stopped on request.

What makes the text never waits for who reads it, so that a slow reader holds no lock of a model; who has read enough
closes the iterator, and the maker hears of it.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator

POLL_S = 0.05
"""So often a reader without news asks whether it should stop."""

UNFINISHED = "\ufffd"
"""What decoders write for a character of which bytes are still missing."""


class Listener:
    """Who a text is made for: takes pieces, and tells its maker when nobody wants more.

    Args:
        stopped: Asked by whoever reads and whoever makes the text; true ends it early.
    """

    def __init__(self, stopped: Callable[[], bool] | None = None) -> None:
        self.said: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self._stopped = stopped
        self._left = threading.Event()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def put(self, piece: str) -> None:
        """Hand over what is new."""
        self.said.put(piece)

    def end(self) -> None:
        """Tell the reader that all is said, while the maker may still have something to tidy up."""
        self.said.put(None)

    def enough(self) -> bool:
        """Whether nobody wants more."""
        return self._left.is_set() or (self._stopped is not None and self._stopped())

    def wake_by(self, wake: Callable[[], None] | None) -> None:
        """Give what ends the maker's waiting when the reader leaves; None once it is not to be called any more."""
        with self._lock:
            self._wake = wake
            if wake is not None and self._left.is_set():
                wake()

    def leave(self) -> None:
        """Want no more."""
        with self._lock:
            self._left.set()
            if self._wake is not None:
                self._wake()


def in_thread(make: Callable[[Listener], None], stopped: Callable[[], bool] | None = None) -> Iterator[str]:
    """Pieces of text that a function hands over from a thread of its own.

    Args:
        make: Called with the listener; returns when all is said, or soon after the listener has had enough.
        stopped: Asked often, from both threads; true ends the text early.

    Yields:
        Pieces in order, none empty.

    Raises:
        BaseException: Whatever ``make`` raises, after the pieces before it.
    """
    listener = Listener(stopped)

    def run() -> None:
        try:
            make(listener)
            listener.end()
        except BaseException as error:
            listener.said.put(error)

    threading.Thread(target=run, name="gaea reply").start()
    try:
        while not listener.enough():
            try:
                piece = listener.said.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            if piece:
                yield piece
    finally:
        listener.leave()


@dataclasses.dataclass
class Growing:
    """A text that is known from its beginning again and again, each time longer, handed on in pieces.

    The pieces add up to the whole text without the white space around it. A character of which bytes are missing is
    kept back, and so is white space that may turn out to be the last.

    Attributes:
        by_words: Keep the last word back as well; for decoders that mend what they wrote (``do n't`` to ``don't``).
    """

    by_words: bool = False
    _told: str = ""

    def grown(self, whole: str, *, done: bool = False) -> str:
        """What is new in a longer beginning of the text; everything that is left when it is ``done``."""
        ready = whole.strip() if done else whole.lstrip().rstrip(UNFINISHED).rstrip()
        if self.by_words and not done:
            ready = ready[: max((ready.rfind(c) for c in " \n\t"), default=0)].rstrip() if ready else ready
        if len(ready) <= len(self._told) or not ready.startswith(self._told):
            return ""
        piece = ready[len(self._told) :]
        self._told = ready
        return piece
