"""What was promised and what came true as Markdown, read from the JSON."""

from __future__ import annotations

from typing import Any

from gaea.eval.reliability import PROMISED, WRONG_KM


def markdown(report: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["# Reliability: what is promised, and what comes true", _head(report)]
    for split, told in report["beliefs"].items():
        parts += [f"## {split.capitalize()} places ({told['n']} pictures in {told['places']} blocks)"]
        if "figure" in told:
            parts += [f"![Reliability diagram, {split} places]({told['figure']})"]
        parts += [_regions(told["read"]), _diagram(told["read"]), _risks(told["read"]), _abstention(told["abstention"])]
    if "abstention on both" in report:
        parts += [
            "## Seen and unseen places together, as the promise is made",
            _abstention(report["abstention on both"]),
        ]
    parts += [f"{name} is not in the tables: {why}." for name, why in report["absent"].items()]
    return "\n\n".join(parts) + "\n"


def _head(report: dict[str, Any]) -> str:
    trust = report["calibration"]
    pool = ", ".join(f"{name} {weight:.3g}" for name, weight in report["pool"]["weights"].items() if weight > 0)
    return (
        f"Commit {report['commit']}, `{report['command']}`; seed {report['seed']}.\n\n{report['contract']}.\n\n"
        f"The pool's exponents: {pool}; its temperature {report['pool']['temperature']:.3g}; symbols at temperature "
        f"{trust['token_temperature']:g}. Regions that promise 50 and 90 % are drawn at the masses "
        f"{trust['region_mass'][0]:.3f} and {trust['region_mass'][1]:.3f}, sized on validation places."
    )


def _regions(read: dict[str, Any]) -> str:
    heads = [f"{percent} % region holds | mean area, km² | median area, km²" for percent in PROMISED]
    lines = [f"| belief | surprise, nats | mean gap | {' | '.join(heads)} |", "|---" * (3 + 3 * len(PROMISED)) + "|"]
    for name, told in read.items():
        cells = []
        for percent in PROMISED:
            region = told["regions"][str(percent)]
            cells += [_share(region["held"]), f"{region['mean_km2'][0]:,.0f}", f"{region['median_km2'][0]:,.0f}"]
        value, (low, high) = told["surprise_nats"]
        nats = f"{value:.2f} ({low:.2f}–{high:.2f})"
        lines.append(f"| {name} | {nats} | {100 * told['mean gap']:.1f} % | {' | '.join(cells)} |")
    lines += [
        "",
        "Surprise is −ln of the density per km² at the truth; the even Earth has 20.05. The mean gap is between ",
    ]
    lines[-1] += (
        "observed coverage and nominal mass, 5 to 95 %, before anything is corrected; the regions are drawn at the "
    )
    lines[-1] += "corrected masses, which were fitted for the whole pool and hold for the others by chance only."
    return "\n".join(lines)


def _diagram(read: dict[str, Any]) -> str:
    masses = ("0.10", "0.25", "0.50", "0.75", "0.90", "0.95")
    lines = [f"| belief | {' | '.join(f'{100 * float(m):.0f} %' for m in masses)} |", "|---" * (len(masses) + 1) + "|"]
    for name, told in read.items():
        lines.append(f"| {name} | {' | '.join(_share(told['diagram'][mass]) for mass in masses)} |")
    return "Observed coverage of regions of a nominal mass, uncorrected:\n\n" + "\n".join(lines)


def _risks(read: dict[str, Any]) -> str:
    lines = [
        "| belief | wrong is beyond | wrong among the surest 20 % | 50 % | 80 % | all answerable | area | best area |"
    ]
    lines.append("|---" * 8 + "|")
    for name, told in read.items():
        curve = told["risk and coverage"]
        for km in WRONG_KM:
            mine = curve[f"{km:g} km"]
            points = dict(map(tuple, mine["points"]))
            shares = [_nearest(points, share) for share in (0.2, 0.5, 0.8)]
            last = f"{100 * mine['points'][-1][1]:.1f} %" if mine["points"] else "–"
            areas = " | ".join("–" if mine[key] is None else f"{mine[key]:.3f}" for key in ("area", "best area"))
            lines.append(f"| {name} | {km:g} km | {' | '.join(shares)} | {last} | {areas} |")
    return "Risk and coverage, the surest answers first:\n\n" + "\n".join(lines)


def _nearest(points: dict[float, float], share: float) -> str:
    near = [at for at in points if abs(at - share) < 0.06]
    return f"{100 * points[min(near, key=lambda at: abs(at - share))]:.1f} %" if near else "–"


def _abstention(told: dict[str, Any]) -> str:
    promise = told["promise"]
    if promise is None:
        kept = "Nothing was promised: no radius could be shown to keep the risk, or the calibration is older."
    else:
        risk = promise["risk"]
        right = f"{100 * promise['answered']:.1f} % were answered and {100 * promise['wrong']:.1f} % of these wrong"
        kept = (
            f"Promised with {100 * risk['confidence']:.0f} % confidence: of the answers about seen and unseen places, "
            f"half and half, at most {100 * risk['share']:.0f} % are off by more than {risk['beyond_km']:g} km. Chosen "
            f"on {promise['places']} validation places, of which {right}."
        )
    return (
        f"{kept} A point is given where half the belief lies within {told['radius_km']:.0f} km: here for "
        f"{_share(told['answered'])} of the pictures, of which {_share(told['wrong of the answered'])} are off by more "
        f"than {told['beyond_km']:g} km; of all pictures it would be {_share(told['wrong of all'])}."
    )


def _share(scored: list[Any]) -> str:
    value, (low, high) = scored
    return "–" if value is None else f"{100 * value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
