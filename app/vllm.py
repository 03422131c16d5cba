"""vLLM as a process of its own: what it is started with, when it is ready, and how it ends.

``python -m gaea.app.vllm …`` takes what ``vllm serve`` takes. It is the same server, started so that torchvision loads
beside a CPU build of torch (`gaea._torchvision`), in the processes that vLLM starts as well: workers import the module
that was run first, and this package with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gaea.errors import ModelError

ENTRY = "vllm.entrypoints.openai.api_server"
NO_MEDIA = "nowhere.invalid"
"""The only domain that pictures may be fetched from: none. They are sent as data URLs."""
POLL_S = 0.5
GRACE_S = 20.0
_SHOWN_OF_LOG = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class VllmConfig:
    """One server.

    Attributes:
        model: Folder (see :mod:`gaea.vllm_layout`) or hub name.
        name: What it is served as; ``gaea-nano`` for nano.
        adapters: Folders of LoRA modules by the names they are served as.
        adapter_rank: The highest rank among them.
        port: On the loopback address.
        dtype: What it computes in: ``auto``, ``float32``, ``bfloat16``, ``half``.
        context: Most tokens of prompt and reply; None is the model's own limit.
        cache_gib: Memory for keys and values, where it runs on a CPU.
        compiled: Whether kernels are compiled for this model, by torch and as CUDA graphs; without, it is ready sooner.
        api_key: What it wants to be sent; told to it by its environment, which other users cannot read.
        more: Further arguments of ``vllm serve``.
    """

    model: str | Path
    name: str
    adapters: Mapping[str, str | Path] = dataclasses.field(default_factory=dict)
    adapter_rank: int = 16
    port: int
    dtype: str = "auto"
    context: int | None = None
    cache_gib: int = 1
    compiled: bool = True
    api_key: str | None = dataclasses.field(default=None, repr=False)
    more: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The base URL for :class:`gaea.endpoint.EndpointEngine`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def arguments(self) -> list[str]:
        """What follows ``vllm serve``, or ``python -m gaea.app.vllm``."""
        given = {
            "--model": self.model,
            "--served-model-name": self.name,
            "--host": "127.0.0.1",
            "--port": self.port,
            "--dtype": self.dtype,
            "--limit-mm-per-prompt": json.dumps({"image": 1}),
            "--allowed-media-domains": NO_MEDIA,
        }
        if self.context is not None:
            given["--max-model-len"] = self.context
        listed = [part for name, value in given.items() for part in (name, str(value))]
        if self.adapters:
            listed += ["--enable-lora", "--max-lora-rank", str(self.adapter_rank), "--lora-modules"]
            listed += [f"{name}={folder}" for name, folder in self.adapters.items()]
        return [*listed, *(() if self.compiled else ("--enforce-eager",)), *self.more]

    def environment(self) -> dict[str, str]:
        """Variables to set: no statistics are sent home, redirects are not followed, and a CPU's cache is bounded."""
        return {
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(self.cache_gib),
            **({} if self.compiled else {"TORCH_COMPILE_DISABLE": "1"}),  # a few functions compile themselves
            **({"VLLM_API_KEY": self.api_key} if self.api_key else {}),
        }


@contextlib.contextmanager
def running(config: VllmConfig, *, log: Path, patience_s: float = 600) -> Iterator[str]:
    """Start a server, hand over its base URL once it answers, and stop it and its processes in any case.

    Args:
        config: What to start.
        log: File for all it says.
        patience_s: How long it may take to get ready.

    Raises:
        ModelError: It ended, or did not get ready in time; its last words are in the message, the rest in ``log``.
    """
    process = launch(config, log)
    try:
        wait_until_ready(process, config, log, patience_s=patience_s)
        yield config.url
    finally:
        stop(process)


def launch(config: VllmConfig, log: Path) -> subprocess.Popen[bytes]:
    """Start a server and come back at once; what it says goes to the end of a file."""
    with log.open("ab") as written:
        return subprocess.Popen(  # noqa: S603 - the interpreter that runs this, and no shell
            [sys.executable, "-m", "gaea.app.vllm", *config.arguments()],
            env=_inherited() | config.environment(),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its processes can be stopped with it
        )


def free_port() -> int:
    """A port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _inherited() -> dict[str, str]:
    """This process's variables but for its secrets, which are none of the server's business."""
    return {name: value for name, value in os.environ.items() if not (name.startswith("GAEA_") and "KEY" in name)}


def wait_until_ready(
    process: subprocess.Popen[bytes],
    config: VllmConfig,
    log: Path,
    *,
    patience_s: float,
    given_up: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for a server that was launched.

    Args:
        process: The server.
        config: What it was started with.
        log: File for all it says.
        patience_s: How long it may take.
        given_up: Asked now and then; true ends the waiting.

    Raises:
        ModelError: It ended, or is not ready in time, or nobody waits any more.
    """
    until = time.monotonic() + patience_s
    while time.monotonic() < until and not given_up():
        if process.poll() is not None:
            raise ModelError(f"vLLM ended with status {process.returncode} before it was ready{_last_words(log)}")
        if is_healthy(config):
            return
        time.sleep(POLL_S)
    raise ModelError(f"vLLM was not ready after {patience_s:.0f} s{_last_words(log)}")


def is_healthy(config: VllmConfig, *, timeout_s: float = 5) -> bool:
    """Whether a server answers that it is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{config.port}/health", timeout=timeout_s) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (OSError, http.client.HTTPException):
        return False


def stop(process: subprocess.Popen[bytes], *, grace_s: float = GRACE_S) -> None:
    """Ask it to end, then end the whole group: what it started may have outlived it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    """The last error in a log, or its last line, with where to read on."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")
    return f": {told[-_SHOWN_OF_LOG:]} (all of it: {log})"


def _serve() -> None:
    """Run vLLM's server in this process, with the arguments of this process."""
    import runpy

    from vllm.model_executor.models import registry

    # It looks at model classes in a bare interpreter, by a command that it says may be changed.
    look = f"import gaea, runpy; runpy.run_module({registry.__name__!r}, run_name='__main__')"
    registry._SUBPROCESS_COMMAND = [sys.executable, "-c", look]
    sys.argv[0] = "vllm serve"
    runpy.run_module(ENTRY, run_name="__main__")


if __name__ == "__main__":
    _serve()
