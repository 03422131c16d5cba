"""A vector store that follows an index, whatever happens on the way."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from gaea.errors import GalleryError, InputError
from gaea.rag.backends import RECORD_FILE, Place
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.index import Index
from gaea.rag.store import Store
from gaea.rag.sync import open_index_store

DIM = 16
META = GalleryMeta("tiny", "f" * 64, DIM)


def make_rows(n, seed):
    rng = np.random.default_rng(seed)
    return Gallery.from_embeddings(
        rng.normal(size=(n, DIM)), rng.uniform(-80, 80, n), rng.uniform(-180, 180, n), meta=META
    )


def add(index, n, seed):
    with index.writer() as writer:
        return writer.append_gallery(make_rows(n, seed))


@pytest.fixture
def index(tmp_path):
    made = Index.create(tmp_path / "index", EncoderIdentity("tiny", "", "f" * 64, "", "", DIM))
    for seed in range(3):
        add(made, 100, seed)
    return made


@pytest.fixture
def opened():
    """Closes what a test opened."""
    stores = []
    yield lambda *args, **options: stores.append(open_index_store(*args, **options)) or stores[-1]
    for store in stores:
        store.close()


def check(store, index):
    """The store holds just the rows of the index, and finds each."""
    gallery = index.gallery
    assert isinstance(store, Store)
    assert store.count() == len(gallery)
    assert np.array_equal(store.ids(), gallery.row_numbers)
    ids, similarity = store.query(gallery.embeddings, 1)
    assert np.array_equal(ids[:, 0], gallery.row_numbers)
    np.testing.assert_allclose(similarity, 1, atol=1e-4)


def never(done, total):
    pytest.fail("rows were added to a store that holds them")


both = pytest.mark.parametrize("backend", ["chroma", "milvus"])


@pytest.mark.parametrize("backend", ["memory", "chroma", "milvus"])
def test_a_store_of_all_shards(index, opened, backend):
    steps = []
    check(opened(index, backend, progress=lambda done, total: steps.append((done, total))), index)
    assert steps == ([] if backend == "memory" else [(100, 300), (200, 300), (300, 300)])


@both
def test_a_store_in_line_is_opened_as_it_is(index, opened, backend):
    opened(index, backend).close()
    check(opened(index, backend, progress=never), index)


@both
def test_new_shards_are_added_and_nothing_else(index, opened, backend):
    opened(index, backend).close()
    add(index, 50, seed=7)
    steps = []
    check(opened(index, backend, progress=lambda done, total: steps.append((done, total))), index)
    assert steps == [(50, 50)]


@both
def test_removed_rows_are_removed_and_merged_shards_cost_nothing(index, opened, backend):
    opened(index, backend).close()
    with index.writer() as writer:
        assert writer.remove([5, 150, *range(200, 300)]) == 102
    check(opened(index, backend, progress=never), index)
    with index.writer() as writer:
        writer.compact()
    store = opened(index, backend, progress=never)
    check(store, index)
    assert 5 not in store.ids()


def test_rows_removed_and_added_in_one_go(index, opened):
    opened(index, "chroma").close()
    with index.writer() as writer:
        writer.remove(range(0, 300, 3))
    numbers = add(index, 40, seed=8)
    assert numbers[0] == 300  # a number is never used twice
    check(opened(index, "chroma"), index)


def test_an_emptied_index_has_an_empty_store(index, opened):
    opened(index, "chroma").close()
    with index.writer() as writer:
        writer.remove(range(300))
    store = opened(index, "chroma")
    assert store.count() == 0
    assert store.query(np.ones((1, DIM)), 3)[0].shape == (1, 0)


@both
def test_a_sync_killed_outright_goes_on_where_it_was(index, opened, backend):
    code = (
        "import os, sys; from gaea.rag.index import Index; from gaea.rag import sync\n"
        "sync._BATCH = 40\n"
        "kill = lambda done, total: os.kill(os.getpid(), 9) if done >= 140 else None\n"
        "sync.open_index_store(Index.open(sys.argv[1]), sys.argv[2], progress=kill)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(index.folder), backend], timeout=120, check=False)
    assert killed.returncode == -9
    steps = []
    check(opened(index, backend, progress=lambda done, total: steps.append((done, total))), index)
    assert steps == [(60, 160), (160, 160)]  # 140 rows were there


def test_rows_added_beyond_the_record_are_not_added_twice(index, opened, monkeypatch):
    class KilledError(Exception):
        pass

    write = Place.write

    def killed(self, record):
        if len(record.shards) == 2:  # its rows are in the store already
            raise KilledError
        write(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Place, "write", killed)
        with pytest.raises(KilledError):
            open_index_store(index, "chroma")
    steps = []
    check(opened(index, "chroma", progress=lambda done, total: steps.append((done, total))), index)
    assert steps == [(100, 100)]


@both
def test_a_deleted_store_is_rebuilt(index, opened, backend):
    opened(index, backend).close()
    shutil.rmtree(index.folder / "stores")
    check(opened(index, backend), index)
    for rows in (index.folder / "stores" / backend).glob("rows-*"):
        shutil.rmtree(rows)
    check(opened(index, backend), index)


@both
def test_a_store_deleted_under_a_running_reader(index, opened, backend):
    reader = opened(index, backend)
    before = reader.query(index.gallery.embeddings[:3], 4)[0]
    shutil.rmtree(index.folder / "stores")
    # Chroma goes on from the files it holds open; Milvus Lite has read what it needs.
    assert np.array_equal(reader.query(index.gallery.embeddings[:3], 4)[0], before)
    check(opened(index, backend), index)


def test_a_reader_stays_at_what_it_opened_while_another_process_changes_the_store(index, opened):
    reader, gallery = opened(index, "chroma"), index.gallery
    before = reader.query(gallery.embeddings[:5], 300)[0]
    add(Index.open(index.folder), 40, seed=6)
    with Index.open(index.folder).writer() as writer:
        writer.remove(range(250))
    code = (
        "import sys; from gaea.rag.index import Index; from gaea.rag.sync import open_index_store\n"
        "store = open_index_store(Index.open(sys.argv[1]), 'chroma'); print(store.count()); store.close()\n"
    )
    other = subprocess.run([sys.executable, "-c", code, str(index.folder)], capture_output=True, text=True, check=False)
    assert other.stdout == "90\n", other.stderr
    after = reader.query(gallery.embeddings[:5], 300)[0]
    assert np.array_equal(after, before)
    assert len(gallery.positions(after)) == 5


@pytest.mark.parametrize("damage", ["chroma.sqlite3", RECORD_FILE])
def test_a_damaged_store_is_rebuilt(index, opened, damage):
    opened(index, "chroma").close()
    (file,) = (index.folder / "stores").rglob(damage)
    file.write_bytes(b"\x00not what it was" * 500)
    check(opened(index, "chroma"), index)
    assert len(list((index.folder / "stores" / "chroma").glob("rows-*"))) == 1


def test_a_damaged_milvus_file_is_rebuilt(index, opened):
    opened(index, "milvus").close()
    (manifest,) = (index.folder / "stores").rglob("manifest.json")
    for file in (manifest, manifest.with_name("manifest.json.prev"), manifest.with_name("schema.json")):
        file.write_bytes(b"not what it was")
    check(opened(index, "milvus"), index)


def test_rows_lost_from_a_store_are_noticed_and_added_again(index, opened):
    store = opened(index, "chroma")
    store.remove([3, 250])
    store.close()
    steps = []
    check(opened(index, "chroma", progress=lambda done, total: steps.append((done, total))), index)
    assert steps == [(1, 2), (2, 2)]


def test_other_settings_rebuild_the_store(index, opened, monkeypatch):
    opened(index, "chroma").close()
    from gaea.rag import chroma

    monkeypatch.setattr(chroma, "HNSW", chroma.HNSW | {"max_neighbors": 24})
    steps = []
    check(opened(index, "chroma", progress=lambda done, total: steps.append(total)), index)
    assert steps == [300, 300, 300]


def test_a_reader_of_an_older_state_does_not_turn_the_store_back(index, opened):
    old = Index.open(index.folder)
    add(index, 20, seed=4)
    opened(index, "chroma").close()
    store = opened(old, "chroma", progress=never)
    assert store.count() == 320
    assert len(old) == 320


def test_a_folder_of_ones_own_choice(index, opened, tmp_path):
    check(opened(index, "chroma", location=tmp_path / "fast disk"), index)
    assert (tmp_path / "fast disk" / RECORD_FILE).is_file()
    assert not (index.folder / "stores").exists()


def test_two_processes_sync_once(index):
    code = (
        "import sys; from gaea.rag.index import Index; from gaea.rag.sync import open_index_store\n"
        "steps = []; index = Index.open(sys.argv[1])\n"
        "store = open_index_store(index, 'chroma', progress=lambda done, total: steps.append(done))\n"
        "print(len(steps), store.count())\n"
    )
    command = [sys.executable, "-c", code, str(index.folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [process.communicate(timeout=120) for process in both]
    assert sorted(out.strip() for out, _ in results) == ["0 300", "3 300"], results


def test_what_cannot_be_a_store_is_refused(index):
    with pytest.raises(InputError, match="'faiss' is not one of memory, chroma, chroma-server, milvus"):
        open_index_store(index, "faiss")
    with pytest.raises(InputError, match="chroma-server needs the address"):
        open_index_store(index, "chroma-server")
    with pytest.raises(InputError, match="choose chroma-server"):
        open_index_store(index, "chroma", location="http://127.0.0.1:8000")


def test_a_place_that_cannot_be_written_is_told(index, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(GalleryError, match="cannot be written"):
        open_index_store(index, "chroma", location=blocker / "inner")


def test_an_unreachable_server_is_told_and_nothing_is_thrown_away(index):
    with pytest.raises(GalleryError, match="does not answer"):
        open_index_store(index, "chroma-server", location="http://127.0.0.1:9")
