"""What speaks in this process: a tiny random LLaVA."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gaea import geotokens, prompts
from gaea.briefing import Briefing
from gaea.engine import TransformersEngine
from gaea.errors import ModelError
from gaea.finetune import llava

SHAPE = llava.LlavaShape(
    image_size=32,
    vision_width=64,
    vision_layers=2,
    vision_embed_dim=16,
    width=64,
    layers=2,
    heads=2,
    mlp=128,
    vocabulary=700,
)
PICTURE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
TALK = prompts.talk(Briefing(), [], "Where is this?")
LOCATE = prompts.locate()


def save_model(folder, tokenizer, shape=SHAPE):
    torch.manual_seed(0)
    model = llava.build_model(tokenizer, shape)
    with torch.no_grad():  # weights as they start are so small that every symbol is equally probable
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    llava.save(model, llava.build_processor(tokenizer, shape), folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def quiet():
    from transformers.utils import logging

    logging.disable_progress_bar()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = llava.train_tokenizer(["Where is this?", "I cannot tell.", prompts.LOCATE], SHAPE.vocabulary)
    return save_model(tmp_path_factory.mktemp("models") / "tiny", tokenizer)


@pytest.fixture(scope="module")
def engine(folder):
    return TransformersEngine(folder, system=False, name="tiny")


def test_it_knows_its_name_and_its_symbols(engine):
    assert (engine.name, engine.has_geotokens) == ("tiny", True)


def from_scratch(engine, messages, prefix):
    """Probabilities by one plain forward over the whole text, without any cache."""
    tokenizer = engine._processor.tokenizer
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + "<|geo|>"
    text += "".join(geotokens.FACE_SYMBOLS[s] if k == 0 else geotokens.DIGIT_SYMBOLS[s] for k, s in enumerate(prefix))
    inputs = engine._processor(text=text, images=[PICTURE], return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        logits = engine._model(**inputs).logits[0, -1]
    choices = geotokens.FACE_SYMBOLS if not len(prefix) else geotokens.DIGIT_SYMBOLS
    return logits[tokenizer.convert_tokens_to_ids(list(choices))].log_softmax(-1).numpy()


def test_the_scorer_equals_a_forward_without_a_cache(engine):
    score = engine.scorer(LOCATE, engine.see(PICTURE))
    faces = score(np.zeros((1, 0), np.int64))
    assert faces.shape == (1, 6)
    np.testing.assert_allclose(faces[0], from_scratch(engine, LOCATE, ()), atol=1e-4)
    for prefixes in ([[2], [5], [0]], [[2, 3, 15], [2, 3, 14]], [[1, 0, 0, 7, 9]], [[3]]):  # order does not matter
        rows = score(np.array(prefixes))
        assert rows.shape == (len(prefixes), 16)
        np.testing.assert_allclose(np.exp(rows).sum(1), 1, atol=1e-6)
        for prefix, row in zip(prefixes, rows, strict=True):
            np.testing.assert_allclose(row, from_scratch(engine, LOCATE, prefix), atol=1e-4)
    assert np.ptp(faces) > 0.01  # an even distribution would agree with anything even


def test_the_picture_and_the_neighbours_are_heard(engine):
    nothing = np.zeros((1, 0), np.int64)
    plain = engine.scorer(LOCATE, engine.see(PICTURE))(nothing)
    other = engine.scorer(LOCATE, engine.see(Image.new("RGB", (40, 30), "red")))(nothing)
    told = engine.scorer(prompts.locate("<data>\n90 <|geo|><|s2:f2|><|/geo|>\n</data>"), engine.see(PICTURE))(nothing)
    assert np.abs(plain - other).max() > 1e-3
    assert np.abs(plain - told).max() > 1e-3


def test_features_are_computed_once_for_all_questions(folder):
    engine = TransformersEngine(folder, system=False)
    calls = []
    engine._core.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    sight = engine.see(PICTURE)
    first = engine.complete(TALK, sight, max_new_tokens=4)
    engine.complete(prompts.talk(Briefing(), [("Where is this?", first)], "Sure?"), sight, max_new_tokens=4)
    engine.scorer(LOCATE, sight)(np.array([[2]]))
    assert len(calls) == 1
    engine.complete(TALK, engine.see(PICTURE), max_new_tokens=4)
    assert len(calls) == 2


def test_what_was_seen_is_forgotten_with_the_picture(engine):
    import gc

    sight = engine.see(PICTURE)
    engine.complete(TALK, sight, max_new_tokens=2)
    gc.collect()
    before = len(engine._seen)
    del sight
    gc.collect()
    assert len(engine._seen) == before - 1


def test_complete_is_deterministic_and_speaks_without_marks(engine):
    sight = engine.see(PICTURE)
    replies = {engine.complete(TALK, sight, max_new_tokens=12) for _ in range(2)}
    replies.add(engine.complete(TALK, engine.see(PICTURE), max_new_tokens=12))
    assert len(replies) == 1
    assert not {"<s>", "</s>", "<pad>", "<|user|>"} & set(replies.pop().split())


def test_a_model_without_symbols_talks_but_does_not_point(tmp_path, monkeypatch):
    monkeypatch.setattr(geotokens, "all_symbols", tuple)
    tokenizer = llava.train_tokenizer(["Where is this?"], 420)
    folder = save_model(tmp_path / "plain", tokenizer)
    monkeypatch.undo()
    engine = TransformersEngine(folder)
    assert not engine.has_geotokens
    with pytest.raises(ModelError, match="no S2 tokens in its vocabulary"):
        engine.scorer(LOCATE, engine.see(PICTURE))


def one_line(call):
    with pytest.raises(ModelError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_model_is_one_line(tmp_path):
    assert "absent" in one_line(lambda: TransformersEngine(tmp_path / "absent"))
    assert "nobody/no-such-model" in one_line(lambda: TransformersEngine("nobody/no-such-model"))


def write_adapter(folder, width, target="q_proj"):
    from safetensors.torch import save_file

    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": [target], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    inner = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    weights = {f"{inner}.lora_A.weight": torch.ones(2, width), f"{inner}.lora_B.weight": torch.ones(width, 2)}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_for_another_model_is_one_line(folder, tmp_path):
    unknown = write_adapter(tmp_path / "names", 64, target="no_such_layer")
    assert "not an adapter for this model" in one_line(lambda: TransformersEngine(folder, adapter=unknown))
    wide = write_adapter(tmp_path / "shapes", 128)
    assert "not an adapter for this model" in one_line(lambda: TransformersEngine(folder, adapter=wide))
    assert "absent" in one_line(lambda: TransformersEngine(folder, adapter=tmp_path / "absent"))
