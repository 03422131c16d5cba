"""What kind of scene a picture shows, without training for it: its embedding beside those of sentences.

Zero-shot classification as in CLIP (Radford et al. 2021, arXiv 2103.00020, §3.1): each kind has a few sentences, and so
have the public scenes that it is to be told from; the softmax over all of them, at the scale that the encoder was
trained with, is summed by kind. An encoder without a text tower that knows such words cannot judge: nano's was trained
on sentences of satellite pictures, if at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaea.errors import ModelError
from gaea.rag.encoder import Encoder

PUBLIC = "public"

SENTENCES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "private interior": (
            "a photo of a bedroom",
            "a photo of a living room in somebody's home",
            "a photo of a private kitchen",
            "a photo of a bathroom",
        ),
        "home": (
            "a photo of the front door of a private house",
            "a photo of a family house and its driveway",
            "a photo of a private back garden",
        ),
        "minors": (
            "a photo of children",
            "a photo of a child",
            "a photo of a school class",
            "a photo of a baby",
        ),
        "person": (
            "a selfie",
            "a portrait of a person",
            "a close-up photo of a face",
            "a photo of a person posing for the camera",
        ),
        PUBLIC: (
            "a photo of a street",
            "a photo of a landscape",
            "a photo of a city skyline",
            "a photo of a public square with buildings",
            "a photo of a road through the countryside",
            "a photo of mountains",
            "a photo of a beach",
            "a photo of a famous landmark",
            "a photo of the inside of a museum or a church",
            "a photo of a shop or a restaurant",
            "a satellite picture",
            "an aerial photo",
        ),
    }
)
THRESHOLD = 0.5
"""A kind is shown where it has so much of the probability."""

SCALE = 100.0
"""What CLIP's cosines are multiplied with, unless the encoder tells its own."""


class ZeroShotScenes:
    """A :class:`gaea.disclosure.SceneJudge` on an encoder of pictures and words.

    Args:
        encoder: Whose text tower knows everyday words.
        threshold: Probability from which on a kind counts as shown.
    """

    def __init__(self, encoder: Encoder, *, threshold: float = THRESHOLD) -> None:
        self._encoder, self._threshold = encoder, threshold

    @classmethod
    def of(cls, encoder: Any) -> ZeroShotScenes | None:
        """A judge on an encoder, or None where it has no text tower that knows everyday words."""
        return cls(encoder) if getattr(encoder, "knows_words", False) else None

    @cached_property
    def _sentences(self) -> tuple[NDArray[np.float32], list[str]]:
        kinds = [kind for kind, sentences in SENTENCES.items() for _ in sentences]
        return self._encoder.encode_text([each for sentences in SENTENCES.values() for each in sentences]), kinds

    def probabilities(self, image: Image.Image) -> dict[str, float] | None:
        """How probable each kind is, the public ones together; None where the encoder has no text tower."""
        try:
            rows, kinds = self._sentences
        except ModelError:
            return None
        scale = float(getattr(self._encoder, "logit_scale", SCALE))
        logits = scale * (rows @ self._encoder.encode([image])[0]).astype(np.float64)
        share = np.exp(logits - logits.max())
        share /= share.sum()
        return {kind: float(share[[each == kind for each in kinds]].sum()) for kind in SENTENCES}

    def scenes(self, image: Image.Image) -> frozenset[str] | None:
        """See :class:`gaea.disclosure.SceneJudge`.

        Private kinds count together first, so that a picture that is surely one of two of them is not taken for
        neither; then the likeliest is shown, and each that passes the threshold by itself.
        """
        shares = self.probabilities(image)
        if shares is None:
            return None
        private = {kind: share for kind, share in shares.items() if kind != PUBLIC}
        if sum(private.values()) < self._threshold:
            return frozenset()
        likeliest = max(private, key=lambda kind: private[kind])
        return frozenset({likeliest, *(kind for kind, share in private.items() if share >= self._threshold)})
