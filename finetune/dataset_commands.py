"""``python -m gaea.finetune dataset``: convert, count, describe and check files of questions."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaea.errors import InputError

if TYPE_CHECKING:
    from gaea.finetune.faults import FaultLog

Write = Callable[[str], None]
Thing = TypeVar("Thing")


def declare(commands: Any) -> None:
    """Add the verbs to the subparsers of a program."""
    parser = commands.add_parser("dataset", help="convert, count, describe and check files of questions")
    verbs = parser.add_subparsers(dest="verb", required=True)
    convert = verbs.add_parser("convert", help="write a file in another format or layout")
    convert.add_argument("source", help="JSON list, JSON lines, Parquet, or a folder of Parquet files")
    convert.add_argument("target", help=".json, .jsonl (either also .gz) or .parquet")
    convert.add_argument("--to", default="", help="train, benchmark, hub, trl, ms-swift or llama-factory")
    convert.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="folder put before paths in an export; DATASET=DIR for one dataset's",
    )
    convert.add_argument("--system", default="", help="system message of an export")
    convert.add_argument("--facts", action="store_true", help="keep our facts in an export, as JSON text")
    convert.add_argument("--pictures", type=Path, help="folder for pictures that lie in a hub file as bytes")
    convert.add_argument("--question-type", default="GEN", help="of rows of a trainer's file that tell none")
    convert.add_argument("--skip", action="store_true", help="leave faulty rows out and count them")
    stats = verbs.add_parser("stats", help="what a file consists of, as JSON")
    stats.add_argument("file", help="as of convert")
    stats.add_argument("--skip", action="store_true", help="leave faulty rows out and count them")
    card = verbs.add_parser("card", help="write the dataset's card, a README.md for a hub")
    card.add_argument("out", type=Path, help="the card's file, beside the data")
    card.add_argument("--split", action="append", required=True, metavar="NAME=FILE", help="one file; may be repeated")
    card.add_argument("--details", help="YAML file with name, summary, made, faults and citation")
    check = verbs.add_parser("check", help="faults of a file, and what it shares with another; status 1 if any")
    check.add_argument("file", help="as of convert; the training file where there are two")
    check.add_argument("--against", help="another file, to examine with")
    check.add_argument("--pictures", type=Path, help="folder of the picture files, to compare their bytes and looks")
    check.add_argument("--first", action="store_true", help="stop at the first fault")
    split = verbs.add_parser("split", help="hold rows of a small region out, by the S2 cells of their places")
    split.add_argument("file", type=Path, help="as of convert")
    split.add_argument("train", type=Path, help="file for what is learned from")
    split.add_argument("test", type=Path, help="file for what is held out")
    split.add_argument("--share", type=float, default=0.2, help="of the cells, held out")
    split.add_argument("--level", type=int, default=14, help="of the S2 cells; 14 is 560 m")


def run(options: argparse.Namespace, write: Write) -> int:
    """Do what the options say; returns the exit status."""
    verbs = {"convert": _convert, "stats": _stats, "card": _card, "check": _check, "split": _split}
    return verbs[options.verb](options, write)


def _convert(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.conversion import ConvertConfig, convert
    from gaea.finetune.exports import ExportConfig

    log = _log(options)
    folders = dict(_named(given, "") for given in options.images)
    config = ConvertConfig(
        to=options.to,
        log=log,
        export=ExportConfig(images=folders, system=options.system, facts=options.facts),
        pictures=options.pictures,
        question_type=options.question_type,
    )
    written = convert(options.source, options.target, config)
    _tell(log)
    write(f"wrote {written:,} rows to {options.target}")
    return 0


def _stats(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.rowfiles import read_examples
    from gaea.finetune.statistics import count

    log = _log(options)
    summary = count(_bar(read_examples(options.file, log=log), options.file))
    _tell(log)
    write(json.dumps(summary, indent=2, ensure_ascii=False))
    return 0


def _card(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune import recipe
    from gaea.finetune.card import CardDetails, Split, card
    from gaea.finetune.faults import FaultLog
    from gaea.finetune.rowfiles import read_examples
    from gaea.finetune.statistics import count
    from gaea.rag.files import write_atomically

    details = recipe.load(options.details, CardDetails) if options.details else CardDetails()
    splits = []
    for given in options.split:
        name, file = _named(given, "train")
        log = FaultLog()
        summary = count(_bar(read_examples(file, log=log), name))
        splits.append(Split(name, Path(os.path.relpath(file, options.out.parent)).as_posix(), summary, log.rows))
    text = card(splits, details)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, lambda part: part.write_text(text, encoding="utf-8") and None)
    write(f"wrote {options.out}: {sum(split.summary['questions'] for split in splits):,} questions")
    return 0


def _check(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.faults import FaultLog
    from gaea.finetune.leakage import compare
    from gaea.finetune.rowfiles import read_examples

    if options.against == options.file:
        raise InputError(f"--against {options.against}: a file shares everything with itself; name another")
    logs = {file: FaultLog(first=options.first) for file in (options.file, options.against) if file}
    examples = {file: _bar(read_examples(file, log=log), file) for file, log in logs.items()}
    found = None
    if options.against:
        found = compare(examples[options.file], examples[options.against], pictures=options.pictures)
    else:
        sound = sum(1 for _ in examples[options.file])
        write(f"{options.file}: {sound:,} sound rows")
    for file, log in logs.items():
        for line in log.lines():
            write(f"{file}: {line}")
    for line in found.lines() if found else ():
        write(line)
    return int(any(log.rows for log in logs.values()) or (found is not None and found.leaks))


def _split(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.separation import separate

    kept, held = separate(options.file, options.train, options.test, share=options.share, level=options.level)
    write(f"{kept:,} rows to {options.train}, {held:,} to {options.test}")
    return 0


def _named(given: str, default: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if equals and not value:
        raise InputError(f"{given!r} names nothing: expected NAME=PATH")
    return (name, value) if equals else (default, given)


def _log(options: argparse.Namespace) -> FaultLog | None:
    from gaea.finetune.faults import FaultLog

    return FaultLog() if options.skip else None


def _tell(log: FaultLog | None) -> None:
    for line in log.lines() if log else ():
        sys.stderr.write(line + "\n")


def _bar(things: Iterable[Thing], name: str) -> Iterable[Thing]:
    """A count with its rate on standard error, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(things, desc=Path(name).name[:40], unit="", disable=not sys.stderr.isatty(), mininterval=0.5)
