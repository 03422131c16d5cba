"""One contract, every vector store."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaea.errors import GalleryError, InputError, MissingDependencyError
from gaea.rag.chroma import ChromaStore
from gaea.rag.chroma_server import ChromaServerStore
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.milvus import MilvusStore
from gaea.rag.store import MemoryStore, Store, batches, open_store

BACKENDS = ["memory", "chroma", "chroma-server", "milvus"]

DIM = 16


def make_vectors(n, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_gallery(n=300, seed=0):
    rng = np.random.default_rng(seed)
    meta = GalleryMeta(encoder="tiny", fingerprint="f" * 64, dim=DIM)
    return Gallery.from_embeddings(make_vectors(n, seed), rng.uniform(-90, 90, n), rng.uniform(-180, 180, n), meta=meta)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_server(folder):
    """A real Chroma server on the loopback address, and its address."""
    port = free_port()
    command = [Path(sys.executable).with_name("chroma"), "run", "--path", folder, "--host", "127.0.0.1", "--port", port]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, "chroma run has ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("chroma-server")) as url:
        yield url


def make_store(backend, tmp_path, request, dim=DIM):
    """An empty store of its own for one test; opening it again with the same arguments finds the same rows."""
    if backend == "memory":
        return MemoryStore(dim)
    if backend == "chroma":
        return ChromaStore(tmp_path / "db", dim)
    if backend == "milvus":
        return MilvusStore(tmp_path / "rows.db", dim)
    return ChromaServerStore(request.getfixturevalue("server"), dim, collection=f"test-{tmp_path.name}")


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    made = make_store(request.param, tmp_path, request)
    yield made
    made.close()


@pytest.fixture(params=BACKENDS[1:])
def reopen(request, tmp_path):
    """Opens the same rows again and again; all are closed at the end."""
    with contextlib.ExitStack() as opened:

        def again(dim=DIM):
            return opened.enter_context(contextlib.closing(make_store(request.param, tmp_path, request, dim)))

        yield again


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


def test_removed_rows_are_not_found_again(store):
    rows = make_vectors(60)
    store.add(range(60), rows)
    store.remove(range(0, 60, 2))
    assert store.count() == 30
    assert store.ids().tolist() == list(range(1, 60, 2))
    ids, similarity = store.query(rows[:4], 30)
    assert set(ids[0]) == set(range(1, 60, 2))
    assert similarity[1, 0] == pytest.approx(1, abs=1e-5)
    assert similarity[0, 0] < 0.999


def test_removing_what_is_not_there_changes_nothing(store):
    store.add([3, 5], make_vectors(2))
    store.remove([4, 99])
    store.remove([])
    assert store.ids().tolist() == [3, 5]


def test_a_removed_id_can_come_back(store):
    store.add(range(10), make_vectors(10))
    store.remove([4])
    store.add([4], make_vectors(1, seed=9))
    ids, similarity = store.query(make_vectors(1, seed=9), 1)
    assert ids[0, 0] == 4
    assert similarity[0, 0] == pytest.approx(1, abs=1e-5)
    assert store.count() == 10


def test_ids_are_listed_in_order_whatever_they_are(store):
    assert store.ids().shape == (0,)
    wanted = [2**40, 7, 0, 12_345]
    store.add(wanted, make_vectors(4))
    ids = store.ids()
    assert ids.dtype == np.int64
    assert ids.tolist() == sorted(wanted)


def test_more_rows_than_one_batch_holds(store, monkeypatch):
    monkeypatch.setattr("gaea.rag.milvus._BATCH_BYTES", 2000 * 4 * DIM)
    monkeypatch.setattr("gaea.rag.chroma._PAGE", 2000)
    n = 5600  # Chroma takes 5,461 at once
    rows = make_vectors(n, seed=3)
    store.add(range(n), rows)
    assert store.count() == n
    assert np.array_equal(store.ids(), np.arange(n))
    assert np.array_equal(store.query(rows[::800], 1)[0][:, 0], np.arange(0, n, 800))
    store.remove(range(n - 10))
    assert store.ids().tolist() == list(range(n - 10, n))


def test_rows_are_there_after_reopening(reopen):
    rows = make_vectors(50)
    first = reopen()
    first.add(range(50), rows)
    first.remove([7])
    first.close()
    again = reopen()
    assert again.count() == 49
    assert np.array_equal(again.ids(), np.delete(np.arange(50), 7))
    assert np.array_equal(again.query(rows[:5], 1)[0][:, 0], np.arange(5))


def test_a_collection_of_another_length_is_refused(reopen):
    first = reopen()
    first.add(range(3), make_vectors(3))
    first.close()
    with pytest.raises(GalleryError, match=r"holds 16-d vectors, expected 24-d: name another collection"):
        reopen(24)
    assert reopen().count() == 3


def test_closing_twice_does_no_harm(store):
    store.close()
    store.close()


@pytest.mark.parametrize("backend", ["memory", "chroma"])
def test_opened_from_a_gallery_rows_are_ids(backend, tmp_path):
    gallery = make_gallery()
    store = open_store(gallery, backend, tmp_path)
    ids, _ = store.query(gallery.embeddings, 1)
    assert np.array_equal(ids[:, 0], np.arange(len(gallery)))
    store.close()


@pytest.mark.parametrize("backend", ["memory", "chroma"])
def test_ids_are_row_numbers_where_rows_have_been_removed(backend, tmp_path):
    numbers = np.flatnonzero(np.random.default_rng(4).random(400) < 0.5)
    meta = GalleryMeta(encoder="tiny", fingerprint="f" * 64, dim=DIM)
    rows = make_vectors(len(numbers))
    gallery = Gallery.from_embeddings(rows, np.zeros(len(rows)), np.zeros(len(rows)), meta=meta, numbers=numbers)
    store = open_store(gallery, backend, tmp_path)
    assert np.array_equal(store.ids(), numbers)
    ids, _ = store.query(gallery.embeddings, 1)
    assert np.array_equal(ids[:, 0], numbers)
    assert np.array_equal(gallery.positions(ids[:, 0]), np.arange(len(rows)))
    store.close()


def test_batches_are_the_rows_in_order():
    gallery = make_gallery(25)
    ids, rows = zip(*batches(gallery, 10), strict=True)
    assert [len(part) for part in ids] == [10, 10, 5]
    assert np.array_equal(np.concatenate(ids), np.arange(25))
    np.testing.assert_array_equal(np.concatenate(rows), gallery.embeddings)
    chosen = [part.tolist() for part, _ in batches(gallery, 2, np.array([4, 9, 11]))]
    assert chosen == [[4, 9], [11]]


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


def test_chroma_deleted_under_a_reader_answers_or_says_so_and_is_rebuilt(tmp_path):
    gallery = make_gallery()
    reader = ChromaStore.open(gallery, tmp_path)
    expected = reader.query(gallery.embeddings[:3], 2)[0]
    shutil.rmtree(reader.folder)
    with contextlib.suppress(GalleryError):  # its files may still be open, and then it answers as before
        assert np.array_equal(reader.query(gallery.embeddings[:3], 2)[0], expected)
    with pytest.raises(GalleryError, match=r"was deleted: open the gallery again, and it is rebuilt"):
        reader.remove([0])
    reader.close()
    again = ChromaStore.open(gallery, tmp_path)
    assert np.array_equal(again.query(gallery.embeddings[:3], 2)[0], expected)
    again.close()


def test_no_server_is_told_with_the_command_that_starts_one():
    with pytest.raises(GalleryError, match=r"does not answer .*`chroma run --path FOLDER --host 127.0.0.1 --port"):
        ChromaServerStore(f"http://127.0.0.1:{free_port()}", DIM)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_server_address_is_refused(url):
    with pytest.raises(InputError, match="address"):
        ChromaServerStore(url, DIM)


def test_a_server_that_goes_away_is_named(tmp_path):
    with running_server(tmp_path) as url:
        store = ChromaServerStore(url, DIM)
        store.add(range(5), make_vectors(5))
    for ask in (lambda: store.query(make_vectors(1), 1), lambda: store.add([9], make_vectors(1)), store.ids):
        with pytest.raises(GalleryError, match=rf"Chroma server {url} does not answer"):
            ask()
    store.close()


def test_a_collection_deleted_under_a_reader_is_told(server):
    reader, other = (ChromaServerStore(server, DIM, collection="shared-rows") for _ in range(2))
    other.drop()
    with pytest.raises(GalleryError, match=r"collection 'shared-rows' .* was deleted: open the gallery again"):
        reader.add([8], make_vectors(1))
    other.drop()  # a second time does no harm
    reader.close()
    other.close()


def test_no_milvus_is_told():
    with pytest.raises(GalleryError, match=r"Milvus http://127.0.0.1:\d+ does not answer .*its address and the token"):
        MilvusStore(f"http://127.0.0.1:{free_port()}", DIM, timeout_s=1)


def test_a_milvus_file_is_named_as_milvus_wants_it(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.db"):
        MilvusStore(tmp_path / "rows", DIM)


def test_a_milvus_file_held_by_another_process_is_told(tmp_path):
    code = (
        "import sys; from gaea.rag.milvus import MilvusStore\n"
        "store = MilvusStore(sys.argv[1], 16); print('open', flush=True); sys.stdin.read(); store.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "rows.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(GalleryError, match="is held by another process"):
            MilvusStore(tmp_path / "rows.db", DIM)
        holder.communicate(timeout=60)
    store = MilvusStore(tmp_path / "rows.db", DIM)
    assert store.count() == 0
    store.close()


def test_one_milvus_file_serves_two_stores_of_a_process(tmp_path):
    first, second = (MilvusStore(tmp_path / "rows.db", DIM) for _ in range(2))
    first.add(range(3), make_vectors(3))
    first.close()
    assert second.ids().tolist() == [0, 1, 2]
    second.close()


def test_without_pymilvus_the_install_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gaea-geo\[milvus\]'"):
        MilvusStore(tmp_path / "rows.db", DIM)


def test_milvus_says_how_many_neighbours_it_lists(tmp_path, monkeypatch):
    monkeypatch.setattr("gaea.rag.milvus.MAX_K", 20)
    store = MilvusStore(tmp_path / "rows.db", DIM)
    store.add(range(30), make_vectors(30))
    with pytest.raises(InputError, match="k is 21: Milvus gives at most 20"):
        store.query(make_vectors(1), 21)
    assert store.query(make_vectors(1), 20)[0].shape == (1, 20)
    store.close()


def test_a_server_follows_an_index_and_two_indexes_stay_apart(server, tmp_path):
    from gaea.rag.encoders import EncoderIdentity
    from gaea.rag.index import Index
    from gaea.rag.sync import open_index_store

    indexes = []
    for seed, name in enumerate(("one", "other")):
        index = Index.create(tmp_path / name, EncoderIdentity("tiny", "", "f" * 64, "", "", DIM))
        with index.writer() as writer:
            writer.append_gallery(make_gallery(60, seed))
        indexes.append(index)
    one, other = (open_index_store(index, "chroma-server", location=server) for index in indexes)
    for store, index in ((one, indexes[0]), (other, indexes[1])):
        ids, similarity = store.query(index.gallery.embeddings, 1)
        assert np.array_equal(ids[:, 0], np.arange(60))
        np.testing.assert_allclose(similarity, 1, atol=1e-4)
    one.drop()
    other.close()
    again = open_index_store(indexes[0], "chroma-server", location=server)
    assert again.ids().tolist() == list(range(60))
    one.close()
    again.close()
