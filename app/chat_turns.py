"""What happens on the chat page: a photo comes in, a question is answered, one is stopped, all is forgotten.

Handlers take the session from Gradio's request and hand back what changes on the page, in the order of :data:`SHOWN`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from gaea.answer import Answer
from gaea.app import chat_parts, chat_view
from gaea.app.chat_map import scene
from gaea.app.chat_narrow import narrowing
from gaea.app.chat_session import Session, Sessions, Wishes
from gaea.assistant import Assistant
from gaea.disclosure import Level
from gaea.errors import GaeaError, PhotoError
from gaea.photo import Photo

SHOWN = (
    "photo",
    "chatbot",
    "status",
    "chips",
    "guess",
    "question",
    "verdict",
    "globe",
    "legend",
    "evidence",
    "details",
)
"""Parts of the page that handlers change."""

AREA_ONLY = Level.REGION
"""The level of the switch that keeps answers to areas."""

FIRST_QUESTION = "Where is this?"
_PENDING = "…"
_NAME_SHOWN = 80
_READY = gr.update(submit_btn=True, stop_btn=False)


class Turns:
    """The handlers of one server.

    Args:
        assistant: What answers.
        sessions: Whose conversations.
    """

    def __init__(self, assistant: Assistant, sessions: Sessions) -> None:
        self._assistant, self._sessions = assistant, sessions

    def photo(self, request: gr.Request, event: gr.EventData) -> list[Any]:
        """A photo came in as a data URL, with its file name."""
        name = str(event._data.get("name") or "photo")[:_NAME_SHOWN]
        return self._opened(self._session(request), event._data.get("data"), name)

    def example(self, request: gr.Request, event: gr.EventData) -> list[Any]:
        """One of the examples was chosen."""
        examples = chat_parts.example_pictures()
        number = event._data.get("number")
        if not isinstance(number, int) or not 0 <= number < len(examples):
            return _changes()
        name, picture = examples[number]
        return self._opened(self._session(request), picture, name)

    def first(self, request: gr.Request, question: str, *wishes: Any) -> Iterator[list[Any]]:
        """Ask of a photo that just came in what stands in the box, or where it is."""
        session = self._session(request)
        if session.photo is not None and not session.messages:
            yield from self._answered(session, question.strip() or FIRST_QUESTION, wishes)
        else:
            yield _changes()  # of a handler that yields nothing Gradio empties everything, the fault that was told too

    def ask(self, request: gr.Request, question: str, *wishes: Any) -> Iterator[list[Any]]:
        """Ask a question."""
        if question.strip():
            yield from self._answered(self._session(request), question, wishes)
        else:
            yield _changes(status="")

    def again(self, request: gr.Request, *wishes: Any) -> Iterator[list[Any]]:
        """Ask where it is once more, because what was set beside the question has changed."""
        session = self._session(request)
        if session.answers:
            yield from self._answered(session, FIRST_QUESTION, wishes)
        else:
            yield _changes(status="")

    def guess(self, request: gr.Request, *wishes: Any) -> Iterator[list[Any]]:
        """Ask again, for the most probable place whatever the doubt."""
        yield from self._answered(self._session(request), "Where is this? Guess.", wishes, guess=True)

    def stop(self, request: gr.Request) -> None:
        """Stop the answer that is being made."""
        self._session(request).stop.set()

    def forget(self, request: gr.Request) -> list[Any]:
        """Forget photo and conversation, and start over."""
        self._sessions.forget(request.session_hash or "")
        return _fresh(None)

    def leave(self, request: gr.Request) -> None:
        """The tab was closed."""
        self._sessions.forget(request.session_hash or "")

    def _session(self, request: gr.Request) -> Session:
        return self._sessions.of(request.session_hash or "")

    def _opened(self, session: Session, source: Any, name: str) -> list[Any]:
        session.begin(None)
        try:
            if not isinstance(source, bytes) and not str(source).startswith("data:"):
                raise PhotoError(f"{name}: nothing came with it; choose it again")
            session.begin(Photo.open(source, name=name))
        except PhotoError as error:
            return _fresh(None, fault=str(error))
        return _fresh(session.photo)

    def _answered(
        self, session: Session, question: str, wishes: tuple[Any, ...], *, guess: bool = False
    ) -> Iterator[list[Any]]:
        asking = session.photo
        session.ready()
        yield _changes(
            chatbot=[*_conversation(session), _bubble("user", question), _bubble("assistant", "")],
            status=_line("Looking" if not session.answers else "Thinking", busy=True),
            question=gr.update(value="", submit_btn=False, stop_btn=True),
        )
        before, drawn = len(session.messages), False
        try:
            for answer, complete in session.ask(self._assistant, question, _wishes(wishes), guess=guess):
                if session.photo is not asking:  # forgotten, or another photo came in meanwhile
                    return
                found = {} if drawn and not complete else self._found(session, answer)
                drawn = True
                status = _line("Answering", busy=True)
                if complete:
                    status = _line(chat_view.status(answer, stopped=session.stop.is_set()))
                yield _changes(chatbot=_conversation(session), status=status, **found)
        except GaeaError as error:
            del session.messages[before:]
            yield _changes(chatbot=_conversation(session), status=_line(str(error), fault=True))
        except Exception:
            del session.messages[before:]
            fault = _line("Something broke inside; the log of gaea chat tells what. Ask again.", fault=True)
            yield _changes(chatbot=_conversation(session), status=fault, question=_READY)
            raise
        yield _changes(question=_READY)

    def _found(self, session: Session, answer: Answer) -> dict[str, Any]:
        return {
            "chips": gr.update(visible=True),
            "guess": gr.update(visible=answer.abstained and answer.disclosure != Level.WITHHELD),
            "verdict": chat_view.verdict(answer),
            "globe": scene(answer),
            "legend": chat_view.legend(answer),
            "evidence": chat_view.evidence(answer),
            "details": chat_view.details(answer if session.answers else None, session.token),
        }


def _changes(**parts: Any) -> list[Any]:
    """What changes, in the order of :data:`SHOWN`; the rest stays as it is."""
    return [parts.get(name, gr.skip()) for name in SHOWN]


def _fresh(photo: Photo | None, *, fault: str = "") -> list[Any]:
    """The page before the first question of a photo."""
    return _changes(
        photo=chat_view.photo_card(photo, fault),
        chatbot=[],
        status="",
        chips=gr.update(visible=False),
        guess=gr.update(visible=False),
        question=_READY,
        verdict=chat_view.verdict(None),
        globe=scene(None),
        legend="",
        evidence="",
        details="",
    )


def _conversation(session: Session) -> list[dict[str, str]]:
    return [_bubble(**message) for message in session.messages]


def _bubble(role: str, content: str) -> dict[str, str]:
    """A message for Gradio's chatbot, which reads HTML even where it reads no Markdown: here it is all text."""
    return {"role": role, "content": escape(content or _PENDING, quote=False)}


def _line(text: str, *, busy: bool = False, fault: bool = False) -> str:
    return chat_view.status_line(text, busy=busy, fault=fault)


def _wishes(values: tuple[Any, ...]) -> Wishes:
    """What was set beside the question: countries, regions, box, hint, area only.

    Raises:
        InputError: A box or hint cannot be understood.
    """
    codes, names, box, hint, area_only = values
    narrow = narrowing(codes or (), names or (), box=box or "", hint=hint or "")
    return Wishes(narrow, AREA_ONLY if area_only else None)
