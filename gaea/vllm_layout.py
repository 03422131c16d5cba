"""A checkpoint as vLLM reads it, from one as transformers writes it.

The two disagree about LLaVA's vision tower: transformers 5 calls its weights ``vision_tower.embeddings…``, vLLM 0.32
``vision_tower.vision_model.embeddings…``. Transformers reads either. And an adapter whose S2 rows were trained beside
its LoRA (peft's trainable token indices) is more than vLLM takes at run time: it is merged into the model first. Other
weights are copied as they are, bit for bit and in their precision; what the server computes in is its ``--dtype``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gaea.errors import InputError, ModelError, first_line

INDEX_FILE = "model.safetensors.index.json"
_TOWERS = ("model.vision_tower.", "vision_tower.")
_INNER = "vision_model."


def vllm_name(name: str) -> str:
    """What vLLM calls a weight; those of language models, projectors and other towers keep their names.

    Args:
        name: As transformers 5 writes it, or as it was written before, which is what vLLM reads.
    """
    for tower in _TOWERS:
        if name.startswith(tower):
            rest = name.removeprefix(tower)
            return name if rest.startswith(_INNER) else f"{tower}{_INNER}{rest}"
    return name


def differs(folder: str | Path) -> bool:
    """Whether a folder's weights have to be renamed before vLLM reads them.

    Raises:
        ModelError: It is not a folder with a model in safetensors.
    """
    from safetensors import SafetensorError, safe_open

    folder = Path(folder)
    shards = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not shards:
        raise ModelError(f"'{folder}' is not a folder with a model in safetensors")
    if not _is_llava(folder):
        return False
    for shard in shards:
        try:
            with safe_open(shard, "pt") as opened:
                if any(vllm_name(name) != name for name in opened.keys()):  # noqa: SIM118 - no mapping
                    return True
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{shard} cannot be read: {first_line(error)}") from error
    return False


def lay_out(model: str | Path, into: str | Path, *, adapter: str | Path | None = None) -> Path:
    """Write a folder that ``vllm serve`` loads, and transformers too.

    Args:
        model: Folder of a LLaVA-class model: safetensors, in one file or in shards. With an adapter, also a hub name.
        into: Folder to write; made if need be. Nothing may lie in it.
        adapter: Folder or hub name of a PEFT adapter, merged into the weights. Its folder's tokenizer, where there is
            one, is taken: it has the symbols that the adapter taught.

    Returns:
        ``into``.

    Raises:
        InputError: Something lies in ``into``.
        ModelError: The model or adapter cannot be read, or is not kept as safetensors.
    """
    into = Path(into)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"{into} is not empty: name a folder that does not exist yet")
    into.mkdir(parents=True, exist_ok=True)
    try:
        if adapter is not None:
            _merge(str(model), str(adapter), into)
            _rename(into, into)
        else:
            _copy(Path(model), into)
    except BaseException:
        shutil.rmtree(into)  # half a model would be taken for a whole one
        raise
    return into


def _copy(folder: Path, into: Path) -> None:
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise ModelError(f"'{folder}' is not a folder with a model in safetensors")
    weights = {*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.pt"), folder / INDEX_FILE}
    for file in sorted(set(folder.iterdir()) - weights):
        if file.is_file():
            shutil.copy2(file, into / file.name)
    _rename(folder, into)


def _rename(folder: Path, into: Path) -> None:
    """Write the weights of one folder into another, or the same, under vLLM's names."""
    if not _is_llava(folder):
        names = [file for file in folder.iterdir() if file.suffix == ".safetensors" or file.name == INDEX_FILE]
        for file in names if folder != into else ():
            shutil.copy2(file, into / file.name)
        return
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    for shard in sorted(folder.glob("*.safetensors")):
        try:
            state = load_file(shard)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{shard} cannot be read: {first_line(error)}") from error
        save_file(_renamed(state), into / shard.name, metadata={"format": "pt"})
    index = folder / INDEX_FILE
    if index.is_file():
        listed = json.loads(index.read_text())
        listed["weight_map"] = _renamed(listed["weight_map"])
        (into / INDEX_FILE).write_text(json.dumps(listed, indent=2) + "\n")


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    return {vllm_name(name): value for name, value in state.items()}


def _is_llava(folder: Path) -> bool:
    """Whether the names need changing: Qwen's, for one, are read as they are."""
    try:
        kind = json.loads((folder / "config.json").read_text())
        return str(kind["model_type"]).startswith("llava") and "clip" in str(kind["vision_config"]["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'} does not describe a vision-language model") from error


def _merge(model: str, adapter: str, into: Path) -> None:
    """A model with an adapter's weights added to its own, saved in the precision it is kept in."""
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    from gaea import geotokens

    try:
        processor = AutoProcessor.from_pretrained(model, trust_remote_code=False)
        base = AutoModelForImageTextToText.from_pretrained(model, trust_remote_code=False, dtype="auto")
        if _has_tokenizer(adapter):
            processor.tokenizer = AutoTokenizer.from_pretrained(adapter, trust_remote_code=False)
            geotokens.add_to(processor.tokenizer, base)
        merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"'{adapter}' cannot be merged into '{model}': {first_line(error)}") from error
    merged.save_pretrained(into)
    processor.save_pretrained(into)


def _has_tokenizer(adapter: str) -> bool:
    return any((Path(adapter) / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
