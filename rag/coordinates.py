"""Whether coordinates can be believed, one pair at a time and as a whole set.

A pair is refused for what is wrong with it alone. What is wrong with a set shows only against the map: photographs are
taken on land, so a set that lies on land far more often with latitude and longitude exchanged, or with one sign turned,
was probably written that way. That is reported with its numbers and never repaired here, because only the user knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import InputError
from gaea.places import country_codes
from gaea.sphere import great_circle_km

FloatArray: TypeAlias = NDArray[np.float64]

REASONS = (
    "",
    "missing",
    "not a number",
    "latitude out of range",
    "longitude out of range",
    "out of range, likely swapped",
    "Null Island",
)
"""Everything :func:`check` can say; the texts do not change with the values, so that they can be counted."""

NULL_ISLAND_KM = 0.1
"""So near to 0, 0 there is a buoy and nothing to photograph: it is where missing positions end up."""

_SURVEYED = 100_000  # points looked up on the map; more tell no more
_ALTERNATIVES = ("as given", "swapped", "longitude negated", "latitude negated")
_SIGMAS = 4.0
_SPOT_DEG = 1e-5  # about a metre


@dataclass(frozen=True)
class CoordinateSurvey:
    """What a whole set of coordinates looks like.

    Attributes:
        n: Pairs in all.
        usable: Pairs that :func:`check` lets pass.
        problems: How many pairs have each of :data:`REASONS`, those that occur.
        land_share: Share on land, at most 5 km off shore, among pairs that are numbers: as given, swapped, with the
            longitude negated, with the latitude negated. A pair out of range is not on land.
        looked_up: How many pairs those shares were measured on.
        spots: The most repeated positions, at least two pictures each: latitude, longitude, how many.
        whole_degrees: Pairs without a fraction in either coordinate.
        suspicions: One line each on what the set as a whole looks like; empty where nothing is odd.
    """

    n: int
    usable: int
    problems: Mapping[str, int]
    land_share: Mapping[str, float]
    looked_up: int
    spots: tuple[tuple[float, float, int], ...]
    whole_degrees: int
    suspicions: tuple[str, ...]


def check(lat: float | None, lon: float | None) -> str:
    """Why a pair cannot be used, one of :data:`REASONS`; empty where it can.

    Args:
        lat: Degrees north, None where there is none.
        lon: Degrees east, None where there is none.
    """
    if lat is None or lon is None:
        return "missing"
    return REASONS[int(_faults(np.array(lat, np.float64), np.array(lon, np.float64)))]


def survey(lat: ArrayLike, lon: ArrayLike) -> CoordinateSurvey:
    """Look at a whole set of coordinates, shape (n,); None stands for a missing one.

    A set looks swapped or turned when, of the pairs that lie on land in only one of the two readings, the other reading
    has more by four standard deviations (McNemar's test) and by a tenth of the set.

    Raises:
        InputError: Different lengths, or something that is no number.
    """
    north, east, missing = _columns(lat, lon)
    fault = np.where(missing, REASONS.index("missing"), _faults(north, east))
    counts = np.bincount(fault, minlength=len(REASONS))
    usable = fault == 0

    numbers = np.flatnonzero(np.isfinite(north) & np.isfinite(east) & (fault != REASONS.index("Null Island")))
    sample = numbers[:: max(1, math.ceil(len(numbers) / _SURVEYED))]
    land = _on_land(north[sample], east[sample])
    spots = _spots(north[usable], east[usable])
    whole = int((usable & (north == np.round(north)) & (east == np.round(east))).sum())
    return CoordinateSurvey(
        n=len(north),
        usable=int(usable.sum()),
        problems={reason: int(count) for reason, count in zip(REASONS[1:], counts[1:], strict=True) if count},
        land_share={name: float(on.mean()) if len(on) else math.nan for name, on in land.items()},
        looked_up=len(sample),
        spots=spots,
        whole_degrees=whole,
        suspicions=(*_misread(land), *_defaults(int(usable.sum()), spots, whole)),
    )


def _columns(lat: ArrayLike, lon: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Both as float64, and where one of them is None."""
    north, east = np.atleast_1d(np.asarray(lat)), np.atleast_1d(np.asarray(lon))
    if north.ndim != 1 or north.shape != east.shape:
        raise InputError(f"latitudes of shape {north.shape}, longitudes {east.shape}: expected two columns of a length")
    missing = np.zeros(north.shape, bool)
    for column in (north, east):
        if column.dtype == object:  # only then can there be None
            missing |= np.array([value is None for value in column], bool)
    try:
        return north.astype(np.float64), east.astype(np.float64), missing
    except (TypeError, ValueError) as error:
        raise InputError(f"coordinates must be numbers or None: {error}") from error


def _faults(lat: FloatArray, lon: FloatArray) -> NDArray[np.intp]:
    """Index into :data:`REASONS`, shape of the input."""
    out_lat, out_lon = np.abs(lat) > 90, np.abs(lon) > 180
    finite = np.isfinite(lat) & np.isfinite(lon)
    swapped = out_lat & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)
    # Clipped only so that pairs out of range, which have their own reason, do not stop the distance.
    near = great_circle_km(np.clip(np.nan_to_num(lat), -90, 90), np.clip(np.nan_to_num(lon), -180, 180), 0.0, 0.0)
    faults = [~finite, swapped, out_lat, out_lon, near <= NULL_ISLAND_KM]
    names = [REASONS[2], REASONS[5], REASONS[3], REASONS[4], REASONS[6]]
    return np.select(faults, [REASONS.index(name) for name in names], 0).astype(np.intp)


