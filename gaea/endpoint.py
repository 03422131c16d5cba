"""What speaks from afar: a model behind any OpenAI-compatible server, which points as well where the server is vLLM.

To point, a model has to have the S2 symbols in its vocabulary, each as one token: the server's ``/tokenize`` tells. Its
reply is then begun for it, ``<|geo|>`` and the path so far, and continued by one token, of which the server sends the
log-probabilities of exactly the allowed symbols. The mask and the renormalisation are ours, so nothing depends on how
the server samples. It computes prompt and picture once: its cache of prefixes does what `gaea.treecache` does here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from gaea import geotokens
from gaea.connection import BUSY, END, MOST_AT_ONCE, Connection, NoReplyError, reason
from gaea.decoding import NextToken
from gaea.engine import MAX_NEW_TOKENS, Sight
from gaea.errors import ModelError
from gaea.hilbert import IntArray
from gaea.prompts import Message, with_system
from gaea.sphere import FloatArray
from gaea.streaming import Growing, Listener, in_thread

NANO_NAME = "gaea-nano"
"""The shipped model's name where it is served."""

REMEMBERED = 4096
"""Prefixes whose answers are kept; a few hundred are what a search leaves."""

FORGOTTEN = 400
"""What vLLM answers when it is given the name of a picture that it does not have, or no longer."""


class Usage:
    """Tokens that a server counted, in the requests for which it told; may be added to from several threads."""

    def __init__(self) -> None:
        self.requests = self.prompt_tokens = self.completion_tokens = 0
        self._lock = threading.Lock()

    def add(self, said: Any) -> None:
        """Add what stands under ``usage`` in a reply; nothing where it is not as OpenAI writes it."""
        counts = [said.get(name) if isinstance(said, dict) else None for name in ("prompt_tokens", "completion_tokens")]
        if not all(isinstance(count, int) for count in counts):
            return
        with self._lock:
            self.requests += 1
            self.prompt_tokens += counts[0] or 0
            self.completion_tokens += counts[1] or 0


