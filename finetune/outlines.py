"""Which outlines come near a point, and where each of them comes nearest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KM_PER_DEGREE = 111.1949266  # of latitude, on the sphere of R = 6371.0088 km


@dataclass(frozen=True, eq=False)
class SegmentIndex:
    """Outlines as straight pieces in an R-tree, so that the nearest point of each outline is found exactly.

    Pieces are taken as straight in a plane that is flat around the query: over 1 km that errs by centimetres.

    Attributes:
        ends: (S, 4) float64: lat, lon of the start and of the end of each piece, degrees; equal for points.
        owner: (S,) outline of each piece.
        tree: STRtree of the pieces.
        areas: STRtree of the outlines that are areas, and ``area_owner`` whose they are.
    """

    ends: NDArray[np.float64]
    owner: NDArray[np.intp]
    tree: Any
    areas: Any
    area_owner: NDArray[np.intp]

    @classmethod
    def build(cls, outlines: Iterable[Any]) -> SegmentIndex:
        """Cut outlines into pieces; O(vertices)."""
        import shapely

        shapes = np.array(list(outlines), object)
        parts, of_shape = shapely.get_parts(shapes, return_index=True)
        area = shapely.get_type_id(parts) == 3
        rings, of_part = shapely.get_rings(parts[area], return_index=True)
        lines = np.concatenate([rings, parts[~area]])
        line_owner = np.concatenate([of_shape[area][of_part], of_shape[~area]]).astype(np.intp)
        xy, of_line = shapely.get_coordinates(lines, return_index=True)
        joined = of_line[:-1] == of_line[1:]
        alone = np.bincount(of_line, minlength=len(lines))[of_line] == 1
        start = np.concatenate([xy[:-1][joined], xy[alone]])[:, ::-1]
        end = np.concatenate([xy[1:][joined], xy[alone]])[:, ::-1]
        owner = line_owner[np.concatenate([of_line[:-1][joined], of_line[alone]])]
        low, high = np.minimum(start, end), np.maximum(start, end)
        tree = shapely.STRtree(shapely.box(low[:, 1], low[:, 0], high[:, 1], high[:, 0]))
        areas = shapely.STRtree(parts[area])
        return cls(np.hstack([start, end]), owner, tree, areas, of_shape[area].astype(np.intp))

    def nearest_points(
        self, lat: float, lon: float, radius_km: float
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """The nearest point of every outline that may be within the radius.

        Returns:
            Outlines (n,), latitudes and longitudes of their nearest points (n,), and whether each contains the point.
        """
        import shapely

        cos = max(np.cos(np.radians(lat)), 1e-3)
        half_lat = radius_km / KM_PER_DEGREE * 1.01
        half_lon = min(half_lat / cos, 180.0)
        hits, shifts = [], []
        for turn in (0.0, -360.0, 360.0):  # a box that crosses the antimeridian meets the other side as well
            box = shapely.box(lon + turn - half_lon, lat - half_lat, lon + turn + half_lon, lat + half_lat)
            found = self.tree.query(box)
            hits.append(found)
            shifts.append(np.full(len(found), turn))
        rows, shift = np.concatenate(hits), np.concatenate(shifts)
        a = (self.ends[rows, :2] - [lat, lon]) - np.stack([np.zeros_like(shift), shift], 1)
        b = (self.ends[rows, 2:] - [lat, lon]) - np.stack([np.zeros_like(shift), shift], 1)
        flat_a, flat_b = a * [1.0, cos], b * [1.0, cos]
        along = flat_b - flat_a
        length2 = np.maximum((along**2).sum(1), 1e-30)
        share = np.clip(-(flat_a * along).sum(1) / length2, 0.0, 1.0)
        nearest = a + (b - a) * share[:, None]
        apart = ((nearest * [1.0, cos]) ** 2).sum(1)
        order = np.lexsort((apart, self.owner[rows]))
        owner, first = np.unique(self.owner[rows][order], return_index=True)
        best = order[first]
        inside = np.isin(owner, self.area_owner[self.areas.query(shapely.Point(lon, lat), predicate="intersects")])
        near_lon = (nearest[best, 1] + lon + 180.0) % 360.0 - 180.0
        return owner, nearest[best, 0] + lat, near_lon, inside
