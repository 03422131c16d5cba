"""``python -m gaea.eval report`` and ``compare``: runs as a page, Markdown and JSON, and held beside each other."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaea.errors import GaeaError, InputError
from gaea.eval.benchmarks import open_benchmark
from gaea.eval.cases import Picture, groups
from gaea.eval.comparing import compare
from gaea.eval.figures import markdown as as_markdown
from gaea.eval.report_data import Section, examined, sections
from gaea.eval.report_tables import comparison
from gaea.rag.files import write_atomically

log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``report`` or ``compare``."""
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    if name == "compare":
        parser.add_argument("one", type=Path, help="folder of a run")
        parser.add_argument("other", type=Path, help="folder of another run of the same benchmark")
        parser.add_argument("--json", type=Path, help="write the comparison here, too")
        return
    parser.add_argument(
        "run",
        type=Path,
        nargs="+",
        help="folders of runs, or a folder of them; the first of a benchmark is what the report is about. "
        "Or the JSON of a special examination (orbit, retrieval, decoding, reliability), which is printed as tables",
    )
    parser.add_argument("--html", type=Path, help="write one self-contained page; it holds pictures of the benchmark")
    parser.add_argument("--md", type=Path, help="write Markdown (printed if nothing is written)")
    parser.add_argument("--json", type=Path, help="write every number as JSON")
    parser.add_argument("--no-pictures", action="store_true", help="leave pictures out of the page")
    parser.add_argument("--no-comparisons", action="store_true", help="leave out which differences are real")
    parser.add_argument("--root", type=Path, help="folder of a published benchmark, for its pictures")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with imagery and photographs")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")


def run(options: argparse.Namespace) -> None:
    """Whichever was called."""
    if options.command == "compare":
        _compare(options)
    elif len(options.run) == 1 and options.run[0].suffix == ".json":
        _special(options.run[0])
    else:
        _report(options)


def _report(options: argparse.Namespace) -> None:
    found = sections(options.run, seed=options.seed, compared=not options.no_comparisons)
    written = 0
    if options.html:
        from gaea.eval.report_html import html

        pictures = {} if options.no_pictures else _pictures(found, options)
        written += _write(options.html, html(found, pictures))
    if options.json:
        text = json.dumps(report_json(found), indent=2, ensure_ascii=False, allow_nan=False)
        written += _write(options.json, text + "\n")
    if options.md or not written:
        from gaea.eval.report_markdown import markdown

        text = markdown(found)
        if options.md:
            _write(options.md, text)
        else:
            print(text, end="")  # noqa: T201 - this is the edge


def report_json(found: Sequence[Section]) -> dict[str, Any]:
    """Every number of a report, and its cases without their pictures."""
    told = []
    for section in found:
        cases = {name: [case.to_dict() for case in each] for name, each in groups(section.first, None).items()}
        told.append(section.to_dict() | {"cases": cases})
    return {"contract": found[0].first.scores["contract"], "benchmarks": told}


def _compare(options: argparse.Namespace) -> None:
    one, other = (examined(folder, seed=options.seed) for folder in (options.one, options.other))
    told = compare(one.run, other.run, (one.verdicts, other.verdicts), seed=options.seed)
    if options.json:
        _write(options.json, json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    print(as_markdown(comparison(told)))  # noqa: T201 - this is the edge
    real = [name.replace("_", " ") for name, row in told["scores"].items() if row["real"]]
    print(f"\nReal: {', '.join(real) if real else 'no difference'}.")  # noqa: T201
    for side in ("one", "other"):
        if told[f"{side} alone"]:
            log.warning("%d items were asked of %s alone, and are left out", told[f"{side} alone"], told[side])


def _special(path: Path) -> None:
    """Print the JSON of a special examination as tables."""
    from gaea.eval import decoding_report, reliability_report, report, retrieval_report

    kinds: dict[str, Any] = {"worlds": retrieval_report, "models": decoding_report, "beliefs": reliability_report}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        told = next((kind for key, kind in kinds.items() if key in held), report).markdown(held)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a report: {error}") from error
    print(told, end="")  # noqa: T201 - this is the edge


def _pictures(found: Sequence[Section], options: argparse.Namespace) -> dict[str, Picture]:
    """What opens the pictures of each benchmark; one that is not here is told of and goes without."""
    pictures: dict[str, Picture] = {}
    for section in found:
        root = options.root or _root_of(section)
        try:
            held = open_benchmark(section.benchmark, root=root, data=options.data, cache=options.cache)
            pictures[section.benchmark] = held.picture
        except GaeaError as error:
            log.warning("%s is shown without pictures: %s", section.benchmark, error)
    return pictures


def _root_of(section: Section) -> Path | None:
    root = section.first.run.header.settings.get("root")
    return Path(str(root)) if root and Path(str(root)).exists() else None


def _write(path: Path, text: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8") and None)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
    log.info("wrote %s (%s KB)", path, f"{len(text.encode()) / 1000:,.0f}")
    return 1
