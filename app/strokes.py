"""Lines and areas on the sphere as SVG paths: densified, clipped to the drawing, thinned to what can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gaea.app.projection import CloseUp, FloatArray, Projection, WholeWorld

_MARGIN_PX = 60
_STEPS_DEG = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45)


def rings(geometry: dict[str, Any]) -> Iterator[list[FloatArray]]:
    """Polygons of a GeoJSON Polygon or MultiPolygon: lists of rings, each of shape (N, 2), lat then lon, densified.

    GeoJSON's edges are straight in longitude and latitude (RFC 7946, 3.1.1), so long ones get points in between.
    """
    coordinates = geometry["coordinates"]
    for polygon in [coordinates] if geometry["type"] == "Polygon" else coordinates:
        yield [_densified(np.asarray(ring, float)[:, :2][:, ::-1]) for ring in polygon]


def area_path(geometry: dict[str, Any], projection: Projection) -> str:
    """Path data that fills the geometry (use ``fill-rule="evenodd"``)."""
    parts = []
    for polygon in rings(geometry):
        for ring in polygon:
            xy = projection.xy(ring[:, 0], ring[:, 1])
            xy = xy[np.isfinite(xy).all(axis=1)]
            if len(xy) > 2 and _touches(xy, projection):
                parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy) + "Z")
        if isinstance(projection, CloseUp) and _holds(polygon, *projection.antipode):
            # Drawn alone, this polygon would be its own complement: its far side is the rim of the disc.
            left, middle, r = projection.width / 2 - projection.rim_px, projection.height / 2, projection.rim_px
            parts.append(
                f"M{left:.1f} {middle:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0Z"
            )
    return "".join(parts)


def outline_path(geometry: dict[str, Any], projection: Projection) -> str:
    """Path data of the geometry's border, without the cuts that GeoJSON makes at the antimeridian and the poles."""
    parts: list[str] = []
    for polygon in rings(geometry):
        for ring in polygon:
            seam = (np.abs(np.abs(ring[:, 1]) - 180) < 1e-9) | (np.abs(np.abs(ring[:, 0]) - 90) < 1e-9)
            cuts = np.flatnonzero(seam[:-1] & seam[1:]) + 1
            parts.extend(line_path(part[:, 0], part[:, 1], projection, thin_px=0.2) for part in np.split(ring, cuts))
    return "".join(parts)


def line_path(lat: FloatArray, lon: FloatArray, projection: Projection, *, thin_px: float = 0.8) -> str:
    """Path data of lines; broken at NaN, where they leave the drawing, and where they jump across the world's edge."""
    xy = projection.xy(lat, lon)
    x, y = xy[:, 0], xy[:, 1]
    inside = (x > -_MARGIN_PX) & (x < projection.width + _MARGIN_PX)
    inside &= (y > -_MARGIN_PX) & (y < projection.height + _MARGIN_PX)
    if not inside.any():
        return ""
    near = inside | np.r_[inside[1:], False] | np.r_[False, inside[:-1]]
    near &= np.isfinite(xy).all(axis=1)
    jump = np.r_[False, np.abs(np.diff(xy, axis=0)).max(axis=1) > projection.width / 2]
    kept = np.flatnonzero(near)
    parts = []
    for points in np.split(xy[kept], np.flatnonzero((np.diff(kept) > 1) | jump[kept[1:]]) + 1):
        if len(points) > 1:
            seen = points[_spaced(points, thin_px)]
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in seen))
    return "".join(parts)


def graticule(projection: Projection) -> tuple[str, list[tuple[float, float, str, str]]]:
    """Meridians and parallels, and their labels.

    Returns:
        Path data, and ``(x, y, text, anchor)`` of each label along the lower and left edges.
    """
    paths: list[str] = []
    labels: list[tuple[float, float, str, str]] = []
    lats, lons, lat_line, lon_line = _grid(projection)
    for lon in lons:
        xy = projection.xy(lat_line, np.full_like(lat_line, lon))
        paths.append(line_path(lat_line, np.full_like(lat_line, lon), projection))
        labels += [
            (x, projection.height - 8, _degrees(lon, "EW"), "middle") for x in _crossings(xy, 1, projection.height)
        ]
    for lat in lats:
        xy = projection.xy(np.full_like(lon_line, lat), lon_line)
        paths.append(line_path(np.full_like(lon_line, lat), lon_line, projection))
        labels += [(8.0, y - 4, _degrees(lat, "NS"), "start") for y in _crossings(xy, 0, 0.0)]
    room = (30, projection.width - 30, 20, projection.height - 4)
    fits = [at for at in labels if (at[3] == "start" or room[0] < at[0] < room[1]) and room[2] < at[1] < room[3]]
    # The lower left corner belongs to the scale bar.
    return "".join(paths), [at for at in fits if not (at[0] < 210 and at[1] > projection.height - 50)]


