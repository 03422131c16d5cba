"""The chat's panels as HTML: what was found and how sure, the file's claim, alternatives, evidence, and where to go.

Everything that came from outside is escaped here. Addresses that leave this machine are plain links, followed only by
a click.
"""

from __future__ import annotations

import json
from html import escape
from typing import get_args

from PIL import Image

from gaea.answer import Answer, FileClaim, Place, Sure
from gaea.app import backdrop, chart
from gaea.app.chat_map import spot, thumbnail
from gaea.app.map import coordinates
from gaea.app.printout import km
from gaea.findings import Evidence, Point
from gaea.photo import Photo

FORMATS = {"html": "Report", "geojson": "GeoJSON", "kml": "KML", "csv": "CSV"}
"""What an answer can be downloaded as: the file's ending, and what to call it."""

_SHOWN_PX = 720
_IN_WORDS = {
    "confident": "I am confident.",
    "fairly sure": "I am fairly sure.",
    "unsure": "I am unsure: treat this as a lead, not as a fact.",
    "cannot tell": "Too many places look like this, or none that I know does.",
}
_WELCOME = (
    '<section class="verdict welcome"><h1>Where was this taken?</h1><p class="plain">Drop a photo, and get an answer '
    "you can check: words, a point, an honest area around it, and the evidence. Everything is computed on the machine "
    "that runs this page.</p></section>"
)


def photo_card(photo: Photo | None, fault: str = "") -> str:
    """What the photo card shows, as JSON: the photo, smaller and without metadata, or nothing, or what was wrong."""
    if photo is None:
        return json.dumps({"fault": fault})
    image = photo.image()
    image.thumbnail((_SHOWN_PX, _SHOWN_PX), Image.Resampling.LANCZOS)
    width, height = photo.original_size
    facts = f"{width:,} × {height:,} px · {photo.format}"
    return json.dumps({"src": backdrop.jpeg_uri(image), "name": photo.name, "facts": facts, "fault": fault})


def verdict(answer: Answer | None) -> str:
    """Where, and how sure, in words and numbers."""
    if answer is None:
        return _WELCOME
    sure = answer.confidence.sure
    steps = "".join(f'<li class="{"on" if word == sure else ""}">{word}</li>' for word in reversed(get_args(Sure)))
    point = spot(answer)
    where = coordinates(point, (answer.radius_km or {}).get(90)) if point else ""
    numbers = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in _numbers(answer))
    return (
        f'<section class="verdict"><h1>{escape(headline(answer))}</h1>'
        f'<p class="where">{escape(where)}</p>'
        f'<ol class="sure" role="img" aria-label="How sure: {sure}">{steps}</ol>'
        f'<p class="plain">{_IN_WORDS[sure]} {_limited(answer)}</p>'
        f'<dl class="numbers">{numbers}</dl></section>'
    )


def headline(answer: Answer) -> str:
    """The place in one line."""
    if answer.place is None and answer.point is None:
        return "I cannot tell where this is" if answer.abstained else "The place is not told"
    label = (answer.place or Place()).label
    return label[0].upper() + label[1:]


def evidence(answer: Answer | None) -> str:
    """The gallery of neighbours, with likeness, distance and credit."""
    if answer is None or not answer.evidence:
        return ""
    cards = "".join(_card(number, item) for number, item in enumerate(answer.evidence, 1))
    note = "Pictures show each neighbour's place from orbit. " + backdrop.CREDIT
    return (
        f'<section class="panel"><h2>Evidence</h2><ul class="gallery">{cards}</ul>'
        f'<p class="note">{escape(note)}</p></section>'
    )


def details(answer: Answer | None, token: str) -> str:
    """The file's claim, alternatives, downloads, links out, and how the answer was made.

    Args:
        answer: The last one.
        token: What downloads of this session are asked for by.
    """
    if answer is None:
        return ""
    parts = [_claim(answer.file_claim), _alternatives(answer), _downloads(token), _links(answer), _made(answer)]
    return "".join(part for part in parts if part)


def legend(answer: Answer | None) -> str:
    """What the marks on the globe mean."""
    if answer is None:
        return ""
    kinds = [item.kind for _, item, _ in chart.located(answer)]
    kinds += ["point"] if spot(answer) else []
    kinds += ["alternative"] if any(other.point for other in answer.alternatives) else []
    kinds += ["claim"] if answer.file_claim and answer.file_claim.lat is not None else []
    told = {
        "point": "best single place",
        "similar": "looks similar",
        "dissimilar": "looks different",
        "alternative": "could also be",
        "claim": "the file’s own claim",
    }
    items = [f'<li><span class="patch m{mass}"></span>{mass} % region</li>' for mass in sorted(answer.region)]
    items += [f"<li>{glyph(kind)}{words}</li>" for kind, words in told.items() if kind in kinds]
    return f'<ul class="legend" aria-label="What the map shows">{"".join(items)}</ul>' if items else ""


def glyph(kind: str) -> str:
    """The mark of a kind as a small drawing."""
    return f'<svg viewBox="-13 -13 26 26" class="{kind}" aria-hidden="true">{chart.glyph_of(kind)}</svg>'


def status(answer: Answer, *, stopped: bool) -> str:
    """One line on how the last answer was made."""
    seconds = answer.timings.get("total", sum(answer.timings.values()))
    seen = "recall" in answer.timings or "describe" in answer.timings
    reused = "" if seen else " · the photo was encoded before, once"
    return f"{'Stopped after' if stopped else 'Answered in'} {seconds:.2f} s{reused}"


