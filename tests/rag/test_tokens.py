"""GeoToken's network reads what the gallery recalls, and nothing of another length."""

import numpy as np
import pytest
import torch
from PIL import Image

from gaea.decoding import BeamConfig, SearchConfig, greedy
from gaea.errors import InputError
from gaea.locate.neighbours import Neighbours
from gaea.locate.tokennet import TokensNet
from gaea.locate.tokens import TokensConfig, TokensLocator
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.memory import GalleryMemory
from gaea.rag.store import MemoryStore
from gaea.rag.tokens import GalleryTokens

PICTURE = Image.new("RGB", (8, 8))
SIZES = TokensConfig(
    image_width=6,
    location_width=0,
    text_width=0,
    width=16,
    encoder_layers=1,
    decoder_layers=1,
    heads=2,
    feedforward=16,
    neighbours=4,
    length=3,
    folded=True,
)


class Encoder:
    """Sees the same in every picture."""

    name, fingerprint, dim = "same", "same", 6

    def encode(self, images):
        return np.eye(1, 6, dtype=np.float32).repeat(len(images), 0)


def locator(**changes):
    torch.manual_seed(0)
    return TokensLocator(TokensNet(TokensConfig(**({**vars(SIZES)} | changes))))


@pytest.fixture(scope="module")
def memory():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    meta = GalleryMeta("same", "same", 6, "test", "nobody", "CC0")
    gallery = Gallery.from_embeddings(rows, rng.uniform(-80, 80, 30), rng.uniform(-180, 180, 30), meta=meta)
    return GalleryMemory(Encoder(), gallery, MemoryStore.open(gallery), k=8)


def test_the_nearest_neighbours_are_read_and_no_others(memory):
    tokens, recalled = GalleryTokens(memory, locator()), memory.recall(PICTURE)
    shallow = BeamConfig(symbols=3)
    known = greedy(tokens.scorer(PICTURE, recalled), shallow).candidates[0]
    first = Neighbours(recalled.similar[:4], ())
    assert greedy(tokens.scorer(PICTURE, first), shallow).candidates[0] == known
    root = np.zeros((1, 0), np.int64)
    other = Neighbours(recalled.similar[4:8], ())
    assert np.abs(tokens.scorer(PICTURE, other)(root) - tokens.scorer(PICTURE, first)(root)).max() > 1e-5


def test_a_belief_is_no_finer_than_the_network_writes(memory):
    tokens, recalled = GalleryTokens(memory, locator()), memory.recall(PICTURE)
    belief = tokens.belief(PICTURE, recalled, SearchConfig(symbols=6, keep=0.0, width=4))
    assert belief.elsewhere == 0
    assert belief.cells.size > 30


def test_a_network_of_other_features_is_refused(memory):
    with pytest.raises(InputError, match=r"reads features of lengths \(7,\), and the gallery has one of 6"):
        GalleryTokens(memory, locator(image_width=7))


def test_a_network_that_learned_from_another_encoder_is_refused(memory):
    assert GalleryTokens(memory, locator(encoder="same")).locator.config.encoder == "same"
    with pytest.raises(InputError, match=r"learned to read the encoder other, and the gallery is of same: train it"):
        GalleryTokens(memory, locator(encoder="other"))
