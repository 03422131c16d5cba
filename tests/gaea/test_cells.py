import math

import numpy as np
import pytest
import s2cell
import s2sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import cells, cellsets, sphere
from gaea.errors import InputError

# Places where an S2 implementation goes wrong first: poles, antimeridian, edges and corners of the cube.
CORNER_LAT = float(np.degrees(np.arctan(1 / np.sqrt(2))))
LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, -CORNER_LAT, 0.0, CORNER_LAT, 45.0, 90.0]))
LONGITUDES = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, -135.0, -45.0, 0.0, 45.0, 90.0, 135.0, 180.0]))
LEVELS = st.integers(0, 30)


def random_points(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)


def s2sphere_leaf(lat, lon):
    return s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(lat, lon))


def test_ids_agree_bit_for_bit_with_s2cell_on_many_points():
    lat, lon = random_points(200_000)
    ours = cells.from_latlon(lat, lon)
    theirs = [s2cell.lat_lon_to_cell_id(*point) for point in zip(lat.tolist(), lon.tolist(), strict=True)]
    np.testing.assert_array_equal(ours, np.array(theirs, np.uint64))


@pytest.mark.parametrize("level", range(31))
def test_ids_and_centres_agree_with_s2sphere_at_every_level(level):
    lat, lon = random_points(300, seed=level)
    ours = cells.from_latlon(lat, lon, level)
    theirs = [s2sphere_leaf(*point).parent(level) for point in zip(lat, lon, strict=True)]
    assert ours.tolist() == [cell.id() for cell in theirs]
    centres = [(cell.to_lat_lng().lat().degrees, cell.to_lat_lng().lng().degrees) for cell in theirs]
    np.testing.assert_allclose(np.stack(cells.to_latlon(ours), axis=-1), centres, rtol=0, atol=1e-12)
    assert [cells.to_token(cell) for cell in ours[:20]] == [cell.to_token() for cell in theirs[:20]]


@given(LATITUDES, LONGITUDES, LEVELS)
@settings(deadline=None)
def test_special_places_agree_with_s2sphere(lat, lon, level):
    cell = cells.from_latlon(lat, lon, level)
    assert int(cell) == s2sphere_leaf(lat, lon).parent(level).id()


def touch(one, other):
    """Whether two cells share a corner."""
    corners = [[s2sphere.Cell(cell).get_vertex(index) for index in range(4)] for cell in (one, other)]
    gap = min(math.dist((a[0], a[1], a[2]), (b[0], b[1], b[2])) for a in corners[0] for b in corners[1])
    return gap < 0.1 / 2 ** one.level()


@given(LATITUDES, LONGITUDES, st.integers(1, 29))
@settings(deadline=None)
def test_family_agrees_with_s2sphere(lat, lon, level):
    cell, theirs = cells.from_latlon(lat, lon, level), s2sphere_leaf(lat, lon).parent(level)
    assert cells.children(cell).tolist() == [child.id() for child in theirs.children()]
    assert int(cells.parent(cell, level - 1)) == theirs.parent().id()
    assert int(cells.range_min(cell)) == theirs.range_min().id()
    assert int(cells.range_max(cell)) == theirs.range_max().id()
    assert cells.edge_neighbours(cell).tolist() == [other.id() for other in theirs.get_edge_neighbors()]
    # Not their get_all_neighbors: at a corner of the cube it misses a cell or names one that lies apart.
    beside = theirs.get_edge_neighbors()
    reached = {other.id(): other for one in beside for other in [one, *one.get_edge_neighbors()]}
    around = {key for key, other in reached.items() if key != theirs.id() and touch(other, theirs)}
    assert set(cells.all_neighbours(cell).tolist()) == around
    assert cells.face(cell) == theirs.face()


@given(LATITUDES, LONGITUDES, LEVELS)
@settings(deadline=None)
def test_corners_agree_with_s2sphere_and_run_anticlockwise(lat, lon, level):
    cell = cells.from_latlon(lat, lon, level)
    theirs = s2sphere.Cell(s2sphere.CellId(int(cell)))
    corners = cells.vertices_xyz(cell)
    for corner, index in zip(corners, range(4), strict=True):
        vertex = theirs.get_vertex(index)
        np.testing.assert_allclose(corner, [vertex[0], vertex[1], vertex[2]], atol=1e-15)
    assert cells.vertices_latlon(cell).shape == (4, 2)
    if level < 20:
        turns = np.cross(
            np.roll(corners, -1, axis=0) - corners, np.roll(corners, -2, axis=0) - np.roll(corners, -1, axis=0)
        )
        assert ((turns * corners).sum(-1) > 0).all()


