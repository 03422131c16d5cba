"""S2 symbols in the vocabulary of models that never heard of them: added, trained beside a LoRA, saved, read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gaea import geotokens, prompts
from gaea.decoding import BeamConfig, beam
from gaea.engine import TransformersEngine
from gaea.errors import ModelError
from gaea.finetune import llava

PLACE = geotokens.encode(48.8584, 2.2945)[:6]
MATRICES = "q_proj v_proj up_proj down_proj"
RESERVE = 40  # rows that Qwen's table has beyond its words
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def tokenizer() -> Any:
    """A byte-level BPE with nano's chat template, and without S2 symbols."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=list(llava.SPECIAL), show_progress=False
    )
    bpe.train_from_iterator(["Where is this? It is near Paris."], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )
    fast.chat_template = llava.TEMPLATE
    return fast


SHAPE = llava.LlavaShape(
    image_size=28, patch_size=14, vision_width=64, vision_layers=1, vision_embed_dim=16, width=32, layers=2, heads=2
)


def a_llava(words: Any, *, tied: bool) -> Any:
    model = llava.build_model(words, dataclasses.replace(SHAPE, mlp=48))
    if tied:
        return model
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    return type(model)(config)


def a_qwen(words: Any, *, tied: bool) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "fullatt_block_indexes": [0]}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        vision_config=vision,
        text_config={**TEXT, "vocab_size": len(words) + RESERVE, "rope_parameters": rope},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_start_token_id=5,
        vision_end_token_id=4,
        tie_word_embeddings=tied,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


KINDS: dict[str, tuple[Callable[..., Any], bool]] = {
    "llava tied": (a_llava, True),
    "llava untied": (a_llava, False),
    "qwen tied": (a_qwen, True),
    "qwen untied": (a_qwen, False),
}


@dataclasses.dataclass
class Taught:
    kind: str
    words: Any
    base: Path  # as it was before the symbols
    before: dict[str, torch.Tensor]  # after they were added, before training
    model: Any  # wrapped by peft, trained
    ids: list[int]
    losses: list[float]


def wrapped_in(model: Any, ids: list[int], matrices: str) -> Any:
    """The model with a LoRA on some matrices of its language part, and the symbols' rows."""
    from peft import LoraConfig, get_peft_model  # not before gaea, which mends torchvision on CPU builds of torch

    rows = geotokens.trained_rows(model, ids)
    target = rf".*language_model.*\.({'|'.join(matrices.split())})"
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=target, trainable_token_indices=rows))


def fresh(kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    build, tied = KINDS[kind]
    words = tokenizer()
    return words, build(words, tied=tied).eval()


def example(words: Any, kind: str) -> dict[str, torch.Tensor]:
    """A picture, a question and the place as an answer; the loss is on the place."""
    patches = 4 if "llava" in kind else 1
    asked = f"<s><|user|>{'<image>' * patches}Where is this?<|assistant|>"
    prompt, answer = (words(t, add_special_tokens=False)["input_ids"] for t in (asked, geotokens.to_text(PLACE)))
    ids = torch.tensor([prompt + answer])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    torch.manual_seed(1)
    if "llava" in kind:
        seen = {"pixel_values": torch.randn(1, 3, 28, 28)}
    else:
        seen = {"pixel_values": torch.randn(4, 1176), "image_grid_thw": torch.tensor([[1, 2, 2]])}
        seen["mm_token_type_ids"] = (ids == words.convert_tokens_to_ids("<image>")).int()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, **seen}


