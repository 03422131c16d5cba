"""Neighbours in training prompts: of right places, of wrong ones in a share of samples, and never the photo itself."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from gaea.errors import InputError
from gaea.finetune import evidence
from gaea.finetune.dataset import Example, Turn
from gaea.finetune.evidence import Evidence
from gaea.finetune.examples import messages
from gaea.finetune.lora import EvidenceRecipe
from gaea.rag import augment
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.memory import GalleryMemory
from gaea.rag.store import open_store
from gaea.sphere import great_circle_km, to_xyz

LAT, LON = (grid.ravel() for grid in np.meshgrid(np.arange(-60, 61, 10.0), np.arange(-180, 180, 10.0), indexing="ij"))
NOISE = 0.3 * np.random.default_rng(0).normal(size=(len(LAT), 5))
VECTORS = np.concatenate([to_xyz(LAT, LON), NOISE], 1).astype(np.float32)  # near places look alike
HERE = 200


class Encoder:
    """Sees in the colour of a picture which row of the gallery it shows."""

    name, fingerprint, dim = "fake", "a" * 64, 8

    def encode(self, images: list[Image.Image]) -> np.ndarray:
        rows = np.array([image.getpixel((0, 0))[0] * 256 + image.getpixel((0, 0))[1] for image in images])
        return VECTORS[rows] / np.linalg.norm(VECTORS[rows], axis=1, keepdims=True)


def photo(row: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (row // 256, row % 256, 0))


def example(row: int, *, placed: bool = True) -> Example:
    ours = {"lat": float(LAT[row]), "lon": float(LON[row])} if placed else {}
    turns = (Turn("human", "<image>\nWhere is this?"), Turn("gpt", "Here."))
    return Example((f"{row}.png",), "SVQA", turns, ours=ours)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> GalleryMemory:
    encoder = Encoder()
    vectors = encoder.encode([photo(row) for row in range(len(LAT))])
    meta = GalleryMeta(encoder.name, encoder.fingerprint, encoder.dim)
    gallery = Gallery.from_embeddings(vectors, LAT, LON, meta=meta)
    return GalleryMemory(encoder, gallery, open_store(gallery, "memory", tmp_path_factory.mktemp("store")))


def places(block: str) -> list[tuple[float, float]]:
    return [(float(lat), float(lon)) for lat, lon in re.findall(r"\((-?[\d.]+), (-?[\d.]+)\)", block)]


def of(memory: GalleryMemory, **shares: float) -> Evidence:
    plain = {"dropped_share": 0.0, "wrong_share": 0.0, "unseen_share": 0.0}
    return Evidence(memory, EvidenceRecipe(index="x", similar=4, **(plain | shares)))


def test_the_photo_itself_is_never_told(memory: GalleryMemory) -> None:
    whole = of(memory)(HERE, example(HERE), photo(HERE))
    told = places(whole.split("Places that look alike")[0].split("Places of dissimilar")[0])
    assert len(told) == 4
    here = (float(LAT[HERE]), float(LON[HERE]))
    assert here not in places(whole)
    assert whole.startswith(augment.REFERENCE)
    assert whole.count("<data>") - augment.REFERENCE.count("<data>") == 1
    loose = dataclasses.replace(of(memory).recipe, same_from=2.0)
    assert here in places(Evidence(memory, loose)(HERE, example(HERE), photo(HERE)))


def test_unseen_places_are_told_of_from_afar(memory: GalleryMemory) -> None:
    far = of(memory, unseen_share=1.0)
    far = dataclasses.replace(far, recipe=dataclasses.replace(far.recipe, unseen_km=1500.0))
    told = places(far(HERE, example(HERE), photo(HERE)))
    assert told
    assert min(great_circle_km(LAT[HERE], LON[HERE], lat, lon) for lat, lon in told) >= 1500
    near = places(of(memory)(HERE, example(HERE), photo(HERE)))
    assert min(great_circle_km(LAT[HERE], LON[HERE], lat, lon) for lat, lon in near) < 1500
    assert far(HERE, example(HERE, placed=False), photo(HERE))  # without a place there is no distance to keep


@pytest.mark.parametrize("placed", [True, False])
def test_wrong_neighbours_are_those_of_a_far_picture(memory: GalleryMemory, placed: bool) -> None:
    lying = of(memory, wrong_share=1.0)
    for row in range(0, len(LAT), 90):
        found = lying.wrong(example(row, placed=placed), photo(row), np.random.default_rng(row))
        nearest = found.similar[0]
        assert great_circle_km(LAT[row], LON[row], nearest.lat, nearest.lon) > 900
        assert nearest.similarity > 0.999  # of the picture that they are the neighbours of


def test_shares_are_kept_and_a_row_is_told_the_same_again(memory: GalleryMemory) -> None:
    some = of(memory, dropped_share=0.3, wrong_share=0.2)
    rows = range(0, len(LAT), 4)
    told = [some(row, example(row), photo(row)) for row in rows]
    assert told[:20] == [some(row, example(row), photo(row)) for row in rows[:20]]
    assert 0.2 < sum(not text for text in told) / len(rows) < 0.4
    truth = of(memory)
    right = sum(text == truth(row, example(row), photo(row)) for row, text in zip(rows, told, strict=True))
    assert 0.38 < right / len(rows) < 0.62
    other = dataclasses.replace(some, seed=1)
    assert told[:20] != [other(row, example(row), photo(row)) for row in rows[:20]]


def test_evidence_stands_before_the_question_in_one_message(memory: GalleryMemory) -> None:
    told = of(memory)(HERE, example(HERE), photo(HERE))
    talk = messages(example(HERE), evidence=told)
    assert [message["role"] for message in talk] == ["system", "user", "assistant"]
    picture, text = talk[1]["content"]
    assert picture == {"type": "image"}
    assert text["text"].startswith("Answer with a word or a short phrase.\n")
    assert text["text"].endswith(f"{told}\nWhere is this?")


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="expected shares of 0 to 1"):
        EvidenceRecipe(dropped_share=0.7, wrong_share=0.7)
    with pytest.raises(InputError, match="names no index"):
        evidence.open_evidence(EvidenceRecipe())
