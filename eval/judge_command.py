"""``python -m gaea.eval judge RUN``: mark the answers in words of a run, and check the judge."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.eval.judge import EndpointJudge, EngineJudge, Judge
from gaea.eval.judged import summary
from gaea.eval.judging import IN_WORDS, Judging, judge_run
from gaea.eval.runs import read_run
from gaea.eval.verdicts import GOOD, LEXICAL, VERDICTS, Verdict, VerdictBook
from gaea.rag.files import write_atomically

JUDGED = "judged.json"
LEXICALLY = "lexical.json"
"""Of a run's folder; beside each other, so that a lexical result never takes the place of a judged one."""

log = logging.getLogger("gaea.eval")


def arguments(name: str, parser: argparse.ArgumentParser) -> None:  # noqa: ARG001 - the table's form
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument(
        "--judge",
        default=LEXICAL,
        help="URL of an OpenAI-compatible server, 'nano' or a model's folder or hub name in this process, or 'lexical' "
        "(default), which needs no model and is labelled so",
    )
    parser.add_argument("--model", help="name under which the server has the judge (default: the first it lists)")
    parser.add_argument("--second", help="another judge of the same answers, for agreement")
    parser.add_argument("--second-model", help="its name at its server")
    parser.add_argument("--probes", type=int, default=50, help="answers asked about again, swapped and said twice")
    parser.add_argument("--at-once", type=int, default=8, help="requests under way at the same time")
    parser.add_argument("--timeout", type=float, default=120, help="longest silence of a server, seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of probes and of the bootstrap")


def run(options: argparse.Namespace) -> None:
    """Judge, write ``judged.json`` or ``lexical.json``, and print the scores."""
    if options.probes < 0 or options.at_once < 1:
        raise InputError("--probes must not be below 0, and --at-once not below 1")
    held = read_run(options.run)
    pairs = list(held.pairs())
    if not any(item.kind == "ask" for item, _ in pairs):
        raise InputError(f"{options.run} asked for places alone: there are no words to judge; use `score`")
    judge = open_judge(options.judge, options.model, options.timeout)
    second = open_judge(options.second, options.second_model, options.timeout) if options.second else None
    if second is not None and (judge is None or judge.name == second.name):
        raise InputError("a second judge must be another than the first, and neither of them lexical")
    at_once = 1 if isinstance(judge, EngineJudge) or isinstance(second, EngineJudge) else options.at_once
    plan = Judging(judge, second, options.probes, at_once, options.seed)
    with VerdictBook(options.run / VERDICTS) as book:
        verdicts = judge_run(pairs, plan, book, _Progress())
    told = summary(pairs, verdicts, plan, seed=options.seed)
    told = {"benchmark": held.header.benchmark, "system": held.header.system, **told}
    written = options.run / (JUDGED if judge else LEXICALLY)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(written, lambda part: part.write_text(text, encoding="utf-8") and None)
    print(table(told), end="")  # noqa: T201 - this is the edge
    log.info("wrote %s", written)


def open_judge(named: str, model: str | None, timeout_s: float) -> Judge | None:
    """A judge by URL or model; None is the lexical one.

    Raises:
        ModelError: It cannot be reached or loaded.
    """
    if named == LEXICAL:
        return None
    if named.startswith(("http://", "https://")):
        key = os.environ.get("GAEA_JUDGE_KEY") or os.environ.get("GAEA_API_KEY")
        return EndpointJudge(named, model=model, api_key=key, timeout_s=timeout_s)
    from gaea.app.assemble import assemble

    return EngineJudge(assemble(model=None if named == "nano" else named, index="none").engine)


def table(told: dict[str, Any]) -> str:
    """The scores as Markdown."""
    lines = [f"{told['benchmark']}, {told['system']}: {told['judge']} ({told['label']})", ""]
    lines += ["| type | n | score | marked by | failed |", "|---|---|---|---|---|"]
    for kind, row in told["scores"].items():
        failed = {name: count for name, count in row["outcomes"].items() if name not in GOOD}
        why = "; ".join(f"{name} {count}" for name, count in failed.items()) or "–"
        lines.append(f"| {kind.replace('_', '/')} | {row['n']} | {_score(row['score'])} | {row['by']} | {why} |")
    for name in ("mean of types", "mean of questions"):
        if name in told:
            lines.append(f"| {name} | {told['n']} | {_score(told[name])} | | {told['failed']} |")
    if told["claims"]:
        made = told["claims"]
        counts = ", ".join(f"{made[name]:,} {name}" for name in ("supported", "unsupported", "contradicted"))
        lines += ["", f"Statements of {made['answers']:,} answers against the facts of their items: {counts}."]
    lines += [f"{name}: {json.dumps(check)}" for name, check in told["checks"].items()]
    return "\n".join(lines) + "\n"


def _score(estimate: list[Any]) -> str:
    value, (low, high) = estimate
    return "–" if value is None else f"{value:.1f} ({low:.1f}–{high:.1f})"


class _Progress:
    """Counts verdicts, and says how judging goes now and then."""

    def __init__(self, every: int = 100) -> None:
        self._every, self._done, self._failed = every, 0, Counter[str]()

    def __call__(self, verdict: Verdict) -> None:
        self._done += 1
        if verdict.outcome not in GOOD and verdict.question_type in IN_WORDS:
            self._failed[verdict.outcome] += 1
        if self._done % self._every == 0:
            log.info("judged %d%s", self._done, f"; failed: {dict(self._failed)}" if self._failed else "")
