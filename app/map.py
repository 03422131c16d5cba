"""The answer page: one self-contained HTML file with the photo, the conversation, the map and the evidence.

It needs no network and asks for none; its content security policy forbids it. Questions, names, captions and EXIF are
untrusted and are escaped on their way in. Plain links out are the only addresses in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, get_args

from PIL import Image

from gaea.answer import Answer, FileClaim, Place, Point, Sure
from gaea.app import backdrop, chart
from gaea.app.page import document
from gaea.photo import Photo

_PHOTO_PX = 1000
_LEGEND = {
    "point": "best single place",
    "similar": "looks similar",
    "dissimilar": "looks different",
    "alternative": "could also be",
    "claim": "the file's own claim",
}
_MASTHEAD = '<header class="top"><span class="brand">GAEA</span><span>where a photo was taken, and why</span></header>'
_LIMITS = (
    "The shaded areas hold 50 and 90 % of the probability, as far as the model knows itself; one in ten true places "
    "lies outside the larger one. A picture can mislead, be old, or be made to deceive. Do not use this to find "
    "people, and check it before anything depends on it."
)


def html(answers: Answer | Sequence[Answer], photo: Photo | None = None) -> str:
    """A conversation about one photo as a complete HTML document.

    Args:
        answers: In the order of the conversation. The map shows the last one that has a place to show.
        photo: What the conversation is about; embedded smaller and without metadata.

    Returns:
        HTML that is readable with no network and no script.
    """
    conversation = [answers] if isinstance(answers, Answer) else list(answers)
    shown = [answer for answer in conversation if answer.point is not None or answer.region]
    lead = (shown or conversation)[-1]
    title = _headline(lead)
    sections = [
        _MASTHEAD,
        f'<div class="hero">{_photo(photo)}<div><h1>{escape(title)}</h1>{_sure(lead)}{_claim(lead)}</div></div>',
        _talk(conversation),
        _maps(lead),
        _alternatives(lead),
        _evidence(lead),
        _links(lead),
        _provenance(conversation),
        f'<h2>Limits</h2><p class="note">{escape(_LIMITS)}</p>',
    ]
    return document(f"{title} – GAEA", "\n".join(section for section in sections if section))


def coordinates(point: Point, radius_km: float | None) -> str:
    """A position with no more digits than its radius deserves: ``45.9° N, 6.9° E``."""
    digits = next((n for n, km in ((4, 1), (3, 10), (2, 100)) if radius_km is None or radius_km < km), 1)
    north, east = "N" if point.lat >= 0 else "S", "E" if point.lon >= 0 else "W"
    return f"{abs(point.lat):.{digits}f}° {north}, {abs(point.lon):.{digits}f}° {east}"


def _headline(answer: Answer) -> str:
    if answer.abstained or (answer.point is None and answer.place is None):
        return "I cannot tell where this is"
    label = (answer.place or Place()).label
    return label[0].upper() + label[1:]


def _photo(photo: Photo | None) -> str:
    if photo is None:
        return "<div></div>"
    image = photo.image()
    image.thumbnail((_PHOTO_PX, _PHOTO_PX), Image.Resampling.LANCZOS)
    width, height = photo.original_size
    return (
        f'<figure class="photo"><img src="{backdrop.jpeg_uri(image)}" alt="The photo in question" '
        f'width="{image.width}" height="{image.height}"><figcaption>{escape(photo.name)} · {width:,} × {height:,} px · '
        f"{escape(photo.format)}</figcaption></figure>"
    )


def _sure(answer: Answer) -> str:
    confidence = answer.confidence
    numbers: list[tuple[str, str]] = []
    radii = answer.radius_km or {}
    where = f'<p class="where">{coordinates(answer.point, radii.get(90))}</p>' if answer.point else ""
    steps = "".join(
        f'<span class="{"on" if word == confidence.sure else ""}">{word}</span>' for word in reversed(get_args(Sure))
    )
    numbers += [(f"{mass} % within", _km(radii[mass])) for mass in (50, 90) if mass in radii]
    numbers += [(f"{mass} % area", _km2(confidence.area_km2[mass])) for mass in (50, 90) if mass in confidence.area_km2]
    if confidence.information_bits is not None:
        numbers.append(("told by the photo", f"{confidence.information_bits:.1f} bits"))
    if answer.disclosure != "precise":
        numbers.append(("spoken no finer than", answer.disclosure))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in numbers)
    scale = f'<div class="sure" role="img" aria-label="{confidence.sure}">{steps}</div>'
    return f'{where}{scale}<dl class="numbers">{cells}</dl>'


def _claim(answer: Answer) -> str:
    claim = answer.file_claim
    if claim is None:
        return ""
    lines = [f"<strong>The file claims</strong> {escape(_claimed(claim))}."]
    if claim.distance_km is not None:
        lines.append(
            f"That is {_km(claim.distance_km)} from where the picture points. The claim was not used for the answer."
        )
    lines += [f"Odd: {escape(problem)}." for problem in claim.problems]
    return f'<div class="claim-box">{"".join(f"<p>{line}</p>" for line in lines)}</div>'


def _claimed(claim: FileClaim) -> str:
    parts = [f"taken {claim.taken}" if claim.taken else "", f"with {claim.camera}" if claim.camera else ""]
    if claim.lat is not None and claim.lon is not None:
        parts.insert(0, coordinates(Point(claim.lat, claim.lon), 0.5))
    return ", ".join(part for part in parts if part) or "nothing that can be read"


def _talk(conversation: Sequence[Answer]) -> str:
    turns = []
    for answer in conversation:
        seconds = answer.timings.get("total", sum(answer.timings.values()))
        small = f"<small>{escape(answer.confidence.sure)} · {seconds:.2f} s</small>"
        turns.append(f'<p class="q">{escape(answer.question)}</p><p class="a">{escape(answer.text)}{small}</p>')
    return f'<h2>Asked and answered</h2><div class="talk">{"".join(turns)}</div>'


def _maps(answer: Answer) -> str:
    frame = chart.close_up(answer)
    kinds: set[str] = {item.kind for _, item, _ in chart.located(answer)}
    kinds |= {"point"} if answer.point else set()
    kinds |= {"alternative"} if any(other.point for other in answer.alternatives) else set()
    kinds |= {"claim"} if answer.file_claim and answer.file_claim.lat is not None else set()
    if frame is None and not kinds and not answer.region:
        return ""
    legend = [f'<li><span class="patch m{mass}"></span>{mass} % region</li>' for mass in sorted(answer.region)]
    legend += [f"<li>{_glyph(kind)}{words}</li>" for kind, words in _LEGEND.items() if kind in kinds]
    close = f'<div class="map-box">{chart.draw_close_up(answer, frame)}</div>' if frame else ""
    note = "The close-up is equal-area: what looks twice as large is. " if frame else ""
    return (
        f'<h2>On the map</h2>{close}<ul class="legend">{"".join(legend)}</ul>'
        f'<h2>In the world</h2><div class="map-box">{chart.draw_world(answer, frame)}</div>'
        f'<p class="note">{note}{escape(backdrop.CREDIT)}</p>'
    )


def _glyph(kind: str, number: int | None = None) -> str:
    return (
        f'<svg viewBox="-13 -13 26 26" class="{escape(kind)}" aria-hidden="true">{chart.glyph_of(kind, number)}</svg>'
    )


def _alternatives(answer: Answer) -> str:
    if not answer.alternatives:
        return ""
    rows = "".join(
        f'<li><div><i style="width:{other.probability:.1%}"></i><b>{escape(other.label)}</b></div>'
        f"<span>{other.probability:.0%}</span></li>"
        for other in answer.alternatives
    )
    return f'<h2>It could also be</h2><ul class="bars">{rows}</ul>'


def _evidence(answer: Answer) -> str:
    if not answer.evidence:
        return ""
    rows = []
    for number, item in enumerate(answer.evidence, 1):
        mark = _glyph(item.kind, number) if item.lat is not None else "·"
        origin = " · ".join(part for part in (item.source, item.credit) if part)
        rows.append(
            f'<tr><td>{mark}</td><td>{escape(item.text)}</td><td class="kind">{escape(item.kind)}</td>'
            f'<td class="n">{_or_dash(item.similarity, lambda value: f"{value:.2f}")}</td>'
            f'<td class="n">{_or_dash(item.share, lambda value: f"{value:.0%}")}</td>'
            f'<td class="n">{_or_dash(item.distance_km, _km)}</td><td class="wide">{escape(origin)}</td></tr>'
        )
    head = (
        '<tr><th></th><th>what</th><th class="kind">kind</th><th class="n">likeness</th>'
        '<th class="n">of the point</th>'
        '<th class="n">from the answer</th><th class="wide">source and credit</th></tr>'
    )
    return (
        f'<h2>Evidence</h2><div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _links(answer: Answer) -> str:
    if answer.point is None:
        return ""
    lat, lon = f"{answer.point.lat:.5f}", f"{answer.point.lon:.5f}"
    radius_km = (answer.radius_km or {}).get(90, 50.0)
    zoom = next((level for level, km in ((15, 1), (12, 10), (9, 60), (7, 250), (5, 1000)) if radius_km < km), 3)
    osm = f"https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map={zoom}/{lat}/{lon}"
    satellite = f"https://www.google.com/maps/@?api=1&map_action=map&center={lat},{lon}&zoom={zoom}&basemap=satellite"
    links = ((osm, "OpenStreetMap"), (satellite, "Google satellite"))
    anchors = " · ".join(f'<a href="{escape(url)}" rel="noopener noreferrer">{name} ↗</a>' for url, name in links)
    return f'<h2>Look for yourself</h2><p class="note">These links leave this page and need a network: {anchors}</p>'


def _provenance(conversation: Sequence[Answer]) -> str:
    answer = conversation[-1]
    facts = {name: _listed(value) for name, value in answer.provenance.items() if value is not None}
    seconds = {name: f"{value:.3f} s" for name, value in answer.timings.items()}
    columns = (("How it was made", facts), ("How long the last answer took", seconds))
    return f'<div class="two">{"".join(_facts(title, rows) for title, rows in columns if rows)}</div>'


def _listed(value: Any) -> str:
    return ", ".join(f"{name} {item}" for name, item in value.items()) if isinstance(value, Mapping) else str(value)


def _facts(title: str, rows: dict[str, str]) -> str:
    items = (f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f'<section><h2>{title}</h2><dl class="facts">{"".join(items)}</dl></section>'


def _or_dash(value: float | None, words: Callable[[float], str]) -> str:
    return "–" if value is None else words(value)


def _km(km: float) -> str:
    return f"{km * 1000:,.0f} m" if km < 1 else f"{km:.1f} km" if km < 10 else f"{km:,.0f} km"


def _km2(km2: float) -> str:
    if km2 >= 1e6:
        return f"{km2 / 1e6:,.{0 if km2 >= 1e8 else 1}f} million km²"
    return f"{km2:,.0f} km²" if km2 >= 10 else f"{km2:.2g} km²"
