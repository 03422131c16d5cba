"""GAEA's conversations as other trainers take them, and back: TRL, ms-swift and LLaMA-Factory.

- **TRL** (``SFTTrainer`` on a vision-language model): ``messages`` with ``role`` and ``content`` as text, ``images``;
  the trainer puts the pictures before the first question, so a conversation with pictures elsewhere is refused. Cast
  the column with ``dataset.cast_column("images", List(Image()))``. Loaded back in the tests by ``datasets``, and by
  TRL's own collator where TRL is installed.
- **ms-swift**: the standard format of its page "Custom dataset": JSON lines of ``messages`` with :data:`IMAGE_TAG`
  where a picture goes, and ``images``. The tests hold it to that page; ms-swift 4.6.0's ``AutoPreprocessor`` took a
  file of it once, by hand, with its hub client left out.
- **LLaMA-Factory**: ``sharegpt`` as its ``data/README.md`` has it: ``conversations`` of ``from`` and ``value``,
  ``images``, ``system``, described in a ``dataset_info.json`` beside. The tests hold it to that page and to the rules
  of the converter (roles alternate, an even number of them); the parser, loader and converter of LLaMA-Factory 0.9.5
  took a file of it once, by hand. Neither library trained on it here.

``dataset``, ``question_type`` and ``unique_id`` stay as columns of their own, which all three trainers drop; our facts
stay on request, as JSON text, because their types differ from row to row.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gaea.errors import InputError
from gaea.finetune.dataset import HUMAN, IMAGE_TAG, MODEL, OURS, Example, Row, Turn, image_names
from gaea.finetune.rowlayout import write_rows
from gaea.rag.files import write_atomically

DATASET_INFO = "dataset_info.json"
_ROLES = {HUMAN: "user", MODEL: "assistant"}
_SPEAKERS = {"user": HUMAN, "assistant": MODEL, HUMAN: HUMAN, MODEL: MODEL}
_TAG = re.compile(re.escape(IMAGE_TAG) + r"\n?")


class Trainer(enum.StrEnum):
    """Whose format."""

    TRL = "trl"
    SWIFT = "ms-swift"
    FACTORY = "llama-factory"


@dataclass(frozen=True)
class ExportConfig:
    """What an export says besides the conversations.

    Attributes:
        images: Folder that a picture's path is put behind, by name of the dataset; '' for all others.
        system: A system message for every conversation; none if empty.
        facts: Whether our facts stay, as JSON text.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    facts: bool = False


def export_row(example: Example, trainer: Trainer, config: ExportConfig | None = None) -> Row:
    """One conversation in a trainer's format.

    Raises:
        InputError: The trainer cannot show its pictures where the conversation has them.
    """
    config = config or ExportConfig()
    folder = config.images.get(example.dataset, config.images.get("", ""))
    images = [str(PurePosixPath(folder, name)) for name in example.images]
    kept: Row = {"dataset": example.dataset, "question_type": example.question_type}
    if example.unique_id is not None:
        kept["unique_id"] = str(example.unique_id)
    if config.facts:
        kept[OURS] = json.dumps(dict(example.ours))
    if trainer is Trainer.FACTORY:
        said = [{"from": turn.speaker, "value": turn.text} for turn in example.turns]
        system = {"system": config.system} if config.system else {}
        return {"conversations": said, "images": images, **system, **kept}
    if trainer is Trainer.TRL:
        _check_pictures_come_first(example)
    system_first = [{"role": "system", "content": config.system}] if config.system else []
    messages = [
        {"role": _ROLES[turn.speaker], "content": turn.spoken if trainer is Trainer.TRL else turn.text}
        for turn in example.turns
    ]
    return {"messages": system_first + messages, "images": images, **kept}


