"""Small models of every family, from config alone, with their real processors and published chat templates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

SIDE, PATCH = 28, 14
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}

# As published with llava-hf/llava-1.5-7b-hf, llava-hf/llava-v1.6-mistral-7b-hf, llava-hf/llava-onevision-qwen2-7b-ov-hf
# and Qwen/Qwen2.5-VL-7B-Instruct, less what they do with videos.
_IMAGES = "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}"
_TEXTS = "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}"
VICUNA = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': '}}{% endif %}"
    + _IMAGES
    + "{{ '<image>\n' }}{% endfor %}{% if m['role'] != 'assistant' %}"
    + _TEXTS
    + "{{ c['text'] + ' '}}{% endfor %}{% else %}"
    + _TEXTS
    + "{% generation %}{{ c['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL = (
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + m['content'][0]['text'] + '\n<</SYS>>\n\n' }}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' }}"
    + _IMAGES
    + "{{ '<image>\n' }}{% endfor %}"
    + _TEXTS
    + "{{ c['text'] }}{% endfor %}{{' [/INST]' }}{% elif m['role'] == 'assistant' %}"
    "{{ ' ' + m['content'][0]['text'] + '</s>' }}{% endif %}{% endfor %}"
)
ONEVISION = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + ' '}}"
    + _IMAGES
    + "{{ '<image>' }}{% endfor %}{% if m['role'] != 'assistant' %}"
    + _TEXTS
    + "{{ '\n' + c['text'] }}{% endfor %}{% else %}"
    + _TEXTS
    + "{% generation %}{{ '\n' + c['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}<|im_end|>\n{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("<pad>", "<s>", "</s>", "<image>", "<|im_start|>", "<|im_end|>")
QWEN_MARKS = (*MARKS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: Of it.
        end: What ends an answer.
        processor: Builds its processor.
        model: Builds a small model for a processor, random but for a seed.
    """

    name: str
    end: str
    processor: Callable[[], Any]
    model: Callable[[Any], Any]

    def save(self, folder: Path, seed: int = 0) -> Path:
        """Write a model with its processor, as a hub would hold them."""
        processor = self.processor()
        torch.manual_seed(seed)
        self.model(processor).save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder


def tokenizer(marks: tuple[str, ...], image: str, end: str) -> Any:
    """A byte-level BPE with a family's marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(marks),
        show_progress=False,
    )
    bpe.train_from_iterator(
        ["Where is this? It is near Paris, France. ASSISTANT: USER: assistant user system"], trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token=end,
        padding_side="left",
        extra_special_tokens={"image_token": image},
    )


def _llava_processor() -> Any:
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(MARKS, "<image>", "</s>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA,
    )


def _llava_model(processor: Any) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    words = processor.tokenizer
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=LlamaConfig(**TEXT, vocab_size=len(words), pad_token_id=0),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config)


GRID = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE]]


def _next_processor() -> Any:
    from transformers import LlavaNextImageProcessorPil, LlavaNextProcessor

    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=GRID
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer(MARKS, "<image>", "</s>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=MISTRAL,
    )


def _next_model(processor: Any) -> Any:
    from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, MistralConfig

    words = processor.tokenizer
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=MistralConfig(**TEXT, vocab_size=len(words), pad_token_id=0),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=GRID,
        vision_feature_layer=-1,
    )
    return LlavaNextForConditionalGeneration(config)


def _onevision_processor() -> Any:
    from transformers import LlavaOnevisionImageProcessorPil, LlavaOnevisionProcessor, LlavaOnevisionVideoProcessor

    grid = [[SIDE, SIDE], *GRID]
    images = LlavaOnevisionImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=grid)
    return LlavaOnevisionProcessor(
        image_processor=images,
        tokenizer=tokenizer((*MARKS, "<video>"), "<image>", "<|im_end|>"),
        video_processor=LlavaOnevisionVideoProcessor(size={"height": SIDE, "width": SIDE}),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=ONEVISION,
    )


def _onevision_model(processor: Any) -> Any:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        Qwen2Config,
        SiglipVisionConfig,
    )

    words = processor.tokenizer
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=Qwen2Config(**TEXT, vocab_size=len(words) + 30, pad_token_id=0),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[SIDE, SIDE], *GRID],
    )
    return LlavaOnevisionForConditionalGeneration(config)


def _qwen_processor() -> Any:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil, Qwen2VLVideoProcessor

    words = tokenizer(QWEN_MARKS, "<|image_pad|>", "<|im_end|>")
    words.bos_token = None
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=4 * 28 * 28),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=QWEN,
    )


def _qwen_model(processor: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    named = processor.tokenizer.convert_tokens_to_ids
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "fullatt_block_indexes": [0]}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        vision_config=vision,
        text_config={**TEXT, "vocab_size": len(processor.tokenizer) + 40, "rope_parameters": rope, "pad_token_id": 0},
        image_token_id=named("<|image_pad|>"),
        video_token_id=named("<|video_pad|>"),
        vision_start_token_id=named("<|vision_start|>"),
        vision_end_token_id=named("<|vision_end|>"),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


FAMILIES = {
    family.name: family
    for family in (
        Family("llava", "</s>", _llava_processor, _llava_model),
        Family("llava-next", "</s>", _next_processor, _next_model),
        Family("llava-onevision", "<|im_end|>", _onevision_processor, _onevision_model),
        Family("qwen2.5-vl", "<|im_end|>", _qwen_processor, _qwen_model),
    )
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family in turn."""
    return FAMILIES[request.param]


@pytest.fixture(scope="session")
def families() -> dict[str, Family]:
    """All families by name."""
    return FAMILIES


def picture(number: int, width: int = 40, height: int = 28) -> Image.Image:
    """A picture of noise."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8))


@pytest.fixture(scope="session")
def a_picture() -> Callable[..., Image.Image]:
    """Makes pictures by number and size."""
    return picture


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """Writes rows of GAEA's training format, with photos that are whole, but for those named as broken."""

    def write(folder: Path, count: int, broken: tuple[int, ...] = ()) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for number in range(count):
            photo = folder / f"{number}.png"
            picture(number, 28 + 7 * (number % 3)).save(photo)
            if number in broken:
                photo.write_bytes(photo.read_bytes()[:60])
            asked = "Where is this?" + " Look closely." * (number % 4)
            said = [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": f"It is place {number}."}]
            rows.append({"image": photo.name, "dataset": "test", "question_type": "SVQA", "conversations": said})
        (folder / "rows.json").write_text(json.dumps(rows))
        return folder / "rows.json"

    return write
