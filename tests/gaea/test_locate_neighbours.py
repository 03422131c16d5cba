import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import cells
from gaea.errors import InputError
from gaea.locate.kernels import kernel_per_km2, one_minus_cosine
from gaea.locate.neighbours import Neighbour, NeighbourConfig, NeighbourLocator, Neighbours, cite
from gaea.locate.neighbours_fit import fit
from gaea.sphere import EARTH_AREA_KM2, great_circle_km, to_xyz

PLACES = [(0, 0), (90, 0), (-90, 30), (12, 180), (35.26, 45), (0, 45), (48.8584, 2.2945)]  # face corner and edge too


def make_neighbours(lat, lon, n=64, spread_deg=0.2, seed=0):
    """Neighbours scattered about a point, also at the poles."""
    rng = np.random.default_rng(seed)
    xyz = to_xyz(lat, lon) + np.radians(spread_deg) * rng.normal(size=(n, 3))
    similarity = np.sort(rng.uniform(0.6, 0.95, n))[::-1]
    return np.degrees(np.arcsin(xyz[:, 2] / np.linalg.norm(xyz, axis=1))), np.degrees(
        np.arctan2(xyz[:, 1], xyz[:, 0])
    ), similarity  # fmt: skip


@pytest.mark.parametrize("sigma_km", [5.0, 200.0, 3000.0, 12000.0])
def test_a_kernel_integrates_to_one(sigma_km):
    # Rings of equal 1 − cos have equal area, so the mean over a fine uniform grid of it is the integral.
    edges = np.concatenate([[0], np.geomspace(1e-9, 2, 200_000)])
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    assert (kernel_per_km2(middle, sigma_km) * width).sum() * EARTH_AREA_KM2 / 2 == pytest.approx(1, rel=1e-4)


def test_a_kernel_has_the_width_it_says():
    rng = np.random.default_rng(0)
    centre = to_xyz(50, 10)
    points = to_xyz(50 + rng.uniform(-3, 3, 200_000), 10 + rng.uniform(-5, 5, 200_000))
    density = kernel_per_km2(one_minus_cosine(points, centre[None])[:, 0], 40.0)
    lat, lon = np.degrees(np.arcsin(points[:, 2])), np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    weight = density * np.cos(np.radians(lat))
    squared = great_circle_km(50, 10, lat, lon) ** 2
    assert (weight * squared).sum() / weight.sum() == pytest.approx(2 * 40.0**2, rel=0.02)


@pytest.mark.parametrize("place", PLACES)
def test_a_tight_cluster_gives_fine_cells_there(place):
    belief = NeighbourLocator().belief(*make_neighbours(*place))
    best = belief.cells[np.argmax(belief.log_prob - np.log(cells.area_km2(belief.cells)))]
    lat, lon = cells.to_latlon(best)
    assert great_circle_km(*place, lat, lon) < 40
    assert cells.level(best) >= 8
    assert len(belief.cells) < 4000
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1)
    assert 0 < belief.elsewhere <= 0.03


@pytest.mark.parametrize("place", PLACES)
# A narrow kernel of little weight is not worth a fine cell: single points may be off, the mean may not.
@pytest.mark.parametrize(("bandwidths_km", "most_off"), [((40.0, 800.0), 2.0), ((200.0, 1200.0), 1.0)])
def test_cells_hold_what_the_density_says(place, bandwidths_km, most_off):
    locator = NeighbourLocator(NeighbourConfig(bandwidths_km=bandwidths_km))
    neighbours = make_neighbours(*place, spread_deg=3)
    belief = locator.belief(*neighbours)
    points = make_neighbours(*place, n=500, spread_deg=4, seed=1)[:2]
    lost = locator.log_density(*(column[None] for column in neighbours), *(p[None] for p in points))[0]
    lost = lost - belief.log_density(*points)
    assert abs(lost.mean()) < 0.05
    assert np.abs(lost).max() < most_off


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.floats(-1, 1)), min_size=1, max_size=40),
    st.sampled_from([(5.0, 100.0), (40.0, 800.0), (3000.0, 9000.0)]),
)
def test_any_neighbours_give_a_belief_of_bounded_size(rows, bandwidths_km):
    lat, lon, similarity = np.array(rows).T
    belief = NeighbourLocator(NeighbourConfig(bandwidths_km=bandwidths_km)).belief(lat, lon, similarity)
    assert 0 < len(belief.cells) <= 4000
    assert np.isfinite(belief.log_prob).all()
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1)
    # A bound that holds for any neighbours: nowhere is believed less likely than the even background.
    assert belief.log_density(0.0, 0.0) >= np.log(0.02 / EARTH_AREA_KM2) - 1e-6


