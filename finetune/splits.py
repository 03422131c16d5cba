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
KM_PER_DEGREE = 111.1949266  # of latitude, on the sphere of R = 6371.0088 km


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
    x = (np.asarray(lon_deg) / 360 + 0.5) * BLOCKS
    return np.clip(_row(np.asarray(lat_deg)).astype(int), 0, BLOCKS - 1), np.floor(x).astype(int) % BLOCKS


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
    degrees = reach_km / KM_PER_DEGREE
    cos = max(np.cos(np.radians(min(abs(lat_deg) + degrees, 89.0))), 0.02)
    # Polewards a plain picture reaches farther in degrees, equatorwards one in Mercator: both are allowed for.
    plain, mercator = _row(np.array([lat_deg + degrees, lat_deg - degrees])), degrees / 360 / cos * BLOCKS
    centre = float(_row(np.array(lat_deg)))
    top, bottom = min(plain[0], centre - mercator), max(plain[1], centre + mercator)
    x, half = (lon_deg / 360 + 0.5) * BLOCKS, min(degrees / 360 / cos * BLOCKS, BLOCKS / 2)
    rows = np.arange(max(int(np.floor(top)), 0), min(int(np.floor(bottom)), BLOCKS - 1) + 1)
    columns = np.arange(int(np.floor(x - half)), int(np.floor(x + half)) + 1) % BLOCKS
    return {Part(int(p)) for p in np.unique(parts()[np.ix_(rows, columns)])}


def _row(lat_deg: np.ndarray) -> np.ndarray:
    """Rows from the north, with their fractions, of latitudes; those beyond the square are brought to its edge."""
    lat = np.radians(np.clip(lat_deg, -85.05, 85.05))
    return np.asarray((0.5 - np.arcsinh(np.tan(lat)) / (2 * np.pi)) * BLOCKS)
