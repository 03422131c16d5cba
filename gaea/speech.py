"""What a small model may say next: words of speech, and what it was told, whole.

A model of a few million parameters can tell which line of its briefing answers a question, but it misspells a name half
way and miscopies numbers. So its choice is left to it, and its spelling is not: between words of speech, which are
whole as well, it may begin any value that the fenced data holds, and what it has begun it must finish as it was told.
Which value, and which words around it, remain the model's own; a wrong choice is still a wrong answer. This is
constrained decoding, as S2 symbols are decoded under a mask (a finite-state machine over tokens; Willard & Louf 2023,
arXiv 2307.09702). Larger models are not held.

Of a statement to judge, or of options to choose from, such a model was taught to name the fact first and then to
conclude: "The country is Brazil, so no." Which fact, it knows; whether two names are the same, four layers do not learn
(docs/experiments.md). So the conclusion is held to what the reply itself has named (:class:`Conclusion`): it cannot say
Brazil and then agree to Peru. If it named the wrong fact, the conclusion is wrong with it.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from gaea.countries import codes_by_name, normalise
from gaea.prompts import FENCE_CLOSE, FENCE_OPEN, Message

CONCLUDES = " so"
"""The word behind which a conclusion follows."""
VERDICTS = ("yes", "no", *"ABCDEFGH")

_OPEN = re.compile(
    r"\W*(?:(?:please|hello|hi|thanks|and|so|now|tell me)\b\W*)*(?:(?:in|on|at|from|of|to|by|with)\s+)?"
    r"(?:what|which|where|who|whom|whose|when|why|how|name|describe|list|locate)\b",
    re.IGNORECASE,
)
_TAG = re.compile(
    r",\s*(?:right|correct|true|yes|no|or not|am i right|is(?:n['\u2019]t| not)? it|is it not)\W*$", re.IGNORECASE
)
_OPTION = re.compile(r"(?:^|(?<=[\s(]))\(?([A-H])[).:]\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?= (?:Half|I|It|Its|People|The|They|This|You)\b(?!$))")
"""Before a word that begins a sentence, once it is whole: in "St. Thomas" none ends."""
_PERHAPS_ENDED = re.compile(r"(?<=[.!?])(?: \w*)?$")
_SHORT_NAMES = frozenset({"uk", "usa", "uae"})
_MEASURE = re.compile(r"\d[\d.]*(?: (?:km|%))?")


def told(messages: Sequence[Message], *, apart: bool = True) -> list[str]:
    """The values in the fenced data of a conversation: what stands behind each name, and each measure within it.

    Args:
        messages: The conversation.
        apart: Whether a measure may leave the name that it is told of: "10 km" of "Lyon 10 km".
    """
    values: dict[str, None] = {}
    for value, measures in _lines(messages):
        values |= dict.fromkeys([value, *measures] if apart or value[0].isdigit() else [value])
    return list(values)


def _lines(messages: Sequence[Message]) -> Iterator[tuple[str, list[str]]]:
    """What stands behind each name of the fenced data, and the measures within it."""
    for message in messages:
        for part in message["content"]:
            _, opened, rest = part.get("text", "").partition(FENCE_OPEN)
            for line in rest.partition(FENCE_CLOSE)[0].splitlines() if opened else ():
                value = line.partition(": ")[2].strip()
                if value:
                    yield value, _MEASURE.findall(value)


def asked(messages: Sequence[Message]) -> str:
    """The last question of a conversation, without the fenced data before it."""
    texts = [part["text"] for part in messages[-1]["content"] if "text" in part]
    return texts[-1].rpartition(FENCE_CLOSE)[2].strip() if texts else ""


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What follows for a question from the values that a reply has named.

    Attributes:
        question: As asked.
    """

    question: str

    @property
    def options(self) -> dict[str, str]:
        """The options that the question lists, by letter; none where it is a statement to judge."""
        marks = list(_OPTION.finditer(self.question))
        while marks and "".join(mark[1] for mark in marks) != "ABCDEFGH"[: len(marks)]:
            marks = marks[1:]  # "9.5° E. Which of these …"
        if len(marks) < 2:
            return {}
        ends = [mark.start() for mark in marks[1:]] + [len(self.question)]
        return {m[1]: self.question[m.end() : end].strip(" \n,;") for m, end in zip(marks, ends, strict=True)}

    @property
    def possible(self) -> bool:
        """Whether anything can be concluded: of options and statements, and not of a question that asks for a fact."""
        return bool(self.options) or not _OPEN.match(self.question)

    def follows(self, named: Sequence[str]) -> tuple[str, ...]:
        """Verdicts that agree with what was named: letters, or ``yes`` or ``no``; all of them where nothing tells.

        Args:
            named: Values that the reply has said; the longest is what it rests on.
        """
        value = max(named, key=len, default="")
        if self.options:
            names = {normalise(value), *_other_names(value)} - {""}
            same = tuple(letter for letter, text in self.options.items() if normalise(text) in names)
            return same or tuple(self.options)
        if not value:
            return ("yes", "no")
        said = _plain(_TAG.sub("?", self.question))
        # One of several neighbours or languages is true by itself; a list is true only if it is the same list.
        parts = [value] if ", " in said else [value, *value.split(", ")]
        found = (re.search(rf"(?<![\w-]){re.escape(_plain(part))}(?![\w-])", said) for part in parts)
        whole = (m and not said[: m.start()].endswith(", ") and not said[m.end() :].startswith(", ") for m in found)
        words = f" {normalise(self.question)} "
        return ("yes",) if any(whole) or any(f" {name} " in words for name in _other_names(value)) else ("no",)


