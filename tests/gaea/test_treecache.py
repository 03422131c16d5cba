"""Every symbol is read once, and the scores are those of a plain forward over the whole text."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import gaea
from gaea import geotokens, prompts
from gaea.decoding import BeamConfig, BestFirstConfig, SampleConfig, SearchConfig, beam, best_first, sample, search
from gaea.engine import TransformersEngine
from gaea.treecache import TreeScorer

NANO = Path(gaea.__file__).parent / "nano"
IMAGE, SYMBOL_IDS, VOCABULARY = 5, list(range(10, 32)), 40
PICTURE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
ROOT = np.zeros((1, 0), np.int64)


def spread(model):
    """Weights as they start are so small that every symbol is equally probable."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval()


def llava(text):
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE))
    ids = torch.tensor([[1, IMAGE, IMAGE, IMAGE, IMAGE, 7, 8, 9]])
    return spread(model), {"input_ids": ids, "pixel_values": torch.randn(1, 3, 32, 32)}


SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def llava_of_llama():
    from transformers import LlamaConfig

    return llava(LlamaConfig(**SMALL))


def llava_with_a_sliding_window():
    from transformers import MistralConfig

    return llava(MistralConfig(**SMALL, sliding_window=6, head_dim=8))


def qwen():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        vision_config=vision,
        text_config={**SMALL, "rope_parameters": rope},
        image_token_id=IMAGE,
        vision_start_token_id=6,
        vision_end_token_id=4,
    )
    torch.manual_seed(0)
    model = spread(Qwen2_5_VLForConditionalGeneration(config))
    ids = torch.tensor([[1, 6, *[IMAGE] * 8, 4, 7, 8, 9]])
    inputs = {"input_ids": ids, "pixel_values": torch.randn(32, 1176), "image_grid_thw": torch.tensor([[1, 8, 4]])}
    return model, inputs | {"mm_token_type_ids": (ids == IMAGE).int()}


MODELS = {"llava": llava_of_llama, "sliding window": llava_with_a_sliding_window, "qwen": qwen}


@pytest.fixture(scope="module", params=MODELS)
def built(request):
    model, inputs = MODELS[request.param]()
    return request.param, model, inputs | {"attention_mask": torch.ones_like(inputs["input_ids"])}


def scorer(built, **options):
    _, model, inputs = built
    return TreeScorer(model, model.model, dict(inputs), SYMBOL_IDS, **options)


def from_scratch(built, prefix):
    """Probabilities by one plain forward over prompt and path, without any cache."""
    _, model, inputs = built
    path = [SYMBOL_IDS[s] if k == 0 else SYMBOL_IDS[6 + s] for k, s in enumerate(prefix)]
    whole = dict(inputs) | {"input_ids": torch.cat([inputs["input_ids"], torch.tensor([path], dtype=torch.long)], 1)}
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    if "mm_token_type_ids" in whole:
        whole["mm_token_type_ids"] = (whole["input_ids"] == IMAGE).int()
    with torch.inference_mode():
        logits = model(**whole, use_cache=False).logits[0, -1]
    return logits[SYMBOL_IDS[6:] if path else SYMBOL_IDS[:6]].log_softmax(-1).numpy()


def assert_equal(built, score, prefixes):
    for prefix, row in zip(prefixes, score(np.array(prefixes, np.int64)), strict=True):
        np.testing.assert_allclose(row, from_scratch(built, prefix), atol=1e-4)


def test_any_order_of_paths_gives_what_a_whole_forward_gives(built):
    score = scorer(built)
    assert score(ROOT).shape == (1, 6)
    np.testing.assert_allclose(score(ROOT)[0], from_scratch(built, ()), atol=1e-4)
    deep = [[1, 0, 0, 7, 9, 3, 2, 1, 15, 4]]
    for prefixes in ([[2], [5], [0]], [[2, 3, 15], [5, 3, 14]], deep, [[2, 3, 15], [2, 3, 15], [1, 0, 0]], [[3]]):
        assert_equal(built, score, prefixes)
    flat = score(np.array([[s] for s in range(6)]))
    assert flat.std(0).min() > 0.01  # a scorer that mixes up its paths would be found out


def digits(faces, k):
    return st.tuples(*[st.lists(st.integers(0, 15), min_size=k, max_size=k).map(lambda d, f=f: [f, *d]) for f in faces])


paths = st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 4)).flatmap(lambda a: digits(*a))


@settings(max_examples=10)
@given(calls=st.lists(paths, min_size=1, max_size=4), remembered=st.sampled_from([1, 9, 4096]))
def test_any_calls_agree_with_a_fresh_start_however_much_is_remembered(built, calls, remembered):
    score = scorer(built, remembered=remembered)
    for prefixes in calls:
        rows = score(np.array(prefixes))
        for prefix, row in zip(prefixes, rows, strict=True):
            alone = scorer(built)
            np.testing.assert_allclose(row, alone(np.array([prefix]))[0], atol=1e-4)
    largest = max(len(p) * len(p[0]) for p in calls)
    assert len(score._rows) <= max(remembered, largest) + largest