def import_row(row: Mapping[str, Any], *, question_type: str = "GEN") -> Example:
    """A row of any of the three formats as an example.

    A system message is left out; blocks of content are joined; a tag gets the newline that GAEA's trainer wants.

    Args:
        row: With ``messages`` or ``conversations``, and ``images``.
        question_type: Where the row has none.

    Raises:
        InputError: It has neither, or somebody else than user and assistant speaks.
    """
    said = row.get("messages") or row.get("conversations")
    if not isinstance(said, list):
        raise InputError(f"a row with the fields {', '.join(row)} has neither messages nor conversations")
    turns = tuple(turn for one in said if (turn := _turn(one)) is not None)
    images = image_names(row.get("images") or [])
    told = sum(turn.text.count(IMAGE_TAG) for turn in turns)
    if turns and told == 0:  # as TRL has it: the pictures come before the first question
        turns = (Turn(turns[0].speaker, (IMAGE_TAG + "\n") * len(images) + turns[0].text), *turns[1:])
    ours = row.get(OURS)
    return Example(
        images,
        row.get("question_type") or question_type,
        turns,
        row.get("dataset") or "",
        row.get("unique_id"),
        json.loads(ours) if isinstance(ours, str) else ours or {},
    )


def is_export(row: Mapping[str, Any]) -> bool:
    """Whether a row is in one of these formats and not in GAEA's own, which has ``image`` and no ``images``."""
    return "messages" in row or ("conversations" in row and "images" in row)


def write_export(
    path: str | Path, examples: Iterable[Example], trainer: Trainer, config: ExportConfig | None = None
) -> int:
    """Write conversations for a trainer as they come; for LLaMA-Factory also tell ``dataset_info.json`` beside.

    Returns:
        How many were written.

    Raises:
        InputError: One cannot be shown so; or the file beside is no JSON.
        GalleryError: The disk is full or may not be written to.
    """
    config, place = config or ExportConfig(), Path(path)
    if place.suffix not in {".json", ".jsonl"} or (trainer is Trainer.SWIFT and place.suffix != ".jsonl"):
        raise InputError(f"{place}: {trainer} reads {'.jsonl' if trainer is Trainer.SWIFT else '.json or .jsonl'}")
    rows: Iterator[Row] = (export_row(example, trainer, config) for example in examples)
    written = write_rows(place, rows)
    if trainer is Trainer.FACTORY:
        _tell_factory(place, with_system=bool(config.system))
    return written


def dataset_info(file_name: str, *, with_system: bool = False) -> dict[str, Any]:
    """How LLaMA-Factory's ``dataset_info.json`` describes such a file."""
    columns = {"messages": "conversations", "images": "images"} | ({"system": "system"} if with_system else {})
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": HUMAN, "assistant_tag": MODEL}
    return {"file_name": file_name, "formatting": "sharegpt", "columns": columns, "tags": tags}


def _tell_factory(place: Path, *, with_system: bool) -> None:
    """Other data sets described there stay."""
    beside = place.with_name(DATASET_INFO)
    try:
        known = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
        known[place.stem] = dataset_info(place.name, with_system=with_system)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{beside} is there and is no JSON object: mend or move it, then export again") from error
    text = json.dumps(known, indent=2, ensure_ascii=False) + "\n"
    write_atomically(beside, lambda part: part.write_text(text, encoding="utf-8") and None)


def _check_pictures_come_first(example: Example) -> None:
    lead = (IMAGE_TAG + "\n") * len(example.images)
    tags = sum(turn.text.count(IMAGE_TAG) for turn in example.turns)
    if tags != len(example.images) or not example.turns[0].text.startswith(lead):
        raise InputError(
            f"TRL shows pictures before the first question, and this conversation has them elsewhere: {example.images}"
        )


def _turn(said: Mapping[str, Any]) -> Turn | None:
    role, content = said.get("role", said.get("from")), said.get("content", said.get("value"))
    if role == "system":
        return None
    if role not in _SPEAKERS:
        raise InputError(f"{role!r} speaks, expected user and assistant, or human and gpt")
    if isinstance(content, list):
        content = "".join(IMAGE_TAG if part.get("type") == "image" else part.get("text") or "" for part in content)
    return Turn(_SPEAKERS[role], _TAG.sub(IMAGE_TAG + "\n", str(content or "")))
