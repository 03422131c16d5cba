"""What one training row becomes: a photo and a conversation, encoded; and what happens to rows that cannot be read.

A photo that is damaged or missing must not end a night's training, and must not be passed over in silence either: it
is named with its reason in ``skipped.jsonl`` of the run, and the next row that can be read takes its seat in the batch,
so that all processes go on in step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gaea import prompts
from gaea.errors import InputError
from gaea.finetune.collate import Encoded, encode
from gaea.finetune.dataset import HUMAN, Example
from gaea.photo import Photo
from gaea.prompts import Message

SKIPPED_FILE = "skipped.jsonl"
SEATS = 50
"""So many unreadable rows one after another are no accident."""

INSTRUCTIONS = {
    "LVQA": "Answer in detail, from what can be seen to where it is.",
    "SVQA": "Answer with a word or a short phrase.",
    "MCQ": "Answer with the letter of the right option.",
    "TF": "Answer with True or False.",
}
"""What stands right behind the picture, by question type; the published ones are not public, these are ours."""

Tell = Callable[[int, Example, Image.Image], str]
"""Gives the evidence for a row, fenced, or an empty string."""


def messages(example: Example, *, evidence: str = "", system: bool = True) -> list[Message]:
    """A row as the messages a model is trained on.

    Args:
        example: The row.
        evidence: Goes before the first question.
        system: Whether GAEA's system message leads.
    """
    found: list[Message] = []
    for turn in example.turns:
        text = turn.spoken.strip()
        asks = turn.speaker == HUMAN
        if asks and not found:
            text = "\n".join(part for part in (INSTRUCTIONS.get(example.question_type, ""), evidence, text) if part)
        parts = [{"type": "image"}] if asks and not found else []
        role = "user" if asks else "assistant"
        found.append({"role": role, "content": [*parts, {"type": "text", "text": text}]})
    return prompts.with_system(found) if system else found


@dataclasses.dataclass(frozen=True, eq=False)
class Conversations:
    """Rows as a torch dataset of encoded conversations.

    Attributes:
        examples: The rows, each about one picture.
        images: Folder that their paths start from.
        processor: Of the model.
        max_tokens: As for :func:`gaea.finetune.collate.encode`.
        system: Whether GAEA's system message leads.
        tell: Gives the evidence of a row.
        log: File that skipped rows are named in; None keeps quiet.
    """

    examples: Sequence[Example]
    images: Path
    processor: Any
    max_tokens: int
    system: bool = True
    tell: Tell | None = None
    log: Path | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> Encoded:
        """The row, or the next one that can be read.

        Raises:
            InputError: None of many can.
        """
        reason, seats = "", min(SEATS, len(self))
        for seat in range(row, row + seats):
            try:
                return self.read(seat % len(self))
            except InputError as error:
                reason = str(error)
                self._skip(seat % len(self), reason)
        raise InputError(f"none of {seats} rows from row {row:,} on can be used; the last one: {reason}")

    def read(self, row: int) -> Encoded:
        """One row, whatever may be wrong with it.

        Raises:
            InputError: Its photo or its text cannot be used.
        """
        example = self.examples[row]
        if len(example.images) != 1:
            raise InputError(f"{len(example.images)} pictures, expected one")
        image = Image.fromarray(Photo.open(self.images / example.images[0]).pixels)
        evidence = self.tell(row, example, image) if self.tell else ""
        told = messages(example, evidence=evidence, system=self.system)
        return encode(told, image, self.processor, max_tokens=self.max_tokens)

    def lengths(self) -> list[int]:
        """Characters of each row, which is near enough to its tokens to put like beside like."""
        return [sum(len(turn.text) for turn in example.turns) for example in self.examples]

    def content_hash(self) -> str:
        """SHA-256 of names and texts of all rows, in order."""
        digest = hashlib.sha256()
        for example in self.examples:
            said = [(turn.speaker, turn.text) for turn in example.turns]
            digest.update(json.dumps([example.images, example.question_type, said]).encode())
        return digest.hexdigest()

    def _skip(self, row: int, reason: str) -> None:
        if self.log is not None:
            line = json.dumps({"row": row, "image": list(self.examples[row].images), "reason": reason})
            with self.log.open("a", encoding="utf-8") as file:  # one short write: several processes may append
                file.write(line + "\n")


def skipped(log: Path) -> dict[int, dict[str, Any]]:
    """The rows that could not be used, by number; each once, however often it was met."""
    if not log.is_file():
        return {}
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return {line["row"]: line for line in lines}
