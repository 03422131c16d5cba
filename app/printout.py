"""An answer as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from gaea.answer import Answer
from gaea.app.map import coordinates
from gaea.app.terminal import safe
from gaea.findings import Evidence, FileClaim, Point

_WIDTH = 88
_SHOWN = 3
_LABEL = 16
_UNFITTED = "areas are a guess until this index is calibrated: gaea index calibrate INDEX"


def lines(answer: Answer, previous: Answer | None = None) -> str:
    """A readable answer: question, words, then point, radii, area, place, evidence, the file's claim and timings.

    Args:
        answer: What to print.
        previous: The answer before it in the conversation; what it said already is not said again.
    """
    spoken = [f"> {safe(answer.question)}", *_wrapped(safe(answer.text))]
    if previous is not None and _same_findings(answer, previous):
        return "\n".join([*spoken, "", *_row("took", _timings(answer))])
    rows = [
        *_row("point", _point(answer)),
        *_row("within", _radii(answer)),
        *_row("area", _areas(answer)),
        *_row("place", answer.place.label if answer.place and not answer.abstained else ""),
        *_row("or else", ", ".join(f"{other.label} {other.probability:.0%}" for other in answer.alternatives)),
        *_row("evidence", *_evidence(answer.evidence)),
        *_row("disclosure", "" if answer.disclosure == "precise" else f"no finer than {answer.disclosure}"),
        *(_claimed(answer.file_claim, answer) if answer.file_claim else ()),
        *_row("not calibrated", _UNFITTED if answer.provenance.get("calibration") == "none" else ""),
        *_row("took", _timings(answer)),
    ]
    return "\n".join([*spoken, "", *rows])


def km(distance_km: float) -> str:
    """A distance with as many digits as a reader can use."""
    if distance_km < 1:
        return f"{distance_km * 1000:,.0f} m"
    return f"{distance_km:.1f} km" if distance_km < 10 else f"{distance_km:,.0f} km"


def _same_findings(answer: Answer, previous: Answer) -> bool:
    return (answer.point, answer.region, answer.place) == (previous.point, previous.region, previous.place)


def _row(label: str, *values: str) -> list[str]:
    """A label and its lines, indented alike; nothing without values."""
    filled = [safe(value).replace("\n", " ") for value in values if value]
    return [f"  {label if i == 0 else '':<{_LABEL}} {value}" for i, value in enumerate(filled)]


def _wrapped(text: str) -> list[str]:
    return [line for part in text.splitlines() for line in textwrap.wrap(part, _WIDTH) or [""]]


def _point(answer: Answer) -> str:
    sure = answer.confidence.sure
    if answer.point is None:
        return f"none: {sure}; --guess gives the most probable one" if answer.abstained else "none"
    return f"{coordinates(answer.point, (answer.radius_km or {}).get(90))}   ({sure})"


def _radii(answer: Answer) -> str:
    return ", ".join(f"{km(radius)} ({mass} %)" for mass, radius in sorted((answer.radius_km or {}).items()))


def _areas(answer: Answer) -> str:
    areas = sorted(answer.confidence.area_km2.items())
    return ", ".join(f"{area:,.0f} km² ({mass} %)" for mass, area in areas)


def _evidence(evidence: Iterable[Evidence]) -> Iterator[str]:
    """The nearest neighbours, or, without any, whatever else speaks for the answer."""
    items = list(evidence)
    similar = [item for item in items if item.kind == "similar"] or items
    for item in similar[:_SHOWN]:
        likeness = f"similarity {item.similarity:.2f}" if item.similarity is not None else ""
        away = f"{km(item.distance_km)} away" if item.distance_km is not None else ""
        rests = f"{item.share:.0%} of the point" if item.share is not None and item.share >= 0.005 else ""
        yield " · ".join(part for part in (item.text, likeness, rests, away, item.credit or item.source or "") if part)


def _claimed(claim: FileClaim, answer: Answer) -> list[str]:
    """What the file claims beside what the picture says; never mixed."""
    parts = [
        coordinates(Point(claim.lat, claim.lon), 0.5) if claim.lat is not None and claim.lon is not None else "",
        f"taken {claim.taken}" if claim.taken else "",
        f"with {claim.camera}" if claim.camera else "",
    ]
    said = ", ".join(part for part in parts if part) or "nothing that can be read"
    radius_km = (answer.radius_km or {}).get(90)
    seen = coordinates(answer.point, radius_km) if answer.point else "no point"
    apart = f", {km(claim.distance_km)} from there" if claim.distance_km is not None else ""
    return [
        *_row("the file claims", said, *(f"odd: {problem}" for problem in claim.problems)),
        *_row("the picture says", f"{seen}{apart}"),
    ]


def _timings(answer: Answer) -> str:
    stages = {name: seconds for name, seconds in answer.timings.items() if name != "total"}
    total = answer.timings.get("total", sum(stages.values()))
    told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages.items() if seconds >= 0.005)
    return f"{total:.2f} s" + (f" ({told})" if told else "")
