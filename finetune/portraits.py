"""Long answers that give an account of a place, or of what stands around it, and end with where that is.

Facts come in varied order and words, each in its own sentence. Unchecked clues (``gaea.finetune.clues``) appear only
here, behind the name of the country, and are marked as hearsay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea.finetune.clues import Clues
from gaea.finetune.geography import facts_of
from gaea.finetune.osm import Nearby
from gaea.finetune.questions import CLUES, GEONAMES, LONG, PLACE, Fact, Item
from gaea.finetune.reasoning import city_and_country
from gaea.finetune.survey import told
from gaea.finetune.wording import (
    a_an,
    in_sentence,
    listed,
    octant,
    off_octant_deg,
    pick,
    spoken_distance,
    with_place,
)
from gaea.places import PlaceFacts

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
