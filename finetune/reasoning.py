"""Location questions, and answers that go from what a traveller notices to the country it must be.

A chain of clues leaves fewer and fewer countries; how many is counted over all countries of GeoNames, so that every
step of the reasoning can be checked (:func:`remaining`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaea.countries import Country
from gaea.finetune.customs import known_countries
from gaea.finetune.geography import facts_of
from gaea.finetune.questions import DRIVING, GEOMETRY, GEONAMES, LOCATION, LONG, PLACE, Fact, Item
from gaea.finetune.wording import (
    in_sentence,
    listed,
    pick,
    tokens_text,
    with_place,
)
from gaea.places import PlaceFacts

IN_TOWN_KM = 3.0
PEOPLE_PER_KM2 = 4000.0
"""A place is in a town within 3 km of its middle, and in a city as far as so many people a km² would fill it."""

CLUE_SETS = (
    ("driving", "language", "currency"),
    ("driving", "language", "calling code"),
    ("language", "currency"),
    ("driving", "currency", "language"),
    ("driving", "language", "internet domain"),
    ("currency", "language"),
    ("language", "calling code"),
)
_NOTICED = {
    "driving": ("cars keep to the {v} side of the road", "traffic drives on the {v}", "people drive on the {v}"),
    "language": ("the signs are in {v}", "the shop fronts are lettered in {v}", "people speak {v}"),
    "currency": ("prices are given in {v}", "one pays with {v}", "a menu lists prices in {v}"),
    "calling code": ("telephone numbers on vans begin with {v}", "a poster gives a number with the prefix {v}"),
    "internet domain": ("web addresses on shop signs end in {v}", "an advertisement shows an address ending in {v}"),
}
_CHAIN = {
    "driving": "Traffic on the {v}",
    "language": "{v} as a language of the country",
    "currency": "Payment in {v}",
    "calling code": "The prefix {v}",
    "internet domain": "The domain {v}",
}

_WIDE = ("{c} fits {k} countries and territories.", "{c} brings that down to {k} countries and territories.")

# ── location ────────────────────────────────────────────────────────────────


def town_of(place: PlaceFacts) -> str | None:
    """The town or city that people would say a place is in; None between them.

    A city reaches as far as its people would fill at PEOPLE_PER_KM2, and swallows its own districts; a town 3 km.
    """
    main, nearest = place.main_city, next((t for t in place.nearest_cities), None)
    if main:
        whole = main.name == place.country  # a city state is its own city
        reach_km = IN_TOWN_KM if whole else float(np.sqrt(main.population / PEOPLE_PER_KM2 / np.pi))
        if main.country_code == place.country_code and main.distance_km <= reach_km:
            return main.name
    if nearest is None or nearest.country_code != place.country_code or nearest.distance_km > IN_TOWN_KM:
        return None
    return None if any(c.isdigit() for c in nearest.name) else nearest.name


def city_and_country(place: PlaceFacts, rng: np.random.Generator, image: str = "", described: str = "") -> Item | None:
    """GAEA's own location question; ``described`` tells the surroundings instead of coordinates."""
    town = town_of(place)
    if town is None or not place.country:
        return None
    form = pick(
        ("Where is this? Respond with only the city and country.", "Name the city and the country, nothing else.",
         "Which city and country is this?", "Give the location as city, country."), rng
    )  # fmt: skip
    key = f"{town}, {place.country}"
    question = f"{described} {form}" if described else form if image else with_place(form, place.lat, place.lon, rng)
    facts = (Fact(PLACE, "city", town, GEONAMES), *(f for f in facts_of(place) if f.name == "country"))
    return Item("city and country", LOCATION, question, key, key, place.lat, place.lon, facts, (),
                {"described": True} if described else {}, image, place.country_code or "")  # fmt: skip


