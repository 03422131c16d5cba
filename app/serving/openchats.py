"""Conversations that are under way: a photo is decoded and looked at once, whatever a client replays.

A client sends the whole conversation again with each question. What was seen is found again by who asks, which photo,
which model and how the answer is limited, so nobody meets another's photo. All of it is in memory, within bounds, and
forgotten after a while; nothing is written to a disk.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gaea.app.serving.limits import Limits
from gaea.assistant import Chat

COPIES = 3
"""How often the pixels of an open photo are held: as opened, as a picture, and as the engine packs it, at most."""


@dataclasses.dataclass(frozen=True)
class Which:
    """What tells conversations apart: who asks, the model, the photo and how the answer is limited."""

    holder: str
    model: str
    sha256: str
    narrow: str
    disclosure: str


@dataclasses.dataclass(eq=False)
class _Kept:
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    chat: Chat | None = None
    used: float = 0.0
    size: int = 0


class OpenChats:
    """The conversations; may be used from several threads.

    Attributes:
        opened: Photos that were decoded and looked at.
        found: Times that this was not needed.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.opened = self.found = 0
        self._limits, self._clock = limits, clock
        self._kept: OrderedDict[Which, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def chat(self, which: Which, turns: Sequence[tuple[str, str]], open_: Callable[[], Chat]) -> Iterator[Chat]:
        """A conversation that went through the given turns; of the same photo, one at a time.

        What it finds out within the block is there for those who come later. Leave the block before the words are made.

        Args:
            which: Whose, and about what.
            turns: Earlier (question, answer) pairs.
            open_: Opens it, when it is not there.
        """
        kept = self._entry(which)
        with kept.lock:
            if kept.chat is None:
                try:
                    fresh = open_()
                except BaseException:
                    self._drop(which, kept)
                    raise
                self._count(opened=True)
            else:
                fresh = kept.chat
                self._count(opened=False)
            branch = copy.copy(fresh)  # shares what was seen, and has its own turns
            branch.turns = list(turns)
            yield branch
            kept.chat, kept.size = branch, COPIES * branch.photo.pixels.nbytes
        self.tidy()

    def tidy(self) -> None:
        """Forget what is idle for too long, and the oldest where there is too much."""
        now = self._clock()
        with self._lock:
            for which in [w for w, k in self._kept.items() if now - k.used > self._limits.chat_s]:
                del self._kept[which]
            while self._kept and (len(self._kept) > self._limits.chats or self.size > self._limits.chat_bytes):
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()

    @property
    def size(self) -> int:
        """Memory of the photos that are held, bytes, counted generously."""
        return sum(kept.size for kept in list(self._kept.values()))

    def __len__(self) -> int:
        return len(self._kept)

    def _entry(self, which: Which) -> _Kept:
        now = self._clock()
        with self._lock:
            kept = self._kept.get(which)
            if kept is None or (kept.chat is not None and now - kept.used > self._limits.chat_s):
                kept = self._kept[which] = _Kept()
            kept.used = now
            self._kept.move_to_end(which)
            return kept

    def _drop(self, which: Which, kept: _Kept) -> None:
        with self._lock:
            if self._kept.get(which) is kept:
                del self._kept[which]

    def _count(self, *, opened: bool) -> None:
        with self._lock:
            if opened:
                self.opened += 1
            else:
                self.found += 1


def fingerprint(data: bytes) -> str:
    """SHA-256 of a photo's bytes, as :class:`gaea.photo.Photo` has it."""
    return hashlib.sha256(data).hexdigest()


def limited_by(value: Any) -> str:
    """How an answer is limited, as text that differs when it does."""
    return repr(value)
