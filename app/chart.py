"""An answer drawn as SVG: a close-up of its region, and where that lies in the world.

Both drawings are complete without a script and without a network. Everything that came from outside is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

import numpy as np

from gaea.answer import Answer, Evidence, Place, Point
from gaea.app import backdrop
from gaea.app.projection import CloseUp, FloatArray, Projection, WholeWorld
from gaea.app.strokes import area_path, graticule, line_path, outline_path, rings
from gaea.sphere import EARTH_RADIUS_KM, destination, from_xyz, to_xyz

_CLOSE_PX = (960, 640)
_WORLD_PX = (960, 480)
_IMAGERY_PX = 1200
_NEAREST_HALF_HEIGHT_KM = 110.0  # closer, the backdrop would be mush: 7 km per pixel
_WIDEST_RADIUS_DEG = 60.0
_KM_PER_DEG = math.pi * EARTH_RADIUS_KM / 180


def close_up(answer: Answer) -> CloseUp | None:
    """The frame that holds the 90 % region; the 50 % region or the point's surroundings where that is half the world.

    None where there is nothing to frame.
    """
    for mass in (90, 50):
        if mass in answer.region:
            centre, radius_deg = _smallest_cap(answer, mass)
            if radius_deg <= _WIDEST_RADIUS_DEG:
                return _framed(centre, radius_deg)
    if answer.point is None:
        return None
    radius_km = min((answer.radius_km or {}).get(90, 0.0), 2000.0)
    return _framed((answer.point.lat, answer.point.lon), radius_km / _KM_PER_DEG)


def draw_close_up(answer: Answer, projection: CloseUp) -> str:
    """SVG of the close-up: imagery, coastlines, graticule, regions, neighbours, scale bar."""
    rows, columns = np.mgrid[0 : projection.height, 0 : projection.width]
    imagery = backdrop.view(*projection.latlon(columns + 0.5, rows + 0.5))
    smallest_km2 = (3 * projection.km_per_px) ** 2
    coast = line_path(*backdrop.lines("gshhs", smallest_km2), projection)
    borders = line_path(*backdrop.lines("countries"), projection)
    layers = [
        _imagery(imagery, projection),
        f'<path class="coast" d="{coast}"/>',
        f'<path class="border" d="{borders}"/>',
        *_graticule(projection),
        *_regions(answer, projection),
        *_markers(answer, projection),
        _scale_bar(projection),
    ]
    return _svg("close", "Close-up of the region", projection, layers)


def draw_world(answer: Answer, frame: CloseUp | None) -> str:
    """SVG of the whole planet: the same things, and the outline of the close-up."""
    projection = WholeWorld(*_WORLD_PX)
    layers = [
        _imagery(backdrop.world(_IMAGERY_PX), projection),
        *_graticule(projection),
        *_regions(answer, projection),
    ]
    if frame is not None and math.hypot(frame.width, frame.height) / 2 < frame.rim_px * math.sqrt(0.5):
        # Wider than a hemisphere, the outline would only confuse.
        layers.append(f'<path class="frame" d="{line_path(*_frame_edge(frame), projection)}"/>')
    layers += _markers(answer, projection)
    return _svg("world", "Where that lies in the world", projection, layers)


def located(answer: Answer) -> list[tuple[int, Evidence, Point]]:
    """Evidence that has a place, with the number it carries on the maps and in the table."""
    return [
        (number, item, Point(item.lat, item.lon))
        for number, item in enumerate(answer.evidence, 1)
        if item.lat is not None and item.lon is not None
    ]


def _smallest_cap(answer: Answer, mass: int) -> tuple[tuple[float, float], float]:
    # Badoiu and Clarkson's core-set iteration, on the sphere: step towards the farthest corner, ever more gently.
    corners = np.concatenate([ring for polygon in rings(answer.region[mass]) for ring in polygon])
    if answer.point is not None:
        corners = np.vstack([corners, [answer.point.lat, answer.point.lon]])
    xyz = to_xyz(corners[:, 0], corners[:, 1])
    centre = xyz[-1]
    for step in range(2, 80):
        centre = centre + (xyz[np.argmin(xyz @ centre)] - centre) / step
        centre /= np.linalg.norm(centre)
    lat, lon = from_xyz(centre)
    return (float(lat), float(lon)), float(np.degrees(np.arccos(np.clip((xyz @ centre).min(), -1, 1))))


def _framed(centre: tuple[float, float], radius_deg: float) -> CloseUp:
    # Radius as the projection draws it; a fifth more leaves room for labels.
    drawn_km = 2 * EARTH_RADIUS_KM * math.sin(math.radians(radius_deg) / 2)
    half_height_km = max(1.2 * drawn_km, _NEAREST_HALF_HEIGHT_KM)
    return CloseUp(*_CLOSE_PX, lat=centre[0], lon=centre[1], km_per_px=2 * half_height_km / _CLOSE_PX[1])


def _frame_edge(frame: CloseUp) -> tuple[FloatArray, FloatArray]:
    across, down = np.linspace(0, frame.width, 60), np.linspace(0, frame.height, 40)
    x = np.r_[across, np.full(40, frame.width), across[::-1], np.zeros(40)]
    y = np.r_[np.zeros(60), down, np.full(60, frame.height), down[::-1]]
    return frame.latlon(x, y)


def _svg(name: str, title: str, projection: Projection, layers: list[str]) -> str:
    size = f"0 0 {projection.width} {projection.height}"
    body = "\n".join(layer for layer in layers if layer)
    return f'<svg class="map {name}" viewBox="{size}" role="img" aria-label="{escape(title)}">\n{body}\n</svg>'


def _imagery(uri: str | None, projection: Projection) -> str:
    size = f'width="{projection.width}" height="{projection.height}"'
    if uri is None:
        return f'<rect class="sea" {size}/>'
    return f'<image href="{uri}" {size} preserveAspectRatio="none"/>'


def _graticule(projection: Projection) -> Iterator[str]:
    path, labels = graticule(projection)
    yield f'<path class="graticule" d="{path}"/>'
    for x, y, text, anchor in labels:
        yield f'<text class="tick" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _regions(answer: Answer, projection: Projection) -> Iterator[str]:
    if not answer.region and answer.point is not None:
        # Without cells, the radii are all there is to show.
        for mass, radius_km in (answer.radius_km or {}).items():
            ring = destination(answer.point.lat, answer.point.lon, np.linspace(0, 360, 181), radius_km)
            yield f'<path class="edge m{mass}" d="{line_path(*ring, projection)}"/>'
    for mass in sorted(answer.region, reverse=True):
        geometry = answer.region[mass]
        yield f'<path class="area m{mass}" fill-rule="evenodd" d="{area_path(geometry, projection)}"/>'
        yield f'<path class="edge m{mass}" d="{outline_path(geometry, projection)}"/>'


def _markers(answer: Answer, projection: Projection) -> Iterator[str]:
    for number, item, where in reversed(located(answer)):
        yield _marker(projection, where, item.kind, glyph_of(item.kind, number), title=item.text)
    for other in answer.alternatives:
        if other.point is not None:
            title = f"{other.label}: {other.probability:.0%}"
            yield _marker(projection, other.point, "alternative", glyph_of("alternative"), title=title)
    claim = answer.file_claim
    if claim is not None and claim.lat is not None and claim.lon is not None:
        where = Point(claim.lat, claim.lon)
        yield _marker(projection, where, "claim", glyph_of("claim"), title="The file claims this place")
    if answer.point is not None:
        place = answer.place or Place()
        yield _marker(projection, answer.point, "point", glyph_of("point"), title=place.label, label=place.name)


def glyph_of(kind: str, number: int | None = None) -> str:
    """The mark of a kind around the origin, about 20 px wide; shapes differ, so that colour is not needed to tell."""
    text = f'<text class="number" y="3.6">{number}</text>' if number is not None else ""
    shapes = {
        "point": '<circle class="halo" r="13"/><circle class="dot" r="7"/>',
        "claim": '<path class="dot" d="M0-11 9 0 0 11-9 0Z"/>',
        "alternative": '<path class="dot" d="M0-8 8 6-8 6Z"/>',
        "dissimilar": f'<rect class="dot" x="-8" y="-8" width="16" height="16" rx="2"/>{text}',
    }
    return shapes.get(kind, f'<circle class="dot" r="8.5"/>{text}')


def _marker(
    projection: Projection, where: Point, kind: str, glyph: str, *, title: str, label: str | None = None
) -> str:
    x, y = projection.xy(where.lat, where.lon)
    if not (-10 < x < projection.width + 10 and -10 < y < projection.height + 10):
        return ""
    words = ""
    if label:
        anchor, at = ("end", -18) if x > 0.72 * projection.width else ("start", 18)
        words = f'<text class="label" x="{at}" y="5" text-anchor="{anchor}">{escape(label)}</text>'
    return (
        f'<g class="mark {kind}" transform="translate({x:.1f} {y:.1f})"><g class="glyph">'
        f"<title>{escape(title)}</title>{glyph}{words}</g></g>"
    )


def _scale_bar(projection: CloseUp) -> str:
    most_km = 180 * projection.km_per_px
    power = 10 ** math.floor(math.log10(most_km))
    length_km = max(step * power for step in (1, 2, 5) if step * power <= most_km)
    x, y = 24, projection.height - 22
    end = x + length_km / projection.km_per_px
    return (
        f'<g class="scale"><path d="M{x} {y - 6}V{y}H{end:.1f}V{y - 6}"/>'
        f'<text x="{x + 6}" y="{y - 7}">{length_km:,g} km</text></g>'
    )
