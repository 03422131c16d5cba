"""LoRA and QLoRA for any LLaVA-class model: what is frozen, what is learned, and how large the steps are.

The vision tower stays as it is; every linear layer of the language model gets a LoRA; the projector between them is
trained whole, at its own rate; and of the word tables only the rows of the S2 symbols are trained. The defaults are
GAEA's (UCF-CRCV/GAEA, WACV 2026; the values of its code). :mod:`gaea.finetune.trainer` runs what is prepared here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gaea import adapters, geotokens
from gaea.errors import InputError, MissingDependencyError, ModelError, first_line

TOWERS = ("vision_tower", "visual")
PROJECTORS = ("multi_modal_projector", "visual.merger")


@dataclasses.dataclass(frozen=True)
class EvidenceRecipe:
    """Neighbours in the prompt; see :mod:`gaea.finetune.evidence`.

    Attributes:
        index: Folder of an index (``gaea index build``), or ``nano``, the shipped one; None trains without neighbours.
        similar: Similar neighbours told.
        dissimilar: Dissimilar ones, the farthest in the gallery.
        hard: Dissimilar ones that look alike.
        dropped_share: Samples without any neighbours.
        wrong_share: Samples that are told the neighbours of another picture, of a place far away.
        wrong_km: How far away at least.
        unseen_share: Samples whose neighbours are all farther than ``unseen_km`` from the picture, as at a place that
            nobody photographed.
        unseen_km: That distance.
        same_from: Rows this similar to the picture are the picture itself, and are never told.
    """

    index: str | None = None
    similar: int = 8
    dissimilar: int = 2
    hard: int = 2
    dropped_share: float = 0.15
    wrong_share: float = 0.1
    wrong_km: float = 1000.0
    unseen_share: float = 0.3
    unseen_km: float = 200.0
    same_from: float = 0.995

    def __post_init__(self) -> None:
        """Check the shares."""
        shares = self.dropped_share, self.wrong_share, self.unseen_share
        if not all(0 <= share <= 1 for share in shares) or sum(shares[:2]) > 1:
            raise InputError(
                f"retrieval: dropped_share {shares[0]}, wrong_share {shares[1]}, unseen_share {shares[2]}: "
                "expected shares of 0 to 1, the first two together at most 1"
            )


@dataclasses.dataclass(frozen=True)
class LoraRecipe:
    """One fine-tuning.

    Attributes:
        model: Folder or hub name of the base; ``nano`` is the shipped one.
        method: ``lora``, or ``full`` to train projector and language model whole.
        quantize: ``4bit`` or ``8bit`` loads the frozen weights quantised (QLoRA, arXiv 2305.14314); empty does not.
        rank: Of the LoRA.
        alpha: Its scale is ``alpha / rank``.
        dropout: On its input.
        geotokens: Whether the S2 symbols are added to the vocabulary and their rows trained.
        learning_rate: Peak, of LoRA and rows.
        projector_rate: Peak, of the projector; 0 leaves it as it is.
        weight_decay: AdamW's, on matrices.
        warmup_share: Of the steps; afterwards the rates fall along a cosine.
        epochs: Passes over the rows.
        steps: Optimiser steps; where not 0, instead of ``epochs``.
        batch_size: Rows per step, over all processes.
        device_batch: Rows that one device takes at once; the rest of a batch is accumulated.
        max_tokens: Longer rows are cut.
        min_pixels: Fewest pixels of a picture, for processors that choose the size (Qwen); 0 is the processor's own.
        max_pixels: Most, likewise.
        precision: ``bf16`` or ``float32``.
        gradient_checkpointing: Compute activations twice rather than keep them.
        even: Every row counts the same, however long its answer; otherwise every token does, as GAEA has it.
        concludes: Choices and verdicts are taught fact first ("pharmacy, so B."), and held to it in use; see
            :mod:`gaea.finetune.conclusions`.
        group_by_length: Rows of like length share a batch.
        system: Whether conversations begin with GAEA's system message; not for a template without one.
        evaluate_every: Steps between evaluations, where there are rows to evaluate on.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the loss curve.
        workers: Processes that read pictures.
        seed: Of everything drawn.
        retrieval: Neighbours in the prompt.
    """

    model: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    method: str = "lora"
    quantize: str = ""
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.01
    geotokens: bool = True
    learning_rate: float = 1e-4
    projector_rate: float = 1e-5
    weight_decay: float = 0.1
    warmup_share: float = 0.03
    epochs: float = 1.0
    steps: int = 0
    batch_size: int = 128
    device_batch: int = 4
    max_tokens: int = 1024
    min_pixels: int = 0
    max_pixels: int = 0
    precision: str = "bf16"
    gradient_checkpointing: bool = True
    even: bool = False
    concludes: bool = False
    group_by_length: bool = True
    system: bool = True
    evaluate_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 10
    workers: int = 4
    seed: int = 0
    retrieval: EvidenceRecipe = EvidenceRecipe()

    def __post_init__(self) -> None:
        """Check the words among the settings, and that batches divide."""
        for name, known in (
            ("method", ("lora", "full")),
            ("quantize", ("", "4bit", "8bit")),
            ("precision", ("bf16", "float32")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is '{getattr(self, name)}', expected one of {', '.join(map(repr, known))}")
        if self.method == "full" and self.quantize:
            raise InputError(f"quantize is '{self.quantize}' and method 'full': quantised weights cannot be trained")
        if self.batch_size % self.device_batch:
            raise InputError(f"batch_size {self.batch_size} is no multiple of device_batch {self.device_batch}")


@dataclasses.dataclass(frozen=True, eq=False)
class Student:
    """What is trained.

    Attributes:
        model: Wrapped by peft, or bare where all is trained.
        processor: Its processor, with the S2 symbols.
        likeness: Of the base (:func:`gaea.adapters.likeness`).
    """

    model: Any
    processor: Any
    likeness: dict[str, Any]


def load(recipe: LoraRecipe, *, device: str = "cpu") -> tuple[Any, Any]:
    """The bare model and its processor.

    Raises:
        ModelError: It cannot be loaded, or is none of the LLaVA class.
        MissingDependencyError: ``quantize`` without bitsandbytes.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    options: dict[str, Any] = {"dtype": torch.bfloat16 if recipe.precision == "bf16" else torch.float32}
    if recipe.quantize:
        options |= {"quantization_config": quantization(recipe, options["dtype"]), "device_map": device}
    source = shipped_nano() if recipe.model == "nano" else recipe.model
    pixels = {name: getattr(recipe, name) for name in ("min_pixels", "max_pixels") if getattr(recipe, name)}
    try:
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False, **pixels)
        model = AutoModelForImageTextToText.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"'{recipe.model}' is not a model that can be loaded here: {first_line(error)}") from error
    if not hasattr(getattr(model, "model", None), "language_model") or not _names(model, TOWERS):
        raise ModelError(f"'{recipe.model}' is a {type(model).__name__}, expected a vision tower and a language model")
    model.config.use_cache = False  # of no use in training, and at odds with gradient checkpointing
    return model, processor


