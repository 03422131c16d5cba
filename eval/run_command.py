"""``python -m gaea.eval run`` and ``list``: ask any system any benchmark, and say what there is of both."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from gaea.errors import InputError
from gaea.eval import benchmarks, running, systems
from gaea.eval.benchmark import Benchmark
from gaea.eval.endpoint_system import estimate
from gaea.eval.records import Item
from gaea.eval.running import Plan, items_of, predict
from gaea.eval.system import System

log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``run`` or ``list``."""
    if name == "list":
        parser.add_argument("--published", action="store_true", help="also the figures that papers published")
        return
    parser.add_argument("benchmark", help=f"one of: {', '.join(benchmarks.TOLD)}")
    parser.add_argument("--system", default="assistant", help=f"one of: {', '.join(systems.TOLD)} (default: assistant)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the system")
    parser.add_argument("--root", type=Path, help="folder of a published benchmark")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/eval/BENCHMARK/SYSTEM)")
    parser.add_argument("--limit", type=int, help="ask so many, spread over splits and types of question")
    parser.add_argument("--shard", default="1/1", help="ask every n-th item from the i-th: i/n")
    parser.add_argument("--only", choices=("locate", "ask"), default="", help="places alone, or questions alone")
    parser.add_argument("--split", action="append", default=[], help="only this split; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of everything that draws")
    parser.add_argument("--again", action="store_true", help="ask anew what failed with an error")
    parser.add_argument("--estimate", action="store_true", help="say what it would take and cost, and ask nothing else")
    parser.add_argument("--prices", help="IN,OUT: cost of a million tokens, for the estimate")
    parser.add_argument("--most-cost", type=float, help="refuse to begin where the estimate is above this")


def run(options: argparse.Namespace) -> None:
    """Whichever was called."""
    (_list if options.command == "list" else _run)(options)


def _list(options: argparse.Namespace) -> None:
    """Print benchmarks and systems."""
    lines = ["Benchmarks (version and hash are told by a run)"]
    lines += [f"  {name:<14}{told}" for name, told in benchmarks.TOLD.items()]
    lines += ["", "Systems"]
    lines += [f"  {name:<14}{told}" for name, told in systems.TOLD.items()]
    if options.published:
        from gaea.eval.published import table

        lines += ["", "Published (never measured here)", *table()]
    print("\n".join(lines))  # noqa: T201 - this is the edge


def _run(options: argparse.Namespace) -> None:
    """Ask, and score what came of it."""
    from gaea.eval.score_command import score_folder

    benchmark = benchmarks.open_benchmark(options.benchmark, root=options.root, data=options.data, cache=options.cache)
    log.info("%s: %d items, sha256 %s", benchmark.name, len(benchmark.items), benchmark.sha256[:16])
    for kind, told in benchmark.faults.items():
        log.warning("%s: %s: %d (%s)", benchmark.name, kind, told["count"], ", ".join(told["first"]))
    plan = Plan(options.limit, options.shard, options.seed, options.only, tuple(options.split), options.again)
    settings = parsed(options.set)
    items = items_of(benchmark, plan)
    system = systems.open_system(options.system, settings, benchmark, seed=options.seed)
    for line in getattr(system, "faults", None).lines() if hasattr(system, "faults") else ():
        log.warning("%s: %s", system.name, line)
    if options.system == "endpoint" or options.estimate:
        _estimate(options, system, benchmark, items)
        if options.estimate:
            return
    folder = options.out or Path("runs/eval") / benchmark.name / file_name(system.name)
    if plan.shard != "1/1" and not options.out:
        folder = folder.with_name(f"{folder.name}-{plan.shard.replace('/', '-of-')}")
    try:
        running.run(benchmark, system, plan, folder, tell=log.info)
    finally:
        getattr(system, "close", lambda: None)()
    log.info("wrote %s", folder)
    score_folder([folder], seed=options.seed, out=folder)


def _estimate(options: argparse.Namespace, system: System, benchmark: Benchmark, items: Sequence[Item]) -> None:
    """Tell requests, tokens and cost, and the time from one answer that is thrown away.

    Raises:
        InputError: It is above what it may cost.
    """
    try:
        prices = tuple(float(each) for each in options.prices.split(",")) if options.prices else None
    except ValueError as error:
        raise InputError(f"--prices {options.prices}: expected IN,OUT, such as 2.5,10") from error
    if prices is not None and len(prices) != 2:
        raise InputError(f"--prices {options.prices}: expected IN,OUT, such as 2.5,10")
    if options.system == "endpoint":
        told = estimate(items, int(system.settings["side"]), prices)  # type: ignore[arg-type] # two of them
        log.info("%s: %s", system.name, told.line())
        if options.most_cost is not None and (told.cost is None or told.cost > options.most_cost):
            raise InputError(
                f"the estimate ({told.line()}) is above --most-cost {options.most_cost:g}: nothing was sent"
            )
    taken = predict(system, items[0], benchmark.picture).seconds
    log.info("one answer took %.1f s: about %.1f min for all", taken, taken * len(items) / system.at_once / 60)


def parsed(given: Sequence[str]) -> dict[str, str]:
    """Settings as typed.

    Raises:
        InputError: One is not NAME=VALUE.
    """
    told = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {each}: expected NAME=VALUE")
        told[name.strip()] = value
    return told


def file_name(name: str) -> str:
    """A name as that of a folder."""
    kept = "".join(c if c.isalnum() or c in ".-" else "-" for c in name.lower())
    return "-".join(part for part in kept.split("-") if part)[:100]
