"""What the chat's globe is told: one answer as a scene, and the Earth's imagery and lines as small files.

A scene is JSON with the regions' rings, the marks and the view that shows them; the page draws it without asking anyone
but this program. Text in it came from outside and is only ever put into text nodes.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np

from gaea.answer import Answer, Geometry, Place
from gaea.app import backdrop, chart
from gaea.app.map import coordinates
from gaea.app.printout import km
from gaea.app.projection import CloseUp
from gaea.app.strokes import rings
from gaea.disclosure import Level
from gaea.findings import Evidence, FileClaim, Point
from gaea.sphere import destination

EARTH_WIDTHS = (2048, 4096)
LEVELS = (("c", 2000.0), ("l", 100.0), ("i", 0.0))
"""Detail of the lines and the smallest island drawn, km²: for the whole globe, for continents and close by."""

_DECIMALS = 4  # 11 m, finer than a pixel of the closest view
_THUMBNAIL_PX, _THUMBNAIL_KM = 160, 320.0
_GAP = -32768


def scene(answer: Answer | None) -> str:
    """An answer for the globe, as JSON; without one, the whole Earth."""
    if answer is None:
        return json.dumps({"view": None, "regions": [], "marks": [], "words": "A globe, with no answer on it yet."})
    frame = chart.close_up(answer)
    drawn = {
        "view": None if frame is None else _view(frame),
        "regions": [_region(mass, geometry) for mass, geometry in sorted(_areas(answer).items(), reverse=True)],
        "marks": _marks(answer),
        "words": words(answer),
    }
    return json.dumps(drawn, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def words(answer: Answer) -> str:
    """What the map shows, for those who cannot see it."""
    parts = []
    point = spot(answer)
    if point is not None:
        parts.append(f"the point at {coordinates(point, (answer.radius_km or {}).get(90))}")
    areas = answer.confidence.area_km2
    parts += [f"the {m} % region" + (f" of {areas[m]:,.0f} km²" if m in areas else "") for m in sorted(answer.region)]
    located = chart.located(answer)
    for kind, told in (("similar", "similar"), ("dissimilar", "different")):
        count = sum(item.kind == kind for _, item, _ in located)
        if count:
            parts.append(f"{count} neighbour{'s that look' if count > 1 else ' that looks'} {told}")
    if answer.file_claim is not None and answer.file_claim.lat is not None:
        parts.append("the place that the file claims")
    return f"A globe showing {', '.join(parts)}." if parts else "A globe, with nothing on it: no place is told."


def spot(answer: Answer) -> Point | None:
    """The point to show; none where only an area may be told, whose middle would look like a finding."""
    return answer.point if answer.disclosure == Level.PRECISE else None


@lru_cache(maxsize=256)
def thumbnail(lat: float, lon: float) -> str | None:
    """The surroundings of a place from orbit, as a JPEG data URI; None without imagery."""
    frame = CloseUp(_THUMBNAIL_PX, _THUMBNAIL_PX, lat=lat, lon=lon, km_per_px=_THUMBNAIL_KM / _THUMBNAIL_PX)
    rows, columns = np.mgrid[0:_THUMBNAIL_PX, 0:_THUMBNAIL_PX] + 0.5
    return backdrop.view(*frame.latlon(columns, rows))


@lru_cache(maxsize=len(EARTH_WIDTHS))
def earth_jpeg(width: int) -> bytes | None:
    """The whole planet as a JPEG file, equirectangular; None without imagery."""
    image = backdrop.planet(width)
    return None if image is None else backdrop.jpeg(image, quality=84)


@lru_cache(maxsize=1)
def lines_file() -> bytes:
    """Coastlines and borders for the page: for each of :data:`LEVELS`, coast then borders.

    Each set is a uint32 count, the latitudes and the longitudes, int16 of 90 and 180 degrees in 32,767 steps (0.6 km),
    little-endian; the latitude -32,768 parts one line from the next.
    """
    parts = []
    for detail, smallest_km2 in LEVELS:
        for name in ("gshhs", "countries"):
            lat, lon = backdrop.lines(name, smallest_km2 if name == "gshhs" else 0.0, detail=detail)
            gap = np.isnan(lat)
            scaled = [
                np.where(gap, _GAP, np.rint(np.nan_to_num(a) / most * 32767)) for a, most in ((lat, 90), (lon, 180))
            ]
            parts += [np.uint32(lat.size).tobytes(), *(values.astype("<i2").tobytes() for values in scaled)]
    return b"".join(parts)


def _view(frame: CloseUp) -> dict[str, float]:
    half_km = frame.height / 2 * frame.km_per_px
    return {"lat": round(frame.lat, 3), "lon": round(frame.lon, 3), "half": round(min(half_km, 7600.0), 1)}


def _areas(answer: Answer) -> dict[int, Geometry]:
    """The regions, or, without cells, circles of the radii: then they are all there is to show."""
    if answer.region or answer.point is None:
        return dict(answer.region)
    circles = {}
    for mass, radius_km in (answer.radius_km or {}).items():
        lat, lon = destination(answer.point.lat, answer.point.lon, np.linspace(360, 0, 121), radius_km)
        circles[mass] = {"type": "Polygon", "coordinates": [np.stack([lon, lat], axis=-1).tolist()]}
    return circles


def _region(mass: int, geometry: Geometry) -> dict[str, Any]:
    outlines = [ring for polygon in rings(geometry) for ring in polygon]
    return {"mass": mass, "rings": [{"flat": np.round(ring, _DECIMALS).ravel().tolist()} for ring in outlines]}


def _marks(answer: Answer) -> list[dict[str, Any]]:
    """Marks from the back to the front: neighbours from the last to the first, alternatives, claim, point."""
    marks = [
        _mark(item.kind, where, item.text, _neighbour(item), number=number)
        for number, item, where in reversed(chart.located(answer))
    ]
    marks += [
        _mark("alternative", other.point, other.label, [f"could also be: {other.probability:.0%}"])
        for other in answer.alternatives
        if other.point is not None
    ]
    claim = answer.file_claim
    if claim is not None and claim.lat is not None and claim.lon is not None:
        marks.append(_mark("claim", Point(claim.lat, claim.lon), "The file claims this place", _claimed(claim)))
    point = spot(answer)
    if point is not None:
        place = answer.place or Place()
        radii = answer.radius_km or {}
        lines = [coordinates(point, radii.get(90))]
        lines += [f"{mass} % within {km(radius)}" for mass, radius in sorted(radii.items())]
        marks.append({**_mark("point", point, place.label, lines), "label": place.name or ""})
    return marks


def _mark(kind: str, where: Point, title: str, lines: list[str], *, number: int | None = None) -> dict[str, Any]:
    told = {"point": "Best single place", "similar": "Looks similar", "dissimilar": "Looks different"}.get(kind, "")
    return {
        "kind": kind,
        "lat": round(where.lat, 5),
        "lon": round(where.lon, 5),
        "title": f"{told}: {title}" if told else title,
        "lines": [title, *(line for line in lines if line)],
        "number": number,
    }


def _neighbour(item: Evidence) -> list[str]:
    words = "looks similar" if item.kind == "similar" else "looks different" if item.kind == "dissimilar" else item.kind
    likeness = f", likeness {item.similarity:.2f}" if item.similarity is not None else ""
    away = f"{km(item.distance_km)} from the answer" if item.distance_km is not None else ""
    return [words + likeness, away, item.credit or item.source or ""]


def _claimed(claim: FileClaim) -> list[str]:
    taken = f"taken {claim.taken}" if claim.taken else ""
    return [taken, f"{km(claim.distance_km)} from the answer" if claim.distance_km is not None else ""]
