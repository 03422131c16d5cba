"""Expectations over beliefs: a belief as weighted points, and the point that is best in expectation.

A cell of a belief is a patch of even density. Patches that matter are divided until a point at each centre stands for
them, so that a belief of one face of the cube is a cloud of points and not a single one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from gaea import cells as s2
from gaea import sphere
from gaea.errors import InputError
from gaea.hilbert import MAX_LEVEL, CellArray, IntArray, leaf_of_xyz
from gaea.sphere import FloatArray

Loss: TypeAlias = Literal["median", "geoscore", "hit", "near"]

_FINEST_KM = 1e-3  # no use in dividing where mass times width is below a metre
_WIDEST_DIAGONAL_KM = 2.4386546 * sphere.EARTH_RADIUS_KM  # S2's kMaxDiag at level 0; halves from level to level
_MODES_PER_LEVEL = 3
_SEARCHED = 3  # candidates refined by local search
_SEARCH_STOPS_KM = 0.01
_MOST_POINTS = 8192  # in the search for a point of least loss


def quadrature(cells: CellArray, masses: FloatArray, *, extra_points: int = 2048) -> tuple[FloatArray, FloatArray]:
    """Stand points in for cells, dividing first where much mass lies on a wide cell.

    Args:
        cells: Cell set, ``(n,)``.
        masses: Mass of each cell, ``(n,)`` or several kinds of it ``(n, k)``; the first kind decides what is divided.
        extra_points: Points that may be spent beyond one per cell.

    Returns:
        Unit vectors ``(m, 3)`` and masses ``(m,)`` or ``(m, k)`` with the sums of those given.
    """
    room = extra_points
    while room >= 3 and cells.size:
        level = s2.level(cells)
        first = masses if masses.ndim == 1 else masses[:, 0]
        spread = np.where(level < MAX_LEVEL, np.abs(first) * np.exp2(-level) * s2.mean_edge_km(0), 0.0)
        if spread.max() < _FINEST_KM:
            break
        wide = np.flatnonzero(spread >= spread.max() / 4)
        wide = wide[np.argsort(-spread[wide], kind="stable")][: room // 3]
        children, shares = divide(cells[wide], masses[wide])
        cells = np.concatenate([np.delete(cells, wide), children])
        masses = np.concatenate([np.delete(masses, wide, axis=0), shares])
        room -= 3 * wide.size
    return s2.centre_xyz(cells), masses


def divide(cells: CellArray, masses: FloatArray) -> tuple[CellArray, FloatArray]:
    """Replace cells ``(n,)`` by their children ``(4n,)``, which share the masses ``(n,)`` or ``(n, k)`` by area."""
    children = s2.children(cells)
    areas = s2.area_km2(children)
    share = (areas / areas.sum(axis=-1, keepdims=True)).reshape(-1)
    parts = np.repeat(masses, 4, axis=0)
    return children.reshape(-1), parts * (share if parts.ndim == 1 else share[:, None])


def expected_loss(
    places: FloatArray, points: FloatArray, masses: FloatArray, loss: Loss, radius_km: float
) -> FloatArray:
    """Give the expected losses ``(c,)`` of answering places ``(c, 3)`` where the truth is one of points ``(m, 3)``.

    The losses are great-circle km (``median``: its minimiser is the geometric median), 5000 less the GeoScore
    (``geoscore``), missing by more than ``radius_km`` (``hit``), and 1 − exp(−distance / ``radius_km``) (``near``), a
    hit without an edge: it asks for the place where most mass is close by, and within that for its middle.
    """
    losses = np.empty(len(places))
    rows = max(1, (1 << 18) // max(len(points), 1))
    for start in range(0, len(places), rows):
        cosine = np.clip(places[start : start + rows] @ points.T, -1.0, 1.0)
        if loss == "hit":
            value = (cosine < np.cos(radius_km / sphere.EARTH_RADIUS_KM)).astype(np.float64)
        else:
            value = sphere.EARTH_RADIUS_KM * np.arccos(cosine)
            if loss == "geoscore":
                value = sphere.GEOSCORE_MAX - sphere.geoscore(value)
            elif loss == "near":
                value = -np.expm1(-value / radius_km)
        losses[start : start + rows] = value @ masses
    return losses


def least_loss_point(cells: CellArray, masses: FloatArray, *, loss: Loss, radius_km: float) -> tuple[float, float]:
    """Find the place of least expected loss, for a belief with ``masses`` (net of the even rest) on a cell set.

    Candidates are the heaviest cells and, at each second level, the centroids of the heaviest parents, so that the mode
    of every scale is tried. The best few are then moved by a pattern search down to steps of ten metres. Without any
    mass all places are as good, and (0, 0) is given.

    Raises:
        InputError: The loss is not known, or its radius not positive.
    """
    if loss not in get_args(Loss) or not radius_km > 0:
        known = ", ".join(map(repr, get_args(Loss)))
        raise InputError(f"loss {loss!r} with radius {radius_km} km: expected one of {known}, and a radius > 0")
    if not np.abs(masses).sum() > 1e-9:
        return 0.0, 0.0
    places = _modes(cells, masses)
    points, weights = _thinned(*quadrature(cells, masses))
    places = np.concatenate([places, points[np.argsort(-weights, kind="stable")[:32]]])
    if loss in ("hit", "near"):
        places = np.concatenate([places, _local_means(places, points, weights, radius_km)])
    losses = expected_loss(places, points, weights, loss, radius_km)
    best, best_loss = places[0], np.inf
    for index in np.argsort(losses, kind="stable")[:_SEARCHED]:
        place, value = _descend(places[index], float(losses[index]), points, weights, loss=loss, radius_km=radius_km)
        if value < best_loss:
            best, best_loss = place, value
    lat, lon = sphere.from_xyz(best)
    return float(lat), float(lon)


def _modes(cells: CellArray, masses: FloatArray) -> FloatArray:
    """Unit vectors of the heaviest cells and of the centroids of the heaviest parents at each scale."""
    centres, level = s2.centre_xyz(cells), s2.level(cells)
    places = [centres[np.argsort(-masses, kind="stable")[:64]], _unit((masses @ centres)[None])]
    for scale in range(0, int(level.max()), 2):
        finer = np.flatnonzero(level > scale)
        group = np.unique(s2.parent(cells[finer], scale), return_inverse=True)[1]
        heaviest = np.argsort(-_sums(group, masses[finer]), kind="stable")[:_MODES_PER_LEVEL]
        places.append(_unit(_sums(group, masses[finer, None] * centres[finer])[heaviest]))
    return np.concatenate(places)


def _unit(xyz: FloatArray) -> FloatArray:
    length = np.linalg.norm(xyz, axis=-1, keepdims=True)
    usable = length[:, 0] > 1e-12  # masses that balance each other on the sphere have no centroid
    unit: FloatArray = xyz[usable] / length[usable]
    return unit


def _sums(group: IntArray, values: FloatArray) -> FloatArray:
    """Add up values ``(n,)`` or ``(n, k)`` by group, 0 to g − 1; gives ``(g,)`` or ``(g, k)``."""
    if values.ndim == 1:
        return np.bincount(group, values).astype(np.float64)
    return np.stack([np.bincount(group, column) for column in values.T], axis=-1)


def _thinned(points: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Merge the lighter of very many points into centroids of the finest cells of one level that are few enough."""
    if len(points) <= _MOST_POINTS:
        return points, weights
    order = np.argsort(-weights, kind="stable")
    heavy, light = order[: _MOST_POINTS // 2], order[_MOST_POINTS // 2 :]
    leaves = leaf_of_xyz(points[light])
    for scale in range(14, -1, -2):
        cells, group = np.unique(s2.parent(leaves, scale), return_inverse=True)
        if cells.size <= _MOST_POINTS // 2:
            break
    # Something even where there is no weight, but so much that its square can still be told from nothing.
    centroids = _sums(group, (np.abs(weights[light]) + 1e-100)[:, None] * points[light])
    centroids /= np.linalg.norm(centroids, axis=-1, keepdims=True)
    return (
        np.concatenate([points[heavy], centroids]),
        np.concatenate([weights[heavy], _sums(group, weights[light])]),
    )


def _local_means(places: FloatArray, points: FloatArray, weights: FloatArray, radius_km: float) -> FloatArray:
    """Move places to the mean of the mass within the radius, as mean shift does, twice."""
    for _ in range(2):
        near = (places @ points.T >= np.cos(radius_km / sphere.EARTH_RADIUS_KM)).astype(np.float64)
        places = _unit(near @ (weights[:, None] * points))
    return places


def _descend(
    place: FloatArray, value: float, points: FloatArray, weights: FloatArray, *, loss: Loss, radius_km: float
) -> tuple[FloatArray, float]:
    """Walk to better places among eight around, halving the step where none is better."""
    step_km = 0.5 * radius_km if loss == "hit" else 500.0
    compass = np.arange(0.0, 360.0, 45.0)
    while step_km > _SEARCH_STOPS_KM:
        around = sphere.to_xyz(*sphere.destination(*sphere.from_xyz(place), compass, step_km))
        losses = expected_loss(around, points, weights, loss, radius_km)
        best = int(np.argmin(losses))
        if losses[best] < value - 1e-9 * abs(value):
            place, value = around[best], float(losses[best])
        else:
            step_km /= 4 if loss == "hit" else 2
    return place, value


def mass_within(
    cells: CellArray, masses: FloatArray, *, lat_deg: float, lon_deg: float, radius_km: float, tolerance: float = 1e-4
) -> float:
    """Add up the mass within a distance of one point, dividing the cells on the rim.

    Args:
        cells: Cell set, ``(n,)``.
        masses: Mass of each cell, ``(n,)``.
        lat_deg: Latitude of the point, degrees.
        lon_deg: Longitude of the point, degrees.
        radius_km: Distance, km.
        tolerance: Mass on the rim below which no cell is divided further; cells then count by their centres.

    Returns:
        The mass.
    """
    total, room = 0.0, 4 * _MOST_POINTS
    while cells.size:
        centre_km = sphere.great_circle_km(*s2.to_latlon(cells), lat_deg, lon_deg)
        reach_km = _WIDEST_DIAGONAL_KM * np.exp2(-s2.level(cells))
        total += float(masses[centre_km + reach_km <= radius_km].sum())
        rim = np.abs(centre_km - radius_km) < reach_km
        cells, masses, centre_km = cells[rim], masses[rim], centre_km[rim]
        near, far = s2.distance_range_km(cells, lat_deg, lon_deg)
        total += float(masses[far <= radius_km].sum())
        rim = (near <= radius_km) & (far > radius_km)
        cells, masses, centre_km = cells[rim], masses[rim], centre_km[rim]
        room -= 4 * cells.size
        if np.abs(masses).sum() < tolerance or room < 0 or np.any(s2.level(cells) == MAX_LEVEL):
            return total + float(masses[centre_km <= radius_km].sum())
        cells, masses = divide(cells, masses)
    return total


def radius_of_mass(
    points: FloatArray, masses: FloatArray, even_density: float, *, centre: FloatArray, mass: float
) -> float:
    """Find the distance from a place within which a mass lies.

    Args:
        points: Unit vectors, ``(m, 3)``.
        masses: Mass at each point beyond the even density, ``(m,)``.
        even_density: Mass per km² spread over the whole Earth.
        centre: Unit vector of the place, ``(3,)``.
        mass: How much is to be held, above 0 and up to 1.

    Returns:
        Distance in km.
    """
    chord = np.linalg.norm(points - centre, axis=-1)
    distance = sphere.EARTH_RADIUS_KM * 2 * np.arcsin(np.minimum(chord / 2, 1.0))
    order = np.argsort(distance, kind="stable")
    edge = np.append(distance[order], np.pi * sphere.EARTH_RADIUS_KM)
    before = np.append(0.0, np.cumsum(masses[order]))  # mass of the points nearer than each edge
    held = np.append(before[1:], before[-1]) + even_density * sphere.cap_area_km2(edge)
    first = int(np.argmax(held >= min(mass, held[-1]) - 1e-12))
    if even_density <= 0:
        return float(edge[first])
    # The even density fills up between points, and may do so before the next one is reached.
    cap = (mass - before[first]) / even_density / sphere.EARTH_AREA_KM2
    filled = 2 * sphere.EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(cap, 0.0, 1.0)))
    return float(min(edge[first], max(filled, edge[first - 1] if first else 0.0)))
