"""What nano's language model learns from: pointing at places and talking about them, made up anew for every row.

Two kinds take turns. *Pointing*: picture and neighbours in, S2 symbols out; some rows are told no neighbours, and some
only far ones, as at a place that nobody photographed. *Talking*: picture and briefing in, several questions and answers
out. A row follows from its number alone, so that none is kept, and a restarted run goes on with those that were next.
They are trained on like rows from files (:func:`gaea.finetune.sft.fit`).
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gaea import prompts
from gaea.briefing import Briefing
from gaea.errors import InputError
from gaea.finetune import briefings, dialogue, qa
from gaea.finetune.collate import Encoded, encode
from gaea.geotokens import encode as to_symbols
from gaea.geotokens import to_text
from gaea.locate.neighbours import Neighbour
from gaea.speech import CONCLUDES, VERDICTS, Words
from gaea.speech import told as told_values
from gaea.sphere import great_circle_km

_VERDICT = re.compile(rf"(?<={CONCLUDES}) (?:{'|'.join(VERDICTS)})\b")
SYMBOLS = 6
"""An answer in S2 symbols reaches level 10, 9 km: finer than a row of the gallery."""


@dataclasses.dataclass(frozen=True)
class LessonsConfig:
    """How rows are made up.

    Attributes:
        turns: Questions in the longest conversation; others have a quarter as many and more.
        talks: Groups of rows that talk, to one group of rows that point.
        blind_share: Share of pointing rows without neighbours.
        unseen_share: Share whose neighbours are taken only from beyond ``unseen_km``, as at an unseen place.
        unseen_km: That distance.

    Raises:
        InputError: A share out of range, or fewer than one group that talks.
    """

    turns: int = 5
    talks: int = 1
    blind_share: float = 0.15
    unseen_share: float = 0.5
    unseen_km: float = 180.0

    def __post_init__(self) -> None:
        """Check the shares."""
        shares = self.blind_share, self.unseen_share
        if not all(0 <= share <= 1 for share in shares):
            raise InputError(f"lessons: blind_share and unseen_share are {shares}, expected 0 to 1")
        if self.talks < 1:
            raise InputError(f"lessons: talks is {self.talks}, expected at least 1")


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A conversation, its last turn the assistant's, and the number of the picture that it is about."""

    messages: list[prompts.Message]
    picture: int


@dataclasses.dataclass(frozen=True, eq=False)
class Pointing:
    """Draws rows that point.

    Attributes:
        lat: Where the pictures were taken, degrees, (n,).
        lon: Likewise.
        nearest: Rows of a gallery most like each picture, most similar first, (n, k).
        similarity: Their cosines, (n, k).
        known_lat: Where the gallery's rows lie, (m,).
        known_lon: Likewise.
        config: How.
    """

    lat: npt.NDArray[np.floating[Any]]
    lon: npt.NDArray[np.floating[Any]]
    nearest: npt.NDArray[np.integer[Any]]
    similarity: npt.NDArray[np.floating[Any]]
    known_lat: npt.NDArray[np.floating[Any]]
    known_lon: npt.NDArray[np.floating[Any]]
    config: LessonsConfig

    def __call__(self, rng: np.random.Generator) -> Lesson:
        """One row."""
        picture = int(rng.integers(len(self.lat)))
        asked = prompts.locate(prompts.neighbour_tokens(self._told(picture, rng)))
        symbols = to_symbols(float(self.lat[picture]), float(self.lon[picture]))[:SYMBOLS]
        return Lesson(answered(asked, to_text(symbols)), picture)

    def _told(self, picture: int, rng: np.random.Generator) -> list[Neighbour]:
        if rng.random() < self.config.blind_share:
            return []
        near, alike = self.nearest[picture], self.similarity[picture]
        lat, lon = self.known_lat[near], self.known_lon[near]
        if rng.random() < self.config.unseen_share:
            far = great_circle_km(lat, lon, self.lat[picture], self.lon[picture]) > self.config.unseen_km
            near, alike, lat, lon = near[far], alike[far], lat[far], lon[far]
        rows = zip(near.tolist(), lat.tolist(), lon.tolist(), alike.tolist(), strict=True)
        return [Neighbour(*row, "similar") for row in islice(rows, prompts.NEIGHBOURS)]


