"""Runs many searches side by side, so that a model scores what all of them ask in one call.

A search of :mod:`gaea.decoding` asks for the next symbols of one photo and waits. Each search here runs in a thread of
its own that sleeps while it waits; when all have asked (or ended), one call answers them. The searches need not be of
one kind or depth, and each gives what it would have given alone. Only one thread ever runs, so nothing need be locked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from gaea.decoding import NextToken
from gaea.errors import InputError
from gaea.hilbert import IntArray
from gaea.sphere import FloatArray

Found = TypeVar("Found")


class ManyTokens(Protocol):
    """Scores the next symbol after prefixes of several photos; :meth:`gaea.locate.tokentree.TokenTree.log_probs`."""

    def __call__(self, pictures: IntArray, prefixes: IntArray) -> FloatArray:
        """Log-probabilities ``(n, 6)`` or ``(n, 16)`` for the photo ``(n,)`` and prefix ``(n, k)`` of each row."""


def lockstep(searches: Sequence[Callable[[NextToken], Found]], score: ManyTokens) -> list[Found]:
    """Run one search for each photo.

    Args:
        searches: Of the photos, in the order of the scorer's numbers; each is given a scorer of its own photo.
        score: Of all photos.

    Returns:
        What each search returned.

    Raises:
        InputError: There are no searches.
        Exception: The first that a search or the scorer raised; the other searches are ended.
    """
    if not searches:
        raise InputError("there is nothing to search: give one search for each photo")
    if len(searches) == 1:
        return [searches[0](lambda prefixes: score(np.zeros(len(prefixes), np.int64), prefixes))]
    turns = [_Turn(search) for search in searches]
    try:
        for turn in turns:
            turn.go_on(None)
        while waiting := [(at, turn.asked) for at, turn in enumerate(turns) if turn.asked is not None]:
            for at, rows in _answers(waiting, score):
                turns[at].go_on(rows)
    finally:
        for turn in turns:
            turn.end()
    return [turn.found for turn in turns]


def _answers(waiting: list[tuple[int, IntArray]], score: ManyTokens) -> list[tuple[int, FloatArray]]:
    """One call for each length that is asked for."""
    answered = []
    for length in sorted({asked.shape[1] for _, asked in waiting}):
        group = [(at, asked) for at, asked in waiting if asked.shape[1] == length]
        sizes = [len(asked) for _, asked in group]
        photos = np.repeat([at for at, _ in group], sizes)
        rows = score(photos, np.concatenate([asked for _, asked in group]))
        parts = np.split(rows, np.cumsum(sizes)[:-1])
        answered += [(at, part) for (at, _), part in zip(group, parts, strict=True)]
    return answered


class _Ended(BaseException):
    """Unwinds a search that nobody waits for any more."""


class _Turn:
    """One search in its thread, which runs only while :meth:`go_on` waits for it."""

    def __init__(self, search: Callable[[NextToken], Any]) -> None:
        self.asked: IntArray | None = None
        self.found: Any = None
        self._answer: FloatArray | None = None
        self._error: BaseException | None = None
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._over = self._ending = False
        self._thread = threading.Thread(target=self._run, args=(search,), daemon=True)
        self._thread.start()

    def go_on(self, answer: FloatArray | None) -> None:
        """Let the search run until it asks again or ends; raises what it raised."""
        self._answer, self.asked = answer, None
        self._mine.release()
        self._theirs.acquire()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Make sure that the thread is gone."""
        if not self._over:
            self._ending = True
            self._mine.release()
        self._thread.join()

    def _run(self, search: Callable[[NextToken], Any]) -> None:
        self._mine.acquire()
        try:
            if not self._ending:
                self.found = search(self._ask)
        except _Ended:
            pass
        except Exception as error:
            self._error = error
        self._over = True
        self._theirs.release()

    def _ask(self, prefixes: IntArray) -> FloatArray:
        self.asked = prefixes
        self._theirs.release()
        self._mine.acquire()
        if self._ending or self._answer is None:
            raise _Ended
        return self._answer
