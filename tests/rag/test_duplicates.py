import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from gaea.errors import InputError
from gaea.rag.duplicates import DuplicateConfig, DuplicateFinder, find_duplicates
from gaea.rag.embed import perceptual_hash
from gaea.rag.encoder import unit_rows
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.hashindex import HashIndex
from gaea.rag.index import Index
from gaea.rag.records import Record

ENCODER = EncoderIdentity("tiny", "nano", "f" * 64, "", "", 8)


def brute_force(hashes, queries, bits):
    apart = np.bitwise_count(queries[:, None] ^ hashes[None, :])
    return [tuple(pair) for pair in np.argwhere(apart <= bits).tolist()]


@given(st.integers(0, 11), st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_every_near_hash_is_found_and_no_other(bits, seed, n):
    rng = np.random.default_rng(seed)
    hashes = np.unique(rng.integers(0, 2**64, n, dtype=np.uint64))
    flips = [np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, k, dtype=np.uint64)) for k in (1, bits + 1, 14)]
    queries = np.concatenate([hashes, *(hashes[:20] ^ flip for flip in flips)])
    query, row = HashIndex(hashes).near(queries, bits)
    assert list(zip(query.tolist(), row.tolist(), strict=True)) == brute_force(hashes, queries, bits)


def test_an_empty_index_finds_nothing():
    query, row = HashIndex(np.zeros(0, np.uint64)).near(np.arange(3, dtype=np.uint64), 6)
    assert len(query) == len(row) == 0
    query, row = HashIndex(np.arange(3, dtype=np.uint64)).near(np.zeros(0, np.uint64), 6)
    assert len(query) == len(row) == 0
    with pytest.raises(InputError, match="0 to 11 of 64 bits"):
        HashIndex(np.zeros(1, np.uint64)).near(np.zeros(1, np.uint64), 12)


@pytest.mark.parametrize("bad", [{"exact": "report"}, {"near": "delete"}, {"bits": 12}, {"cosine": 2.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError):
        DuplicateConfig(**bad)


def record(key, sha256="", phash=0):
    return Record(-1, key, "album", 10.0, 20.0, 0, sha256=sha256, phash=phash)


def filled(folder, rows):
    """An index of (sha256, phash, embedding), two rows a shard."""
    index = Index.create(folder, ENCODER)
    with index.writer() as writer:
        for start in range(0, len(rows), 2):
            part = rows[start : start + 2]
            writer.append([record(f"{start}-{i}", *row[:2]) for i, row in enumerate(part)], [row[2] for row in part])
    return index


def vectors(n, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, 8)))


FILES = [f"{number:064x}" for number in range(1, 20)]
HASHES = np.random.default_rng(3).integers(1, 2**64, 20, dtype=np.uint64)


@pytest.fixture
def index(tmp_path):
    return filled(tmp_path, [(FILES[i], int(HASHES[i]), vectors(6)[i]) for i in range(6)])


def test_duplicates_of_rows_and_of_each_other_are_told_apart(index):
    known = vectors(6)
    new = vectors(3, seed=9)
    sha256 = [FILES[10], FILES[2], FILES[11], FILES[12], FILES[10], FILES[13], FILES[14]]
    phash = np.array([HASHES[10], HASHES[2], HASHES[3] ^ 7, HASHES[10] ^ 1, HASHES[10], HASHES[4], HASHES[14]])
    # New; a file that is there; a picture that is there; its twin in the batch; the same file again;
    # the hash of row 4 with another content; new.
    embeddings = np.array([new[0], known[2], known[3], new[0], new[0], -known[4], new[1]])
    finder = DuplicateFinder(index, DuplicateConfig(near="drop"))
    added, found = finder.examine(sha256, phash, embeddings)
    assert added.tolist() == [True, False, False, False, False, True, True]
    assert [None if one is None else (one.row, one.exact, one.bits) for one in found] == [
        None, (2, True, 0), (3, False, 3), (6, False, 1), (6, True, 0), None, None,
    ]  # fmt: skip
    assert str(found[1]) == "the same file as row 2"
    assert str(found[2]).startswith("the same picture as row 3 (3 bits apart, cosine ")
    added, reported = DuplicateFinder(index, DuplicateConfig()).examine(sha256, phash, embeddings)
    assert added.tolist() == [True, False, True, True, False, True, True]
    assert [one is None for one in reported] == [one is None for one in found]
    added, reported = DuplicateFinder(index, DuplicateConfig(exact="keep", near="keep")).examine(
        sha256, phash, embeddings
    )
    assert added.all()
    assert [one.exact for one in reported if one] == [True, True]


def test_rows_without_hashes_are_nobodys_duplicates(index):
    added, found = DuplicateFinder(index).examine(["", ""], np.zeros(2, np.uint64), vectors(2))
    assert added.all()
    assert found == [None, None]


def test_a_thousand_flat_pictures_are_settled_quickly(tmp_path):
    flat = np.uint64(2**63)
    rows = [(f"{number:064x}", int(flat), vectors(1)[0]) for number in range(4)]
    index = filled(tmp_path, rows)
    n = 3000
    embeddings = np.repeat(vectors(1), n, axis=0)
    embeddings[::2] = vectors(1, seed=5)
    added, found = DuplicateFinder(index, DuplicateConfig(near="drop")).examine(
        [f"{number + 50:064x}" for number in range(n)], np.full(n, flat), embeddings
    )
    # Every second one repeats a row, all others the first of their kind.
    assert np.flatnonzero(added).tolist() == [0]
    assert {one.row for one in found[1::2]} <= {0, 1, 2, 3}
    assert {one.row for one in found[2::2]} == {4}


def test_the_duplicates_of_a_whole_index_are_found(tmp_path):
    rows = [(FILES[i], int(HASHES[i]), vectors(6)[i]) for i in range(6)]
    rows += [(FILES[7], int(HASHES[1] ^ np.uint64(5)), vectors(6)[1]), (FILES[0], int(HASHES[0]), vectors(6)[0])]
    index = filled(tmp_path, rows)
    with index.writer() as writer:
        writer.remove([2])
    found = dict(find_duplicates(index))
    assert {number: (one.row, one.exact) for number, one in found.items()} == {6: (1, False), 7: (0, True)}


def drawing(seed, size=(320, 240)):
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(0, 255, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (rng.uniform(0, 0.8, 4) * [size[0], size[1], size[0] / 2, size[1] / 2]).tolist()
        draw.ellipse([x, y, x + w + 5, y + h + 5], fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_saved_again_keeps_its_hash_and_a_stranger_does_not(seed):
    picture = drawing(seed, (1280, 960))
    original = perceptual_hash(picture)
    saved = io.BytesIO()
    picture.save(saved, "JPEG", quality=60)
    for again in (Image.open(saved), picture.resize((640, 480)), picture.resize((333, 250))):
        assert (original ^ perceptual_hash(again.convert("RGB"))).bit_count() <= 6
    assert (original ^ perceptual_hash(drawing(seed + 100))).bit_count() > 11
