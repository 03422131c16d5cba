"""The background that follows a gallery's places."""

import dataclasses

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.locate import ground as grounds
from gaea.locate.ground import ground
from gaea.locate.neighbours import NeighbourConfig, NeighbourLocator
from gaea.locate.neighbours_fit import fit
from gaea.sphere import EARTH_AREA_KM2, to_xyz

ISLAND = (-20.0, 47.0)


@pytest.fixture(scope="module")
def places():
    """Places on an island of some 1,000 km, and a lonely one on the antimeridian."""
    rng = np.random.default_rng(0)
    lat, lon = (centre + rng.normal(scale=4.0, size=3000) for centre in ISLAND)
    return np.append(lat, [70.0] * 20), np.append(lon, [180.0] * 20)


@pytest.fixture(scope="module")
def island(places):
    return ground(*places)


def near_nothing(n=64, seed=0):
    """Neighbours of no use: far off, hardly similar."""
    rng = np.random.default_rng(seed)
    return 50 + rng.normal(size=n), -100 + rng.normal(size=n), np.sort(rng.uniform(0.1, 0.2, n))[::-1]


def test_it_lies_where_the_places_lie(island):
    even = -np.log(EARTH_AREA_KM2)
    assert island.log_density(*ISLAND) > even + 3
    assert island.log_density(70.0, -179.9) == pytest.approx(island.log_density(70.0, 179.9), abs=1)
    assert island.log_density(70.0, 179.9) > even
    assert island.log_density(20.0, -140.0) < even - 3
    assert np.exp(island.log_prob).sum() + island.elsewhere == pytest.approx(1)
    assert island.elsewhere < 0.01
    assert len(island.cells) < 300
    assert set(cells.level(island.cells)) == {grounds.LEVEL}


def test_it_is_a_kernel_density_of_the_places(places, island):
    # Each place by itself at the middles of some cells, averaged over the same cells, with no bins.
    ids = island.cells[np.argsort(-island.log_prob)[:20]]
    lat, lon = places
    drawn_lat, drawn_lon = cells.sample(np.repeat(ids, 60), np.random.default_rng(1))
    away = 1 - to_xyz(drawn_lat, drawn_lon) @ to_xyz(lat, lon).T
    kappa = (6371.0088 / grounds.BLUR_KM) ** 2
    density = (kappa / (2 * np.pi * 6371.0088**2) * np.exp(-kappa * away)).mean(axis=1).reshape(20, 60).mean(axis=1)
    mine = np.exp(island.log_prob[np.argsort(-island.log_prob)[:20]]) / cells.area_km2(ids)
    np.testing.assert_allclose(mine, density, rtol=0.1)


def test_round_trip_as_text(island):
    again = grounds.read(grounds.written(island))
    assert set(again.cells) <= set(island.cells)
    at = np.array([-20, -25, 70, 0]), np.array([47, 44, 180, 0])
    np.testing.assert_allclose(np.exp(again.log_density(*at)), np.exp(island.log_density(*at)), rtol=0.02, atol=1e-12)


@pytest.mark.parametrize("text", ["1c", "1c:x", "zz:5", "1c:5:6", "1c:-4"])
def test_text_that_is_no_ground_is_refused(text):
    with pytest.raises(InputError):
        grounds.read(text)


@pytest.mark.parametrize("wrong", [{"lat": []}, {"blur_km": 0}, {"level": 9}])
def test_a_ground_wants_places(wrong):
    with pytest.raises(InputError, match="expected some, above 0, and 0 to 8"):
        ground(**{"lat": [1.0], "lon": [] if "lat" in wrong else [2.0]} | wrong)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_belief_and_density_agree(island, share):
    config = NeighbourConfig(background=0.5, ground=share)
    locator, told = NeighbourLocator(config, island), near_nothing()
    belief = locator.belief(*told)
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1)
    at = np.array([-20.0, -24.0, 70.0, 0.0, -60.0]), np.array([47.0, 45.0, 180.0, -140.0, 100.0])
    exact = np.exp(locator.log_density(*(row[None] for row in told), *(row[None] for row in at)))[0]
    found = np.exp(belief.log_density(*at))
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=2e-11)
    near_km2 = float(cells.area_km2(island.cells).sum())
    held = belief.mass_in(island.cells)
    expected = 0.5 * (share * (1 - island.elsewhere) + (1 - share) * near_km2 / EARTH_AREA_KM2)
    assert held == pytest.approx(expected, abs=0.01)


def test_a_region_need_not_be_half_the_earth(island):
    told = near_nothing()
    even = NeighbourLocator(NeighbourConfig(background=0.5)).belief(*told).region(0.9)
    followed = NeighbourLocator(NeighbourConfig(background=0.5, ground=0.99), island).belief(*told).region(0.9)
    assert even.is_whole_earth
    assert followed.area_km2 < 2e7
    assert followed.contains(*ISLAND)


def test_evidence_leaves_the_ground_its_part(island):
    config = NeighbourConfig(background=0.5, ground=1.0)
    locator, told = NeighbourLocator(config, island), near_nothing()
    assert locator.evidence(*told, at=ISLAND).sum() < 1e-6
    assert locator.evidence(*told, at=(50.0, -100.0)).sum() > 0.9
    at_sea = locator.evidence(*told, cell_ids=[cells.parent(cells.from_latlon(20.0, -140.0), 6)])
    assert at_sea.shape == (1, 64)
    own = cells.parent(cells.from_latlon(*ISLAND), 5)
    assert locator.on_cells([own], *(row[None] for row in told))[0, 0] == pytest.approx(
        0.5 * island.mass_in(own), rel=0.01
    )


def test_without_a_ground_the_setting_says_nothing():
    told = near_nothing()
    plain, asked = (NeighbourLocator(NeighbourConfig(ground=g)).belief(*told) for g in (0.0, 0.7))
    np.testing.assert_array_equal(plain.log_prob, asked.log_prob)


def test_fit_follows_the_ground_where_neighbours_say_nothing(places, island):
    rng = np.random.default_rng(3)
    drawn = rng.integers(3000, size=200)
    true_lat, true_lon = places[0][drawn], places[1][drawn]
    rows = [np.stack(column) for column in zip(*(near_nothing(16, seed) for seed in range(200)), strict=True)]
    config = fit(*rows, true_lat, true_lon, ground=island)
    assert config.ground > 0.9
    assert config.background > 0.8
    blind = fit(*rows, true_lat, true_lon)
    assert blind.ground == 0
    better = NeighbourLocator(config, island).log_density(*rows, true_lat, true_lon).mean()
    assert better > NeighbourLocator(blind).log_density(*rows, true_lat, true_lon).mean() + 2
    assert dataclasses.replace(config, ground=0.0).shares(0.15).sum() == pytest.approx(1)


def test_fit_keeps_to_the_even_earth_where_the_ground_is_wrong(island):
    rng = np.random.default_rng(4)
    true_lat, true_lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 200))), rng.uniform(-180, 180, 200)
    rows = [np.stack(column) for column in zip(*(near_nothing(16, seed) for seed in range(200)), strict=True)]
    assert fit(*rows, true_lat, true_lon, ground=island).ground < 0.1


def test_a_ground_of_everywhere_is_the_even_earth():
    rng = np.random.default_rng(5)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 50_000))), rng.uniform(-180, 180, 50_000)
    assert ground(lat, lon).information_gain() < 0.02
    assert Belief.uniform().information_gain() == 0
