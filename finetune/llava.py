"""Builds nano: a real LLaVA from config, with its own byte-level BPE tokenizer, S2 tokens, processor and template."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gaea import geotokens
from gaea.errors import InputError, ModelError
from gaea.rag.orbitnet import MEAN, STD

SPECIAL = ("<pad>", "<s>", "</s>", "<image>", "<|user|>", "<|assistant|>", "<|system|>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] in ('image', 'image_url') %}<image>{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% if m['role'] == 'assistant' and not (loop.last and continue_final_message) %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclasses.dataclass(frozen=True)
class LlavaShape:
    """Sizes of nano's three parts; the tower's must match the trained one."""

    image_size: int = 96
    patch_size: int = 16
    vision_width: int = 192
    vision_layers: int = 6
    vision_embed_dim: int = 128
    width: int = 256
    layers: int = 4
    heads: int = 4
    mlp: int = 768
    vocabulary: int = 4096
    context: int = 1024


def train_tokenizer(corpus: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE with single digits and the S2 symbols as whole tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|\n"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    symbols = geotokens.all_symbols()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocabulary - len(symbols),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=list(SPECIAL),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=1024,
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )
    fast.add_tokens(list(symbols), special_tokens=False)
    fast.chat_template = TEMPLATE
    return fast


def closing(tokenizer: Any) -> Any:
    """The same vocabulary for a text tower: sentences are opened, closed, and padded on the right."""
    from tokenizers.processors import TemplateProcessing

    twin = copy.deepcopy(tokenizer)
    marks = [(mark, twin.convert_tokens_to_ids(mark)) for mark in ("<s>", "</s>")]
    twin.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    twin.padding_side = "right"
    return twin


def build_processor(tokenizer: Any, shape: LlavaShape) -> Any:
    """Resizes the whole picture to the tower's square, and writes one image token per patch."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    side = shape.image_size
    images = CLIPImageProcessorPil(
        do_resize=True,
        size={"height": side, "width": side},
        do_center_crop=False,
        resample=3,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=shape.patch_size,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def build_model(tokenizer: Any, shape: LlavaShape) -> Any:
    """A ``LlavaForConditionalGeneration`` with random weights."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_width * 4,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_width // 64,
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        projection_dim=shape.vision_embed_dim,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=(shape.image_size // shape.patch_size) ** 2,
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    return model


def load_speaker(model: Any, tokenizer: Any, folder: Path) -> None:
    """Copy all weights of a model of the same shape and the same tokenizer.

    Raises:
        InputError: It has another tokenizer, or another shape.
        ModelError: There is no model.
    """
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no config.json: expected the folder of a LLaVA")
    if AutoTokenizer.from_pretrained(folder).get_vocab() != tokenizer.get_vocab():
        raise InputError(f"{folder} has another tokenizer than this run: its words would not mean the same")
    kept = LlavaForConditionalGeneration.from_pretrained(folder).float().state_dict()
    shapes, wanted = ({k: tuple(v.shape) for k, v in each.items()} for each in (kept, model.state_dict()))
    if shapes != wanted:
        odd = min(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        told = f"{odd} is {shapes.get(odd)}, expected {wanted.get(odd)}"
        raise InputError(f"{folder} holds a model of another shape than the recipe's: {told}")
    model.load_state_dict(kept)


def load_tower(model: Any, open_clip_tower: Any) -> None:
    """Copy an open_clip VisionTransformer into the LLaVA's CLIP vision model, weight by weight.

    Both compute the same function of a picture up to the last block; open_clip's projection has no counterpart.
    """
    source = open_clip_tower.state_dict()
    width = source["conv1.weight"].shape[0]
    target = {
        "embeddings.class_embedding": source["class_embedding"],
        "embeddings.position_embedding.weight": source["positional_embedding"],
        "embeddings.patch_embedding.weight": source["conv1.weight"],
        "pre_layrnorm.weight": source["ln_pre.weight"],
        "pre_layrnorm.bias": source["ln_pre.bias"],
        "post_layernorm.weight": source["ln_post.weight"],
        "post_layernorm.bias": source["ln_post.bias"],
    }
    layers = len({k.split(".")[2] for k in source if k.startswith("transformer.resblocks.")})
    for i in range(layers):
        ours, theirs = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            joined = source[f"{theirs}attn.in_proj_{kind}"]
            for name, part in zip(("q", "k", "v"), joined.split(width), strict=True):
                target[f"{ours}self_attn.{name}_proj.{kind}"] = part
            target[f"{ours}self_attn.out_proj.{kind}"] = source[f"{theirs}attn.out_proj.{kind}"]
            target[f"{ours}layer_norm1.{kind}"] = source[f"{theirs}ln_1.{kind}"]
            target[f"{ours}layer_norm2.{kind}"] = source[f"{theirs}ln_2.{kind}"]
            target[f"{ours}mlp.fc1.{kind}"] = source[f"{theirs}mlp.c_fc.{kind}"]
            target[f"{ours}mlp.fc2.{kind}"] = source[f"{theirs}mlp.c_proj.{kind}"]
    tower = model.model.vision_tower
    known = tower.state_dict()
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in known) else ""
    missing = set(known) - {prefix + k for k in target} - {k for k in known if k.endswith("position_ids")}
    if missing:
        raise ValueError(f"the tower lacks {sorted(missing)[:3]}")
    tower.load_state_dict({prefix + k: v for k, v in target.items()}, strict=False)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write weights as fp16 safetensors with config, tokenizer and processor."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)


@functools.cache
def _template() -> Any:
    from jinja2 import Template

    return Template(TEMPLATE)


def render(messages: list[dict[str, Any]]) -> str:
    """A finished conversation in nano's template, as text; what the tokenizer's own rendering gives."""
    options = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False}
    return str(_template().render(messages=messages, **options))
