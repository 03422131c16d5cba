"""nano's LLaVA: its template, its tokenizer, and a tower that is open_clip's own."""

import dataclasses

import pytest
import torch

from gaea import geotokens, prompts
from gaea.briefing import Briefing
from gaea.errors import InputError, ModelError
from gaea.finetune import llava

CORPUS = ["Where is this? This is in France.", "<data>\ncountry: France\n</data>", "I cannot tell."] * 5


@pytest.fixture(scope="module")
def tokenizer():
    return llava.train_tokenizer(CORPUS, 420)


CONVERSATION = prompts.talk(
    Briefing(facts=(("country", "Côte d'Ivoire"),), sure="unsure", radius_km=(300.0, 900.0)),
    [("Where is this?", "In Côte d'Ivoire."), ("How sure?", "Not very.")],
    "What else?",
)


@pytest.mark.parametrize("last", [None, "Nothing.", "<|geo|><|s2:f2|><|s2:3|><|/geo|>"])
def test_render_equals_the_tokenizers_own_template(last, tokenizer):
    said = [] if last is None else [{"role": "assistant", "content": [{"type": "text", "text": last}]}]
    messages = [*CONVERSATION, *said]
    assert llava.render(messages) == tokenizer.apply_chat_template(messages, tokenize=False)


def test_a_rendered_conversation_letter_by_letter():
    messages = [*prompts.locate(), {"role": "assistant", "content": [{"type": "text", "text": "<|geo|>"}]}]
    assert llava.render(messages) == f"<s><|user|><image>{prompts.LOCATE}<|assistant|><|geo|></s>"


def test_the_prompt_is_the_beginning_of_what_was_trained_on(tokenizer):
    asked = tokenizer.apply_chat_template(CONVERSATION, tokenize=False, add_generation_prompt=True)
    said = {"role": "assistant", "content": [{"type": "text", "text": "Nothing."}]}
    assert llava.render([*CONVERSATION, said]) == f"{asked}Nothing.</s>"


def test_marks_and_symbols_are_one_token_each_and_digits_stand_alone(tokenizer):
    for mark in (*llava.SPECIAL, *geotokens.all_symbols()):
        assert len(tokenizer(mark, add_special_tokens=False)["input_ids"]) == 1
    assert len(tokenizer) <= 420
    assert len(tokenizer("2048", add_special_tokens=False)["input_ids"]) == 4


@pytest.mark.parametrize("text", ["São Tomé, 12 km", "Ελλάδα 東京\nline", "  two  spaces "])
def test_any_text_comes_back(text, tokenizer):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_sentences_for_the_text_tower_are_closed(tokenizer):
    twin = llava.closing(tokenizer)
    ids = twin(["a", "a much longer sentence"], padding=True)["input_ids"]
    assert all(row[0] == twin.bos_token_id for row in ids)
    assert ids[1][-1] == twin.eos_token_id
    assert ids[0][-1] == twin.pad_token_id
    assert tokenizer("a")["input_ids"][0] != tokenizer.bos_token_id  # the first one is left as it was


@pytest.mark.parametrize("side", [32, 96])
def test_the_tower_is_open_clips_own(side, tokenizer):
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    source = VisionTransformer(
        image_size=side, patch_size=16, width=128, layers=3, heads=2, mlp_ratio=4.0, output_dim=32
    ).eval()
    for parameter in source.parameters():  # zeros and ones would hide a swapped bias
        torch.nn.init.normal_(parameter, std=0.1)
    shape = llava.LlavaShape(
        image_size=side, vision_width=128, vision_layers=3, vision_embed_dim=32, width=32, layers=1, heads=2, mlp=64
    )
    model = llava.build_model(tokenizer, shape).eval()
    llava.load_tower(model, source)
    pictures = torch.randn(2, 3, side, side)
    with torch.no_grad():
        hidden = model.model.vision_tower(pictures)
        pooled, expected = hidden.pooler_output @ source.proj, source(pictures)
        x = source._embeds(pictures)
        tokens = source.transformer(x)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hidden.last_hidden_state, tokens, rtol=1e-4, atol=1e-5)
    assert hidden.last_hidden_state.shape == (2, (side // 16) ** 2 + 1, 128)


def test_a_tower_of_another_depth_is_refused(tokenizer):
    from open_clip.transformer import VisionTransformer

    source = VisionTransformer(image_size=32, patch_size=16, width=64, layers=1, heads=1, mlp_ratio=4.0)
    model = llava.build_model(tokenizer, llava.LlavaShape(image_size=32, vision_width=64, vision_layers=2, width=32))
    with pytest.raises(ValueError, match="the tower lacks"):
        llava.load_tower(model, source)


SMALL = llava.LlavaShape(image_size=32, vision_width=64, vision_layers=1, width=32, layers=1, heads=2, mlp=64)


@pytest.fixture
def speaker(tokenizer, tmp_path):
    torch.manual_seed(1)
    model = llava.build_model(tokenizer, SMALL)
    llava.save(model, llava.build_processor(tokenizer, SMALL), tmp_path / "speaker")
    return tmp_path / "speaker", model.float().state_dict()


def test_a_speaker_is_gone_on_with(speaker, tokenizer):
    folder, weights = speaker
    torch.manual_seed(2)
    model = llava.build_model(tokenizer, SMALL)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])]
    assert any("vision_tower" in name for name in changed)
    llava.load_speaker(model, tokenizer, folder)
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32 or not value.is_floating_point()
        torch.testing.assert_close(value, weights[name], msg=name)


def test_a_speaker_of_another_kind_is_refused(speaker, tokenizer, tmp_path):
    folder, _ = speaker
    wider = dataclasses.replace(SMALL, width=64)
    with pytest.raises(InputError, match=r"another shape.*expected"):
        llava.load_speaker(llava.build_model(tokenizer, wider), tokenizer, folder)
    other = llava.train_tokenizer([*CORPUS, "Quite another corpus altogether"] * 3, 440)
    with pytest.raises(InputError, match="another tokenizer"):
        llava.load_speaker(llava.build_model(other, SMALL), other, folder)
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        llava.load_speaker(llava.build_model(tokenizer, SMALL), tokenizer, tmp_path)


def test_the_processor_writes_one_image_token_per_patch(tokenizer):
    from PIL import Image

    processor = llava.build_processor(tokenizer, llava.LlavaShape())
    text = processor.apply_chat_template(prompts.locate(), add_generation_prompt=True, tokenize=False)
    inputs = processor(text=text, images=[Image.new("RGB", (200, 50))], return_tensors="pt")
    assert int((inputs["input_ids"] == tokenizer.convert_tokens_to_ids("<image>")).sum()) == 36
    assert inputs["pixel_values"].shape == (1, 3, 96, 96)
    expected = (0 - torch.tensor(llava.MEAN)) / torch.tensor(llava.STD)
    torch.testing.assert_close(inputs["pixel_values"][0, :, 50, 50].float(), expected)