class EndpointEngine:
    """Any OpenAI-compatible server, such as vLLM.

    Args:
        url: Base URL, ending in ``/v1``.
        model: Name of the served model or LoRA module; None takes the first that the server lists.
        api_key: Sent as a bearer token where given.
        timeout: Longest silence of the server, seconds.
        system: Whether the system message is sent; nano was trained without one. None sends it unless the served model
            is nano by its name, or was put on top of it.

    Attributes:
        name: Model and URL, without credentials.
        has_geotokens: Whether the server says that its vocabulary has the S2 symbols.
        used: Tokens that the server has counted so far.

    Raises:
        MissingDependencyError: httpx is not installed.
        ModelError: The server cannot be reached or does not serve that model.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 120,
        system: bool | None = None,
    ) -> None:
        self.used = Usage()
        self._connection = Connection(url, api_key=api_key, timeout_s=timeout)
        try:
            self._choose(model, system)
        except BaseException:
            self._connection.close()
            raise

    def _choose(self, model: str | None, system: bool | None) -> None:
        """Find the model among those that are served, and whether it has the symbols."""
        shown = self._connection.shown
        listed = self._connection.get("models").get("data")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        served = {str(entry["id"]): entry for entry in entries if entry.get("id")}
        if model is not None and model not in served:
            raise ModelError(f"{shown} does not serve '{model}'; it serves {', '.join(served) or 'nothing'}")
        if not served:
            raise ModelError(f"{shown} serves no model")
        self._model = model or next(iter(served))
        self.name = f"{self._model} at {shown}"
        self._system = not _is_nano(served[self._model]) if system is None else system
        self._symbol_ids = self._ids_of_symbols()
        self.has_geotokens = bool(self._symbol_ids)
        # Of a picture from outside its world nano would speak in symbols; an adapter may have been taught to.
        silenced = self._symbol_ids if self._model == NANO_NAME else []
        self._speaking = {"logit_bias": dict.fromkeys(map(str, silenced), -100)} if silenced else {}

    def see(self, image: Image.Image) -> Sight:
        """Pack the picture once as a PNG data URL, with a name under which vLLM keeps it; nobody else can guess it."""
        packed = io.BytesIO()
        image.save(packed, "PNG", compress_level=1)  # a photo hardly shrinks further, and takes four times as long
        url = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode()
        return Sight(image, {"url": url, "uuid": uuid.uuid4().hex, "sent": False})

    def stream(
        self,
        messages: Sequence[Message],
        sight: Sight,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stopped: Callable[[], bool] | None = None,
    ) -> Iterator[str]:
        """See :meth:`gaea.engine.Engine.stream`; a reply that is stopped is cancelled at the server, too."""
        options = {"max_tokens": max_new_tokens, **self._speaking}

        def make(listener: Listener) -> None:
            whole, text, finished, ended = "", Growing(), False, False

            def end() -> None:
                if not finished and not listener.enough():
                    raise ModelError(f"{self.name} broke off in the middle of its reply")
                listener.put(text.grown(whole, done=True))
                listener.end()

            with contextlib.closing(self._events(messages, sight, listener, **options)) as events:
                for event in events:
                    if event is END:
                        end()
                        ended = True
                        continue
                    piece, finished = self._said(event, finished)
                    whole += piece
                    listener.put(text.grown(whole))
                    if listener.enough():
                        return
            if not ended:
                end()

        return in_thread(make, stopped)

    def _said(self, event: dict[str, Any], finished: bool) -> tuple[str, bool]:
        """What one event adds to the reply, and whether the reply has come to its end."""
        if "error" in event:
            raise ModelError(f"{self.name} broke off{reason(event)}")
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        whole = choice.get("message")  # a server that knows no streaming sends all at once
        part = choice.get("delta") if whole is None else whole
        piece = part.get("content") if isinstance(part, dict) else None
        if "choices" not in event or (whole is not None and not isinstance(piece, str)):
            raise ModelError(f"{self.name} sent no text back")
        return piece if isinstance(piece, str) else "", finished or whole is not None or bool(
            choice.get("finish_reason")
        )

    def complete(self, messages: Sequence[Message], sight: Sight, *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """Greedy reply of the served model, asked for in one piece.

        Raises:
            ModelError: The server cannot be reached, refuses, or sends no text.
        """
        try:
            asked = self._reply(messages, sight, max_tokens=max_new_tokens, **self._speaking)
            reply = asked["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            reply = None
        if not isinstance(reply, str):
            raise ModelError(f"{self.name} sent no text back")
        return reply.strip()

    def scorer(self, messages: Sequence[Message], sight: Sight) -> NextToken:
        """Scores S2 symbols; each prefix is asked once, those of a call at the same time.

        Raises:
            ModelError: The vocabulary has no S2 symbols; and, when called, the server cannot be reached, refuses, or
                sends anything but the log-probabilities it was asked for.
        """
        if not self.has_geotokens:
            raise ModelError(f"{self.name} has no S2 tokens in its vocabulary: it can talk, but not point")

        def ask(said: str, allowed: list[int]) -> dict[str, Any]:
            return self._reply(
                [*messages, {"role": "assistant", "content": said}],
                sight,
                continue_final_message=True,
                add_generation_prompt=False,
                max_tokens=1,
                logprobs=True,
                logprob_token_ids=allowed,
                return_tokens_as_token_ids=True,
            )

        return EndpointScorer(ask, self.name, self._symbol_ids)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _reply(self, messages: Sequence[Message], sight: Sight, **options: Any) -> dict[str, Any]:
        """One chat completion. A picture that vLLM was sent is named from then on, and sent again if it was forgotten.

        Other servers, which have no S2 symbols that one could know of, are sent it every time.
        """
        for body in self._bodies(messages, sight, options):
            try:
                reply = self._connection.post("chat/completions", body)
            except NoReplyError as error:
                if not _forgotten(body, error):
                    raise
            else:
                sight.kept["sent"] = True
                self.used.add(reply.get("usage"))
                return reply
        raise AssertionError("the last body holds the picture")  # pragma: no cover

    def _events(
        self, messages: Sequence[Message], sight: Sight, listener: Listener, **options: Any
    ) -> Generator[dict[str, Any]]:
        """The same as a stream of events, which a listener may leave even while the server is silent."""
        for body in self._bodies(
            messages, sight, {**options, "stream": True, "stream_options": {"include_usage": True}}
        ):
            events = self._connection.events("chat/completions", body, hang_up=listener.wake_by)
            with contextlib.closing(events):
                try:
                    for event in events:
                        sight.kept["sent"] = True
                        self.used.add(event.get("usage"))
                        yield event
                except NoReplyError as error:
                    if not _forgotten(body, error):
                        raise
                else:
                    return

    def _bodies(self, messages: Sequence[Message], sight: Sight, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What to send: with the picture's name alone where that may do, then with the picture."""
        whole = with_system(messages) if self._system else messages
        kept = sight.kept
        named = {"uuid": kept["uuid"]} if self.has_geotokens else {}
        sent = {"type": "image_url", "image_url": {"url": kept["url"]}, **named}
        for picture in ([{**sent, "image_url": None}] if named and kept["sent"] else []) + [sent]:
            told = [_with_picture(message, picture) for message in whole]
            yield {"model": self._model, "messages": told, "temperature": 0, **options}

    def _ids_of_symbols(self) -> list[int]:
        """Ids of :func:`gaea.geotokens.all_symbols` in its order; empty where they are no tokens, or none can tell."""
        symbols = list(geotokens.all_symbols())
        asked = {"model": self._model, "prompt": "".join(symbols), "add_special_tokens": False}
        try:
            said = self._connection.post("/tokenize", asked | {"return_token_strs": True})
        except NoReplyError as error:
            if error.status in BUSY or error.status >= 500:
                raise
            return []  # no such page, as with servers other than vLLM
        ids = said.get("tokens")
        if not isinstance(ids, list) or not all(isinstance(each, int) for each in ids):
            return []
        single = len(ids) == len(set(ids)) == len(symbols) and said.get("token_strs") in (None, symbols)
        return ids if single else []