def test_each_symbol_is_read_once(built):
    name, _, _ = built
    score = scorer(built)
    score(np.array([[2, 3, 4], [2, 3, 5], [2, 7, 5]]))
    if name == "sliding window":  # told apart by its cache: read as whole paths, and right all the same
        assert (score.calls, score.tokens_fed) == (1, 9)
        return
    assert (score.calls, score.tokens_fed) == (3, 1 + 2 + 3)
    score(np.array([[2, 3, 4], [2, 7, 5]]))
    score(np.array([[2, 3]]))
    assert (score.calls, score.tokens_fed) == (3, 6)
    score(np.array([[2, 3, 4, 0], [2, 7, 5, 15]]))
    assert (score.calls, score.tokens_fed) == (4, 8)


@pytest.mark.parametrize(
    "decode",
    [
        lambda score: beam(score, BeamConfig(width=5, symbols=11, keep=0, least_gain_bits=0)),
        lambda score: best_first(score, BestFirstConfig(symbols=5, most_scored=150, batch=8)),
        lambda score: sample(score, SampleConfig(symbols=6)),
    ],
)
def test_a_search_feeds_no_more_than_the_nodes_of_its_tree(built, decode):
    score = scorer(built)
    found = decode(score)
    plain = decode(lambda prefixes: np.stack([from_scratch(built, p) for p in prefixes.tolist()]))
    if built[0] != "sliding window":
        assert score.tokens_fed == found.scored - 1  # the root is the prompt's own
    ours, theirs = ({c.tokens: c.log_prob for c in d.candidates[:100]} for d in (found, plain))
    both = ours.keys() & theirs.keys()
    assert len(both) >= 0.98 * len(theirs)  # equals may change places at the hundredth
    assert {k: ours[k] for k in both} == pytest.approx({k: theirs[k] for k in both}, abs=1e-4)


def test_a_second_question_in_between_changes_nothing(built):
    """Qwen keeps the shift of its positions in the model, where the next prompt overwrites it."""
    model = built[1]
    score = scorer(built)
    before = score(np.array([[2]]))
    other = {"input_ids": torch.tensor([[1, 7, 8]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    if hasattr(model.model, "rope_deltas"):
        assert int(model.model.rope_deltas.max()) != 0
        model.model.rope_deltas = torch.zeros_like(model.model.rope_deltas)
    with torch.inference_mode():
        model(**other)
    assert_equal(built, score, [[2, 9], [4, 9]])
    np.testing.assert_array_equal(score(np.array([[2]])), before)


# ---- nano


@pytest.fixture(scope="module")
def nano():
    from transformers.utils import logging

    logging.disable_progress_bar()
    return TransformersEngine(NANO / "llava", system=False)


def nano_from_scratch(engine, messages, prefix):
    tokenizer = engine._processor.tokenizer
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + "<|geo|>"
    text += "".join(geotokens.FACE_SYMBOLS[s] if k == 0 else geotokens.DIGIT_SYMBOLS[s] for k, s in enumerate(prefix))
    inputs = engine._processor(text=text, images=[PICTURE], return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        logits = engine._model(**inputs).logits[0, -1]
    choices = geotokens.DIGIT_SYMBOLS if len(prefix) else geotokens.FACE_SYMBOLS
    return logits[tokenizer.convert_tokens_to_ids(list(choices))].log_softmax(-1).numpy()


def test_nano_scores_as_a_whole_forward_does(nano):
    score = nano.scorer(prompts.locate(), nano.see(PICTURE))
    found = best_first(score, BestFirstConfig(symbols=6, most_scored=60, batch=8))
    assert score.tokens_fed == found.scored - 1
    rng = np.random.default_rng(0)
    for length in (0, 1, 2, 3, 5):
        prefix = [int(rng.integers(6)), *rng.integers(16, size=length - 1).tolist()] if length else []
        row = score(np.array([prefix], np.int64).reshape(1, length))[0]
        np.testing.assert_allclose(row, nano_from_scratch(nano, prompts.locate(), prefix), atol=1e-4)


def test_nano_believes_the_same_whichever_way_it_reads(nano):
    score, copied = (nano.scorer(prompts.locate(), nano.see(PICTURE)) for _ in range(2))
    copied._masked = False
    config = SearchConfig(keep=0.0005)
    ours, theirs = search(score, config), search(copied, config)
    np.testing.assert_array_equal(ours.cells, theirs.cells)
    np.testing.assert_allclose(ours.log_prob, theirs.log_prob, atol=1e-4)
    assert score.tokens_fed < copied.tokens_fed