@given(LATITUDES, LONGITUDES, LEVELS)
@settings(deadline=None)
def test_centres_and_ids_round_trip(lat, lon, level):
    cell = cells.from_latlon(lat, lon, level)
    assert cells.level(cell) == level
    assert cells.is_valid(cell)
    assert cells.from_latlon(*cells.to_latlon(cell), level) == cell
    assert cells.from_token(cells.to_token(cell)) == cell
    assert cells.contains(cell, cells.from_latlon(lat, lon))
    assert sphere.great_circle_km(lat, lon, *cells.to_latlon(cell)) < 2.44 * sphere.EARTH_RADIUS_KM / 2**level


def test_areas_agree_with_s2sphere_and_add_up_at_every_level():
    assert cells.area_km2(cells.FACES).sum() == pytest.approx(sphere.EARTH_AREA_KM2, rel=1e-14)
    lat, lon = random_points(500)
    for level in range(30):
        cell = cells.from_latlon(lat, lon, level)
        np.testing.assert_allclose(cells.area_km2(cells.children(cell)).sum(-1), cells.area_km2(cell), rtol=2e-10)
        if level < 16:  # beyond, theirs is a sum of cancelling angles
            exact = s2sphere.Cell(s2sphere.CellId(int(cell[0]))).exact_area() * sphere.EARTH_RADIUS_KM**2
            assert cells.area_km2(cell[0]) == pytest.approx(exact, rel=1e-5)


def test_areas_of_a_level_cover_the_earth():
    whole, _ = cellsets.split(cells.FACES, 6)
    assert whole.size == 6 * 4**6
    assert cells.area_km2(whole).sum() == pytest.approx(sphere.EARTH_AREA_KM2, rel=1e-12)
    assert cells.area_km2(whole).mean() ** 0.5 == pytest.approx(cells.mean_edge_km(6))


@pytest.mark.parametrize(("level", "km"), [(0, 9220), (2, 2305), (4, 576), (10, 9.0), (20, 0.0088)])
def test_mean_edges_of_the_design(level, km):
    assert cells.mean_edge_km(level) == pytest.approx(km, rel=0.005)


def test_integer_order_is_the_order_of_the_curve():
    whole, _ = cellsets.split(cells.FACES, 5)
    assert (np.diff(whole.astype(object)) > 0).all()
    for face in np.split(whole, 6):  # the curve never jumps
        following = cells.edge_neighbours(face[:-1]) == face[1:, None]
        assert following.any(axis=1).all()


@given(LATITUDES, LONGITUDES, st.floats(1e-4, 15000), st.sampled_from([4, 16, 200]))
@settings(deadline=None)
def test_a_cap_is_covered(lat, lon, radius_km, max_cells):
    cover = cells.cover_cap(lat, lon, radius_km, max_cells=max_cells)
    assert cellsets.is_disjoint(cover)
    rng = np.random.default_rng(0)
    distance = radius_km * np.append(np.sqrt(rng.random(50)), np.ones(50))
    inside = sphere.destination(lat, lon, rng.uniform(0, 360, 100), distance * (1 - 1e-9))
    assert (cellsets.index_of(cover, cells.from_latlon(*inside)) >= 0).all()
    near, _ = cells.distance_range_km(cover, lat, lon)
    assert (near <= radius_km + 1e-6).all()


def test_a_finer_cover_is_tighter_and_keeps_its_limits():
    areas = []
    for max_cells in (8, 64, 512):
        cover = cells.cover_cap(35.0, 139.0, 120.0, max_cells=max_cells)
        assert cover.size <= max_cells
        areas.append(cells.area_km2(cover).sum())
    assert areas[0] > areas[1] > areas[2] > sphere.cap_area_km2(120.0)
    assert areas[2] < 1.15 * sphere.cap_area_km2(120.0)
    levels = cells.level(cells.cover_cap(35.0, 139.0, 120.0, max_cells=10_000, min_level=7, max_level=9))
    assert set(levels.tolist()) <= {7, 8, 9}
    assert cells.cover_cap(0, 0, 20016).tolist() == cells.FACES.tolist()


