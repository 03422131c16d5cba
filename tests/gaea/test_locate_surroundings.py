"""What rows say of places that have none: a mean and not a sum, and held places speak against themselves."""

import dataclasses
import json

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief
from gaea.calibration import Calibration
from gaea.errors import InputError
from gaea.locate.kernels import blurred, kernel_per_km2, one_minus_cosine
from gaea.locate.neighbours import Neighbour, NeighbourConfig, NeighbourLocator, Neighbours
from gaea.locate.neighbours_fit import fit
from gaea.locate.surroundings import RowDensity, SurroundingsConfig, SurroundingsLocator
from gaea.places import country_codes
from gaea.sphere import destination, great_circle_km, to_xyz

HOLE = (12.0, 20.0)
MIXED = NeighbourConfig(
    bandwidths_km=(10.0, 600.0), bandwidth_weights=(0.5, 0.2, 0.3), surroundings=SurroundingsConfig()
)


def lattice(count=420_000):
    """A Fibonacci lattice of about 35 km, 1,500 km around the hole and nowhere else."""
    i = np.arange(count) + 0.5
    lat, lon = np.degrees(np.arcsin(1 - 2 * i / count)), (180 * (1 + 5**0.5) * i + 180) % 360 - 180
    near = great_circle_km(lat, lon, *HOLE) < 1500
    return lat[near], lon[near]


@pytest.fixture(scope="module")
def holed():
    lat, lon = lattice()
    kept = great_circle_km(lat, lon, *HOLE) > 170
    return lat[kept], lon[kept]


def ring(lat, lon, n=64):
    """The rows nearest to the hole, all equally similar."""
    order = np.argsort(great_circle_km(lat, lon, *HOLE))[:n]
    return lat[order], lon[order], np.full(n, 0.7)


def mass_near(belief: Belief, at, km):
    return belief.mass_in(cells.cover_cap(*at, km))


def test_the_density_of_rows_is_that_of_all_of_them(holed):
    ids = np.concatenate(
        [cells.from_latlon([12.0, 13.4, 20.0, -60.0], [20.0, 20.5, 25.0, 0.0], level) for level in (5, 7, 9)]
    )
    width = blurred(80.0, np.sqrt(cells.area_km2(ids)))
    whole = kernel_per_km2(one_minus_cosine(cells.centre_xyz(ids), to_xyz(*holed)), width[:, None]).sum(axis=1)
    rows = RowDensity(*holed)
    # Rows farther than three standard deviations, 1.1 % of a kernel's mass, are left out.
    np.testing.assert_allclose(rows.per_km2(ids, 80.0), whole, rtol=0.02, atol=2e-6)
    np.testing.assert_array_equal(rows.per_km2(ids, 80.0), rows.per_km2(ids, 80.0))
    assert rows.typical(80.0) == pytest.approx(420_000 / 510.1e6, rel=0.05)


def test_a_hole_among_rows_that_all_match_is_where_the_picture_is(holed):
    asked = ring(*holed)
    ours = SurroundingsLocator(RowDensity(*holed)).belief(*asked)
    density = NeighbourLocator(NeighbourConfig(bandwidths_km=(100.0,), bandwidth_weights=(1.0,))).belief(*asked)
    assert mass_near(ours, HOLE, 120) > 2 * mass_near(density, HOLE, 120)
    assert great_circle_km(*ours.point("near"), *HOLE) < 60


def test_it_is_a_mean_of_rows_and_not_a_sum():
    lat, lon = lattice()
    west = lon < HOLE[1]
    thinned = ~west | (np.random.default_rng(1).random(len(lat)) < 0.25)
    lat, lon = lat[thinned], lon[thinned]
    there = [destination(*HOLE, bearing, 700.0) for bearing in (90.0, 270.0)]
    near = np.concatenate([np.flatnonzero(great_circle_km(lat, lon, *at) < 150) for at in there])
    asked = lat[near], lon[near], np.full(len(near), 0.7)
    config = SurroundingsConfig(k=500, bandwidth_km=60.0, held_km=0.0)
    ours = SurroundingsLocator(RowDensity(lat, lon), config).belief(*asked)
    east, sparse = (mass_near(ours, at, 70) for at in there)
    assert sparse == pytest.approx(east, rel=0.15)
    spread = NeighbourLocator(NeighbourConfig(k=500, temperature=1.0, bandwidths_km=(60.0,), bandwidth_weights=(1.0,)))
    dense, thin = (mass_near(spread.belief(*asked), at, 70) for at in there)
    assert dense > 2 * thin


def test_places_that_rows_show_would_have_been_recognised(holed):
    asked = ring(*holed)
    rows = RowDensity(*holed)
    heard, deaf = (
        SurroundingsLocator(rows, SurroundingsConfig(held_km=held_km)).belief(*asked) for held_km in (40.0, 0.0)
    )
    assert mass_near(heard, HOLE, 150) > 1.5 * mass_near(deaf, HOLE, 150)


def test_it_does_not_run_out_to_sea(holed):
    lat, lon = holed
    coast = np.argsort(-great_circle_km(lat, lon, *HOLE))[:64]
    belief = SurroundingsLocator(RowDensity(lat, lon)).belief(lat[coast], lon[coast], np.full(64, 0.7))
    assert belief.mass_in(cells.cover_cap(*HOLE, 1500 + 400)) > 0.9