def test_the_same_neighbours_give_the_same_belief():
    neighbours = make_neighbours(10, 20)
    one, two = (NeighbourLocator().belief(*neighbours) for _ in range(2))
    assert np.array_equal(one.cells, two.cells)
    assert np.array_equal(one.log_prob, two.log_prob)


def test_without_background_nothing_is_elsewhere():
    belief = NeighbourLocator(NeighbourConfig(background=0.0)).belief(*make_neighbours(10, 20))
    assert belief.elsewhere == 0


def test_a_colder_temperature_listens_to_the_best():
    lat, lon, similarity = np.array([0.0, 40.0]), np.array([0.0, 40.0]), np.array([0.9, 0.8])
    masses = []
    for temperature in (0.01, 1.0):
        belief = NeighbourLocator(NeighbourConfig(temperature=temperature)).belief(lat, lon, similarity)
        masses.append(np.exp(belief.log_density(0.0, 0.0) - belief.log_density(40.0, 40.0)))
    assert masses[0] > 1000
    assert masses[1] == pytest.approx(np.exp(0.1), rel=0.3)


def test_shares_follow_the_best_similarity():
    config = NeighbourConfig(similarity_slopes=(30.0, 5.0), similarity_reference=0.8)
    seen, reference, strange = config.shares([1.0, 0.8, -1.0])
    np.testing.assert_allclose(reference, [0.49, 0.49, 0.02])
    assert seen[0] > 0.95
    assert strange[-1] > 0.99
    np.testing.assert_allclose(config.shares([-1e6, 1e6]).sum(axis=-1), 1)


def test_shares_do_not_run_on_beyond_what_was_fitted():
    config = NeighbourConfig(similarity_slopes=(30.0, 5.0), similarity_reference=0.8, similarity_range=(0.7, 0.9))
    np.testing.assert_array_equal(config.shares([-1.0, 1.0]), config.shares([0.7, 0.9]))


def test_when_all_is_background_the_belief_lists_nothing_but_says_so():
    config = NeighbourConfig(similarity_slopes=(500.0, 500.0), similarity_reference=0.9)
    lat, lon, _ = make_neighbours(10, 20)
    belief = NeighbourLocator(config).belief(lat, lon, np.full(64, 0.1))
    assert belief.elsewhere > 0.9


def test_a_fixed_set_of_cells_gets_the_same_mass_for_many():
    level_cells = cells.FACES
    for _ in range(3):
        level_cells = cells.children(level_cells).reshape(-1)
    locator = NeighbourLocator(NeighbourConfig(bandwidths_km=(800.0, 2000.0)))
    rows = [make_neighbours(*place, spread_deg=8) for place in PLACES]
    mass = locator.on_cells(level_cells, *(np.stack(column) for column in zip(*rows, strict=True)))
    assert mass.shape == (len(PLACES), len(level_cells))
    np.testing.assert_allclose(mass.sum(axis=1), 1, atol=0.03)
    for place, row in zip(PLACES, mass, strict=True):
        assert great_circle_km(*place, *cells.to_latlon(level_cells[np.argmax(row)])) < 1200


