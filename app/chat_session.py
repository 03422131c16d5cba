"""One conversation of the chat page, held in memory for as long as its tab is open, and nowhere else.

Sessions are told apart by the hash that Gradio gives every tab. Downloads are asked for by a token that only the
session's own page knows, because links carry no hash.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
from collections.abc import Callable, Iterator

from gaea.answer import Answer
from gaea.app import export, tables
from gaea.app.kml import kml
from gaea.app.map import html
from gaea.assistant import Assistant, Chat
from gaea.disclosure import Level
from gaea.errors import InputError
from gaea.narrowing import Narrowing
from gaea.photo import Photo

MAX_SESSIONS = 512
"""A server holds no more; the one that was opened first is forgotten for a new one."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the user set beside the question.

    Attributes:
        narrow: Where the photo may be from; None is anywhere.
        level: The finest level to speak at; None is the assistant's own.
    """

    narrow: Narrowing | None = None
    level: str | None = None


@dataclasses.dataclass
class Session:
    """The photo, what was asked and answered, and a way to stop."""

    token: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(24))
    photo: Photo | None = None
    chat: Chat | None = None
    wishes: Wishes = dataclasses.field(default_factory=Wishes)
    answers: list[Answer] = dataclasses.field(default_factory=list)
    messages: list[dict[str, str]] = dataclasses.field(default_factory=list)
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def begin(self, photo: Photo | None) -> None:
        """Start over with another photo, or with none; what still runs is stopped."""
        self.stop.set()
        self.ready()
        self.photo, self.chat, self.answers, self.messages = photo, None, [], []

    def ready(self) -> None:
        """Forget that somebody wanted to stop; before a question is taken up."""
        self.stop = threading.Event()

    @property
    def told(self) -> list[Answer]:
        """The answers that may be taken away: those at least as coarse as what was last asked for."""
        least = Level.of(self.wishes.level or Level.PRECISE).rank
        return [answer for answer in self.answers if Level.of(answer.disclosure).rank >= least]

    def ask(
        self, assistant: Assistant, question: str, wishes: Wishes, *, guess: bool = False
    ) -> Iterator[tuple[Answer, bool]]:
        """Ask, and give the answer as it grows: first without words, then with more of them.

        Yields:
            The answer so far, and whether it is complete.

        Raises:
            InputError: There is no photo, or nothing lies where it is looked for.
            ModelError: The engine failed.
        """
        if self.photo is None:
            raise InputError("there is no photo yet: drop one first")
        photo, stop = self.photo, self.stop
        if self.chat is None or wishes != self.wishes:
            turns = self.chat.turns if self.chat else []
            self.chat = assistant.open(photo, narrow=wishes.narrow, disclosure=wishes.level)
            self.chat.turns.extend(turns)
            self.wishes = wishes
        self.messages.append({"role": "user", "content": question})
        said = {"role": "assistant", "content": ""}
        self.messages.append(said)
        reply = self.chat.stream(question, guess=guess, stopped=stop.is_set)
        yield reply.preview, False
        for piece in reply:
            said["content"] += piece
            yield reply.preview, False
        said["content"] = reply.answer.text
        if self.photo is photo:  # not forgotten meanwhile
            self.answers.append(reply.answer)
        yield reply.answer, True


class Sessions:
    """All conversations of a server, by the hash of their tab."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_hash: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def of(self, session_hash: str) -> Session:
        """The session of a tab, made at its first question."""
        with self._lock:
            if session_hash not in self._by_hash:
                while len(self._by_hash) >= MAX_SESSIONS:
                    self._by_hash.pop(next(iter(self._by_hash))).begin(None)
                self._by_hash[session_hash] = Session()
            return self._by_hash[session_hash]

    def forget(self, session_hash: str) -> None:
        """Stop what runs and drop everything: the tab was closed."""
        with self._lock:
            session = self._by_hash.pop(session_hash, None)
        if session is not None:
            session.begin(None)

    def by_token(self, token: str) -> Session | None:
        """The session whose page holds this token; None where there is none."""
        with self._lock:
            found = [s for s in self._by_hash.values() if secrets.compare_digest(s.token.encode(), token.encode())]
        return found[0] if found else None


def _geojson(session: Session) -> str:
    return json.dumps(export.geojson(session.told), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _page(session: Session) -> str:
    return html(session.told, session.photo)


def _csv(session: Session) -> str:
    name = session.photo.name if session.photo else ""
    return tables.csv_rows(tables.row(answer, photo=name) for answer in session.told)


WRITERS: dict[str, tuple[str, Callable[[Session], str]]] = {
    "html": ("text/html; charset=utf-8", _page),
    "geojson": ("application/geo+json", _geojson),
    "kml": ("application/vnd.google-earth.kml+xml", lambda session: kml(session.told)),
    "csv": ("text/csv; charset=utf-8", _csv),
}
"""What a conversation can be downloaded as: media type and writer, by the file's ending."""


def written(session: Session, ending: str) -> tuple[str, str] | None:
    """The session's conversation as a file: media type and text; None where there is nothing to write."""
    if not session.told or ending not in WRITERS:
        return None
    media_type, write = WRITERS[ending]
    return media_type, write(session)
