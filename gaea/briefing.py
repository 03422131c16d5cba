"""What may be said of a place before anything is said: the facts, the doubt and the evidence, in fixed order.

A briefing is the only thing that passes from the locators to the language model, and the thing that training data is
built from, so that what nano learned to read is what it is given.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from gaea.places import PlaceFacts

Sure = Literal["confident", "fairly sure", "unsure", "cannot tell"]
CONFIDENT: Sure = "confident"
FAIRLY_SURE: Sure = "fairly sure"
UNSURE: Sure = "unsure"
CANNOT_TELL: Sure = "cannot tell"


@dataclasses.dataclass(frozen=True)
class Briefing:
    """What the model may know before it talks.

    Attributes:
        facts: (name, value) pairs about the most probable place, in the order they are shown.
        sure: One of ``confident``, ``fairly sure``, ``unsure``, ``cannot tell``.
        radius_km: (50 %, 90 %) radii about the point, or None when there is no point.
        alternatives: (place, share of the belief in 0…1), most probable first, the answer's own place left out.
        similar: Names of places that look alike.
        dissimilar: Names of places that do not.
    """

    facts: tuple[tuple[str, str], ...] = ()
    sure: Sure = CANNOT_TELL
    radius_km: tuple[float, float] | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    similar: tuple[str, ...] = ()
    dissimilar: tuple[str, ...] = ()


def place_facts(place: PlaceFacts) -> tuple[tuple[str, str], ...]:
    """The lines of a briefing that describe a place; what is not known is left out."""
    town = place.main_city
    near = f"{town.name} {town.distance_km:.0f} km" if town and town.distance_km <= 400 else ""
    coast = "" if place.sea and not place.country else ("coastal" if place.coastal else "inland")
    told = (
        ("near", near),
        ("region", place.region or ""),
        ("country", place.country or ""),
        ("sea", place.sea or "" if not place.country else ""),
        ("continent", place.continent or ""),
        ("capital", place.capital or ""),
        ("neighbours", ", ".join(place.neighbours[:6])),
        ("languages", ", ".join(place.languages[:3])),
        ("driving", place.driving_side or ""),
        ("currency", place.currency or ""),
        ("climate", place.climate or ""),
        ("hemisphere", " and ".join(place.hemispheres)),
        ("coast", coast),
    )
    return tuple((name, value) for name, value in told if value)


def how_sure(radius_50_km: float, radius_90_km: float, information_bits: float, abstain_radius_km: float) -> Sure:
    """Words for a belief's width.

    Args:
        radius_50_km: Radius about the point that holds half of the belief.
        radius_90_km: Radius that holds 90 % of it.
        information_bits: Information gained over knowing nothing of the place.
        abstain_radius_km: Largest ``radius_50_km`` for which a point is given.
    """
    if radius_50_km > abstain_radius_km or information_bits < 1.0:
        return CANNOT_TELL
    if radius_90_km <= 150:
        return CONFIDENT
    return FAIRLY_SURE if radius_50_km <= 200 else UNSURE
