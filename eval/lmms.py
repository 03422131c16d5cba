"""GAEA-Bench, or any benchmark here, as a task folder of lmms-eval: so that others can run it where they run theirs.

The folder needs nothing of ours: ``utils.py`` is put together from the source of our own parsers, so that both
harnesses read an answer alike. Columns are those of the hub's GAEA-Bench, so one task serves the hub's data set and the
Parquet that is written from a benchmark here. The schema is that of lmms-eval's ``TaskConfig`` and its task guide.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from gaea import coordinates, countries
from gaea.errors import GaeaError, InputError
from gaea.eval import choices, claims, lexical, yesno
from gaea.eval.benchmark import Benchmark
from gaea.eval.metrics import CONTRACT, THRESHOLDS_KM
from gaea.eval.records import Item
from gaea.photo import Photo
from gaea.rag.files import write_atomically
from gaea.sphere import EARTH_RADIUS_KM

HARNESS = "0.7"
HUB = "ucf-crcv/GAEA-Bench"
CODES = {"location": "LOC", "long": "LVQA", "short": "SVQA", "choice": "MCQ", "true_false": "TF"}
METRICS = (
    *(f"within_{km}_km" for km in THRESHOLDS_KM), "median_km", "geoscore", "choice", "true_false", "short_overlap",
    "long_overlap", "unparsable",
)  # fmt: skip
LOWER = ("median_km", "unparsable")
"""Metrics that are better when lower."""

_IMPORTS = """
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
"""
"""Annotations are not postponed: lmms-eval loads the file under no name, in which dataclasses would look them up."""

PER_GROUP = 50
"""Rows of a Parquet row group; pictures are held in memory for one."""


def export(out: Path, benchmark: Benchmark | None = None, *, dataset: str = HUB, split: str = "test") -> dict[str, Any]:
    """Write the folder of one task.

    Args:
        out: Folder that is given to ``--include_path``; the task lies in a folder of its name in it.
        benchmark: Written as Parquet beside the task; None leaves the data on the hub.
        dataset: Hub name, where there is no benchmark.
        split: Of the hub's data set.

    Returns:
        ``task``, ``folder``, rows ``written``, and what was left out under ``without a picture``.

    Raises:
        InputError: The folder cannot be written, or no row has a picture.
    """
    task = f"{benchmark.name.replace('-', '_') if benchmark else 'gaea_bench'}_coordinates"
    folder = out / task
    told: dict[str, Any] = {"task": task, "folder": str(folder), "written": None, "without a picture": 0}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if benchmark is not None:
            told |= write_parquet(benchmark, folder / "test.parquet")
        for name, text in _files(task, benchmark, dataset, split).items():
            write_atomically(folder / name, lambda part, text=text: part.write_text(text, encoding="utf-8") and None)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from error
    return told


def write_parquet(benchmark: Benchmark, path: Path) -> dict[str, Any]:
    """The items as rows with the hub's columns, pictures inside; those whose picture is missing are counted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = ("question", "answer", "lat", "lon", "location", "question_type", "subset", "unique_id")
    features = {"image": {"_type": "Image"}} | {name: {"dtype": "string", "_type": "Value"} for name in texts}
    schema = pa.schema(
        [("image", picture), *((name, pa.string()) for name in texts)],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    written = missing = 0
    with pq.ParquetWriter(path, schema) as writer:
        group: list[dict[str, Any]] = []
        for item in benchmark.items:
            try:
                group.append(row(item, benchmark.picture(item)))
            except GaeaError:
                missing += 1
            if len(group) == PER_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                written, group = written + len(group), []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))
    written += len(group)
    if not written:
        raise InputError(f"{benchmark.name}: none of its {len(benchmark.items)} pictures can be opened")
    return {"written": written, "without a picture": missing}


def row(item: Item, photo: Photo) -> dict[str, Any]:
    """One item in the hub's columns, which are all text; a picture is kept as it is seen, without its metadata."""
    truth, buffer = item.truth, io.BytesIO()
    photo.image().save(buffer, "JPEG", quality=92)
    answer = truth.answer or ", ".join(name for name in (truth.city, truth.country) if name)
    return {
        "image": {"bytes": buffer.getvalue(), "path": f"{item.id}.jpg"},
        "question": item.question,
        "answer": answer,
        "lat": "" if truth.lat is None else str(truth.lat),
        "lon": "" if truth.lon is None else str(truth.lon),
        "location": ", ".join(name for name in (truth.city, truth.country) if name),
        "question_type": CODES[item.question_type or "location"],
        "subset": item.split,
        "unique_id": item.id,
    }


def functions() -> str:
    """``utils.py``: our parsers, and the functions that lmms-eval calls."""
    parts = [
        '"""Reads answers and scores them, for lmms-eval. Put together from GAEA\'s own parsers; do not edit."""\n',
        _IMPORTS,
        f"EARTH_RADIUS_KM = {EARTH_RADIUS_KM}\nTHRESHOLDS_KM = {THRESHOLDS_KM}",
        f"_SPELLED = {countries._SPELLED!r}",
        inspect.getsource(countries.normalise),
        *(_body(module) for module in (coordinates, choices, yesno)),
        inspect.getsource(claims.folded),
        f"_STOP = {sorted(lexical._STOP)!r}",
        *(inspect.getsource(each) for each in (lexical.f1, lexical.content)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n" + _template("functions.py")


def _body(module: Any) -> str:
    """A module's source without its docstring and imports."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.lineno == 1
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(lines).strip()


def _files(task: str, benchmark: Benchmark | None, dataset: str, split: str) -> dict[str, str]:
    inside = benchmark is not None
    values = {
        "task": task,
        "title": f"{benchmark.name} ({len(benchmark.items):,} questions)" if benchmark else "GAEA-Bench",
        "command": f"python -m gaea.eval export lmms-eval OUT{f' --benchmark {benchmark.name}' if benchmark else ''}",
        "dataset_path": "parquet" if inside else dataset,
        "dataset_kwargs": "  data_files:\n    test: test.parquet" if inside else "  token: true",
        "split": "test" if inside else split,
        "metrics": "\n".join(_metrics()),
        "version": json.dumps(benchmark.version if benchmark else "hub"),
        "data_sha256": json.dumps(benchmark.sha256 if benchmark else "as on the hub"),
        "contract": CONTRACT,
        "harness": HARNESS,
        "data": "`test.parquet`, pictures inside" if inside else f"`{dataset}` on the hub",
    }
    told = {name: Template(_template(name)).substitute(values) for name in ("task.yaml", "readme.md")}
    return {f"{task}.yaml": told["task.yaml"], "README.md": told["readme.md"], "utils.py": functions()}


def _metrics() -> Iterator[str]:
    for name in METRICS:
        yield f"  - metric: {name}"
        yield f"    aggregation: {'!function utils.median' if name == 'median_km' else 'mean'}"
        yield f"    higher_is_better: {str(name not in LOWER).lower()}"


def _template(name: str) -> str:
    return resources.files("gaea.eval").joinpath("lmms_eval", f"{name}.txt").read_text(encoding="utf-8")
