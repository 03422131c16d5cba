"""The retrieval ablation as Markdown: the contract on top, then tables, then what they say of the papers' claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaea import prompts
from gaea.eval import retold

COLUMNS = (
    ("median_km", "median km"),
    ("within_25_km", "≤ 25 km"),
    ("within_200_km", "≤ 200 km"),
    ("within_750_km", "≤ 750 km"),
    ("within_2500_km", "≤ 2500 km"),
    ("geoscore", "GeoScore"),
    ("country", "country"),
)
SHARED = ("nearest neighbour", "neighbours")  # columns that read the similar neighbours alone
MATTERS = 25  # points of GeoScore, 0.5 % of its range
FEWEST_PLACES = 20  # below that, a bootstrap over places says little
TITLES = {"neighbours": "neighbours' belief alone", "tokens": "S2 tokens alone", "full answer": "full answer"}
PREAMBLE = f"""\
What the variants can and cannot change:

- *k = 0*: memory recalls nothing; the engine is asked for S2 tokens without a block of neighbours.
- *similar*: the assistant as it ships. 64 neighbours make the belief, {prompts.NEIGHBOURS} are told to the engine as
  S2 symbols.
- *{retold.CONTROL}*: four more similar lines in that block: the control for what longer blocks do by themselves.
- *+ dissimilar*, *+ hard dissimilar*: four more lines in the engine's block of S2 symbols, each led by its own
  similarity, and an "unlike" line in the briefing for its words. The neighbours' belief reads similar ones only, so the
  columns "nearest neighbour" and "neighbours' belief alone" are the same by construction and are printed once.
- The shipped model was not trained on dissimilar lines. What is measured is what telling them does to this model, as
  the papers do with models that were never trained on any.
