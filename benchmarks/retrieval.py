"""Every vector store beside faiss and NumPy, on the same rows in one run: what it costs and what it finds.

    python benchmarks/retrieval.py                           # 20,000 rows, all stores
    python benchmarks/retrieval.py --rows 1000000 --minutes 9 --only chroma

The rows are synthetic plus real: the embeddings of the shipped gallery, turned into 512 dimensions (which keeps their
cosines), each the centre of a cluster of vectors scattered around it (Gaussian noise on the sphere, close to von
Mises-Fisher; cosine to the centre about 0.89) at places some 15 km around its own. Half of the queries are new draws
from the clusters, half are those negated, which asks for the farthest rows.

Each store is built and asked in processes of its own, so that memory is its own. What was measured is kept as JSON
lines, and the table is made from them: a run that was broken off, or stopped by ``--minutes``, goes on when repeated.
A store that needs longer than ``--ask-seconds`` for a set of queries is asked fewer of them, and the table says so.
Latencies are those of a clock; processor time beside them is that of the asking process (not of a server), which other
work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from retrieval_table import PEERS, STORES, measured, processor, write_page

K, QUERIES, DIM, SEED = 10, 200, 512, 7
NARROWINGS = {
    "Russia": {"countries": ("RU",)},
    "France": {"countries": ("FR",)},
    "50 km": {"circle": (48.85, 2.35, 50.0)},
}
HNSW = {"M": 16, "efConstruction": 100, "efSearch": 400}
Search = Callable[[np.ndarray, int], np.ndarray]


class OutOfTimeError(Exception):
    """The minutes are over; what is built stays."""


# ── rows and queries ────────────────────────────────────────────────────────


def scattered(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of shape (n, DIM) around real ones, and places around theirs."""
    from gaea.rag.gallery import Gallery

    real = Gallery.read(Path(__file__).parents[1] / "gaea/nano/gallery")
    turn, _ = np.linalg.qr(np.random.default_rng(SEED).normal(size=(DIM, real.meta.dim)))
    centre = rng.integers(len(real), size=n)
    noise = rng.normal(scale=0.5 / np.sqrt(DIM), size=(n, DIM)).astype(np.float32)
    rows = real.embeddings[centre] @ turn.T.astype(np.float32) + noise
    lat = np.clip(real.lat[centre] + rng.normal(scale=0.1, size=n), -90, 90)
    lon = np.clip(real.lon[centre] + rng.normal(scale=0.1, size=n), -180, 180)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), lat, lon


def make_rows(work: Path, n: int) -> None:
    """An index of n rows, with countries; what is there already is kept."""
    from gaea import places
    from gaea.rag.encoders import EncoderIdentity
    from gaea.rag.gallery import Gallery
    from gaea.rag.index import Index

    folder = work / "index"
    identity = EncoderIdentity("scattered", "", "5" * 64, "", "", DIM)
    index = Index.open(folder) if folder.exists() else Index.create(folder, identity)
    while len(index) < n:
        rng = np.random.default_rng([SEED, len(index)])
        rows, lat, lon = scattered(rng, min(50_000, n - len(index)))
        labels = {"country": places.country_codes(lat, lon), "source": np.full(len(rows), "benchmark")}
        with index.writer() as writer:
            writer.append_gallery(Gallery.from_embeddings(rows, lat, lon, meta=index.meta, labels=labels))
        print(f"  {len(index):,} rows made", flush=True)


def make_truth(work: Path) -> dict[str, np.ndarray]:
    """Queries and their exact neighbours, by matrix products in double the precision of any store."""
    from gaea.rag.index import Index

    file = work / "truth.npz"
    if not file.exists():
        near, _, _ = scattered(np.random.default_rng([SEED, 1, 1]), QUERIES)
        gallery = Index.open(work / "index").read_gallery(())
        queries = np.concatenate([near, -near]).astype(np.float32)
        best = np.zeros((len(queries), 0), np.int64)
        similarity = np.zeros(best.shape)
        for start in range(0, len(gallery), 10_000):
            part = gallery.codes[start : start + 10_000].astype(np.float64)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
            # What is best so far competes with the next rows: a matrix of all similarities would take gigabytes.
            best = np.hstack([best, np.broadcast_to(np.arange(start, start + len(part)), (len(queries), len(part)))])
            similarity = np.hstack([similarity, queries @ part.T])
            kept = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
            best, similarity = (np.take_along_axis(held, kept, axis=1) for held in (best, similarity))
        np.savez(file, queries=queries, best=gallery.row_numbers[best])
    with np.load(file) as found:
        return dict(found)


# ── in a process of its own: build, ask ─────────────────────────────────────


@contextlib.contextmanager
def served(work: Path) -> Iterator[tuple[str, int]]:
    """A Chroma server on the loopback address, always the same one for the same folder: its address and process."""
    kept = work / "chroma-server.port"
    if not kept.exists():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            kept.write_text(str(probe.getsockname()[1]), encoding="utf-8")
    port = int(kept.read_text(encoding="utf-8"))
    program = Path(sys.executable).with_name("chroma")
    command = [program, "run", "--path", work / "chroma-server", "--host", "127.0.0.1", "--port", port]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()


