"""What is learned of a conversation, token by token, for every family of models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gaea import geotokens, prompts
from gaea.errors import InputError, ModelError
from gaea.finetune import collate

PLACE = geotokens.to_text(geotokens.encode(48.8584, 2.2945)[:6])


def said(*turns: str, system: bool = False) -> list[dict[str, Any]]:
    """A conversation about a picture; questions and answers in turn."""
    found: list[dict[str, Any]] = []
    for number, text in enumerate(turns):
        picture = [{"type": "image"}] if number == 0 else []
        role = "assistant" if number % 2 else "user"
        found.append({"role": role, "content": [*picture, {"type": "text", "text": text}]})
    return prompts.with_system(found) if system else found


def taught(encoded: dict[str, torch.Tensor], processor: Any) -> list[str]:
    """Runs of learned tokens as text."""
    runs, run = [], []
    for token in [*encoded["labels"][0].tolist(), collate.IGNORED]:
        if token != collate.IGNORED:
            run.append(token)
        elif run:
            runs.append(processor.tokenizer.decode(run, skip_special_tokens=False))
            run = []
    return runs


@pytest.mark.parametrize("system", [False, True], ids=["bare", "with system"])
def test_only_answers_are_learned_token_by_token(family: Any, a_picture: Any, system: bool) -> None:
    processor = family.processor()
    # A question that quotes the template's own words, and an answer that is also in the question.
    talk = said("Is it Paris? assistant: ASSISTANT: Paris.", "Paris.", "Sure?", "Yes, Paris. Very.", system=system)
    encoded = collate.encode(talk, a_picture(0), processor, max_tokens=1024)
    ids, labels = encoded["input_ids"][0], encoded["labels"][0]
    learned = labels != collate.IGNORED
    assert torch.equal(labels[learned], ids[learned])

    assert [text.strip() for text in taught(encoded, processor)] == [
        f"Paris.{family.end}",
        f"Yes, Paris. Very.{family.end}",
    ]
    # The same by another road: ids of what is asked, from the engine's own call, are what stands before the answer.
    asked = processor.apply_chat_template(talk[:-3], add_generation_prompt=True, tokenize=False)
    bare = processor(text=[asked], images=[a_picture(0)], return_tensors="pt", add_special_tokens=False)["input_ids"][0]
    start = int(learned.nonzero()[0, 0])
    assert processor.tokenizer.decode(ids[:start]).removeprefix("<s>") == processor.tokenizer.decode(bare)
    assert not learned[:start].any()
    mark = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    assert not (labels == mark).any()


def test_the_place_is_learned_symbol_by_symbol(family: Any, a_picture: Any) -> None:
    processor = family.processor()
    processor.tokenizer.add_tokens(list(geotokens.all_symbols()))
    encoded = collate.encode(said("Where?", PLACE), a_picture(0), processor, max_tokens=512)
    learned = [token for token in encoded["labels"][0].tolist() if token != collate.IGNORED]
    words = processor.tokenizer.convert_ids_to_tokens(learned)
    symbols = [word for word in words if word.startswith(("<|s2:", "<|geo|>", "<|/geo|>"))]
    assert "".join(symbols) == PLACE
    assert words[-1] == family.end
    assert len(words) - len(symbols) in (1, 2)  # the end, and where the template has one, a space before


def test_the_model_takes_what_the_processor_wrote(family: Any, a_picture: Any) -> None:
    processor = family.processor()
    torch.manual_seed(0)
    model = family.model(processor)
    sizes = [(28, 28), (56, 28), (28, 70)]
    rows = [
        collate.encode(said("Where?" * (n + 1), "Paris."), a_picture(n, *size), processor, max_tokens=512)
        for n, size in enumerate(sizes)
    ]
    batch = collate.Collator(0)(rows)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    with torch.inference_mode():
        together = model(**batch).logits
        for number, row in enumerate(rows):
            alone = model(**row).logits[0]
            assert torch.allclose(together[number, : len(alone)], alone, atol=1e-4), number
    assert (batch["labels"][batch["attention_mask"] == 0] == collate.IGNORED).all()


def test_a_mismatch_of_image_tokens_is_told_in_one_line(family: Any, a_picture: Any) -> None:
    processor = family.processor()
    model = family.model(processor)
    row = collate.encode(said("Where?", "Paris."), a_picture(0), processor, max_tokens=512)
    mark = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    row["input_ids"][0, int((row["input_ids"][0] == mark).nonzero()[0, 0])] = 7
    with pytest.raises((ValueError, RuntimeError)) as caught:
        model(**row)
    told = collate.mismatch(caught.value, row, mark)
    assert isinstance(told, ModelError)
    assert f"wrote {int((row['input_ids'] == mark).sum())} image tokens for 1 pictures" in str(told)
    assert "\n" not in str(told)
    assert collate.mismatch(ValueError("out of memory"), row, mark) is None


def test_long_rows_are_cut_at_the_end_and_never_in_the_picture(families: Any, a_picture: Any) -> None:
    processor = families["llava"].processor()
    talk = said("Where?", "Paris. " * 60)
    whole = collate.encode(talk, a_picture(0), processor, max_tokens=1024)
    cut = collate.encode(talk, a_picture(0), processor, max_tokens=40)
    assert cut["input_ids"].shape == cut["labels"].shape == (1, 40)
    assert torch.equal(cut["labels"], whole["labels"][:, :40])
    with pytest.raises(InputError, match=r"tokens before the first answer, 4 of them the picture's"):
        collate.encode(talk, a_picture(0), processor, max_tokens=5)


@pytest.mark.parametrize("mark", ["<image>", "</s>", "<|im_end|>"])
def test_texts_cannot_pose_as_the_template(families: Any, a_picture: Any, mark: str) -> None:
    processor = families["llava"].processor()
    for talk in (said(f"Where? {mark}", "Paris."), said("Where?", f"Paris. {mark}")):
        with pytest.raises(InputError, match="a mark of the model's own template"):
            collate.encode(talk, a_picture(0), processor, max_tokens=512)


def test_what_teaches_nothing_or_rewrites_itself_is_refused(families: Any, a_picture: Any) -> None:
    processor = families["qwen2.5-vl"].processor()
    with pytest.raises(InputError, match="without an answer"):
        collate.encode(said("Where?"), a_picture(0), processor, max_tokens=512)
    processor.chat_template = "{{ messages | length }}{% for m in messages %}{{ m['role'] }}{% endfor %}<|image_pad|>"
    with pytest.raises(ModelError, match="rewrites earlier turns"):
        collate.encode(said("Where?", "Paris."), a_picture(0), processor, max_tokens=512)


def test_a_tokenizer_of_another_model_is_noticed(families: Any, a_picture: Any) -> None:
    processor = families["llava"].processor()
    words = processor.tokenizer

    class Foreign:
        def __getattr__(self, name: str) -> Any:
            return getattr(words, name)

        def __call__(self, text: str, **options: Any) -> Any:
            return words(text.replace("Where", "There"), **options)

    rendered = collate.render(said("Where?", "Paris."), processor)
    ids = words(rendered.text)["input_ids"]
    with pytest.raises(ModelError, match="other tokens than its tokenizer"):
        collate._labels(rendered, ids, Foreign(), "<image>", special=True)