def test_rows_on_land_say_little_of_the_sea():
    i = np.arange(420_000) + 0.5
    lat, lon = np.degrees(np.arcsin(1 - 2 * i / 420_000)), (180 * (1 + 5**0.5) * i + 180) % 360 - 180
    iberia = (great_circle_km(lat, lon, 40.0, -5.0) < 600) & (country_codes(lat, lon) != "")
    lat, lon = lat[iberia], lon[iberia]
    coast = np.argsort(great_circle_km(lat, lon, 39.5, -9.0))[:64]
    asked = lat[coast], lon[coast], np.full(64, 0.7)

    def at_sea(sea):
        belief = SurroundingsLocator(RowDensity(lat, lon), SurroundingsConfig(sea=sea)).belief(*asked)
        share = np.exp(belief.log_prob)[country_codes(*cells.to_latlon(belief.cells)) == ""].sum()
        return share / (1 - share)

    assert at_sea(0.1) == pytest.approx(0.1 * at_sea(1.0), rel=0.3)  # the background is even, at sea as on land


def test_it_sums_to_one_and_repeats_itself(holed):
    locator = SurroundingsLocator(RowDensity(*holed), SurroundingsConfig(background=0.1))
    belief, again = (locator.belief(*ring(*holed)) for _ in range(2))
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1.0)
    assert 0.05 < belief.elsewhere <= 0.1001
    np.testing.assert_array_equal(belief.cells, again.cells)
    np.testing.assert_array_equal(belief.log_prob, again.log_prob)


def test_what_cannot_be_used_is_refused(holed):
    with pytest.raises(InputError, match="no neighbours"):
        SurroundingsLocator(RowDensity(*holed)).belief([], [], [])
    with pytest.raises(InputError, match="without rows"):
        RowDensity([], [])
    with pytest.raises(InputError, match="positive"):
        SurroundingsConfig(bandwidth_km=0.0)
    with pytest.raises(InputError, match="bandwidth_weights"):
        NeighbourConfig(surroundings=SurroundingsConfig())


def test_their_share_goes_to_the_widest_kernel_where_rows_are_not_known(holed):
    lat, lon, similarity = ring(*holed)
    wide = dataclasses.replace(MIXED, bandwidth_weights=(0.5, 0.5), surroundings=None)
    at = np.array([[12.0, 14.0, 50.0]]), np.array([[20.0, 20.0, 60.0]])
    asked = lat[None], lon[None], similarity[None]
    np.testing.assert_allclose(
        NeighbourLocator(MIXED).log_density(*asked, *at), NeighbourLocator(wide).log_density(*asked, *at)
    )
    without = NeighbourLocator(MIXED).belief(lat, lon, similarity)
    np.testing.assert_array_equal(without.cells, NeighbourLocator(wide).belief(lat, lon, similarity).cells)


def test_a_mixture_holds_what_its_parts_hold(holed):
    lat, lon, similarity = ring(*holed)
    rows = RowDensity(*holed)
    belief = NeighbourLocator(MIXED, rows).belief(lat, lon, similarity)
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1.0)
    around = SurroundingsLocator(rows).belief(lat, lon, similarity)
    rest = dataclasses.replace(MIXED, bandwidth_weights=(0.5 / 0.7, 0.2 / 0.7), surroundings=None, background=0.0)
    kernels = NeighbourLocator(rest).belief(lat, lon, similarity)
    shares = MIXED.shares(0.7)
    told = shares[2] * mass_near(around, HOLE, 150) + (shares[0] + shares[1]) * mass_near(kernels, HOLE, 150)
    assert mass_near(belief, HOLE, 150) == pytest.approx(told, rel=0.03)
    given = NeighbourLocator(MIXED).belief(lat, lon, similarity, around=around)
    np.testing.assert_array_equal(given.log_prob, belief.log_prob)


def test_they_are_read_from_the_whole_ranking(holed):
    lat, lon, similarity = ring(*holed, n=400)
    rows = RowDensity(*holed)
    similar = tuple(Neighbour(i, lat[i], lon[i], similarity[i], "similar") for i in range(8))
    around = SurroundingsLocator(rows).belief(lat, lon, similarity)
    told = NeighbourLocator(MIXED, rows).of(Neighbours(similar, (), (lat, lon, similarity)))
    few = lat[:8], lon[:8], similarity[:8]
    np.testing.assert_array_equal(told.log_prob, NeighbourLocator(MIXED).belief(*few, around=around).log_prob)
    without = NeighbourLocator(MIXED, rows).of(Neighbours(similar))
    np.testing.assert_array_equal(without.log_prob, NeighbourLocator(MIXED, rows).belief(*few).log_prob)
    assert len(told.cells) != len(without.cells)


def test_fitting_gives_them_a_share_where_they_are_right(holed):
    rng = np.random.default_rng(0)
    lat, lon = holed
    asked = [ring(lat, lon, 64) for _ in range(40)]
    truth = np.array([destination(*HOLE, rng.uniform(0, 360), 120 * np.sqrt(rng.random())) for _ in range(40)])
    rows, config = RowDensity(lat, lon), SurroundingsConfig()
    around = SurroundingsLocator(rows, config).belief(*asked[0])
    density = np.exp([float(around.log_density(*at)) for at in truth])
    columns = [np.stack([a[i] for a in asked]) for i in range(3)]
    fitted = fit(*columns, *truth.T, around=(config, density), gated=False)
    assert fitted.surroundings == config
    assert fitted.bandwidth_weights[-1] > 0.5
    assert fit(*columns, *truth.T, gated=False).surroundings is None


def test_a_calibration_keeps_them(tmp_path):
    told = Calibration(neighbours=MIXED)
    told.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == told
    values = json.loads((tmp_path / "calibration.json").read_text())
    del values["neighbours"]["surroundings"]  # as older files are
    values["neighbours"]["bandwidth_weights"] = [0.5, 0.5]
    (tmp_path / "calibration.json").write_text(json.dumps(values))
    assert Calibration.load(tmp_path / "calibration.json").neighbours.surroundings is None
