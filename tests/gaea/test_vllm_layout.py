"""Checkpoints laid out for vLLM: what is renamed, what is left alone, and that transformers still reads them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from gaea import geotokens
from gaea.errors import InputError, ModelError
from gaea.finetune import llava
from gaea.vllm_layout import INDEX_FILE, lay_out, vllm_name

SHAPE = llava.LlavaShape(
    image_size=28,
    patch_size=14,
    vision_width=64,
    vision_layers=1,
    vision_embed_dim=16,
    width=32,
    layers=1,
    heads=1,
    mlp=48,
    vocabulary=400,
)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    from transformers.utils import logging

    logging.disable_progress_bar()


def write_model(folder, *, taught=True):
    with pytest.MonkeyPatch.context() as patch:
        if not taught:
            patch.setattr(geotokens, "all_symbols", tuple)
        tokenizer = llava.train_tokenizer(["Where is this?"], SHAPE.vocabulary)
    torch.manual_seed(0)
    llava.save(llava.build_model(tokenizer, SHAPE), llava.build_processor(tokenizer, SHAPE), folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


def loaded(folder):
    from transformers import LlavaForConditionalGeneration

    found, told = LlavaForConditionalGeneration.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    return found.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vision_tower.embeddings.class_embedding", "vision_tower.vision_model.embeddings.class_embedding"),
        ("model.vision_tower.pre_layrnorm.bias", "model.vision_tower.vision_model.pre_layrnorm.bias"),
        ("vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.vision_model.pre_layrnorm.bias"),
        ("multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_1.weight"),
        ("language_model.model.norm.weight", "language_model.model.norm.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ],
)
def test_only_the_tower_is_renamed(name, expected):
    assert vllm_name(name) == expected
    assert vllm_name(expected) == expected


def test_everything_is_there_bit_for_bit_and_transformers_reads_it(model, tmp_path):
    laid = lay_out(model, tmp_path / "vllm")
    before, after = load_file(model / "model.safetensors"), load_file(laid / "model.safetensors")
    assert same({vllm_name(name): value for name, value in before.items()}, after)
    assert any("vision_tower.vision_model." in name for name in after)
    assert {file.name for file in laid.iterdir()} == {file.name for file in model.iterdir()}
    assert same(loaded(model), loaded(laid))


def test_shards_and_their_index_are_renamed_together(model, tmp_path):
    from transformers import LlavaForConditionalGeneration

    sharded = tmp_path / "sharded"
    shutil.copytree(model, sharded, ignore=shutil.ignore_patterns("*.safetensors"))
    LlavaForConditionalGeneration.from_pretrained(model).save_pretrained(sharded, max_shard_size="100KB")
    assert (sharded / INDEX_FILE).is_file()
    laid = lay_out(sharded, tmp_path / "vllm")
    listed = json.loads((laid / INDEX_FILE).read_text())["weight_map"]
    assert len(set(listed.values())) > 1
    for file in set(listed.values()):
        assert set(load_file(laid / file)) == {name for name, where in listed.items() if where == file}
    assert same(loaded(sharded), loaded(laid))


def test_a_model_of_another_kind_is_copied_as_it_is(model, tmp_path):
    other = tmp_path / "qwen"
    shutil.copytree(model, other)
    (other / "config.json").write_text('{"model_type": "qwen2_5_vl", "vision_config": {"model_type": "qwen2_5_vl"}}')
    laid = lay_out(other, tmp_path / "vllm")
    for file in other.iterdir():
        assert (laid / file.name).read_bytes() == file.read_bytes()


def test_an_adapter_with_taught_symbols_is_merged(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    from gaea.engine import TransformersEngine

    bare = write_model(tmp_path / "bare", taught=False)
    assert not TransformersEngine(bare).has_geotokens
    tokenizer = AutoTokenizer.from_pretrained(bare)
    base = AutoModelForImageTextToText.from_pretrained(bare, dtype=torch.float32)
    ids = geotokens.add_to(tokenizer, base)
    config = LoraConfig(
        r=2,
        target_modules=r".*language_model.*\.(q_proj|up_proj)",
        trainable_token_indices=geotokens.trained_rows(base, ids),
        init_lora_weights=False,
    )
    wrapped = get_peft_model(base, config).eval()
    wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    tokenizer.save_pretrained(tmp_path / "adapter")

    laid = lay_out(bare, tmp_path / "vllm", adapter=tmp_path / "adapter")
    assert TransformersEngine(laid).has_geotokens
    ours = AutoModelForImageTextToText.from_pretrained(laid, dtype=torch.float32).eval()
    words = torch.tensor([[*tokenizer("Where is this?")["input_ids"], *ids]])
    with torch.inference_mode():
        difference = (ours(input_ids=words).logits - wrapped(input_ids=words).logits).abs().max()
    assert difference < 5e-3  # it was merged in the two bytes a weight that the model is kept in
    assert not any("lora" in name for name in load_file(laid / "model.safetensors"))


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        lay_out(model, tmp_path)
    with pytest.raises(InputError, match="is not empty"):
        lay_out(model, tmp_path / "mine.txt")


@pytest.mark.parametrize("fault", ["absent", "empty", "no config", "cut"])
def test_what_is_no_model_is_one_line(fault, model, tmp_path):
    broken = tmp_path / "broken"
    if fault != "absent":
        shutil.copytree(model, broken)
    if fault == "empty":
        (broken / "model.safetensors").unlink()
    if fault == "no config":
        (broken / "config.json").write_text("{}")
    if fault == "cut":
        (broken / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(ModelError) as caught:
        lay_out(broken, tmp_path / "vllm")
    assert "broken" in str(caught.value)
    assert not (tmp_path / "vllm").exists()
    assert "\n" not in str(caught.value)


def test_an_adapter_that_is_none_is_one_line(model, tmp_path):
    with pytest.raises(ModelError, match="'no-such-adapter' cannot be merged into"):
        lay_out(model, tmp_path / "vllm", adapter="no-such-adapter")
