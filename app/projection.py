"""Two ways to lay the Earth flat: the whole world, and an honest close-up.

The close-up is Lambert's azimuthal equal-area projection (Snyder, USGS PP 1395, §24): areas are true, shapes are right
around the centre, and neither poles nor the antimeridian are special, so a region is drawn as large as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaea.sphere import EARTH_RADIUS_KM

FloatArray = npt.NDArray[np.float64]

_ANTIPODE = -1 + 1e-9  # about 0.3 km around it


@dataclass(frozen=True)
class WholeWorld:
    """Equirectangular, -180 to 180 degrees from left to right."""

    width: int
    height: int

    def xy(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> FloatArray:
        """Pixels, shape (..., 2)."""
        x = (np.asarray(lon, float) + 180) / 360 * self.width
        y = (90 - np.asarray(lat, float)) / 180 * self.height
        return np.stack(np.broadcast_arrays(x, y), axis=-1)


@dataclass(frozen=True)
class CloseUp:
    """Azimuthal equal-area around a centre; ``km_per_px`` holds exactly there.

    The whole Earth is a disc of twice its radius, with the antipode of the centre as its rim.
    """

    width: int
    height: int
    lat: float
    lon: float
    km_per_px: float

    def xy(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> FloatArray:
        """Pixels, shape (..., 2); NaN at the antipode."""
        phi, lam = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float) - self.lon)
        phi_0 = np.radians(self.lat)
        cos_c = np.sin(phi_0) * np.sin(phi) + np.cos(phi_0) * np.cos(phi) * np.cos(lam)
        k = np.sqrt(2 / np.where(cos_c > _ANTIPODE, 1 + cos_c, np.nan)) * EARTH_RADIUS_KM / self.km_per_px
        x = k * np.cos(phi) * np.sin(lam)
        y = k * (np.cos(phi_0) * np.sin(phi) - np.sin(phi_0) * np.cos(phi) * np.cos(lam))
        return np.stack([self.width / 2 + x, self.height / 2 - y], axis=-1)

    @property
    def rim_px(self) -> float:
        """Radius of the disc that is the whole Earth."""
        return 2 * EARTH_RADIUS_KM / self.km_per_px

    @property
    def antipode(self) -> tuple[float, float]:
        """The one place that is drawn as a circle, degrees."""
        return -self.lat, self.lon - math.copysign(180, self.lon)

    def latlon(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Degrees of pixels; NaN outside the world's disc."""
        scale = self.km_per_px / EARTH_RADIUS_KM
        east, north = (np.asarray(x, float) - self.width / 2) * scale, (self.height / 2 - np.asarray(y, float)) * scale
        rho = np.hypot(east, north)
        c = 2 * np.arcsin(np.where(rho <= 2, rho / 2, np.nan))
        phi_0 = np.radians(self.lat)
        ratio = np.divide(np.sin(c), rho, out=np.ones_like(rho), where=rho > 1e-12)
        sin_phi = np.cos(c) * np.sin(phi_0) + north * ratio * np.cos(phi_0)
        lam = np.arctan2(east * ratio, np.cos(c) * np.cos(phi_0) - north * ratio * np.sin(phi_0))
        lon = (np.degrees(lam) + self.lon + 180) % 360 - 180
        return np.degrees(np.arcsin(np.clip(sin_phi, -1, 1))), lon


Projection = WholeWorld | CloseUp
"""Either one: pixels of a drawing ``width`` × ``height``, y downwards, from degrees by ``xy``."""