def shipped_nano() -> Path:
    """Folder of the model that is part of this package."""
    import gaea

    return Path(str(gaea.__file__)).parent / "nano" / "llava"


def prepare(model: Any, processor: Any, recipe: LoraRecipe) -> Student:
    """Add the symbols, freeze what is not learned, and put the LoRA on; the model is changed in place.

    Raises:
        ModelError: The model cannot take the symbols.
    """
    base = adapters.likeness(model)
    ids = geotokens.add_to(processor.tokenizer, model, seed=recipe.seed) if recipe.geotokens else []
    projectors = _names(model, PROJECTORS) if recipe.projector_rate else []
    if recipe.method == "full":
        towers = tuple(f"{name}." for name in _names(model, TOWERS))
        kept = tuple(f"{name}." for name in projectors)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(towers) or name.startswith(kept or ("\0",)))
        return Student(model, processor, base)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=_targets(model),
        modules_to_save=projectors or None,
        trainable_token_indices=geotokens.trained_rows(model, ids) if ids else None,
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config)
    # What its name was when it was loaded; a copy of the base elsewhere is known by its likeness.
    wrapped.peft_config["default"].base_model_name_or_path = recipe.model
    return Student(wrapped, processor, base)


def groups(model: Any, recipe: LoraRecipe) -> list[dict[str, Any]]:
    """Parameters that are trained, by learning rate and weight decay; each in exactly one group."""
    found: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = recipe.projector_rate if any(f"{part}." in name for part in PROJECTORS) else recipe.learning_rate
            decay = recipe.weight_decay if parameter.ndim > 1 and "trainable_tokens" not in name else 0.0
            found.setdefault((rate, decay), []).append(parameter)
    return [{"params": held, "lr": rate, "weight_decay": decay} for (rate, decay), held in found.items()]


def _names(model: Any, endings: tuple[str, ...]) -> list[str]:
    """Full names of the parts that are called so."""
    return [name for name, _ in model.named_modules() if name.endswith(tuple(f".{ending}" for ending in endings))]


def _targets(model: Any) -> str:
    """A pattern for every linear layer of the language model, and for nothing else."""
    from torch import nn

    language = model.model.language_model
    kinds = {name.rpartition(".")[2] for name, part in language.named_modules() if isinstance(part, nn.Linear)}
    return rf".*\blanguage_model\..*\b({'|'.join(sorted(kinds))})"


def quantization(recipe: LoraRecipe, dtype: Any) -> Any:
    """4 bits as QLoRA has them: NF4, constants quantised once more. Tower, projector and head stay as they are.

    Args:
        recipe: Which; its ``quantize`` is not empty.
        dtype: Torch's, to compute in.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
    """
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            f"quantize: {recipe.quantize} needs bitsandbytes: pip install 'gaea-geo[quantize]'"
        )
    # Patterns from the start of a full name: "vision_tower" alone would not be found in "model.vision_tower".
    kept = [rf"(.*\.)?{name}" for name in (*TOWERS, *PROJECTORS, "lm_head")]
    if recipe.quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )
