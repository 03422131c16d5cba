"""From a conversation to tensors: what its template makes of it, which tokens are learned, and how rows are joined.

Only what the assistant says is learned, its end of turn included. Where that begins is found by rendering the
conversation piece by piece: what the template writes up to an answer is what the model will be asked with, so the text
behind it is the answer. Tokens are then told apart by their place in that text, never by searching for a role's mark,
which a question might contain.

Rows of a batch are padded on the right. They are not packed into one another: Qwen2.5-VL counts positions in three
dimensions and LLaVA-NeXT inserts a varying number of crops, and both derive that from one image per row; packed rows
would attend to each other wherever no variable-length attention kernel is installed. Rows of like length are put
into one batch instead (:class:`gaea.finetune.trainer.LoraTrainer`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gaea.errors import InputError, ModelError
from gaea.prompts import Message

IGNORED = -100
"""Label of a token that is not learned."""

Encoded = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A conversation as its model's template writes it.

    Attributes:
        text: All of it; the picture is one mark.
        spoken: (start, end) characters of each answer, its end-of-turn token included.
    """

    text: str
    spoken: tuple[tuple[int, int], ...]


def render(messages: Sequence[Message], processor: Any) -> Rendered:
    """Write a conversation the way its model will be asked, and say where the answers are.

    Some templates write an assistant's turn otherwise than the prompt they open one with (LLaVA-OneVision has a space
    more), and some never end it (LLaVA 1.5): the prompt's form is taught, and the tokenizer's end-of-text is added.

    Args:
        messages: In the chat form of transformers, content as a list of parts; the last one is the assistant's.
        processor: Of the model.

    Raises:
        InputError: Nothing is answered.
        ModelError: The template does not continue its own prompt.
    """
    tokenizer = processor.tokenizer

    def template(count: int, *, asking: bool) -> str:
        return str(processor.apply_chat_template(list(messages[:count]), add_generation_prompt=asking, tokenize=False))

    text, told, spoken = "", "", []
    for count, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before, prompt, whole = (
            template(count, asking=False),
            template(count, asking=True),
            template(count + 1, asking=False),
        )
        turn = _after(prompt[len(before) :], whole[len(before) :])
        if turn is None or not (prompt.startswith(told) and prompt.startswith(before) and whole.startswith(before)):
            raise ModelError(
                f"the chat template of {type(processor).__name__} rewrites earlier turns: expected one that appends"
            )
        turn = turn.rstrip()
        if not turn.endswith(_marks(tokenizer)):
            turn += tokenizer.eos_token
        text += prompt[len(told) :]
        spoken.append((len(text), len(text) + len(turn)))
        text, told = text + turn, whole
    if not spoken:
        raise InputError("a conversation without an answer teaches nothing: expected at least one assistant turn")
    return Rendered(text, tuple(spoken))


def _after(header: str, turn: str) -> str | None:
    """What follows the generation prompt in a turn, white space in the prompt left out of account; None if nothing."""
    if turn.startswith(header):
        return turn[len(header) :]
    place = 0
    for mark in header:
        if mark.isspace():
            continue
        while place < len(turn) and turn[place].isspace():
            place += 1
        if not turn.startswith(mark, place):
            return None
        place += 1
    return turn[place:].lstrip()


def encode(messages: Sequence[Message], image: Image.Image, processor: Any, *, max_tokens: int) -> Encoded:
    """One conversation about one picture as tensors, a batch of one.

    Args:
        messages: As for :func:`render`; the first user message holds the picture's place.
        image: RGB.
        processor: Of the model, its tokenizer a fast one.
        max_tokens: What is longer is cut at its end; a picture is never cut.

    Returns:
        What the processor makes (``input_ids`` (1, n), pixels …), and ``labels`` (1, n), :data:`IGNORED` where nothing
        is learned.

    Raises:
        InputError: A text holds a mark of the template or of the picture, or no answer fits into ``max_tokens``.
        ModelError: The processor writes other tokens than its tokenizer.
    """
    tokenizer = processor.tokenizer
    mark = _image_mark(processor)
    _refuse_marks(messages, {*_marks(tokenizer), mark})
    rendered = render(messages, processor)
    starts = bool(tokenizer.bos_token) and rendered.text.startswith(tokenizer.bos_token)
    inputs = dict(processor(text=[rendered.text], images=[image], return_tensors="pt", add_special_tokens=not starts))
    ids = inputs["input_ids"][0].tolist()
    labels = torch.tensor([_labels(rendered, ids, tokenizer, mark, special=not starts)])
    pictures = inputs["input_ids"][0] == tokenizer.convert_tokens_to_ids(mark)
    if bool(pictures[max_tokens:].any()) or bool((labels[0, :max_tokens] == IGNORED).all()):
        first = int((labels[0] != IGNORED).nonzero()[0, 0])
        raise InputError(
            f"{first:,} tokens before the first answer, {int(pictures.sum()):,} of them the picture's, and max_tokens "
            f"is {max_tokens:,}: raise it, or lower max_pixels"
        )
    wide = inputs["input_ids"].shape
    cut = {name: value[:, :max_tokens] if value.shape == wide else value for name, value in inputs.items()}
    return {**cut, "labels": labels[:, :max_tokens]}


