"""Holds an adapter's choices and verdicts to the fact that it names first: "pharmacy, so B." and "north, so no".

An adapter that was taught so (``concludes`` in its :data:`gaea.adapters.LIKENESS_FILE`) knows or guesses the fact, and
compares no names: of a choice it may say one of the options and then its letter; of a statement it may say anything,
and behind ", so" only the verdict that agrees (:class:`gaea.speech.Conclusion`). All else it says is its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from gaea.prompts import Message
from gaea.speech import CONCLUDES, Conclusion, Speech, asked, conclusions, forms


@dataclasses.dataclass(frozen=True)
class Concluding:
    """What may follow in a reply to one question.

    Attributes:
        conclusion: What the question lets follow.
        choice: The machine that names an option and its letter; None where there are none.
        everything: All tokens.
        words: ``yes`` and ``no`` by their first tokens, and that of ``CONCLUDES``; empty where a tokenizer breaks it.
        decode: Tokens to text.
    """

    conclusion: Conclusion
    choice: Speech | None
    everything: list[int]
    words: dict[str, tuple[int, ...]]
    decode: Callable[[Sequence[int]], str]

    @classmethod
    def about(
        cls,
        messages: Sequence[Message],
        tokenize: Callable[[str], list[int]],
        decode: Callable[[Sequence[int]], str],
        everything: list[int],
        end: int,
    ) -> Concluding:
        """For one conversation.

        Args:
            messages: The last one asks.
            tokenize: Text to ids, without special tokens; a leading space matters to it.
            decode: And back.
            everything: All tokens of the vocabulary.
            end: The token that ends a reply.
        """
        conclusion = Conclusion(asked(messages))
        words, choice = conclusions(tokenize), None
        if conclusion.options and words:
            texts = {form: option for option in conclusion.options.values() for form in forms(option, tokenize)}
            spoken = frozenset({*words[CONCLUDES], *(tokenize(f"a{mark}")[-1] for mark in ",.")})
            choice = Speech(spoken, (), tuple(sorted(texts)), end, texts, conclusion, verdicts=words)
        return cls(conclusion, choice, everything, words, decode)

    def allowed(self, said: Sequence[int]) -> list[int]:
        """Tokens that may follow what was said of a reply so far."""
        if self.choice is not None:
            return self.choice.allowed(said) if said else sorted({form[0] for form in self.choice.opening})
        if not said or (said[-1],) != self.words.get(CONCLUDES):
            return self.everything
        value, comma, rest = self.decode(said[:-1]).strip().rpartition(",")
        if not comma or rest or ". " in value:
            return self.everything
        return sorted({self.words[word][0] for word in self.conclusion.follows([value.strip()])})
