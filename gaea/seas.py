"""Which sea or ocean a point at sea lies in, by coarse outlines.

The outlines follow the limits of the International Hydrographic Organization's S-23 to within some tens of kilometres
and ignore land, so ask only about points that are not on land. Parts of named seas without an outline of their own
count as the ocean around them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.countries import words

SOURCE = "coarse sea outlines after IHO S-23"

# Where the Pacific ends and the Atlantic begins, from Cape Horn along the Andes and Central America to the Arctic.
_AMERICAS_LAT = (-60, -56, -40, -18, -5, 7, 8.9, 9.1, 11, 15, 18, 25, 66)
_AMERICAS_LON = (-67.3, -67.3, -70.5, -67, -77, -77.2, -77.5, -80.5, -85, -88.5, -96, -103, -110)
# Where the Indian Ocean ends and the Pacific begins: Tasmania, Australia, the Sunda islands, Malaya.
_SUNDA_LAT = (-60, -38.5, -30, -9, -8.5, -6, 6, 30)
_SUNDA_LON = (146.9, 146.9, 130, 130, 115, 105.5, 100, 100)


@lru_cache(maxsize=1)
def _outlines() -> tuple[tuple[str, NDArray[np.float64]], ...]:
    return tuple((sea["name"], np.array(sea["outline"], np.float64)) for sea in words()["seas"])


def _inside(outline: NDArray[np.float64], lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd rule: a point is inside if a ray along its parallel crosses the outline an odd number of times."""
    inside = np.zeros(lat.shape, bool)
    for (lat_a, lon_a), (lat_b, lon_b) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if lat_a != lat_b:
            crossing = lon_a + (lat - lat_a) * (lon_b - lon_a) / (lat_b - lat_a)
            inside ^= ((lat_a > lat) != (lat_b > lat)) & (lon < crossing)
    return inside


def oceans(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.str_]:
    """The ocean at each point: Arctic, Atlantic, Indian, Pacific or Southern."""
    americas = np.interp(lat, _AMERICAS_LAT, _AMERICAS_LON)
    east_end = np.where(lat < 31, np.interp(lat, _SUNDA_LAT, _SUNDA_LON), 20)
    return np.select(
        [lat < -60, lat > 66, (lon > americas) & (lon < 20), (lon >= 20) & (lon < east_end), (lon > 20) & (lon < 60)],
        ["Southern Ocean", "Arctic Ocean", "Atlantic Ocean", "Indian Ocean", "Atlantic Ocean"],
        "Pacific Ocean",
    )


def sea_names(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.str_]:
    """The sea, or else the ocean, at each point at sea; meaningless for points on land.

    Args:
        lat: WGS84 degrees, any shape.
        lon: WGS84 degrees, same shape.
    """
    lat_deg, lon_deg = np.broadcast_arrays(np.asarray(lat, np.float64), np.asarray(lon, np.float64))
    names = oceans(lat_deg, lon_deg).astype("<U32")
    found = np.zeros(lat_deg.shape, bool)
    for name, outline in _outlines():
        hit = _inside(outline, lat_deg, lon_deg) & ~found
        names[hit] = name
        found |= hit
    return names
