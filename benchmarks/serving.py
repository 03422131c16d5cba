"""``gaea serve`` under load, and what the gateway adds to a bare vLLM on the same requests.

    python benchmarks/serving.py load --engine transformers --engine vllm
    python benchmarks/serving.py soak --seconds 150
    python benchmarks/serving.py kill
    python benchmarks/serving.py overhead

*load* starts the server with nano and lets 1, 8 and 64 clients hold conversations (a photo of their own, a question,
a follow-up) for a while. The server takes so many requests that the largest number of clients meets a 429, which waits
as it is told and tries again; latencies are those of answered requests alone.

*soak* lets 8 clients ask of 160 pictures for longer, so that photos are kept, found again and forgotten, and prints
memory over time.

*kill* kills the server's vLLM (SIGKILL) while 8 clients ask without pause, and prints what they were answered, and how
long it took until questions were answered again.

*overhead* starts one vLLM, and the server in front of it. The peer is that vLLM, asked directly. Requests alternate
between the two, in random order, so that both meet the same machine: the same bodies passed through (``engine/NAME``),
with pictures that both have seen before and with new ones, and the follow-up question of a whole conversation (photo
known, briefing, disclosure, structured answer) beside the very body that the pipeline sends to vLLM for it. First
questions, which locate the photo, have no peer: their time is printed alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

CLIENTS = (1, 8, 64)
PLACES = [(lat, lon) for lat in (-24.0, 8.0, 23.4, 47.0) for lon in (-66.0, -4.0, 25.6, 75.0)]
QUEUE = 40
PATIENCE_S = 600


def pictures(north: float = 0.0, corner: tuple[int, int, int] | None = None) -> list[str]:
    """Sixteen crops of the Earth from orbit, so many degrees further north, as data URLs.

    Args:
        north: Degrees.
        corner: A colour for their first pixel, which makes other pictures of them that look the same.
    """
    from gaea.app.sample import crop

    made = []
    for place in PLACES:
        image, packed = crop((place[0] + north, place[1])), io.BytesIO()
        if corner is not None:
            image.putpixel((0, 0), corner)
        image.save(packed, "JPEG", quality=90)
        made.append("data:image/jpeg;base64," + base64.b64encode(packed.getvalue()).decode())
    return made


def question(url: str, text: str = "Where is this?") -> list[dict[str, Any]]:
    """The messages of a first question."""
    return [
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]}
    ]


@contextlib.contextmanager
def server(*options: str, folder: Path) -> Iterator[tuple[str, int]]:
    """``gaea serve`` as a process of its own: its URL and its id."""
    from gaea.app import vllm

    port = vllm.free_port()
    command = [sys.executable, "-m", "gaea.app.cli", "serve", "--port", str(port), "--quiet", *options]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit((folder / "serve.log").read_text())
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(120)


def family_mib(pid: int) -> float:
    """Resident memory of a process and all that it started, MiB."""
    found, total = [pid], 0.0
    for each in found:
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            for file in Path(f"/proc/{each}/task").glob("*/children"):
                found += [int(child) for child in file.read_text().split()]
    return total


def family_cpu_s(pid: int) -> float:
    """Processor seconds that a process and all that it started have used, which a busy machine hardly changes."""
    found, total = [pid], 0.0
    for each in found:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            for file in Path(f"/proc/{each}/task").glob("*/children"):
                found += [int(child) for child in file.read_text().split()]
    return total


def child_that_runs(module: str, parent: int | str = "self") -> int:
    """The id of the one process that another one, or this one, started with a module."""
    files = Path(f"/proc/{parent}/task").glob("*/children")
    children = [int(pid) for file in files for pid in file.read_text().split()]
    (found,) = [pid for pid in children if module in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    return found


class Memory:
    """Memory over time, once a second."""

    def __init__(self, pid: int) -> None:
        self.mib: list[float] = []
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self.mib.append(family_mib(self._pid))

    def __enter__(self) -> Memory:
        self.mib.append(family_mib(self._pid))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.mib.append(family_mib(self._pid))


async def converse(
    client: httpx.AsyncClient, urls: list[str], until: float, found: dict[str, list[float]], seed: int
) -> None:
    """One client: conversations of two questions, until the time is over."""
    drawn = random.Random(seed)
    while time.monotonic() < until:
        messages = question(drawn.choice(urls))
        for kind, follow_up in (("first", "Which country?"), ("follow-up", None)):
            reply = await _answered(client, messages, until, found, kind)
            if reply is None:
                return
            messages += [reply["choices"][0]["message"], {"role": "user", "content": follow_up}]


async def _answered(
    client: httpx.AsyncClient, messages: list[Any], until: float, found: dict[str, list[float]], kind: str
) -> dict[str, Any] | None:
    while time.monotonic() < until:
        began = time.perf_counter()
        reply = await client.post("/v1/chat/completions", json={"model": "gaea-nano", "messages": messages})
        if reply.status_code == 200:
            found[kind].append(time.perf_counter() - began)
            return dict(reply.json())
        found[str(reply.status_code)].append(0.0)
        await asyncio.sleep(min(float(reply.headers.get("Retry-After", 1)), max(0.0, until - time.monotonic())))
    return None


async def load(url: str, clients: int, seconds: float, urls: list[str]) -> dict[str, list[float]]:
    """So many clients at once, for so long."""
    found: dict[str, list[float]] = {kind: [] for kind in ("first", "follow-up", "429", "500", "502", "503")}
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits, trust_env=False) as client:
        until = time.monotonic() + seconds
        await asyncio.gather(*(converse(client, urls, until, found, seed) for seed in range(clients)))
    return found


def run_load(engines: list[str], seconds: float) -> None:
    """Print the table of each engine."""
    urls = pictures()
    for engine in engines:
        options = ["--store", "memory", "--engine", engine, "--queue", str(QUEUE)]
        with tempfile.TemporaryDirectory() as folder, server(*options, folder=Path(folder)) as (url, pid):
            asyncio.run(load(url, 1, 5, urls))  # warm
            print(f"\n--engine {engine}: {seconds:.0f} s each, queue of {QUEUE}")
            print("clients answers/s | first p50    p95 | follow-up p50  p95 |  429 other | MiB start  peak   end")
            for clients in CLIENTS:
                with Memory(pid) as memory:
                    began = time.monotonic()
                    found = asyncio.run(load(url, clients, seconds, urls))
                    took = time.monotonic() - began
                print(_row(clients, took, found, memory.mib), flush=True)


def _row(clients: int, took: float, found: dict[str, list[float]], mib: list[float]) -> str:
    first, later = found["first"], found["follow-up"]
    other = sum(len(found[status]) for status in ("500", "502", "503"))
    return (
        f"{clients:7d} {(len(first) + len(later)) / took:9.2f} |    {_p(first, 50)} {_p(first, 95)} |"
        f"        {_p(later, 50)} {_p(later, 95)} | {len(found['429']):4d} {other:5d} |"
        f" {mib[0]:9.0f} {max(mib):5.0f} {mib[-1]:5.0f}"
    )


def _p(seconds: list[float], percent: int) -> str:
    if len(seconds) < 2:
        return "     –"
    return f"{statistics.quantiles(seconds, n=100, method='inclusive')[percent - 1]:6.2f}"


def run_soak(engine: str, seconds: float, clients: int = 8) -> None:
    """Print memory over time."""
    urls = [url for step in range(10) for url in pictures(north=step / 4)]
    options = ["--store", "memory", "--engine", engine, "--queue", str(QUEUE)]
    with tempfile.TemporaryDirectory() as folder, server(*options, folder=Path(folder)) as (url, pid):
        asyncio.run(load(url, clients, 5, urls))  # warm
        with Memory(pid) as memory:
            found = asyncio.run(load(url, clients, seconds, urls))
    answers = len(found["first"]) + len(found["follow-up"])
    other = sum(len(found[status]) for status in ("429", "500", "502", "503"))
    mib, steps = memory.mib, 6
    told = "  ".join(f"{mib[round(k * (len(mib) - 1) / steps)]:.0f}" for k in range(steps + 1))
    print(f"--engine {engine}, {clients} clients, {len(urls)} pictures, {seconds:.0f} s")
    print(f"{answers} answers, {other} others")
    print(f"first questions: p50 {_p(found['first'], 50)} s, p95 {_p(found['first'], 95)} s")
    print(f"MiB at the start, after each sixth, at the end: {told}; peak {max(mib):.0f}")


def run_kill(seconds: float, clients: int = 8) -> None:
    """Print what clients meet when vLLM is killed."""
    options = ["--store", "memory", "--engine", "vllm", "--queue", str(QUEUE)]
    with tempfile.TemporaryDirectory() as folder, server(*options, folder=Path(folder)) as (url, pid):
        asyncio.run(load(url, clients, 5, pictures()))  # warm
        asyncio.run(_killed(url, pid, seconds, clients))


async def _killed(url: str, pid: int, seconds: float, clients: int) -> None:
    urls, met, stop = pictures(), list[tuple[float, float, int, str]](), asyncio.Event()

    async def ask(client: httpx.AsyncClient, seed: int) -> None:
        drawn = random.Random(seed)
        while not stop.is_set():
            began = time.monotonic()
            body = {"model": "gaea-nano", "messages": question(drawn.choice(urls))}
            reply = await client.post("/v1/chat/completions", json=body)
            code = "" if reply.status_code == 200 else f" {reply.json()['error']['code']}"
            met.append((began, time.monotonic() - began, reply.status_code, code))
            if code:
                await asyncio.sleep(0.2)

    limits = httpx.Limits(max_connections=clients + 1)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits, trust_env=False) as client:
        asking = [asyncio.create_task(ask(client, seed)) for seed in range(clients)]
        await asyncio.sleep(seconds)
        os.kill(child_that_runs("gaea.app.vllm", pid), signal.SIGKILL)
        killed = time.monotonic()
        while (await client.get("/ready")).status_code == 200:
            await asyncio.sleep(0.01)
        down = time.monotonic()
        alive = (await client.get("/health")).status_code
        while (await client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.1)
        back = time.monotonic()
        await asyncio.sleep(seconds)
        stop.set()
        await asyncio.gather(*asking)
        metrics = (await client.get("/metrics")).text
    print(f"{clients} clients; vLLM killed after {seconds:.0f} s")
    print(f"/ready said so after {down - killed:.2f} s, /health went on to say {alive}")
    print("asked            answers                                   p50 s  longest s")
    for name, since, until in (("before", 0.0, killed), ("while down", killed, back), ("after", back, math.inf)):
        those = [each for each in met if since <= each[0] < until]
        kinds = sorted({f"{status}{code}" for _, _, status, code in those})
        counted = ", ".join(f"{sum(f'{s}{c}' == kind for _, _, s, c in those)} × {kind}" for kind in kinds)
        took = [each[1] for each in those]
        print(f"{name:16s} {counted:40s} {_p(took, 50)} {max(took, default=0):8.2f}")
    cut = [(status, began + took - killed) for began, took, status, _ in met if began < killed < began + took]
    lasted = max((seconds for _, seconds in cut), default=0.0)
    answered = sum(status == 200 for status, _ in cut)
    print(f"under way when it died: {len(cut)}, {answered} of them answered; ended within {lasted:.2f} s")
    print(f"questions were answered again after {back - killed:.1f} s")
    shown = ("gaea_working ", "gaea_waiting ", "gaea_engine_restarts ")
    kept = [line for line in metrics.splitlines() if line.startswith(shown)]
    print("afterwards: " + ", ".join(kept))


def follow_ups(url: str, urls: list[str]) -> list[tuple[list[Any], dict[str, Any]]]:
    """For each picture: the messages of a follow-up as a client sends them, and the body that vLLM is sent for it."""
    import gaea

    assistant = gaea.load(engine=url, store="memory")
    sent: list[dict[str, Any]] = []
    events = assistant.engine._connection.events  # type: ignore[attr-defined]

    def recorded(path: str, body: dict[str, Any], *more: Any, **options: Any) -> Any:
        sent.append(body)
        return events(path, body, *more, **options)

    assistant.engine._connection.events = recorded  # type: ignore[attr-defined]
    made = []
    for each in urls:
        chat = assistant.open(each)
        first = chat.ask("Where is this?")
        chat.ask("Which country?")
        replayed = [{"role": "assistant", "content": first.text}, {"role": "user", "content": "Which country?"}]
        made.append((question(each) + replayed, sent[-1]))
    assistant.engine.close()  # type: ignore[attr-defined]
    return made


def run_overhead(count: int) -> None:
    """Print both comparisons."""
    from gaea.app import vllm
    from gaea.app.assemble import NANO
    from gaea.vllm_layout import lay_out

    urls = pictures()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        config = vllm.VllmConfig(
            model=lay_out(NANO / "llava", folder / "nano"),
            name="gaea-nano",
            port=vllm.free_port(),
            dtype="float32",
            context=1024,
            compiled=False,
        )
        with (
            vllm.running(config, log=folder / "vllm.log") as bare,
            server("--store", "memory", "--engine", bare, "--pass-through", folder=folder) as (gate, pid),
            httpx.Client(timeout=PATIENCE_S, trust_env=False) as client,
        ):
            compare(client, bare, f"{gate}/v1", urls, count, pids=(child_that_runs("gaea.app.vllm"), pid))


def compare(client: httpx.Client, bare: str, gate: str, urls: list[str], count: int, *, pids: tuple[int, int]) -> None:
    """Alternate between the two, and print quantiles of each, their ratio, and processor time per request.

    Args:
        client: Asks both.
        bare: URL of vLLM.
        gate: URL of the gateway.
        urls: Pictures.
        count: Pairs of requests in each comparison.
        pids: Of vLLM and of the gateway.
    """

    def timed(base: str, body: dict[str, Any]) -> float:
        began = time.perf_counter()
        reply = client.post(f"{base}/chat/completions", json=body)
        took = time.perf_counter() - began
        reply.raise_for_status()
        return took

    def both(name: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]], *, warm: bool = True) -> None:
        drawn, ours, theirs = random.Random(0), list[float](), list[float]()
        rounds = len(pairs) if warm else 0  # the first one warms what keeps pictures and prefixes
        used = [0.0, 0.0]
        for number in range(rounds + count):
            if number == rounds:
                used = [family_cpu_s(pid) for pid in pids]
            direct, through = pairs[number % len(pairs)]
            took = {}
            for gateway in drawn.sample([True, False], 2):
                took[gateway] = timed(gate, through) if gateway else timed(bare, direct)
            if number >= rounds:
                ours.append(took[True])
                theirs.append(took[False])
        vllm_ms, gate_ms = (1000 * (family_cpu_s(pid) - before) for pid, before in zip(pids, used, strict=True))
        half, bare_half = statistics.median(ours), statistics.median(theirs)
        print(
            f"{name:34s} {count:5d}   {1000 * bare_half:7.1f} {_p(theirs, 95)}   {1000 * half:7.1f} {_p(ours, 95)}"
            f"   {100 * (half / bare_half - 1):+6.1f} %   {1000 * (half - bare_half):+6.1f} ms"
            f"   {vllm_ms / (2 * count):7.1f} {gate_ms / count:7.1f}",
            flush=True,
        )

    print(
        "requests                               n   bare p50 ms  p95 s   gateway p50 ms  p95 s   overhead at p50"
        "            CPU ms a request: vLLM, gateway"
    )
    for tokens in (32, 128):
        text = "Describe this picture." if tokens == 32 else "Where is this, and what is known of it?"
        bodies = [{"messages": question(url, text), "max_tokens": tokens, "temperature": 0} for url in urls]
        both(
            f"passed through, up to {tokens} tokens",
            [({"model": "gaea-nano", **body}, {"model": "engine/gaea-nano", **body}) for body in bodies],
        )
    # Whoever is asked second would find a picture encoded, and of two different ones more may be said of one: each pair
    # is one crop twice, told apart by a pixel, and who gets which is drawn.
    drawn, twice = random.Random(0), list[tuple[str, str]]()
    for step in range(1, 2 + count // len(PLACES)):
        dark, light = (pictures(north=step / 4, corner=colour) for colour in ((0, 0, 0), (255, 255, 255)))
        twice += zip(dark, light, strict=True)
    one_each = [
        [{"messages": question(url, text), "max_tokens": 32, "temperature": 0} for url in drawn.sample(pair, 2)]
        for pair in twice[:count]
    ]
    both(
        "passed through, new pictures",
        [({"model": "gaea-nano", **a}, {"model": "engine/gaea-nano", **b}) for a, b in one_each],
        warm=False,
    )
    pairs = [(body, {"model": "gaea-nano", "messages": asked}) for asked, body in follow_ups(bare, urls)]
    direct = [({k: v for k, v in body.items() if k not in ("stream", "stream_options")}, ours) for body, ours in pairs]
    both("follow-up, the whole pipeline", direct)
    both("the same, both streamed", [(body, {**ours, "stream": True}) for body, ours in pairs])
    fresh = [timed(gate, {"model": "gaea-nano", "messages": question(url)}) for url in pictures(north=2.0)]
    print(f"first questions, nothing known of the photo: p50 {statistics.median(fresh):.2f} s, n {len(fresh)}")


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "soak", "kill", "overhead"], nargs="?", default="load")
    parser.add_argument("--engine", action="append", help="transformers or vllm; repeatable (default: transformers)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load, or before and after (default: 30)")
    parser.add_argument("--count", type=int, default=100, help="pairs of requests in each comparison (default: 100)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    if args.what == "load":
        run_load(args.engine or ["transformers"], args.seconds)
    elif args.what == "soak":
        run_soak((args.engine or ["transformers"])[0], args.seconds)
    elif args.what == "kill":
        run_kill(args.seconds)
    else:
        run_overhead(args.count)


if __name__ == "__main__":
    main()
