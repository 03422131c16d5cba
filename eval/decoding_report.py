"""The examination of decoding as Markdown, read from its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaea.eval.strategies import SELECTIONS

SPLITS = ("seen", "unseen")
COLUMNS = (
    ("median_km", "median km"),
    *((f"within_{km}_km", f"≤ {km} km") for km in (1, 25, 200, 750, 2500)),
    ("geoscore", "GeoScore"),
)
FEWEST_PLACES = 20  # below that, a bootstrap over blocks says little
MATTERS = 25.0  # GeoScore; less is no difference that anybody would notice


def markdown(report: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["# Decoding: each search with each selection", _head(report)]
    for name, model in report["models"].items():
        parts += [f"## {name}", _heads(model["reward heads"])] if "reward heads" in model else [f"## {name}"]
        for split in SPLITS:
            if split in model:
                parts += list(_split(split, model[split]))
    parts += [f"## {name}\n\nNot examined: {why}." for name, why in report["absent"].items()]
    return "\n\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> str:
    exam = report["exam"]
    return (
        f"Commit {report['commit']}, `{report['command']}`; seed {exam['seed']}, paths of up to {exam['symbols']} "
        f"symbols.\n\n{report['contract']}.\n\nA scored cell is a prefix whose next symbols were asked for: what a "
        "search costs by itself, whatever model answers. Seen places are new crops of training blocks, unseen ones lie "
        "in blocks that nothing was learned from (decision 0004)."
    )


def _heads(told: dict[str, Any]) -> str:
    lines = [
        "Reward heads, trained on validation places; measured on a quarter of their blocks that was kept apart:",
        "",
    ]
    lines += ["| search | candidates | log loss | of the base rate | AUC |", "|---" * 5 + "|"]
    for name, quality in told["trained"].items():
        values = [_plain(quality.get(key), 3) for key in ("log_loss", "base_log_loss", "auc")]
        lines.append(f"| {name} | {quality['candidates']} | {' | '.join(values)} |")
    lines += [f"| {name} | none: {why} | – | – | – |" for name, why in told["absent"].items()]
    return "\n".join(lines)


def _split(split: str, told: dict[str, Any]) -> Iterator[str]:
    yield f"### {split.capitalize()} places ({told['n']} pictures in {told['places']} blocks)"
    yield _table(told["table"])
    if told["curve"]:
        yield "#### Does more computing at test time help?"
        yield _curve(told["curve"])
        yield _verdicts(told["more compute"], told["places"])
    if told["a model chooses"]:
        yield "#### A language model chooses, on a subset"
        yield _advised(told["a model chooses"])
    yield "#### Diagnostic, not an answer: the best candidate of each pool"
    yield _oracle(told["diagnostic: best in pool, never an answer"])


def _row(scored: dict[str, Any]) -> str:
    return " | ".join(_value(scored[key], key) for key, _ in COLUMNS)


def _table(table: dict[str, Any]) -> str:
    heads = " | ".join(title for _, title in COLUMNS)
    lines = [f"| search | cells | selection | {heads} |", "|---" * (len(COLUMNS) + 3) + "|"]
    for name, told in table.items():
        for selection in SELECTIONS:
            if selection in told:
                lines.append(f"| {name} | {told['scored cells']:g} | {selection} | {_row(told[selection])} |")
            else:
                lines.append(
                    f"| {name} | {told['scored cells']:g} | {selection} |" + " not asked: no head |" * len(COLUMNS)
                )
    return "\n".join(lines)


def _curve(curve: dict[str, Any]) -> str:
    lines = [
        "| search | of | scored cells | selection | median km | ≤ 200 km | ≤ 750 km | GeoScore |",
        "|---" * 8 + "|",
    ]
    for kind, steps in curve.items():
        for n, told in steps.items():
            for selection, scored in told.items():
                if selection != "scored cells":
                    keys = ("median_km", "within_200_km", "within_750_km", "geoscore")
                    values = " | ".join(_value(scored[key], key) for key in keys)
                    lines.append(f"| {kind} | {n} | {told['scored cells']:g} | {selection} | {values} |")
    return "\n".join(lines)


def _verdicts(gains: dict[str, Any], places: int) -> str:
    lines = [
        "| search | selection | cells | GeoScore, picture by picture | ≤ 750 km | more compute |",
        "|---" * 6 + "|",
    ]
    for kind, selections in gains.items():
        for selection, gain in selections.items():
            steps = f"{kind}, {gain['from']} → {gain['to']}"
            score, share = gain["geoscore"], gain["within_750_km"]
            told = f"{_signed(score, 1)} | {_signed(share, 100)}"
            lines.append(
                f"| {steps} | {selection} | × {gain['times the cells']:g} | {told} | {verdict(score, places)} |"
            )
    return "\n".join(lines)


def verdict(difference: list[Any], places: int) -> str:
    """What an interval of a difference in GeoScore says; nothing is claimed from one that holds zero."""
    value, (low, high) = difference
    if value is None:
        return "not asked"
    if places < FEWEST_PLACES:
        return f"too few blocks to tell ({places})"
    if low > 0:
        return "helps" if value >= MATTERS else "helps, too little to notice"
    if high < 0:
        return "harms" if -value >= MATTERS else "harms, too little to notice"
    return "makes no difference" if max(-low, high) < MATTERS else "cannot be told from nothing"


def _advised(told: dict[str, Any]) -> str:
    lines = ["| how | asked | failed | median km | ≤ 750 km | GeoScore | least loss on the same: GeoScore |"]
    lines.append("|---" * 7 + "|")
    for how, mine in told.items():
        keys = ("median_km", "within_750_km", "geoscore")
        values = " | ".join(_value(mine["answers"][key], key) for key in keys)
        safe = _value(mine["least loss (median) on the same"]["geoscore"], "geoscore")
        lines.append(f"| {how} | {mine['asked']} | {mine['failed']} | {values} | {safe} |")
    reasons = {f"{how}: {reason} ({n})" for how, mine in told.items() for reason, n in mine["reasons"].items()}
    lines += ["", "A reply that is not the JSON asked for is a failure; the point of least loss is then given."]
    if reasons:
        lines[-1] += " Why: " + "; ".join(sorted(reasons)) + "."
    return "\n".join(lines)


def _oracle(told: dict[str, Any]) -> str:
    lines = ["| search | candidates | nearest of them, median km | one within 200 km |", "|---" * 4 + "|"]
    for name, mine in told.items():
        near, share = _value(mine["best_km"], "median_km"), _value(mine["a candidate within 200 km"], "within")
        lines.append(f"| {name} | {mine['pool']:g} | {near} | {share} |")
    return "\n".join(lines)


def _value(scored: list[Any], key: str) -> str:
    value, (low, high) = scored
    if value is None:
        return "–"
    if key.startswith("within"):
        return f"{100 * value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def _signed(scored: list[Any], scale: int) -> str:
    value, (low, high) = scored
    unit = " %" if scale == 100 else ""
    return "–" if value is None else f"{scale * value:+.1f}{unit} ({scale * low:+.1f} to {scale * high:+.1f})"


def _plain(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
