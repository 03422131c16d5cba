"""Any OpenAI-compatible endpoint as a system under examination: asked in words, and its words read.

It is told nothing but the question and the picture; an assistant that talks through an endpoint is the other system,
with ``engine`` set. What it may cost is told before anything is sent.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from gaea import prompts
from gaea.endpoint import EndpointEngine
from gaea.engine import Engine, Sight
from gaea.errors import InputError
from gaea.eval.assistant_system import truth
from gaea.eval.records import Item, Prediction
from gaea.eval.system import Picture, from_words

KEY = "GAEA_API_KEY"
KNOWN = ("url", "model", "at_once", "max_tokens", "timeout", "side", "blank", "seed")
CHARACTERS_A_TOKEN = 4
TOKENS_A_TILE = 170
TILE = 512
"""What large providers count: a base and a part a tile of 512 pixels. Others differ; an estimate is an estimate."""

BASE_TOKENS = 85
ANSWER_TOKENS = {"long": 250, "short": 40, "choice": 20, "true_false": 20, "location": 20, None: 120}


class EndpointSystem:
    """Settings: ``url`` (ending in /v1), ``model``, ``at_once``, ``max_tokens``, ``timeout`` (s), ``side``, ``blank``.

    ``side`` is the longest side of a picture that is sent, pixels. The key comes from ``$GAEA_API_KEY``.

    Raises:
        InputError: A setting is not known.
        ModelError: The server cannot be reached.
    """

    def __init__(self, settings: Mapping[str, Any], *, engine: Engine | None = None) -> None:
        if unknown := [name for name in settings if name not in KNOWN]:
            raise InputError(f"an endpoint has no setting '{unknown[0]}': {', '.join(KNOWN)}")
        if engine is None and not settings.get("url"):
            raise InputError("an endpoint needs its URL: --set url=http://host:8000/v1")
        try:
            self.at_once, self._most = int(settings.get("at_once", 8)), int(settings.get("max_tokens", 400))
            self._side, timeout = int(settings.get("side", 1024)), float(settings.get("timeout", 120))
        except ValueError as error:
            raise InputError(f"a setting of the endpoint is no number: {error}") from error
        self._blank = truth(settings.get("blank", False))
        model = settings.get("model")
        self._engine = engine or EndpointEngine(
            str(settings["url"]), model=model, api_key=os.environ.get(KEY), timeout=timeout
        )
        self.name = self._engine.name + (", picture blanked" if self._blank else "")
        self.settings = {
            "model": self._engine.name,
            "max_tokens": self._most,
            "side": self._side,
            "blank": self._blank,
            "temperature": 0,
        }
        self.hashes = {"prompt": hashlib.sha256(repr(prompts.locate_in_words()).encode()).hexdigest()}
        self._seen: dict[str, Sight] = {}
        self._lock = threading.Lock()

    def predict(self, item: Item, picture: Picture) -> Prediction:
        """One completion at temperature 0."""
        text = self._engine.complete(messages(item), self._sight(item, picture), max_new_tokens=self._most)
        return from_words(item, text)

    def close(self) -> None:
        """Let go of the connection."""
        if isinstance(self._engine, EndpointEngine):
            self._engine.close()

    def _sight(self, item: Item, picture: Picture) -> Sight:
        """The picture, packed once for the items that follow each other about it."""
        key = str(item.image)
        with self._lock:
            if key in self._seen:
                return self._seen[key]
        image = picture(item).image()
        image.thumbnail((self._side, self._side))
        if self._blank:
            image = Image.new("RGB", image.size, (100, 100, 97))
        sight = self._engine.see(image)
        with self._lock:
            if len(self._seen) >= 2 * self.at_once:
                self._seen.pop(next(iter(self._seen)))
            return self._seen.setdefault(key, sight)


def messages(item: Item) -> list[prompts.Message]:
    """What is sent: for a place the request for JSON, else the question as it is."""
    if item.kind == "locate":
        return prompts.locate_in_words()
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": item.question}]}]


@dataclass(frozen=True)
class Estimate:
    """What a run may take and cost, told before it begins.

    Attributes:
        requests: How many.
        tokens_in: Of prompts and pictures.
        tokens_out: Of answers.
        cost: In the currency of the prices; None without prices.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def line(self) -> str:
        """One line."""
        told = f"{self.requests:,} requests, about {self.tokens_in:,} tokens in and {self.tokens_out:,} out"
        return told + (f", about {self.cost:,.2f}" if self.cost is not None else "; give prices for a cost")


def estimate(items: Sequence[Item], side: int, prices: tuple[float, float] | None) -> Estimate:
    """Expect a square picture of ``side`` pixels a request and answers of the usual length.

    Args:
        items: To be asked.
        side: Of pictures.
        prices: For a million tokens in, and out.
    """
    tiles = math.ceil(min(side, 2048) / TILE) ** 2
    seen = sum(BASE_TOKENS + TOKENS_A_TILE * tiles for item in items if item.image is not None)
    tokens_in = seen + sum(_prompt_characters(item) for item in items) // CHARACTERS_A_TOKEN
    tokens_out = sum(ANSWER_TOKENS[item.question_type] for item in items)
    cost = None if prices is None else (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6
    return Estimate(len(items), tokens_in, tokens_out, cost)


@lru_cache(maxsize=1)
def _locating_characters() -> int:
    return len(repr(prompts.locate_in_words()))


def _prompt_characters(item: Item) -> int:
    return _locating_characters() if item.kind == "locate" else len(item.question) + len(prompts.SYSTEM)
