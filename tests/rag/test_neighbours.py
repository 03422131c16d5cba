import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea import cells
from gaea.errors import GalleryError, InputError
from gaea.locate.neighbours import NeighbourLocator
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.neighbours import Exclusion, RetrievalConfig, consensus, diversified, find, search
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
    found = find(gallery.embeddings[7], store, gallery, RetrievalConfig(k_similar=5, k_dissimilar=3))
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
    found = find(gallery.embeddings[0], store, gallery, RetrievalConfig(k_similar=16, k_dissimilar=2, k_hard=3))
    hard = [n for n in found.dissimilar if n.role == "hard dissimilar"]
    assert len(hard) == 3
    assert {n.row for n in hard} <= set(range(40, 50))
    assert all(great_circle_km(45, 5, n.lat, n.lon) > 1000 for n in hard)
    assert [n.role for n in found.dissimilar] == ["hard dissimilar"] * 3 + ["dissimilar"] * 2
    assert not {n.row for n in hard} & {n.row for n in found.similar}


def test_near_duplicates_are_passed_over(world):
    gallery, store = world
    config = RetrievalConfig(k_similar=6, k_dissimilar=0, duplicate_similarity=0.97)
    found = find(gallery.embeddings[0], store, gallery, config)
    rows = [n.row for n in found.similar]
    vectors = gallery.embeddings[rows]
    assert rows[0] == 0
    assert (vectors @ vectors.T - np.eye(len(rows))).max() <= 0.97 + 1e-6


def test_excluded_places_do_not_count_however_many_they_are(world):
    gallery, store = world
    exclude = Exclusion(gallery.lat[0], gallery.lon[0], within_km=500)
    config = RetrievalConfig(k_similar=8, k_dissimilar=4, exclusions=(exclude,))
    found = find(gallery.embeddings[0], store, gallery, config)
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
    found = find(gallery.embeddings[0], store, gallery, RetrievalConfig(k_similar=0, k_dissimilar=0))
    assert found.similar == found.dissimilar == ()
    with pytest.raises(InputError, match=r"out of range: k_similar=-1, per_source_cap=1\.5, place_km=0"):
        RetrievalConfig(k_similar=-1, per_source_cap=1.5, place_km=0)
    with pytest.raises(InputError, match="this store holds"):
        find(np.ones(3), store, gallery)


def test_consensus_crosses_the_antimeridian_and_survives_antipodes():
    agreed = consensus([10, 10], [179, -179], [0.5, 0.5])
    assert agreed.lat == pytest.approx(10, abs=0.01)
    assert abs(agreed.lon) == pytest.approx(180)
    assert agreed.spread_km == pytest.approx(110, abs=2)
    split = consensus([90, -90], [0, 0], [0.5, 0.5])
    assert split.lat == pytest.approx(90)
    assert split.resultant == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="no neighbours to agree"):
        consensus([], [], [])


def test_a_small_gallery_gives_what_it_has():
    gallery = make_world(60)
    store = MemoryStore.open(gallery)
    found = find(gallery.embeddings[0], store, gallery, RetrievalConfig(k_similar=100, k_dissimilar=100))
    assert len(found.similar) == 60
    assert found.dissimilar == ()


def test_consensus_says_how_strongly():
    one = consensus([45.0] * 4, [5.0] * 4, [0.9] * 4)
    assert (one.resultant, one.spread_km, one.effective) == pytest.approx((1, 0, 4), abs=1e-3)
    # Unit vectors a quarter turn apart: their mean has length 1/√2.
    assert consensus([0, 0], [0, 90], [0.5, 0.5]).resultant == pytest.approx(2**-0.5)
    # A stray neighbour moves the resultant length, not the radius that holds half of the weight.
    stray = consensus([45.0] * 4 + [-45], [5.0] * 4 + [-175], [0.9] * 5)
    assert stray.resultant == pytest.approx(0.6)
    assert stray.spread_km < 1
    assert consensus([0, 0], [0, 90], [0.9, 0.5], temperature=0.01).effective == pytest.approx(1)


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.floats(-1, 1)), min_size=1, max_size=20))
def test_consensus_is_in_range_for_any_neighbours(rows):
    agreed = consensus(*np.array(rows).T)
    assert 0 <= agreed.resultant <= 1
    assert 0 <= agreed.spread_km <= 20016
    assert 1 - 1e-9 <= agreed.effective <= len(rows) + 1e-9
    assert -90 <= agreed.lat <= 90


