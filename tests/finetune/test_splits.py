"""No training crop touches a held-out block: the promise that every figure about unseen places rests on."""

import hashlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaea.finetune.imagery import Mosaic, View, _ground_to_window
from gaea.finetune.splits import BLOCKS, Part, block_address, footprint_parts, part_of, parts

SIDE = 1 << 17
DRAWN = 96
# Mosaics whose pixels nobody reads: only their size and projection matter here.
MERCATOR = Mosaic(np.broadcast_to(np.uint8(0), (SIDE, SIDE, 3)), mercator=True)
PLAIN = Mosaic(np.broadcast_to(np.uint8(0), (SIDE // 2, SIDE, 3)), mercator=False)

views = st.builds(
    View,
    lat=st.floats(-84.9, 84.9),
    lon=st.floats(-180, 180),
    width_km=st.floats(50, 420),
    heading_deg=st.floats(0, 360),
    tilt_deg=st.floats(0, 45),
)


def footprint(view, mosaic):
    """Where the drawn pixels of a crop come from, (lat, lon), by the very matrix that cuts it."""
    scale, centre = mosaic.pixels_per_km(view.lat), mosaic.to_pixel(view.lat, view.lon)
    matrix = np.array([*_ground_to_window(view, DRAWN, scale, centre), 1]).reshape(3, 3)
    line = np.linspace(0, DRAWN, 41)
    drawn = np.stack([*np.meshgrid(line, line), np.ones((41, 41))], -1).reshape(-1, 3)
    x, y, w = (drawn @ matrix.T).T
    x, y = x / w / SIDE - 0.5, y / w / mosaic.pixels.shape[0] - 0.5
    lat = np.degrees(np.arctan(np.sinh(-2 * np.pi * y))) if mosaic.mercator else -180 * y
    return lat, (360 * x + 180) % 360 - 180


def test_parts_are_fixed_and_a_twentieth_each():
    table = parts()
    assert table.shape == (BLOCKS, BLOCKS)
    assert not table.flags.writeable
    held = [(table == part).mean() for part in (Part.VALIDATION, Part.TEST)]
    assert all(0.045 < share < 0.055 for share in held)
    # A change of these would let weights that are already trained be examined on what they have seen.
    assert hashlib.sha256(table.tobytes()).hexdigest()[:16] == "f35a9e45d50c6272"


@pytest.mark.parametrize(
    ("lat", "lon", "address"),
    [
        (0.01, 0.01, (63, 64)),
        (-0.01, -0.01, (64, 63)),
        (0, -180, (64, 0)),
        (0, 180, (64, 0)),
        (0, 179.99, (64, 127)),
        (85.0, 0, (0, 64)),
        (90, 0, (0, 64)),
        (-90, 0, (127, 64)),
        (66.513, 0.01, (32, 64)),
        (66.514, 0.01, (31, 64)),
    ],
)
def test_block_address(lat, lon, address):
    assert tuple(int(v) for v in block_address(np.array(lat), np.array(lon))) == address


@given(st.floats(-85, 85), st.floats(-180, 180))
def test_a_point_has_the_part_of_its_block(lat, lon):
    assert footprint_parts(lat, lon, 0.0) == {Part(int(part_of(np.array(lat), np.array(lon))))}


@pytest.mark.parametrize("mosaic", [MERCATOR, PLAIN], ids=["mercator", "plain"])
@settings(max_examples=300)
@given(view=views)
@example(view=View(-84.52852336364938, -66.58821769944466, 114.4, 121.7))  # between two sampled latitudes
@example(view=View(59.14088514635872, 164.75221083658784, 402.0586819930696))  # Mercator reaches farther equatorwards
@example(view=View(78.7, 179.9, 162.8, 30.0, 40.0))
@example(view=View(-70.0, -180.0, 400.0, 45.0, 45.0))
def test_every_block_under_a_crop_is_known(mosaic, view):
    lat, lon = footprint(view, mosaic)
    inside = np.abs(lat) < 85.05
    touched = {Part(int(p)) for p in np.unique(part_of(lat[inside], lon[inside]))}
    assert touched <= footprint_parts(view.lat, view.lon, view.reach_km)


def test_a_crop_over_the_edge_of_a_held_out_block_is_refused():
    row, column = np.argwhere(parts()[60:68, :] == Part.TEST)[0] + (60, 0)
    west = (column / BLOCKS - 0.5) * 360
    lat = float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (row + 0.5) / BLOCKS)))))
    km_per_degree = 111.195 * np.cos(np.radians(lat))
    assert Part.TEST in footprint_parts(lat, west - 0.5, 0.55 * km_per_degree)
    assert Part.TEST not in footprint_parts(lat, west - 0.5, 0.45 * km_per_degree)
    assert footprint_parts(lat, west + 180 / BLOCKS, 50) == {Part.TEST}


def test_the_antimeridian_is_crossed():
    rows = [r for r in range(20, 108) if parts()[r, 0] != parts()[r, BLOCKS - 1]]
    lat = float(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (rows[0] + 0.5) / BLOCKS)))))
    both = {Part(int(parts()[rows[0], c])) for c in (0, BLOCKS - 1)}
    assert footprint_parts(lat, 179.999, 5.0) == both
    assert footprint_parts(lat, -179.999, 5.0) == both


def test_a_footprint_about_a_pole_touches_all():
    assert footprint_parts(89.9, 0.0, 2500.0) == set(Part)