def _on_land(lat: FloatArray, lon: FloatArray) -> dict[str, NDArray[np.bool_]]:
    readings = zip(_ALTERNATIVES, ((lat, lon), (lon, lat), (lat, -lon), (-lat, lon)), strict=True)
    land = {}
    for name, (north, east) in readings:
        valid = (np.abs(north) <= 90) & (np.abs(east) <= 180)
        land[name] = np.zeros(len(lat), bool)
        if valid.any():
            land[name][valid] = country_codes(north[valid], east[valid]) != ""
    return land


def _misread(land: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    given, n = land["as given"], len(land["as given"])
    gains = {}
    for name in _ALTERNATIVES[1:]:
        better, worse = int((land[name] & ~given).sum()), int((given & ~land[name]).sum())
        if better - worse >= max(0.1 * n, _SIGMAS * math.sqrt(better + worse)) and better > worse:
            gains[name] = better - worse
    if not gains:
        return []
    best = max(gains, key=lambda name: gains[name])
    how = {"swapped": "latitude and longitude look swapped", "longitude negated": "longitudes seem to lack their sign"}
    return [
        f"{how.get(best, 'latitudes seem to have the wrong sign')}: {given.mean():.0%} of {n:,} positions are on land "
        f"as given, {land[best].mean():.0%} {best}"
    ]


def _spots(lat: FloatArray, lon: FloatArray) -> tuple[tuple[float, float, int], ...]:
    if not len(lat):
        return ()
    cells = np.round(np.stack([lat, lon], axis=1) / _SPOT_DEG).astype(np.int64)
    # One number per spot: sorting pairs is ten times slower.
    _, first, count = np.unique(cells[:, 0] * 40_000_000 + cells[:, 1], return_index=True, return_counts=True)
    best = np.argsort(-count, kind="stable")[:5]
    return tuple((float(lat[first[row]]), float(lon[first[row]]), int(count[row])) for row in best if count[row] > 1)


def _defaults(n: int, spots: tuple[tuple[float, float, int], ...], whole: int) -> list[str]:
    said = []
    if spots and spots[0][2] >= max(10, 0.01 * n):
        lat, lon, count = spots[0]
        said.append(
            f"{count:,} of {n:,} positions are on one spot ({lat:.5f}, {lon:.5f}): perhaps a default and no measurement"
        )
    if whole >= max(10, 0.05 * n):
        said.append(f"{whole:,} of {n:,} positions are whole degrees: perhaps rounded, up to 78 km off")
    return said
