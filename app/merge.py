"""``gaea merge``: an adapter added into its model's own weights, and, if asked, the result sent to a hub.

What comes out is a plain model folder, for transformers, for ``gaea --model`` and, laid out by
:mod:`gaea.vllm_layout`, for vLLM. The adapter is checked against its base first, and nothing is left behind where
anything fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaea import adapters
from gaea.app import terminal
from gaea.app.assemble import NANO
from gaea.engine import SPOKEN_FILE
from gaea.errors import InputError, ModelError, first_line

CARD_FILE = "README.md"


def run(args: argparse.Namespace) -> int:
    """Merge, and push if asked."""
    if (args.dry_run or args.public) and not args.push:
        raise InputError("--dry-run and --public belong to --push REPO")
    out = merge(args.model, args.adapter, Path(args.out))
    terminal.write(f"{out}")
    if args.push:
        sent = push(out, args.push, private=not args.public, dry_run=args.dry_run)
        terminal.write(terminal.safe(sent))
    return 0


def merge(model: str, adapter: str, out: Path) -> Path:
    """Write a model with an adapter's weights added to its own, in the precision that the model is kept in.

    Args:
        model: Folder or hub name of the base, or ``nano``.
        adapter: Folder or hub name of a PEFT adapter for it.
        out: Folder to write; nothing may lie in it.

    Returns:
        ``out``.

    Raises:
        InputError: Something lies in ``out``.
        ModelError: Model or adapter cannot be read, do not belong together, or the result cannot be written.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: name a folder that does not exist yet")
    source = str(NANO / "llava") if model == "nano" else model
    try:
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        base = AutoModelForImageTextToText.from_pretrained(source, trust_remote_code=False, dtype="auto")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"'{model}' is not a model that can be loaded here: {first_line(error)}") from error
    merged = adapters.fit(base, processor, adapter).merge_and_unload()
    partial = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        merged.save_pretrained(partial)
        processor.save_pretrained(partial)
        for name, folder in ((SPOKEN_FILE, source), (CARD_FILE, adapter)):
            if (Path(folder) / name).is_file():
                shutil.copy2(Path(folder) / name, partial / name)
        (partial / "merged.json").write_text(json.dumps({"model": model, "adapter": str(adapter)}, indent=2) + "\n")
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ModelError(f"{out} cannot be written: {first_line(error)}") from error
    return out


def push(
    folder: Path, repository: str, *, private: bool = True, dry_run: bool = False, api: Callable[[], Any] | None = None
) -> str:
    """Send a model or adapter folder to a hub.

    Args:
        folder: All files in it are sent; it must hold weights in safetensors.
        repository: ``name/repository``; made if it does not exist.
        private: Whether a new repository is.
        dry_run: Only say what would be sent.
        api: Makes the client; huggingface_hub's own if left out.

    Returns:
        What was sent where, one line.

    Raises:
        InputError: The folder holds no weights, or the name is none.
        ModelError: The hub refuses or cannot be reached.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not any(file.suffix == ".safetensors" for file in files):
        raise InputError(f"{folder} holds no safetensors: expected a model or adapter folder")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"'{repository}' is no repository: expected NAME/REPOSITORY")
    size = sum(file.stat().st_size for file in files)
    told = f"{len(files)} files, {size / 1e6:,.1f} MB, to {repository} ({'private' if private else 'public'})"
    if dry_run:
        return f"would send {told}: {', '.join(str(file.relative_to(folder)) for file in files)}"
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # of whichever HTTP library it speaks through

    client = (api or HfApi)()
    try:
        client.create_repo(repository, private=private, exist_ok=True)
        client.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a GAEA model")
    except (HTTPError, OSError, ValueError) as error:
        told = f"{repository} did not take {folder.name}: {first_line(error)}; log in with 'hf auth login'"
        raise ModelError(told) from error
    return f"sent {told}"
