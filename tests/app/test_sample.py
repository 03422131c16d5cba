"""Crops of the Earth: what lies where on the ground lies there in the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gaea.app import sample
from gaea.errors import InputError, MissingDependencyError
from gaea.sphere import EARTH_RADIUS_KM

WIDTH, HEIGHT = 1440, 720
KM_PER_PIXEL = math.pi * EARTH_RADIUS_KM / HEIGHT


@given(st.floats(-60, 60), st.floats(-180, 180), st.floats(-0.35, 0.35), st.floats(-0.35, 0.35))
def test_a_spot_is_drawn_where_it_is(lat: float, lon: float, east: float, north: float) -> None:
    width_km, size = 1000.0, 200
    lat_deg = math.degrees(1 / EARTH_RADIUS_KM)
    spot_lat = lat + north * width_km * lat_deg
    spot_lon = lon + east * width_km * lat_deg / math.cos(math.radians(lat))
    # A single bright pixel on a black Earth, and the place that pixel really has.
    row, column = int((90 - spot_lat) / 180 * HEIGHT), int((spot_lon + 180) % 360 / 360 * WIDTH) % WIDTH
    earth = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    earth[row, column] = 255
    true_north = (90 - (row + 0.5) * 180 / HEIGHT - lat) / lat_deg / width_km
    lon_apart = ((column + 0.5) * 360 / WIDTH - 180 - lon + 180) % 360 - 180
    true_east = lon_apart * math.cos(math.radians(lat)) / lat_deg / width_km

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "_blue_marble", lambda: Image.fromarray(earth))
        picture = np.asarray(sample.crop((lat, lon), width_km=width_km, size=size)).astype(float)[..., 0]

    rows, columns = np.indices(picture.shape)
    weight = np.where(picture > picture.max() / 2, picture, 0)
    seen_east = (weight * (columns + 0.5)).sum() / weight.sum() / size - 0.5
    seen_north = 0.5 - (weight * (rows + 0.5)).sum() / weight.sum() / size
    tolerance = 0.15 * KM_PER_PIXEL / width_km / math.cos(math.radians(lat))
    assert abs(seen_east - true_east) < tolerance
    assert abs(seen_north - true_north) < tolerance


def test_a_place_is_two_numbers_on_earth() -> None:
    assert sample.parse_place(" -33.9 , +151.25") == (-33.9, 151.25)
    assert sample.parse_place("0,-180") == (0, -180)
    for text in ("", "1", "1,2,3", "1;2", "inf,0", "1e2,0", "٣,٤ north"):
        with pytest.raises(InputError, match="expected latitude and longitude"):
            sample.parse_place(text)


def test_the_limits_that_are_named_work() -> None:
    with pytest.raises(InputError) as caught:
        sample.crop((80, 0))
    reach = float(str(caught.value).split(" to ")[1].split(",")[0])
    assert sample.crop((reach, 0), size=32).size == (32, 32)
    assert sample.crop((-reach, 0), size=32).size == (32, 32)
    assert sample.crop((0, 180), width_km=sample.WIDTHS_KM[1], size=32).size == (32, 32)


def test_the_same_place_on_both_sides_of_the_antimeridian() -> None:
    west, east = (np.asarray(sample.crop((-17.5, lon), size=64)) for lon in (-180, 180))
    np.testing.assert_array_equal(west, east)


def test_a_missing_package_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample.resources, "files", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name)))
    with pytest.raises(MissingDependencyError, match=r"pip install 'gaea-geo\[app\]'"):
        sample.crop((0, 0))


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (8, 8))
    with pytest.raises(InputError, match="cannot be written"):
        sample.write_jpeg(picture, tmp_path / "none" / "demo.jpg")
    path = sample.write_jpeg(picture, tmp_path / "demo.jpg")
    assert [item.name for item in tmp_path.iterdir()] == ["demo.jpg"]
    with Image.open(path) as written:
        assert not written.getexif()