TRUE, WRONG = (45.0, 5.0), (-30.0, 150.0)
COPIES = 1000


def make_flooded(kind, seed=0):
    """40 honest pictures of one place from 8 sources, and 1,000 of a wrong place that look more like the query."""
    rng = np.random.default_rng(seed)
    query = rng.normal(size=DIM)
    honest = query + 0.10 * rng.normal(size=(40, DIM))
    spread = {"one picture": 0.0, "one source": 0.06, "one place": 0.06}[kind]
    flood = query + 0.02 * rng.normal(size=DIM) + spread * rng.normal(size=(COPIES, DIM))
    lat = np.append(TRUE[0] + rng.normal(0, 0.3, 40), np.full(COPIES, WRONG[0]))
    lon = np.append(TRUE[1] + rng.normal(0, 0.3, 40), np.full(COPIES, WRONG[1]))
    if kind == "one source":
        lat[40:] += rng.normal(0, 3, COPIES)
    names = [f"honest {row % 8}" for row in range(40)]
    names += [f"name {row}" if kind == "one place" else "poison" for row in range(COPIES)]
    gallery = Gallery.from_embeddings(
        np.concatenate([honest, flood]),
        lat,
        lon,
        meta=GalleryMeta(encoder="tiny", fingerprint="f", dim=DIM),
        labels={"source": names},
        phash=np.append(rng.integers(1, 2**63, 40), np.full(COPIES, 2**63 + 77 if kind == "one picture" else 0)),
    )
    return query, gallery, MemoryStore.open(gallery)


def mass_near(place, neighbours, within_km=1500):
    belief = NeighbourLocator().belief(*neighbours.arrays())
    centres = cells.to_latlon(belief.cells)
    return np.exp(belief.log_prob)[great_circle_km(*place, *centres) < within_km].sum()


FLOODS = [
    ("one picture", {"duplicate_similarity": 0.999}),
    ("one picture", {"duplicate_bits": 0}),
    ("one source", {"per_source_cap": 0.25}),
    ("one source", {"per_source_cap": 4}),
    ("one place", {"per_place_cap": 4}),
]


@pytest.mark.parametrize(("kind", "cap"), FLOODS)
def test_a_flood_of_a_wrong_place_cannot_fill_the_list(kind, cap):
    query, gallery, store = make_flooded(kind)
    config = RetrievalConfig(k_similar=16, k_dissimilar=0)
    flooded = find(query, store, gallery, config)
    assert sum(n.row >= 40 for n in flooded.similar) >= 14, "the flood is real"
    assert mass_near(TRUE, flooded) < 0.2
    held = find(query, store, gallery, dataclasses.replace(config, **cap))
    wrong = sum(n.row >= 40 for n in held.similar)
    assert len(held.similar) == (1 + 15 if kind == "one picture" else 16), "the pool was read until the list was full"
    assert wrong == (1 if kind == "one picture" else 4)
    assert mass_near(TRUE, held) > 0.6
    assert [n.similarity for n in held.similar] == sorted((n.similarity for n in held.similar), reverse=True)


def test_caps_hold_in_every_list():
    query, gallery, store = make_flooded("one source")
    config = RetrievalConfig(k_similar=8, k_dissimilar=8, k_hard=8, per_source_cap=2)
    found = find(query, store, gallery, config)
    for role in ("similar", "hard dissimilar", "dissimilar"):
        sources = [n.source for n in (*found.similar, *found.dissimilar) if n.role == role]
        assert sources.count("poison") <= 2, role
    assert len({n.row for n in (*found.similar, *found.dissimilar)}) == len(found.similar) + len(found.dissimilar)


def test_an_exhausted_gallery_gives_a_short_list():
    query, gallery, store = make_flooded("one source")
    found = find(query, store, gallery, RetrievalConfig(k_similar=60, k_dissimilar=0, per_source_cap=10))
    assert len(found.similar) == 40 + 10


