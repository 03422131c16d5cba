"""Questions about what is known of a point anywhere: country, capital, climate, customs, coast, towns around.

Facts come from ``gaea.places`` (Natural Earth, GeoNames, Köppen-Geiger, driving sides). Wrong options are plausible:
neighbours of the country first, then the same continent; towns of the same area; climates of the same group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaea.borders import countries_with_states
from gaea.countries import Country, normalise, words
from gaea.finetune.customs import known_countries
from gaea.finetune.phrasings import ASKED, CHOSEN
from gaea.finetune.questions import (
    CHOICE,
    DRIVING,
    GEOMETRY,
    GEONAMES,
    KOEPPEN,
    NATURAL_EARTH,
    PLACE,
    SHORT,
    TRUE_FALSE,
    Fact,
    Item,
)
from gaea.finetune.splits import part_of
from gaea.finetune.wording import (
    Deck,
    in_sentence,
    listed,
    octant,
    off_octant_deg,
    pick,
    placed_options,
    with_options,
    with_place,
)
from gaea.gazetteer import gazetteer
from gaea.places import City, PlaceFacts
from gaea.sphere import bearing_deg, great_circle_km

SURELY_COASTAL_KM, SURELY_INLAND_KM = 10.0, 50.0
"""Between these nobody is asked whether a place is coastal."""

MARGIN = 1.25
"""The nearest of several must be nearer than the next by this factor."""

NAMESAKES_KM = 1500.0

_TWO_WAYS = {
    "driving": ("left", "right"),
    "hemisphere": ("northern", "southern"),
    "setting": ("coastal", "inland"),
}


def facts_of(place: PlaceFacts) -> tuple[Fact, ...]:
    """What is asked about: one fact each, with its source; what is unknown or doubtful is left out."""
    country = known_countries().get(place.country_code or "")
    found: list[tuple[str, str | tuple[str, ...] | None, object]] = [
        ("country", place.country, NATURAL_EARTH),
        ("region", place.region if place.country_code in countries_with_states() else None, NATURAL_EARTH),
        ("continent", place.continent, GEONAMES),
        ("capital", country.capital if country else None, GEONAMES),
        ("driving", place.driving_side, DRIVING),
        ("climate", place.climate, KOEPPEN),
        ("climate code", place.climate_code, KOEPPEN),
        ("currency", country.currency if country else None, GEONAMES),
        ("languages", place.languages, GEONAMES),
        ("neighbours", place.neighbours, GEONAMES),
        ("calling code", place.calling_code, GEONAMES),
        ("internet domain", place.tld, GEONAMES),
    ]
    if abs(place.lat) > 0.05:
        found.append(("hemisphere", "northern" if place.lat > 0 else "southern", GEOMETRY))
    if place.sea_km <= SURELY_COASTAL_KM or place.sea_km > SURELY_INLAND_KM:
        found.append(("setting", "coastal" if place.sea_km <= SURELY_COASTAL_KM else "inland", NATURAL_EARTH))
    return tuple(Fact(PLACE, name, value, source) for name, value, source in found if value)  # type: ignore[arg-type]


def known_by_name(town: City) -> bool:
    """Whether no second town of the name is in its country or within NAMESAKES_KM, so that this one must be meant."""
    towns = gazetteer()
    alike = np.array(towns.by_name.get(normalise(town.name), []), int)
    near = np.asarray(great_circle_km(town.lat, town.lon, towns.lat[alike], towns.lon[alike])) <= NAMESAKES_KM
    return int((near | (towns.country_codes[alike] == town.country_code)).sum()) == 1


class Geographer:
    """Makes items about one place after the other.

    Args:
        rng: Source of randomness.
        deck: Keeps truth values and letters in balance.
    """

    def __init__(self, rng: np.random.Generator, deck: Deck) -> None:
        self._rng, self._deck = rng, deck

    def short(self, place: PlaceFacts, skill: str, image: str = "") -> Item | None:
        """An open question about one fact."""
        facts = {fact.name: fact for fact in facts_of(place)}
        if skill not in facts:
            return None
        values = facts[skill].accepted[:1] if skill == "languages" else facts[skill].accepted
        key = listed([in_sentence(v) for v in values]) if skill in ("country", "neighbours") else listed(values)
        answer = pick(ASKED[skill][2], self._rng).format(
            v=in_sentence(key) if skill == "region" else key, c=in_sentence(place.country or ""),
            c_cap=_capital(in_sentence(place.country or "")), code=place.climate_code,
        )  # fmt: skip
        carried = _carried(facts, skill)
        return self._item(place, image, skill, SHORT, pick(ASKED[skill][0], self._rng), _capital(answer), key, carried)

    def choice(self, place: PlaceFacts, skill: str, image: str = "") -> Item | None:
        """Four options, of which one is right."""
        facts = {fact.name: fact for fact in facts_of(place)}
        if skill not in facts or skill not in CHOSEN:
            return None
        right = pick(facts[skill].accepted[:3], self._rng)
        wrong = [w for w in self._others(place, skill) if w not in facts[skill].accepted]
        if len(wrong) < 3:
            return None
        options, letter = placed_options(right, wrong, skill, self._deck)
        question = with_options(self._asked(pick(CHOSEN[skill], self._rng), place, image), options)
        return self._item(
            place, image, skill, CHOICE, question, f"{letter}. {right}", right, _carried(facts, skill),
            options=options, told=True,
        )  # fmt: skip

    def true_false(self, place: PlaceFacts, skill: str, image: str = "") -> Item | None:
        """A statement to judge; what is claimed falsely is as plausible as a wrong option."""
        facts = {fact.name: fact for fact in facts_of(place)}
        if skill not in facts:
            return None
        wrong = [w for w in self._others(place, skill) if w not in facts[skill].accepted]
        if not wrong:
            return None
        true = bool(self._deck.draw(f"{skill} true", 2))
        claim = pick(facts[skill].accepted[:3], self._rng) if true else wrong[0]
        said = in_sentence(claim) if skill in ("country", "neighbours") else claim
        statement = _capital(pick(ASKED[skill][1], self._rng).format(v=said))
        form = pick(
            ("True or false: {s}", "{s} True or false?", "Is this true? {s}", "Judge the statement: {s}"), self._rng
        )
        return self._item(
            place, image, skill, TRUE_FALSE, form.format(s=statement), str(true), str(true), _carried(facts, skill),
            params={"claim": claim},
        )  # fmt: skip

    def nearest_town(self, place: PlaceFacts, kind: str, image: str = "") -> Item | None:
        """Which of several towns is nearest, or in which direction it lies."""
        towns = [t for t in place.nearest_cities if not any(c.isdigit() for c in t.name) and known_by_name(t)]
        if not towns:
            return None
        far = [t for t in towns[1:] if t.name != towns[0].name and t.distance_km > MARGIN * towns[0].distance_km + 3]
        if len(far) < 3 or not 2 <= towns[0].distance_km <= 300 or len({t.name for t in towns}) < len(towns):
            return None
        lat, lon = np.array([[t.lat, t.lon] for t in towns] + [[place.lat, place.lon]]).T
        if len(np.unique(part_of(lat, lon))) > 1:  # towns of held-out blocks stay unnamed
            return None
        if kind == "direction":
            return self._town_direction(place, towns[0], image)
        chosen = [far[int(i)] for i in self._rng.choice(len(far), 3, replace=False)]
        facts = [Fact(t.name, "distance_km", round(t.distance_km, 3), GEONAMES) for t in (towns[0], *chosen)]
        options, letter = placed_options(towns[0].name, [t.name for t in chosen], "nearest town", self._deck)
        form = pick(
            ("Which of these towns is nearest?", "Which of the towns lies closest to this place?",
             "To which of these towns would one have the shortest way, as the crow flies?"), self._rng
        )  # fmt: skip
        question = with_options(self._asked(form, place, image), options)
        key = towns[0].name
        return self._item(
            place, image, "nearest town", CHOICE, question, f"{letter}. {key}", key, facts, options=options, told=True
        )

    def _town_direction(self, place: PlaceFacts, town: City, image: str) -> Item | None:
        bearing = float(bearing_deg(place.lat, place.lon, town.lat, town.lon))
        if off_octant_deg(bearing) > 15:
            return None
        key = octant(bearing)
        form = pick(
            ("In which direction from here does {t} lie?", "Which way is {t} from this place?",
             "Seen from here, where is {t}?"), self._rng
        )  # fmt: skip
        answer = pick(("To the {k}.", "{t} lies to the {k}."), self._rng).format(t=town.name, k=key)
        facts = [Fact(town.name, "bearing_deg", round(bearing, 2), GEONAMES)]
        params = {"about": town.name}
        question = form.format(t=town.name)
        return self._item(place, image, "direction", SHORT, question, answer, key, facts, params=params)

    # ── wrong options ───────────────────────────────────────────────────────

    def _others(self, place: PlaceFacts, skill: str) -> list[str]:
        """Other values of a skill, the plausible ones first."""
        if skill in _TWO_WAYS:
            return list(_TWO_WAYS[skill])
        if skill == "climate":
            return self._climates(place.climate_code or "")
        if skill == "region":
            return self._regions(place)
        around = [c for c in self._countries(place) if c.code != place.country_code]
        if skill == "languages":  # those of neighbours cross the border, and English is everywhere
            around = [c for c in around if c.name not in place.neighbours and c.languages[:1] != ("English",)]
        if skill == "neighbours":
            return [c.name for c in around if c.name not in place.neighbours]
        values = {
            "country": lambda c: c.name,
            "continent": lambda c: c.continent,
            "capital": lambda c: c.capital,
            "currency": lambda c: c.currency,
            "languages": lambda c: c.languages[0] if c.languages else "",
            "calling code": lambda c: c.calling_code,
            "internet domain": lambda c: c.tld,
        }[skill]
        return [v for v in dict.fromkeys(values(c) for c in around) if v]

    def _countries(self, place: PlaceFacts) -> list[Country]:
        """Neighbours, then the continent, then the rest, each in random order."""
        known = list(known_countries().values())
        groups: tuple[list[Country], ...] = ([], [], [])
        for i in self._rng.permutation(len(known)):
            one = known[i]
            if one.name in place.neighbours:
                groups[0].append(one)
            elif one.population > 100_000:
                groups[1 if one.continent == place.continent else 2].append(one)
        return [*groups[0], *groups[1], *groups[2]]

    def _climates(self, code: str) -> list[str]:
        table = words()["climates"]
        codes = [list(table)[i] for i in self._rng.permutation(len(table))]
        near = [c for c in codes if c[:1] == code[:1] and c != code]
        return [table[c] for c in near[:2] + [c for c in codes if c[:1] != code[:1]]]

    def _regions(self, place: PlaceFacts) -> list[str]:
        from gaea.gazetteer import gazetteer

        towns = gazetteer()
        own = np.unique(towns.regions[towns.country_codes == (place.country_code or "")])
        names = [str(name) for name in own if name and name != place.region]
        return [names[i] for i in self._rng.permutation(len(names))]

    # ── putting together ────────────────────────────────────────────────────

    def _asked(self, question: str, place: PlaceFacts, image: str) -> str:
        return question if image else with_place(question, place.lat, place.lon, self._rng)

    def _item(  # noqa: PLR0917 - one call of each form
        self, place: PlaceFacts, image: str, skill: str, kind: str, question: str, answer: str, key: str,
        facts: Sequence[Fact], *, options: tuple[str, ...] = (), params: dict[str, str] | None = None,
        told: bool = False,
    ) -> Item:  # fmt: skip
        asked = question if told else self._asked(question, place, image)
        return Item(
            skill, kind, asked, answer, key, place.lat, place.lon, tuple(facts), options, params or {}, image,
            place.country_code or "",
        )  # fmt: skip


def _carried(facts: dict[str, Fact], skill: str) -> list[Fact]:
    """The fact asked about, and what leads to it."""
    names = [skill, "country"] + (["climate code"] if skill == "climate" else [])
    return [facts[name] for name in dict.fromkeys(names) if name in facts]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
