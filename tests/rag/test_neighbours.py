import numpy as np
import pytest

from gaea.errors import InputError
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.neighbours import Exclusion, consensus, find, search
from gaea.rag.store import MemoryStore
from gaea.sphere import great_circle_km

DIM = 12


def make_world(n=400, seed=0):
    """A gallery whose embeddings follow places, with a look-alike of the first 40 rows on the other side."""
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-60, 60, n), rng.uniform(-170, 170, n)
    lat[:40], lon[:40] = 45 + rng.normal(0, 0.5, 40), 5 + rng.normal(0, 0.5, 40)
    vectors = rng.normal(size=(n, DIM))
    vectors[:40] = vectors[0] + 0.05 * rng.normal(size=(40, DIM))
    lat[40:50], lon[40:50] = -30, 150
    vectors[40:50] = vectors[0] + 0.3 * rng.normal(size=(10, DIM))
    meta = GalleryMeta(encoder="tiny", fingerprint="f", dim=DIM, source="orbit", credit="NASA")
    text = [f"row {row}" for row in range(n)]
    return Gallery.from_embeddings(vectors, lat, lon, meta=meta, width_km=100, labels={"text": text})


@pytest.fixture(scope="module")
def world():
    gallery = make_world()
    return gallery, MemoryStore.open(gallery)


def test_similar_and_farthest(world):
    gallery, store = world
    found = find(gallery.embeddings[7], store, gallery, k_similar=5, k_dissimilar=3)
    cosines = gallery.embeddings @ gallery.embeddings[7]
    assert [n.row for n in found.similar] == np.argsort(-cosines)[:5].tolist()
    assert [n.row for n in found.dissimilar] == np.argsort(cosines)[:3].tolist()
    assert found.similar[0].row == 7
    assert found.similar[0].similarity == pytest.approx(1, abs=1e-5)
    assert found.dissimilar[0].similarity == pytest.approx(cosines.min(), abs=1e-5)
    assert {n.role for n in found.similar} == {"similar"}
    assert {n.role for n in found.dissimilar} == {"dissimilar"}


def test_each_neighbour_carries_its_row(world):
    gallery, store = world
    first = find(gallery.embeddings[7], store, gallery).similar[0]
    assert (first.text, first.source, first.credit, first.width_km) == ("row 7", "orbit", "NASA", 100.0)
    assert (first.lat, first.lon) == (gallery.lat[7], gallery.lon[7])


def test_hard_dissimilar_look_alike_but_lie_far_away(world):
    gallery, store = world
    found = find(gallery.embeddings[0], store, gallery, k_similar=16, k_dissimilar=2, k_hard=3)
    hard = [n for n in found.dissimilar if n.role == "hard dissimilar"]
    assert len(hard) == 3
    assert {n.row for n in hard} <= set(range(40, 50))
    assert all(great_circle_km(45, 5, n.lat, n.lon) > 1000 for n in hard)
    assert [n.role for n in found.dissimilar] == ["hard dissimilar"] * 3 + ["dissimilar"] * 2
    assert not {n.row for n in hard} & {n.row for n in found.similar}


def test_near_duplicates_are_passed_over(world):
    gallery, store = world
    found = find(gallery.embeddings[0], store, gallery, k_similar=6, k_dissimilar=0, duplicate_similarity=0.97)
    rows = [n.row for n in found.similar]
    vectors = gallery.embeddings[rows]
    assert rows[0] == 0
    assert (vectors @ vectors.T - np.eye(len(rows))).max() <= 0.97 + 1e-6


def test_excluded_places_do_not_count_however_many_they_are(world):
    gallery, store = world
    exclude = Exclusion(gallery.lat[0], gallery.lon[0], within_km=500)
    found = find(gallery.embeddings[0], store, gallery, k_similar=8, k_dissimilar=4, exclude=exclude)
    assert len(found.similar) == 8
    for n in (*found.similar, *found.dissimilar):
        assert great_circle_km(gallery.lat[0], gallery.lon[0], n.lat, n.lon) >= 500
    assert found.similar[0].row in range(40, 50)


def test_search_gives_arrays_for_the_locator(world):
    gallery, store = world
    found = search(gallery.embeddings[:6], store, gallery, 9)
    assert found.rows.shape == found.lat.shape == found.lon.shape == found.similarity.shape == (6, 9)
    assert np.array_equal(found.rows[:, 0], np.arange(6))
    assert (np.diff(found.similarity, axis=1) <= 0).all()
    assert np.array_equal(found.lat, gallery.lat[found.rows])


def test_search_excludes_per_query(world):
    gallery, store = world
    exclude = Exclusion(gallery.lat[:60], gallery.lon[:60], within_km=300)
    found = search(gallery.embeddings[:60], store, gallery, 5, exclude=exclude)
    assert found.rows.shape == (60, 5)
    apart = great_circle_km(gallery.lat[:60, None], gallery.lon[:60, None], found.lat, found.lon)
    assert apart.min() >= 300
    assert (np.diff(found.similarity, axis=1) <= 0).all()


def test_nothing_left_is_said(world):
    gallery, store = world
    with pytest.raises(InputError, match="within 30000 km leaves a query no neighbour"):
        search(gallery.embeddings[:2], store, gallery, 3, exclude=Exclusion(0, 0, 30000))


def test_counts_may_be_zero_but_not_negative(world):
    gallery, store = world
    found = find(gallery.embeddings[0], store, gallery, k_similar=0, k_dissimilar=0)
    assert found.similar == found.dissimilar == ()
    with pytest.raises(InputError, match="must not be negative"):
        find(gallery.embeddings[0], store, gallery, k_similar=-1)
    with pytest.raises(InputError, match="this store holds"):
        find(np.ones(3), store, gallery)


def test_consensus_crosses_the_antimeridian_and_survives_antipodes():
    lat, lon = consensus([10, 10], [179, -179], [0.5, 0.5])
    assert lat == pytest.approx(10, abs=0.01)
    assert abs(lon) == pytest.approx(180)
    assert consensus([90, -90], [0, 0], [0.5, 0.5])[0] == pytest.approx(90)


def test_a_small_gallery_gives_what_it_has():
    gallery = make_world(60)
    store = MemoryStore.open(gallery)
    found = find(gallery.embeddings[0], store, gallery, k_similar=100, k_dissimilar=100)
    assert len(found.similar) == 60
    assert found.dissimilar == ()