@dataclasses.dataclass(frozen=True, eq=False)
class Talking:
    """Draws conversations about known places.

    Attributes:
        world: What is known of the first pictures, in their order.
        doubt: How often a briefing is wrong.
        turns: Questions in the longest conversation.
    """

    world: Sequence[briefings.KnownPlace]
    doubt: briefings.DoubtConfig
    turns: int

    def __call__(self, rng: np.random.Generator) -> Lesson:
        """One row."""
        return self.about(int(rng.integers(len(self.world))), rng)

    def about(self, picture: int, rng: np.random.Generator) -> Lesson:
        """A conversation about one of the pictures."""
        briefing, items = self.conversation(picture, rng)
        turns = [(item.question, item.answer) for item in items]
        return Lesson(answered(prompts.talk(briefing, turns[:-1], turns[-1][0]), turns[-1][1]), picture)

    def conversation(self, picture: int, rng: np.random.Generator) -> tuple[Briefing, list[qa.Item]]:
        """What is told of a picture, and questions about it with their answers."""

        def doubted(of: int) -> Briefing:
            return briefings.doubt(self.world[of], self.world, rng, self.doubt)

        briefing = doubted(picture)
        others = [doubted(int(other)) for other in rng.integers(len(self.world), size=5)]
        turns = int(rng.integers(max(1, self.turns // 4), self.turns + 1))
        return briefing, dialogue.conversation(briefing, others, rng, turns)

    def spoken(self, tokenizer: Any, rng: np.random.Generator, count: int = 3000) -> Words:
        """The words that may always be said; names and numbers have to be told."""
        answers = []
        for picture in rng.integers(len(self.world), size=count):
            briefing, items = self.conversation(int(picture), rng)
            values = told_values(prompts.talk(briefing, (), items[0].question))
            answers += [(item.answer, values) for item in items]
        return spoken_words(answers, tokenizer)


@dataclasses.dataclass(frozen=True, eq=False)
class Lessons:
    """Rows as a torch dataset, each from its number.

    Attributes:
        images_NHWC: uint8; those that are talked about come first.
        point: Draws rows that point.
        talk: Draws rows that talk.
        processor: Of the model.
        count: How many rows there are.
        together: Rows of one kind that follow each other: what a device takes at once. Those that point are short, and
            beside ones that talk most of them would be padding.
        max_tokens: Longer ones are cut.
        seed: Of everything drawn.
    """

    images_NHWC: npt.NDArray[np.uint8]
    point: Pointing
    talk: Talking
    processor: Any
    count: int
    together: int = 1
    max_tokens: int = 1024
    seed: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Encoded:
        """The row as tensors."""
        lesson = self.drawn(row)
        image = Image.fromarray(self.images_NHWC[lesson.picture])
        return encode(lesson.messages, image, self.processor, max_tokens=self.max_tokens)

    def drawn(self, row: int) -> Lesson:
        """The row as a conversation."""
        rng = np.random.default_rng((self.seed, row))
        return self.talk(rng) if row // self.together % (1 + self.point.config.talks) else self.point(rng)

    def lengths(self) -> None:
        """Rows keep their order, in which the kinds take turns."""


def answered(asked: Sequence[prompts.Message], answer: str) -> list[prompts.Message]:
    """A prompt and what the assistant says to it."""
    return [*asked, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]


def spoken_words(answers: Sequence[tuple[str, Sequence[str]]], tokenizer: Any, share: float = 0.0005) -> Words:
    """What answers say around the values they repeat, and the verdicts they come to: the words of speech.

    Args:
        answers: Each with the values that were told.
        tokenizer: The model's.
        share: Least share of the answers that a word must appear in.
    """
    opening, inside = Counter[tuple[int, ...]](), Counter[tuple[int, ...]]()
    for answer, values in answers:
        around = [_VERDICT.sub("", answer)]
        for value in sorted(values, key=len, reverse=True):
            around = [part for text in around for part in text.split(value)]
        first, *rest = (_words(part.rstrip(" "), tokenizer) for part in around)
        opening.update(first[:1])
        inside.update({word for words in (first[1:], *rest) for word in words})
    least = share * len(answers)
    return Words(*(tuple(sorted(w for w, n in counted.items() if n >= least)) for counted in (opening, inside)))


def _words(text: str, tokenizer: Any) -> list[tuple[int, ...]]:
    """A text as words, each as its tokens, by the tokenizer's own division."""
    encoded = tokenizer(text, add_special_tokens=False)
    pairs = zip(encoded.word_ids(), encoded["input_ids"], strict=True)
    return [tuple(token for _, token in word) for _, word in groupby(pairs, key=lambda pair: pair[0])]
