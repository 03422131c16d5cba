"""Location questions, and long answers that go from what can be noticed to where it is.

A chain of clues leaves fewer and fewer countries; how many is counted over all countries of GeoNames, so that every
step of the reasoning can be checked (:func:`remaining`). Portraits of a place and of its surroundings say facts in
varied order and words, each in its own sentence. Unchecked clues (``gaea.finetune.clues``) appear only in portraits,
behind the name of the country, and are marked as hearsay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaea.countries import Country
from gaea.finetune.clues import Clues
from gaea.finetune.customs import known_countries
from gaea.finetune.geography import facts_of
from gaea.finetune.osm import Nearby
from gaea.finetune.questions import (
    CLUES,
    DRIVING,
    GEOMETRY,
    GEONAMES,
    LOCATION,
    LONG,
    PLACE,
    Fact,
    Item,
    a_an,
    in_sentence,
    listed,
    octant,
    off_octant_deg,
    pick,
    spoken_distance,
    tokens_text,
    with_place,
)
from gaea.finetune.survey import told
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


# ── portraits ───────────────────────────────────────────────────────────────

_SENTENCES = {
    "climate": ("The climate is {v}.", "Its climate is {v}.", "Climatologically it is {v}."),
    "setting": ("The place is {v}.", "One would call it {v}."),
    "driving": ("Traffic keeps to the {v}.", "People drive on the {v}."),
    "languages": ("A language of the country is {v}.", "{v} is one of the languages here."),
    "currency": ("One pays with {v}.", "The currency is {v}."),
    "continent": ("This is {v}.", "The continent is {v}."),
    "capital": ("The capital of the country is {v}.", "{v} is the capital of the country."),
}


def portrait(place: PlaceFacts, rng: np.random.Generator, clues: Clues, image: str = "") -> Item | None:
    """A paragraph that goes from the widest fact to the place; with luck a traveller's hearsay at the end."""
    facts = {fact.name: fact for fact in facts_of(place)}
    if "country" not in facts or len(facts) < 7:
        return None
    names = [n for n in _SENTENCES if n in facts]
    chosen = sorted((names[i] for i in rng.permutation(len(names))[:4]), key=list(_SENTENCES).index)
    if "continent" in chosen:
        chosen = ["continent", *(n for n in chosen if n != "continent")]
    used, sentences = [], []
    for name in chosen:
        value = facts[name].accepted[0]
        used.append(Fact(PLACE, name, value, facts[name].source))
        sentences.append(pick(_SENTENCES[name], rng).format(v=value))
    close = pick(
        ("All of this fits {v}, and the place is {w}.", "Together this speaks for {v}; the place is {w}."), rng
    )
    sentences.append(close.format(v=in_sentence(place.country or ""), w=place.label))
    used += [facts["country"], Fact(PLACE, "label", place.label, GEONAMES)]
    topics = clues.get(place.country_code or "", {})
    if topics:
        topic = pick(sorted(topics), rng)
        form = pick(("Guides, unchecked, say of the country: {t}.", "According to an unchecked guide: {t}."), rng)
        sentences.append(form.format(t=topics[topic]))
        used.append(Fact(place.country or "", topic, topics[topic], CLUES))
    ask = pick(
        ("What tells where this is? Reason from clues to the place.", "Describe this place and say where it is.",
         "Explain where this is and what one would notice there.", "Give an account of this place."), rng
    )  # fmt: skip
    question = ask if image else with_place(ask, place.lat, place.lon, rng)
    return Item("portrait", LONG, question, " ".join(sentences), place.country or "", place.lat, place.lon, tuple(used),
                (), {}, image, place.country_code or "")  # fmt: skip


def surroundings(place: PlaceFacts, around: Sequence[Nearby], rng: np.random.Generator) -> Item | None:
    """What stands within 1 km, from OpenStreetMap, and where that is; ``around`` are things of clear name."""
    around = _varied(around, 5, rng)
    if len(around) < 3 or not place.country:
        return None
    facts: list[Fact] = []
    sentences = []
    for near in around:
        way = near.bearing_deg is not None and off_octant_deg(near.bearing_deg) <= 15 and near.distance_km >= 0.05
        sentences.append(_said(near, rng, way=way))
        facts += told(near, "name", "label", "kind", "distance_km", *(["bearing_deg"] if way else []))
    facts += [f for f in facts_of(place) if f.name == "country"]
    facts.append(Fact(PLACE, "label", place.label, GEONAMES))
    close = pick(("The place is {w}.", "All this is {w}.", "It lies {w}."), rng).format(w=place.label)
    opening = pick(("OpenStreetMap shows, within 1 km:", "Within 1 km the map has the following.",
                    "Going by OpenStreetMap, this is around:"), rng)  # fmt: skip
    ask = pick(("What is there within 1 km, and where is this?", "Describe the surroundings and say where they are.",
                "What would a walker find nearby, and in which country?"), rng)  # fmt: skip
    answer = " ".join([opening, *sentences, close])
    if place.country not in place.label:
        answer += f" The country is {in_sentence(place.country)}."
    return Item("surroundings", LONG, with_place(ask, place.lat, place.lon, rng), answer, place.country, place.lat,
                place.lon, tuple(facts), (), {}, "", place.country_code or "")  # fmt: skip


def described(place: PlaceFacts, around: Sequence[Nearby], rng: np.random.Generator) -> Item | None:
    """A location question that gives the surroundings instead of coordinates; ``around`` are things of clear name."""
    around = _varied(around, 4, rng)
    if len(around) < 3:
        return None
    things = listed([f"{a_an(near.thing.kind)} called {near.thing.label}" for near in around])
    opening = pick(("Within 1 km there are {t}.", "A walk of 1 km passes {t}.", "Nearby stand {t}."), rng)
    item = city_and_country(place, rng, described=opening.format(t=things))
    if item is None:
        return None
    facts = [fact for near in around for fact in told(near, "name", "kind", "distance_km")]
    facts += [Fact(near.thing.osm_id, "label", near.thing.label, facts[0].source) for near in around]
    from dataclasses import replace

    params: dict[str, Any] = {**item.params, "radius_km": 1.0}
    return replace(item, facts=(*item.facts, *facts), params=params)


def _varied(around: Sequence[Nearby], most: int, rng: np.random.Generator) -> list[Nearby]:
    """A few things, of different kinds first, in order of distance."""
    first: dict[str, Nearby] = {}
    more = []
    for i in rng.permutation(len(around)):
        near = around[i]
        if near.thing.kind in first:
            more.append(near)
        else:
            first[near.thing.kind] = near
    chosen = [*first.values(), *more][:most]
    return sorted(chosen, key=lambda near: near.distance_km)


def _said(near: Nearby, rng: np.random.Generator, *, way: bool) -> str:
    away = spoken_distance(round(near.distance_km, 4))
    where = f"{away} to the {octant(near.bearing_deg or 0.0)}" if way else f"{away} away"
    form = pick(("{n} ({k}), {w}.", "{k_up} called {n}, {w}.", "{n}, {k}, is {w}."), rng)
    word = a_an(near.thing.kind)
    return form.format(n=near.thing.label, k=word, k_up=word[:1].upper() + word[1:], w=where)