def test_evidence_adds_up_and_is_near():
    lat, lon, similarity = np.array([45.0, 45.2, -30.0]), np.array([5.0, 5.1, 140.0]), np.array([0.9, 0.9, 0.9])
    locator = NeighbourLocator()
    parts = locator.evidence(lat, lon, similarity, at=(45.0, 5.0))
    assert parts[0] > parts[1] > 0.1
    assert parts[2] < 1e-6
    assert 0.99 < parts.sum() < 1
    assert locator.evidence(lat, lon, similarity, at=(-80.0, -90.0)).sum() < 0.01
    several = locator.evidence(lat, lon, similarity, at=([45.0, -80.0], [5.0, -90.0]))
    np.testing.assert_allclose(several[0], parts)
    assert several.shape == (2, 3)


def test_evidence_times_density_gives_the_density_back():
    """Leaving a neighbour's part out of the density leaves 1 − r of it: checked against the density itself."""
    lat, lon, similarity = make_neighbours(10, 20, n=3, spread_deg=2)
    config = NeighbourConfig(temperature=1e6)  # all are heard alike, so that one can be muted without the rest
    locator, at = NeighbourLocator(config), (11.0, 21.0)
    shares = locator.evidence(lat, lon, similarity, at=at)

    def density(rows):
        columns = (column[None, rows] for column in (lat, lon, similarity))
        return np.exp(locator.log_density(*columns, *(np.array([x]) for x in at)))[0] - 0.02 / EARTH_AREA_KM2

    whole = density([0, 1, 2])
    for muted in range(3):
        rest = [row for row in range(3) if row != muted]
        assert shares[muted] * (whole + 0.02 / EARTH_AREA_KM2) == pytest.approx(whole - 2 / 3 * density(rest), rel=1e-6)


@pytest.mark.parametrize("place", PLACES)
def test_evidence_of_cells_is_that_of_the_belief(place):
    locator = NeighbourLocator()
    lat, lon, similarity = make_neighbours(*place, n=12, spread_deg=2)
    belief = locator.belief(lat, lon, similarity)
    shares = locator.evidence(lat, lon, similarity, cell_ids=belief.cells)
    assert shares.shape == (len(belief.cells), 12)
    assert shares.min() >= 0
    assert shares.sum(axis=1).max() <= 1 + 1e-9
    best = belief.cells[np.argmax(belief.log_prob)]
    one = locator.evidence(lat, lon, similarity, cell_ids=best)
    np.testing.assert_allclose(one, shares[np.argmax(belief.log_prob)])
    # A fine cell is as good as a point.
    leaf = cells.from_latlon(lat[3], lon[3], level=20)
    point = locator.evidence(lat, lon, similarity, at=cells.to_latlon(leaf))
    np.testing.assert_allclose(locator.evidence(lat, lon, similarity, cell_ids=leaf), point, atol=1e-6)


def test_a_neighbour_that_is_not_heard_is_no_evidence():
    lat, lon, similarity = make_neighbours(10, 20, n=6)
    shares = NeighbourLocator(NeighbourConfig(k=4)).evidence(lat, lon, similarity, at=(10.0, 20.0))
    assert (shares[:4] > 0).all()
    assert (shares[4:] == 0).all()


def test_an_answer_cites_what_its_point_rests_on():
    rows = [(45.0, 5.0), (-30.0, 140.0), (45.1, 5.1)]
    told = Neighbours(similar=tuple(Neighbour(i, *at, 0.9, "similar") for i, at in enumerate(rows)))
    shares = NeighbourLocator().evidence(*told.arrays(), at=(45.0, 5.0))
    cited = cite(told, shares)
    assert [c.neighbour.row for c in cited] == [0, 2]
    assert cited[0].share > cited[1].share > 0.05
    assert [c.neighbour.row for c in cite(told, shares, most=1)] == [0]
    assert cite(told, NeighbourLocator().evidence(*told.arrays(), at=(-80.0, -90.0))) == ()
    with pytest.raises(InputError, match="expected one each"):
        cite(told, shares[:2])
    with pytest.raises(InputError, match="exactly one of at and cell_ids"):
        NeighbourLocator().evidence(*told.arrays())