def _plain(text: str) -> str:
    """Without case, accents and doubled spaces; marks stay."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in apart if not unicodedata.combining(c)).split())


def _other_names(value: str) -> Iterator[str]:
    """The other names of a country, where the value is one; codes are left out, for "it" and "no" are words, too."""
    known, own = codes_by_name(), normalise(value)
    others = (name for name, code in known.items() if code == known.get(own) and name != own)
    return (name for name in others if len(name) > 3 or name in _SHORT_NAMES) if own in known else iter(())


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of speech of one tokenizer, each as its tokens, so that none is made up of pieces of others.

    Attributes:
        opening: Those that begin a reply.
        inside: Those that follow others, with the space before them, and marks.
    """

    opening: tuple[tuple[int, ...], ...] = ()
    inside: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def read(cls, told: Any) -> Words:
        """From the JSON form of :func:`dataclasses.asdict`.

        Raises:
            ValueError: It is not of that form.
        """
        if not isinstance(told, dict) or set(told) != {"opening", "inside"}:
            raise ValueError("expected lists of 'opening' and 'inside' words")
        opening, inside = (
            tuple(tuple(int(token) for token in word) for word in told[k]) for k in ("opening", "inside")
        )
        return cls(opening, inside)


@dataclasses.dataclass(frozen=True)
class Speech:
    """A machine whose states are: free to speak, or so many tokens into a value.

    Attributes:
        spoken: Words of speech of one token, allowed whenever nothing is under way.
        values: What must be finished once begun: what was told, in every form in which it may be written within a
            sentence, and longer words of speech.
        opening: The same as it is written at the very start of a reply.
        end: The token that ends a reply.
        texts: What was told, by its tokens in either form.
        conclusion: What the last question lets follow.
        stops: Tokens that end a sentence.
        times: How often a value was told, where more than once.
        verdicts: Each verdict's tokens, by its word; and those of :data:`CONCLUDES`. Empty where a tokenizer breaks
            that word.
    """

    spoken: frozenset[int]
    values: tuple[tuple[int, ...], ...]
    opening: tuple[tuple[int, ...], ...]
    end: int
    texts: dict[tuple[int, ...], str] = dataclasses.field(default_factory=dict)
    conclusion: Conclusion = Conclusion("")
    stops: frozenset[int] = frozenset()
    times: dict[str, int] = dataclasses.field(default_factory=dict)
    verdicts: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @classmethod
    def about(cls, messages: Sequence[Message], words: Words, tokenize: Callable[[str], list[int]], end: int) -> Speech:
        """For one conversation.

        Args:
            messages: Whose fenced data may be repeated.
            words: Of speech.
            tokenize: Text to ids, without special tokens; a leading space matters to it.
            end: The token that ends a reply.
        """
        values = told(messages, apart=False)
        inside = {form: value for value in values for form in forms(f" {value}", tokenize)}
        opening = {form: value for value in values for form in forms(value, tokenize)}
        return cls(
            frozenset(word[0] for word in words.inside if len(word) == 1),
            tuple(sorted({*inside, *(word for word in words.inside if len(word) > 1)})),
            tuple(sorted({*opening, *words.opening})),
            end,
            {**opening, **inside},
            Conclusion(asked(messages)),
            frozenset(tokenize(f"a{stop}")[-1] for stop in (".", ").")),
            Counter(value for value, _ in _lines(messages)),
            conclusions(tokenize),
        )

    def allowed(self, said: Sequence[int]) -> list[int]:
        """Tokens that may follow what was said of a reply so far; the end alone where nothing fits."""
        free, within, named = True, set[tuple[tuple[int, ...], int]](), list[str]()
        sentence = Counter[str]()
        for position, token in enumerate(said):
            moved = {(value, at + 1) for value, at in within if value[at] == token}
            if free:
                moved |= {(value, 1) for value in self._begun(position, sentence) if value[0] == token}
                if position and self._concludes(said[position - 1]):
                    moved |= {(value, 1) for value in self.verdicts.values() if value[0] == token}
            whole = [value for value, at in moved if at == len(value)]
            now = [self.texts[value] for value in whole if value in self.texts]
            named += now
            sentence.update(now)
            if token in self.stops and (free or whole):  # also one that grew together with a value
                sentence.clear()
            free = (free and token in self.spoken) or bool(whole)
            within = {(value, at) for value, at in moved if at < len(value)}
        if free and said and self._concludes(said[-1]):
            return sorted({self.verdicts[word][0] for word in self.conclusion.follows(named)})
        following = {value[at] for value, at in within}
        if free:
            following |= self._words | {value[0] for value in self._begun(len(said), sentence)} | {self.end}
        return sorted(following) or [self.end]

    @cached_property
    def _words(self) -> frozenset[int]:
        """Words of speech, without the one that leads to a conclusion where there is none to draw."""
        return self.spoken if self.conclusion.possible else self.spoken - {*self.verdicts.get(CONCLUDES, ())}

    def _concludes(self, token: int) -> bool:
        return self.verdicts.get(CONCLUDES) == (token,)

    def _begun(self, position: int, sentence: Counter[str]) -> Iterator[tuple[int, ...]]:
        """What may be begun: in one sentence no value more often than it was told."""
        for value in self.values if position else self.values + self.opening:
            text = self.texts.get(value)
            if text is None or sentence[text] < self.times.get(text, 1):
                yield value


