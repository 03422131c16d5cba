"""Runs a fine-tuning on transformers' Trainer, which brings accelerate's many GPUs and machines with it.

What is added to it: two learning rates, rows of like length together in an order that a restart finds again,
checkpoints that are whole or absent, and complaints about pictures in one line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from gaea.errors import InputError, ModelError, first_line
from gaea.finetune import curve
from gaea.finetune.collate import Encoded, mismatch
from gaea.finetune.lora import LoraRecipe, groups
from gaea.finetune.rowloss import asked_positions, row_mean

logger = logging.getLogger(__name__)

WHOLE_FILE = "whole"
"""Written into a checkpoint after everything else; one without it was interrupted."""
_POOLS = 50


def arguments(recipe: LoraRecipe, folder: Path, *, device: str, evaluates: bool) -> TrainingArguments:
    """The recipe in the Trainer's words.

    Args:
        recipe: What to do.
        folder: For checkpoints.
        device: Torch device; ``cpu`` keeps a GPU idle.
        evaluates: Whether there are rows to evaluate on.

    Raises:
        InputError: The batch does not divide among the processes.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = recipe.device_batch * processes
    if recipe.batch_size % at_once:
        raise InputError(
            f"batch_size {recipe.batch_size} does not divide among {processes} processes of device_batch "
            f"{recipe.device_batch}: make it a multiple of {at_once}"
        )
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.device_batch,
        per_device_eval_batch_size=recipe.device_batch,
        gradient_accumulation_steps=recipe.batch_size // at_once,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_share,
        bf16=recipe.precision == "bf16",
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        logging_steps=recipe.log_every,
        logging_first_step=True,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=recipe.evaluate_every,
        save_strategy="steps",
        save_steps=recipe.checkpoint_every,
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        average_tokens_across_devices=not recipe.even,
        prediction_loss_only=True,
        dataloader_num_workers=recipe.workers,
        dataloader_pin_memory=device != "cpu",
        use_cpu=device == "cpu",
        seed=recipe.seed,
        disable_tqdm=True,
    )


class LikeLengths(torch.utils.data.Sampler[int]):
    """Rows in random order, those of like length near one another, the longest first.

    The order follows from seed and epoch alone, so that a restarted run goes on with the rows that were next. The
    longest come first, so that a batch too large for the memory is met at once.
    """

    def __init__(self, lengths: Sequence[int], batch: int, *, seed: int = 0) -> None:
        self._lengths, self._batch, self._seed, self._epoch = np.asarray(lengths), batch, seed, 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose another order; the trainer calls this."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self._lengths))
        pool = self._batch * _POOLS
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        alike = np.concatenate([rows[np.argsort(-self._lengths[rows], kind="stable")] for rows in pools])
        batches = [alike[start : start + self._batch] for start in range(0, len(alike), self._batch)]
        whole = [rows for rows in batches if len(rows) == self._batch]
        longest = max(range(len(whole)), key=lambda i: self._lengths[whole[i]].max(), default=-1)
        first = [whole.pop(longest)] if longest >= 0 else []
        mixed = [whole[i] for i in rng.permutation(len(whole))]
        rest = [rows for rows in batches if len(rows) < self._batch]
        yield from (int(row) for rows in (*first, *mixed, *rest) for row in rows)


