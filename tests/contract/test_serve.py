"""`gaea serve` as a process of its own, used by the official OpenAI client, asked all that its description allows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
from pydantic import BaseModel

from gaea.app import vllm
from gaea.app.sample import crop
from gaea.app.serving.geolocation import described

KEY = "contract-key-0123456789"

pytestmark = pytest.mark.timeout(1800)  # a vLLM starts in 40 s on two quiet cores, and in many minutes on busy ones
PATIENCE_S = 900


class Serve:
    """The process, from its start to its end."""

    def __init__(self, folder: Path, *options: str, key: str | None = KEY) -> None:
        self.port = vllm.free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.key = key
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "gaea.app.cli", "serve", "--port", str(self.port), "--quiet", *options]
        environment = os.environ | ({"GAEA_SERVER_KEYS": key} if key else {})
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.root}/v1", api_key=self.key or "none", max_retries=0, timeout=300, **options
        )

    def get(self, path: str) -> tuple[int, str]:
        request = urllib.request.Request(self.root + path, headers={"Authorization": f"Bearer {self.key}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait(self, status: int = 200) -> None:
        until = time.monotonic() + PATIENCE_S
        while self.get("/ready")[0] != status:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.5)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(90)


@contextlib.contextmanager
def serve(folder: Path, *options: str, key: str | None = KEY) -> Iterator[Serve]:
    made = Serve(folder, *options, key=key)
    try:
        made.wait()
        yield made
    finally:
        if made.process.poll() is None:
            made.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serve(tmp_path_factory.mktemp("serve"), "--store", "memory") as made:
        yield made


@pytest.fixture(scope="module")
def url() -> str:
    packed = io.BytesIO()
    crop((23.4, 25.6)).save(packed, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode()


def question(url: str, text: str = "Where is this?") -> list[Any]:
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


# ---- the official client


def test_the_official_client_lists_models_and_asks(served: Serve, url: str) -> None:
    with served.client() as client:
        assert [model.id for model in client.models.list()] == ["gaea-nano"]
        assert client.models.retrieve("gaea-nano").owned_by == "gaea"
        reply = client.chat.completions.create(model="gaea-nano", messages=question(url))
    assert reply.object == "chat.completion"
    assert reply.id.startswith("chatcmpl-")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.role == "assistant"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    jsonschema.validate(reply.choices[0].message.geolocation, described())


def test_the_official_client_streams_a_conversation(served: Serve, url: str) -> None:
    messages = question(url)
    with served.client() as client:
        for follow_up in ("Which country?", "How sure are you?"):
            whole = client.chat.completions.create(model="gaea-nano", messages=messages)
            stream = client.chat.completions.create(
                model="gaea-nano", messages=messages, stream=True, stream_options={"include_usage": True}
            )
            chunks = list(stream)
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert said == whole.choices[0].message.content
            assert chunks[-1].usage == whole.usage
            assert chunks[-2].choices[0].finish_reason == "stop"
            place = chunks[-2].choices[0].delta.geolocation
            assert place["point"] == whole.choices[0].message.geolocation["point"]
            messages += [whole.choices[0].message.model_dump(), {"role": "user", "content": follow_up}]
        with client.chat.completions.stream(model="gaea-nano", messages=messages) as events:
            assert events.get_final_completion().choices[0].message.content


class Report(BaseModel):
    country: str | None
    latitude: float | None
    explanation: str


def test_the_official_client_parses_answers_in_shapes_of_its_own(served: Serve, url: str) -> None:
    with served.client() as client:
        parsed = client.chat.completions.parse(
            model="gaea-nano", messages=question(url), response_format=Report, extra_body={"gaea": {"guess": True}}
        )
        message = parsed.choices[0].message
        assert message.parsed.latitude == message.geolocation["point"]["lat"]
        assert message.parsed.country == message.geolocation["place"]["country"]
        whole = client.chat.completions.create(
            model="gaea-nano", messages=question(url), response_format={"type": "json_object"}
        )
        jsonschema.validate(json.loads(whole.choices[0].message.content), described())


def test_the_official_client_raises_its_own_errors(served: Serve, url: str) -> None:
    with served.client() as client:

        def ask(**change: Any) -> None:
            client.chat.completions.create(**{"model": "gaea-nano", "messages": question(url), **change})

        with pytest.raises(openai.NotFoundError) as missing:
            ask(model="gpt-4o")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as many:
            ask(n=1000)
        assert many.value.param == "n"
        with pytest.raises(openai.BadRequestError) as remote:
            ask(messages=question("http://169.254.169.254/latest"))
        assert remote.value.code == "image_url_refused"
        with pytest.raises(openai.APIStatusError) as large:
            ask(messages=question(url + "A" * 30_000_000))
        assert large.value.status_code == 413
    with pytest.raises(openai.AuthenticationError), served.client().with_options(api_key="x" * 20) as stranger:
        stranger.models.list()


def test_the_official_asynchronous_client_asks_side_by_side(served: Serve, url: str) -> None:
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{served.root}/v1", api_key=KEY, max_retries=0, timeout=300) as client:
            asked = [client.chat.completions.create(model="gaea-nano", messages=question(url)) for _ in range(6)]
            return await asyncio.gather(*asked)

    with ThreadPoolExecutor(1) as pool:  # other tests may have left a loop running in this thread
        replies = pool.submit(lambda: asyncio.run(ask())).result()
    assert len({reply.choices[0].message.content for reply in replies}) == 1
    assert len({reply.id for reply in replies}) == 6


def test_an_existing_chat_client_works_unchanged(served: Serve, url: str, tmp_path: Path) -> None:
    """simonw's llm, in an environment of its own: docs/serving.md says how to make one."""
    program = os.environ.get("GAEA_TEST_LLM")
    if not program:
        pytest.skip("no chat client to try: set GAEA_TEST_LLM to the path of 'llm' (docs/serving.md says how)")
    entry = {"model_id": "gaea", "model_name": "gaea-nano", "api_base": f"{served.root}/v1", "api_key_name": "gaea"}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([{**entry, "vision": True, "supports_schema": True}]))
    (tmp_path / "keys.json").write_text(json.dumps({"gaea": KEY}))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(base64.b64decode(url.partition(",")[2]))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            check=False,
            env=os.environ | {"LLM_USER_PATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with served.client() as client:
        first = client.chat.completions.create(model="gaea-nano", messages=question(url))
    assert run("-m", "gaea", "Where is this?", "-a", str(photo)) == first.choices[0].message.content
    assert run("-c", "Which country?")  # it replays the photo and what was said
    shaped = run("-m", "gaea", "Where?", "-a", str(photo), "--schema", "answer, abstained bool", "--no-stream")
    assert set(json.loads(shaped)) == {"answer", "abstained"}


# ---- its own description


def test_what_the_description_allows_is_answered_as_it_says(served: Serve, tmp_path: Path) -> None:
    """Schemathesis, bounded. That all valid bodies are accepted is not asked: one without a photo is valid, too."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.root}/openapi.json", "--no-color"),
            *("-H", f"Authorization: Bearer {KEY}", "--phases", "examples,coverage,fuzzing", "--max-examples", "8"),
            *("--exclude-checks", "positive_data_acceptance", "--seed", "1", "--workers", "1"),
            *("--request-timeout", "300"),
        ],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "Tested: 6" in done.stdout


# ---- start and end


def test_it_ends_when_told_to_and_lets_replies_under_way_finish(tmp_path: Path, url: str) -> None:
    with serve(tmp_path, "--store", "memory") as made:
        said: list[str] = []

        def ask() -> None:
            with made.client() as client:
                reply = client.chat.completions.create(model="gaea-nano", messages=question(url))
                said.append(reply.choices[0].message.content)

        thread = threading.Thread(target=ask)
        thread.start()
        while "gaea_working 1.0" not in made.get("/metrics")[1] and thread.is_alive():
            pass
        made.process.send_signal(signal.SIGTERM)
        thread.join()
        assert len(said) == 1
        assert made.process.wait(90) in (0, -signal.SIGTERM)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", made.port))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "no key is set"),
        (("--model", "absent/model"), "is not a model that can be loaded"),
        (("--engine", "http://127.0.0.1:9/v1"), "no usable reply"),
        (("--engine", "nonsense"), "is not known"),
        (("--keys", "absent"), "cannot be read"),
        (("--disclosure", "street"), "is not known"),
        (("--image-host", "10.0.0.1"), "is no name"),
        (("--lora", "a=b"), "--engine vllm"),
        (("--engine", "vllm", "--lora", "geo=absent"), "no LoRA adapter"),
        (("--pass-through",), "--engine vllm or a URL"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_2(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    made = Serve(tmp_path, "--index", "none", *options, key=None)
    assert made.process.wait(PATIENCE_S) == 2
    said = made.log.read_text().strip().splitlines()
    assert message in said[-1]
    assert "Traceback" not in made.log.read_text()


# ---- over a real vLLM


@pytest.fixture(scope="module")
def over_vllm(needs_vllm: None, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The server with a vLLM of its own, nano and a LoRA module in it, the bare engine served too."""
    folder = tmp_path_factory.mktemp("serve-vllm")
    options = ("--store", "memory", "--engine", "vllm", "--lora", f"geo={adapter}", "--pass-through")
    with serve(folder, *options, "--vllm-log", str(folder / "vllm.log")) as made:
        yield made


def test_over_vllm_it_answers_as_in_process(over_vllm: Serve, served: Serve, url: str) -> None:
    with over_vllm.client() as there, served.client() as here:
        assert [m.id for m in there.models.list()] == ["gaea-nano", "geo", "engine/gaea-nano", "engine/geo"]
        ours, theirs = (c.chat.completions.create(model="gaea-nano", messages=question(url)) for c in (there, here))
        point, expected = (reply.choices[0].message.geolocation["point"] for reply in (ours, theirs))
        assert (point is None) == (expected is None)
        if point:
            assert point == pytest.approx(expected, abs=1e-3)
        adapted = there.chat.completions.create(model="geo", messages=question(url))
        assert adapted.choices[0].message.geolocation["provenance"]["model"] == "geo"
        bare = there.chat.completions.create(
            model="engine/gaea-nano", messages=question(url), max_tokens=8, temperature=0
        )
        assert bare.usage.completion_tokens <= 8
        chunks = there.chat.completions.create(
            model="engine/gaea-nano", messages=question(url), max_tokens=8, temperature=0, stream=True
        )
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == bare.choices[0].message.content
        with pytest.raises(openai.BadRequestError):
            there.chat.completions.create(model="engine/geo", messages=question("http://127.0.0.1/a.png"))


def test_vllm_killed_under_load_is_503_and_comes_back(over_vllm: Serve, url: str) -> None:
    with over_vllm.client() as client:
        client.chat.completions.create(model="gaea-nano", messages=question(url))
    outcomes: list[Any] = []
    stop = threading.Event()

    def load() -> None:
        with over_vllm.client() as client:
            while not stop.is_set():
                try:
                    client.chat.completions.create(model="gaea-nano", messages=question(url))
                    outcomes.append(200)
                except openai.APIStatusError as error:
                    outcomes.append((error.status_code, error.code, error.response.headers.get("retry-after")))
                    time.sleep(0.2)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while outcomes.count(200) < 4:
            time.sleep(0.1)
        _kill_vllm(over_vllm.process.pid)
        over_vllm.wait(503)
        assert over_vllm.get("/health")[0] == 200
        over_vllm.wait(200)
        before = outcomes.count(200)
        while outcomes.count(200) < before + 4:
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    failed = [outcome for outcome in outcomes if outcome != 200]
    assert failed
    assert {(status, code) for status, code, _ in failed} == {(503, "engine_unavailable")}
    assert all(int(retry) >= 1 for _, _, retry in failed)
    metrics = over_vllm.get("/metrics")[1]
    assert "gaea_engine_restarts 1.0" in metrics
    assert "gaea_working 0.0" in metrics  # nothing hangs


def _kill_vllm(parent: int) -> None:
    """The server's child that runs vLLM, by its id, with no chance to say goodbye."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    (found,) = [pid for pid in pids if "gaea.app.vllm" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(found, signal.SIGKILL)


def test_when_it_ends_so_does_its_vllm(over_vllm: Serve) -> None:
    children = Path(f"/proc/{over_vllm.process.pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    (started,) = [pid for pid in pids if "gaea.app.vllm" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert over_vllm.end() in (0, -signal.SIGTERM)
    assert not Path(f"/proc/{started}").exists()
