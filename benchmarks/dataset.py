"""Does a dataset of GAEA's size need memory? Rows written, read, exported and counted, each in a process of its own.

    .venv/bin/python benchmarks/dataset.py --rows 1430000 --out rows

The rows are made up, in the shares and about the lengths of GAEA-1.4M. ``--peer`` also reads the same file with
``json.load``, which holds it all: at full size that takes several GB.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# GAEA's README: location, long, short, multiple choice, true/false; and words of a typical answer.
SHARES = {"LOC": (822_951, 3), "LVQA": (236_935, 150), "SVQA": (267_668, 12), "MCQ": (48_673, 4), "TF": (56_292, 1)}
WORDS = [
    "the",
    "a",
    "river",
    "church",
    "market",
    "near",
    "old",
    "street",
    "north",
    "café",
    "station",
    "hill",
    "town",
    "tram",
]


def rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Training rows with coordinates and two sources each."""
    rng = np.random.default_rng(seed)
    share = np.array([n for n, _ in SHARES.values()], float)
    kinds = list(SHARES)
    for start in range(0, count, 10_000):
        n = min(10_000, count - start)
        drawn = rng.choice(len(kinds), n, p=share / share.sum())
        lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, n))).round(5), rng.uniform(-180, 180, n).round(5)
        words = rng.integers(0, len(WORDS), (n, 160))
        for i in range(n):
            kind = kinds[drawn[i]]
            said = " ".join(WORDS[w] for w in words[i, : SHARES[kind][1]])
            answer = {"MCQ": f"{'ABCD'[i % 4]}) {said}", "TF": str(bool(words[i, 0] % 2))}.get(kind, said)
            image = f"{(start + i) % 256:02x}/{i % 256:02x}/{(start + i) * 1000 // 1740}.jpg"
            yield {
                "image": image,
                "dataset": "MP16",
                "question_type": kind,
                "conversations": [
                    {"from": "human", "value": f"<image>\nWhat of {WORDS[words[i, 159]]} and {WORDS[words[i, 158]]}?"},
                    {"from": "gpt", "value": answer},
                ],
                "gaea": {
                    "lat": float(lat[i]),
                    "lon": float(lon[i]),
                    "sources": [{"name": "made up", "licence": "CC0", "credit": ""}],
                },
            }


def write(folder: Path, count: int) -> int:
    """A JSON list with a row a line."""
    from gaea.finetune.rowlayout import write_rows

    return write_rows(folder / "train.json", rows(count))


def read(folder: Path, _: int) -> int:
    """Every row parsed and checked."""
    from gaea.finetune.rowfiles import read_examples

    return sum(1 for _ in read_examples(folder / "train.json"))


def copy(folder: Path, _: int) -> int:
    """As it lies, byte for byte."""
    from gaea.finetune.conversion import convert

    return convert(folder / "train.json", folder / "copy.json")


def export(folder: Path, _: int) -> int:
    """For TRL, JSON lines."""
    from gaea.finetune.conversion import ConvertConfig, convert

    return convert(folder / "train.json", folder / "trl.jsonl", ConvertConfig(to="trl"))


def to_hub(folder: Path, _: int) -> int:
    """Parquet with the hub's columns."""
    from gaea.finetune.conversion import ConvertConfig, convert

    return convert(folder / "train.json", folder / "hub.parquet", ConvertConfig(to="hub"))


def read_hub(folder: Path, _: int) -> int:
    """Every row checked."""
    from gaea.finetune.rowfiles import read_examples

    return sum(1 for _ in read_examples(folder / "hub.parquet"))


def count_all(folder: Path, _: int) -> int:
    """All statistics, countries looked up on the map."""
    from gaea.finetune.rowfiles import read_examples
    from gaea.finetune.statistics import count

    summary = count(read_examples(folder / "train.json"))
    (folder / "statistics.json").write_text(json.dumps(summary, indent=2) + "\n")
    return int(summary["rows"])


def peer(folder: Path, _: int) -> int:
    """The standard library, all rows at once."""
    with (folder / "train.json").open() as file:
        return len(json.load(file))


def measured(work: Callable[[Path, int], int], folder: Path, count: int) -> dict[str, Any]:
    """Rows, seconds and peak memory of a piece of work in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(work.__name__, folder, count, there))
    child.start()
    there.close()
    try:
        done = here.recv()
    except EOFError:
        raise SystemExit(f"{work.__name__} ended without a result") from None
    child.join()
    return {"work": work.__name__, **done}


def _work(name: str, folder: Path, count: int, pipe: Any) -> None:
    begun, spent = time.perf_counter(), time.process_time()
    done = globals()[name](folder, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    pipe.send(
        {
            "rows": done,
            "seconds": round(time.perf_counter() - begun, 1),
            "cpu_seconds": round(time.process_time() - spent, 1),
            "peak_MB": round(peak),
        }
    )


def main() -> None:
    """Measure and print, a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="how many")
    parser.add_argument("--out", type=Path, default=Path("runs/dataset-benchmark"), help="folder for the files")
    parser.add_argument("--peer", action="store_true", help="also json.load, which holds all rows")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    works = [write, read, copy, export, count_all, to_hub, read_hub, *([peer] if options.peer else [])]
    for work in works:
        print(json.dumps(measured(work, options.out, options.rows)), flush=True)
    same = (options.out / "copy.json").read_bytes() == (options.out / "train.json").read_bytes()
    size = (options.out / "train.json").stat().st_size / 1e6
    print(json.dumps({"train.json_MB": round(size), "copied byte for byte": same}))


if __name__ == "__main__":
    main()
