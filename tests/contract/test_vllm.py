"""A real vLLM on this machine: a LoRA module, a vocabulary taught the symbols, and the whole way to an answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

import gaea
from gaea import geotokens, prompts
from gaea.app import vllm
from gaea.endpoint import EndpointEngine
from gaea.engine import TransformersEngine
from gaea.errors import ModelError
from gaea.finetune import llava
from gaea.locate.neighbours import Neighbour
from gaea.vllm_layout import lay_out

ROOT = np.zeros((1, 0), np.int64)
SAND = Image.new("RGB", (300, 200), (214, 178, 120))
NEAR = [Neighbour(i, 20.0 + i / 10, 18.0 - i / 5, 0.95 - i / 50, "similar", "Chad") for i in range(8)]
LOCATE = prompts.locate(prompts.neighbour_tokens(NEAR))
PREFIXES = [ROOT, *(np.array(rows) for rows in ([[0], [1], [2]], [[2, 3], [1, 9]], [[0, 3, 15, 3, 3]]))]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


@pytest.fixture
def adapted(vllm_url: str) -> Iterator[EndpointEngine]:
    engine = EndpointEngine(vllm_url, model="geo")
    yield engine
    engine.close()


def test_a_lora_module_believes_and_speaks_as_in_this_process(adapted, talking_nano, adapter, in_process) -> None:
    reference = TransformersEngine(talking_nano, adapter=adapter, system=False)
    assert adapted.has_geotokens
    ours, theirs = (each.scorer(LOCATE, each.see(SAND)) for each in (adapted, reference))
    for prefixes in PREFIXES:
        np.testing.assert_allclose(ours(prefixes), theirs(prefixes), atol=1e-4)
    without = in_process.scorer(LOCATE, in_process.see(SAND))(ROOT)
    assert np.abs(ours(ROOT) - without).max() > 0.05  # the adapter is heard
    talk = prompts.locate_in_words()
    replies = {each.complete(talk, each.see(SAND), max_new_tokens=24) for each in (adapted, reference)}
    assert len(replies) == 1


def test_a_prompt_that_is_too_long_is_one_line(adapted) -> None:
    with pytest.raises(ModelError, match=r"HTTP 400: .*1024") as caught:
        adapted.complete(prompts.locate("chad " * 2000), adapted.see(SAND))
    assert "\n" not in str(caught.value)


def test_an_answer_through_vllm_is_the_answer_of_this_process(vllm_url) -> None:
    from gaea.app.sample import crop

    photo = crop((23.4, 25.6))
    here, there = (gaea.load(**options).open(photo) for options in ({}, {"engine": vllm_url}))
    expected, answer = here.ask("Where is this?", guess=True), there.ask("Where is this?", guess=True)
    assert set(there.beliefs) == {"neighbours", "tokens"}
    assert answer.point.lat == pytest.approx(expected.point.lat, abs=1e-3)
    assert answer.point.lon == pytest.approx(expected.point.lon, abs=1e-3)
    assert answer.radius_km[90] == pytest.approx(expected.radius_km[90], rel=1e-3)
    assert answer.abstained == expected.abstained
    assert answer.provenance["model"] == f"gaea-nano at {vllm_url}"
    assert answer.text
    there._with.engine.close()


SHAPE = llava.LlavaShape(
    image_size=56,
    patch_size=14,
    vision_width=64,
    vision_layers=2,
    vision_embed_dim=16,
    width=64,
    layers=2,
    heads=2,
    mlp=96,
    vocabulary=420,
)


def test_symbols_taught_to_a_model_that_had_none_are_served_merged(needs_vllm, tmp_path, monkeypatch) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    with monkeypatch.context() as patch:
        patch.setattr(geotokens, "all_symbols", tuple)
        tokenizer = llava.train_tokenizer(["Where is this?", prompts.LOCATE], SHAPE.vocabulary)
    torch.manual_seed(0)
    llava.save(llava.build_model(tokenizer, SHAPE), llava.build_processor(tokenizer, SHAPE), tmp_path / "bare")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bare")
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "bare", dtype=torch.float32)
    ids = geotokens.add_to(tokenizer, base)
    rows = geotokens.trained_rows(base, ids)
    matrices = r".*language_model.*\.(q_proj|v_proj|up_proj)"
    config = LoraConfig(r=4, target_modules=matrices, trainable_token_indices=rows, init_lora_weights=False)
    wrapped = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter))  # as far from each other as after training
    wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    tokenizer.save_pretrained(tmp_path / "adapter")
    laid = lay_out(tmp_path / "bare", tmp_path / "merged", adapter=tmp_path / "adapter")

    config = vllm.VllmConfig(
        model=laid, name="taught", port=vllm.free_port(), dtype="float32", context=512, compiled=False
    )
    with vllm.running(config, log=tmp_path / "vllm.log") as url:
        served, here = EndpointEngine(url), TransformersEngine(laid)
        assert served.has_geotokens
        ours, theirs = (each.scorer(LOCATE, each.see(SAND)) for each in (served, here))
        for prefixes in PREFIXES:
            np.testing.assert_allclose(ours(prefixes), theirs(prefixes), atol=1e-4)
        assert np.ptp(theirs(ROOT)) > 0.5
        served.close()


def test_a_server_that_cannot_start_is_one_line_and_leaves_nothing_behind(needs_vllm, tmp_path) -> None:
    config = vllm.VllmConfig(model=tmp_path / "absent", name="absent", port=vllm.free_port())
    with (
        pytest.raises(ModelError, match="vLLM ended with status") as caught,
        vllm.running(config, log=tmp_path / "vllm.log"),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "vllm.log") in str(caught.value)
