"""Where a place is known to be: the cells of what was said, and beliefs and neighbours held to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gaea import areas, cellsets, places
from gaea import cells as s2
from gaea.assistant import Assistant
from gaea.calibration import Calibration
from gaea.errors import InputError
from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.narrowing import Narrowing
from gaea.sphere import great_circle_km

PICTURE = Image.linear_gradient("L").resize((48, 32)).convert("RGB")


def holds(cells, lat, lon):
    return cellsets.index_of(cells, s2.from_latlon(lat, lon)) >= 0


@pytest.mark.parametrize("code", ["FR", "NZ", "VA", "FJ", "RU", "AQ"])
def test_a_country_is_where_its_code_is(code):
    cells = areas.country(code)
    lat, lon = s2.sample(cells[np.random.default_rng(0).integers(0, len(cells), 300)], np.random.default_rng(1))
    assert (places.country_codes(lat, lon) == code).mean() > 0.99


def test_the_sea_is_the_rest():
    sea = areas.country("")
    assert holds(sea, -40.0, -130.0)
    assert not holds(sea, 48.85, 2.35)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("texas", (31.0, -99.0), (35.0, -106.0)),
        ("Bayern", (48.14, 11.58), (52.5, 13.4)),
        ("ÎLE-DE-FRANCE", (48.85, 2.35), (45.76, 4.84)),
        ("Tasmania", (-42.0, 146.6), (-37.8, 145.0)),
    ],
)
def test_a_region_holds_its_places(name, inside, outside):
    cells = areas.region(name)
    assert holds(cells, *inside)
    assert not holds(cells, *outside)


@settings(max_examples=50)
@given(st.floats(-89, 85), st.floats(-180, 179), st.floats(0.05, 60), st.floats(0.05, 300))
def test_a_box_holds_what_lies_well_inside_and_little_else(south, west, height, width):
    north, east = min(south + height, 90), (west + width + 180) % 360 - 180
    cells = areas.box(south, west, north, east)
    span = (east - west) % 360 or width
    assert holds(cells, (south + north) / 2, (west + span / 2 + 180) % 360 - 180)
    expected = 510065622 * (np.sin(np.radians(north)) - np.sin(np.radians(south))) / 2 * span / 360
    assert s2.area_km2(cells).sum() == pytest.approx(expected, rel=0.25)


def test_a_box_over_the_antimeridian_and_one_of_no_size():
    cells = areas.box(-20, 175, -10, -175)
    assert holds(cells, [-15, -15], [179, -179]).all()
    assert not holds(cells, -15, 0)
    assert areas.box(10, 10, 10, 10).size == 1


@pytest.mark.parametrize("radius_km", [0.0, 0.5, 30.0, 3000.0])
def test_a_circle_holds_its_middle_and_ends(radius_km):
    cells = areas.circle(-17.0, 179.9, radius_km)
    assert holds(cells, -17.0, 179.9)
    assert great_circle_km(*s2.to_latlon(cells), -17.0, 179.9).max() <= max(radius_km, 0.1)


def test_all_conditions_hold_together_and_contradictions_are_one_line():
    both = Narrowing(countries=("fr",), circle=(48.85, 2.35, 50.0)).cells()
    assert holds(both, 48.85, 2.35)
    assert not holds(both, 45.76, 4.84)
    assert Narrowing(sources=("mine",)).cells() is None
    assert Narrowing().cells() is None
    with pytest.raises(InputError, match="no place on Earth fulfils all of country FR; box -40, 100, -20, 160"):
        Narrowing(countries=("FR",), box=(-40, 100, -20, 160)).cells()
    with pytest.raises(InputError, match="region 'Bayrn' is not known: did you mean 'Bayern'"):
        Narrowing(regions=("Bayrn",)).cells()


class Memory:
    name = "three places"

    def __init__(self, *places_):
        self.places, self.narrowed = places_, []

    def recall(self, image, *, narrow=None):
        self.narrowed.append(narrow)
        area = narrow.cells() if narrow else None
        kept = [p for p in self.places if area is None or holds(area, *p)]
        return Neighbours(tuple(Neighbour(i, *p, 0.9, "similar", f"place {i}") for i, p in enumerate(kept)))

    def strangeness(self, image):
        return 0.0


class Silent:
    name, has_geotokens = "silent", False

    def see(self, image):
        return image

    def stream(self, messages, sight, **_):
        yield "Here."

    def complete(self, messages, sight, **_):
        return ""


LYON, TURIN = (45.75, 4.85), (45.07, 7.69)


def chat(narrow, *places_):
    return Assistant(Silent(), Memory(*places_), Calibration(), {}).open(PICTURE, narrow=narrow)


def test_neighbours_and_belief_are_held_to_the_area():
    answer = chat(Narrowing(countries=("IT",)), LYON, LYON, TURIN).ask()
    assert [item.text for item in answer.evidence] == ["place 0"]
    assert answer.place.country_code == "IT"
    italy = areas.country("IT")
    told = chat(Narrowing(countries=("IT",)), LYON, LYON, TURIN)
    assert told.belief.mass_in(italy) == pytest.approx(1)
    assert chat(None, LYON, LYON, TURIN).belief.mass_in(italy) < 1


def test_mass_inside_is_what_restricting_keeps():
    wide = chat(None, LYON, TURIN).belief
    italy, france = areas.country("IT"), areas.country("FR")
    assert wide.mass_in(italy) + wide.mass_in(france) < 1
    assert wide.restrict(italy).mass_in(italy) == pytest.approx(1)
    assert wide.mass_in(s2.FACES) == pytest.approx(1)
    assert wide.mass_in([]) == 0


def test_an_area_that_nothing_speaks_for_gets_no_point():
    answer = chat(Narrowing(circle=(-25.0, 134.0, 20.0)), LYON).ask()
    assert answer.abstained
    assert answer.point is None


def test_a_contradiction_is_told_before_anything_is_looked_at():
    with pytest.raises(InputError, match="no place on Earth"):
        chat(Narrowing(countries=("FR",), circle=(-25.0, 134.0, 20.0)), LYON)
