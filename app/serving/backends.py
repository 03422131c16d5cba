"""What runs behind the server: a model in this process, a vLLM that is looked after, or a server elsewhere."""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gaea import vllm_layout
from gaea.app import vllm
from gaea.app.assemble import NANO, assemble, cache_folder
from gaea.app.serving.supervisor import State, Supervisor
from gaea.assistant import Assistant
from gaea.connection import Connection, NoReplyError
from gaea.endpoint import NANO_NAME, EndpointEngine
from gaea.errors import InputError, ModelError

PROBE_EVERY_S, PROBE_TIMEOUT_S = 3.0, 10.0


class Backend(Protocol):
    """Loads the assistants, and knows how the engine is."""

    url: str | None
    api_key: str | None

    def load(self) -> Mapping[str, Assistant]:
        """The assistants by the names they are served as; takes as long as it takes.

        Raises:
            GaeaError: That cannot be.
        """

    def state(self) -> State:
        """How the engine is."""

    def restarts(self) -> int:
        """How often it was started again."""

    def close(self) -> None:
        """Let everything go."""


class InProcess:
    """The model in this process.

    Args:
        name: What it is served as; None for the engine's own name.
        options: For :func:`gaea.app.assemble.assemble`.
    """

    url = api_key = None

    def __init__(self, name: str | None, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, options

    def load(self) -> Mapping[str, Assistant]:
        """See :class:`Backend`."""
        assistant = assemble(**self._options)
        name = self._name or assistant.engine.name
        return {name: served_as(assistant, name)}

    def state(self) -> State:
        """Always ready once it is loaded."""
        return "ready"

    def restarts(self) -> int:
        """Never."""
        return 0

    def close(self) -> None:
        """Nothing to let go."""


class Elsewhere:
    """A server that somebody else runs.

    Args:
        url: Its base URL.
        name: What the model is served as here; None for the name it has there.
        options: For :func:`gaea.app.assemble.assemble`; ``model`` is its name there.
        api_key: What it wants to be sent.
    """

    def __init__(self, url: str, name: str | None, options: Mapping[str, Any], api_key: str | None) -> None:
        self.url, self.api_key = url, api_key
        self._name, self._options = name, options
        self._engines: list[EndpointEngine] = []
        self._state: State = "ready"
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="engine-probe", daemon=True)

    def load(self) -> Mapping[str, Assistant]:
        """See :class:`Backend`."""
        assistant = assemble(**self._options, engine=self.url, api_key=self.api_key)
        self._engines = [assistant.engine]  # type: ignore[list-item]
        self._watcher.start()
        name = self._name or assistant.engine.name.partition(" at ")[0]
        return {name: served_as(assistant, name)}

    def state(self) -> State:
        """Whether it answered when it was last asked."""
        return self._state

    def restarts(self) -> int:
        """Not known here."""
        return 0

    def close(self) -> None:
        """Let go of the connections."""
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for engine in self._engines:
            engine.close()

    def _watch(self) -> None:
        connection = Connection(self.url, api_key=self.api_key, timeout_s=PROBE_TIMEOUT_S)
        while not self._closing.wait(PROBE_EVERY_S):
            try:
                connection.get("models")
                self._state = "ready"
            except NoReplyError as error:
                self._state = "ready" if error.status < 500 else "down"
            except ModelError:
                self._state = "down"
        connection.close()