- *without looking*: the middle of the gallery, and its most common country."""


def markdown(report: dict[str, Any]) -> str:
    """The whole report; worlds that an unfinished run has not reached are left out."""
    told = ["# What retrieval does to an answer", _contract(report), PREAMBLE]
    for name, world in report["worlds"].items():
        told += [f"## {name}", world["note"], _where(report, world)]
        for protocol, variants in world["protocols"].items():
            told.append(_scores(protocol, variants, world))
        for base, differences in world["against"].items():
            told += [f"Against *{base}*, picture by picture (all rows):", _differences(differences)]
        told += ["The neighbours' belief alone, from the first k (all rows):", _by_k(world["by k"])]
        told += ["Leakage:", _leakage(world["leakage"]), "What is told, and how often it is the same:", _told(world)]
    return "\n\n".join([*told, "## Which of the papers' claims hold here", _claims(report["worlds"])]) + "\n"


def _contract(report: dict[str, Any]) -> str:
    hashes = "; ".join(f"{name} {value[:12]}" for name, value in report["hashes"].items())
    return (
        f"Contract: {report['contract'].replace('over pictures', 'over blocks or places, not pictures')}. A country is "
        "right where the guess lies in it (Natural Earth); at sea none is asked.\n\n"
        f"Model {report['provenance']['model']}, index {report['provenance']['index']}, seed {report['seed']}. "
        f"SHA-256: {hashes}."
    )


def _where(report: dict[str, Any], world: dict[str, Any]) -> str:
    return f"`{report['command']}` at commit {report['commit']}, {world['seconds']:.0f} s."


def _scores(protocol: str, variants: dict[str, Any], world: dict[str, Any]) -> str:
    heads = " | ".join(title for _, title in COLUMNS)
    strict, changed = protocol != "all rows", world["leakage"]["queries with a near-duplicate"]
    lines = [f"Protocol: {protocol}" + (f", which changes {changed} of the pictures." if strict else "."), ""]
    lines += [f"| answer | told | n (places) | {heads} | no point by itself |", "|---" * (len(COLUMNS) + 4) + "|"]
    lines.append(_row("without looking", "–", world["blind"], "–"))
    for column in (*SHARED, "tokens", "full answer"):
        for variant, columns in variants.items():
            if column not in columns or (column in SHARED and variant != "similar"):
                continue
            scored = columns[column]
            refused = scored["abstained"] if column == "full answer" else "–"
            lines.append(_row(TITLES.get(column, column), "–" if column in SHARED else variant, scored, refused))
    lines += ["", "Words name the right country, of the pictures that were asked about: "]
    lines[-1] += (
        "; ".join(f"{name} {_share_of(told['words name the country'])}" for name, told in variants.items()) + "."
    )
    return "\n".join(lines)


def _row(answer: str, told: str, scored: dict[str, Any], refused: Any) -> str:
    cells = " | ".join(_value(scored[key], key) for key, _ in COLUMNS)
    return f"| {answer} | {told} | {scored['n']} ({scored['places']}) | {cells} | {refused} |"


def _share_of(scored: list[Any]) -> str:
    return f"{_value(scored[:2], 'within')} of {scored[2]}" if scored[0] is not None else "not asked"


def _value(scored: list[Any], key: str) -> str:
    value, (low, high) = scored
    if value is None:
        return "–"
    if key.startswith(("within", "country")):
        return f"{100 * value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def _signed(scored: list[Any], *, share: bool) -> str:
    value, (low, high) = scored
    if value is None:
        return "–"
    unit, scale = (" %", 100) if share else ("", 1)
    return f"{scale * value:+.1f}{unit} ({scale * low:+.1f} to {scale * high:+.1f})"


def _differences(against: dict[str, Any]) -> str:
    lines = ["| told | answer | GeoScore | ≤ 200 km | ≤ 750 km | points moved > 25 km |", "|---" * 6 + "|"]
    for variant, columns in against.items():
        for column in ("tokens", "full answer"):
            if (d := columns.get(column)) is not None:
                shares = " | ".join(_signed(d[key], share=True) for key in ("within_200_km", "within_750_km"))
                moved = f"{100 * d['moved_25_km']:.0f} %"
                gain = _signed(d["geoscore"], share=False)
                lines.append(f"| {variant} | {TITLES.get(column, column)} | {gain} | {shares} | {moved} |")
    named = "; ".join(
        f"{variant} {_signed(columns['words name the country'], share=True)}" for variant, columns in against.items()
    )
    lines += ["", f"Words name the right country, more or less often: {named}."]
    return "\n".join(lines)


def _by_k(scores: dict[str, Any]) -> str:
    heads = " | ".join(title for key, title in COLUMNS if key != "country")
    lines = [f"| k | {heads} |", "|---" * len(COLUMNS) + "|"]
    for k, scored in scores.items():
        lines.append(
            f"| {k} | " + " | ".join(_value(scored[key], key) for key, _ in COLUMNS if key != "country") + " |"
        )
    return "\n".join(lines)


def _leakage(counted: dict[str, Any]) -> str:
    lines = ["| found by | queries | gallery rows | rows barred as of the same place |", "|---|---|---|---|"]
    rules = {
        "cosine": f"cosine ≥ {counted['cosine from']:g}",
        "phash": f"perceptual hash within {counted['phash bits up to']} bits",
        "sha256": "the same file (SHA-256)",
    }
    for kind, rule in rules.items():
        found = counted["found"].get(kind)
        values = "not applicable: no files | – | –" if found is None else " | ".join(str(v) for v in found.values())
        lines.append(f"| {rule} | {values} |")
    lines += ["", f"{counted['queries with a near-duplicate']} of {counted['queries']} queries have a near-duplicate "]
    lines[-1] += f"among {counted['gallery rows']:,} rows; for {counted['queries with one within 25 km']} it is of the "
    lines[-1] += "same place (25 km). The others look alike without being near."
    return "\n".join(lines)


def _told(world: dict[str, Any]) -> str:
    lines = ["| rows | told | distinct | the most common one is told to |", "|---|---|---|---|"]
    queries = world["told"]["queries"]
    for name, told in world["told"].items():
        if isinstance(told, dict) and told["told"]:
            common = f"{told['most common told to']} of {queries} queries"
            lines.append(f"| {name} | {told['told']} | {told['distinct']} | {common} |")
    return "\n".join(lines)


def _claims(worlds: dict[str, Any]) -> str:
    """Each claim with what the paired intervals say of it; nothing is claimed from an interval that holds zero."""
    lines = ["Said plainly, from the table below:", "", *_plainly(worlds), ""]
    start = len(lines) + 2
    lines += ["| claim | pictures | answer | against | GeoScore | here |", "|---" * 6 + "|"]
    traps = []
    for name, world in worlds.items():
        for claim, answer, base, difference in _compared(world):
            told = f"{_signed(difference, share=False)} | {_verdict(difference, world['places'])}"
            lines.append(f"| {claim} | {name} | {answer} | {base} | {told} |")
        if first := world["told"].get("dissimilar, first 1"):
            share = 100 * first["distinct"] / first["told"]
            traps.append(
                f"- {name}: {first['distinct']} distinct farthest rows over {first['told']} queries ({share:.0f} %), "
                f"the most common is the farthest of {first['most common told to']}."
            )
    count = len(lines) - start
    lines += ["", f"Of {count} comparisons at 95 %, about {count / 20:.0f} would exclude zero by chance alone.", ""]
    return "\n".join([*lines, "The known trap, that the farthest rows are the same for every query:", "", *traps])


def _plainly(worlds: dict[str, Any]) -> Iterator[str]:
    """One line for each claim: what the figures say of it, and of which pictures."""
    said: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name, world in worlds.items():
        for claim, answer, base, difference in _compared(world):
            verdict = _verdict(difference, world["places"])
            said.setdefault((claim, answer, base), {}).setdefault(verdict, []).append(name)
    for (claim, answer, base), verdicts in said.items():
        if len(worlds) > 1 and len(verdicts) == 1 and sum(map(len, verdicts.values())) == len(worlds):
            told = f"{next(iter(verdicts))}, on all {len(worlds)} sets of pictures"
        else:
            told = "; ".join(f"{verdict} ({' and '.join(names)})" for verdict, names in verdicts.items())
        yield f"- *{claim}*: {answer} against {base}: {told}."


def _compared(world: dict[str, Any]) -> Iterator[tuple[str, str, str, list[Any]]]:
    """(claim, answer, baseline, difference) for everything that was compared."""
    full = TITLES["full answer"]
    if "beaten by" in world["blind"]:
        yield "retrieval beats not looking", full, "without looking", world["blind"]["beaten by"]["geoscore"]
    none = world["against"]["similar"]["k = 0"].get("full answer")
    if none is not None:
        value, (low, high) = none["geoscore"]
        yield "retrieval helps (all three papers)", full, "k = 0", [-value, [-high, -low]]
    for base, differences in world["against"].items():
        for variant, columns in differences.items():
            control = variant == retold.CONTROL
            claim = "a longer block helps (control)" if control else f"{variant} helps (Img2Loc, G3)"
            for column in ("full answer", "tokens"):
                if variant != "k = 0" and column in columns:
                    yield claim, TITLES[column], base, columns[column]["geoscore"]


def _verdict(difference: list[Any], places: int) -> str:
    _, (low, high) = difference
    if places < FEWEST_PLACES:
        return f"too few places to tell ({places})"
    if max(abs(low), abs(high)) < MATTERS:
        return f"makes no difference that matters (under {MATTERS} points)"
    if low > 0:
        return "holds here"
    return "does not hold here: it harms" if high < 0 else "cannot be told from nothing"
