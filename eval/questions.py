"""Questions about a place, as items: one of each of GAEA-Bench's five types, from facts that an examiner can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaea import places
from gaea.briefing import Briefing, place_facts
from gaea.eval.layouts import WHERE
from gaea.eval.records import GroundTruth, Item
from gaea.finetune import qa

KINDS = ("country", "continent", "climate", "hemisphere", "coast", "driving", "languages", "capital", "currency")
"""Facts that are asked for; each has a value almost everywhere."""

COAST = "Natural Earth 1:10m (within 50 km of the sea, or not)"
LONG = ("country", "climate", "languages", "capital", "hemisphere", "coast")


class Places:
    """What is known of the places of a benchmark: briefings for questions, facts for truths.

    Args:
        points: ``(lat_deg, lon_deg)`` by the id that its items begin with.
    """

    def __init__(self, points: Mapping[str, tuple[float, float]]) -> None:
        self._known = {key: places.describe(lat, lon) for key, (lat, lon) in points.items()}
        self._briefings = {key: Briefing(facts=place_facts(place)) for key, place in self._known.items()}

    def truth(self, key: str, **more: object) -> GroundTruth:
        """Coordinates, names and facts with their sources; ``more`` are further fields of the truth."""
        known = self._known[key]
        facts = tuple((fact.name, fact.value, fact.source) for fact in known.facts())
        if coast := dict(self._briefings[key].facts).get("coast"):
            facts += (("coast", coast, COAST),)  # it is asked for, so it has to be checkable
        city = known.main_city.name if known.main_city and known.main_city.distance_km <= 25 else None
        names = {"country": known.country, "region": known.region, "city": city}
        return GroundTruth(lat=known.lat, lon=known.lon, facts=facts, **{**names, **more})  # type: ignore[arg-type]

    def asked(self, key: str, like: Item, rng: np.random.Generator) -> list[Item]:
        """One item of each type about a place; fewer where it has too few facts (at sea).

        Args:
            key: Of the place.
            like: An item of the same picture, whose image, place, split and groups are taken over.
            rng: Chooses facts, wording and wrong options.
        """
        mine = self._briefings[key]
        facts = dict(mine.facts)
        kinds = [kind for kind in KINDS if kind in facts]
        if not facts.get("country") or len(kinds) < 3:
            return []
        short, verdict, choice = (str(kind) for kind in rng.choice(kinds, 3, replace=False))
        asked = [_item(like, "location", WHERE, self.truth(key, answer=_named(self.truth(key))))]
        one = qa.simple(short, mine, rng)
        asked.append(_item(like, "short", one.question, self.truth(key, answer=one.key)))
        told = [str(kind) for kind in rng.choice([kind for kind in LONG if kind in facts], 3, replace=False)]
        long = qa.combined(told, mine, rng)
        asked.append(_item(like, "long", long.question, self.truth(key, answer=long.answer)))
        if others := self._others(verdict, facts[verdict], rng):
            item = qa.true_false(verdict, mine, others[0], rng)
            asked.append(
                _item(
                    like, "true_false", item.question, self.truth(key, answer={"yes": "true", "no": "false"}[item.key])
                )
            )
        if others := self._others(choice, facts[choice], rng):
            item = qa.choice(choice, mine, others, rng)
            asked.append(
                _item(
                    like, "choice", item.question, self.truth(key, answer=item.key[0], choices=_options(item.question))
                )
            )
        return asked

    def _others(self, kind: str, value: str, rng: np.random.Generator) -> list[str]:
        """What is true of other places, in random order."""
        values = dict.fromkeys(
            v for each in self._briefings.values() if (v := dict(each.facts).get(kind)) and v != value
        )
        return [str(each) for each in rng.permutation(list(values))] if values else []


def _named(truth: GroundTruth) -> str:
    return ", ".join(name for name in (truth.city, truth.country) if name)


def _options(question: str) -> tuple[str, ...]:
    from gaea.eval.choices import options_in

    return options_in(question)


def _item(like: Item, question_type: str, question: str, truth: GroundTruth) -> Item:
    return Item(
        id=f"{like.id}/{question_type}",
        benchmark=like.benchmark,
        kind="ask",
        image=like.image,
        question=question,
        question_type=question_type,  # type: ignore[arg-type] # one of the five
        truth=truth,
        strata=like.strata,
        place=like.place,
        split=like.split,
    )


def lettered(options: Sequence[str]) -> str:
    """Options as they are listed in a question: ``A) … B) …``."""
    return " ".join(f"{letter}) {option}" for letter, option in zip("ABCDEFGH", options, strict=False))