def test_a_gallery_of_one_source_is_not_capped(world):
    gallery, store = world
    config = RetrievalConfig(k_similar=9, k_dissimilar=0, per_source_cap=1)
    assert len(find(gallery.embeddings[0], store, gallery, config).similar) == 9


def test_a_hash_of_zero_is_no_hash():
    query, gallery, store = make_flooded("one place")
    config = RetrievalConfig(k_similar=16, k_dissimilar=0, duplicate_bits=10)
    assert sum(n.row >= 40 for n in find(query, store, gallery, config).similar) >= 14


def test_exclusions_by_row_number_and_by_similarity(world):
    gallery, store = world
    config = RetrievalConfig(k_similar=5, k_dissimilar=3, exclusions=(Exclusion(rows=tuple(range(39))),))
    assert find(gallery.embeddings[0], store, gallery, config).similar[0].row == 39
    config = dataclasses.replace(config, exclusions=(Exclusion(similarity_from=0.95),))
    found = find(gallery.embeddings[0], store, gallery, config)
    assert max(n.similarity for n in found.similar) < 0.95
    plain = find(gallery.embeddings[0], store, gallery, RetrievalConfig(k_similar=0, k_dissimilar=3))
    assert found.dissimilar == plain.dissimilar, "the farthest are not similar, whatever their sign"
    everybody = RetrievalConfig(exclusions=(Exclusion(similarity_from=-2),))
    with pytest.raises(InputError, match="of similarity -2 and more leaves"):
        find(gallery.embeddings[0], store, gallery, everybody)


def test_hard_rows_are_sought_only_where_rows_look_alike(world):
    gallery, store = world
    config = RetrievalConfig(k_similar=4, k_dissimilar=0, k_hard=3, hard_pool=20)
    assert find(gallery.embeddings[0], store, gallery, config).dissimilar == (), "the first 40 rows are one place"


def test_exclusions_may_fill_the_whole_first_reading():
    rng = np.random.default_rng(0)
    vectors = 1 + 0.01 * rng.normal(size=(1500, DIM))
    meta = GalleryMeta(encoder="tiny", fingerprint="f", dim=DIM)
    gallery = Gallery.from_embeddings(vectors, np.linspace(-80, 80, 1500), np.zeros(1500), meta=meta)
    store = MemoryStore.open(gallery)
    nearest = tuple(store.query(vectors[:1], 700)[0][0].tolist())
    config = RetrievalConfig(k_similar=4, k_dissimilar=4, k_hard=2, exclusions=(Exclusion(rows=nearest),))
    found = find(vectors[0], store, gallery, config)
    assert [len(found.similar), len(found.dissimilar)] == [4, 6]
    assert not {n.row for n in (*found.similar, *found.dissimilar)} & set(nearest)


def test_diversified_prompts_are_told_k_of_each(world):
    gallery, store = world
    told = diversified(gallery.embeddings[0], store, gallery, RetrievalConfig(k_hard=2))
    assert list(told) == [0, 5, 10, 15]
    assert told[0].similar == told[0].dissimilar == ()
    for k in (5, 10, 15):
        assert len(told[k].similar) == len(told[k].dissimilar) == k
        assert [n.role for n in told[k].dissimilar].count("hard dissimilar") == 2
        assert told[k].similar == told[15].similar[:k]


def test_row_numbers_are_not_positions(world):
    gallery, _ = world
    numbered = dataclasses.replace(gallery, numbers=1000 + 3 * np.arange(len(gallery)))
    store = MemoryStore(DIM)
    store.add(numbered.row_numbers, gallery.embeddings)
    first = find(gallery.embeddings[7], store, numbered).similar[0]
    assert (first.row, first.text, first.lat) == (1021, "row 7", gallery.lat[7])
    found = search(gallery.embeddings[:3], store, numbered, 2, exclude=Exclusion(rows=(1000,)))
    assert found.rows[1:, 0].tolist() == [1003, 1006]
    assert np.array_equal(found.lat, gallery.lat[(found.rows - 1000) // 3])
    with pytest.raises(GalleryError, match="has no row"):
        find(gallery.embeddings[7], store, gallery)
