"""One question answered: from the engine's pieces of text to what OpenAI's clients read.

:func:`events` runs in a worker's thread and hands over what happens; the rest are pure functions from answers to JSON.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gaea.app.serving.geolocation import geolocation
from gaea.app.serving.openchats import OpenChats, Which
from gaea.app.serving.schema import ChatRequest, ObjectFormat, SchemaFormat
from gaea.app.serving.structured import UnfitError, fill
from gaea.app.serving.tokencount import TokenCounter
from gaea.assistant import Chat

DONE = b"data: [DONE]\n\n"


@dataclasses.dataclass(frozen=True)
class Preview:
    """The place is known, and the first word is not: the structured answer without text, where it was asked for."""

    geolocation: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Said:
    """A piece of text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Finished:
    """The end: the whole text as it was cut, and the structured answer."""

    text: str
    geolocation: dict[str, Any]
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is to do.

    Attributes:
        which: Whose conversation.
        open: Opens it where it is not under way.
        turns: What was said before.
        question: What is asked.
        guess: Give a point even when unsure.
        cells: Most cells to list.
        preview: Tell what is known before the first word.
        streamed: Hand over the words as they come, not only at the end.
        stops: Texts at which the reply ends.
        most_tokens: Where it is cut.
        stopped: Whether the client has left.
    """

    which: Which
    open: Callable[[], Chat]
    turns: Sequence[tuple[str, str]]
    question: str
    guess: bool
    cells: int
    preview: bool
    streamed: bool
    stops: Sequence[str]
    most_tokens: int
    stopped: Callable[[], bool]


def events(job: Job, chats: OpenChats, counter: TokenCounter) -> Iterator[Preview | Said | Finished]:
    """Answer.

    Raises:
        GaeaError: The photo is none, or the engine failed.
    """
    enough = False
    with chats.chat(job.which, job.turns, job.open) as chat:
        reply = chat.stream(job.question, guess=job.guess, stopped=lambda: enough or job.stopped())
        belief = chat.pooled if job.guess and chat.finding.abstained else chat.belief
        preview = reply.preview
    whole, sent, reason = "", 0, "stop"
    place: dict[str, Any] | None = None
    with reply:
        yield Preview(geolocation(preview, belief, job.cells) if job.preview else None)
        for piece in reply:
            place = place or geolocation(preview, belief, job.cells)  # while the model goes on speaking
            whole, reason, enough = _cut(whole + piece, job, counter)
            ready = len(whole) if enough else len(whole) - _held_back(whole, job.stops)
            if job.streamed and ready > sent:
                yield Said(whole[sent:ready])
                sent = ready
            if enough:
                break
    if job.streamed and len(whole) > sent:
        yield Said(whole[sent:])
    place = place or geolocation(preview, belief, job.cells)
    yield Finished(whole, {**place, "text": whole, "timings": dict(reply.answer.timings)}, reason)


def _cut(text: str, job: Job, counter: TokenCounter) -> tuple[str, str, bool]:
    """The text up to a stop word or the last token, why it ends, and whether it does."""
    found = [at for at in (text.find(stop) for stop in job.stops) if at >= 0]
    if found:
        return text[: min(found)], "stop", True
    if counter.may_reach(text, job.most_tokens) and counter.count(text) >= job.most_tokens:
        return counter.cut(text, job.most_tokens), "length", True
    return text, "stop", False


def _held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end may be the beginning of a stop word."""
    lengths = [n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
    return max(lengths, default=0)


def content(request: ChatRequest, finished: Finished) -> tuple[str | None, str | None]:
    """What the message says, and what it refuses to say; one of them is None."""
    wanted = request.response_format
    if isinstance(wanted, ObjectFormat):
        return _json(finished.geolocation), None
    if isinstance(wanted, SchemaFormat):
        try:
            return _json(fill(wanted.json_schema.schema_, finished.geolocation)), None
        except UnfitError as error:
            return None, f"This answer does not have what the schema wants: {error}."
    return finished.text, None


def structured(request: ChatRequest) -> bool:
    """Whether JSON is wanted rather than words."""
    return isinstance(request.response_format, ObjectFormat | SchemaFormat)


@dataclasses.dataclass(frozen=True)
class Envelope:
    """What all chunks of a reply have in common."""

    model: str
    fingerprint: str
    id: str = dataclasses.field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))

    def completion(self, request: ChatRequest, finished: Finished, usage: dict[str, int]) -> dict[str, Any]:
        """The reply in one piece."""
        said, refusal = content(request, finished)
        message = {"role": "assistant", "content": said, "refusal": refusal, "geolocation": finished.geolocation}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finished.reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    def chunk(self, delta: dict[str, Any], reason: str | None = None, *, usage: bool = False) -> dict[str, Any]:
        """One chunk of a stream; where usage is asked for at the end, every other chunk says that it has none."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **({"usage": None} if usage else {})}

    def last(self, usage: dict[str, int]) -> dict[str, Any]:
        """The chunk that tells the usage, and nothing else."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def usage(prompt: int, reply: int) -> dict[str, int]:
    """OpenAI's three numbers."""
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}


def sse(data: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return f"data: {_json(data)}\n\n".encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
