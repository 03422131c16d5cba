"""A server that is looked after: it dies, hangs, or never starts. A small one stands for vLLM here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaea.app import vllm
from gaea.app.serving import supervisor as module
from gaea.app.serving.backends import laid_out, lora_rank, vllm_config
from gaea.app.serving.supervisor import Supervisor
from gaea.errors import InputError, ModelError

HEALTHY = """
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


class Small:
    """Starts a small server, or one that ends at once, and remembers the processes."""

    def __init__(self, code: str = HEALTHY) -> None:
        self.code, self.started = code, list[subprocess.Popen[bytes]]()

    def __call__(self, config: vllm.VllmConfig, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", self.code, str(config.port)], stdout=out, stderr=out, start_new_session=True
            )
        self.started.append(process)
        return process


def until(true: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


@pytest.fixture
def launch() -> Small:
    return Small()


@pytest.fixture
def watched(launch: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    for name, value in {"WATCH_S": 0.02, "HEALTH_EVERY_S": 0.05, "HEALTH_TIMEOUT_S": 0.5, "FIRST_WAIT_S": 0.05}.items():
        monkeypatch.setattr(module, name, value)
    config = vllm.VllmConfig(model="m", name="m", port=vllm.free_port())
    made = Supervisor(config, tmp_path / "log", launch=launch)
    yield made
    made.close()
    assert all(process.poll() is not None for process in launch.started)


def test_it_is_started_again_when_it_is_killed(watched: Supervisor, launch: Small) -> None:
    watched.start()
    assert watched.state == "ready"
    for times in (1, 2):
        os.kill(watched.pid, signal.SIGKILL)
        until(lambda times=times: watched.restarts == times and watched.state == "ready")
    assert len(launch.started) == 3
    watched.close()
    assert watched.state == "stopped"


def test_it_is_started_again_when_it_hangs(watched: Supervisor, launch: Small) -> None:
    watched.start()
    os.kill(watched.pid, signal.SIGSTOP)
    until(lambda: watched.restarts == 1 and watched.state == "ready")
    assert launch.started[0].poll() is not None


def test_one_that_does_not_come_back_is_tried_again_and_again(watched: Supervisor, launch: Small) -> None:
    watched.start()
    launch.code = "raise SystemExit('RuntimeError: no memory')"
    os.kill(watched.pid, signal.SIGKILL)
    until(lambda: watched.restarts >= 3)
    assert watched.state != "ready"
    launch.code = HEALTHY
    until(lambda: watched.state == "ready")


def test_the_waits_grow(watched: Supervisor, launch: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    watched.start()
    wait = watched._closing.wait
    monkeypatch.setattr(watched._closing, "wait", lambda s: (waits.append(s), wait(min(s, 0.01)))[1])
    launch.code = "raise SystemExit(1)"
    os.kill(watched.pid, signal.SIGKILL)
    until(lambda: watched.restarts >= 4)
    assert [s for s in waits if s > module.WATCH_S][:4] == [0.05, 0.1, 0.2, 0.4]


def test_a_first_start_that_fails_is_an_error(watched: Supervisor, launch: Small) -> None:
    launch.code = "raise SystemExit('ValueError: no such model')"
    with pytest.raises(ModelError, match="no such model"):
        watched.start()
    assert watched.state == "stopped"


def test_it_can_be_closed_while_it_starts(watched: Supervisor, launch: Small) -> None:
    launch.code = "import time; time.sleep(600)"
    import threading

    failed = []

    def start() -> None:
        with pytest.raises(ModelError):
            watched.start()
        failed.append(True)

    thread = threading.Thread(target=start)
    thread.start()
    until(lambda: bool(launch.started))
    watched.close()
    thread.join()
    assert failed == [True]


# ---- what it is started with


def test_nano_is_laid_out_once_and_served_with_a_secret_key(tmp_path: Path) -> None:
    config = vllm_config(None, name=None, adapter=None, loras={}, context=1024, more=["--seed=1"], folder=tmp_path)
    again = vllm_config("nano", name="other", adapter=None, loras={}, context=512, more=[], folder=tmp_path)
    assert config.model == again.model
    assert len(list(tmp_path.iterdir())) == 1
    assert (config.name, again.name) == ("gaea-nano", "other")
    assert laid_out(Path(config.model), None, tmp_path) == config.model  # what is laid out already is taken as it is
    said = config.arguments()
    assert said[said.index("--host") + 1] == "127.0.0.1"
    assert said[said.index("--allowed-media-domains") + 1] == vllm.NO_MEDIA
    assert said[-1] == "--seed=1"
    assert config.environment()["VLLM_API_KEY"] == config.api_key
    assert config.api_key not in " ".join(said) + repr(config)
    assert config.api_key != again.api_key


def test_adapters(tmp_path: Path) -> None:
    def adapter(name: str, text: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(text)
        return str(tmp_path / name)

    low, high = adapter("low", '{"r": 4}'), adapter("high", '{"r": 24}')
    given = {"name": None, "adapter": None, "context": 1024, "more": [], "folder": tmp_path / "laid"}
    config = vllm_config(None, loras={"low": low, "high": high}, **given)
    said = config.arguments()
    assert said[said.index("--max-lora-rank") + 1] == "32"
    assert f"high={high}" in said
    with pytest.raises(InputError, match="different names"):
        vllm_config(None, loras={"gaea-nano": low}, **given)
    with pytest.raises(ModelError, match="merge it"):
        lora_rank(Path(adapter("taught", '{"r": 4, "trainable_token_indices": [1]}')))
    with pytest.raises(ModelError, match="no LoRA adapter"):
        lora_rank(tmp_path / "absent")
