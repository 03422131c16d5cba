"""The whole story on one page: a photo is opened, placed on the map, and talked about.

photo ── memory ──> neighbours ────────┐
   └─ engine ──> S2 symbols or words ──┴──> belief ──> place, area, evidence ──> briefing ──> words
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from PIL import Image

from gaea import places, prompts
from gaea.answer import Alternative, Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.belief import Belief
from gaea.briefing import CANNOT_TELL, UNSURE, Briefing, how_sure, place_facts
from gaea.calibration import Calibration
from gaea.decoding import SearchConfig, search
from gaea.engine import Engine
from gaea.errors import InputError
from gaea.findings import EvidenceKind
from gaea.locate.neighbours import Neighbour, NeighbourLocator, Neighbours
from gaea.locate.text import belief_from_text
from gaea.photo import Photo
from gaea.sphere import great_circle_km
from gaea.spoken import read

SHOWN_SIMILAR, SHOWN_DISSIMILAR = 5, 2
LOCATING_TOKENS = 320
"""Room for five places in JSON, and some words around them."""


class Memory(Protocol):
    """Geotagged pictures that can be recalled by what they look like."""

    @property
    def name(self) -> str:
        """What provenance calls it."""
        ...

    def recall(self, image: Image.Image) -> Neighbours:
        """The neighbours of a picture, most similar first."""

    def strangeness(self, image: Image.Image) -> float:
        """How unlike the gallery's world a picture is."""


@dataclasses.dataclass(frozen=True)
class Assistant:
    """Everything that answering needs, already loaded.

    Attributes:
        engine: The model that talks and points.
        memory: The gallery, or None to answer from the model alone.
        calibration: How far each is trusted.
        provenance: Model, adapter, index and versions, repeated in every answer.
    """

    engine: Engine
    memory: Memory | None
    calibration: Calibration
    provenance: dict[str, Any]

    def open(self, source: Any) -> Chat:
        """Begin a conversation about one photo.

        Args:
            source: Path, bytes, data URL, open file, PIL image or :class:`gaea.photo.Photo`.

        Raises:
            PhotoError: It is not a photo that can be read.
        """
        return Chat(self, source if isinstance(source, Photo) else Photo.open(source))

    def locate(self, sources: Sequence[Any], question: str = "Where is this?") -> list[Answer]:
        """Ask one question of many photos, in order."""
        return [self.open(source).ask(question) for source in sources]

    def describe(self) -> dict[str, Any]:
        """Model, adapter, index and versions."""
        return dict(self.provenance)


class Chat:
    """A conversation about one photo; what was seen and recalled is kept for every later question."""

    def __init__(self, assistant: Assistant, photo: Photo) -> None:
        self.photo = photo
        self.turns: list[tuple[str, str]] = []
        self._with = assistant
        self._timings: dict[str, float] = {}

    def ask(self, question: str = "Where is this?", *, guess: bool = False) -> Answer:
        """Answer one question.

        Args:
            question: In plain words.
            guess: Give the most probable point even where the belief is too wide to stand behind one.

        Raises:
            InputError: The question is empty.
            ModelError: The engine failed.
        """
        if not question.strip():
            raise InputError("the question is empty: ask something, for example 'Where is this?'")
        self._timings = {}
        finding = self.finding
        told = finding if not guess or not finding.abstained else self._find(guess=True)
        with self._timed("talk"):
            messages = prompts.talk(told.briefing, self.turns, question)
            text = self._with.engine.complete(messages, self._sight)
        self.turns.append((question, text))
        timings = {**self._timings, "total": sum(self._timings.values())}
        return dataclasses.replace(told.answer, question=question, text=text, timings=timings)

    @cached_property
    def neighbours(self) -> Neighbours:
        """What the gallery holds that looks like the photo, and unlike it."""
        with self._timed("recall"):
            return self._with.memory.recall(self._image) if self._with.memory else Neighbours((), ())

    @cached_property
    def familiar(self) -> bool:
        """Whether the photo may belong to the world that the gallery shows."""
        memory, limit = self._with.memory, self._with.calibration.strange
        return memory is None or memory.strangeness(self._image) <= limit

    @cached_property
    def beliefs(self) -> dict[str, Belief]:
        """What each locator believes, by name."""
        trust, found = self._with.calibration, {}
        if self.neighbours.similar:
            lat, lon, similarity = self.neighbours.arrays()
            with self._timed("neighbours"):
                found["neighbours"] = NeighbourLocator(trust.neighbours).belief(lat, lon, similarity)
        if self._with.engine.has_geotokens:
            with self._timed("tokens"):
                messages = prompts.locate(prompts.neighbour_tokens(self.neighbours.similar))
                score = self._with.engine.scorer(messages, self._sight)
                found["tokens"] = search(score, SearchConfig(temperature=trust.token_temperature))
        else:
            with self._timed("text"):
                messages = prompts.locate_in_words()
                said = read(self._with.engine.complete(messages, self._sight, max_new_tokens=LOCATING_TOKENS))
                if said.candidates:  # else it knows nothing, which moves nobody
                    found["text"] = belief_from_text([said])
        return found

    @cached_property
    def pooled(self) -> Belief:
        """What the locators believe together, whatever the photo shows."""
        return self._pool(self.beliefs)

    @cached_property
    def belief(self) -> Belief:
        """The pooled belief.

        Of a photo of another world the gallery, and a model trained on it, know nothing. A model that answers in words
        was trained elsewhere and is still heard; without one the belief is even over the Earth.
        """
        return self.pooled if self.familiar else self._pool({k: v for k, v in self.beliefs.items() if k == "text"})

    def _pool(self, beliefs: dict[str, Belief]) -> Belief:
        return self._with.calibration.pool(beliefs)

    @cached_property
    def finding(self) -> Finding:
        """Place, area, evidence and briefing, with a point only where the belief supports one."""
        return self._find(guess=False)

    @cached_property
    def _image(self) -> Image.Image:
        return self.photo.image()

    @cached_property
    def _sight(self) -> Any:
        return self._with.engine.see(self._image)

    @property
    def _worded(self) -> bool:
        """Whether the model named a place in words."""
        return "text" in self.beliefs

    def _find(self, *, guess: bool) -> Finding:
        belief = self.pooled if guess else self.belief
        with self._timed("describe"):
            return find(
                belief,
                self.neighbours if self.familiar or not self._worded else Neighbours(),
                self.photo,
                self._with.calibration,
                provenance={**self._with.provenance, "photo_sha256": self.photo.sha256},
                guess=guess,
                familiar=self.familiar or self._worded,
            )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started, inner = time.perf_counter(), sum(self._timings.values())
        yield
        nested = sum(self._timings.values()) - inner  # stages that this one caused are counted once, by their own name
        self._timings[stage] = time.perf_counter() - started - nested


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
    """Read a belief: the point of least expected distance, its areas, the place, the alternatives and the evidence."""
    lat, lon = belief.point("median")
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
