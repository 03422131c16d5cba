"""The gallery as an assistant uses it."""

import numpy as np
import pytest
from PIL import Image

from gaea.errors import GalleryError
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.memory import GalleryMemory
from gaea.rag.neighbours import Exclusion
from gaea.rag.store import MemoryStore
from gaea.sphere import great_circle_km

DIM = 8


class FakeEncoder:
    """Sees a picture's red value only: 0 to 199 are the rows of the gallery."""

    name, dim, fingerprint = "fake", DIM, "f" * 64

    def __init__(self, rows):
        self.rows = rows

    def encode(self, images):
        return np.stack([self.rows[image.getpixel((0, 0))[0]] for image in images])


class JudgingEncoder(FakeEncoder):
    def strangeness(self, images):
        return np.array([image.getpixel((0, 0))[0] / 100 for image in images], np.float32)


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    meta = GalleryMeta("fake", "f" * 64, DIM, source="orbit", credit="nobody")
    text = [f"row {i}" for i in range(200)]
    places = np.degrees(np.arcsin(rng.uniform(-1, 1, 200))), rng.uniform(-180, 180, 200)
    return Gallery.from_embeddings(rng.normal(size=(200, DIM)), *places, meta=meta, labels={"text": text})


def make(gallery, kind=FakeEncoder, **options):
    return GalleryMemory(kind(gallery.embeddings), gallery, MemoryStore.open(gallery), **options)


def picture(row):
    return Image.new("RGB", (4, 4), (row, 0, 0))


def test_a_picture_recalls_itself_first(gallery):
    found = make(gallery).recall(picture(7))
    assert (found.similar[0].row, found.similar[0].text) == (7, "row 7")
    assert found.similar[0].similarity == pytest.approx(1, abs=1e-5)
    assert len(found.similar) == 64
    similarity = [n.similarity for n in found.similar]
    assert similarity == sorted(similarity, reverse=True)
    assert [n.role for n in found.dissimilar].count("dissimilar") == 2


def test_how_many_is_up_to_the_caller(gallery):
    found = make(gallery, k=5, k_dissimilar=1, k_hard=0).recall(picture(7))
    assert (len(found.similar), len(found.dissimilar)) == (5, 1)


def test_what_lies_too_near_can_be_left_out(gallery):
    near = Exclusion(gallery.lat[7], gallery.lon[7], 2000.0)
    found = make(gallery).recall(picture(7), exclude=near)
    assert all(great_circle_km(gallery.lat[7], gallery.lon[7], n.lat, n.lon) > 2000 for n in found.similar)
    assert 7 not in [n.row for n in found.similar]


def test_its_name_tells_source_and_size(gallery):
    assert make(gallery).name == "orbit (200 places)"


def test_strangeness_is_the_encoders_and_nothing_without_one(gallery):
    assert make(gallery).strangeness(picture(150)) == 0.0
    assert make(gallery, JudgingEncoder).strangeness(picture(150)) == pytest.approx(1.5)


def test_another_encoder_is_refused(gallery):
    stranger = FakeEncoder(gallery.embeddings)
    stranger.fingerprint = "0" * 64
    with pytest.raises(GalleryError):
        GalleryMemory(stranger, gallery, MemoryStore.open(gallery))


def test_the_ranking_goes_as_deep_as_asked_and_changes_nothing_else(gallery):
    shallow, deep = make(gallery), make(gallery, depth=150)
    found, more = (memory.recall(picture(150)) for memory in (shallow, deep))
    assert [n.row for n in found.similar] == [n.row for n in more.similar]
    assert [n.row for n in found.dissimilar] == [n.row for n in more.dissimilar]
    assert found.ranking is None
    lat, lon, similarity = more.ranking
    assert len(lat) == min(150, len(gallery))
    assert (np.diff(similarity) <= 0).all()
    for ranked, told in zip((lat, lon, similarity), more.arrays(), strict=True):
        np.testing.assert_allclose(ranked[: len(told)], told, atol=1e-6)