@given(LATITUDES, LONGITUDES, st.integers(0, 14), LATITUDES, LONGITUDES)
@settings(deadline=None)
def test_distances_to_a_cell_bound_those_of_its_points(lat, lon, level, point_lat, point_lon):
    cell = cells.from_latlon(lat, lon, level)
    near, far = cells.distance_range_km(np.atleast_1d(cell), point_lat, point_lon)
    drawn = cells.sample(np.full(200, cell), np.random.default_rng(0))
    km = sphere.great_circle_km(*drawn, point_lat, point_lon)
    assert near[0] - 1e-6 <= km.min()
    assert km.max() <= far[0] + 1e-6
    assert (cells.from_latlon(*drawn, level) == cell).mean() > 0.98  # on an edge rounding may decide otherwise


def test_points_drawn_from_a_face_are_even_by_area():
    drawn = cells.sample(np.full(40_000, cells.FACES[2]), np.random.default_rng(0))
    children = cells.from_latlon(*drawn, 2)
    ids, times = np.unique(children, return_counts=True)
    expected = cells.area_km2(ids) / cells.area_km2(cells.FACES[2]) * 40_000
    assert ids.size == 16
    assert (((times - expected) ** 2 / expected).sum()) < 45  # chi-square, 15 degrees of freedom, p < 1e-4


def test_unusable_values_are_named():
    leaf = cells.from_latlon(1, 2)
    with pytest.raises(InputError, match="level 31"):
        cells.from_latlon(0, 0, 31)
    with pytest.raises(InputError, match="level -1"):
        cells.parent(leaf, -1)
    with pytest.raises(InputError, match="no parent"):
        cells.parent(cells.FACES, 3)
    with pytest.raises(InputError, match="no children"):
        cells.children(leaf)
    with pytest.raises(InputError, match="latitude nan"):
        cells.from_latlon(np.nan, 0)
    with pytest.raises(InputError, match="float64"):
        cells.level(np.array([1.5]))
    with pytest.raises(InputError, match="radius_km -1"):
        cells.cover_cap(0, 0, -1)
    for token in ("", "X", "47e6 ", "0x47", "8", "zz", "47e66fdc000000000"):
        with pytest.raises(InputError, match="S2 token"):
            cells.from_token(token)


def test_validity():
    assert cells.is_valid(cells.FACES).all()
    assert not cells.is_valid(np.array([0, 2, 7 << 61 | 1, 6 << 61 | 1], np.uint64)).any()


def ranges_as_sets(cell_set, level):
    return set(cellsets.split(cellsets.union(cell_set), level)[0].tolist())


@given(st.lists(st.tuples(LATITUDES, LONGITUDES, st.integers(0, 5)), min_size=1, max_size=12))
@settings(deadline=None)
def test_set_operations_agree_with_sets_of_fine_cells(places):
    some = np.array([cells.from_latlon(*place) for place in places], np.uint64)
    joined = cellsets.union(some)
    expected = set().union(*(ranges_as_sets(cell, 5) for cell in some))
    assert cellsets.is_disjoint(joined)
    assert ranges_as_sets(joined, 5) == expected
    rest = cellsets.complement(joined)
    assert cells.area_km2(rest).sum() + cells.area_km2(joined).sum() == pytest.approx(sphere.EARTH_AREA_KM2)
    if rest.size:
        assert not ranges_as_sets(rest, 5) & expected
    # No four siblings are left apart.
    fine = joined[cells.level(joined) > 0]
    parents = [int(cells.parent(cell, int(cells.level(cell)) - 1)) for cell in fine]
    assert max((parents.count(parent) for parent in parents), default=0) < 4


@given(st.lists(st.tuples(LATITUDES, LONGITUDES, st.integers(0, 30)), min_size=2, max_size=12))
@settings(deadline=None)
def test_overlay_cuts_along_all_borders(places):
    some = np.array([cells.from_latlon(*place) for place in places], np.uint64)
    one, other = cellsets.union(some[::2]), cellsets.union(some[1::2])
    pieces, held = cellsets.overlay([one, other])
    assert cellsets.is_disjoint(pieces)
    for cell_set, index in ((one, held[0]), (other, held[1])):
        assert cells.contains(cell_set[index[index >= 0]], pieces[index >= 0]).all()
        areas = np.bincount(index[index >= 0], cells.area_km2(pieces)[index >= 0], minlength=cell_set.size)
        np.testing.assert_allclose(areas, cells.area_km2(cell_set), rtol=1e-8)
