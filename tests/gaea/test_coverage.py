"""Where a gallery has pictures at all."""

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.fusion import Pool
from gaea.locate.coverage import EVEN, coverage
from gaea.sphere import EARTH_AREA_KM2, destination


@pytest.fixture(scope="module")
def one_continent():
    """Rows within 1,500 km of a point in Africa, evenly."""
    rng = np.random.default_rng(0)
    return destination(10.0, 20.0, rng.uniform(0, 360, 4000), 1500 * np.sqrt(rng.random(4000)))


def test_it_is_a_distribution_that_is_high_where_the_rows_are(one_continent):
    belief = coverage(*one_continent)
    assert np.exp(belief.log_prob).sum() + belief.elsewhere == pytest.approx(1)
    inside, rim, outside = (float(belief.log_density(10.0, lon)) for lon in (20.0, 33.5, -150.0))
    assert inside > rim > outside
    # Beyond all kernels the even share is left, and no more than that.
    assert outside == pytest.approx(np.log(EVEN / EARTH_AREA_KM2), abs=0.05)


def test_a_hole_between_rows_is_not_empty(one_continent):
    """That nobody took a picture in 200 km says little about whether one can be taken there."""
    lat, lon = one_continent
    hole = np.hypot(lat - 10, lon - 20) > 1.8
    whole, holed = coverage(lat, lon), coverage(lat[hole], lon[hole])
    assert float(whole.log_density(10, 20) - holed.log_density(10, 20)) < 0.5


def test_rows_may_lie_at_the_poles_and_across_the_antimeridian():
    belief = coverage([89.9, -89.9, 0.0], [0.0, 0.0, 180.0])
    near = [float(belief.log_density(lat, lon)) for lat, lon in ((88, 90), (-88, 90), (0, -179), (0, 179))]
    assert min(near) > float(belief.log_density(0, 0)) + 3


def test_pooled_it_takes_what_is_left_open_off_the_sea(one_continent):
    known = Belief.from_weights(cells.from_latlon([10.0], [20.0], 5), [0.5], elsewhere=0.5)
    held = coverage(*one_continent)
    alone, pooled = (Pool({"neighbours": 1, "coverage": w})({"neighbours": known, "coverage": held}) for w in (0, 1))
    assert pooled.region(0.9).area_km2 < 0.2 * alone.region(0.9).area_km2
    assert float(pooled.log_density(10, -150)) > -np.inf


@pytest.mark.parametrize(("rows", "even"), [(0, 0.1), (3, 0.0), (3, 1.0)])
def test_no_rows_and_shares_out_of_range_are_refused(rows, even):
    with pytest.raises(InputError, match="expected rows"):
        coverage(np.zeros(rows), np.zeros(rows), even=even)
