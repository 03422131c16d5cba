"""Fine-tuning from rows to a finished adapter folder; starting the same again goes on from the last checkpoint."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from gaea.finetune import adapter_card, conclusions, lora, recipe
from gaea.finetune.collate import Collator, Encoded
from gaea.finetune.dataset import Example
from gaea.finetune.examples import SKIPPED_FILE, Conversations, Tell, skipped
from gaea.finetune.lora import LoraRecipe

logger = logging.getLogger(__name__)

ADAPTER_FOLDER = "adapter"
CHECKPOINTS_FOLDER = "checkpoints"
BOARD = "tensorboard"


class Rows(Protocol):
    """Rows as a torch dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Encoded:
        """The row as tensors, a batch of one."""

    def lengths(self) -> list[int] | None:
        """How long each row is, in any unit; None where rows are to be taken in their own order."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a fine-tuning left behind.

    Attributes:
        adapter: Folder of the PEFT adapter; of the whole model where all was trained.
        metrics: ``train_loss``, ``eval_loss`` where there were rows for it, ``steps``, ``skipped``, ``seconds``,
            ``peak_mb``.
        history: The trainer's log, one mapping a line.
    """

    adapter: Path
    metrics: dict[str, float]
    history: tuple[dict[str, Any], ...]


def tune(
    settings: LoraRecipe,
    rows: Sequence[Example],
    out: Path,
    *,
    images: Path,
    validation: Sequence[Example] = (),
    device: str = "cpu",
    tell: Tell | None = None,
    callbacks: Sequence[Any] = (),
    progress: Callable[..., Any] | None = None,
) -> Run:
    """Fine-tune a model on rows, or go on with it.

    Args:
        settings: What to do.
        rows: Each about one picture.
        out: Folder of the run: ``adapter``, ``checkpoints``, ``loss.svg``, ``log.jsonl``, ``skipped.jsonl``, and
            ``tensorboard`` where that is installed.
        images: Folder that the rows' paths start from.
        validation: Rows that the loss is also measured on.
        device: Torch device.
        tell: Evidence of a row (:mod:`gaea.finetune.evidence`).
        callbacks: Of transformers' Trainer, besides our own.
        progress: A tqdm-like wrapper.

    Raises:
        ModelError: The model cannot be loaded or trained, or a checkpoint cannot be written.
        InputError: Settings do not fit, or too many rows cannot be read.
    """
    from transformers import set_seed

    out.mkdir(parents=True, exist_ok=True)
    set_seed(settings.seed)  # the LoRA begins at random, and in every process alike
    student = lora.prepare(*lora.load(settings, device=device), settings)
    data, held_out = (
        Conversations(
            conclusions.taught(given) if settings.concludes else given,
            images,
            student.processor,
            settings.max_tokens,
            settings.system,
            tell,
            out / SKIPPED_FILE,
        )
        for given in (rows, validation)
    )
    run = fit(
        student,
        data,
        settings,
        out,
        validation=held_out if validation else None,
        title=f"{settings.method} of {Path(settings.model).name}",
        device=device,
        callbacks=callbacks,
        progress=progress,
    )
    if leads():
        _finish(out, student, data, settings, run.metrics)
    return run


def fit(
    student: lora.Student,
    data: Rows,
    settings: LoraRecipe,
    out: Path,
    *,
    validation: Rows | None = None,
    title: str = "",
    device: str = "cpu",
    callbacks: Sequence[Any] = (),
    progress: Callable[..., Any] | None = None,
) -> Run:
    """Train on encoded rows, wherever they come from, or go on from the last checkpoint.

    Args:
        student: What is trained; it is changed in place.
        data: The rows.
        settings: Rates, steps, batches, precision.
        out: Folder of the run.
        validation: Rows that the loss is also measured on.
        title: Of the loss curve.
        device: Torch device.
        callbacks: Of transformers' Trainer, besides our own.
        progress: A tqdm-like wrapper.

    Raises:
        ModelError: The model cannot be trained, or a checkpoint cannot be written.
        InputError: Settings do not fit, or too many rows cannot be read.
    """
    from transformers import PrinterCallback

    from gaea.finetune.trainer import Bar, Curve, LoraTrainer, arguments, boards, clear_broken, latest

    out.mkdir(parents=True, exist_ok=True)
    checkpoints = out / CHECKPOINTS_FOLDER
    trainer = LoraTrainer(
        settings,
        model=student.model,
        args=arguments(settings, checkpoints, device=device, evaluates=validation is not None),
        train_dataset=data,
        eval_dataset=validation,
        data_collator=Collator(_padding(student.processor.tokenizer)),
        callbacks=[Curve(out, title), *boards(out / BOARD), *([Bar(progress)] if progress else []), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # nothing is printed here; the log says it all
    if trainer.is_world_process_zero():
        recipe.save(settings, out / "recipe.json")
        for name in clear_broken(checkpoints):
            logger.warning("%s was interrupted while it was written, and is removed", name)
    trainer.accelerator.wait_for_everyone()
    kept = latest(checkpoints)
    if kept:
        logger.info("going on from %s", kept.name)
    done = trainer.train(resume_from_checkpoint=str(kept) if kept else None)
    metrics = {"train_loss": done.training_loss, "seconds": done.metrics["train_runtime"]}
    metrics |= {"eval_loss": trainer.evaluate()["eval_loss"]} if validation is not None else {}
    metrics["peak_mb"] = _peak_mb(device)
    metrics |= {"steps": float(trainer.state.global_step), "skipped": float(len(skipped(out / SKIPPED_FILE)))}
    student.model.config.use_cache = True
    trainer.save_model(str(out / ADAPTER_FOLDER))
    if trainer.is_world_process_zero() and trainer.is_fsdp_enabled:
        here, everywhere = shares(trainer.model)
        logger.info("this process held %d of %d weights", here, everywhere)
    return Run(out / ADAPTER_FOLDER, metrics, tuple(trainer.state.log_history))


def leads() -> bool:
    """Whether this is the only process of a run, or the first of several."""
    return int(os.environ.get("RANK", "0")) == 0


def _peak_mb(device: str) -> float:
    """Most memory so far, MB: this process's resident set, or on a GPU what torch held there."""
    import resource

    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device) / 1e6)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def shares(model: Any) -> tuple[int, int]:
    """How many weights of a sharded model lie in this process, and how many there are."""
    held = [(p.to_local().numel() if hasattr(p, "to_local") else p.numel(), p.numel()) for p in model.parameters()]
    return sum(here for here, _ in held), sum(everywhere for _, everywhere in held)


def _finish(
    out: Path, student: lora.Student, data: Conversations, settings: LoraRecipe, metrics: dict[str, float]
) -> None:
    """Write what stands beside the weights."""
    left = skipped(out / SKIPPED_FILE)
    for line in left.values():
        logger.warning("row %d was left out: %s", line["row"], line["reason"])
    folder = out / ADAPTER_FOLDER
    student.processor.save_pretrained(folder)
    sources = {
        f"{source.get('name', '')}: {source.get('licence', '')}"
        for example in data.examples
        for source in example.ours.get("sources", ())
    }
    made = adapter_card.Made(
        settings,
        student.likeness,
        len(data),
        data.content_hash(),
        len(left),
        int(metrics["steps"]),
        {name: metrics[name] for name in ("train_loss", "eval_loss") if name in metrics},
        tuple(sorted(sources)),
    )
    adapter_card.write(folder, made)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def _padding(tokenizer: Any) -> int:
    """What rows are filled with; the end of text where a tokenizer has nothing for it, since masks hide it anyway."""
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
