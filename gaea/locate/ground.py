"""Where the pictures of a gallery come from: what is left to say of a photo when its neighbours say nothing.

The density of a gallery's places is a poor guess and a good background. A gallery of land and coasts knows no photos of
the high sea, one of a city's streets none of other cities; a mixture whose background follows its places
(:mod:`gaea.locate.neighbours`) then needs no half of the Earth to hold nine tenths of its mass.

Rows are binned into S2 cells and blurred there by a von Mises–Fisher kernel (kernel density estimation: B. Silverman,
1986; on the sphere: P. Hall, G. Watson and J. Cabrera, 1987).
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
"""Cells of 288 km: as coarse as the blur."""

BLUR_KM = 250.0
FAINT = 0.02
"""Cells with less than this share of an even density are not listed."""

_PARTS = 1_000_000


def ground(lat: ArrayLike, lon: ArrayLike, *, blur_km: float = BLUR_KM, level: int = LEVEL) -> Belief:
    """Density of places, in cells of one level.

    Args:
        lat: Degrees, (n,).
        lon: Degrees, (n,).
        blur_km: Standard deviation of the kernel along one axis.
        level: Of the cells, 0 to 8.

    Returns:
        A belief whose cells are where the density is not faint.

    Raises:
        InputError: No places, or a width or level out of range.
    """
    leaves = cells.from_latlon(lat, lon).reshape(-1)
    if not leaves.size or not blur_km > 0 or not 0 <= level <= 8:
        raise InputError(f"{leaves.size} places, {blur_km} km, level {level}: expected some, above 0, and 0 to 8")
    held, count = np.unique(cells.parent(leaves, level), return_counts=True)
    ids, centres, area_km2 = even_cells(level)
    order = np.argsort(ids)
    ids, centres, area_km2 = ids[order], centres[order], area_km2[order]
    width_km = blurred(blur_km, np.sqrt(area_km2)[:, None] * np.sqrt(2.0))  # of the cell, and of the bin
    density = kernel_per_km2(one_minus_cosine(centres, cells.centre_xyz(held)), width_km) @ (count / count.sum())
    mass = density * area_km2
    mass /= mass.sum()
    listed = mass > FAINT * area_km2 / EARTH_AREA_KM2
    return Belief.from_weights(ids[listed], mass[listed], elsewhere=float(mass[~listed].sum()))


def written(belief: Belief) -> str:
    """A ground as text: the token of each cell and its share in millionths."""
    shares = np.round(np.exp(belief.log_prob) * _PARTS).astype(int).tolist()
    listed = zip(belief.cells, shares, strict=True)
    return " ".join(f"{cells.to_token(cell)}:{share}" for cell, share in listed if share)


def read(text: str) -> Belief:
    """What :func:`written` wrote.

    Raises:
        InputError: It is nothing of the kind.
    """
    try:
        tokens, shares = zip(*(pair.split(":") for pair in text.split()), strict=True)
        mass = np.array([int(share) for share in shares]) / _PARTS
    except ValueError as error:
        raise InputError(f"expected cells and millionths such as '1c:250', not {text[:40]!r}") from error
    ids = [cells.from_token(token) for token in tokens]
    return Belief.from_weights(ids, mass, elsewhere=float(np.clip(1 - mass.sum(), 0.0, 1.0)))
