"""GAEA-Bench: its JSON with pictures beside it, or the hub's Parquet with pictures inside (UCF-CRCV/GAEA).

Its rows are read by :mod:`gaea.finetune.dataset`; those that are not sound are counted and named. The five types are
location, long, short, choice and true/false; ``GEN`` rows are of none of them and are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.eval.benchmark import Benchmark, Faults, benchmark
from gaea.eval.choices import letter_of, options_in
from gaea.eval.records import GroundTruth, Item
from gaea.eval.yesno import verdict
from gaea.finetune.dataset import Example, Kind
from gaea.finetune.faults import FaultLog
from gaea.finetune.rowfiles import read_examples
from gaea.photo import Photo

VERSION = "hub ucf-crcv/GAEA-Bench; sizes of 3.3 to 4 thousand rows are in use, so the hash decides"
OBTAIN = "https://huggingface.co/datasets/ucf-crcv/GAEA-Bench (GAEA-Bench.json and pictures, or the Parquet files)"
TYPES = {"LOC": "location", "LVQA": "long", "SVQA": "short", "MCQ": "choice", "TF": "true_false"}
FOLDERS = ("images", "GAEA-Bench", "test", "")
PARQUET = ("data", "")


def open_gaea_bench(root: Path) -> Benchmark:
    """The benchmark from a folder (or one file).

    Raises:
        InputError: There is neither JSON nor Parquet; the message says where to get it.
    """
    source = _source(root)
    log, faults = FaultLog(), Faults()
    inside = source.is_dir() or source.suffix == ".parquet"
    examples = list(read_examples(source, Kind.HUB if inside else Kind.BENCHMARK, log=log))
    faults.note_all("rows that are not sound, left out", log.rows, [str(fault) for fault in log.kept])
    items = [item for number, each in enumerate(examples) if (item := _item(each, number, faults)) is not None]
    if not items:
        raise InputError(f"gaea-bench: {source} has no question that can be asked: {OBTAIN}")
    folder = _folder(source if source.is_dir() else source.parent, items)
    if not inside:
        for item in items:
            if not (folder / str(item.image)).is_file():
                faults.note("pictures that are missing", str(item.image))
    picture = _inside(source, {item.id: str(item.image) for item in items}) if inside else _beside(folder)
    return benchmark("gaea-bench", VERSION, items, faults=faults, root=root, picture=picture)


def _source(root: Path) -> Path:
    if root.is_file():
        return root
    for name in ("GAEA-Bench.json", "GAEA-Bench.jsonl", "data/GAEA-Bench.json"):
        if (root / name).is_file():
            return root / name
    for name in PARQUET:
        if (root / name).is_dir() and sorted((root / name).glob("*.parquet")):
            return root / name
    raise InputError(f"gaea-bench: {root} holds neither GAEA-Bench.json nor Parquet: {OBTAIN}")


def _item(example: Example, number: int, faults: Faults) -> Item | None:
    identity = str(example.unique_id) if example.unique_id is not None else f"row-{number}"
    kind = TYPES.get(example.question_type)
    if kind is None:
        faults.note(f"rows of type {example.question_type}, which is not asked", identity)
        return None
    answer, choices = example.answer.strip(), ()
    if kind == "choice":
        choices = options_in(example.question)
        answer = letter_of(answer, choices) or ""
    elif kind == "true_false":
        answer = verdict(answer).value or ""
    if not answer:
        faults.note(f"references of {kind} questions that settle on nothing, counted as misses", identity)
    lat, lon = example.place or (None, None)
    city, country = _names(example, kind)
    return Item(
        id=identity,
        benchmark="gaea-bench",
        kind="ask",
        image=example.images[0] if example.images else None,
        question=example.question.strip(),
        question_type=kind,  # type: ignore[arg-type] # one of the five
        truth=GroundTruth(lat, lon, country, None, city, answer or None, choices),
        strata={"pictures from": example.dataset} if example.dataset else {},
        place=example.images[0] if example.images else identity,
        split="test",
    )


def _names(example: Example, kind: str) -> tuple[str | None, str | None]:
    """City and country, from the location column or from a location question's answer ("Porto, Portugal")."""
    told = str(example.ours.get("location") or (example.answer if kind == "location" else ""))
    parts = [part.strip(" .") for part in told.split(",") if part.strip(" .")]
    if len(parts) < 2:
        return None, parts[0] if parts else None
    return parts[0], parts[-1]


def _folder(base: Path, items: Sequence[Item]) -> Path:
    """The folder under which the first pictures lie."""
    first = [str(item.image) for item in items[:50]]
    held = {name: sum((base / name / each).is_file() for each in first) for name in FOLDERS}
    return base / max(FOLDERS, key=held.__getitem__)


def _beside(folder: Path) -> Any:
    def opened(item: Item) -> Photo:
        return Photo.open(folder / str(item.image))

    return opened


def _inside(source: Path, images: dict[str, str]) -> Any:
    """Pictures that lie in the rows: found by the name that goes with them."""

    @lru_cache(maxsize=1)
    def places() -> dict[str, tuple[Path, int, int]]:
        import pyarrow.parquet as pq

        found: dict[str, tuple[Path, int, int]] = {}
        for file in [source] if source.is_file() else sorted(source.glob("*.parquet")):
            with pq.ParquetFile(file) as table:
                for group in range(table.num_row_groups):
                    paths = table.read_row_group(group, columns=["image.path"]).column("image").to_pylist()
                    for row, each in enumerate(paths):
                        found.setdefault(str((each or {}).get("path")), (file, group, row))
        return found

    def opened(item: Item) -> Photo:
        import pyarrow.parquet as pq

        if images[item.id] not in places():
            raise InputError(f"{item.id}: {images[item.id]} is in none of the rows of {source}")
        file, group, row = places()[images[item.id]]
        with pq.ParquetFile(file) as table:
            data = table.read_row_group(group, columns=["image"]).column("image")[row].as_py()["bytes"]
        return Photo.open(data or b"", name=images[item.id])

    return opened
