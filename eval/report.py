"""A report as Markdown tables, read from the JSON that an examination wrote."""

from __future__ import annotations

from typing import Any

SPLITS = ("seen", "unseen")
COLUMNS = ("median_km", "within_25_km", "within_200_km", "within_750_km", "within_2500_km", "geoscore")


def markdown(report: dict[str, Any]) -> str:
    """The whole report."""
    return (
        "\n\n".join([_places(report), _regions(report), _pictures(report), _strangers(report), _questions(report)])
        + "\n"
    )


def _places(report: dict[str, Any]) -> str:
    rows = [
        "| split | system | n | median km | ≤ 25 km | ≤ 200 km | ≤ 750 km | ≤ 2500 km | GeoScore |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for split in SPLITS:
        for name, scores in report[split].items():
            told = [_value(scores[column], column) for column in COLUMNS]
            rows.append(f"| {split} | {name} | {scores['n']} | " + " | ".join(told) + " |")
    return "\n".join(rows)


def _value(scored: list[Any], column: str) -> str:
    value, (low, high) = scored
    if column.startswith("within"):
        return f"{100 * value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
    return f"{value:.0f} ({low:.0f}–{high:.0f})"


def _regions(report: dict[str, Any]) -> str:
    rows = [
        "| split | 50 % region holds the truth | median area "
        "| 90 % region holds the truth | median area | no point given |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for split in SPLITS:
        s = report[split]["system"]
        told = [f"{100 * s[f'coverage_{m}'][0]:.1f} % | {s[f'median_area_{m}_km2']:,} km²" for m in (50, 90)]
        rows.append(f"| {split} | {told[0]} | {told[1]} | {s['abstained']} of {s['n']} |")
    return "\n".join(rows)


def _pictures(report: dict[str, Any]) -> str:
    rows = ["| astronaut photograph | error | in the 90 % region | a point was given unasked |", "|---|---|---|---|"]
    for row in report["astronaut photographs"]:
        kept = "no" if row["abstained"] else "yes"
        rows.append(f"| {row['name']} | {row['error_km']:,} km | {'yes' if row['in_90'] else 'no'} | {kept} |")
    return "\n".join(rows)


def _strangers(report: dict[str, Any]) -> str:
    ground = report["ground-level photos"]
    return f"Ground-level photos, out of its world: {ground['abstained']} of {ground['n']} refused."


def _questions(report: dict[str, Any]) -> str:
    rows = ["| question on unseen places | n | accuracy | majority answer | picture blanked |", "|---|---|---|---|---|"]
    for kind, s in report["questions on unseen places"].items():
        shares = [f"{100 * s[key]:.0f} %" for key in ("accuracy", "majority", "blanked")]
        rows.append(f"| {kind} | {s['n']} | " + " | ".join(shares) + " |")
    return "\n".join(rows)
