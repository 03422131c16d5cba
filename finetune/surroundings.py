"""Questions about what stands around a point, from OpenStreetMap: what is near, what it is, which way and how far.

The map is never complete, so nothing is concluded from its silence: "nearest" compares named things with each other,
and a false statement names a thing that is known to stand elsewhere. Wrong options come from the same extract, of the
same category and script where there are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gaea.finetune.osm import RADIUS_KM, Extract, Nearby
from gaea.finetune.questions import CHOICE, OSM, SHORT, TRUE_FALSE, Fact, Item
from gaea.finetune.survey import (
    SMALLEST_BEARING_KM,
    Survey,
    clearly,
    farther,
    gives_away,
    misleads,
    named_once,
    often_both,
    titled,
    told,
)
from gaea.finetune.wording import (
    OCTANTS,
    Deck,
    a_an,
    octant,
    pick,
    placed_options,
    spoken_distance,
    with_options,
    with_place,
)
from gaea.places import PlaceFacts

ELSEWHERE_KM = 2.0
"""A thing this far away is not "within 1 km", whatever the map's errors."""

_CHAINS = {"filling station", "bank", "cash machine", "supermarket", "convenience store", "fast food restaurant"}
"""Kinds of which one name may well stand again where the map is silent."""

CATEGORY_WORDS = {
    "amenities": "another amenity",
    "food": "a place for food or drink",
    "finance": "a financial service",
    "government": "a public authority",
    "lodging": "a place to stay overnight",
    "transport": "a transport facility",
    "health": "a health service",
    "religion": "a religious place",
    "education": "a place of education",
    "waterways": "a body of water or a waterway",
}