@contextlib.contextmanager
def opened(name: str, work: Path, address: str | None, progress: Any = None) -> Iterator[tuple[Any, Search]]:
    """A store (None for a peer) and its search, brought in line with the index or built."""
    from gaea.rag.index import Index
    from gaea.rag.sync import open_index_store

    index = Index.open(work / "index")
    if name in STORES:
        place = None if name == "memory" else address or work / name
        with contextlib.closing(open_index_store(index, name, location=place, progress=progress)) as store:
            yield store, lambda queries, k: store.query(queries, k)[0]
    elif name == "numpy":
        rows = index.read_gallery(()).embeddings
        yield None, lambda queries, k: np.argpartition(-(queries @ rows.T), k, axis=1)[:, :k]
    else:
        found = faiss_index(name, index, work / name, progress)
        yield None, lambda queries, k: found.search(queries, k)[1]


def faiss_index(name: str, index: Any, folder: Path, progress: Any) -> Any:
    """The same rows in faiss, written to one file and read from it."""
    import faiss

    file, part = folder / "rows.faiss", folder / "part.faiss"
    if file.exists():
        return faiss.read_index(str(file))
    folder.mkdir(parents=True, exist_ok=True)
    if part.exists():
        made = faiss.read_index(str(part))
    elif name == "faiss-hnsw":
        made = faiss.IndexHNSWFlat(DIM, HNSW["M"], faiss.METRIC_INNER_PRODUCT)
        made.hnsw.efConstruction, made.hnsw.efSearch = HNSW["efConstruction"], HNSW["efSearch"]
    else:
        made = faiss.IndexFlatIP(DIM)
    for shard in index.shards:
        if made.ntotal > shard.first:
            continue
        made.add(index.read_shard(shard, ()).embeddings)
        if progress is not None:
            try:
                progress(made.ntotal, len(index))
            except OutOfTimeError:
                faiss.write_index(made, str(part))
                raise
    faiss.write_index(made, str(file))
    part.unlink(missing_ok=True)
    return made


def peak_mb(server: int | None) -> int:
    """Highest memory of this process, or of the server that does its work."""
    # Not getrusage: what it tells begins with the memory of the process that started this one.
    lines = Path(f"/proc/{server or os.getpid()}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def build(name: str, work: Path, until: float, address: str | None, server: int | None) -> dict[str, Any]:
    """Build as long as there is time."""
    start, steps = time.perf_counter(), []

    def progress(done: int, total: int) -> None:
        steps.append(total - done)
        if total > done and time.time() > until:
            raise OutOfTimeError

    whole = True
    try:
        with opened(name, work, address, progress):
            seconds = time.perf_counter() - start
    except OutOfTimeError:
        whole, seconds = False, time.perf_counter() - start
    size = sum(file.stat().st_size for file in (work / name).rglob("*") if file.is_file())
    return {"whole": whole, "seconds": seconds, "disk_mb": size / 1e6, "peak_mb": peak_mb(server)}


def ask(name: str, work: Path, address: str | None, server: int | None, seconds: float) -> dict[str, Any]:
    """Reopen, ask the queries one by one, and narrowed ones where the store can."""
    from gaea.rag.index import Index

    truth = make_truth(work)
    start = time.perf_counter()
    with opened(name, work, address) as (store, search):
        search(truth["queries"][:1], K)
        told: dict[str, Any] = {"reopen_s": time.perf_counter() - start}
        for label, half in (("near", slice(QUERIES)), ("negated", slice(QUERIES, None))):
            found, spent = timed_queries(search, truth["queries"][half], seconds)
            exact = truth["best"][half][: len(found)]
            hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
            told[label] = {"recall": sum(hits) / K / len(hits), **spent}
        told["peak_mb"] = peak_mb(server)
        if store is not None:
            gallery = Index.open(work / "index").gallery
            told["narrowed"] = {label: narrowed(store, gallery, truth, label, seconds) for label in NARROWINGS}
    return told


def timed_queries(search: Search, queries: np.ndarray, seconds: float) -> tuple[np.ndarray, dict[str, float]]:
    """Ask one query at a time, after a few that do not count, for so long at most; what was found, and times in ms."""
    start = time.perf_counter()
    for query in queries[:5]:
        if time.perf_counter() - start < seconds / 4:
            search(query[None], K)
    found, spent, cpu = [], [], []
    for query in queries:
        before, worked = time.perf_counter(), time.process_time()
        found.append(search(query[None], K)[0])
        spent.append(1000 * (time.perf_counter() - before))
        cpu.append(1000 * (time.process_time() - worked))
        if time.perf_counter() - start > seconds:
            break
    quantiles = {"p50_ms": float(np.percentile(spent, 50)), "p95_ms": float(np.percentile(spent, 95))}
    return np.array(found), {**quantiles, "cpu_ms": float(np.percentile(cpu, 50)), "queries": len(found)}


def narrowed(store: Any, gallery: Any, truth: dict[str, np.ndarray], label: str, seconds: float) -> dict[str, Any]:
    """Latency of mask and query together, and recall against all rows of the mask.

    Beside it, under ``asked first`` and ``compared``, what the two ways cost between which a narrowed query chooses: to
    ask the store for more and more neighbours until enough of them match, and to compare the rows that match.
    """
    from gaea.rag import narrow

    conditions = narrow.Narrowing(**NARROWINGS[label])
    mask = conditions.mask(gallery)
    queries = truth["queries"][: QUERIES // 4]

    def search(query: np.ndarray, k: int) -> np.ndarray:
        return narrow.narrowed_query(asked, gallery, query, k, conditions.mask(gallery))[0]

    told: dict[str, Any] = {"rows": int(mask.sum())}
    exact, _ = narrow._compared(gallery, queries, min(K, told["rows"]), np.flatnonzero(mask))
    for name, rows in (("", None), ("asked first", -(2**60)), ("compared", 2**60)):
        asked = store if rows is None else Priced(store, rows)
        found, spent = timed_queries(search, queries, seconds)
        right = exact[: len(found)]
        hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), right.tolist(), strict=True))
        spent["recall"] = hits / right.size if right.size else None
        told |= {name: spent} if name else spent
    return told