class LoraTrainer(Trainer):
    """transformers' Trainer with this project's rates, order of rows and checkpoints.

    Args:
        recipe: What to do.
        **options: The Trainer's own.
    """

    def __init__(self, recipe: LoraRecipe, **options: Any) -> None:
        self._recipe = recipe
        super().__init__(**options, compute_loss_func=self._row_loss if recipe.even else None)

    def create_accelerator_and_postprocess(self) -> None:
        """As the Trainer's; and FSDP also where the processes have CPUs only, which accelerate leaves out."""
        super().create_accelerator_and_postprocess()
        from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

        state = self.accelerator.state
        asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if asked and state.distributed_type == DistributedType.MULTI_CPU:
            state.fsdp_plugin = FullyShardedDataParallelPlugin()
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True
        if self.is_fsdp_enabled and not state.fsdp_plugin.transformer_cls_names_to_wrap:
            # Models name layers of all towers that they might have; those that this one lacks stop accelerate.
            present = {type(part).__name__ for part in self.model.modules()}
            named = getattr(self.model, "_no_split_modules", None) or ()
            state.fsdp_plugin.transformer_cls_names_to_wrap = sorted(present & set(named))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the groups of :func:`gaea.finetune.lora.groups`."""
        if self.optimizer is None:
            trained = groups(self.model if model is None else model, self._recipe)
            self.optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.999), eps=1e-8)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths = dataset.lengths()
        if lengths is None:
            return torch.utils.data.SequentialSampler(dataset)
        lengths = lengths if self._recipe.group_by_length else [0] * len(dataset)
        return LikeLengths(lengths, self._recipe.batch_size, seed=self._recipe.seed)

    def _row_loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """The mean over rows; in training a share of the accumulated batch, and then the Trainer divides no more."""
        loss = row_mean(outputs["logits"], labels)
        return loss if num_items_in_batch is None else loss / self.current_gradient_accumulation_steps

    def compute_loss(self, model: Any, inputs: Encoded, *args: Any, **options: Any) -> Any:
        """As the Trainer's, with a mismatch of image tokens told in one line."""
        if self._recipe.even:
            inputs = {**inputs, "logits_to_keep": asked_positions(inputs["labels"])}
        try:
            return super().compute_loss(model, inputs, *args, **options)
        except (ValueError, RuntimeError) as error:
            told = mismatch(error, inputs, int(self.model.config.image_token_id))
            if told is None:
                raise
            raise told from error

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the Trainer's; of a sharded model with an adapter, what was trained is gathered and nothing else."""
        if not (self.is_fsdp_enabled and hasattr(self.model, "peft_config")):
            super().save_model(output_dir, _internal_call)
            return
        trained = {name: _gathered(value) for name, value in self.model.named_parameters() if value.requires_grad}
        if self.args.should_save:
            self._save(output_dir, state_dict=trained)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        # peft would keep the whole word table, for having grown; the trained rows are kept beside the LoRA.
        options = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=state_dict, **options)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As the Trainer's; a whole model is read as any is, for its file has other names than it has itself."""
        if hasattr(self.model, "peft_config") or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        kept = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
        self.model.load_state_dict(kept.state_dict())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            with _full_disks_tell():
                super()._save_checkpoint(model, trial)
                if self.args.should_save:
                    (folder / WHOLE_FILE).touch()
        except OSError as error:
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
            kept = latest(folder.parent)
            raise ModelError(
                f"{folder.name} could not be written: {first_line(error)}; "
                + (f"{kept.name} is whole: " if kept else "no checkpoint was kept: ")
                + "free some space and start the same command again"
            ) from error


def boards(folder: Path) -> list[TrainerCallback]:
    """What writes a run's numbers for ``tensorboard --logdir``; nothing where TensorBoard is not installed.

    Args:
        folder: For its event files.
    """
    if find_spec("tensorboard") is None:
        return []
    from transformers.integrations import TensorBoardCallback

    told = TensorBoardCallback()
    told.logging_dir = str(folder)
    return [told]


class Curve(TrainerCallback):
    """Draws the loss beside the checkpoints whenever there is more of it.

    Args:
        folder: Of the run.
        title: Of the picture.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self._folder, self._title = folder, title

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write ``loss.svg`` and ``log.jsonl``."""
        del args, control, kwargs
        if state.is_world_process_zero:
            curve.write(state.log_history, self._folder, title=self._title)

    on_train_end = on_save


class Bar(TrainerCallback):
    """Shows how far a run is; a run that goes on begins where the last one ended.

    Args:
        progress: A tqdm-like wrapper.
    """

    def __init__(self, progress: Callable[..., Any]) -> None:
        self._progress = progress
        self._left: Iterator[int] = iter(())

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open it."""
        del args, control, kwargs
        if state.is_world_process_zero:
            steps = range(state.global_step, state.max_steps)
            self._left = iter(self._progress(steps, initial=state.global_step, total=state.max_steps))
            next(self._left, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step further; after the last one, closed."""
        del args, state, control, kwargs
        next(self._left, None)


def _gathered(value: torch.Tensor) -> torch.Tensor:
    """A parameter from all processes; to be called by all of them."""
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole.detach().cpu().clone()  # the clone waits until all of it is there


def latest(folder: Path) -> Path | None:
    """The last whole checkpoint in a folder; None where there is none."""
    whole = [found.parent for found in folder.glob(f"checkpoint-*/{WHOLE_FILE}")]
    return max(whole, key=lambda found: int(found.name.rpartition("-")[2]), default=None)


def clear_broken(folder: Path) -> list[str]:
    """Remove what an interrupted run left half written, and say what it was."""
    broken = [found for found in folder.glob("checkpoint-*") if not (found / WHOLE_FILE).is_file()]
    for found in broken:
        shutil.rmtree(found)
    return sorted(found.name for found in broken)


@contextlib.contextmanager
def _full_disks_tell() -> Iterator[None]:
    """What torch and safetensors raise when a file cannot be written becomes an OSError, as it is everywhere else."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(first_line(error)) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error) and "inline_container" not in str(error):
            raise
        raise OSError(f"no room, or no right to write: {first_line(error)}") from error
