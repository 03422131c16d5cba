"""What is asked: the photo, the question and the turns before it, out of the messages that a client replays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from gaea.app.serving.limits import Limits
from gaea.app.serving.problems import ApiError, invalid
from gaea.app.serving.schema import (
    DEFAULT_QUESTION,
    AssistantMessage,
    ChatRequest,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    UserMessage,
)
from gaea.prompts import clean_question


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question about a photo.

    Attributes:
        picture: Data URL or web address.
        question: Asked now.
        turns: Earlier (question, answer) pairs about the same photo, oldest first.
    """

    picture: str
    question: str
    turns: tuple[tuple[str, str], ...] = ()

    def shortened(self, most_tokens: int, count: Callable[[str], int]) -> Asked:
        """The same, its oldest turns left out where a model could not read them all.

        Raises:
            ApiError: 400, the question alone is too long.
        """
        left = most_tokens - count(self.question)
        if left < 0:
            raise invalid(
                f"the question has {count(self.question)} tokens: expected at most {most_tokens}",
                "messages",
                "context_length_exceeded",
            )
        kept: list[tuple[str, str]] = []
        for turn in reversed(self.turns):
            left -= sum(count(text) for text in turn)
            if left < 0:
                break
            kept.append(turn)
        return dataclasses.replace(self, turns=tuple(reversed(kept)))


def asked(request: ChatRequest, limits: Limits) -> Asked:
    """Read a request's messages.

    The photo is the last one; a new photo begins a new conversation, so what was said before it is left out. Messages
    of the system are not passed on.

    Raises:
        ApiError: 400; there is no photo, or too much of something, or nothing is asked.
    """
    check_amounts(request.messages, limits)
    said = [message for message in request.messages if isinstance(message, UserMessage | AssistantMessage)]
    if not said or not isinstance(said[-1], UserMessage):
        raise invalid("the last message has to be the user's: there is nothing to answer", "messages")
    shown = [number for number, message in enumerate(said) if pictures(message)]
    if not shown:
        raise invalid(
            "no message holds a photo: add a part of type image_url with a data URL", "messages", "image_missing"
        )
    said = said[shown[-1] :]
    shown_last = pictures(said[0])
    if len(shown_last) > 1:
        raise invalid(f"a message holds {len(shown_last)} photos: expected one", "messages", "too_many_images")
    *turns, (question, _) = _turns(said)
    return Asked(shown_last[0], question or DEFAULT_QUESTION, tuple(turns))


def check_options(request: ChatRequest) -> None:
    """Refuse what is not done here.

    Raises:
        ApiError: 400, naming the parameter.
    """
    if request.n not in (None, 1):
        raise invalid(f"n is {request.n}: expected 1, because the reply is always the most probable one", "n")
    refused = {
        "tools": request.tools,
        "functions": request.functions,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "audio": request.audio,
        "web_search_options": request.web_search_options,
        "modalities": set(request.modalities or ()) - {"text"},
    }
    for name, value in refused.items():
        if value:
            raise invalid(f"{name} is not offered here: leave it out", name, "unsupported_parameter")
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options are for stream: true", "stream_options")
    stops = stop_words(request)
    if len(stops) > 4 or not all(stops):
        raise invalid("stop: expected one to four texts, none of them empty", "stop")


def stop_words(request: ChatRequest) -> list[str]:
    """Texts at which a reply ends."""
    return [request.stop] if isinstance(request.stop, str) else list(request.stop or ())


def check_amounts(messages: Sequence[Message], limits: Limits) -> None:
    """Refuse too many messages, words or pictures.

    Raises:
        ApiError: 400.
    """
    if len(messages) > limits.messages:
        raise invalid(f"{len(messages)} messages: expected at most {limits.messages}", "messages")
    characters = sum(len(_text(message)) for message in messages)
    if characters > limits.characters:  # before anybody counts their tokens
        raise invalid(
            f"{characters:,} characters: expected at most {limits.characters:,}", "messages", "context_length_exceeded"
        )
    images = sum(len(pictures(message)) for message in messages)
    if images > limits.images:
        raise invalid(f"{images} pictures: expected at most {limits.images}", "messages", "too_many_images")


def _turns(said: Sequence[UserMessage | AssistantMessage]) -> list[tuple[str, str]]:
    """Pairs of question and answer, the last one unanswered; what one side says in several messages is joined.

    Nothing in it can close the fence around what the model is told.
    """
    turns: list[tuple[str, str]] = []
    for number, message in enumerate(said):
        text = clean_question(_text(message))
        if isinstance(message, AssistantMessage):
            asked_, answered = turns[-1]
            turns[-1] = asked_, _joined(answered, text)
        elif number and isinstance(said[number - 1], UserMessage):
            turns[-1] = _joined(turns[-1][0], text), ""
        else:
            turns.append((text, ""))
    *before, last = turns
    return [(question or DEFAULT_QUESTION, answer) for question, answer in before] + [last]


def _text(message: Message) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    said = []
    for part in message.content:
        if isinstance(part, TextPart):
            said.append(part.text)
        elif isinstance(part, RefusalPart):
            said.append(part.refusal)
    return "\n".join(said)


def pictures(message: Message) -> list[str]:
    """Addresses of the pictures in a message."""
    if not isinstance(message, UserMessage) or isinstance(message.content, str):
        return []
    return [part.image_url.url for part in message.content if isinstance(part, ImagePart)]


def _joined(first: str, second: str) -> str:
    return "\n".join(text for text in (first, second) if text)


def unknown_model(name: str) -> ApiError:
    """404, as OpenAI answers to a model that it does not have."""
    return ApiError(
        404,
        f"the model '{name[:80]}' is not served here: GET /v1/models lists what is",
        param="model",
        code="model_not_found",
    )
