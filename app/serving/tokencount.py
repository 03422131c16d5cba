"""How many tokens a text has: for ``usage``, for ``max_tokens`` and for what a model can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gaea.app.assemble import NANO
from gaea.app.serving.conversation import Asked

_TOKENIZER, _CONFIG = "tokenizer.json", "config.json"
_PICTURE_UNKNOWN = 576
"""Tokens of a picture where the model does not say: LLaVA 1.5's."""


class TokenCounter:
    """Counts with a model's own vocabulary, or with nano's.

    Args:
        model: Folder of the model; anything else, such as a name on a server, is counted as nano would.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        from tokenizers import Tokenizer

        folder = Path(model) if model is not None and (Path(model) / _TOKENIZER).is_file() else NANO / "llava"
        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text()) if (folder / _CONFIG).is_file() else {}
        self.picture = int(config.get("image_seq_length") or _PICTURE_UNKNOWN)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @staticmethod
    def may_reach(text: str, most: int) -> bool:
        """Whether a text is long enough to have so many tokens: each has a byte at least, but for one at the start."""
        return len(text.encode()) + 1 >= most

    def cut(self, text: str, most: int) -> str:
        """The longest beginning of a text that has at most so many tokens."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return text if len(encoded.ids) <= most else text[: encoded.offsets[most - 1][1]]

    def prompt(self, asked: Asked) -> int:
        """Tokens of a question with its picture and what went before: what the client sent, briefings not counted."""
        texts = [asked.question, *(text for turn in asked.turns for text in turn)]
        return self.picture + sum(self.count(text) for text in texts)
