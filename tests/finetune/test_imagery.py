"""Crops show the place they are named after: a synthetic world whose colours tell latitude and longitude."""

import contextlib
import io
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gaea.errors import InputError
from gaea.finetune.imagery import Imagery, Mosaic, View, open_imagery
from gaea.sphere import great_circle_km

WIDTH = 2048


def colour(lat, lon):
    """Red tells latitude, green and blue tell longitude without a seam at the antimeridian."""
    lat, lon = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    turn = np.radians(lon)
    told = np.stack([(lat + 90) / 180, 0.5 + 0.49 * np.sin(turn), 0.5 + 0.49 * np.cos(turn)], -1)
    return np.round(told * 255).astype(np.uint8)


def place(rgb):
    red, green, blue = np.asarray(rgb, float).T / 255
    return red.T * 180 - 90, np.degrees(np.arctan2(green - 0.5, blue - 0.5)).T


def equirectangular(width=WIDTH):
    lon = (np.arange(width) + 0.5) / width * 360 - 180
    lat = 90 - (np.arange(width // 2) + 0.5) / (width // 2) * 180
    return colour(lat[:, None], lon[None, :])


def mercator(side):
    lon = (np.arange(side) + 0.5) / side * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * (np.arange(side) + 0.5) / side))))
    return colour(lat[:, None], lon[None, :])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "world.png"
    Image.fromarray(equirectangular()).save(path)
    return open_imagery(path)


