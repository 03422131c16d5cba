"""``gaea locate``: folders, files and lists of photos in, one place each out, as far as each can be told.

Every answer is kept in a journal as soon as it is there, so that a batch that was stopped goes on where it was. Files
are written at the end, whole, in the order of the photos. The photos themselves are only read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaea.answer import Answer
from gaea.app import ask, batch, conditions, export, tables, terminal
from gaea.app.journal import Journal
from gaea.app.listing import Listed, photos
from gaea.assistant import Assistant
from gaea.errors import InputError
from gaea.photo import Photo
from gaea.source import printable

QUESTION = "Where is this?"
ENDINGS = (".csv", ".parquet", ".geojson", ".kml", ".jsonl")
SAMPLE = 3
"""Photos that an estimate is made from."""


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; the exit status is 1 where some photos have no answer.

    Raises:
        GaeaError: Something is wrong that no photo is to blame for; what is answered stays in the journal.
    """
    outs = [*(args.out or [])]
    _check_outs(outs)
    ask.check_targets([*outs, args.journal])
    narrow, level = conditions.narrow(args), conditions.disclosure(args)
    prices = _prices(args.price)
    listed = photos(args.photos)
    if not (outs or args.review or args.estimate):
        outs = ["located.csv"]
        ask.check_targets(outs)
    with terminal.progress(quiet=args.quiet) as tell:
        from gaea.app.assemble import assemble

        assistant = assemble(progress=tell, **ask.settings(args))

    def answer(one: Listed) -> Answer:
        chat = assistant.open(Photo.open(one.path), narrow=narrow, disclosure=level)
        reply = chat.stream(QUESTION, guess=args.guess)
        return reply.answer if args.words else reply.preview

    asked = _asked(args, assistant)
    workers = args.workers or (8 if args.engine and args.engine.startswith("http") else 2)
    with Journal(_journal_path(args.journal, outs), asked) as journal, _shown(args) as tell:
        told = batch.run(listed, answer, journal, workers=1, tell=tell, limit=SAMPLE)
        estimate = _estimate(told, tell.progress, assistant, prices)
        if args.estimate:
            terminal.write(estimate)
            return 0
        if "" in told:
            terminal.note(estimate, quiet=args.quiet)
            told = batch.run(listed, answer, journal, workers=workers, tell=tell)
    for out in outs:
        write(Path(out), listed, told, areas=args.areas)
    failed = [(one.name, each) for one, each in zip(listed, told, strict=True) if isinstance(each, str)]
    for name, reason in failed:
        terminal.complain(f"{printable(name)}: {reason}")
    terminal.write(_summary(told, outs))
    if args.review:
        from gaea.app import review

        found = [(one, each) for one, each in zip(listed, told, strict=True) if isinstance(each, Answer)]
        review.serve(found, host=args.host, port=args.port, browser=args.open)
    return 1 if failed else 0


def write(out: Path, listed: Sequence[Listed], told: Sequence[Answer | str], *, areas: bool = False) -> None:
    """Write what was found, as the ending of a file asks for it.

    Args:
        out: ``.csv``, ``.parquet``, ``.jsonl``, ``.geojson`` or ``.kml``.
        listed: The photos.
        told: For each the answer, or why there is none; tables name both, maps hold what has a place.
        areas: Maps also hold areas, neighbours and the files' own claims, and not only points.

    Raises:
        InputError: It cannot be written.
    """
    names = [_name(one.name) for one in listed]
    answers = [(name, each) for name, each in zip(names, told, strict=True) if isinstance(each, Answer)]
    if not areas:
        answers = [(name, export.point_only(each)) for name, each in answers]
    kept, called = [each for _, each in answers], [name for name, _ in answers]
    ending = out.suffix.lower()
    if ending == ".geojson":
        export.write_text(out, json.dumps(export.geojson(kept, names=called), ensure_ascii=False, allow_nan=False))
    elif ending == ".kml":
        export.write_text(out, export.kml(kept, names=called))
    else:
        rows = [
            tables.row(each, photo=name) if isinstance(each, Answer) else tables.row(None, photo=name, error=each)
            for name, each in zip(names, told, strict=True)
        ]
        made = {".csv": tables.csv_rows, ".jsonl": tables.json_lines, ".parquet": tables.parquet}[ending](rows)
        export.write_bytes(out, made if isinstance(made, bytes) else made.encode("utf-8"))