def _grid(projection: Projection) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    if isinstance(projection, WholeWorld):
        return np.arange(-60, 61, 30.0), np.arange(-150, 151, 30.0), np.array([-90, 90.0]), np.array([-180, 180.0])
    high = projection.height * projection.km_per_px / 111.2
    reach = min(89.0, math.hypot(projection.width, projection.height) / 2 * projection.km_per_px / 111.2 * 1.1)
    steep = abs(projection.lat) + reach
    span = 180.0 if steep >= 85 else min(180.0, reach / math.cos(math.radians(steep)))
    step = _step(high, 5)
    lon_step = max(step, _step(2 * span, 16))
    lats = np.arange(math.ceil(max(-90 + step, projection.lat - reach) / step), 90 / step) * step
    lats = lats[lats <= min(89.9, projection.lat + reach)]
    first = math.ceil((projection.lon - span) / lon_step)
    lons = np.arange(first, (projection.lon + span) / lon_step) * lon_step
    lat_line = np.linspace(max(-90, projection.lat - reach), min(90, projection.lat + reach), 181)
    return lats, lons, lat_line, projection.lon + np.linspace(-span, span, 361)


def _step(extent_deg: float, most: int) -> float:
    return next((step for step in _STEPS_DEG if extent_deg / step <= most), _STEPS_DEG[-1])


def _crossings(xy: FloatArray, axis: int, edge: float) -> Iterable[float]:
    """Where a line crosses the edge ``x = edge`` (axis 0) or ``y = edge`` (axis 1), along the other axis."""
    here, there = xy[:-1], xy[1:]
    with np.errstate(invalid="ignore"):
        hit = (here[:, axis] - edge) * (there[:, axis] - edge) <= 0
    for a, b in zip(here[hit], there[hit], strict=True):
        share = 0.0 if a[axis] == b[axis] else (edge - a[axis]) / (b[axis] - a[axis])
        yield float(a[1 - axis] + share * (b[1 - axis] - a[1 - axis]))


def _degrees(value: float, sides: str) -> str:
    value = (value + 180) % 360 - 180 if sides == "EW" else value
    side = "" if value in (0, -180) else sides[0] if value > 0 else sides[1]
    return f"{abs(round(value, 4)):g}°{side}"


def _densified(ring: FloatArray) -> FloatArray:
    length = np.abs(np.diff(ring, axis=0)).max(axis=1)
    pieces = [
        np.linspace(a, b, max(1, math.ceil(size)), endpoint=False)
        for a, b, size in zip(ring[:-1], ring[1:], length, strict=True)
    ]
    return np.concatenate([*pieces, ring[-1:]])


def _holds(polygon: list[FloatArray], lat: float, lon: float) -> bool:
    inside = False
    for ring in polygon:
        (lat_a, lon_a), (lat_b, lon_b) = ring[:-1].T, ring[1:].T
        crossed = (lat_a > lat) != (lat_b > lat)
        at = lon_a[crossed] + (lat - lat_a[crossed]) / (lat_b - lat_a)[crossed] * (lon_b - lon_a)[crossed]
        inside ^= bool((at > lon).sum() % 2)
    return inside


def _touches(xy: FloatArray, projection: Projection) -> bool:
    low, high = xy.min(axis=0), xy.max(axis=0)
    return bool((high > 0).all() and (low < (projection.width, projection.height)).all())


def _spaced(xy: FloatArray, gap_px: float) -> npt.NDArray[np.bool_]:
    # Dropping points that stay within a fraction of a pixel of the last kept one; the ends always stay.
    snapped = np.round(xy / gap_px)
    keep: npt.NDArray[np.bool_] = np.r_[True, (np.diff(snapped, axis=0) != 0).any(axis=1)]
    keep[-1] = True
    return keep