class Surveyor:
    """Makes items about points of one extract.

    Args:
        extract: The map.
        rng: Source of randomness.
        deck: Keeps truth values and letters in balance.
    """

    def __init__(self, extract: Extract, rng: np.random.Generator, deck: Deck) -> None:
        self._extract, self._rng, self._deck = extract, rng, deck
        self._survey = Survey(extract, rng)

    def around(self, place: PlaceFacts) -> list[Nearby]:
        """What stands within 1 km and can be spoken of by name."""
        return named_once(self._extract.around(place.lat, place.lon, RADIUS_KM))

    def items(self, place: PlaceFacts, around: Sequence[Nearby]) -> list[Item]:
        """Every kind of item that can be made at a point, one of each; empty where nothing named is near."""
        if not around:
            return []
        makers: tuple[Callable[[PlaceFacts, Sequence[Nearby]], Item | None], ...] = (
            self.nearest, self.nearest_of, self.direction, self.direction_choice, self.distance, self.kind,
            self.kind_choice, self.category, self.is_near, self.is_kind, self.is_direction, self.is_nearer,
        )  # fmt: skip
        made = [maker(place, around) for maker in makers]
        return [item for item in made if item is not None]

    # ── open questions ──────────────────────────────────────────────────────

    def nearest(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """The nearest thing of a kind that stands there more than once."""
        kinds = [near.thing.kind for near in around]
        several = [k for k in dict.fromkeys(kinds) if kinds.count(k) > 1]
        if not several:
            return None
        word = pick(several, self._rng)
        found = [near for near in around if near.thing.kind == word]
        if not clearly(found[0], found[1]):
            return None
        form = pick(
            ("What is the nearest {k} that has a name on OpenStreetMap?", "Name the closest mapped {k}.",
             "Which {k} is nearest, going by OpenStreetMap?", "I am looking for {ak}. Which named one is closest?"),
            self._rng,
        ).format(k=word, ak=a_an(word))  # fmt: skip
        key, away = found[0].thing.name, spoken_distance(round(found[0].distance_km, 4))
        answer = pick(("{n}.", "{n}, about {d} away.", "The closest is {n}, some {d} off."), self._rng)
        facts = [fact for near in found[:5] for fact in told(near, "kind", "name", "label", "distance_km")]
        return self._item(place, "nearest", SHORT, form, answer.format(n=found[0].thing.label, d=away), key, facts,
                          params={"kind": word})  # fmt: skip

    def direction(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """Which way a thing lies."""
        near = self._any(self._survey.clear_direction(around))
        if near is None:
            return None
        form = pick(
            ("In which direction from here is {n}?", "Which way is it to {n}?", "Where does {n} lie, seen from here?"),
            self._rng,
        ).format(n=titled(near))  # fmt: skip
        key = octant(near.bearing_deg or 0.0)
        answer = pick(("To the {k}.", "{n} lies to the {k}.", "About {d} to the {k}."), self._rng)
        said = answer.format(k=key, n=near.thing.label, d=spoken_distance(round(near.distance_km, 4)))
        facts = told(near, "kind", "name", "label", "bearing_deg", "distance_km")
        return self._item(place, "direction", SHORT, form, said, key, facts, params={"about": near.thing.osm_id})

    def distance(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """How far a thing is."""
        near = self._any([n for n in around if n.distance_km >= SMALLEST_BEARING_KM])
        if near is None:
            return None
        form = pick(
            ("How far is it to {n}?", "About how far away is {n}?", "What is the distance to {n}, as the crow flies?"),
            self._rng,
        ).format(n=titled(near))  # fmt: skip
        key = spoken_distance(round(near.distance_km, 4))
        answer = pick(("About {k}.", "Some {k}.", "{n} is about {k} away."), self._rng)
        said = answer.format(k=key, n=near.thing.label)
        facts = told(near, "kind", "name", "label", "distance_km")
        return self._item(place, "distance", SHORT, form, said, key, facts, params={"about": near.thing.osm_id})

    def kind(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """What a named thing is."""
        near = self._any_to_be_named(around)
        if near is None:
            return None
        form = pick(
            ("What is {n}, which stands near this place?", "What kind of place is {n} near here?",
             "There is something called {n} close by. What is it?"), self._rng
        ).format(n=near.thing.label)  # fmt: skip
        key = near.thing.kind
        said = pick(("{ak}.", "It is {ak}.", "{n} is {ak}."), self._rng).format(ak=a_an(key), n=near.thing.label)
        facts = told(near, "kind", "name", "label", "distance_km")
        return self._item(place, "kind", SHORT, form, _upper(said), key, facts, params={"about": near.thing.osm_id})

    # ── choices ─────────────────────────────────────────────────────────────

    def nearest_of(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """Which of four things of one category is nearest; the other three stand farther off in the same extract."""
        near = around[int(self._rng.integers(min(len(around), 12)))]
        wrong = [other for other in self._survey.like(place, near) if farther(near.distance_km, other[1])][:3]
        if len(wrong) < 3:
            return None
        options, letter = placed_options(near.thing.label, [t.label for t, _ in wrong], "nearest of", self._deck)
        form = pick(
            ("Which of these is nearest?", "Which of the following stands closest to this place?",
             "To which of these is the way shortest, as the crow flies?"), self._rng
        )  # fmt: skip
        facts = told(near, "name", "category", "label", "distance_km")
        facts += [fact for thing, km in wrong for fact in told(Nearby(thing, km, None), "label", "distance_km")]
        return self._choice(place, "nearest of", form, options, letter, facts, {})

    def direction_choice(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """Which of four directions a thing lies in; opposite and square ones are offered."""
        near = self._any(self._survey.clear_direction(around))
        if near is None:
            return None
        home = OCTANTS.index(octant(near.bearing_deg or 0.0))
        right, wrong = OCTANTS[home], [OCTANTS[(home + step) % 8] for step in self._rng.permutation([2, 4, 6])]
        options, letter = placed_options(right, wrong, "direction choice", self._deck)
        form = pick(("In which direction is {n}?", "{n} lies to the …", "Which way is {n} from here?"), self._rng)
        facts = told(near, "kind", "name", "label", "bearing_deg", "distance_km")
        return self._choice(place, "direction", _upper(form.format(n=titled(near))), options, letter, facts,
                            {"about": near.thing.osm_id})  # fmt: skip

    def kind_choice(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """What a named thing is, out of kinds that the extract has."""
        near = self._any_to_be_named(around)
        if near is None:
            return None
        wrong = self._survey.other_kinds(near.thing)[:3]
        if len(wrong) < 3:
            return None
        options, letter = placed_options(near.thing.kind, wrong, "kind choice", self._deck)
        form = pick(
            ("What is {n}?", "What kind of place is {n}, near here?", "{n} stands near here. It is a …"), self._rng
        )
        facts = told(near, "kind", "name", "label", "distance_km")
        return self._choice(place, "kind", form.format(n=near.thing.label), options, letter, facts,
                            {"about": near.thing.osm_id})  # fmt: skip

    def category(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """GAEA's category of a thing."""
        near = self._any_to_be_named(around)
        if near is None:
            return None
        barred = {near.thing.category, "amenities", *often_both(near.thing.category)}
        others = [c for c in CATEGORY_WORDS if c not in barred]
        wrong = [CATEGORY_WORDS[others[i]] for i in self._rng.permutation(len(others))[:3]]
        right = CATEGORY_WORDS[near.thing.category]
        options, letter = placed_options(right, wrong, "category", self._deck)
        form = pick(("What sort of thing is {n}, near here?", "To which group does {n} belong?"), self._rng)
        facts = [
            *told(near, "name", "category", "label", "distance_km"),
            Fact(near.thing.osm_id, "category words", right, OSM),
        ]
        return self._choice(place, "category", form.format(n=near.thing.label), options, letter, facts,
                            {"about": near.thing.osm_id})  # fmt: skip

    # ── true or false ───────────────────────────────────────────────────────

    def is_near(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """A named thing is within 1 km, or stands somewhere else in the same extract."""
        near = around[int(self._rng.integers(len(around)))]
        away = [
            (thing, km)
            for thing, km in self._survey.like(place, near)
            if km >= ELSEWHERE_KM and thing.kind not in _CHAINS and not dict(thing.tags).get("brand")
        ]
        if not away:
            return None
        true = bool(self._deck.draw("is near", 2))
        thing, km = (near.thing, near.distance_km) if true else away[0]
        form = pick(
            ("There is {ak} called {n} within 1 km of this place.", "{n}, {ak}, stands less than 1 km from here.",
             "Within 1 km one finds {ak} named {n}."), self._rng
        ).format(ak=a_an(thing.kind), n=thing.label)  # fmt: skip
        facts = told(Nearby(thing, km, None), "kind", "name", "label", "distance_km")
        return self._verdict(place, "is near", form, true, facts, {"about": thing.osm_id, "radius_km": RADIUS_KM})

    def is_kind(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """A named thing is what it is, or something else."""
        near = self._any_to_be_named(around)
        wrong = self._survey.other_kinds(near.thing) if near else []
        if near is None or not wrong:
            return None
        true = bool(self._deck.draw("is kind", 2))
        claim = near.thing.kind if true else wrong[0]
        form = pick(("{n}, near here, is {ak}.", "The place called {n} close by is {ak}."), self._rng)
        facts = told(near, "kind", "name", "label", "distance_km")
        said = form.format(n=near.thing.label, ak=a_an(claim))
        return self._verdict(place, "is kind", said, true, facts, {"about": near.thing.osm_id, "claim": claim})

    def is_direction(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """A thing lies this way, or at least a right angle off."""
        near = self._any(self._survey.clear_direction(around))
        if near is None:
            return None
        true = bool(self._deck.draw("is direction", 2))
        home = OCTANTS.index(octant(near.bearing_deg or 0.0))
        claim = OCTANTS[home if true else (home + int(self._rng.integers(2, 7))) % 8]
        form = pick(("{n} lies to the {c} of this place.", "To reach {n}, one goes {c} from here."), self._rng)
        facts = told(near, "kind", "name", "label", "bearing_deg", "distance_km")
        said = _upper(form.format(n=titled(near), c=claim))
        return self._verdict(place, "is direction", said, true, facts, {"about": near.thing.osm_id, "claim": claim})

    def is_nearer(self, place: PlaceFacts, around: Sequence[Nearby]) -> Item | None:
        """One of two things is nearer than the other."""
        if len(around) < 2:
            return None
        i, j = sorted(int(k) for k in self._rng.choice(len(around), 2, replace=False))
        if not clearly(around[i], around[j]):
            return None
        true = bool(self._deck.draw("is nearer", 2))
        first, second = (around[i], around[j]) if true else (around[j], around[i])
        form = pick(("{a} is nearer than {b}.", "{a} stands closer to this place than {b}."), self._rng)
        facts = [fact for near in (first, second) for fact in told(near, "name", "label", "distance_km")]
        said = _upper(form.format(a=titled(first), b=titled(second)))
        return self._verdict(place, "is nearer", said, true, facts,
                             {"about": first.thing.osm_id, "than": second.thing.osm_id})  # fmt: skip

    def _any_to_be_named(self, around: Sequence[Nearby]) -> Nearby | None:
        """One whose name says neither what it is nor that it is something else."""
        return self._any([near for near in around if not gives_away(near.thing) and not misleads(near.thing)])

    def _any(self, around: Sequence[Nearby]) -> Nearby | None:
        return around[int(self._rng.integers(len(around)))] if around else None

    # ── putting together ────────────────────────────────────────────────────

    def _item(  # noqa: PLR0917 - one call of each form
        self, place: PlaceFacts, skill: str, kind: str, question: str, answer: str, key: str, facts: Sequence[Fact],
        *, options: tuple[str, ...] = (), params: dict[str, object] | None = None,
    ) -> Item:  # fmt: skip
        asked, _, rest = question.partition("\n")
        asked = with_place(asked, place.lat, place.lon, self._rng) + (f"\n{rest}" if rest else "")
        return Item(
            skill, kind, asked, answer, key, place.lat, place.lon, tuple(facts), options, params or {},
            country=place.country_code or "",
        )  # fmt: skip

    def _choice(  # noqa: PLR0917
        self, place: PlaceFacts, skill: str, question: str, options: tuple[str, ...], letter: str,
        facts: Sequence[Fact], params: dict[str, object],
    ) -> Item | None:  # fmt: skip
        right = options["ABCD".index(letter)]
        if len(set(options)) < len(options):
            return None
        return self._item(place, skill, CHOICE, with_options(question, options), f"{letter}. {right}", right, facts,
                          options=options, params=params)  # fmt: skip

    def _verdict(  # noqa: PLR0917
        self,
        place: PlaceFacts,
        skill: str,
        statement: str,
        true: bool,
        facts: Sequence[Fact],
        params: dict[str, object],
    ) -> Item:
        form = pick(
            ("True or false: {s}", "{s} True or false?", "Is this true? {s}", "Judge the statement: {s}"), self._rng
        )
        return self._item(
            place, skill, TRUE_FALSE, form.format(s=statement), str(true), str(true), facts, params=params
        )


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
