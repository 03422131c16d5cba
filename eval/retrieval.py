"""The ablation: what neighbours do to an answer, alone and in the assistant, and what the dissimilar ones add.

Every picture is asked about once per variant (:mod:`gaea.eval.retold`) and protocol: with all rows of the gallery, and
with near-duplicates of the picture left out. Three answers are scored: the nearest neighbour, the neighbours' belief
alone, and the full answer; beside them the model's own S2 tokens, and whether its words name the right country.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gaea import places
from gaea.assistant import Assistant
from gaea.belief import ANSWERED
from gaea.eval import leakage, retold, worlds
from gaea.eval.grouped import Draws, compared, score
from gaea.eval.metrics import Outcome
from gaea.eval.retold import VARIANTS, Variant
from gaea.eval.worlds import Query, World
from gaea.locate.neighbours import NeighbourLocator, Neighbours
from gaea.rag.neighbours import Exclusion, RetrievalConfig, find
from gaea.rag.store import Store

Place = tuple[float, float]
BASELINES = ("similar", retold.CONTROL)  # the assistant as it ships, and the control for a longer block
QUESTION = "Which country is this?"
KS = (1, 5, 10, 15, 64)
RETRIEVAL = RetrievalConfig(k_similar=64, k_dissimilar=16, k_hard=4)


@dataclasses.dataclass(frozen=True)
class RetrievalExam:
    """How the ablation is run.

    Attributes:
        retrieval: Counts of each role; more of the farthest than are told, to see whether they differ at all.
        duplicate_similarity: Cosine from which a row counts as the picture again.
        asked: Pictures of each world whose words are read, a question each and variant.
        seed: Of the intervals.
        resamples: For the intervals.
    """

    retrieval: RetrievalConfig = RETRIEVAL
    duplicate_similarity: float = 0.98
    asked: int = 40
    seed: int = 0
    resamples: int = 1000


@dataclasses.dataclass(frozen=True)
class Trial:
    """What one picture was answered under one variant: points by column, and whether the words named its country."""

    points: dict[str, Place | None]
    abstained: bool
    named: bool | None = None


def examine(
    assistant: Assistant,
    world: World,
    exam: RetrievalExam,
    progress: Callable[[Iterable[Query]], Iterable[Query]] = iter,
) -> dict[str, Any]:
    """Everything that is reported of one world."""
    started = time.perf_counter()
    counted, twins = leakage.count(world, exam.duplicate_similarity)
    draws = Draws([query.place for query in world.queries], seed=exam.seed, resamples=exam.resamples)
    store = world.memory.store
    open_rows = [recall(world, query, exam.retrieval, store) for query in world.queries]
    strict = [
        recall(world, query, exam.retrieval, store, rows) if rows else found
        for query, rows, found in zip(world.queries, twins, open_rows, strict=True)
    ]
    trials: dict[str, dict[str, list[Trial]]] = {"all rows": {}, "near-duplicates left out": {}}
    for variant in VARIANTS:
        for collected in trials.values():
            collected[variant.name] = []
    for index, query in enumerate(progress(world.queries)):
        seen = retold.Seen(query.strangeness)
        asked = index < exam.asked
        for variant in VARIANTS:
            first = trial(assistant, query, open_rows[index], variant, seen, asked=asked)
            again = (
                trial(assistant, query, strict[index], variant, seen, asked=asked)
                if twins[index] and variant.similar
                else first
            )
            trials["all rows"][variant.name].append(first)
            trials["near-duplicates left out"][variant.name].append(again)
    return {
        "places": draws.places,
        "leakage": counted,
        "protocols": {
            protocol: {name: _column_scores(world.queries, mine, draws) for name, mine in collected.items()}
            for protocol, collected in trials.items()
        },
        "against": {
            base: {
                name: _against(world.queries, mine, trials["all rows"][base], draws)
                for name, mine in trials["all rows"].items()
                if name not in BASELINES[: index + 1] and (not index or name != "k = 0")
            }
            for index, base in enumerate(BASELINES)
        },
        "blind": _blind(world, trials["all rows"][BASELINES[0]], draws),
        "by k": by_k(assistant, world.queries, open_rows, draws),
        "told": told_rows(open_rows),
        "seconds": round(time.perf_counter() - started, 1),
    }


def recall(
    world: World, query: Query, config: RetrievalConfig, store: Store, left_out: tuple[int, ...] = ()
) -> Neighbours:
    """The neighbours of a query, without rows of its own place and those left out; none if nothing remains."""
    barred = (*query.barred, *left_out)
    if len(set(barred)) >= len(world.memory.gallery):
        return Neighbours()
    exclusions = (*config.exclusions, *([Exclusion(rows=barred)] if barred else []))
    return find(query.embedding, store, world.memory.gallery, dataclasses.replace(config, exclusions=exclusions))


def trial(
    assistant: Assistant, query: Query, recalled: Neighbours, variant: Variant, seen: retold.Seen, *, asked: bool
) -> Trial:
    """Ask the assistant under one variant."""
    chat = retold.chat(assistant, query.image, recalled, variant, seen)
    points: dict[str, Place | None] = {name: belief.point(ANSWERED) for name, belief in chat.beliefs.items()}
    points["full answer"] = chat.pooled.point(ANSWERED) if chat.beliefs else None
    if chat.neighbours.similar:
        points["nearest neighbour"] = (chat.neighbours.similar[0].lat, chat.neighbours.similar[0].lon)
    named = None
    if asked and query.country:
        named = places.country(query.country).name.casefold() in chat.ask(QUESTION, guess=True).text.casefold()
    return Trial(points, chat.finding.abstained, named)


def by_k(
    assistant: Assistant, queries: Sequence[Query], recalled: Sequence[Neighbours], draws: Draws
) -> dict[str, Any]:
    """The neighbours' belief alone, from the first k of them."""
    told = {}
    for k in KS:
        density = dataclasses.replace(assistant.calibration.neighbours, k=k)
        locator = NeighbourLocator(density, getattr(assistant.memory, "rows", None))
        outcomes = [
            _outcome(query, locator.of(found).point(ANSWERED) if found.similar else None)
            for query, found in zip(queries, recalled, strict=True)
        ]
        told[str(k)] = score(outcomes, draws)
    return told


