"""From a limited answer nobody reads the place more finely than its level tells.

The strongest form of that: two places that a level does not tell apart have the same limited answer, in every byte of
its JSON and of every file made from it, wherever in the same cell, region or country they lie.
"""

import json

import jsonschema
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gaea import cells as s2
from gaea import places
from gaea.answer import Alternative, Answer, Evidence, schema
from gaea.app import export
from gaea.belief import Belief
from gaea.calibration import Calibration
from gaea.disclosure import Level
from gaea.exif import ExifClaim
from gaea.limiting import limit
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.photo import Photo
from gaea.sphere import destination, great_circle_km
from gaea.spots import CELL_LEVEL
from gaea.verdict import find

PIXELS = np.zeros((8, 8, 3), np.uint8)
LEVELS = [Level.CITY, Level.REGION, Level.COUNTRY]


def answer(lat, lon, *, width_km=0.0, claim=True):
    """All that an answer can hold about one place, which is known to about a metre unless told otherwise."""
    radius_km = max(width_km, 0.3)
    cells = s2.cover_cap(lat, lon, radius_km, max_cells=16)
    belief = Belief.from_weights(cells, s2.area_km2(cells))
    near = Neighbour(
        1, lat, lon, 0.9, "similar", "12 Rue Neuve, by the old mill", 0.1, "mine", "Photo by A. at the mill"
    )
    far = Neighbour(2, -30.0, 150.0, -0.4, "dissimilar", "elsewhere")
    exif = ExifClaim(lat=lat, lon=lon, make="Canon", problems=("altitude 173 m is odd",)) if claim else None
    photo = Photo(PIXELS, "0" * 64, "JPEG", (8, 8), "a.jpg", exif)
    found = find(belief, Neighbours((near,), (far,)), photo, Calibration(), provenance={"photo_sha256": "0" * 64})
    return found.answer


def inside(cell, seed):
    lat, lon = s2.sample(np.array([cell, cell]), np.random.default_rng(seed))
    return list(zip(lat.tolist(), lon.tolist(), strict=True))


def differences(one, other):
    """In what two limited answers differ: fields of the JSON, and kinds of files made from them."""
    fields = other.to_dict()
    found = [name for name, value in one.to_dict().items() if value != fields[name]]
    made = (lambda a: json.dumps(export.geojson(a)), export.kml, export.csv_rows, export.parquet)
    return found + [number for number, make in enumerate(made) if make(one) != make(other)]


def alike_to(one, other, ask):
    """Whether points, and the places that the files claim, are the same to a question."""
    sides = [(a.point, a.file_claim) for a in (one, other)]
    return all(ask(a.lat, a.lon) == ask(b.lat, b.lon) for a, b in zip(*sides, strict=True))


PLACES = st.tuples(
    st.floats(-1, 1).map(lambda z: float(np.degrees(np.arcsin(z)))), st.floats(-180, 180, exclude_max=True)
)
TOWNS = st.sampled_from([(48.85, 2.35), (45.75, 4.85), (-33.86, 151.2), (35.68, 139.7), (40.7, -74.0), (-17.7, 179.0)])


@settings(max_examples=25)
@given(TOWNS | PLACES, st.integers(0, 2**32))
def test_places_in_one_cell_have_the_same_answer_at_the_level_of_cities(place, seed):
    cell = s2.from_latlon(*place, CELL_LEVEL[Level.CITY])
    one, other = (answer(*each) for each in inside(cell, seed))
    assume(alike_to(one, other, lambda *p: int(s2.from_latlon(*p, CELL_LEVEL[Level.CITY]))))
    assume(alike_to(one, other, lambda *p: str(places.country_codes(*p))))
    assert not differences(limit(one, "city"), limit(other, "city"))


@settings(max_examples=15)
@given(TOWNS | PLACES, st.integers(0, 2**32), st.sampled_from([Level.REGION, Level.COUNTRY]))
def test_places_in_one_region_or_country_have_the_same_answer(place, seed, level):
    one, other = (answer(*each) for each in inside(s2.from_latlon(*place, CELL_LEVEL[level]), seed))
    ask = places.region_names if level is Level.REGION else places.country_codes
    assume(alike_to(one, other, lambda *p: int(s2.from_latlon(*p, CELL_LEVEL[level]))))
    assume(alike_to(one, other, lambda *p: str(places.country_codes(*p))))
    assume(alike_to(one, other, lambda *p: str(ask(*p))))
    assert not differences(limit(one, level), limit(other, level))


@settings(max_examples=25)
@given(TOWNS | PLACES, st.sampled_from(LEVELS))
def test_a_limited_answer_is_valid_and_still_true(place, level):
    precise = answer(*place)
    told = limit(precise, level)
    jsonschema.validate(told.to_dict(), schema())
    assert told.disclosure == level
    apart = great_circle_km(*place, told.point.lat, told.point.lon)
    assert told.radius_km[50] <= told.radius_km[90]
    assert told.radius_km[90] >= {Level.CITY: 15, Level.REGION: 30, Level.COUNTRY: 0}[level]
    if level is Level.CITY:
        assert apart <= 3 * 18 * 1.6
    if precise.place.country_code:
        assert told.place.country_code == precise.place.country_code
    assert told.place.distance_km is None
    if level is not Level.CITY:
        assert told.place.name is None or not told.place.country_code
    if level is Level.COUNTRY:
        assert told.place.region is None


