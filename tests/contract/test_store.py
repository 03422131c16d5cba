"""One contract, every vector store."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaea.errors import GalleryError, InputError
from gaea.rag.chroma import ChromaStore
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.store import MemoryStore, Store, open_store

DIM = 16


def make_vectors(n, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_gallery(n=300, seed=0):
    rng = np.random.default_rng(seed)
    meta = GalleryMeta(encoder="tiny", fingerprint="f" * 64, dim=DIM)
    return Gallery.from_embeddings(make_vectors(n, seed), rng.uniform(-90, 90, n), rng.uniform(-180, 180, n), meta=meta)


@pytest.fixture(params=["memory", "chroma"])
def store(request, tmp_path):
    made = MemoryStore(DIM) if request.param == "memory" else ChromaStore(tmp_path / "db", DIM)
    yield made
    made.close()


def test_is_a_store(store):
    assert isinstance(store, Store)
    assert store.count() == 0


def test_nearest_first_and_equal_to_exact(store):
    rows, queries = make_vectors(400), make_vectors(20, seed=1)
    store.add(range(400), rows)
    ids, similarity = store.query(queries, 8)
    exact = queries @ rows.T
    assert ids.dtype == np.int64
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert np.array_equal(ids, np.argsort(-exact, axis=1)[:, :8])
    np.testing.assert_allclose(similarity, np.take_along_axis(exact, ids, axis=1), atol=1e-5)


def test_every_row_finds_itself(store):
    rows = make_vectors(200)
    store.add(np.arange(200) * 7, rows)
    ids, similarity = store.query(rows, 1)
    assert np.array_equal(ids[:, 0], np.arange(200) * 7)
    np.testing.assert_allclose(similarity, 1, atol=1e-5)


def test_a_negated_query_finds_the_farthest(store):
    rows = make_vectors(100)
    store.add(range(100), rows)
    ids, similarity = store.query(-rows[:5], 3)
    assert np.array_equal(ids, np.argsort(rows[:5] @ rows.T, axis=1)[:, :3])
    assert (similarity > 0).all()  # the similarity is that with the negated query


def test_length_does_not_matter(store):
    rows = make_vectors(50)
    store.add(range(50), rows * 12)
    ids, similarity = store.query(rows[:3] * 0.01, 1)
    assert ids[:, 0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(similarity, 1, atol=1e-5)


def test_k_beyond_the_count_gives_all_there_is(store):
    store.add([4, 9], make_vectors(2))
    ids, similarity = store.query(make_vectors(3, seed=5), 10)
    assert ids.shape == similarity.shape == (3, 2)
    assert set(ids[0]) == {4, 9}


def test_no_queries_and_no_rows(store):
    assert store.query(make_vectors(2), 3)[0].shape == (2, 0)
    store.add([], np.zeros((0, DIM)))
    store.add(range(10), make_vectors(10))
    assert store.query(np.zeros((0, DIM)), 3)[0].shape == (0, 3)


def test_ids_already_there_are_refused_and_nothing_is_added(store):
    store.add([1, 2], make_vectors(2))
    with pytest.raises(InputError, match=r"ids 2 are in the store already"):
        store.add([3, 2], make_vectors(2, seed=1))
    with pytest.raises(InputError, match="ids 5"):
        store.add([5, 5], make_vectors(2, seed=1))
    assert store.count() == 2


def test_wrong_shapes_are_refused(store):
    store.add(range(3), make_vectors(3))
    with pytest.raises(InputError, match=r"shape \(2, 7\): this store holds vectors of shape \(n, 16\)"):
        store.add([7, 8], np.ones((2, 7)))
    with pytest.raises(InputError, match=r"shape \(16,\)"):
        store.query(np.ones(DIM), 1)
    with pytest.raises(InputError, match="1 ids for 2 embeddings"):
        store.add([7], make_vectors(2))
    with pytest.raises(InputError, match="k is 0"):
        store.query(make_vectors(1), 0)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_vectors_without_direction_are_refused(store, value):
    rows = make_vectors(3)
    rows[1] = value
    with pytest.raises(InputError, match="embedding 1 is zero or not finite"):
        store.add(range(3), rows)
    store.add(range(3), make_vectors(3))
    with pytest.raises(InputError, match="embedding 1 is zero or not finite"):
        store.query(rows, 2)


@pytest.mark.parametrize("backend", ["memory", "chroma"])
def test_opened_from_a_gallery_rows_are_ids(backend, tmp_path):
    gallery = make_gallery()
    store = open_store(gallery, backend, tmp_path)
    ids, _ = store.query(gallery.embeddings, 1)
    assert np.array_equal(ids[:, 0], np.arange(len(gallery)))
    store.close()


def test_unknown_backend_is_named(tmp_path):
    with pytest.raises(InputError, match="'faiss' is not one of chroma, memory"):
        open_store(make_gallery(5), "faiss", tmp_path)


def test_memory_search_is_the_same_in_blocks(monkeypatch):
    store = MemoryStore(DIM)
    store.add(range(500), make_vectors(500))
    whole = store.query(make_vectors(90, seed=2), 5)
    monkeypatch.setattr("gaea.rag.store._BLOCK", 2000)
    blocks = store.query(make_vectors(90, seed=2), 5)
    assert np.array_equal(whole[0], blocks[0])


def test_memory_orders_ties_by_row():
    store = MemoryStore(2)
    store.add(range(6), [[1, 0]] * 6)
    assert store.query([[1, 0]], 6)[0].tolist() == [[0, 1, 2, 3, 4, 5]]


def test_chroma_persists_and_is_not_built_twice(tmp_path):
    gallery, built = make_gallery(), []
    first = ChromaStore.open(gallery, tmp_path, progress=lambda done, total: built.append((done, total)))
    before = first.query(gallery.embeddings[:5], 4)
    first.close()
    assert built == [(300, 300)]
    again = ChromaStore.open(gallery, tmp_path, progress=lambda done, total: pytest.fail("rebuilt"))
    assert np.array_equal(again.query(gallery.embeddings[:5], 4)[0], before[0])
    again.close()


def test_chroma_keeps_another_gallery_apart(tmp_path):
    one, other = make_gallery(seed=0), make_gallery(seed=1)
    stores = [ChromaStore.open(gallery, tmp_path) for gallery in (one, other)]
    assert len(list(tmp_path.glob("chroma-*[!k]"))) == 2
    assert stores[1].query(other.embeddings[:1], 1)[1][0, 0] > 0.999
    for store in stores:
        store.close()


def test_chroma_never_uses_a_half_built_index(tmp_path):
    gallery = make_gallery()

    class KilledError(Exception):
        pass

    def kill(done, total):
        raise KilledError

    with pytest.raises(KilledError):
        ChromaStore.open(gallery, tmp_path, progress=kill)
    assert not [path for path in tmp_path.glob("chroma-*") if path.is_dir() and path.suffix != ".building"]
    store = ChromaStore.open(gallery, tmp_path)
    assert store.count() == 300
    store.close()
    assert not list(tmp_path.glob("*.building"))


def test_chroma_rebuilds_what_is_damaged(tmp_path):
    gallery = make_gallery()
    ChromaStore.open(gallery, tmp_path).close()
    database = next(tmp_path.glob("chroma-*/chroma.sqlite3"))
    database.write_bytes(b"not a database" * 1000)
    store = ChromaStore.open(gallery, tmp_path)
    assert store.count() == 300
    store.close()


def test_chroma_without_a_place_to_write_says_so(tmp_path):
    blocker = tmp_path / "cache"
    blocker.write_text("a file where a folder should be")
    with pytest.raises(GalleryError, match=r"cannot be built in .*cache.*: .*; choose another cache"):
        ChromaStore.open(make_gallery(5), Path(blocker, "inner"))


def test_two_processes_build_once_and_both_can_read(tmp_path):
    make_gallery(2000).write(tmp_path / "gallery.parquet")
    code = (
        "import sys; from gaea.rag.gallery import Gallery; from gaea.rag.store import open_store\n"
        "gallery, built = Gallery.read(sys.argv[1] + '/gallery.parquet'), []\n"
        "store = open_store(gallery, 'chroma', sys.argv[1] + '/cache', lambda done, total: built.append(done))\n"
        "print(len(built), store.query(gallery.embeddings[:1], 1)[0][0, 0])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [builder.communicate(timeout=120) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], results
    assert sorted(out.strip() for out, _ in results) == ["0 0", "1 0"]


def test_a_builder_killed_outright_leaves_nothing_in_the_way(tmp_path):
    make_gallery(600).write(tmp_path / "gallery.parquet")
    code = (
        "import os, sys; from gaea.rag.gallery import Gallery; from gaea.rag.store import open_store\n"
        "gallery = Gallery.read(sys.argv[1] + '/gallery.parquet')\n"
        "open_store(gallery, 'chroma', sys.argv[1] + '/cache', lambda done, total: os.kill(os.getpid(), 9))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=120, check=False)
    assert killed.returncode == -9
    gallery = Gallery.read(tmp_path / "gallery.parquet")
    store = ChromaStore.open(gallery, tmp_path / "cache")
    assert np.array_equal(store.query(gallery.embeddings, 1)[0][:, 0], np.arange(600))
    store.close()
