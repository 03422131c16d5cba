"""Scores of a run under the evaluation contract: places, names, cells, promises, groups, and what became of each item.

Nothing is left out: an item without an answer, for whatever reason, is a miss in every share and lies as far away as
can be. An empty run is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval import promises
from gaea.eval.answers import CONTRACT, LEVELS, Answers, points_of
from gaea.eval.bootstrap import Asked, Bootstrap
from gaea.eval.metrics import FARTHEST_KM, THRESHOLDS_KM
from gaea.eval.records import STATUSES, Item, Prediction
from gaea.eval.running import timing
from gaea.eval.runs import Run
from gaea.eval.system import from_words

HEADLINES = ("geoscore", "within_200_km", "within_2500_km")
"""Means that are also told of every group."""


def score(run: Run, *, seed: int = 0, resamples: int | None = None) -> dict[str, Any]:
    """All scores of a run, JSON-ready; every estimate is ``[value, [low, high]]``.

    Raises:
        InputError: The run has no items.
    """
    pairs = list(run.pairs())
    if not pairs:
        raise InputError(f"{run.folder} has no items: nothing can be scored")
    header = run.header
    told: dict[str, Any] = {
        "contract": CONTRACT,
        "benchmark": header.benchmark,
        "version": header.version,
        "data_sha256": header.data_sha256,
        "system": header.system,
        "settings": {name: value for name, value in header.settings.items() if name != "root"},
        "hashes": dict(header.hashes),
        "git_commit": header.git_commit,
        "seed": header.seed,
        "n": statuses(pairs),
        "faults": dict(run.faults) | {"benchmark": header.settings.get("benchmark faults", {})},
        "errors": errors(pairs),
    }
    located = [pair for pair in pairs if pair[0].kind == "locate"]
    if located:
        answers = Answers.of(located)
        draws = Bootstrap(answers.places, seed=seed, resamples=resamples)
        told["resamples"] = draws.resamples
        told["places"] = placed(answers, draws)
        told["calibration"] = promises.calibration(answers, draws)
        told["doubt"] = promises.doubt(answers, draws)
        told["abstention"] = promises.abstention(answers, draws)
        told["strata"] = strata(answers, draws)
    if by_split := _by_split(located, seed, resamples):
        told["splits"] = by_split
    if questions := [pair for pair in pairs if pair[0].question_type == "location"]:
        told["location questions"] = asked_where(questions, seed, resamples)
    if conversation := [pair for pair in pairs if pair[0].kind == "ask"]:
        kinds = Counter(str(item.question_type) for item, _ in conversation)
        told["questions"] = {kind: statuses([p for p in conversation if p[0].question_type == kind]) for kind in kinds}
    return told | {"timing": timing(run)}


def statuses(pairs: Sequence[tuple[Item, Prediction]]) -> dict[str, int]:
    """Attempted, and how many came out how."""
    counts = Counter(made.status for _, made in pairs)
    return {"attempted": len(pairs), **{status: counts.get(status, 0) for status in STATUSES}}


def errors(pairs: Sequence[tuple[Item, Prediction]], named: int = 5) -> dict[str, Any]:
    """What failed or could not be read, the most frequent reasons with how often each came."""
    said = Counter(
        (made.error or "no reason given").replace(item.id, "…")
        for item, made in pairs
        if made.status in ("error", "unparsable")
    )
    return {reason[:200]: count for reason, count in said.most_common(named)}


def placed(answers: Answers, draws: Bootstrap) -> dict[str, Any]:
    """Distances, names and cells, and the same where every abstention is a miss."""
    means = {"geoscore": answers.geoscore, "mean_km": answers.error_km}
    means |= within(answers.error_km)
    means |= {"country": answers.country_hit, "region": answers.region_hit, "city": answers.city_hit}
    means |= {f"s2_level_{level}": answers.cell_hit(level) for level in LEVELS}
    medians = {"median_km": answers.error_km}
    if answers.abstained.any():
        kept = np.where(answers.abstained & ~np.isnan(answers.error_km), FARTHEST_KM, answers.error_km)
        stood = {"geoscore": points_of(kept)} | within(kept)
        means |= {f"{name}, abstentions missed": each for name, each in stood.items()}
        medians["median_km, abstentions missed"] = kept
    if cells := _believed(answers):
        means |= cells
    told = {name: each for name, each in draws.estimate(Asked(means, medians)).items() if each[0] is not None}
    return {"n": len(answers), "places": draws.places} | told


def within(error_km: np.ndarray) -> dict[str, np.ndarray]:
    """Hits at the thresholds; NaN where there is no distance."""
    return {f"within_{km}_km": np.where(np.isnan(error_km), np.nan, error_km <= km) for km in THRESHOLDS_KM}


def strata(answers: Answers, draws: Bootstrap) -> dict[str, dict[str, Any]]:
    """Headline scores of every group of every dimension, with how many items are in it."""
    groups: dict[str, dict[str, list[int]]] = {}
    for index, item in enumerate(answers.items):
        for dimension, name in item.strata.items():
            groups.setdefault(dimension, {}).setdefault(name, []).append(index)
    values = {"geoscore": answers.geoscore, **within(answers.error_km), "country": answers.country_hit}
    means: dict[str, np.ndarray] = {}
    wanted = (*HEADLINES, "country")
    for dimension, named in groups.items():
        for name, members in named.items():
            inside = np.zeros(len(answers), bool)
            inside[members] = True
            means |= {f"{dimension}\0{name}\0{score}": np.where(inside, values[score], np.nan) for score in wanted}
    told: dict[str, dict[str, Any]] = {
        dimension: {name: {"n": len(members)} for name, members in sorted(named.items())}
        for dimension, named in sorted(groups.items())
    }
    for key, each in draws.estimate(Asked(means)).items() if means else ():
        dimension, name, score_name = key.split("\0")
        if each[0] is not None:
            told[dimension][name][score_name] = each
    return told


def asked_where(pairs: Sequence[tuple[Item, Prediction]], seed: int, resamples: int | None) -> dict[str, Any]:
    """Location questions: what the words name, read by rule, and what was given as a place."""
    answers = Answers.of(pairs)
    draws = Bootstrap(answers.places, seed=seed, resamples=resamples)
    words = Answers(answers.items, tuple(_by_words(item, made) for item, made in pairs))
    means = {"country, in words": words.country_hit, "city, in words": words.city_hit, "country": answers.country_hit}
    means |= {"city": answers.city_hit, "geoscore": answers.geoscore} | within(answers.error_km)
    told = draws.estimate(Asked(means, {"median_km": answers.error_km}))
    return {"n": len(answers), "places": draws.places} | {
        name: each for name, each in told.items() if each[0] is not None
    }


def _by_words(item: Item, made: Prediction) -> Prediction:
    return from_words(item, made.text) if made.text else Prediction(item.id, "missing")


def _by_split(pairs: Sequence[tuple[Item, Prediction]], seed: int, resamples: int | None) -> dict[str, Any]:
    """Each split by itself, where there are several."""
    names = dict.fromkeys(item.split for item, _ in pairs)
    if len(names) < 2:
        return {}
    told = {}
    for name in names:
        answers = Answers.of([pair for pair in pairs if pair[0].split == name])
        draws = Bootstrap(answers.places, seed=seed, resamples=resamples)
        told[name] = {
            "n": statuses(list(zip(answers.items, answers.predictions, strict=True))),
            "places": placed(answers, draws),
            "calibration": promises.calibration(answers, draws),
            "doubt": promises.doubt(answers, draws),
            "abstention": promises.abstention(answers, draws),
        }
    return told


def _believed(answers: Answers) -> dict[str, np.ndarray]:
    """Whether the belief's most probable cell of a level holds the truth; only what carries cells is asked."""
    from gaea import cells as s2

    levels = sorted({level for made in answers.predictions for level in made.cells or ()})
    told = {}
    for level in levels:
        hits = np.full(len(answers), np.nan)
        for index, (item, made) in enumerate(zip(answers.items, answers.predictions, strict=True)):
            if item.truth.point is not None and made.cells:
                true = s2.to_token(s2.from_latlon(*item.truth.point, level))
                hits[index] = float(made.cells.get(level) == true)
        told[f"s2_level_{level}, likeliest cell"] = hits
    return told