class Unrepeated:
    """Passes a reply on as it comes, without the sentences that it has said before.

    A small model that has lost the thread says its last sentence again. What may still become such a sentence is held
    back until it ends or goes on otherwise.

    Args:
        put: Takes each piece.
    """

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put, self._before = put, list[str]()
        self._sentence, self._passed = "", 0

    def __call__(self, piece: str) -> None:
        """The next piece of the reply; an empty one is passed on as well."""
        self._sentence += piece
        while end := _SENTENCE_END.search(self._sentence):
            rest = self._sentence[end.end() :]
            self._sentence = self._sentence[: end.end()]
            self._finish()
            self._sentence = rest
        self._put(self._ready())

    def end(self) -> None:
        """Nothing more will come."""
        self._finish()

    def _ready(self) -> str:
        perhaps = _PERHAPS_ENDED.search(self._sentence)
        sentence = self._sentence[: perhaps.start()] if perhaps else self._sentence
        if any(said.startswith(sentence.strip()) for said in self._before):
            return ""
        begun, self._passed = self._passed, len(sentence)
        return sentence[begun:]

    def _finish(self) -> None:
        if self._sentence.strip() not in self._before:
            self._put(self._sentence[self._passed :])
            self._before.append(self._sentence.strip())
        self._sentence, self._passed = "", 0


def conclusions(tokenize: Callable[[str], list[int]]) -> dict[str, tuple[int, ...]]:
    """The tokens of what may be concluded, and that of ``CONCLUDES``; empty where a tokenizer breaks that."""
    words = {word: tuple(tokenize(f" {word}")) for word in VERDICTS}
    so = tuple(tokenize(CONCLUDES))
    return {**words, CONCLUDES: so} if len(so) == 1 else {}


def forms(text: str, tokenize: Callable[[str], list[int]]) -> Iterator[tuple[int, ...]]:
    """The tokens of a text, and those of it with a mark behind where the two grow together: ``(CHF)`` and ``,``."""
    plain = tuple(tokenize(text))
    yield plain
    for mark in ",.;":
        marked = tuple(tokenize(text + mark))
        if marked[: len(plain)] != plain:
            yield marked