def test_density_at_many_points_per_query():
    neighbours = [np.stack([column] * 2) for column in make_neighbours(10, 20)]
    density = NeighbourLocator().log_density(*neighbours, np.full((2, 3), 10.0), np.array([[20.0, 21.0, 90.0]] * 2))
    assert density.shape == (2, 3)
    assert (np.diff(density, axis=1) < 0).all()


def test_no_neighbours_and_bad_settings_are_refused():
    with pytest.raises(InputError, match="no neighbours to locate by"):
        NeighbourLocator().belief([], [], [])
    with pytest.raises(InputError, match=r"temperature=0, bandwidths_km=\(\), bandwidth_weights="):
        NeighbourConfig(temperature=0, bandwidths_km=())
    with pytest.raises(InputError, match="max_cells=100"):
        NeighbourConfig(max_cells=100)


def test_neighbours_as_arrays():
    pair = Neighbours(similar=(Neighbour(1, 2.0, 3.0, 0.5, "similar"), Neighbour(4, 5.0, 6.0, 0.4, "similar")))
    lat, lon, similarity = pair.arrays()
    assert (lat.tolist(), lon.tolist(), similarity.tolist()) == ([2, 5], [3, 6], [0.5, 0.4])
    assert [column.shape for column in Neighbours().arrays()] == [(0,)] * 3


def make_validation(q=400, k=16, seed=0):
    """Half the places seen (similar neighbours 30 km away), half unseen (less similar ones 900 km away)."""
    rng = np.random.default_rng(seed)
    true = to_xyz(np.degrees(np.arcsin(rng.uniform(-1, 1, q))), rng.uniform(-180, 180, q))
    seen = np.arange(q) % 2 == 0
    sigma = np.where(seen, 30, 900)[:, None, None] / 6371
    xyz = true[:, None] + sigma * rng.normal(size=(q, k, 3))
    similarity = np.sort(np.where(seen, 0.95, 0.75)[:, None] + 0.02 * rng.normal(size=(q, k)), axis=1)[:, ::-1]
    latlon = [
        (
            np.degrees(np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1]))),
            np.degrees(np.arctan2(v[..., 1], v[..., 0])),
        )
        for v in (xyz, true)
    ]
    return *latlon[0], similarity, *latlon[1]


def score(config, data):
    lat, lon, similarity, true_lat, true_lon = data
    return NeighbourLocator(config).log_density(lat, lon, similarity, true_lat, true_lon).mean()


def test_fit_finds_the_widths_and_the_gate():
    config = fit(*make_validation())
    assert config.bandwidths_km[0] <= 40
    assert config.bandwidths_km[1] >= 300
    seen, unseen = config.shares([0.97, 0.78])
    assert seen[0] > 0.9
    assert unseen[0] < 0.1
    held_out = make_validation(seed=1)
    plain = fit(*make_validation(), gated=False)
    assert score(config, held_out) > score(plain, held_out) + 0.3
    assert score(plain, held_out) > score(NeighbourConfig(), held_out) + 0.1


def test_fit_never_makes_a_place_impossible():
    lat, lon, similarity, true_lat, true_lon = make_validation(q=60)
    config = fit(lat, lon, similarity, true_lat, true_lon)
    assert config.background > 0
    antipode = score(config, (lat, lon, similarity, -true_lat, true_lon - 180))
    assert np.isfinite(antipode)


def test_fit_wants_enough_places():
    with pytest.raises(InputError, match="expected \\(q, k\\), q at least 10"):
        fit(*(part[:5] for part in make_validation(q=20)))