def numbers(value):
    if isinstance(value, dict):
        return [n for each in value.values() for n in numbers(each)]
    if isinstance(value, list):
        return [n for each in value for n in numbers(each)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("level", LEVELS)
def test_no_number_of_the_precise_answer_is_left(level):
    precise = answer(48.85837, 2.29448, width_km=1.0)
    told = limit(precise, level)
    kept = {"similarity", "share", "probability", "information_bits"}
    original = set(numbers({k: v for k, v in precise.to_dict().items() if k not in kept}))
    left = {n for n in numbers(told.to_dict()) if n in original} - {0.0, 0.9, -0.4, 1.0}
    assert left == set()
    text = told.to_json()
    assert not [word for word in ("Rue Neuve", "mill", "altitude", "48.858", "2.294") if word in text]


def test_at_the_level_of_cities_a_town_stands_for_the_place():
    told = limit(answer(48.8922, 2.2153), "city")  # La Défense
    assert (told.place.name, told.place.country) == ("Paris", "France")
    assert great_circle_km(told.point.lat, told.point.lon, 48.857, 2.35) < 3
    assert told.evidence[0].distance_km is None
    assert told.evidence[0].credit is None
    assert "Paris" in told.evidence[0].text
    assert (told.file_claim.camera, told.file_claim.problems) == (None, ())


def test_a_region_as_small_as_a_city_is_not_named():
    told = limit(answer(52.52, 13.405), "region")
    assert (told.place.region, told.place.country) == (None, "Germany")
    assert limit(answer(48.14, 11.58), "region").place.region == "Bayern"


def test_withheld_leaves_no_place_at_all():
    told = limit(answer(48.85837, 2.29448), "withheld")
    jsonschema.validate(told.to_dict(), schema())
    assert (told.point, told.radius_km, told.place, told.region) == (None, None, None, {})
    assert (told.evidence, told.alternatives, told.confidence.area_km2) == ((), (), {})
    assert (told.file_claim.lat, told.file_claim.camera) == (None, None)
    assert export.geojson(told)["features"] == []


@pytest.mark.parametrize("width_km", [60.0, 400.0, 1200.0])
def test_areas_wider_than_the_level_keep_their_shape_in_whole_cells(width_km):
    precise = answer(45.0, 5.0, width_km=width_km)
    told = limit(precise, "city")
    assert told.radius_km[90] >= precise.radius_km[90]
    assert told.confidence.area_km2[90] >= precise.confidence.area_km2[90] * 0.99
    assert told.confidence.area_km2[90] <= 9 * 500 + 3 * precise.confidence.area_km2[90]
    rings = [ring for polygon in told.region[90]["coordinates"] for ring in polygon]
    corners = {(round(lon, 6), round(lat, 6)) for ring in rings for lon, lat in ring}
    fine = {(round(o, 6), round(a, 6)) for p in precise.region[90]["coordinates"] for ring in p for o, a in ring}
    level = s2.level(s2.from_latlon([lat for _, lat in corners], [lon for lon, _ in corners], 9))
    assert (level == 9).all()
    assert len(corners & fine) < len(fine) / 2


def test_limiting_again_changes_nothing_unless_it_is_coarser():
    city = limit(answer(45.75, 4.85), "city")
    assert limit(city, "city") is city
    assert limit(city, "precise") is city
    country = limit(city, "country")
    assert country.place.name is None
    assert limit(country, "city") is country


def test_alternatives_and_evidence_that_are_finer_are_brought_to_the_level():
    from dataclasses import replace

    from gaea.answer import Place, Point

    fine = Alternative("12 Rue Neuve", 0.2, Point(45.1, 5.1), Place("Grenoble", 3.2, "Isère", "France", "FR"))
    token = Evidence("token", "<|geo|><|s2:f2|><|/geo|>")
    wide, narrow = answer(45.75, 4.85, width_km=1200.0), answer(45.75, 4.85)
    told = limit(replace(wide, alternatives=(fine,), evidence=(token,)), "region")
    assert told.evidence == ()
    assert (told.alternatives[0].label, told.alternatives[0].point) == ("France", None)
    assert limit(replace(narrow, alternatives=(fine,)), "region").alternatives == ()


def test_an_answer_without_a_point_still_has_its_claim_limited():
    bare = Answer(question="?", text="", abstained=True, file_claim=answer(45.75, 4.85).file_claim)
    told = limit(bare, "city")
    assert told.point is None
    assert great_circle_km(told.file_claim.lat, told.file_claim.lon, 45.75, 4.85) < 40
    assert (told.file_claim.lat, told.file_claim.lon) != (45.75, 4.85)


def test_the_way_there_from_a_known_place_is_not_told():
    """Three distances tell a place: none is left."""
    for bearing in (0, 120, 240):
        lat, lon = (float(v) for v in destination(48.85, 2.35, bearing, 40))
        told = limit(answer(lat, lon), "city")
        assert all(item.distance_km is None for item in told.evidence)
        assert told.file_claim.distance_km is None