class Priced:
    """A store that says what a question to it costs, in rows compared."""

    def __init__(self, store: Any, rows: int) -> None:
        self.query, self.count, self.rows_per_question = store.query, store.count, rows


def child(options: argparse.Namespace) -> None:
    """One phase of one store; the last line printed is what was measured."""
    with contextlib.ExitStack() as stack:
        address, server = stack.enter_context(served(options.work)) if options.name == "chroma-server" else (None, None)
        if options.phase == "build":
            told = build(options.name, options.work, options.until, address, server)
        else:
            told = ask(options.name, options.work, address, server, options.seconds)
    print(json.dumps(told))


# ── the run, and its table ──────────────────────────────────────────────────


def measure(name: str, phase: str, options: argparse.Namespace, until: float) -> bool:
    """Measure one phase in a process of its own, and keep it; whether it is done."""
    before = measured(options.results, options.rows).get((name, phase))
    if before and before["whole"] and not options.again:
        return True
    if options.again and phase == "build":
        shutil.rmtree(options.work / name, ignore_errors=True)  # else only what was missing would be timed
    command = [
        sys.executable,
        __file__,
        "--child",
        phase,
        name,
        str(options.work),
        str(until),
        str(options.ask_seconds),
    ]
    # One thread each: many would wait for each other as soon as the machine has anything else to do.
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, **single})
    if ran.returncode:
        print(f"{name}: {phase} failed with status {ran.returncode}")
        return False
    told = {"whole": True, **json.loads(ran.stdout.splitlines()[-1])}
    if phase == "build" and before and not before["whole"]:
        told["seconds"] += before["seconds"]
        told["peak_mb"] = max(told["peak_mb"], before["peak_mb"])
    line = {"rows": options.rows, "dim": DIM, "store": name, "phase": phase, "when": time.strftime("%F %T"), **told}
    line |= {"commit": commit(), "load": round(os.getloadavg()[0], 1), "cpu": processor()}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{name}: {phase} {'done' if told['whole'] else 'goes on next time'} ({time.strftime('%T')})", flush=True)
    return bool(told["whole"])


def commit() -> str:
    """Of the checkout, with a mark where files differ from it."""
    return subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()


def main() -> None:
    """Measure what has not been measured yet, and write the table."""
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument(
        "--only", choices=[*STORES, *PEERS], action="append", help="may be given again; all if left out"
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="stop building after so long; repeat to go on")
    parser.add_argument("--ask-seconds", type=float, default=60.0, help="for each set of queries at most")
    parser.add_argument("--phase", choices=("build", "ask"), help="only this one")
    parser.add_argument("--again", action="store_true", help="measure anew, and build from nothing")
    parser.add_argument("--work", type=Path, help="rows and stores lie here, and stay (default: build/retrieval-ROWS)")
    parser.add_argument("--results", type=Path, default=root / "docs/results/retrieval-speed.jsonl")
    parser.add_argument("--table", type=Path, default=root / "docs/retrieval-benchmark.md")
    options = parser.parse_args()
    options.work = options.work or root / f"build/retrieval-{options.rows}"
    until = time.time() + 60 * options.minutes
    make_rows(options.work, options.rows)
    make_truth(options.work)
    for name in options.only or (*STORES, *PEERS):
        for phase in [options.phase] if options.phase else ["build", "ask"]:
            if time.time() >= until or not measure(name, phase, options, until):
                break  # what is not built whole cannot be asked
    write_page(options.results, options.table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        phase, name, work, until, seconds = sys.argv[2:]
        child(argparse.Namespace(phase=phase, name=name, work=Path(work), until=float(until), seconds=float(seconds)))
    else:
        main()
