"""What models write about a place: names in running text, several candidates, refusals, and what cannot be."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea import geotokens
from gaea.mentions import find_mentions
from gaea.sphere import great_circle_km
from gaea.spoken import MOST_CHARACTERS, read
from gaea.toponyms import meanings

WORDS = ["Lyon", "Paris", "France", "45.75", "4.85", ",", ".", "%", "60", "guess", "not", "lat", "lon", ":", "I can't"]
LYON, GENEVA = (45.75, 4.85), (46.2, 6.14)


def names(text):
    return [mention.options[0].name for mention in find_mentions(text)]


def said(text):
    return [(c.kind, c.text) for c in read(text).candidates]


# ── names ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kind", "code", "region"),
    [
        ("Lyon", "city", "FR", "Auvergne-Rhône-Alpes"),
        ("Paris, Texas", "city", "US", "Texas"),
        ("Paris, TX", "city", "US", "Texas"),
        ("Atlanta, Georgia", "city", "US", "Georgia"),
        ("Tbilisi, Georgia", "city", "GE", "Tbilisi"),
        ("Georgia, USA", "region", "US", "Georgia"),
        ("Melbourne, Victoria, Australia", "city", "AU", "Victoria"),
        ("London, Ontario", "city", "CA", "Ontario"),
        ("Washington, D.C.", "city", "US", "District of Columbia"),
        ("Lyon, FR", "city", "FR", "Auvergne-Rhône-Alpes"),
        ("Drobniki, Poland", "country", "PL", ""),
        ("Bavaria", "region", "DE", "Bayern"),
        ("Tuscany, Italy", "region", "IT", "Toscana"),
        ("Scotland", "region", "GB", "Scotland"),
        ("the Netherlands", "country", "NL", ""),
        ("Republic of Korea", "country", "KR", ""),
        ("North Sea", "sea", "", ""),
        ("Pacific Ocean", "sea", "", ""),
        ("Europe", "continent", "", ""),
    ],
)
def test_a_name_is_narrowed_by_what_follows(name, kind, code, region):
    first = meanings(name)[0]
    assert (first.kind, first.country_code, first.region) == (kind, code, region)


def test_an_ambiguous_name_has_several_meanings_by_population():
    springfield = meanings("Springfield")
    assert {m.region for m in springfield} >= {"Missouri", "Massachusetts", "Illinois"}
    assert sum(m.weight for m in springfield) == pytest.approx(1)
    assert [m.weight for m in springfield] == sorted((m.weight for m in springfield), reverse=True)
    georgia = {m.country_code: m for m in meanings("Georgia")}
    assert {georgia["US"].kind, georgia["GE"].kind} == {"region", "country"}
    assert min(m.weight for m in georgia.values()) > 0.3
    assert meanings("Rome")[0].weight > 0.9  # Lomé is also known by that name
    assert meanings("Gotham City") == ()


def test_radii_follow_extents():
    radius = {name: meanings(name)[0].radius_km for name in ("Lyon", "Tokyo", "Belgium", "Brazil", "Europe", "Monaco")}
    assert 5 < radius["Lyon"] < 10 < radius["Tokyo"] < 50 < radius["Belgium"] < 150 < radius["Brazil"] < 2500
    assert 1000 < radius["Europe"] < 2500
    assert radius["Monaco"] < 5
    assert meanings("Mexico", "city")[0].kind == "city"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I think this is in Paris.", ["Paris"]),
        ("It could be either Lyon or Geneva.", ["Lyon", "Geneva"]),
        ("Paris, London, or Berlin", ["Paris", "London", "Berlin"]),
        ("It is New York City, New York, USA.", ["New York City"]),
        ("Lyon is a city in France.", ["Lyon"]),
        ("probably the Netherlands or Belgium", ["Netherlands", "Belgium"]),
        ("This is Nice, France", ["Nice"]),
        ("somewhere in Reading, England", ["Reading"]),
        ("a street in Portland, OR", ["Portland"]),
        ("on Australia's coast", ["Australia"]),
        ("in the North Sea", ["North Sea"]),
        ("Rio de Janeiro (Brazil)", ["Rio de Janeiro"]),
        ("in St. Petersburg, Russia", ["Saint Petersburg"]),
        ("Nice weather. Mobile homes. Reading the sign of the Of.", []),
        ("The Toyota is parked on Oxford Street near a London bus", []),
        ("Most houses are in this style. Police cars. Split levels. Same roofs.", []),
        ("The vegetation is Mediterranean. Street signs are English.", []),
        ("in it, as us, I am in the us.", []),
        ("lyon and paris", []),
        ("somewhere in Latin America", []),
    ],
)
def test_names_in_running_text(text, expected):
    assert names(text) == expected


# ── answers ─────────────────────────────────────────────────────────────────


def test_coordinates_are_believed_before_the_names_of_the_reasoning():
    answer = read('Not Paris, not Rome. {"lat": 45.75, "long": 4.85, "city": "Lyon", "country": "France"}')
    (one,) = answer.candidates
    assert (one.lat, one.lon, one.kind, one.weight, one.radius_km) == (45.75, 4.85, "coordinates", 1.0, None)
    assert (answer.refused, answer.problem) == (False, "")


def test_a_contradiction_with_the_named_city_is_reported():
    answer = read('{"lat": 37.7749, "long": -122.4194, "city": "Denver", "country": "United States"}')
    assert (answer.candidates[0].lat, len(answer.candidates)) == (37.7749, 1)
    assert "km outside 'Denver, United States'" in answer.problem


def test_coordinates_that_cannot_be_leave_the_named_city():
    answer = read('{"lat": 151.2, "long": -33.9, "city": "Sydney", "country": "Australia"}')
    assert [c.kind for c in answer.candidates] == ["city"]
    assert great_circle_km(answer.candidates[0].lat, answer.candidates[0].lon, -33.87, 151.21) < 5
    assert "latitude 151.2 is not within" in answer.problem
    alone = read("lat 151.2, lon -33.9")
    assert (alone.candidates, alone.refused) == ((), False)
    assert "latitude 151.2" in alone.problem


def test_the_last_word_counts():
    answer = read("At first I considered 45.764, 4.8357 but my final answer is 46.2044, 6.1432.")
    assert [(c.lat, c.lon) for c in answer.candidates] == [(46.2044, 6.1432)]
    same = read("Best guess: 45.764, 4.8357. In short: 45.764, 4.8357.")
    assert [(c.lat, c.weight) for c in same.candidates] == [(45.764, 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "1. Lyon (45.7500, 4.8500) 60%\n2. Geneva (46.2000, 6.1400) 20%",
        "Most likely candidates:\n\n1. Lyon, France (60%)\n2. Geneva, Switzerland (20%)",
        "| Place | Lat | Lon | p |\n|---|---|---|---|\n| A | 45.7500 | 4.8500 | 60% |\n| B | 46.2 | 6.14 | 20% |",
        '[{"city":"Lyon","country":"France","confidence":0.6},{"city":"Geneva","country":"Switzerland","confidence":0.2}]',
        '[{"lat":45.75,"lon":4.85,"probability":0.6},{"lat":46.20,"lon":6.14,"probability":0.2}]',
        "60% Lyon, France\n20% Geneva, Switzerland",
    ],
)
def test_several_candidates_with_stated_confidence(text):
    candidates = read(text).candidates
    assert [c.weight for c in candidates] == pytest.approx([0.6, 0.2])
    for one, place in zip(candidates, (LYON, GENEVA), strict=True):
        assert great_circle_km(one.lat, one.lon, *place) < 5


def test_weights_never_add_up_to_more_than_one():
    sure = read("1. Lyon, France (90%)\n2. Turin, Italy (90%)\n3. Geneva, Switzerland (20%)")
    assert [c.weight for c in sure.candidates] == pytest.approx([0.45, 0.45, 0.1])
    partly = read("1. Lyon, France (60%)\n2. Turin, Italy\n3. Geneva, Switzerland")
    assert [c.weight for c in partly.candidates] == pytest.approx([0.6, 0.2, 0.2])
    (norway,) = read("Norway, with 70% confidence.").candidates
    assert norway.weight == pytest.approx(0.7)


@pytest.mark.parametrize(
    "text", ["My best guess: 48.1, 11.6 within 50 km", '{"lat": 48.1, "lon": 11.6, "radius_km": 50}']
)
def test_a_stated_radius_is_kept(text):
    assert [c.radius_km for c in read(text).candidates] == [50]


def test_cells_are_read():
    (cell,) = read("It is " + geotokens.to_text(geotokens.encode(*LYON)[:6]) + ".").candidates
    assert cell.kind == "cell"
    assert great_circle_km(cell.lat, cell.lon, *LYON) < 10
    assert cell.radius_km == pytest.approx(5, rel=0.3)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot determine where this was taken.",
        "I'm sorry, but I can't help with identifying the location.",
        "I can’t assist with that.",
        "I'm unable to view or analyze images directly. Signs in Paris look like this, for example.",
        "It is not possible to determine the precise location. Countries such as Cuba or Jamaica look alike.",
        "There is not enough information in the picture.",
        "It is impossible to say; it could be anywhere from Norway to Japan.",
        "I don't know.",
        "Unknown",
        '{"candidates": []}',
        '{"lat": null, "long": null, "city": "Unknown", "country": "Unknown"}',
        "Without more specific details, it is challenging to pinpoint the location.",
    ],
)
def test_refusals(text):
    answer = read(text)
    assert (answer.refused, answer.candidates, answer.problem) == (True, (), "")


def test_a_guess_after_a_refusal_is_an_answer():
    answer = read("I'm unable to determine the exact location. However, my best guess is Lyon, France.")
    assert [c.text for c in answer.candidates] == ["Lyon, France"]
    assert not answer.refused


def test_comparisons_are_no_answers():
    assert said("The style is common in France. I think this is Quebec, Canada.") == [("city", "Quebec, Canada")]


@pytest.mark.parametrize(("text", "problem"), [("", "empty"), (" \n", "empty"), ("A house and a tree.", "no place")])
def test_texts_that_say_nothing(text, problem):
    answer = read(text)
    assert (answer.candidates, answer.refused) == ((), False)
    assert problem in answer.problem


@given(st.text(max_size=200) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_read(text):
    answer = read(text)
    assert sum(c.weight for c in answer.candidates) <= 1 + 1e-9
    assert all(abs(c.lat) <= 90 and abs(c.lon) <= 180 and c.weight >= 0 for c in answer.candidates)
    assert not (answer.refused and answer.candidates)
    assert answer.candidates or answer.refused or answer.problem


@pytest.mark.parametrize(
    "piece",
    ["Paris ", "Paris, ", "Lyon, France, ", "A-", "San ", "'s", "(", "my best guess: ", "not ", "city: ", "60% ", "\n"],
)
def test_time_is_bounded(piece):
    text = piece * (200_000 // len(piece))
    read("Lyon")
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 5
    assert len(text) > MOST_CHARACTERS
