"""What of an extract may be asked about: clear names, clear directions, and wrong options that are plausible."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from gaea.finetune.categories import script
from gaea.finetune.osm import Extract, Nearby, OsmObject
from gaea.finetune.questions import OSM, Fact
from gaea.finetune.splits import part_of
from gaea.finetune.wording import off_octant_deg
from gaea.places import PlaceFacts
from gaea.sphere import great_circle_km

LEAST_STEP_KM, LEAST_FACTOR = 0.05, 1.3
"""The nearest must be nearer than the next by both."""

SMALLEST_BEARING_KM = 0.05
_OFTEN_BOTH = {
    "food": ("lodging",),
    "lodging": ("food",),
    "health": ("government",),
    "amenities": ("food", "lodging", "waterways", "religion"),
}
_SIGHTS = {"tourist attraction", "museum", "monument", "memorial", "viewpoint", "castle", "garden", "station"}
"""What one thing may well be besides something else, and is therefore never offered as wrong."""

_NAMES_OF_KINDS = {
    "agency", "authority", "bank", "beach", "bridge", "castle", "church", "department", "harbor", "harbour",
    "hospital", "hotel", "library", "market", "memorial", "ministry", "monument", "museum", "park", "restaurant",
    "river", "school", "station", "temple", "theater", "theatre", "university",
}  # fmt: skip


class Survey:
    """The named things of an extract.

    Args:
        extract: The map.
        rng: Source of randomness.
    """

    def __init__(self, extract: Extract, rng: np.random.Generator) -> None:
        self._rng = rng
        self._named = [thing for thing in extract.objects if thing.name]
        self._lat = np.array([thing.lat for thing in self._named])
        self._lon = np.array([thing.lon for thing in self._named])
        self._part = part_of(self._lat, self._lon)
        self._count = Counter(thing.name for thing in self._named)

    def clear_direction(self, around: Sequence[Nearby]) -> list[Nearby]:
        """Things that lie clearly in one of eight directions."""
        return [
            near
            for near in around
            if near.bearing_deg is not None
            and near.distance_km >= SMALLEST_BEARING_KM
            and off_octant_deg(near.bearing_deg) <= 15
            and near.thing.category != "waterways"  # a river has no single direction
        ]

    def like(self, place: PlaceFacts, near: Nearby) -> list[tuple[OsmObject, float]]:
        """Things of the same category and script elsewhere in the extract, and how far from the place they are.

        Their middles are measured: they serve only where they are far beyond doubt. A name that the extract has more
        than once is passed over, because another branch of it may be near.
        """
        away = np.asarray(great_circle_km(place.lat, place.lon, self._lat, self._lon))
        own = self._part == part_of(np.array(place.lat), np.array(place.lon))  # held-out blocks stay unnamed
        letters = script(near.thing.name)
        found = []
        for i in self._rng.permutation(np.flatnonzero(own))[:400]:
            thing, km = self._named[int(i)], float(away[i])
            alike = thing.category == near.thing.category and script(thing.name) == letters
            if alike and km > near.distance_km + 0.5 and thing.category != "waterways" and self._count[thing.name] == 1:
                found.append((thing, km))
            if len(found) >= 6:
                break
        return found

    def other_kinds(self, thing: OsmObject) -> list[str]:
        """Kinds of other categories that the extract has, and that no name could mean as well."""
        barred = {thing.category, *often_both(thing.category)}
        kinds = sorted({o.kind for o in self._named if o.category not in barred and o.kind not in _SIGHTS})
        return [kinds[i] for i in self._rng.permutation(len(kinds))]


def named_once(around: Sequence[Nearby]) -> list[Nearby]:
    """Things that can be spoken of by name: named, and the only ones of that name within the radius."""
    count = Counter(near.thing.name for near in around)
    return [near for near in around if near.thing.name and count[near.thing.name] == 1]


def told(near: Nearby, *names: str) -> list[Fact]:
    """Facts about one thing as seen from the point."""
    thing = near.thing
    values = {
        "name": thing.name,
        "label": thing.label,
        "kind": thing.kind,
        "category": thing.category,
        "distance_km": round(near.distance_km, 4),
        "bearing_deg": None if near.bearing_deg is None else round(near.bearing_deg, 2),
    }
    return [Fact(thing.osm_id, name, values[name], OSM) for name in names if values[name] is not None]  # type: ignore[arg-type]


def clearly(near: Nearby, far: Nearby) -> bool:
    """Whether one thing is nearer than another beyond doubt."""
    return farther(near.distance_km, far.distance_km)


def farther(near_km: float, far_km: float) -> bool:
    """The same of two distances."""
    return far_km >= near_km + LEAST_STEP_KM and far_km >= near_km * LEAST_FACTOR


def often_both(category: str) -> tuple[str, ...]:
    """Categories that a thing of this one often is in as well, whatever the map says: never offered as wrong."""
    return _OFTEN_BOTH.get(category, ())


def gives_away(thing: OsmObject) -> bool:
    """Whether the name says already what the thing is, as far as English goes."""
    return _says(thing.label, thing.kind)


@lru_cache(maxsize=65536)
def _says(label: str, kind: str) -> bool:
    said = label.casefold()
    return any(word in said for word in kind.casefold().split() if len(word) > 3)


def misleads(thing: OsmObject) -> bool:
    """Whether the name says that it is something else: a memorial that is mapped as a park, a restaurant The Harbor.

    Asked what such a thing is, one would rightly answer by its name.
    """
    said = set(re.findall(r"[a-z]+", thing.label.casefold()))
    return bool(said & _NAMES_OF_KINDS) and not gives_away(thing)


def titled(near: Nearby) -> str:
    """Kind and name, ``the cafe Guflina``; the name alone where it says the kind."""
    return near.thing.label if gives_away(near.thing) else f"the {near.thing.kind} {near.thing.label}"
