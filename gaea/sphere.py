"""Points, distances and directions on the sphere that stands for the Earth.

Coordinates are ``(lat_deg, lon_deg)`` in WGS84 degrees, distances great-circle kilometres on the mean radius.
Everything broadcasts and gives NumPy scalars for scalars. Nothing here knows the ellipsoid: against it, distances err
by up to 0.56 %. Only :func:`validate_latlon` refuses values; elsewhere NaN gives NaN, so what is missing stays missing.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaea.errors import InputError

EARTH_RADIUS_KM = 6371.0088
"""Mean Earth radius R1 of the IUGG, km."""

EARTH_AREA_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2
"""Area of the sphere of that radius, km²."""

GEOSCORE_MAX = 5000.0
"""GeoGuessr's score for a perfect guess."""

GEOSCORE_SCALE_KM = 1492.7
"""Distance at which the score has fallen to 1/e of its maximum, km."""

FloatArray: TypeAlias = npt.NDArray[np.float64]


def validate_latlon(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Turn coordinates from outside into float64 arrays of one shape, or refuse them.

    Args:
        lat_deg: Latitudes in degrees, −90 to 90.
        lon_deg: Longitudes in degrees, −180 to 180; broadcast against ``lat_deg``.

    Returns:
        Both as float64 of the common shape.

    Raises:
        InputError: A value is not a number or lies out of range, or the shapes do not fit each other.
    """
    try:
        lat, lon = np.broadcast_arrays(np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64))
    except (TypeError, ValueError) as fault:
        raise InputError(f"coordinates must be numbers of matching shapes: {fault}") from fault
    for name, values, limit in (("latitude", lat, 90.0), ("longitude", lon, 180.0)):
        bad = ~(np.abs(values) <= limit)  # written so that NaN is bad too
        if bad.any():
            raise InputError(
                f"{name} {values[bad].flat[0]} is not usable: expected degrees between {-limit:g} and {limit:g}"
            )
    return lat, lon


def normalise_lon(lon_deg: npt.ArrayLike) -> FloatArray:
    """Bring longitudes of any number of turns into [−180, 180); values already in [−180, 180] are left as they are."""
    lon = np.asarray(lon_deg, np.float64)
    wrapped: FloatArray = np.where(np.abs(lon) <= 180.0, lon, np.mod(lon + 180.0, 360.0) - 180.0)[()]
    return wrapped


def great_circle_km(
    lat1_deg: npt.ArrayLike, lon1_deg: npt.ArrayLike, lat2_deg: npt.ArrayLike, lon2_deg: npt.ArrayLike
) -> FloatArray:
    """Measure great-circle distances in km, accurate for points a millimetre apart as for antipodes.

    Args:
        lat1_deg: Latitude of the first points, degrees.
        lon1_deg: Longitude of the first points, degrees.
        lat2_deg: Latitude of the second points, degrees.
        lon2_deg: Longitude of the second points, degrees.

    Returns:
        Distances of the broadcast shape, 0 to 20015.1 km; NaN where a coordinate is NaN.

    Source:
        T. Vincenty (1975) for the sphere, with the difference of products rewritten so that nothing cancels.
    """
    lat1, lon1, lat2, lon2 = (np.radians(np.asarray(x, np.float64)) for x in (lat1_deg, lon1_deg, lat2_deg, lon2_deg))
    dlon = lon2 - lon1
    cos1, cos2, sin1 = np.cos(lat1), np.cos(lat2), np.sin(lat1)
    # cos1·sin2 − sin1·cos2·cos(dlon), as a sum of two small terms instead of a difference of large ones
    north = np.sin(lat2 - lat1) + 2 * sin1 * cos2 * np.sin(dlon / 2) ** 2
    east = cos2 * np.sin(dlon)
    along = sin1 * np.sin(lat2) + cos1 * cos2 * np.cos(dlon)
    arc: FloatArray = np.arctan2(np.hypot(north, east), along)
    return EARTH_RADIUS_KM * arc


def bearing_deg(
    lat1_deg: npt.ArrayLike, lon1_deg: npt.ArrayLike, lat2_deg: npt.ArrayLike, lon2_deg: npt.ArrayLike
) -> FloatArray:
    """Find the initial direction from the first points to the second, degrees clockwise from north in [0, 360)."""
    lat1, lon1, lat2, lon2 = (np.radians(np.asarray(x, np.float64)) for x in (lat1_deg, lon1_deg, lat2_deg, lon2_deg))
    dlon = lon2 - lon1
    north = np.sin(lat2 - lat1) + 2 * np.sin(lat1) * np.cos(lat2) * np.sin(dlon / 2) ** 2
    turn = np.mod(np.degrees(np.arctan2(np.cos(lat2) * np.sin(dlon), north)), 360.0)
    return np.where(turn == 360.0, 0.0, turn)[()]  # −1e-15 rounds up to 360 under mod


def destination(
    lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike, bearing: npt.ArrayLike, distance_km: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Walk along a great circle.

    Args:
        lat_deg: Starting latitudes, degrees.
        lon_deg: Starting longitudes, degrees.
        bearing: Initial direction, degrees clockwise from north.
        distance_km: How far to walk, km.

    Returns:
        Latitudes and longitudes reached, of the broadcast shape.
    """
    lat, lon, turn = (np.radians(np.asarray(x, np.float64)) for x in (lat_deg, lon_deg, bearing))
    arc = np.asarray(distance_km, np.float64) / EARTH_RADIUS_KM
    cos_lat, sin_lat, cos_lon, sin_lon = np.cos(lat), np.sin(lat), np.cos(lon), np.sin(lon)
    ahead, side = np.sin(arc) * np.cos(turn), np.sin(arc) * np.sin(turn)
    outward = np.cos(arc) * cos_lat - ahead * sin_lat
    xyz = (
        outward * cos_lon - side * sin_lon,
        outward * sin_lon + side * cos_lon,
        np.cos(arc) * sin_lat + ahead * cos_lat,
    )
    return from_xyz(np.stack(np.broadcast_arrays(*xyz), axis=-1))


def to_xyz(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> FloatArray:
    """Give unit vectors, shape ``(..., 3)``: x to (0, 0), y to (0, 90), z to the north pole."""
    lat, lon = np.radians(np.asarray(lat_deg, np.float64)), np.radians(np.asarray(lon_deg, np.float64))
    cos_lat = np.cos(lat)
    return np.stack(np.broadcast_arrays(cos_lat * np.cos(lon), cos_lat * np.sin(lon), np.sin(lat)), axis=-1)


def from_xyz(xyz: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Give latitudes and longitudes in degrees of vectors ``(..., 3)`` of any length but zero; inverse of `to_xyz`."""
    x, y, z = np.moveaxis(np.asarray(xyz, np.float64), -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def mean_point(
    lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Find the weighted mean of points, as the direction of their mean unit vector.

    Args:
        lat_deg: Latitudes, degrees, shape ``(n,)``.
        lon_deg: Longitudes, degrees, shape ``(n,)``.
        weights: Non-negative weights, shape ``(n,)``; equal when left out.

    Returns:
        Latitude and longitude of the mean.

    Raises:
        InputError: There are no points, or they balance each other (antipodes), so that no direction is their mean.
    """
    xyz = to_xyz(lat_deg, lon_deg).reshape(-1, 3)
    weight = np.ones(len(xyz)) if weights is None else np.asarray(weights, np.float64).reshape(-1)
    mean = weight @ xyz
    if not np.linalg.norm(mean) > 1e-12 * np.abs(weight).sum():
        raise InputError(
            f"{len(xyz)} points with these weights balance each other on the sphere and have no mean point"
        )
    lat, lon = from_xyz(mean)
    return float(lat), float(lon)


def midpoint(
    lat1_deg: npt.ArrayLike, lon1_deg: npt.ArrayLike, lat2_deg: npt.ArrayLike, lon2_deg: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Find the point halfway along the shorter great circle; for exact antipodes any of the halfway points."""
    turn = bearing_deg(lat1_deg, lon1_deg, lat2_deg, lon2_deg)
    return destination(lat1_deg, lon1_deg, turn, great_circle_km(lat1_deg, lon1_deg, lat2_deg, lon2_deg) / 2)


def cap_area_km2(radius_km: npt.ArrayLike) -> FloatArray:
    """Area in km² within a great-circle radius in km (0 to half the circumference) of a point."""
    half_arc = np.asarray(radius_km, np.float64) / (2 * EARTH_RADIUS_KM)
    return EARTH_AREA_KM2 * np.sin(np.clip(half_arc, 0.0, np.pi / 2)) ** 2


def geoscore(distance_km: npt.ArrayLike) -> FloatArray:
    """Score errors in km as GeoGuessr does on the world map: 5000·exp(−d/1492.7), 0 to 5000, not rounded."""
    return GEOSCORE_MAX * np.exp(-np.asarray(distance_km, np.float64) / GEOSCORE_SCALE_KM)
