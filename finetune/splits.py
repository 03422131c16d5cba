"""Which places may be learned from. Splits are by place: whole blocks of the map are held out.

The world is cut into 128 × 128 blocks of the Web-Mercator square (313 km at the equator, 2 × 2 zoom-8 tiles). A block's
part follows from a hash of its address alone, so that every recipe, run and machine agrees on it without a file.
A training crop may not touch a held-out block, not even with a corner; a test crop of an unseen place lies wholly
inside one.
"""

from __future__ import annotations

import enum
import functools
import hashlib

import numpy as np

BLOCKS = 128


class Part(enum.IntEnum):
    """What a block is for."""

    TRAIN = 0
    VALIDATION = 1  # calibration, temperatures, fusion weights, early stopping
    TEST = 2  # looked at once, to report


@functools.cache
def parts() -> np.ndarray:
    """(BLOCKS, BLOCKS) uint8 of :class:`Part`, indexed [row from the north, column from −180°]; 5 % each held out."""
    table = np.zeros((BLOCKS, BLOCKS), np.uint8)
    for column in range(BLOCKS):
        for row in range(BLOCKS):
            draw = int(hashlib.md5(str((column, row)).encode(), usedforsecurity=False).hexdigest(), 16) % 20
            table[row, column] = {0: Part.TEST, 1: Part.VALIDATION}.get(draw, Part.TRAIN)
    table.flags.writeable = False
    return table


def block_address(lat_deg: np.ndarray, lon_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of the block that holds each place; latitudes beyond the square fall into its edge rows."""
    lat = np.radians(np.clip(lat_deg, -85.05, 85.05))
    y = (0.5 - np.arcsinh(np.tan(lat)) / (2 * np.pi)) * BLOCKS
    x = (np.asarray(lon_deg) / 360 + 0.5) * BLOCKS
    return np.clip(y.astype(int), 0, BLOCKS - 1), np.floor(x).astype(int) % BLOCKS


def part_of(lat_deg: np.ndarray, lon_deg: np.ndarray) -> np.ndarray:
    """The :class:`Part` of each place, uint8, same shape as the input."""
    return parts()[block_address(np.asarray(lat_deg, float), np.asarray(lon_deg, float))]


def footprint_parts(lat_deg: float, lon_deg: float, reach_km: float) -> set[Part]:
    """The parts that a square crop about a place touches.

    Args:
        lat_deg: Latitude of the centre, degrees.
        lon_deg: Longitude of the centre, degrees.
        reach_km: Half the side of the north-up square that holds the crop.
    """
    degrees = reach_km / 111.2
    cos = max(np.cos(np.radians(min(abs(lat_deg) + degrees, 89.0))), 0.02)
    steps = max(3, int(degrees / 1.0) * 2 + 3)  # a block is never narrower than the step at these latitudes
    lats = np.linspace(lat_deg - degrees, lat_deg + degrees, steps)
    lons = np.linspace(lon_deg - degrees / cos, lon_deg + degrees / cos, steps)
    grid_lat, grid_lon = np.meshgrid(np.clip(lats, -89.9, 89.9), (lons + 180) % 360 - 180)
    return {Part(int(p)) for p in np.unique(part_of(grid_lat, grid_lon))}
