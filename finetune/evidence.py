"""Neighbours in the training prompt: so that a model learns to use evidence, and to resist wrong evidence.

A model that always saw the right neighbours copies them; at a place that no index knows it then copies a mistake. So
some samples are told nothing, some are told neighbours from beyond the surroundings of the picture, and some the
neighbours of quite another picture. What is told is written as :mod:`gaea.rag.augment` writes it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from gaea.errors import InputError
from gaea.finetune.dataset import Example
from gaea.finetune.lora import EvidenceRecipe, shipped_nano
from gaea.locate.neighbours import Neighbours
from gaea.rag import augment
from gaea.rag.memory import GalleryMemory
from gaea.rag.neighbours import Exclusion, RetrievalConfig, find
from gaea.sphere import great_circle_km

_TRIES = 20
_KEPT = 20_000
"""Pictures whose neighbours are remembered; about 1 KB each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Tells what an index holds about a picture; a :data:`gaea.finetune.examples.Tell`.

    Attributes:
        memory: Encoder, gallery and store.
        recipe: How much is told, and how often it is left out or wrong.
        seed: With the row's number, decides what a row is told; the same in every epoch and after a restart.
        kept: What pictures were found to be like: rows come about one picture many at a time, and in every epoch again.
    """

    memory: GalleryMemory
    recipe: EvidenceRecipe
    seed: int = 0
    kept: dict[tuple[object, ...], Neighbours] = dataclasses.field(default_factory=dict)

    def __call__(self, row: int, example: Example, image: Image.Image) -> str:
        """The evidence for one row, fenced, with a sentence saying what it is; empty where it is left out."""
        rng = np.random.default_rng((self.seed, row))
        draw = rng.random()
        if draw < self.recipe.dropped_share:
            return ""
        if draw < self.recipe.dropped_share + self.recipe.wrong_share:
            found = self.wrong(example, image, rng)
        else:
            found = self._recall(image, example, far=rng.random() < self.recipe.unseen_share)
        block = augment.render(found, name=augment.place_name)
        return f"{augment.REFERENCE}\n{block}" if block else ""

    def wrong(self, example: Example, image: Image.Image, rng: np.random.Generator) -> Neighbours:
        """Neighbours of a picture of the gallery that was taken far from this one; none if all were taken near."""
        here, gallery = example.place, self.memory.gallery
        if here is None:
            # The photo itself counts here, if the gallery has it: it knows best where it was taken.
            nearest = find(self.memory.encoder.encode([image])[0], self.memory.store, gallery, self._config()).similar
            here = (nearest[0].lat, nearest[0].lon) if nearest else None
        for other in rng.integers(len(gallery), size=_TRIES):
            lat, lon = float(gallery.lat[other]), float(gallery.lon[other])
            if here is None or great_circle_km(*here, lat, lon) >= self.recipe.wrong_km:
                return find(gallery.embeddings[other], self.memory.store, gallery, self._config())
        return Neighbours()

    def _recall(self, image: Image.Image, example: Example, *, far: bool) -> Neighbours:
        key = (*example.images, example.place, far, self.recipe)
        if key not in self.kept:
            if len(self.kept) >= _KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = self._found(image, example, far=far)
        return self.kept[key]

    def _found(self, image: Image.Image, example: Example, *, far: bool) -> Neighbours:
        place, within_km = example.place or (0.0, 0.0), self.recipe.unseen_km if far and example.place else 0.0
        exclude = Exclusion(*place, within_km, similarity_from=self.recipe.same_from)
        config = self._config(exclude)
        try:
            return find(self.memory.encoder.encode([image])[0], self.memory.store, self.memory.gallery, config)
        except InputError:  # the whole gallery lies within unseen_km, or is this picture
            return Neighbours()

    def _config(self, *exclusions: Exclusion) -> RetrievalConfig:
        told = self.recipe
        return RetrievalConfig(told.similar, told.dissimilar, told.hard, exclusions=exclusions)


def open_evidence(recipe: EvidenceRecipe, *, device: str = "cpu", seed: int = 0) -> Evidence:
    """Open the index that a recipe names, with the encoder that it was built with, searched exactly.

    Raises:
        InputError: The recipe names none.
        GaeaError: The index or its encoder cannot be opened.
    """
    from gaea.rag.encoders import load_encoder
    from gaea.rag.gallery import Gallery
    from gaea.rag.index import Index
    from gaea.rag.store import MemoryStore
    from gaea.rag.sync import open_index_store

    if recipe.index is None:
        raise InputError("retrieval names no index: expected a folder made by 'gaea index build', or nano")
    if recipe.index == "nano":
        gallery, encoder = Gallery.read(shipped_nano().parent / "gallery"), load_encoder("nano", device=device)
        return Evidence(GalleryMemory(encoder, gallery, MemoryStore.open(gallery)), recipe, seed)
    index = Index.open(Path(recipe.index))
    encoder = load_encoder(index.encoder.spec, device=device)
    index.check_encoder(encoder)
    return Evidence(GalleryMemory(encoder, index.gallery, open_index_store(index, "memory")), recipe, seed)