def copied(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module", params=KINDS)
def taught(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    kind = request.param
    words, model = fresh(kind)
    base = tmp_path_factory.mktemp("base")
    model.save_pretrained(base)
    ids = geotokens.add_to(words, model)
    before = copied(model)
    wrapped = wrapped_in(model, ids, MATRICES)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    optimiser, losses = torch.optim.AdamW(trained, lr=0.02, weight_decay=0.01), []
    batch = example(words, kind)
    for _ in range(30):
        loss = wrapped(**batch).loss
        losses.append(loss.item())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return Taught(kind, words, base, before, wrapped.eval(), ids, losses)


def logits(model: Any, taught: Taught) -> torch.Tensor:
    with torch.inference_mode():
        return model(**example(taught.words, taught.kind)).logits


def distance(some: torch.Tensor, others: torch.Tensor) -> float:
    """Largest difference, in the largest logit: equal weights at other addresses are summed up in another order."""
    return float((some - others).abs().max() / others.abs().max())


def reloaded(folder: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_adding_leaves_old_words_as_they_were(kind: str) -> None:
    words, model = fresh(kind)
    had, rows = len(words), model.get_input_embeddings().weight.shape[0]
    before, sentence = copied(model), words("It is near Paris.")["input_ids"]
    ids = geotokens.add_to(words, model)

    assert words.convert_ids_to_tokens(ids) == list(geotokens.all_symbols())
    assert words("It is near Paris.")["input_ids"] == sentence
    spoken = geotokens.to_text(PLACE)
    assert words.decode(words(spoken)["input_ids"], skip_special_tokens=True) == spoken

    tables = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    size = max(rows, len(words))  # rows in reserve are used, and not cut
    assert [len(table) for table in tables] == [size, size]
    assert model.config.get_text_config().vocab_size == size
    assert (tables[0] is tables[1]) == KINDS[kind][1]
    for name, value in model.state_dict().items():
        old = had if any(value.data_ptr() == table.data_ptr() for table in tables) else None
        assert torch.equal(value[:old], before[name][:old]), name
    for table in tables:
        new, old = table.detach()[ids], table.detach()[:had]
        assert len(new.unique(dim=0)) == len(ids)
        assert float((new - old.mean(0)).abs().max()) < 0.6 * float(old.std())

    after = copied(model)
    assert geotokens.add_to(words, model) == ids  # and once more changes nothing
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


def test_only_new_rows_and_lora_learn(taught: Taught) -> None:
    names = {name for name, p in taught.model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in names)
    tables = 1 if "untied" not in taught.kind else 2
    deltas = [p for n, p in taught.model.named_parameters() if "trainable_tokens_delta" in n]
    assert [p.shape[0] for p in deltas] == [len(taught.ids)] * tables
    assert taught.losses[-1] < 0.1 * taught.losses[0]
    assert all(float((p - p.mean(0)).detach().std()) > 0.05 for p in deltas)  # where they began, 0.002
    still = {
        name.replace(".base_layer", "").replace(".token_adapter", ""): value
        for name, value in taught.model.base_model.model.state_dict().items()
        if "lora_" not in name and "trainable_tokens" not in name
    }
    assert still.keys() == taught.before.keys()
    assert all(torch.equal(value, taught.before[name]) for name, value in still.items())


def test_merged_it_is_a_plain_model_that_comes_back_identical(taught: Taught, tmp_path: Path) -> None:
    from peft import PeftModel

    expected = logits(taught.model, taught)
    taught.model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    base = reloaded(taught.base)
    geotokens.add_to(taught.words, base)
    merged = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).merge_and_unload()
    assert not any("lora" in name or "token_adapter" in name for name, _ in merged.named_modules())
    state = merged.state_dict()
    changed = [name for name, value in taught.before.items() if not torch.equal(state[name], value)]
    tables = [name for name in changed if not name.endswith(tuple(f"{part}.weight" for part in MATRICES.split()))]
    assert len(tables) == 2
    others = [i for i in range(state[tables[0]].shape[0]) if i not in taught.ids]
    for name in tables:
        assert torch.equal(state[name][others], taught.before[name][others])
        assert not torch.equal(state[name][taught.ids], taught.before[name][taught.ids])
    merged.save_pretrained(tmp_path / "merged")
    back = reloaded(tmp_path / "merged")
    assert all(torch.equal(value, state[name]) for name, value in back.state_dict().items())
    assert distance(logits(back, taught), logits(merged, taught)) <= 1e-6
    assert distance(logits(back, taught), expected) <= 1e-5  # merging itself rounds


def test_an_adapter_alone_fits_the_bare_model(taught: Taught, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoTokenizer

    taught.model.save_pretrained(tmp_path, save_embedding_layers=False)
    taught.words.save_pretrained(tmp_path)
    kept = load_file(tmp_path / "adapter_model.safetensors")
    assert max(value.shape[0] for name, value in kept.items() if "embed" in name or "head" in name) == len(taught.ids)
    words, bare = AutoTokenizer.from_pretrained(tmp_path), reloaded(taught.base)
    assert geotokens.add_to(words, bare) == taught.ids
    back = PeftModel.from_pretrained(bare, str(tmp_path)).eval()
    assert distance(logits(back, taught), logits(taught.model, taught)) <= 1e-6


def test_the_engine_decodes_the_taught_place_under_the_mask(tmp_path: Path) -> None:
    words, model = fresh("llava untied")
    processor = llava.build_processor(words, SHAPE)
    ids = geotokens.add_to(words, model)
    wrapped = wrapped_in(model, ids, "q_proj v_proj")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28, 3), np.uint8))
    asked = processor.apply_chat_template(prompts.locate(), add_generation_prompt=True, tokenize=False)
    batch = processor(
        text=asked + geotokens.to_text(PLACE), images=[picture], return_tensors="pt", add_special_tokens=False
    )
    labels = torch.where(torch.isin(batch["input_ids"], torch.tensor(ids)), batch["input_ids"], -100)
    optimiser = torch.optim.AdamW([p for p in wrapped.parameters() if p.requires_grad], lr=0.02)
    for _ in range(80):
        wrapped(**batch, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    llava.save(wrapped.merge_and_unload(), processor, tmp_path)
    engine = TransformersEngine(tmp_path, system=False)
    assert engine.has_geotokens
    found = beam(engine.scorer(prompts.locate(), engine.see(picture)), BeamConfig(width=3, symbols=6, keep=0))
    assert found.candidates[0].tokens == tuple(PLACE.tolist())
    assert found.candidates[0].log_prob > np.log(0.5)


def test_what_cannot_speak_is_refused() -> None:
    model = a_llava(tokenizer(), tied=True).model.vision_tower
    with pytest.raises(ModelError, match="CLIPVisionModel has no embeddings and head"):
        geotokens.add_to(tokenizer(), model)