def _blind(world: World, trials: Sequence[Trial], draws: Draws) -> dict[str, Any]:
    """The score of not looking at the picture, and how far the full answer is above it."""
    middles, commonest = worlds.blind(world)
    outcomes = [_outcome(query, point) for query, point in zip(world.queries, middles, strict=True)]
    hits = [np.nan if not q.country else float(q.country == c) for q, c in zip(world.queries, commonest, strict=True)]
    looked = [_outcome(query, mine.points["full answer"]) for query, mine in zip(world.queries, trials, strict=True)]
    beaten = {"beaten by": compared(looked, outcomes, draws)}
    return score(outcomes, draws) | {"country": draws.estimate(np.array(hits))} | beaten


def told_rows(recalled: Sequence[Neighbours]) -> dict[str, Any]:
    """How many different rows are told in each role: where it is few, they say nothing of the picture."""
    told: dict[str, Any] = {"queries": len(recalled)}
    for role in ("similar", "dissimilar", "hard dissimilar"):
        lists = [[n.row for n in (*found.similar, *found.dissimilar) if n.role == role] for found in recalled]
        for most in (1, retold.TOLD_OTHERS, 16):
            if most > max(map(len, lists), default=0):
                continue
            rows = [row for mine in lists for row in mine[:most]]
            values, times = np.unique(rows, return_counts=True) if rows else (np.zeros(0), np.zeros(1))
            told[f"{role}, first {most}"] = {
                "told": len(rows),
                "distinct": len(values),
                "most common told to": int(times.max(initial=0)),
            }
    return told


def _outcome(query: Query, point: Place | None, *, abstained: bool = False) -> Outcome:
    return Outcome(query.lat, query.lon, point, {}, {}, abstained)


def _column_scores(queries: Sequence[Query], trials: Sequence[Trial], draws: Draws) -> dict[str, Any]:
    """Scores by column, with country accuracy; the columns that a variant has."""
    told: dict[str, Any] = {}
    for column in ("nearest neighbour", "neighbours", "tokens", "full answer"):
        if not any(column in mine.points for mine in trials):
            continue
        outcomes = [
            _outcome(query, mine.points.get(column), abstained=mine.abstained and column == "full answer")
            for query, mine in zip(queries, trials, strict=True)
        ]
        told[column] = score(outcomes, draws) | {"country": draws.estimate(right_country(queries, outcomes))}
    named = np.array([np.nan if mine.named is None else float(mine.named) for mine in trials])
    told["words name the country"] = [*draws.estimate(named), int((~np.isnan(named)).sum())]
    return told


def right_country(queries: Sequence[Query], outcomes: Sequence[Outcome]) -> np.ndarray:
    """1 where the guess lies in the picture's country, 0 where not or not given, NaN for pictures at sea; (n,)."""
    guess = np.array([o.guess or (np.nan, np.nan) for o in outcomes], np.float64)
    given = ~np.isnan(guess[:, 0])
    codes = np.full(len(outcomes), "", object)
    codes[given] = places.country_codes(guess[given, 0], guess[given, 1])
    return np.array(
        [np.nan if not q.country else float(code == q.country) for q, code in zip(queries, codes, strict=True)]
    )


def _against(queries: Sequence[Query], mine: list[Trial], base: list[Trial], draws: Draws) -> dict[str, Any]:
    """Paired differences of the full answer, the tokens and the words against another variant."""
    told: dict[str, Any] = {}
    for column in ("tokens", "full answer"):
        if all(column in t.points for t in (*mine, *base)):
            ours, theirs = (
                [_outcome(query, t.points[column]) for query, t in zip(queries, trials, strict=True)]
                for trials in (mine, base)
            )
            told[column] = compared(ours, theirs, draws)
    pairs = zip(mine, base, strict=True)
    named = [np.nan if a.named is None or b.named is None else float(a.named) - float(b.named) for a, b in pairs]
    told["words name the country"] = draws.estimate(np.array(named))
    return told
