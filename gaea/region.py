"""Regions: areas made of S2 cells that hold a share of a belief, and their shape for maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea import cellsets
from gaea.hilbert import CellArray
from gaea.outline import polygons
from gaea.sphere import EARTH_AREA_KM2


@dataclass(frozen=True, eq=False)
class Region:
    """An area of the Earth that holds a share of a belief.

    Attributes:
        cells: Cell set, uint64 ``(n,)``, with four siblings merged to their parent wherever all are in.
        mass: Probability that the belief puts in the area, 0 to 1.
        area_km2: Spherical area, km².
    """

    cells: CellArray
    mass: float
    area_km2: float

    @property
    def is_whole_earth(self) -> bool:
        """Whether nothing is left outside."""
        return bool(self.area_km2 > EARTH_AREA_KM2 * (1 - 1e-9))

    def contains(self, lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell which points in degrees lie inside, of their broadcast shape.

        Raises:
            InputError: A coordinate is out of range.
        """
        return cellsets.index_of(self.cells, s2.from_latlon(lat_deg, lon_deg)) >= 0

    def geojson(self) -> dict[str, Any]:
        """Give the outline as a GeoJSON MultiPolygon (RFC 7946).

        Positions are lon, lat in degrees. Rings are closed, shells anticlockwise and holes clockwise, split at the
        antimeridian; an area around a pole runs along ±90. Geodesic edges are followed by steps of at most a degree,
        shorter on small cells and where fine cells lie beside coarse ones.
        """
        return dict(self._geometry)

    @cached_property
    def _geometry(self) -> dict[str, Any]:
        return {"type": "MultiPolygon", "coordinates": polygons(self.cells)}
