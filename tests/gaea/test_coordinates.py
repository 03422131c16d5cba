"""Coordinates as models write them, what only looks like some, and texts made to take forever."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.coordinates import find_coordinates

PARIS = (48.8584, 2.2945)


def only(text):
    (found,) = find_coordinates(text)
    assert found.problem == ""
    return found


@pytest.mark.parametrize(
    "text",
    [
        "48.8584, 2.2945",
        "(48.8584,2.2945)",
        "48.8584 / 2.2945",
        "The coordinates are 48.8584 2.2945.",
        "Latitude: 48.8584, Longitude: 2.2945",
        "**Longitude:** 2.2945, **Latitude:** 48.8584",
        "lat 48.8584 longitude 2.2945",
        "latitude of approximately 48.8584 and a longitude of about 2.2945",
        "48.8584 degrees North latitude and 2.2945 degrees East longitude",
        "48.8584° N, 2.2945° E",
        "48.8584 N 2.2945 E",
        "N48.8584, E2.2945",
        "lat N 48.8584 lon E 2.2945",
        "2.2945° E, 48.8584° N",
        "$48.8584^\\circ N, 2.2945^\\circ E$",
        "48.8584&deg; N, 2.2945&deg; E",
        "48,8584; 2,2945",
        "48,8584° N, 2,2945° E",
        "lat 48,8584 lon 2,2945",
        '{"lat": 48.8584, "lng": 2.2945}',
        '```json\n{\n  "latitude": "48.8584",\n  "longitude": "2.2945"\n}\n```',
        '{"lat": 48.8584, "city": "Paris", "long": 2.2945}',
        '{"lat": 48.8584, "long": 2.2945, "city": "Paris," "country": "France"}',
        "{“lat”: 48.8584, “lon”: 2.2945}",
        '{"coordinates": [48.8584, 2.2945]}',
        '{"type": "Point", "coordinates": [2.2945, 48.8584]}',
        "<lat>48.8584</lat><lon>2.2945</lon>",
        "Lat/Lon: 48.8584, 2.2945",
        "(Latitude, Longitude) = (48.8584, 2.2945)",
        "Longitude, Latitude: 2.2945, 48.8584",
        "| Place | Lon | Lat |\n|---|---|---|\n| Paris | 2.2945 | 48.8584 |",
        "https://www.google.com/maps/@48.8584,2.2945,17z",
        "https://maps.google.com/?q=48.8584,2.2945",
        "https://www.google.com/maps/place/x/data=!3d48.8584!4d2.2945",
        "https://www.openstreetmap.org/?mlat=48.8584&mlon=2.2945",
        "https://www.openstreetmap.org/#map=15/48.8584/2.2945",
        "geo:48.8584,2.2945",
    ],
)
def test_one_place_in_many_spellings(text):
    found = only(text)
    assert (found.lat, found.lon) == pytest.approx(PARIS, abs=1e-9)
    assert found.radius_km is None
    assert "2945" in text[slice(*found.span)]


@pytest.mark.parametrize(
    "text",
    [
        "48°51'30.2\"N 2°17'40.2\"E",
        "48° 51′ 30.2″ N, 2° 17′ 40.2″ E",
        "N 48° 51.504' E 2° 17.670'",
        "N 48° 51.504 E 002° 17.670",
        "48d51m30.2s N, 2d17m40.2s E",
        "48 degrees 51 minutes 30.2 seconds North, 2 degrees 17 minutes 40.2 seconds East",
        "48 51 30.2 N 2 17 40.2 E",
        "48:51:30.2 N, 2:17:40.2 E".replace("2:17", "02:17"),
    ],
)
def test_degrees_minutes_seconds(text):
    found = only(text)
    assert (found.lat, found.lon) == pytest.approx((48.85839, 2.29450), abs=2e-5)


@pytest.mark.parametrize(
    ("text", "lat", "lon"),
    [
        ("33.8568° S, 151.2153° E", -33.8568, 151.2153),
        ("-33.8568° S, 151.2153° E", -33.8568, 151.2153),
        ("-33.8568, 151.2153", -33.8568, 151.2153),
        ("−33.8568, 151.2153", -33.8568, 151.2153),
        ("37.7749 -122.4194", 37.7749, -122.4194),
        ("40°42'46\"N 74°00'22\"W", 40.71278, -74.00611),
    ],
)
def test_signs_and_hemispheres(text, lat, lon):
    found = only(text)
    assert (found.lat, found.lon) == pytest.approx((lat, lon), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "lat", "lon", "radius_km"),
    [
        ("latitude 48.5-49.0, longitude 2.0-2.5", 48.75, 2.25, 33),
        ("between 48° and 49° N, and 2° to 3° E", 48.5, 2.5, 67),
        ("48°N 2°E", 48, 2, 67),
        ("The coordinates are roughly 48.9, 2.3.", 48.9, 2.3, 6.7),
    ],
)
def test_what_is_coarse_says_how_coarse(text, lat, lon, radius_km):
    found = only(text)
    assert (found.lat, found.lon) == pytest.approx((lat, lon))
    assert found.radius_km == pytest.approx(radius_km, rel=0.02)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("lat: 151.2, lon: -33.8", "latitude 151.2 is not within"),
        ("95.123, 200.456", "latitude 95.123 is not within"),
        ("lat 10.5, lon 190.25", "longitude 190.25 is not within"),
        ("33.86° N, -151.2° E", "sign and hemisphere contradict"),
        ("-33.86° N, 151.2° E", "sign and hemisphere contradict"),
        ("latitude 48.85 E, longitude 2.3 N", "labels and hemispheres contradict"),
        ("lat 48°70'N lon 2°E", "minutes and seconds must be below 60"),
        ("48,8584,2,2945", "commas of two kinds"),
    ],
)
def test_what_cannot_be_is_reported_and_gives_no_point(text, problem):
    (found,) = find_coordinates(text)
    assert problem in found.problem
    assert found.lat != found.lat
    assert found.lon != found.lon


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12.03.2024",
        "It costs 3.50, 4.20 euros",
        "3,145, 2,600 people",
        "at 12:30:45, 13:20:10",
        "192.168.0.1, 10.0.0.1",
        '{"lat": 48.5, "lat": 2.5}',
        '{"lat": null, "long": null}',
        '{"lat": float, "long": float}',
        "version 3.11, 2.13",
        "Route E-63 and the A7",
        "Lat is what I would like to know",
    ],
)
def test_numbers_that_are_no_coordinates(text):
    assert find_coordinates(text) == []


def test_a_road_number_does_not_steal_the_latitude():
    found = only('The sign "E-63" could help us. We\'ll guess.\n```json\n{"lat": 15.683, "long": -88.617}\n```')
    assert (found.lat, found.lon) == (15.683, -88.617)


def test_several_in_order():
    found = find_coordinates("1. Lyon (45.7640, 4.8357)\n2. Geneva (46.2044, 6.1432)")
    assert [(f.lat, f.lon) for f in found] == [(45.764, 4.8357), (46.2044, 6.1432)]


degrees = st.tuples(st.decimals(-90, 90, places=4, allow_nan=False), st.decimals(-180, 180, places=4, allow_nan=False))


@given(degrees)
def test_every_point_on_earth_is_read_back(point):
    lat, lon = point
    north, east = "NS"[lat < 0], "EW"[lon < 0]
    for text in (
        f"{lat}, {lon}",
        f'{{"lat": {lat}, "lng": {lon}}}',
        f"Longitude = {lon}; Latitude = {lat}",
        f"{abs(lat)}° {north}, {abs(lon)}° {east}",
    ):
        found = only(text)
        assert (found.lat, found.lon) == pytest.approx((float(lat), float(lon)), abs=1e-9)


@given(st.text(max_size=300) | st.text(alphabet="0123456789.,-°'\" NSEWlaton:{}", max_size=300))
def test_any_text_is_read_without_an_error(text):
    for found in find_coordinates(text):
        assert found.problem or (abs(found.lat) <= 90 and abs(found.lon) <= 180)
        assert 0 <= found.span[0] < found.span[1] <= len(text)


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1.1 ",
        "lat ",
        "48° ",
        "lat: ",
        "(48.1,",
        "1,1,",
        "-",
        "48 51 ",
        'lat "',
        "lat is about ",
        "|",
        "\t",
        "!3d1.1",
    ],
)
def test_time_is_linear_in_the_text(piece):
    def seconds(characters):
        text = piece * (characters // len(piece))
        took = []
        for _ in range(3):  # the least of three: a busy machine makes some dearer
            started = time.process_time()
            find_coordinates(text)
            took.append(time.process_time() - started)
        return min(took)

    seconds(1000)
    assert seconds(40_000) < 0.1 + 8 * seconds(10_000)