def write_mbtiles(path, zooms=(0, 3, 4), without=()):
    database = sqlite3.connect(path)
    database.execute("create table tiles (zoom_level int, tile_column int, tile_row int, tile_data blob)")
    for zoom in zooms:
        world = mercator(256 << zoom)
        for column in range(1 << zoom):
            for row in range(1 << zoom):
                if (zoom, column, row) in without:
                    continue
                packed = io.BytesIO()
                tile = world[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
                Image.fromarray(tile).save(packed, "BMP")
                south_first = (1 << zoom) - 1 - row  # TMS counts rows from the south
                database.execute("insert into tiles values (?,?,?,?)", (zoom, column, south_first, packed.getvalue()))
    database.commit()
    database.close()
    return path


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return write_mbtiles(tmp_path_factory.mktemp("tiles") / "small.mbtiles")


@pytest.fixture(scope="module")
def mosaics(tiles):
    return open_imagery(tiles)


def shown_at(imagery, view, u, v, size=64):
    """Place shown at (u, v) of a crop, both −1…1 and v downwards."""
    picture = imagery.render(view, size)
    x, y = (round((t + 1) / 2 * size - 0.5) for t in (u, v))
    lat, lon = place(picture[y, x])
    return float(lat), float(lon)


def test_the_colours_tell_the_place():
    lat, lon = place(colour([-80.0, 0.0, 45.0], [-179.0, 0.0, 120.0]))
    np.testing.assert_allclose(lat, [-80, 0, 45], atol=0.4)
    np.testing.assert_allclose((lon - [-179, 0, 120] + 180) % 360 - 180, 0, atol=0.4)


@pytest.mark.parametrize("kind", ["plain", "mosaics"])
@pytest.mark.parametrize(
    ("lat", "lon"), [(0, 0), (47.4, 8.5), (-33.9, 151.2), (60, -150), (10, 179.95), (-16, -179.9), (70, 25)]
)
def test_the_middle_of_a_crop_is_its_place(kind, lat, lon, request):
    imagery = request.getfixturevalue(kind)
    picture = imagery.render(View(lat, lon, 500.0), 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    seen = place(picture[30:34, 30:34].reshape(-1, 3).mean(0))
    assert great_circle_km(lat, lon, *map(float, seen)) < 70  # colours are 0.7° apart


@pytest.mark.parametrize("kind", ["plain", "mosaics"])
@pytest.mark.parametrize("lat", [0.0, 60.0, -60.0])
def test_north_is_up_and_the_scale_is_right(kind, lat, request):
    imagery = request.getfixturevalue(kind)
    view = View(lat, 20.0, 1600.0)
    top, bottom = (shown_at(imagery, view, 0.0, v) for v in (-0.9, 0.9))
    left, right = (shown_at(imagery, view, u, 0.0) for u in (-0.9, 0.9))
    assert top[0] > lat > bottom[0]
    assert left[1] < 20 < right[1]
    along_the_parallel = (right[1] - left[1]) * 111.195 * np.cos(np.radians(lat))
    np.testing.assert_allclose(along_the_parallel, 0.9 * 1600, rtol=0.12)
    # Mercator stretches away from the middle; the mean of both sides is right to second order.
    np.testing.assert_allclose((top[0] - bottom[0]) * 111.195, 0.9 * 1600, rtol=0.12)


@pytest.mark.parametrize("kind", ["plain", "mosaics"])
@pytest.mark.parametrize(
    ("heading", "moves"), [(0, (1, 0)), (90, (0, 1)), (180, (-1, 0)), (270, (0, -1)), (45, (0.7, 0.7))]
)
def test_up_is_the_heading(kind, heading, moves, request):
    imagery = request.getfixturevalue(kind)
    top = shown_at(imagery, View(0.0, 20.0, 3000.0, heading_deg=heading), 0.0, -0.9)
    reach = 0.9 * 1500 / 111.195
    np.testing.assert_allclose(np.array(top) - (0, 20), np.array(moves) * reach, atol=1.5)


def test_a_tilted_view_sees_farther_ahead_than_behind(plain):
    view = View(0.0, 20.0, 2000.0, tilt_deg=40.0)
    ahead, behind = (abs(shown_at(plain, view, 0.0, v)[0]) for v in (-0.95, 0.95))
    assert ahead > 1.3 * behind
    assert ahead * 111.195 < view.reach_km
    wide = [shown_at(plain, view, u, -0.95)[1] - 20 for u in (-0.9, 0.9)]
    near = [shown_at(plain, view, u, 0.95)[1] - 20 for u in (-0.9, 0.9)]
    assert wide[1] - wide[0] > 1.2 * (near[1] - near[0])


@settings(max_examples=60)
@given(st.floats(-60, 60), st.floats(-180, 180), st.floats(100, 900), st.floats(0, 360), st.floats(0, 45))
def test_the_reach_holds_the_whole_footprint(lat, lon, width, heading, tilt):
    from gaea.finetune.imagery import _ground_to_window

    view = View(lat, lon, width, heading, tilt)
    matrix = np.array([*_ground_to_window(view, 64, (1.0, 1.0), (0.0, 0.0)), 1]).reshape(3, 3)
    corners = np.array([(x, y, 1) for x in (0, 64) for y in (0, 64)]) @ matrix.T
    assert np.abs(corners[:, :2] / corners[:, 2:]).max() <= view.reach_km * (1 + 1e-9)


def test_beyond_the_pole_there_is_nothing(plain, mosaics):
    assert plain.render(View(89.0, 0.0, 500.0)) is None
    assert mosaics.render(View(84.9, 0.0, 900.0)) is None


def test_an_average_is_taken_and_not_a_sample():
    """A chequerboard of single pixels seen from afar is grey, not black and white."""
    board = (np.indices((256, 512)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    world = Image.fromarray(board)
    imagery = Imagery((Mosaic(board, mercator=False), Mosaic(np.asarray(world.reduce(2)), mercator=False)), "board")
    picture = imagery.render(View(0.0, 0.0, 10000.0), 32)
    assert np.abs(picture.astype(int) - 127).max() <= 3


def test_the_pyramid_falls_by_halves(plain):
    assert [m.pixels.shape for m in plain.mosaics] == [(1024, 2048, 3), (512, 1024, 3)]
    assert plain.name == "world"
    assert plain.has_detail(89.0, 10.0)


def test_tiles_are_read_south_first_and_coarse_zooms_are_left_out(mosaics):
    assert [m.pixels.shape[0] for m in mosaics.mosaics] == [4096, 2048]
    assert all(m.mercator and m.present is None for m in mosaics.mosaics)
    np.testing.assert_array_equal(mosaics.mosaics[1].pixels, mercator(2048))


def test_fine_zooms_are_read_in_full(tmp_path):
    path, packed = write_mbtiles(tmp_path / "one.mbtiles", ()), io.BytesIO()
    black_and_white = np.indices((256, 256)).sum(0) % 2 * 255
    Image.fromarray(black_and_white.astype(np.uint8)).save(packed, "PNG")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("insert into tiles values (8, 128, 128, ?)", (packed.getvalue(),))
        database.commit()
    imagery = open_imagery(path)
    (finest,) = imagery.mosaics
    assert finest.pixels.shape == (65536, 65536, 3)
    tile = finest.pixels[127 * 256 : 128 * 256, 128 * 256 : 129 * 256]
    assert (np.abs(tile[:, 1:].astype(int) - tile[:, :-1]) == 255).all()
    assert imagery.has_detail(0.5, 0.5)
    assert not imagery.has_detail(0.5, 2.5)


def test_where_tiles_are_missing_there_is_no_crop_but_a_coarser_one(tmp_path):
    gap = [(4, 8, 8)]  # 0 to 22.5° east, just south of the equator
    both = open_imagery(write_mbtiles(tmp_path / "gap.mbtiles", (3, 4), gap))
    fine = open_imagery(write_mbtiles(tmp_path / "fine.mbtiles", (4,), gap))
    inside, outside = View(-10.0, 11.0, 200.0), View(-10.0, 40.0, 200.0)
    edge = View(-10.0, 22.6, 200.0)  # the centre has imagery, the left half has none
    assert fine.render(inside) is None
    assert fine.render(edge) is None
    assert fine.render(outside) is not None
    assert not fine.has_detail(-10.0, 11.0)
    assert fine.has_detail(-10.0, 22.6)
    assert great_circle_km(-10, 11, *shown_at(both, inside, 0.0, 0.0)) < 150


def test_decoded_mosaics_are_kept_and_found_again(tiles, mosaics, tmp_path):
    first = open_imagery(tiles, tmp_path / "cache")
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    again = open_imagery(tiles, tmp_path / "cache")
    assert kept == {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    for imagery in (first, again):
        np.testing.assert_array_equal(imagery.mosaics[0].pixels, mosaics.mosaics[0].pixels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("world.png", None, "no imagery at"),
        ("world.jpg", b"not a picture", "world.jpg is no picture"),
        ("world.mbtiles", b"not a database, and long enough to be told from an empty one" * 20, "world.mbtiles is no"),
        ("empty.mbtiles", b"", "empty.mbtiles is no"),
    ],
)
def test_what_is_no_imagery_is_one_line(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_imagery(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_picture_of_another_shape_is_refused(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"photo.png is 300x200: an equirectangular picture is 2:1"):
        open_imagery(tmp_path / "photo.png")


def test_tiles_that_are_all_too_coarse_are_refused(tmp_path):
    with pytest.raises(InputError, match="no tiles of zoom 3 or finer"):
        open_imagery(write_mbtiles(tmp_path / "coarse.mbtiles", (0, 1)))