class Supervised:
    """A vLLM of one's own, with its LoRA modules, each served as a model.

    Args:
        config: What is started.
        output: File for what it says.
        options: For :func:`gaea.app.assemble.assemble`, but engine, model and adapter.
    """

    def __init__(self, config: vllm.VllmConfig, output: Path, options: Mapping[str, Any]) -> None:
        self.url, self.api_key = config.url, config.api_key
        self.supervisor = Supervisor(config, output)
        self._config, self._options = config, options
        self._engines: list[EndpointEngine] = []

    def load(self) -> Mapping[str, Assistant]:
        """See :class:`Backend`."""
        self.supervisor.start()
        first = assemble(**self._options, engine=self.url, model=self._config.name, api_key=self.api_key)
        engines = {self._config.name: first.engine}
        for name in self._config.adapters:
            engines[name] = EndpointEngine(self._config.url, model=name, api_key=self.api_key)
        self._engines = list(engines.values())  # type: ignore[arg-type]
        return {name: served_as(dataclasses.replace(first, engine=engine), name) for name, engine in engines.items()}

    def state(self) -> State:
        """As the supervisor sees it."""
        return self.supervisor.state

    def restarts(self) -> int:
        """As the supervisor counts them."""
        return self.supervisor.restarts

    def close(self) -> None:
        """Stop it."""
        for engine in self._engines:
            engine.close()
        self.supervisor.close()


def served_as(assistant: Assistant, name: str) -> Assistant:
    """The same assistant, whose answers call the model by the name it is served as, and no address."""
    return dataclasses.replace(assistant, provenance={**assistant.provenance, "model": name})


def vllm_config(
    model: str | None,
    *,
    name: str | None,
    adapter: str | None,
    loras: Mapping[str, str],
    context: int,
    more: Sequence[str],
    folder: Path | None = None,
) -> vllm.VllmConfig:
    """What to start vLLM with, after writing the checkpoint as it reads it.

    Args:
        model: Folder or hub name; None for nano.
        name: What it is served as; None for ``gaea-nano`` or the model's own.
        adapter: Merged into the model.
        loras: Folders of LoRA modules by name.
        context: Most tokens of prompt and reply.
        more: Further arguments of ``vllm serve``.
        folder: Where checkpoints are written; the cache's if left out.

    Raises:
        MissingDependencyError, ModelError, InputError: A part is missing, or does not fit.
    """
    import torch

    base = NANO / "llava" if model in (None, "nano") else Path(str(model))
    served = name or (NANO_NAME if model in (None, "nano") else str(model))
    if served in loras:
        raise InputError(f"'{served}' names the model and an adapter: give them different names")
    ranks = [lora_rank(Path(each)) for each in loras.values()]
    if base.is_dir() or adapter is not None:
        laid: str | Path = laid_out(base if base.is_dir() else str(model), adapter, folder or cache_folder() / "vllm")
    else:
        laid = str(model)
    gpu = torch.cuda.is_available()
    return vllm.VllmConfig(
        model=laid,
        name=served,
        adapters=dict(loras),
        adapter_rank=next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= max(ranks, default=8)), 512),
        port=vllm.free_port(),
        dtype="auto" if gpu else "float32",
        context=context,
        compiled=gpu,
        api_key=secrets.token_hex(24),
        more=tuple(more),
    )


def lora_rank(folder: Path) -> int:
    """The rank of an adapter.

    Raises:
        ModelError: The folder holds none that vLLM takes at run time.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        rank = int(config["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"'{folder}' holds no LoRA adapter: expected adapter_config.json in it") from error
    if config.get("trainable_token_indices"):
        raise ModelError(f"'{folder}' also trained tokens, which vLLM cannot add to a model: merge it with --adapter")
    return rank


def laid_out(model: str | Path, adapter: str | None, folder: Path) -> Path:
    """The checkpoint as vLLM reads it, written once and found again as long as its files do not change."""
    if adapter is None and isinstance(model, Path) and not vllm_layout.differs(model):
        return model
    parts = [Path(each) for each in (model, adapter) if each is not None]
    stamps = [
        (str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns)
        for part in parts
        for file in (sorted(part.iterdir()) if part.is_dir() else [])
    ]
    import hashlib

    named = hashlib.sha256(json.dumps([str(model), adapter, stamps]).encode()).hexdigest()[:16]
    done = folder / f"{parts[0].name}-{named}"
    if not done.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{done.name}-{secrets.token_hex(4)}"
        vllm_layout.lay_out(model, partial, adapter=adapter)
        try:
            partial.rename(done)
        except OSError:  # another process was faster
            import shutil

            shutil.rmtree(partial)
            if not done.is_dir():
                raise
    return done
