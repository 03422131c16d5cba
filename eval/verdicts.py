"""What was said of an answer, by whom, and why; kept so that nothing is asked twice and every mark can be looked up.

Marks go from 0 to 10. Whatever failed on the way (prose instead of JSON, a timeout, HTTP 500 …) is a verdict too: it
marks 0, and its outcome names the failure, so that nothing is dropped in silence.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gaea.errors import InputError

VERDICTS = "verdicts.jsonl"
"""Of a run's folder."""

MOST = 10.0
PARSER, LEXICAL = "parser", "lexical"
"""Names of the judges that are no model."""

Outcome: TypeAlias = Literal[
    "judged", "parsed", "lexical", "no answer", "unparsable", "no reference",
    "prose", "off schema", "truncated", "timeout", "http error", "unreachable", "unusable reply",
]  # fmt: skip
GOOD: tuple[str, ...] = ("judged", "parsed", "lexical")
PASSING: tuple[str, ...] = ("timeout", "http error", "unreachable")
"""Failures of the way, not of what was said: they are asked again when judging goes on."""

Probe: TypeAlias = Literal["", "swapped", "longer"]


@dataclass(frozen=True)
class Verdict:
    """One mark.

    Attributes:
        item: The item's id.
        question_type: Of the item.
        judge: :data:`PARSER`, :data:`LEXICAL` or a model's name.
        mark: 0 to 10; 0 wherever ``outcome`` is no good one.
        outcome: How it came about, or what failed.
        parts: Marks of single criteria.
        detail: What was parsed, why not, or the judge's reason.
        probe: ``swapped`` was shown the answer before the reference, ``longer`` the answer said twice.
        key: Of everything that the mark depends on; see :func:`key_of`.
        words: Of the answer.
    """

    item: str
    question_type: str
    judge: str
    mark: float
    outcome: Outcome
    parts: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""
    probe: Probe = ""
    key: str = ""
    words: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.mark <= MOST or (self.mark and self.outcome not in GOOD):
            raise InputError(f"a mark of {self.mark} for '{self.outcome}'; expected 0 to 10, and 0 for what failed")


def key_of(judge: str, prompt_sha256: str, told: Mapping[str, Any]) -> str:
    """Hash of judge, prompt, and all that is shown of an item: the same key, the same verdict."""
    whole = json.dumps([judge, prompt_sha256, told], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


class VerdictBook:
    """Verdicts in a file, one line each, added to as they come; may be used from several threads.

    A torn last line, which a kill leaves, is cut off. Failures of the way are kept, but not found again.

    Args:
        path: The file; made where there is none.

    Raises:
        InputError: It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._held: dict[str, Verdict] = {}
        self.broken = 0
        try:
            held = path.read_bytes() if path.exists() else b""
            whole = held[: held.rfind(b"\n") + 1]
            for line in whole.decode("utf-8").splitlines():
                self._take(line)
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot hold verdicts: {error}") from error

    def get(self, key: str) -> Verdict | None:
        """The verdict of a key, if it was given."""
        found = self._held.get(key)
        return None if found is None or found.outcome in PASSING else found

    def add(self, verdict: Verdict) -> None:
        """Keep one, and bring it to the file."""
        line = json.dumps(asdict(verdict), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        with self._lock:
            self._held[verdict.key] = verdict
            self._file.write(line.encode())
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> VerdictBook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, line: str) -> None:
        try:
            verdict = Verdict(**json.loads(line))
        except (ValueError, TypeError):
            self.broken += 1
            return
        self._held[verdict.key] = verdict


def read_verdicts(path: Path) -> tuple[Verdict, ...]:
    """The last verdict of each key, in the order of the file; () where there is no file."""
    if not path.exists():
        return ()
    with VerdictBook(path) as book:
        return tuple(book._held.values())


def outcomes(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How often each outcome came, and of those that failed why, most frequent first."""
    listed = [
        v.outcome if v.outcome in GOOD else f"{v.outcome}: {v.detail}" if v.detail else v.outcome for v in verdicts
    ]
    return {name: listed.count(name) for name in sorted(set(listed), key=lambda each: (-listed.count(each), each))}
