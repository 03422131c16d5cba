"""The whole story on one page: a photo is opened, placed on the map, and talked about.

photo ── memory ──> neighbours ────────┐
   └─ engine ──> S2 symbols or words ──┴──> belief ──> place, area, evidence ──> limited ──> briefing ──> words

Everything that leaves a conversation as an :class:`gaea.answer.Answer` has passed :mod:`gaea.limiting`, and its words
:mod:`gaea.discretion`; doors have nothing else to show.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol

from PIL import Image

from gaea import cells as s2
from gaea import prompts
from gaea.answer import Answer
from gaea.belief import Belief
from gaea.calibration import Calibration
from gaea.decoding import SearchConfig, search
from gaea.disclosure import Decision, Level, Policy, SceneJudge
from gaea.discretion import Discretion
from gaea.engine import Engine
from gaea.errors import InputError
from gaea.hilbert import CellArray
from gaea.limiting import limit, told_of
from gaea.locate.neighbours import NeighbourLocator, Neighbours
from gaea.locate.text import belief_from_text
from gaea.narrowing import Narrowing
from gaea.photo import Photo
from gaea.reply import Reply
from gaea.speech import told
from gaea.sphere import EARTH_AREA_KM2
from gaea.spoken import read
from gaea.verdict import Finding, find

__all__ = ["Assistant", "Chat", "Finding", "Memory", "find"]

LOCATING_TOKENS = 320
"""Room for five places in JSON, and some words around them."""


class Memory(Protocol):
    """Geotagged pictures that can be recalled by what they look like."""

    @property
    def name(self) -> str:
        """What provenance calls it."""
        ...

    def recall(self, image: Image.Image, *, narrow: Narrowing | None = None) -> Neighbours:
        """The neighbours of a picture, most similar first; only those that fulfil a narrowing, where one is given."""

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
        disclosure: How precisely a place may be told.
        judge: Tells what kind of scene a picture shows, or None where nobody can.
    """

    engine: Engine
    memory: Memory | None
    calibration: Calibration
    provenance: dict[str, Any]
    disclosure: Policy = dataclasses.field(default_factory=Policy)
    judge: SceneJudge | None = None

    def open(self, source: Any, *, narrow: Narrowing | None = None, disclosure: Level | str | None = None) -> Chat:
        """Begin a conversation about one photo.

        Args:
            source: Path, bytes, data URL, open file, PIL image or :class:`gaea.photo.Photo`.
            narrow: Where the place is known to be; everything is looked for there only.
            disclosure: Tell the place no finer than this; it cannot be finer than the assistant's own policy.

        Raises:
            PhotoError: It is not a photo that can be read.
            InputError: No place fulfils the narrowing, or the level is not known.
        """
        asked = None if disclosure is None else Level.of(disclosure)
        photo = source if isinstance(source, Photo) else Photo.open(source)
        return Chat(self, photo, narrow=narrow, disclosure=asked)

    def locate(self, sources: Sequence[Any], question: str = "Where is this?") -> list[Answer]:
        """Ask one question of many photos, in order."""
        return [self.open(source).ask(question) for source in sources]

    def describe(self) -> dict[str, Any]:
        """Model, adapter, index and versions."""
        return dict(self.provenance)


