"""What the language stage learns from: the labels of every token, and a run that survives a kill."""

import numpy as np
import pytest
import torch
from PIL import Image

from gaea import prompts
from gaea.briefing import Briefing
from gaea.finetune import collate, llava, sft
from gaea.finetune.lora import shipped_nano

SHAPE = llava.LlavaShape(
    image_size=32, vision_width=64, vision_layers=1, vision_embed_dim=16, width=32, layers=1, heads=2, mlp=64
)
PATCHES = 4


@pytest.fixture(scope="module")
def tokenizer():
    return llava.train_tokenizer(["Where is this? In France. How sure? Quite."], 420)


def said(text):
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


TALK = llava.render([
    *prompts.talk(Briefing(), [("Where is this?", "In France.")], "How sure?"), said("Quite.")
])  # fmt: skip
POINT = llava.render([*prompts.locate(), said("<|geo|><|s2:f2|><|s2:3|><|/geo|>")])


def labelled(text, tokenizer):
    ids, mask, labels = sft.tokenize([sft.Sample(text, 0)], tokenizer, PATCHES)
    assert mask.all()
    assert ((labels == ids) | (labels == -100)).all()
    return [tokenizer.decode([i]) for i, label in zip(ids[0], labels[0], strict=True) if label != -100]


def test_only_what_the_assistant_says_is_asked_for(tokenizer):
    assert "".join(labelled(TALK, tokenizer)) == "In France.</s>Quite.</s>"


def test_of_a_place_the_opening_mark_is_given(tokenizer):
    assert labelled(POINT, tokenizer) == ["<|s2:f2|>", "<|s2:3|>", "<|/geo|>", "</s>"]


def test_a_place_in_the_middle_of_a_sentence_is_asked_for_whole(tokenizer):
    text = llava.render([*prompts.locate(), said("It is <|geo|><|s2:f2|><|/geo|>")])
    assert labelled(text, tokenizer)[-4:] == ["<|geo|>", "<|s2:f2|>", "<|/geo|>", "</s>"]


@pytest.mark.parametrize(
    ("answer", "given"), [("In Liechtenstein.", []), ("<|geo|><|s2:f2|><|/geo|>", ["<|geo|>"]), ("It is no.", [])]
)
def test_nano_and_adapters_are_taught_the_same_tokens(answer, given):
    """nano's language stage has a loop of its own, and reads conversations as ``sft`` reads rows, but for one mark."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(shipped_nano())
    talk = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where is this?"}]}, said("Here."),
        {"role": "user", "content": [{"type": "text", "text": "And where exactly?"}]}, said(answer),
    ]  # fmt: skip
    as_rows = collate.encode(talk, Image.new("RGB", (96, 96)), processor, max_tokens=512)
    ids, _, labels = sft.tokenize([sft.Sample(llava.render(talk), 0)], processor.tokenizer, 16)
    assert torch.equal(ids, as_rows["input_ids"])
    assert processor.tokenizer.convert_ids_to_tokens(ids[labels != as_rows["labels"]]) == given


def test_symbols_in_the_prompt_are_not_asked_for(tokenizer):
    neighbours = "<data>\n90 <|geo|><|s2:f1|><|/geo|>\n</data>"
    text = llava.render([*prompts.locate(neighbours), said("<|geo|><|s2:f2|><|/geo|>")])
    assert labelled(text, tokenizer) == ["<|s2:f2|>", "<|/geo|>", "</s>"]


def test_a_batch_is_padded_on_the_right_with_nothing_to_learn(tokenizer):
    ids, mask, labels = sft.tokenize([sft.Sample(TALK, 0), sft.Sample(POINT, 1)], tokenizer, PATCHES)
    short = len(tokenizer(POINT.replace("<image>", "<image>" * PATCHES), add_special_tokens=False)["input_ids"])
    assert ids.shape == mask.shape == labels.shape
    assert mask[1].tolist() == [1] * short + [0] * (ids.shape[1] - short)
    assert (ids[1, short:] == tokenizer.pad_token_id).all()
    assert (labels[1, short:] == -100).all()
    image = tokenizer.convert_tokens_to_ids("<image>")
    assert (ids == image).sum(1).tolist() == [PATCHES, PATCHES]


def make_model(tokenizer):
    torch.manual_seed(0)
    return llava.build_model(tokenizer, SHAPE)


def test_the_loss_is_the_models_own(tokenizer):
    """On cached features the same as transformers computes from pixels, so that training fits what will run."""
    model = make_model(tokenizer).eval()
    ids, mask, labels = sft.tokenize([sft.Sample(TALK, 0), sft.Sample(POINT, 1)], tokenizer, PATCHES)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        seen = model.model.vision_tower(pixels).last_hidden_state[:, 1:]
        ours = sft.answer_loss(model, seen, ids, mask, labels)
        theirs = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, labels=labels).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def material():
    features = torch.randn(3, PATCHES, 64, generator=torch.Generator().manual_seed(1))

    def draw(text):
        return lambda rng, n: [sft.Sample(text, int(row)) for row in rng.integers(3, size=n)]

    return sft.Material(lambda rows: features[torch.from_numpy(rows)], draw(POINT), draw(TALK))


class KilledError(Exception):
    pass


def killed_at(step):
    def progress(steps, **_):
        for i in steps:
            if i == step:
                raise KilledError
            yield i

    return progress


def test_a_killed_run_goes_on_as_if_nothing_had_been(tokenizer, tmp_path):
    config = sft.SftConfig(steps=8, point_batch=2, talk_batch=2, checkpoint_every=4)
    whole = sft.train(make_model(tokenizer), tokenizer, material(), config, tmp_path / "whole")
    with pytest.raises(KilledError):
        sft.train(make_model(tokenizer), tokenizer, material(), config, tmp_path / "cut", progress=killed_at(6))
    again = sft.train(make_model(tokenizer), tokenizer, material(), config, tmp_path / "cut")
    start = make_model(tokenizer).state_dict()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
        if "vision_tower" in name:
            torch.testing.assert_close(value, start[name], rtol=0, atol=0)
    assert not torch.equal(whole.lm_head.weight, start["lm_head.weight"])


def test_it_learns_what_it_is_told(tokenizer, tmp_path):
    config = sft.SftConfig(steps=60, point_batch=2, talk_batch=2, learning_rate=0.02, checkpoint_every=60)
    model = sft.train(make_model(tokenizer), tokenizer, material(), config, tmp_path)
    ids, mask, labels = sft.tokenize([sft.Sample(TALK, 0), sft.Sample(POINT, 1)], tokenizer, PATCHES)
    with torch.no_grad():
        loss = sft.answer_loss(model, material().features(np.array([0, 1])), ids, mask, labels)
    assert loss < 0.5


def test_words_of_speech_are_what_answers_say_around_the_values():
    told = ["Al Gharbiyah", "Egypt", "Libya, Sudan"]
    answers = [
        ("This is in Al Gharbiyah, Egypt.", told),
        ("Its neighbours are Libya, Sudan, so yes.", told),
        ("The country is Egypt, so no.", told),
    ]
    tokenizer = llava.train_tokenizer([answer for answer, _ in answers] * 40, 600)
    words = sft.spoken_tokens(answers, tokenizer)
    said = {tokenizer.decode([token]).strip() for token in words}
    assert {"This", "is", "in", "Its", "neighbours", "are", "so", "yes", "no"} <= said
    assert not {"Egypt", "Libya", "Sudan", "Al", "Gharbiyah"} & said