def _marks(tokenizer: Any) -> tuple[str, ...]:
    """The tokens that only a template may write. S2 symbols are none of them: models speak those."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return tuple({*tokenizer.all_special_tokens, *added})


def _refuse_marks(messages: Sequence[Message], marks: set[str]) -> None:
    for message in messages:
        for part in message["content"]:
            held = [mark for mark in marks if mark and mark in part.get("text", "")]
            if held:
                raise InputError(f"the {message['role']}'s text holds {held[0]!r}, a mark of the model's own template")


def _image_mark(processor: Any) -> str:
    return str(getattr(processor, "image_token", None) or getattr(processor.tokenizer, "image_token", "<image>"))


def _labels(rendered: Rendered, ids: list[int], tokenizer: Any, mark: str, *, special: bool) -> list[int]:
    """Labels for the processor's tokens, by walking them beside the tokenizer's, which know their place in the text."""
    if not tokenizer.is_fast:
        raise ModelError(f"{type(tokenizer).__name__} does not tell where its tokens lie in a text: use a fast one")
    plain = tokenizer(rendered.text, add_special_tokens=special, return_offsets_mapping=True)
    picture, place, labels, runs = tokenizer.convert_tokens_to_ids(mark), 0, [IGNORED] * len(ids), 0
    for token, (start, end) in zip(plain["input_ids"], plain["offset_mapping"], strict=True):
        if place >= len(ids) or ids[place] != token:
            raise ModelError(
                f"the processor writes other tokens than its tokenizer, at token {place} of {len(ids)}: "
                "do both come from one model?"
            )
        if token == picture:
            runs += 1
            while place < len(ids) and ids[place] == picture:
                place += 1
            continue
        if end > start and any(begin <= start and end <= stop for begin, stop in rendered.spoken):
            labels[place] = token
        place += 1
    if place != len(ids) or runs != 1:
        raise ModelError(f"{runs} pictures in {len(ids)} tokens, {place} of them accounted for: expected one, and all")
    return labels


@dataclasses.dataclass(frozen=True)
class Collator:
    """Joins encoded rows into a batch.

    Attributes:
        pad_token_id: Fills ``input_ids``; masks are filled with 0, labels with :data:`IGNORED`.
    """

    pad_token_id: int

    def __call__(self, rows: Sequence[Encoded]) -> Encoded:
        """One batch: token-like tensors are padded on the right, pictures joined along their first axis.

        Pictures cut into different numbers of crops (LLaVA-NeXT, (1, crops, 3, H, W)) are filled with empty ones,
        which the model leaves out by ``image_sizes``.
        """
        wide = [row["input_ids"].shape for row in rows]
        batch = {}
        for name in rows[0]:
            parts = [row[name] for row in rows]
            fill = {"input_ids": self.pad_token_id, "labels": IGNORED}.get(name, 0)
            tokens = all(part.shape == shape for part, shape in zip(parts, wide, strict=True))
            if tokens or len({part.shape[1:] for part in parts}) > 1:
                parts = _padded(parts, fill)
            batch[name] = torch.cat(parts)
        return batch


def _padded(parts: Sequence[Tensor], fill: int) -> list[Tensor]:
    length = max(part.shape[1] for part in parts)
    return [
        torch.cat([part, part.new_full((part.shape[0], length - part.shape[1], *part.shape[2:]), fill)], 1)
        for part in parts
    ]


def mismatch(error: Exception, batch: Encoded, image_token_id: int) -> ModelError | None:
    """A model's complaint about image tokens as this project's error; None for any other complaint."""
    if "image tokens" not in str(error).lower():
        return None
    written = int((batch["input_ids"] == image_token_id).sum())
    return ModelError(
        f"the processor wrote {written} image tokens for {len(batch['input_ids'])} pictures, and the model computes "
        "another number of features: take processor and model from one folder, and leave patch_size as it was"
    )


Encode = Callable[[Sequence[Message], Image.Image], Encoded]
