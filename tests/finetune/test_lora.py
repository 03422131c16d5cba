"""Fine-tuning small models of every family: what learns, what stays, what survives a kill, and what is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gaea.errors import InputError, ModelError
from gaea.finetune import lora, recipe, sft
from gaea.finetune.dataset import Example
from gaea.finetune.lora import LoraRecipe
from gaea.finetune.rowfiles import read_examples

# The trainer sets up torch's own data loader and checkpointing, which warn of what is not used here.
pytestmark = [pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")]

SMALL = LoraRecipe(
    rank=4,
    alpha=8,
    dropout=0.1,
    learning_rate=1e-2,
    projector_rate=1e-3,
    steps=6,
    batch_size=4,
    device_batch=2,
    precision="float32",
    checkpoint_every=2,
    evaluate_every=3,
    log_every=1,
    workers=0,
    max_tokens=512,
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def rows(file: Path) -> list[Example]:
    return list(read_examples(file))


def small(base: Path, **changes: Any) -> LoraRecipe:
    return dataclasses.replace(SMALL, model=str(base), **changes)


def test_tower_still_projector_lora_and_symbols_learn(family: Any, tmp_path: Path, write_rows: Any) -> None:
    base = family.save(tmp_path / "base")
    settings = small(base, steps=2, warmup_share=0.0)
    student = lora.prepare(*lora.load(settings), settings)
    names = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    kinds = {
        "lora": [n for n in names if "lora_" in n],
        "rows": [n for n in names if "trainable_tokens" in n],
        "projector": [n for n in names if "modules_to_save" in n],
    }
    assert sorted(n for kind in kinds.values() for n in kind) == sorted(names)
    assert all(kinds.values())
    assert not any(f"{tower}." in n for n in (*kinds["lora"], *kinds["rows"]) for tower in lora.TOWERS)
    language = student.model.base_model.model.model.language_model
    linear = {n for n, p in language.named_modules() if isinstance(p, torch.nn.Linear) and "lora" not in n}
    wrapped = {n.removesuffix(".base_layer") for n in linear if n.endswith("base_layer")}
    assert wrapped == {n.removesuffix(".base_layer") for n in linear}
    assert len(wrapped) == 2 * 7

    grouped = lora.groups(student.model, settings)
    assert sum(len(g["params"]) for g in grouped) == len(names)
    rates = {id(p): g["lr"] for g in grouped for p in g["params"]}
    assert all(rates[id(names[n])] == 1e-3 for n in kinds["projector"])
    assert all(rates[id(names[n])] == 1e-2 for n in (*kinds["lora"], *kinds["rows"]))

    before = {n: p.detach().clone() for n, p in student.model.named_parameters()}
    data = write_rows(tmp_path / "data", 4)
    run = sft.tune(settings, rows(data), tmp_path / "run", images=data.parent)
    state = load_file(run.adapter / "adapter_model.safetensors")
    assert {"lora_A", "lora_B"} <= {part for name in state for part in name.split(".")}
    learned = {
        kind: max(float((state[_kept(n)] - before[n]).abs().max()) for n in named if _kept(n) in state)
        for kind, named in kinds.items()
    }
    assert all(value > 1e-4 for value in learned.values()), learned
    assert max(value.shape[0] for name, value in state.items() if "token" in name or "embed" in name) == 24


def _kept(name: str) -> str:
    """What peft calls a parameter in a file."""
    for part in (".default", ".modules_to_save"):
        name = name.replace(part, "")
    return name


@pytest.fixture(scope="module")
def llava_base(families: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families["llava"].save(tmp_path_factory.mktemp("llava") / "base")


@dataclasses.dataclass
class Whole:
    """A run that nothing disturbed."""

    settings: LoraRecipe
    data: Path
    out: Path
    run: sft.Run


@pytest.fixture(scope="module")
def whole(llava_base: Path, write_rows: Any, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    data = write_rows(folder / "data", 9)
    settings = small(llava_base, gradient_checkpointing=False)
    held_out = rows(data)[:2]
    run = sft.tune(settings, rows(data), folder / "run", images=data.parent, validation=held_out)
    return Whole(settings, data, folder / "run", run)


def losses(history: Any, name: str = "loss") -> dict[int, float]:
    return {line["step"]: line[name] for line in history if name in line}


def test_a_run_leaves_curve_card_and_settings(whole: Whole) -> None:
    from xml.etree import ElementTree as ET

    told = losses(whole.run.history)
    assert sorted(told) == [1, 2, 3, 4, 5, 6]
    assert told[6] < told[1] - 0.15
    assert sorted(losses(whole.run.history, "eval_loss")) == [3, 6]
    assert whole.run.metrics["eval_loss"] < losses(whole.run.history, "eval_loss")[3]

    lines = [json.loads(line) for line in (whole.out / "log.jsonl").read_text().splitlines()]
    assert losses(lines) == told
    drawn = ET.parse(whole.out / "loss.svg").getroot()
    curves = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(curve.attrib["points"].split()) for curve in curves] == [6, 2]

    assert board(whole.out / "tensorboard", "train/loss") == pytest.approx(told)
    assert sorted(board(whole.out / "tensorboard", "eval/loss")) == [3, 6]

    kept = {found.name for found in (whole.out / "checkpoints").iterdir()}
    assert kept == {"checkpoint-4", "checkpoint-6"}
    for checkpoint in (whole.out / "checkpoints").iterdir():
        assert load_file(checkpoint / "adapter_model.safetensors").keys() == weights(whole.run.adapter).keys()
        assert not (checkpoint / "training_args.bin").exists()

    card = (whole.run.adapter / "README.md").read_text()
    assert f'base_model: "{whole.settings.model}"' in card
    assert "| Data | 9 rows, SHA-256 `" in card
    assert f"| eval_loss | {whole.run.metrics['eval_loss']:.4g} |" in card
    settings = json.loads((whole.run.adapter / "recipe.json").read_text())
    assert settings == json.loads((whole.out / "recipe.json").read_text())
    assert recipe.build(LoraRecipe, settings, where="recipe.json") == whole.settings


def board(folder: Path, name: str) -> dict[int, float]:
    """What TensorBoard would show, by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = EventAccumulator(str(folder)).Reload()
    return {event.step: event.value for event in told.Scalars(name)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


ONE_THREAD = {"OMP_NUM_THREADS": "1"}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from gaea.finetune import recipe, sft
from gaea.finetune.lora import LoraRecipe
from gaea.finetune.rowfiles import read_examples
from transformers import TrainerCallback

class Killed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

settings, data, out = recipe.build(LoraRecipe, json.loads(sys.argv[1]), where="test"), Path(sys.argv[2]), sys.argv[3]
rows = list(read_examples(data))
sft.tune(settings, rows, Path(out), images=data.parent, validation=rows[:2], callbacks=[Killed()])
"""


def test_a_killed_run_goes_on_to_the_same_loss(whole: Whole, tmp_path: Path) -> None:
    settings = json.dumps(dataclasses.asdict(whole.settings))
    command = [sys.executable, "-c", KILLED, settings, str(whole.data), str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "adapter").exists()
    # And as if it had been killed once more, while it wrote the next one.
    half = shutil.copytree(tmp_path / "checkpoints" / "checkpoint-4", tmp_path / "checkpoints" / "checkpoint-5")
    (half / "whole").unlink()
    (half / "adapter_model.safetensors").write_bytes(b"half")

    rows_again = rows(whole.data)
    run = sft.tune(whole.settings, rows_again, tmp_path, images=whole.data.parent, validation=rows_again[:2])
    told, expected = losses(run.history), losses(whole.run.history)
    assert sorted(told) == sorted(expected)
    assert all(told[step] == pytest.approx(expected[step], abs=1e-5) for step in expected)
    assert run.metrics["eval_loss"] == pytest.approx(whole.run.metrics["eval_loss"], abs=1e-5)
    ours, theirs = weights(run.adapter), weights(whole.run.adapter)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


def test_a_corrupt_photo_is_left_out_counted_and_named(llava_base: Path, tmp_path: Path, write_rows: Any) -> None:
    data = write_rows(tmp_path / "data", 8, broken=(3,))
    (tmp_path / "data" / "6.png").unlink()
    run = sft.tune(small(llava_base, steps=4), rows(data), tmp_path / "run", images=data.parent)
    assert run.metrics["skipped"] == 2  # over two epochs, each is met twice
    assert run.metrics["steps"] == 4
    left = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert {(line["row"], *line["image"]) for line in left} == {(3, "3.png"), (6, "6.png")}
    assert all(line["reason"] for line in left)
    assert "2 could not be used" in (run.adapter / "README.md").read_text()


def test_where_nothing_can_be_read_nothing_is_trained(llava_base: Path, tmp_path: Path, write_rows: Any) -> None:
    data = write_rows(tmp_path / "data", 3, broken=(0, 1, 2))
    with pytest.raises(InputError, match="none of 3 rows from row"):
        sft.tune(small(llava_base), rows(data), tmp_path / "run", images=data.parent)


def test_a_full_disk_leaves_the_checkpoint_before(whole: Whole, tmp_path: Path, monkeypatch: Any) -> None:
    import resource

    from gaea.finetune import trainer

    # A real refusal of the system: no file may grow beyond the limit from the second checkpoint on.
    save = trainer.LoraTrainer._save_optimizer_and_scheduler
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    quiet = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    given = rows(whole.data)

    def full(self: Any, folder: Any) -> None:
        if self.state.global_step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        save(self, folder)

    monkeypatch.setattr(trainer.LoraTrainer, "_save_optimizer_and_scheduler", full)
    try:
        with pytest.raises(ModelError, match=r"checkpoint-4 could not be written: .*; checkpoint-2 is whole: free"):
            sft.tune(whole.settings, given, tmp_path, images=whole.data.parent, validation=given[:2])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, quiet)
    assert [found.name for found in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-2"]
    monkeypatch.undo()
    run = sft.tune(whole.settings, given, tmp_path, images=whole.data.parent, validation=given[:2])
    expected = losses(whole.run.history)
    assert all(loss == pytest.approx(expected[step], abs=1e-5) for step, loss in losses(run.history).items())


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="QLoRA needs bitsandbytes")
@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_qlora_learns(whole: Whole, tmp_path: Path, quantize: str) -> None:
    settings = dataclasses.replace(whole.settings, quantize=quantize, steps=8, checkpoint_every=8)
    run = sft.tune(settings, rows(whole.data), tmp_path, images=whole.data.parent)
    told = losses(run.history)
    assert told[8] < told[1] - 0.15
    model, _ = lora.load(settings)
    kinds = {type(part).__name__ for name, part in model.model.language_model.named_modules() if "proj" in name}
    assert kinds == {"Linear4bit" if quantize == "4bit" else "Linear8bitLt"}
    others = (*model.model.vision_tower.modules(), *model.model.multi_modal_projector.modules(), model.lm_head)
    assert not any(type(part).__name__.startswith(("Linear4bit", "Linear8bit")) for part in others)


def test_fsdp_trains_on_two_processes_as_on_one(llava_base: Path, tmp_path: Path, write_rows: Any) -> None:
    """Real sharding: `accelerate launch` with the shipped configuration, gloo between two processes on CPUs."""
    data = write_rows(tmp_path / "data", 8)
    settings = small(llava_base, steps=3, dropout=0.0, gradient_checkpointing=False, checkpoint_every=3)
    alone = sft.tune(settings, rows(data), tmp_path / "alone", images=data.parent)
    told = dataclasses.asdict(dataclasses.replace(settings, device_batch=1))
    (tmp_path / "small.yaml").write_text(json.dumps(told))
    launch = ["accelerate.commands.launch", "--config_file", str(RECIPES / "accelerate-fsdp.yaml")]
    launch += ["--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(free_port())]
    command = ["-m", "gaea.finetune", "sft", str(data), "--recipe", str(tmp_path / "small.yaml")]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *command, "--out", str(tmp_path / "two")],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    expected = losses(alone.history)
    assert losses(lines) == {step: pytest.approx(loss, rel=2e-3) for step, loss in expected.items()}
    ours, theirs = weights(tmp_path / "two" / "adapter"), weights(alone.adapter)
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-3) for name in theirs)
    here, everywhere = map(int, re.findall(r"held (\d+) of (\d+) weights", done.stderr)[0])
    assert 0.45 < here / everywhere < 0.55


RECIPES = Path(lora.__file__).parent / "recipes"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_shipped_nano_learns_from_the_command_line_and_answers(
    tmp_path: Path, write_rows: Any, capsys: Any
) -> None:
    """The recipe for regions, with neighbours from the shipped index, and the adapter through the engine."""
    from PIL import Image

    from gaea import prompts
    from gaea.engine import TransformersEngine
    from gaea.finetune.__main__ import main

    data = write_rows(tmp_path / "data", 16)
    command = ["sft", str(data), "--recipe", "lora-nano", "--retrieval", "nano", "--steps", "2"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 2
    assert told["skipped"] == 0
    assert "from `nano`" in (tmp_path / "run" / "adapter" / "README.md").read_text()
    engine = TransformersEngine(lora.shipped_nano(), adapter=told["adapter"], system=False)
    assert engine.has_geotokens
    choice = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?\nA. Chile\nB. Peru"}]}]
    photo = Image.open(tmp_path / "data" / "0.png").convert("RGB")
    assert engine.complete(choice, engine.see(photo)).startswith(("Chile", "Peru"))  # held, taught or not
    assert engine.complete(prompts.locate(), engine.see(photo), max_new_tokens=4)


@pytest.mark.parametrize("name", ["gaea-7b", "gaea-7b-qlora", "lora-nano"])
def test_recipes_that_ship_are_read_and_wrong_ones_refused(name: str, tmp_path: Path) -> None:
    read = recipe.load(name, LoraRecipe)
    assert (read.rank, read.alpha) == ((64, 64) if name == "lora-nano" else (16, 32))
    text = (RECIPES / f"{name}.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("dropout:", "dropuot:"))
    with pytest.raises(InputError, match="unknown key 'dropuot'; did you mean 'dropout'"):
        recipe.load(tmp_path / "wrong.yaml", LoraRecipe)
    for wrong, told in (({"quantize": "2bit"}, "quantize is '2bit'"), ({"device_batch": 5}, "no multiple of")):
        with pytest.raises(InputError, match=told):
            dataclasses.replace(read, **wrong)


def test_gaeas_own_values_are_the_recipe() -> None:
    read = recipe.load("gaea-7b", LoraRecipe)
    published = {"rank": 16, "alpha": 32, "dropout": 0.01, "learning_rate": 1e-4, "projector_rate": 1e-5}
    published |= {"weight_decay": 0.1, "warmup_share": 0.03, "epochs": 1.0, "batch_size": 128, "max_tokens": 1024}
    published |= {"precision": "bf16", "gradient_checkpointing": True}
    published |= {"min_pixels": 256 * 28**2, "max_pixels": 1280 * 28**2}
    assert {name: getattr(read, name) for name in published} == published
