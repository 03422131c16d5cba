"""Systems that know little: what any result has to be held against.

``majority`` reads the benchmark's own truths, so it is the best that can be said without looking, not a system.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaea import places
from gaea.countries import codes_by_name, normalise
from gaea.eval.records import Item, Prediction
from gaea.eval.system import Picture, from_words
from gaea.gazetteer import gazetteer
from gaea.locate.neighbours import Neighbours
from gaea.placenames import country_centre
from gaea.rag.memory import GalleryMemory

TOLD = {
    "always-true": "says True to every statement and nothing else",
    "majority": "the most frequent answer of each type, and the middle of the most frequent country",
    "random-place": "a town drawn by its number of people; letters and verdicts by chance",
    "nearest": "the place of the most similar picture in the gallery",
    "exif": "the coordinates that the file claims, where it claims any",
}


class _Plain:
    """What baselines share."""

    at_once = 1

    def __init__(
        self, name: str, settings: Mapping[str, Any] | None = None, hashes: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.settings, self.hashes = name, dict(settings or {}), dict(hashes or {})


class AlwaysTrue(_Plain):
    """True/false items skew true: this is how far that carries."""

    def __init__(self) -> None:
        super().__init__("always true")

    def predict(self, item: Item, picture: Picture) -> Prediction:  # noqa: ARG002 - it does not look
        """True, if it is asked whether."""
        if item.question_type == "true_false":
            return Prediction(item.id, "answered", "True")
        return Prediction(item.id, "abstained")


class Majority(_Plain):
    """The most frequent answer among the truths of all items, type by type; the first of several."""

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__("majority of each type")
        kinds = {item.question_type for item in items if item.question_type}
        self._answers = {
            kind: Counter(i.truth.answer for i in items if i.question_type == kind and i.truth.answer).most_common(1)
            for kind in kinds
        }
        codes = [code for item in items if item.kind == "locate" and (code := country_of(item))]
        self._country = Counter(codes).most_common(1)[0][0] if codes else None
        cities = Counter(item.truth.city for item in items if item.truth.city and country_of(item) == self._country)
        self._city = cities.most_common(1)[0][0] if cities else None

    def predict(self, item: Item, picture: Picture) -> Prediction:  # noqa: ARG002 - it does not look
        """The same for every item of a type."""
        if item.kind == "ask":
            told = self._answers.get(item.question_type)
            return from_words(item, told[0][0]) if told else Prediction(item.id, "abstained")
        if self._country is None:
            return Prediction(item.id, "abstained")
        lat, lon = country_centre(self._country)
        return Prediction(item.id, "answered", lat=lat, lon=lon, country=self._country, city=self._city)


class RandomPlace(_Plain):
    """Where a person drawn at random from the world's towns lives; the draw follows from seed and id alone."""

    def __init__(self, seed: int) -> None:
        super().__init__("random place by population", {"seed": seed})
        towns = gazetteer()
        self._until = np.cumsum(towns.population / towns.population.sum())

    def predict(self, item: Item, picture: Picture) -> Prediction:  # noqa: ARG002 - it does not look
        """A town, a letter or a verdict."""
        draw = hashlib.sha256(f"{self.settings['seed']} {item.id}".encode()).digest()
        share = int.from_bytes(draw[:8], "big") / 2**64
        if item.question_type == "choice":
            letters = "ABCDEFGH"[: len(item.truth.choices) or 4]
            return Prediction(item.id, "answered", letters[int(share * len(letters))])
        if item.question_type == "true_false":
            return Prediction(item.id, "answered", "True" if share < 0.5 else "False")
        town = gazetteer().city(min(int(np.searchsorted(self._until, share)), len(self._until) - 1))
        name = f"{town.name}, {places.country(town.country_code).name}"
        text = name if item.kind == "ask" else ""
        return Prediction(
            item.id, "answered", text, lat=town.lat, lon=town.lon, country=town.country_code, city=town.name
        )


class NearestNeighbour(_Plain):
    """The place of the most similar picture, with no regard to any other."""

    def __init__(self, memory: GalleryMemory) -> None:
        hashes = {"index": memory.gallery.content_hash, "encoder": memory.encoder.fingerprint}
        super().__init__("nearest neighbour", {"index": memory.name}, hashes)
        self._memory, self._last = memory, ("", Neighbours((), ()))

    def predict(self, item: Item, picture: Picture) -> Prediction:
        """Its place; questions that want no place are not answered."""
        if item.question_type not in (None, "location"):
            return Prediction(item.id, "abstained")
        if self._last[0] != str(item.image):
            self._last = (str(item.image), self._memory.recall(picture(item).image()))
        if not self._last[1].similar:
            return Prediction(item.id, "abstained")
        best = self._last[1].similar[0]
        return placed(item, best.lat, best.lon)


class Exif(_Plain):
    """What the file says of itself. It may be wrong or forged, and it is not what the picture shows."""

    def __init__(self) -> None:
        super().__init__("EXIF of the file")

    def predict(self, item: Item, picture: Picture) -> Prediction:
        """The claimed place; nothing where the file claims none."""
        if item.question_type not in (None, "location"):
            return Prediction(item.id, "abstained")
        said = picture(item).exif
        if said is None or said.lat is None or said.lon is None:
            return Prediction(item.id, "abstained")
        return placed(item, said.lat, said.lon)


def placed(item: Item, lat: float, lon: float) -> Prediction:
    """A prediction of a point, with the names of its place."""
    known = places.describe(lat, lon)
    city = known.main_city.name if known.main_city and known.main_city.distance_km <= 25 else None
    text = ", ".join(each for each in (city, known.country) if each) if item.kind == "ask" else ""
    return Prediction(item.id, "answered", text, lat=lat, lon=lon, country=known.country_code, city=city)


def country_of(item: Item) -> str:
    """ISO code of a truth's country: the named one, or that of its point; '' where there is none."""
    if item.truth.country and (code := codes_by_name().get(normalise(item.truth.country))):
        return code
    return str(places.country_codes([item.truth.lat], [item.truth.lon])[0]) if item.truth.point else ""
