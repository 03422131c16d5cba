"""From a belief to an answer without words: point, areas, place, evidence, and the briefing for the words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gaea import places
from gaea.answer import Alternative, Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.belief import ANSWERED, Belief
from gaea.briefing import CANNOT_TELL, UNSURE, Briefing, how_sure, place_facts
from gaea.calibration import Calibration
from gaea.findings import EvidenceKind
from gaea.locate.neighbours import Neighbour, NeighbourLocator, Neighbours
from gaea.photo import Photo
from gaea.sphere import great_circle_km

SHOWN_SIMILAR, SHOWN_DISSIMILAR = 5, 2


@dataclasses.dataclass(frozen=True)
class Finding:
    """All of an answer but the words, and the briefing from which the words are made."""

    answer: Answer
    briefing: Briefing

    @property
    def abstained(self) -> bool:
        """Whether no point is given."""
        return self.answer.abstained


def find(
    belief: Belief,
    neighbours: Neighbours,
    photo: Photo,
    trust: Calibration,
    *,
    provenance: dict[str, Any],
    guess: bool = False,
    familiar: bool = True,
) -> Finding:
    """Read a belief: the point that most of it is close to, its areas, the place, the alternatives and the evidence."""
    lat, lon = belief.point(ANSWERED)
    half, most = (belief.radius_km(lat, lon, mass) for mass in trust.region_mass)
    told = how_sure(half, most, belief.information_gain(), trust.abstain_radius_km)
    sure = told if familiar else CANNOT_TELL
    abstained = sure == CANNOT_TELL and not guess
    place = places.describe(lat, lon)
    regions = {} if abstained else {n: belief.region(m) for n, m in zip((50, 90), trust.region_mass, strict=True)}
    shares = places.country_shares(belief.cells, np.exp(belief.log_prob))
    others = [(places.country(code).name, share) for code, share in shares if code and code != place.country_code]
    others = [(name, share) for name, share in others if share >= 0.02][:3]
    evidence = () if sure == CANNOT_TELL else _evidence(neighbours, trust, None if abstained else (lat, lon))
    briefing = Briefing(
        facts=() if abstained else place_facts(place),
        sure=UNSURE if guess and sure == CANNOT_TELL else sure,  # a guess that was asked for is told as one
        radius_km=None if abstained else (half, most),
        alternatives=() if abstained else tuple(others),
        similar=tuple(dict.fromkeys(n.text for n in neighbours.similar if n.text))[:3] if evidence else (),
    )
    answer = Answer(
        question="",
        text="",
        point=None if abstained else Point(lat, lon),
        radius_km=None if abstained else {50: half, 90: most},
        region={n: region.geojson() for n, region in regions.items()},
        place=None if abstained else _place(place),
        evidence=evidence,
        abstained=abstained,
        confidence=Confidence(sure, belief.information_gain(), {n: r.area_km2 for n, r in regions.items()}),
        alternatives=() if abstained else tuple(Alternative(name, share) for name, share in others),
        file_claim=_claim(photo, None if abstained else (lat, lon)),
        provenance=provenance,
    )
    return Finding(answer, briefing)


def _evidence(neighbours: Neighbours, trust: Calibration, point: tuple[float, float] | None) -> tuple[Evidence, ...]:
    """The look-alikes that the point rests on most, or the most similar where there is no point; and the unlike."""
    shares: Sequence[float | None] = [None] * len(neighbours.similar)
    order: Sequence[int] = range(len(neighbours.similar))
    if point is not None and neighbours.similar:
        found = NeighbourLocator(trust.neighbours).evidence(*neighbours.arrays(), at=point)
        shares, order = found.tolist(), np.argsort(-found, kind="stable").tolist()

    def told(n: Neighbour, share: float | None = None) -> Evidence:
        distance = None if point is None else float(great_circle_km(n.lat, n.lon, *point))
        kind: EvidenceKind = "similar" if n.role == "similar" else "dissimilar"
        return Evidence(kind, n.text or "a picture", n.lat, n.lon, distance, n.similarity, n.source, n.credit, share)

    similar = [told(neighbours.similar[i], shares[i]) for i in order[:SHOWN_SIMILAR]]
    return (*similar, *(told(n) for n in neighbours.dissimilar[:SHOWN_DISSIMILAR]))


def _place(place: places.PlaceFacts) -> Place:
    town = place.main_city
    return Place(
        name=town.name if town else place.sea,
        distance_km=town.distance_km if town else None,
        region=place.region,
        country=place.country,
        country_code=place.country_code,
        continent=place.continent,
        population=town.population if town else None,
        sources=tuple(dict.fromkeys(fact.source for fact in place.facts())),
    )


def _claim(photo: Photo, point: tuple[float, float] | None) -> FileClaim | None:
    """What the file says of itself, kept beside the picture's own answer and never mixed with it."""
    said = photo.exif
    if said is None:
        return None
    distance = None
    if said.lat is not None and said.lon is not None and point is not None:
        distance = float(great_circle_km(said.lat, said.lon, *point))
    taken = said.taken.isoformat() if said.taken else None
    return FileClaim(said.lat, said.lon, taken, said.camera, distance, said.problems)
