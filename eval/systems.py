"""All systems by name, and how they are opened."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.eval.baselines import TOLD as BASELINES
from gaea.eval.benchmark import Benchmark
from gaea.eval.system import System

TOLD = {
    "assistant": "the assistant in this process; settings of the assembly (model, adapter, engine, index …), and "
    "decoding, selection, blank",
    "endpoint": "any OpenAI-compatible endpoint, asked in words; settings url, model, at_once, max_tokens, side, blank",
    "file": "predictions that were made elsewhere; settings path, name",
    **BASELINES,
}


def open_system(name: str, settings: Mapping[str, str], benchmark: Benchmark, *, seed: int = 0) -> System:
    """Open one.

    Args:
        name: See :data:`TOLD`.
        settings: As typed.
        benchmark: What it will be asked; some systems read it.
        seed: Of those that draw.

    Raises:
        InputError: There is none of that name, or a setting is not known.
        GaeaError: It cannot be loaded or reached.
    """
    if name not in TOLD:
        near = difflib.get_close_matches(name, TOLD, 1)
        raise InputError(
            f"system '{name}' is not known: {', '.join(TOLD)}" + (f"; did you mean '{near[0]}'?" if near else "")
        )
    if name == "assistant":
        from gaea.eval.assistant_system import AssistantSystem

        return AssistantSystem({**settings, "seed": seed})
    if name == "endpoint":
        from gaea.eval.endpoint_system import EndpointSystem

        return EndpointSystem(settings)
    if name == "file":
        return _file(settings, benchmark)
    return _baseline(name, settings, benchmark, seed)


def _file(settings: Mapping[str, str], benchmark: Benchmark) -> System:
    from gaea.eval.prediction_files import FileSystem

    _check_known("file", settings, ("path", "name"))
    if "path" not in settings:
        raise InputError("a file of predictions needs its path: --set path=FILE")
    return FileSystem(Path(settings["path"]), benchmark, name=settings.get("name"))


def _baseline(name: str, settings: Mapping[str, str], benchmark: Benchmark, seed: int) -> System:
    from gaea.eval import baselines

    _check_known(name, settings, ("index", "encoder") if name == "nearest" else ())
    made: Mapping[str, Any] = {
        "always-true": baselines.AlwaysTrue,
        "majority": lambda: baselines.Majority(benchmark.items),
        "random-place": lambda: baselines.RandomPlace(seed),
        "exif": baselines.Exif,
    }
    return made[name]() if name in made else _nearest(settings)


def _nearest(settings: Mapping[str, str]) -> System:
    from gaea.app.assemble import assemble
    from gaea.eval.baselines import NearestNeighbour
    from gaea.rag.memory import GalleryMemory

    memory = assemble(store="memory", **settings).memory
    if not isinstance(memory, GalleryMemory):
        raise InputError("the nearest neighbour needs an index: leave --set index out for the shipped one")
    return NearestNeighbour(memory)


def _check_known(name: str, settings: Mapping[str, str], known: tuple[str, ...]) -> None:
    for given in settings:
        if given not in known:
            raise InputError(f"{name} has no setting '{given}'" + (f": {', '.join(known)}" if known else ""))
