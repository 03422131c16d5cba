"""Neighbours from one part of the world only."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gaea import places
from gaea.errors import InputError
from gaea.rag import narrow
from gaea.rag.columns import columns
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.narrow import NarrowedStore, Narrowing, narrowed_query
from gaea.rag.store import MemoryStore, Store
from gaea.sphere import great_circle_km

DIM = 24
META = GalleryMeta("tiny", "f" * 64, DIM, source="orbit")


def make_gallery(n=3000, seed=0, **options):
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)
    # What lies together looks alike, as in the world: the hard case for asking a store for a little more.
    turn = rng.normal(size=(3, DIM))
    look = np.stack([np.cos(np.radians(lat)), np.sin(np.radians(lon)), np.cos(np.radians(lon))], axis=1) @ turn
    numbers = np.sort(rng.choice(3 * n, n, replace=False))
    return Gallery.from_embeddings(look + rng.normal(size=(n, DIM)), lat, lon, meta=META, numbers=numbers, **options)


@pytest.fixture(scope="module")
def gallery():
    return make_gallery()


@pytest.fixture(scope="module")
def store(gallery):
    return MemoryStore.open(gallery)


@pytest.fixture
def queries():
    return np.random.default_rng(9).normal(size=(7, DIM)).astype(np.float32)


class CountingStore:
    """Passes questions on, and remembers how many neighbours were asked for."""

    def __init__(self, store):
        self.store, self.asked = store, []

    def query(self, embeddings, k):
        self.asked.append((len(embeddings), k))
        return self.store.query(embeddings, k)

    def count(self):
        return self.store.count()


def ask_always(patch):
    """Make asking a store look free, so that few rows are enough to try it."""
    patch.setattr(narrow, "ROWS_PER_QUESTION", 0)
    patch.setattr(narrow, "ROWS_PER_NEIGHBOUR", 1)
    patch.setattr(MemoryStore, "rows_per_question", 0)


def exactly(gallery, queries, k, mask):
    """Brute force over the allowed rows."""
    at = np.flatnonzero(mask)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    similarity = unit @ gallery.embeddings[at].T
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return gallery.row_numbers[at[best]], np.take_along_axis(similarity, best, axis=1)


def same(found, expected):
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
    assert np.array_equal(found[0], expected[0])


def decided(gallery, queries, k, mask):
    """Whether the best k rows and their order do not hang on how float32 sums are rounded."""
    _, best = exactly(gallery, queries.astype(np.float64), k + 1, mask)
    return (np.diff(best, axis=1) < -5e-7).all()


# ── masks ───────────────────────────────────────────────────────────────────


def test_no_condition_allows_all(gallery):
    assert Narrowing().mask(gallery).all()


def test_countries_without_labels_are_those_of_the_places(gallery):
    mask = Narrowing(countries=("RU", "br")).mask(gallery)
    assert np.array_equal(mask, np.isin(places.country_codes(gallery.lat, gallery.lon), ["RU", "BR"]))
    assert mask.sum() > 50
    sea = Narrowing(countries=("",)).mask(gallery)
    assert 0.6 < sea.mean() < 0.8


def test_labels_come_before_places():
    told = np.where(np.arange(300) % 2 == 0, "FR", "")
    gallery = make_gallery(300, labels={"country": told, "region": np.where(told == "FR", "Île-de-France", "")})
    assert np.array_equal(Narrowing(countries=("FR",)).mask(gallery), told == "FR")
    assert np.array_equal(Narrowing(regions=("ÎLE-DE-FRANCE",)).mask(gallery), told == "FR")


def test_columns_of_blanks_tell_nothing():
    gallery = make_gallery(300, labels={"country": np.full(300, "")})
    expected = places.country_codes(gallery.lat, gallery.lon) == "AQ"
    assert np.array_equal(Narrowing(countries=("AQ",)).mask(gallery), expected)


def test_sources_fall_back_to_the_gallerys_own():
    own = np.where(np.arange(300) < 20, "phone", "")
    gallery = make_gallery(300, labels={"source": own})
    assert np.array_equal(Narrowing(sources=("phone",)).mask(gallery), own == "phone")
    assert np.array_equal(Narrowing(sources=("orbit",)).mask(gallery), own == "")
    assert Narrowing(sources=("orbit",)).mask(make_gallery(10)).all()


def test_a_box_over_the_antimeridian(gallery):
    over = Narrowing(box=(-30, 170, 30, -170)).mask(gallery)
    assert np.array_equal(over, (np.abs(gallery.lat) <= 30) & (np.abs(gallery.lon) >= 170))
    assert np.array_equal(Narrowing(box=(-90, -180, 90, 180)).mask(gallery), np.ones(len(gallery), bool))


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(0.001, 20_100), st.integers(0, 2999))
def test_a_circle_is_what_great_circles_say(gallery, lat, lon, radius_km, row):
    distance = great_circle_km(lat, lon, gallery.lat, gallery.lon)
    mask = Narrowing(circle=(lat, lon, radius_km)).mask(gallery)
    assert mask[distance < radius_km - 0.001].all()
    assert not mask[distance > radius_km + 0.001].any()
    # A row is in a circle around itself, however small.
    assert Narrowing(circle=(gallery.lat[row], gallery.lon[row], 0.0)).mask(gallery)[row]


def test_conditions_are_all_fulfilled(gallery):
    both = Narrowing(countries=("BR",), box=(-90, -180, -10, 180)).mask(gallery)
    country, box = Narrowing(countries=("BR",)), Narrowing(box=(-90, -180, -10, 180))
    assert np.array_equal(both, country.mask(gallery) & box.mask(gallery))
    assert 0 < both.sum() < country.mask(gallery).sum()


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"countries": ("XX",)}, "country 'XX' is not known"),
        ({"countries": ("France",)}, "ISO 3166"),
        ({"box": (50, 0, 40, 1)}, "south above its north"),
        ({"box": (0, 0, 95, 1)}, "latitude 95"),
        ({"circle": (91, 0, 5)}, "latitude 91"),
        ({"circle": (0, 0, -1)}, "radius -1"),
        ({"circle": (0, 0, float("nan"))}, "radius nan"),
    ],
)
def test_what_no_place_fulfils_is_refused(conditions, told):
    with pytest.raises(InputError, match=told):
        Narrowing(**conditions)


# ── queries ─────────────────────────────────────────────────────────────────


@given(st.floats(0.0005, 1), st.integers(1, 60), st.integers(0, 2**32 - 1), st.booleans())
def test_a_narrowed_query_is_an_exact_one(gallery, store, share, k, seed, cheap):
    rng = np.random.default_rng(seed)
    mask = rng.random(len(gallery)) < share
    queries = rng.normal(size=(3, DIM)).astype(np.float32)
    assume(decided(gallery, queries, k, mask))
    with pytest.MonkeyPatch.context() as patch:
        if cheap:
            ask_always(patch)
        found = narrowed_query(store, gallery, queries, k, mask)
    assert found[0].shape == (3, min(k, int(mask.sum())))
    same(found, exactly(gallery, queries, k, mask))


@pytest.mark.parametrize("cheap", [True, False])
def test_where_queries_look_like_another_part_of_the_world(gallery, store, queries, cheap, monkeypatch):
    if cheap:
        ask_always(monkeypatch)
    mask = gallery.lat > 45
    tropics = gallery.embeddings[np.abs(gallery.lat) < 10][:5]
    for asked in (tropics, -tropics, queries):
        same(narrowed_query(store, gallery, asked, 12, mask), exactly(gallery, asked, 12, mask))


def test_few_rows_do_not_trouble_the_store(gallery, store, queries):
    counting = CountingStore(store)
    narrowed_query(counting, gallery, queries, 5, np.arange(len(gallery)) < 40)
    assert counting.asked == []


def test_a_store_that_compares_all_rows_is_not_asked_for_some(gallery, store, queries, monkeypatch):
    monkeypatch.setattr(narrow, "ROWS_PER_NEIGHBOUR", 0)
    mask = gallery.lat > -60
    expected = exactly(gallery, queries, 5, mask)
    monkeypatch.setattr(MemoryStore, "query", None)
    same(narrowed_query(store, gallery, queries, 5, mask), expected)


def test_many_rows_ask_the_store_and_again_only_for_what_is_missing(gallery, store, monkeypatch):
    ask_always(monkeypatch)
    counting = CountingStore(store)
    mask = gallery.lon > 90
    queries = np.stack([gallery.embeddings[abs(gallery.lon - lon) < 30].mean(axis=0) for lon in (135, -45)])
    same(narrowed_query(counting, gallery, queries, 10, mask), exactly(gallery, queries, 10, mask))
    assert counting.asked[0] == (2, 88)  # twice what a quarter of the rows calls for
    assert counting.asked[1:] == [(1, 352)]  # and then the rest is dearer than comparing


def test_what_would_be_dearer_than_comparing_is_not_asked(gallery, store, queries, monkeypatch):
    monkeypatch.setattr(narrow, "ROWS_PER_QUESTION", 500)
    monkeypatch.setattr(narrow, "ROWS_PER_NEIGHBOUR", 5)
    counting = CountingStore(store)
    mask = gallery.lat > 0
    same(narrowed_query(counting, gallery, queries, 60, mask), exactly(gallery, queries, 60, mask))
    assert counting.asked == []  # about 250 neighbours, as dear as 1,750 rows, and half of 3,000 may be any
    narrowed_query(counting, gallery, queries, 5, mask)
    assert len(counting.asked) == 1


def test_no_store_is_asked_for_more_than_it_lists(gallery, store, queries, monkeypatch):
    ask_always(monkeypatch)
    monkeypatch.setattr(narrow, "MAX_ASKED", 400)
    counting = CountingStore(store)
    mask = gallery.lon > 90
    same(narrowed_query(counting, gallery, -queries, 10, mask), exactly(gallery, -queries, 10, mask))
    assert max(k for _, k in counting.asked) < 400


def test_many_queries_are_compared_in_blocks(gallery, store, monkeypatch):
    queries = np.random.default_rng(3).normal(size=(50, DIM)).astype(np.float32)
    mask = gallery.lat > 60
    whole = narrowed_query(store, gallery, queries, 6, mask)
    monkeypatch.setattr(narrow, "_SIMILARITIES", 3 * int(mask.sum()))
    monkeypatch.setattr(narrow, "_BLOCK_BYTES", 4 * DIM * 7)
    same(narrowed_query(store, gallery, queries, 6, mask), whole)


def test_no_row_and_no_query(gallery, store, queries):
    nothing = np.zeros(len(gallery), bool)
    assert narrowed_query(store, gallery, queries, 5, nothing)[0].shape == (7, 0)
    assert narrowed_query(store, gallery, queries[:0], 5, ~nothing)[0].shape == (0, 5)
    with pytest.raises(InputError, match="k is 0"):
        narrowed_query(store, gallery, queries, 0, ~nothing)


def test_equal_rows_are_ordered_by_number():
    gallery = Gallery.from_embeddings(np.ones((6, DIM)), np.zeros(6), np.zeros(6), meta=META, numbers=np.arange(6) * 5)
    found = narrowed_query(MemoryStore.open(gallery), gallery, np.ones((1, DIM)), 3, np.arange(6) > 1)
    assert found[0].tolist() == [[10, 15, 20]]


def test_float16_rows_too(queries):
    gallery = make_gallery(500, dtype="float16")
    mask = gallery.lon > 0
    same(narrowed_query(MemoryStore.open(gallery), gallery, queries, 9, mask), exactly(gallery, queries, 9, mask))


# ── a narrowed store ────────────────────────────────────────────────────────


def test_a_narrowed_store_is_a_store_of_the_allowed_rows(gallery, queries):
    mask = Narrowing(box=(0, -180, 90, 180)).mask(gallery)
    narrowed = NarrowedStore(MemoryStore.open(gallery), gallery, mask)
    assert isinstance(narrowed, Store)
    assert narrowed.count() == mask.sum()
    assert np.array_equal(narrowed.ids(), gallery.row_numbers[mask])
    same(narrowed.query(queries, 5), exactly(gallery, queries, 5, mask))
    with pytest.raises(InputError, match="cannot be added"):
        narrowed.add([1], queries[:1])
    with pytest.raises(InputError, match="cannot be removed"):
        narrowed.remove([1])
    narrowed.close()


def test_an_area_without_rows_is_told(gallery, store):
    with pytest.raises(InputError, match="none of the 3,000 rows lies where neighbours are asked from"):
        NarrowedStore(store, gallery, Narrowing(circle=(0, 0, 0.001)).mask(gallery))


def test_what_is_remembered_goes_with_the_gallery():
    gallery = make_gallery(50)
    Narrowing(circle=(0, 0, 10), countries=("FR",)).mask(gallery)
    assert columns(gallery) is columns(gallery)
    remembered, gone = weakref.ref(columns(gallery)), weakref.ref(gallery)
    del gallery
    gc.collect()
    assert gone() is None
    assert remembered() is None
