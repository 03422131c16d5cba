"""What can be examined: anything that makes a prediction of an item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gaea.eval.records import Item, Prediction
from gaea.photo import Photo
from gaea.places import country_codes
from gaea.spoken import Candidate, Spoken, read

Picture = Callable[[Item], Photo]
"""Opens the picture of an item; raises a GaeaError where there is none."""


class System(Protocol):
    """One system under examination.

    Attributes:
        name: What tables call it.
        settings: Resolved ones, as far as they change what it answers.
        hashes: Of model, prompt, index …
        at_once: Items that it may be asked about at the same time.
    """

    name: str
    settings: Mapping[str, Any]
    hashes: Mapping[str, str]
    at_once: int

    def predict(self, item: Item, picture: Picture) -> Prediction:
        """What it makes of one item.

        Raises:
            GaeaError: It fails; the run notes an error and goes on.
        """


def from_words(item: Item, text: str) -> Prediction:
    """A prediction from words alone: the likeliest place they name, or that they refuse, or that nothing can be read.

    A question that wants no place is answered by any words.
    """
    said = read(text)
    if not text.strip():
        return Prediction(item.id, "unparsable", text, error="the answer is empty")
    if not said.candidates:
        if item.question_type not in (None, "location"):
            return Prediction(item.id, "answered", text)
        status = "refused" if said.refused else "unparsable"
        return Prediction(item.id, status, text, error=said.problem or None)
    best = likeliest(said)
    code = str(country_codes([best.lat], [best.lon])[0])
    city = text.partition(",")[0].strip() if item.question_type == "location" and "," in text else None
    return Prediction(item.id, "answered", text, lat=best.lat, lon=best.lon, country=code or None, city=city)


def likeliest(said: Spoken) -> Candidate:
    """The candidate of most weight, the first of several."""
    return max(said.candidates, key=lambda candidate: candidate.weight)
