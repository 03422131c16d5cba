"""Keeps a vLLM running: starts it, notices when it dies or hangs, and starts it again, waiting longer each time.

It has a thread of its own. A server that ends is seen within a second; one that no longer answers about its health is
ended after some patience. Restarts wait 1, 2, 4 … seconds, and begin anew once one has run for a while.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gaea.app import vllm
from gaea.errors import ModelError

State = Literal["starting", "ready", "down", "stopped"]

WATCH_S, HEALTH_EVERY_S, HEALTH_TIMEOUT_S, MISSES = 0.5, 5.0, 10.0, 3
FIRST_WAIT_S, LONGEST_WAIT_S, STEADY_S = 1.0, 60.0, 300.0

log = logging.getLogger("gaea.server")


class Supervisor:
    """One vLLM, for as long as it is wanted.

    Args:
        config: What is started.
        output: File for all that vLLM says, over restarts.
        patience_s: How long a start may take.
        launch: Starts it.

    Attributes:
        state: What it is doing.
        restarts: How often it was started again.
    """

    def __init__(
        self,
        config: vllm.VllmConfig,
        output: Path,
        *,
        patience_s: float = 900.0,
        launch: Callable[[vllm.VllmConfig, Path], subprocess.Popen[bytes]] = vllm.launch,
    ) -> None:
        self.config, self.state, self.restarts = config, "starting", 0
        self._output, self._patience_s, self._launch = output, patience_s, launch
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = threading.Thread(target=self._watch, name="vllm-supervisor", daemon=True)

    state: State

    @property
    def pid(self) -> int | None:
        """Of the server's first process."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, wait until it is ready, and watch it from then on.

        Raises:
            ModelError: It does not start. Nothing is left running.
        """
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        self._watcher.start()

    def close(self) -> None:
        """Stop it, and all that it started."""
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if self._process is not None:
            vllm.stop(self._process)
        self.state = "stopped"

    def _begin(self) -> None:
        self.state = "starting"
        self._process = self._launch(self.config, self._output)
        vllm.wait_until_ready(
            self._process, self.config, self._output, patience_s=self._patience_s, given_up=self._closing.is_set
        )
        self.state = "ready"
        log.info("vLLM is ready")

    def _watch(self) -> None:
        wait_s, since = FIRST_WAIT_S, time.monotonic()
        while not self._closing.is_set():
            why = self._until_it_fails()
            if why is None or self._process is None:
                return
            self.state = "down"
            if time.monotonic() - since > STEADY_S:
                wait_s = FIRST_WAIT_S
            log.error("vLLM %s; it is started again in %.0f s", why, wait_s)
            vllm.stop(self._process, grace_s=2.0)
            if self._closing.wait(wait_s):
                return
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
            self.restarts += 1
            try:
                self._begin()
            except (ModelError, OSError) as error:
                log.error("%s", error)  # and round again: a process that ended is noticed at once
            since = time.monotonic()

    def _until_it_fails(self) -> str | None:
        """Why it has to be started again; None when it is not wanted any more."""
        misses, asked = 0, time.monotonic()
        while not self._closing.wait(WATCH_S):
            if self._process is None or self._process.poll() is not None:
                return "has ended"
            if self.state != "ready":
                return "does not get ready"
            if time.monotonic() - asked < HEALTH_EVERY_S:
                continue
            misses = 0 if vllm.is_healthy(self.config, timeout_s=HEALTH_TIMEOUT_S) else misses + 1
            asked = time.monotonic()
            if misses >= MISSES:
                return "does not answer"
        return None