class EndpointScorer:
    """A :class:`gaea.searchtree.NextToken` that asks a server.

    Args:
        ask: What a reply was begun with, and the ids whose log-probabilities are wanted; gives the server's answer.
        name: What messages call the model.
        symbol_ids: Vocabulary ids of the 6 faces and 16 digits.
        remembered: Prefixes whose answers are kept; when there are more, all but those of the present call go.

    Attributes:
        asked: Requests that were answered.
    """

    def __init__(
        self,
        ask: Callable[[str, list[int]], dict[str, Any]],
        name: str,
        symbol_ids: list[int],
        *,
        remembered: int = REMEMBERED,
    ) -> None:
        self.asked = 0
        self._post, self._name = ask, name
        self._faces, self._digits = symbol_ids[:6], symbol_ids[6:22]
        self._rows: dict[tuple[int, ...], FloatArray] = {}
        self._remembered = remembered

    def __call__(self, prefixes: IntArray) -> FloatArray:
        """See :class:`gaea.searchtree.NextToken`."""
        paths = [tuple(path) for path in np.asarray(prefixes).tolist()]
        new = [path for path in dict.fromkeys(paths) if path not in self._rows]
        if len(self._rows) + len(new) > self._remembered:
            self._rows = {path: self._rows[path] for path in paths if path in self._rows}
        if new:
            with ThreadPoolExecutor(min(len(new), MOST_AT_ONCE)) as pool:
                self._rows.update(zip(new, pool.map(self._ask, new), strict=True))
            self.asked += len(new)
        return np.stack([self._rows[path] for path in paths])

    def _ask(self, path: tuple[int, ...]) -> FloatArray:
        """One request for the symbol after one path."""
        allowed = self._digits if path else self._faces
        said = "".join([geotokens.GEO_OPEN, *(_symbol(k, value) for k, value in enumerate(path))])
        sent = _log_probs(self._post(said, allowed))
        got = sum(each in sent for each in allowed)
        if got < len(allowed):
            raise ModelError(
                f"{self._name} sent log-probabilities of {got} of the {len(allowed)} S2 symbols it was asked for: "
                "pointing needs a vLLM that knows logprob_token_ids"
            )
        row = np.array([sent[each] for each in allowed], np.float64)
        top = row.max()
        if not np.isfinite(top) or np.isnan(row).any():
            raise ModelError(f"{self._name} sent log-probabilities that are no numbers, after {said}")
        return np.asarray(row - top - np.log(np.exp(row - top).sum()))


def _log_probs(reply: dict[str, Any]) -> dict[int, float]:
    """Log-probabilities of a reply's first token by id; empty where the reply has none in the form asked for."""
    try:
        listed = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return {int(each["token"].removeprefix("token_id:")): float(each["logprob"]) for each in listed}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return {}


def _forgotten(body: dict[str, Any], error: NoReplyError) -> bool:
    """Whether a server refused because it does not have, or no longer, the picture that it was given the name of."""
    parts = [part for message in body["messages"] for part in message["content"] if isinstance(part, dict)]
    return error.status == FORGOTTEN and any("image_url" in part and part["image_url"] is None for part in parts)


def _symbol(position: int, value: int) -> str:
    return (geotokens.DIGIT_SYMBOLS if position else geotokens.FACE_SYMBOLS)[value]


def _is_nano(entry: dict[str, Any]) -> bool:
    """Whether a served model is nano, or a LoRA module on top of it."""
    return NANO_NAME in (entry.get("id"), entry.get("parent"))


def _with_picture(message: Message, picture: dict[str, Any]) -> Message:
    if isinstance(message["content"], str):
        return message
    return {"role": message["role"], "content": [picture if p["type"] == "image" else p for p in message["content"]]}
