"""The table of ``benchmarks/retrieval.py``, made from what it has measured so far.

Run ``python benchmarks/retrieval_table.py`` to write ``docs/retrieval-benchmark.md`` again from
``docs/results/retrieval-speed.jsonl``; only what follows its marker is replaced.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

STORES = ("memory", "chroma", "chroma-server", "milvus")
PEERS = ("numpy", "faiss-flat", "faiss-hnsw")
TITLES = {
    "memory": "in memory, exact",
    "chroma": "Chroma embedded",
    "chroma-server": "Chroma server",
    "milvus": "Milvus Lite",
    "numpy": "NumPy brute force",
    "faiss-flat": "faiss Flat",
    "faiss-hnsw": "faiss HNSW",
}
PACKAGES = ("chromadb", "pymilvus", "milvus-lite", "faiss-cpu", "numpy")
HEADS = (
    "store",
    "build",
    "disk",
    "memory, building",
    "reopen",
    "memory, asking",
    "near: p50 / p95",
    "recall@10",
    "negated: p50 / p95",
    "recall@10",
)
MARKER = "<!-- measured -->"
ROOT = Path(__file__).parents[1]
Measured = dict[tuple[str, str], dict[str, Any]]


def measured(file: Path, rows: int) -> Measured:
    """The last measurement of each store and phase."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    return {(line["store"], line["phase"]): line for line in found if line["rows"] == rows}


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


def machine() -> str:
    """Memory and versions in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"


def write_page(results: Path, page: Path) -> None:
    """Replace what follows the marker of the page by the machine and the tables, largest first."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    sizes = sorted({json.loads(line)["rows"] for line in lines}, reverse=True)
    tables = "\n".join(part for rows in sizes for part in _tables(measured(results, rows), rows))
    told = page.read_text(encoding="utf-8") if page.exists() else ""
    page.write_text(f"{told.split(MARKER)[0]}{MARKER}\n\n{machine()}.\n\n{tables}", encoding="utf-8")


def _tables(found: Measured, rows: int) -> Iterator[str]:
    """What was measured with so many rows."""
    yield f"### {rows:,} × {next(iter(found.values()))['dim']}\n"
    yield "| " + " | ".join(HEADS) + " |"
    yield "|---|" + "--:|" * (len(HEADS) - 1)
    for name in (*STORES, *PEERS):
        built, asked = found.get((name, "build")), found.get((name, "ask"))
        if built and asked:
            yield (
                f"| {TITLES[name]} | {built['seconds']:,.0f} s | {built['disk_mb']:,.0f} MB | {built['peak_mb']:,} MB "
                f"| {asked['reopen_s']:.1f} s | {asked['peak_mb']:,} MB | {_spent(asked['near'])} "
                f"| {_spent(asked['negated'])} |"
            )
    yield from _narrowed({name: found[name, "ask"]["narrowed"] for name in STORES if (name, "ask") in found})
    lines = list(found.values())
    when, load = ([line[key] for line in lines] for key in ("when", "load"))
    commits = ", ".join(sorted({f"`{line['commit']}`" for line in lines}))
    yield f"\n{min(when)} to {max(when)}, commit {commits}, load of the machine {min(load)} to {max(load)};"
    for cpu in sorted({line["cpu"] for line in lines}):
        names = ", ".join(TITLES[name] for name in (*STORES, *PEERS) if found.get((name, "ask"), {}).get("cpu") == cpu)
        yield f"on {cpu}: {names}."
    yield ""


def _narrowed(asked: dict[str, Any]) -> Iterator[str]:
    """How long it takes where only some rows may be neighbours; mask and query together."""
    if not asked:
        return
    first = next(iter(asked.values()))
    heads = [f"{label} ({told['rows']:,} rows): p50 / p95 | recall@10" for label, told in first.items()]
    yield "\n| narrowed to | " + " | ".join(heads) + " |"
    yield "|---|" + "--:|--:|" * len(heads)
    for name, told in asked.items():
        yield f"| {TITLES[name]} | " + " | ".join(_spent(told[label]) for label in first) + " |"


def _spent(told: dict[str, Any]) -> str:
    recall = "–" if told["recall"] is None else f"{told['recall']:.3f}"
    return f"{told['p50_ms']:.1f} / {told['p95_ms']:.1f} ms | {recall}"


if __name__ == "__main__":
    write_page(ROOT / "docs/results/retrieval-speed.jsonl", ROOT / "docs/retrieval-benchmark.md")
