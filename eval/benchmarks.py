"""All benchmarks by name: what they are, what they need, and how they are opened."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from gaea.errors import InputError
from gaea.eval.benchmark import Benchmark
from gaea.eval.layouts import LAYOUTS

ROOTS = "GAEA_BENCHMARKS"
"""Environment variable: a folder that holds one folder a benchmark."""

HERE = {
    "orbit": "the Earth from above: seen and unseen blocks, another picture, astronauts' photographs; with questions",
    "travel": "photographs from the ground with titles and descriptions; with questions",
}
"""Those that lie in the data folder."""

TOLD = {
    **HERE,
    "gaea-bench": "GAEA-Bench: location, long, short, choice and true/false questions (JSON, or the hub's Parquet)",
    **{name: layout.told for name, layout in LAYOUTS.items()},
}


def open_benchmark(
    name: str, *, root: Path | None = None, data: Path = Path("../shared/data"), cache: Path | None = None
) -> Benchmark:
    """Open one.

    Args:
        name: See :data:`TOLD`.
        root: Folder of a published one; if left out, the folder of its name under ``$GAEA_BENCHMARKS``.
        data: Folder of imagery and photographs, for those that run here.
        cache: Where decoded imagery is kept.

    Raises:
        InputError: There is none of that name, or its files are missing; the message says where to get them.
    """
    if name not in TOLD:
        near = difflib.get_close_matches(name, TOLD, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"benchmark '{name}' is not known: {', '.join(TOLD)}{hint}")
    if name == "orbit":
        from gaea.eval.orbit_bench import open_orbit

        return open_orbit(root or data, cache)
    if name == "travel":
        from gaea.eval.travel_bench import open_travel

        return open_travel(root or data)
    folder = root or _root(name)
    if name == "gaea-bench":
        from gaea.eval.gaea_bench import open_gaea_bench

        return open_gaea_bench(folder)
    from gaea.eval.tables import open_table

    return open_table(name, folder)


def obtain(name: str) -> str:
    """Where a benchmark is to be got."""
    if name == "gaea-bench":
        from gaea.eval.gaea_bench import OBTAIN

        return OBTAIN
    return LAYOUTS[name].obtain if name in LAYOUTS else "lies in the data folder (--data)"


def _root(name: str) -> Path:
    roots = os.environ.get(ROOTS)
    if roots and (Path(roots) / name).is_dir():
        return Path(roots) / name
    raise InputError(f"{name}: say where it lies with --root, or in ${ROOTS}/{name}; to be got at: {obtain(name)}")