def coordinates(place: PlaceFacts, rng: np.random.Generator, image: str = "") -> Item | None:
    """Where a place is, as S2 symbols and in words; without a picture, symbols for coordinates that are given."""
    if not place.country:
        return None
    key = tokens_text(place.lat, place.lon)
    facts = (Fact(PLACE, "label", place.label, GEONAMES), Fact(PLACE, "cell", key, GEOMETRY))
    if image:
        question = pick(
            ("Where was this picture taken? Answer with S2 tokens and in words.", "Give the S2 cell of this picture, "
             "and say where that is.", "Locate this picture with S2 tokens, then in words."), rng
        )  # fmt: skip
        answer = pick(("{k} {w}.", "{k} That is {w}.", "The cell is {k}, {w}."), rng)
    else:
        question = pick(
            ("Which S2 cell holds the point {c}?", "Write {c} as S2 tokens and say where that is.",
             "Give S2 tokens for {c}, with the place in words."), rng
        ).format(c=f"{place.lat:.4f}, {place.lon:.4f}")  # fmt: skip
        answer = pick(("{k} That is {w}.", "{k}, {w}."), rng)
    said = answer.format(k=key, w=place.label)
    said = said.replace("> in ", "> In ").replace("> near ", "> Near ")
    return Item("coordinates", LOCATION, question, said, key, place.lat, place.lon, facts, (), {}, image,
                place.country_code or "")  # fmt: skip


# ── from clues to a country ─────────────────────────────────────────────────


def remaining(clues: Sequence[Sequence[str]]) -> list[tuple[int, list[str]]]:
    """How many countries each further clue leaves, and their names; a clue is (what, value)."""
    left = list(known_countries().values())
    steps = []
    for what, value in clues:
        left = [country for country in left if value in _shown(country, what)]
        steps.append((len(left), sorted(country.name for country in left)))
    return steps


def from_clues(place: PlaceFacts, rng: np.random.Generator) -> Item | None:
    """What a traveller notices, and the country that it leaves, step by step."""
    country = known_countries().get(place.country_code or "")
    if country is None:
        return None
    clues = _telling(country, rng)
    if clues is None:
        return None
    steps = remaining(clues)
    noticed = [pick(_NOTICED[what], rng).format(v=value) for what, value in clues]
    opening = pick(("A traveller notices that {n}.", "In a photo one can tell that {n}.",
                    "Here is what is known of a street scene: {n}.", "Clues: {n}."), rng)  # fmt: skip
    ask = pick(("Which country is it, and why?", "Reason from these clues to the country.",
                "Where is this? Explain step by step."), rng)  # fmt: skip
    sentences = []
    for step, ((what, value), (count, names)) in enumerate(zip(clues, steps, strict=True)):
        clue = _CHAIN[what].format(v=value)
        if count == 1:
            form = pick(
                ("{c} leaves only {n}.", "{c} is found in one of these only: {n}.", "With {l}, {n} remains."), rng
            )
        elif count <= 4:
            form = pick(("{c} leaves {k} countries or territories: {n}.", "{c} narrows it to {n}."), rng)
        else:
            form = pick(("{c} leaves {k} countries and territories.", _WIDE[bool(step)]), rng)
        shown = listed([in_sentence(name) for name in names])
        sentences.append(form.format(c=clue, l=clue[:1].lower() + clue[1:], k=count, n=shown))
    close = pick(("So this is in {v}.", "The country is therefore {v}.", "All this points to {v}."), rng)
    answer = " ".join([*sentences, close.format(v=in_sentence(country.name))])
    facts = [Fact(country.name, what, value, DRIVING if what == "driving" else GEONAMES) for what, value in clues]
    counts = {"clues": [list(clue) for clue in clues], "left": [count for count, _ in steps]}
    return Item("clues", LONG, f"{opening.format(n=listed(noticed))} {ask}", answer, country.name, place.lat, place.lon,
                tuple(facts), (), counts, "", country.code)  # fmt: skip


def _shown(country: Country, what: str) -> tuple[str, ...]:
    """What a street scene in a country may show."""
    values: Mapping[str, tuple[str, ...]] = {
        "driving": (country.driving_side,),
        "language": country.languages,
        "currency": (country.currency,),
        "calling code": (country.calling_code,),
        "internet domain": (country.tld,),
    }
    return tuple(value for value in values[what] if value)


def _telling(country: Country, rng: np.random.Generator) -> list[tuple[str, str]] | None:
    """Clues of which each leaves fewer countries, and the last one only this."""
    for i in rng.permutation(len(CLUE_SETS)):
        shown = [(what, _shown(country, what)[:1]) for what in CLUE_SETS[i]]
        if not all(values for _, values in shown):
            continue
        clues = [(what, values[0]) for what, values in shown]
        counts = [count for count, _ in remaining(clues)]
        if 1 in counts:
            clues = clues[: counts.index(1) + 1]
            if len(clues) > 1:
                return clues
    return None