def status_line(text: str, *, busy: bool = False, fault: bool = False) -> str:
    """A line under the conversation: what is going on, how it went, or what is wrong."""
    kind = "busy" if busy else "fault" if fault else "done"
    return f'<span class="{kind}">{escape(text)}</span>' if text else ""


def _numbers(answer: Answer) -> list[tuple[str, str]]:
    radii, areas = answer.radius_km or {}, answer.confidence.area_km2
    told = [(f"{mass} % within", km(radii[mass])) for mass in sorted(radii)]
    told += [(f"{mass} % area", km2(areas[mass])) for mass in sorted(areas)]
    if answer.confidence.information_bits is not None:
        told.append(("told by the photo", f"{answer.confidence.information_bits:.1f} bits"))
    return told


def km2(area: float) -> str:
    """An area with as many digits as a reader can use."""
    if area >= 1e6:
        return f"{area / 1e6:,.{0 if area >= 1e8 else 1}f} million km²"
    return f"{area:,.0f} km²" if area >= 10 else f"{area:.2g} km²"


def _limited(answer: Answer) -> str:
    if answer.disclosure != "precise":
        return f"Spoken no finer than {escape(answer.disclosure)}."
    if answer.provenance.get("calibration") == "none":
        return "The areas are a guess until this index is calibrated."
    return ""


def _card(number: int, item: Evidence) -> str:
    picture = (
        thumbnail(round(item.lat, 2), round(item.lon, 2)) if item.lat is not None and item.lon is not None else None
    )
    image = f'<img src="{picture}" alt="">' if picture else '<div class="blank"></div>'
    kind = {"similar": "looks similar", "dissimilar": "looks different"}.get(item.kind, item.kind)
    facts = [f"likeness {item.similarity:.2f}" if item.similarity is not None else ""]
    facts += [f"{km(item.distance_km)} away" if item.distance_km is not None else ""]
    facts += [f"{item.share:.0%} of the point" if item.share is not None and item.share >= 0.005 else ""]
    told = "".join(f"<span>{escape(fact)}</span>" for fact in facts if fact)
    credit = " · ".join(dict.fromkeys(part for part in (item.source, item.credit) if part))
    return (
        f'<li class="card {escape(item.kind)}" data-number="{number}">{image}<span class="badge">{number}</span>'
        f'<div><p class="kind">{escape(kind)}</p><h3>{escape(item.text)}</h3><p class="facts">{told}</p>'
        f'<p class="credit">{escape(credit)}</p></div></li>'
    )


def _claim(claim: FileClaim | None) -> str:
    if claim is None:
        return ""
    parts = [f"taken {claim.taken}" if claim.taken else "", f"with {claim.camera}" if claim.camera else ""]
    if claim.lat is not None and claim.lon is not None:
        parts.insert(0, coordinates(Point(claim.lat, claim.lon), 0.5))
    said = ", ".join(part for part in parts if part) or "nothing that can be read"
    lines = [f"{escape(said)}."]
    if claim.distance_km is not None:
        lines.append(f"That is {km(claim.distance_km)} from where the picture points.")
    lines += [f"Odd: {escape(problem)}." for problem in claim.problems]
    lines.append("Nothing of this was used for the answer.")
    body = "".join(f"<p>{line}</p>" for line in lines)
    return f'<section class="panel claim"><h2>{glyph("claim")}The file claims</h2>{body}</section>'


def _alternatives(answer: Answer) -> str:
    rows = "".join(
        f'<li><span class="bar" style="--share:{other.probability:.4f}">{escape(other.label)}</span>'
        f"<b>{other.probability:.0%}</b></li>"
        for other in answer.alternatives
    )
    return _panel("It could also be", f'<ul class="bars">{rows}</ul>') if rows else ""


def _downloads(token: str) -> str:
    links = "".join(
        f'<a class="pill" href="gaea/answer/{token}.{ending}" download="gaea-answer.{ending}">{name}</a>'
        for ending, name in FORMATS.items()
    )
    note = "The report is one HTML file with photo, conversation and map; it opens without a network."
    return _panel("Take it with you", f'<p class="pills">{links}</p><p class="note">{note}</p>')


def _links(answer: Answer) -> str:
    point = spot(answer)
    if point is None:
        return ""
    lat, lon = f"{point.lat:.5f}", f"{point.lon:.5f}"
    radius_km = (answer.radius_km or {}).get(90, 50.0)
    zoom = next((level for level, most in ((15, 1), (12, 10), (9, 60), (7, 250), (5, 1000)) if radius_km < most), 3)
    maps = "https://www.google.com/maps/@?api=1&map_action="
    links = {
        "OpenStreetMap": f"https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map={zoom}/{lat}/{lon}",
        "Satellite": f"{maps}map&center={lat},{lon}&zoom={zoom}&basemap=satellite",
        "Street View": f"{maps}pano&viewpoint={lat},{lon}",
    }
    anchors = "".join(
        f'<a class="pill out" href="{escape(url)}" target="_blank" rel="noopener noreferrer">{name}</a>'
        for name, url in links.items()
    )
    note = "These open other people’s sites, with the point in the address, and need a network."
    return _panel("Look for yourself", f'<p class="pills">{anchors}</p><p class="note">{note}</p>')


def _panel(title: str, body: str) -> str:
    return f'<section class="panel"><h2>{title}</h2>{body}</section>'


def _made(answer: Answer) -> str:
    def told(value: object) -> str:
        return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)

    rows = {name.replace("_", " "): told(value) for name, value in answer.provenance.items() if value is not None}
    rows |= {f"{name}, s": f"{seconds:.3f}" for name, seconds in answer.timings.items()}
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f'<details class="panel made"><summary>How it was made</summary><dl class="facts">{items}</dl></details>'
