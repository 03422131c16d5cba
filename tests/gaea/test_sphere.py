import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import sphere
from gaea.errors import InputError

LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 0.0, 90.0]))
LONGITUDES = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 0.0, 180.0]))
HALFWAY_ROUND_KM = np.pi * sphere.EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((48.8584, 2.2945), (40.6892, -74.0445), 5837.424),  # Eiffel Tower to the Statue of Liberty
        ((0, 0), (0, 180), 20015.115),
        ((90, 12), (-90, 34), 20015.115),
        ((0, 179.5), (0, -179.5), 111.195),
        ((90, 0), (90, 123), 0.0),
    ],
)
def test_known_distances(one, other, km):
    assert sphere.great_circle_km(*one, *other) == pytest.approx(km, abs=1e-3)


def test_distance_agrees_with_the_chord_on_random_points():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, (2, 10_000)), rng.uniform(-180, 180, (2, 10_000))
    chord = np.linalg.norm(sphere.to_xyz(lat[0], lon[0]) - sphere.to_xyz(lat[1], lon[1]), axis=-1)
    expected = 2 * sphere.EARTH_RADIUS_KM * np.arcsin(chord / 2)
    np.testing.assert_allclose(sphere.great_circle_km(lat[0], lon[0], lat[1], lon[1]), expected, rtol=1e-9)


@pytest.mark.parametrize("lat", [0.0, 45.0, 89.0])
def test_a_millimetre_is_measured_as_a_millimetre(lat):
    north = np.degrees(1e-6 / sphere.EARTH_RADIUS_KM)
    assert sphere.great_circle_km(lat, 10.0, lat + north, 10.0) == pytest.approx(1e-6, rel=1e-5)


def test_a_metre_short_of_the_antipode_is_measured():
    lat, lon = sphere.destination(-30.0, -60.0, 77.0, 0.001)
    assert HALFWAY_ROUND_KM - sphere.great_circle_km(30.0, 120.0, lat, lon) == pytest.approx(0.001, rel=1e-4)


def test_broadcasting_and_missing_answers():
    km = sphere.great_circle_km(np.zeros((3, 1)), 0.0, 0.0, [0.0, 1.0, np.nan])
    assert km.shape == (3, 3)
    assert np.isnan(km[:, 2]).all()
    assert np.isfinite(km[:, :2]).all()


@given(LATITUDES, LONGITUDES, st.floats(0, 360), st.floats(0, 20000))
@settings(deadline=None)
def test_destination_lies_at_its_distance_and_bearing(lat, lon, bearing, km):
    there = sphere.destination(lat, lon, bearing, km)
    assert sphere.great_circle_km(lat, lon, *there) == pytest.approx(km, abs=1e-6)
    assert -90 <= there[0] <= 90
    assert -180 <= there[1] <= 180
    if abs(lat) < 89 and 1 < km < 19900:
        turn = sphere.bearing_deg(lat, lon, *there)
        assert abs((turn - bearing + 180) % 360 - 180) < 1e-4


@given(LATITUDES, LONGITUDES)
@settings(deadline=None)
def test_vectors_round_trip(lat, lon):
    xyz = sphere.to_xyz(lat, lon)
    assert np.linalg.norm(xyz) == pytest.approx(1)
    assert sphere.great_circle_km(lat, lon, *sphere.from_xyz(xyz)) < 1e-9


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
@settings(deadline=None)
def test_midpoint_is_equally_far_from_both(lat1, lon1, lat2, lon2):
    middle = sphere.midpoint(lat1, lon1, lat2, lon2)
    whole = sphere.great_circle_km(lat1, lon1, lat2, lon2)
    assert sphere.great_circle_km(lat1, lon1, *middle) == pytest.approx(whole / 2, abs=1e-6)
    assert sphere.great_circle_km(lat2, lon2, *middle) == pytest.approx(whole / 2, abs=1e-5)


def test_mean_point_crosses_the_antimeridian_and_heeds_weights():
    lat, lon = sphere.mean_point([10, 10], [179, -179])
    assert abs(lon) == pytest.approx(180)
    assert lat == pytest.approx(10, abs=0.01)
    assert sphere.mean_point([0, 0], [0, 10], [1, 0]) == pytest.approx((0, 0))
    with pytest.raises(InputError, match="balance"):
        sphere.mean_point([0, 0], [0, 180])


@pytest.mark.parametrize(
    ("lon", "expected"), [(190, -170), (-190, 170), (180, 180), (-180, -180), (725, 5), (540, -180)]
)
def test_normalise_lon(lon, expected):
    assert sphere.normalise_lon(lon) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lat", "lon", "told"),
    [
        (91, 0, "latitude 91"),
        (0, -180.5, "longitude -180.5"),
        (np.nan, 0, "latitude nan"),
        (0, np.inf, "longitude inf"),
        ([1, 2], [1, 2, 3], "shapes"),
        ("here", 0, "numbers"),
    ],
)
def test_unusable_coordinates_are_named(lat, lon, told):
    with pytest.raises(InputError, match=told):
        sphere.validate_latlon(lat, lon)


def test_geoscore_and_cap_area():
    assert sphere.geoscore(0) == 5000
    assert sphere.geoscore(1492.7) == pytest.approx(5000 / np.e)
    assert sphere.cap_area_km2(HALFWAY_ROUND_KM) == pytest.approx(sphere.EARTH_AREA_KM2)
    assert sphere.cap_area_km2(1.0) == pytest.approx(np.pi, rel=1e-6)