def _check_outs(outs: Sequence[str]) -> None:
    for out in outs:
        if Path(out).suffix.lower() not in ENDINGS:
            raise InputError(f"{printable(out)}: expected the name of a file that ends in {', '.join(ENDINGS)}")


def _name(name: str) -> str:
    """A name that is text, whatever bytes the file system has in it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _journal_path(given: str | None, outs: Sequence[str]) -> Path:
    """Beside the first file that is written, unless one is given."""
    if given is not None:
        return Path(given)
    return Path(outs[0]).with_name(Path(outs[0]).name + ".journal") if outs else Path("gaea-locate.journal")


def _asked(args: argparse.Namespace, assistant: Assistant) -> dict[str, Any]:
    """What all answers of one journal depend on."""
    said = {name: getattr(args, name) for name in ("country", "region", "box", "near", "source", "guess", "words")}
    said["disclosure"] = args.disclosure
    return {name: value for name, value in (assistant.describe() | said).items() if value not in (None, False)}


class _Shown:
    """Progress on standard error; remembers the last."""

    def __init__(self, tell: Any) -> None:
        self._tell = tell
        self.progress: batch.Progress | None = None

    def __call__(self, progress: batch.Progress) -> None:
        self.progress = progress
        self._tell(progress.line())


@contextmanager
def _shown(args: argparse.Namespace) -> Iterator[_Shown]:
    with terminal.progress(quiet=args.quiet) as tell:
        yield _Shown(tell)


def _prices(said: str | None) -> tuple[float, float] | None:
    if said is None:
        return None
    from gaea.rag.commands import numbers

    first, second = numbers(said, "--price", "IN,OUT")
    if min(first, second) < 0:
        raise InputError(f"--price {said}: expected two amounts of money per million tokens, not below zero")
    return first, second


def _estimate(
    told: Sequence[Answer | str],
    progress: batch.Progress | None,
    assistant: Assistant,
    prices: tuple[float, float] | None,
) -> str:
    """What the photos that are left will take, told by the first few of this run."""
    left = sum(each == "" for each in told)
    pace = progress.per_second if progress else None
    if progress is None or pace is None or not left:
        return f"{len(told) - left:,} of {len(told):,} photos are answered; nothing was timed"
    parts = [
        f"{len(told):,} photos, {left:,} left: about {batch.duration(left / pace)} at {pace:.2g} a second one by one"
    ]
    used = getattr(assistant.engine, "used", None)
    if used is not None and used.requests:
        asked, said = used.prompt_tokens / progress.done, used.completion_tokens / progress.done
        parts.append(f"{asked:,.0f} tokens in and {said:,.0f} out for each")
        if prices:
            cost = left * (asked * prices[0] + said * prices[1]) / 1e6
            parts.append(f"about {cost:,.2f} for the rest at {prices[0]:g} and {prices[1]:g} per million")
    elif used is not None:
        parts.append("the server does not say how many tokens it counts")
    return "; ".join(parts)


def _summary(told: Sequence[Answer | str], outs: Sequence[str]) -> str:
    answers = [each for each in told if isinstance(each, Answer)]
    placed = sum(each.point is not None for each in answers)
    parts = [f"{len(told):,} photos: {placed:,} placed, {len(answers) - placed:,} not told from the picture"]
    if len(answers) < len(told):
        parts.append(f"{len(told) - len(answers):,} without an answer, named above")
    if outs:
        parts.append("wrote " + ", ".join(map(printable, outs)))
    return "; ".join(parts)