class Chat:
    """A conversation about one photo; what was seen and recalled is kept for every later question."""

    def __init__(
        self, assistant: Assistant, photo: Photo, *, narrow: Narrowing | None = None, disclosure: Level | None = None
    ) -> None:
        self.photo = photo
        self.narrow = narrow
        self.turns: list[tuple[str, str]] = []
        self._with = assistant
        self._asked = disclosure
        self._area: CellArray | None = narrow.cells() if narrow else None
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
        return self.stream(question, guess=guess).answer

    def stream(
        self,
        question: str = "Where is this?",
        *,
        guess: bool = False,
        stopped: Callable[[], bool] | None = None,
    ) -> Reply:
        """Answer one question in pieces: the place at once, then the words as they are made.

        Args:
            question: In plain words.
            guess: As for :meth:`ask`.
            stopped: Asked often, from other threads as well; true ends the words early.

        Returns:
            A reply whose words have not begun yet; they are made while it is read.

        Raises:
            InputError: The question is empty.
            ModelError: The engine failed; also while the reply is read.
        """
        if not question.strip():
            raise InputError("the question is empty: ask something, for example 'Where is this?'")
        self._timings = {}
        finding = self._told
        if guess and finding.abstained:
            finding = self._limited(self._find(guess=True))
        preview = dataclasses.replace(finding.answer, question=question)
        messages = prompts.talk(finding.briefing, self.turns, question)
        sight, started = self._sight, time.perf_counter()
        said = self._with.engine.stream(messages, sight, stopped=stopped)
        place = preview.place.label if preview.place else ""
        asked = "\n".join([*(earlier for earlier, _ in self.turns), question])
        words = Discretion(self.disclosure, _values(messages), place, asked).held(said)

        def finish(text: str) -> Answer:
            self._timings["talk"] = time.perf_counter() - started
            if text:
                self.turns.append((question, text))
            timings = {**self._timings, "total": sum(self._timings.values())}
            return dataclasses.replace(preview, text=text, timings=timings)

        return Reply(preview, words, finish)

    @property
    def disclosure(self) -> Level:
        """The level that everything told in this conversation is held to."""
        return self._decision.level

    @cached_property
    def _decision(self) -> Decision:
        """How precisely the place may be told, whatever is asked and whatever stands in the picture or its captions."""
        policy, judge = self._with.disclosure, self._with.judge
        if not policy.judges:
            return policy.decide(frozenset(), self._asked)
        with self._timed("judge"):
            scenes = judge.scenes(self._image) if judge else None
        return policy.decide(scenes, self._asked)

    @cached_property
    def neighbours(self) -> Neighbours:
        """What the gallery holds that looks like the photo, and unlike it."""
        memory = self._with.memory
        if memory is None:
            return Neighbours((), ())
        with self._timed("recall"):
            return memory.recall(self._image, narrow=self.narrow) if self.narrow else memory.recall(self._image)

    @cached_property
    def familiar(self) -> bool:
        """Whether the photo shows something, and may belong to the world that the gallery shows."""
        if self.photo.plain:  # a colour alone is like the plainest of the rows, wherever that was taken
            return False
        memory, limit = self._with.memory, self._with.calibration.strange
        return memory is None or memory.strangeness(self._image) <= limit

    @cached_property
    def beliefs(self) -> dict[str, Belief]:
        """What each locator believes, by name."""
        trust, found = self._with.calibration, {}
        if self.neighbours.similar:
            with self._timed("neighbours"):
                rows = getattr(self._with.memory, "rows", None)
                found["neighbours"] = NeighbourLocator(trust.neighbours, rows).of(self.neighbours)
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
        """What locators believe together, of the area that the conversation was narrowed to."""
        pooled = self._with.calibration.pool(beliefs)
        if self._area is None:
            return pooled
        try:
            return pooled.restrict(self._area)
        except InputError:  # no mass there at all: nothing is known but the area
            return Belief.from_weights(self._area, s2.area_km2(self._area))

    @cached_property
    def supported(self) -> bool:
        """Whether the photo speaks for the area that the conversation was narrowed to more than chance does.

        Where it does not, a point inside would rest on what was said of the photo alone, and none is given.
        """
        if self._area is None:
            return True
        heard = self._with.calibration.pool(self.beliefs)
        share = float(s2.area_km2(self._area).sum()) / EARTH_AREA_KM2
        return share > 0.99 or heard.mass_in(self._area) > 1.01 * share

    @cached_property
    def finding(self) -> Finding:
        """Place, area, evidence and briefing, with a point only where the belief supports one; precise, for examiners.

        What may be told of it is in the answers.
        """
        return self._find(guess=False)

    @cached_property
    def _told(self) -> Finding:
        return self._limited(self.finding)

    def _limited(self, finding: Finding) -> Finding:
        """A finding, and the briefing that words are made from, held to the level of disclosure."""
        decision = self._decision
        provenance = {**finding.answer.provenance, "disclosed_because": decision.reason}
        answer = dataclasses.replace(finding.answer, provenance=provenance)
        if decision.level is Level.PRECISE:
            return dataclasses.replace(finding, answer=answer)
        with self._timed("limit"):
            limited = limit(answer, decision.level)
            told = told_of(limited, decision.level, answer)
        return Finding(limited, dataclasses.replace(finding.briefing, similar=(), dissimilar=(), **told))

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
                familiar=(self.familiar or self._worded) and self.supported,
            )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started, inner = time.perf_counter(), sum(self._timings.values())
        yield
        nested = sum(self._timings.values()) - inner  # stages that this one caused are counted once, by their own name
        self._timings[stage] = time.perf_counter() - started - nested


def _values(messages: Sequence[prompts.Message]) -> tuple[str, ...]:
    """What a conversation told the model, which it may repeat: each value, and the names that it lists."""
    values = told(messages)
    return tuple(dict.fromkeys([*values, *(part.strip() for value in values for part in value.split(","))]))
