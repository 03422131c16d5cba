"""Where a gallery has pictures at all: a locator that looks at none.

What a photo's neighbours leave open they spread evenly over the Earth, two thirds of which are sea. A photo that
belongs to the gallery's world is of a place like those that it shows: a density of its rows, pooled with the other
locators, takes what is left open off the sea, and cuts wide kernels off at coasts. Its weight is fitted with theirs
(:mod:`gaea.fusion`). It is a prior of the gallery's own, so it must not be finer than the holes between its rows: a
hole says that nobody took a picture, not that there is nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.locate.kernels import blurred, even_cells, kernel_per_km2, one_minus_cosine
from gaea.sphere import EARTH_AREA_KM2

LEVEL = 5
"""Of the cells, about 290 km wide: rows are counted in them, and the density is told by them."""

WIDTH_KM = 250.0
EVEN = 0.05


def coverage(lat: ArrayLike, lon: ArrayLike, *, width_km: float = WIDTH_KM, even: float = EVEN) -> Belief:
    """The density of a gallery's rows as a belief.

    Args:
        lat: Of the rows, degrees, (n,).
        lon: Likewise.
        width_km: Standard deviation of the kernel about each row, along one axis.
        even: Share that is spread evenly over the Earth instead: photos do come from where the gallery has none.

    Raises:
        InputError: No rows, or a share out of range.
    """
    if not np.size(lat) or not 0 < even < 1:
        raise InputError(f"coverage of {np.size(lat)} rows with an even share of {even}: expected rows, and 0 to 1")
    held, count = np.unique(cells.from_latlon(lat, lon, LEVEL), return_counts=True)
    ids, centres, area = even_cells(LEVEL)
    edge_km = np.sqrt(area)[:, None]
    density = kernel_per_km2(one_minus_cosine(centres, cells.centre_xyz(held)), blurred(width_km, edge_km)) @ count
    mass = density * area
    evenly = even * area / EARTH_AREA_KM2
    mass = (1 - even) * mass / mass.sum()
    listed = mass > evenly
    return Belief.from_weights(
        ids[listed], (mass + evenly)[listed], elsewhere=min(1.0, float((mass + evenly)[~listed].sum()))
    )
