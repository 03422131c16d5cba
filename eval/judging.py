"""Marks every answer in words of a run, and says how far the marks can be trusted.

Choices and true/false are parsed; short and long answers go to a judge, or to the lexical one, which is kept apart:
its verdicts carry its name, and :func:`summary` never adds them to a model's. A run that was judged in part goes on
where it stopped, and asks again only what failed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaea.eval import judge as judge_of
from gaea.eval import lexical
from gaea.eval.choices import chosen, letter_of, options_in
from gaea.eval.claims import ClaimChecker
from gaea.eval.judge import CRITERIA, Judge
from gaea.eval.records import Item, Prediction
from gaea.eval.verdicts import LEXICAL, MOST, PARSER, Outcome, Probe, Verdict, VerdictBook, key_of
from gaea.eval.yesno import verdict

PARSED = ("choice", "true_false")
IN_WORDS = tuple(CRITERIA)

Answered = tuple[Item, Prediction]


@dataclass(frozen=True)
class Judging:
    """Who judges, and how much it is checked.

    Attributes:
        judge: None is the lexical judge.
        second: Another judge of the same answers, for agreement.
        probes: Answers in words that are asked about again with the order swapped, and again at twice the length.
        at_once: Requests under way at the same time.
        seed: Of the draw of probes.
    """

    judge: Judge | None = None
    second: Judge | None = None
    probes: int = 50
    at_once: int = 8
    seed: int = 0


def judge_run(
    pairs: Sequence[Answered], plan: Judging, book: VerdictBook, progress: Callable[[Verdict], object] = lambda _: None
) -> list[Verdict]:
    """Every verdict that the plan asks for; new ones are added to the book as they come.

    Args:
        pairs: Items with their predictions; locations are passed over, because distances judge them.
        plan: Who judges.
        book: Where verdicts are kept and found again.
        progress: Called with each verdict.
    """
    wanted = list(_wanted(pairs, plan))

    def settle(task: Callable[[VerdictBook], Verdict]) -> Verdict:
        made = task(book)
        progress(made)
        return made

    with ThreadPoolExecutor(max(1, plan.at_once)) as pool:
        return list(pool.map(settle, wanted))


def _wanted(pairs: Sequence[Answered], plan: Judging) -> Iterator[Callable[[VerdictBook], Verdict]]:
    spoken = [(item, said) for item, said in pairs if item.question_type in IN_WORDS]
    for item, said in pairs:
        if item.question_type in PARSED:
            yield _task(_parse, item, said)
    if plan.judge is None:
        checker = ClaimChecker(fact for item, _ in pairs for fact in item.truth.facts)
        for item, said in spoken:
            yield _task(_compare, item, said, checker)
        return
    for item, said in spoken:
        yield _task(_ask, item, said, plan.judge, "")
        if plan.second is not None:
            yield _task(_ask, item, said, plan.second, "")
    order = np.random.default_rng(plan.seed).permutation(len(spoken))
    fit = [spoken[i] for i in order if spoken[i][1].text.strip() and spoken[i][0].truth.answer]
    for item, said in fit[: plan.probes]:
        yield _task(_ask, item, said, plan.judge, "swapped")
        yield _task(_ask, item, said, plan.judge, "longer")


def _task(make: Callable[..., Verdict], *given: Any) -> Callable[[VerdictBook], Verdict]:
    return lambda book: make(book, *given)


def _parse(book: VerdictBook, item: Item, said: Prediction) -> Verdict:
    """A choice or a statement: 10 if the right thing is settled on, else 0."""
    truth = item.truth
    choice = item.question_type == "choice"
    options = truth.choices or (options_in(item.question) if choice else ())
    found = chosen(said.text, options) if choice else verdict(said.text)
    reference = truth.answer or ""
    right = letter_of(reference, options) if choice else verdict(reference).value
    if right is None:
        return _kept(
            book, item, said, PARSER, mark=0.0, outcome="no reference", detail="no right option in the benchmark"
        )
    if not said.text.strip():
        return _kept(book, item, said, PARSER, mark=0.0, outcome="no answer", detail=said.status)
    if found.value is None:
        return _kept(book, item, said, PARSER, mark=0.0, outcome="unparsable", detail=found.why)
    mark = MOST if found.value == right else 0.0
    return _kept(book, item, said, PARSER, mark=mark, outcome="parsed", detail=f"{found.value}, right is {right}")


def _compare(book: VerdictBook, item: Item, said: Prediction, checker: ClaimChecker) -> Verdict:
    if failed := _unasked(item, said):
        return _kept(
            book, item, said, LEXICAL, mark=0.0, outcome=failed, detail=said.status if failed == "no answer" else ""
        )
    claims = checker.check(said.text, item.truth.facts, item.question)
    mark, parts = lexical.mark(said.text, item.truth.answer or "", claims)
    counts = {f"claims {name}": float(claims.count(name)) for name in ("supported", "unsupported", "contradicted")}
    return _kept(book, item, said, LEXICAL, mark=mark, outcome="lexical", parts=parts | counts)


def _ask(book: VerdictBook, item: Item, said: Prediction, judge: Judge, probe: Probe) -> Verdict:
    kind = str(item.question_type)
    if failed := _unasked(item, said):
        detail = said.status if failed == "no answer" else ""
        return _kept(book, item, said, judge.name, mark=0.0, outcome=failed, detail=detail, probe=probe)
    key = _key(judge.name, item, said, probe)
    if held := book.get(key):
        return held
    shown = judge_of.shown(item.question, item.truth.answer or "", said.text, probe)
    replied = judge.say(judge_of.instructions(kind), shown, judge_of.form_of(kind))
    parts, outcome, detail = judge_of.read(replied, kind)
    mark = sum(parts.values()) / len(parts) if parts else 0.0
    return _kept(book, item, said, judge.name, mark=mark, outcome=outcome, detail=detail, parts=parts, probe=probe)


def _unasked(item: Item, said: Prediction) -> Outcome | None:
    """Why there is nothing to judge, where that is so."""
    if not (item.truth.answer or "").strip():
        return "no reference"
    return None if said.text.strip() else "no answer"


def _kept(book: VerdictBook, item: Item, said: Prediction, judge: str, **told: Any) -> Verdict:
    """A verdict, added to the book if it is not there yet."""
    key = _key(judge, item, said, told.get("probe", ""))
    made = Verdict(item.id, str(item.question_type), judge, key=key, words=len(said.text.split()), **told)
    if book.get(key) != made:
        book.add(made)
    return made


def _key(judge: str, item: Item, said: Prediction, probe: Probe) -> str:
    kind = str(item.question_type)
    prompt = judge_of.prompt_sha256(kind) if judge not in (PARSER, LEXICAL) else lexical.VERSION
    truth = item.truth
    told = {"item": item.id, "question": item.question, "reference": truth.answer, "answer": said.text, "probe": probe}
    if judge == PARSER:
        told |= {"choices": list(truth.choices)}
    if judge == LEXICAL:
        told |= {"facts": [list(fact) for fact in truth.facts]}
    return key_of(judge, prompt, told)
