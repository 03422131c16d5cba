"""The head's examination: what knows more is heard, and what knows nothing moves nobody."""

from types import SimpleNamespace

import numpy as np
import pytest

from gaea import cells
from gaea.belief import Belief
from gaea.errors import InputError
from gaea.finetune.crops import Crops
from gaea.finetune.tokens_exam import HEAD, NEIGHBOURS, POOLED, examine
from gaea.locate.neighbours import Neighbour, NeighbourConfig, Neighbours


def views(count, seed):
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, count))), rng.uniform(-180, 180, count)
    # The picture tells the fake locator where it is.
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1], images[:, 0, 0, 2] = seed, np.arange(count) // 250, np.arange(count) % 250
    return Crops(images, lat, lon, np.full(count, 100.0), np.zeros(count))


class Fake:
    """Neighbours 1,500 km off, and a head that knows the cell, or nothing."""

    def __init__(self, parts, knows):
        self.parts, self.knows = parts, knows
        self.memory = SimpleNamespace(recall=self.recall)

    def where(self, image):
        seed, high, low = (int(v) for v in np.asarray(image)[0, 0])
        part = self.parts[seed]
        return float(part.lat[250 * high + low]), float(part.lon[250 * high + low])

    def recall(self, image):
        lat, lon = self.where(image)
        shown = [(max(min(lat + 9, 89), -89), (lon + 12 * i + 180) % 360 - 180) for i in range(8)]
        return Neighbours(tuple(Neighbour(i, *at, 0.9 - i / 100, "similar") for i, at in enumerate(shown)), ())

    def belief(self, image, recalled, config):
        assert recalled.similar
        if not self.knows:
            return Belief.uniform()
        cell = cells.parent(cells.from_latlon(*self.where(image)), 5)
        return Belief.from_weights([int(cell)], [1.0], elsewhere=0.2 * config.temperature / 3)


@pytest.mark.parametrize("knows", [True, False])
def test_a_head_is_heard_for_what_it_knows(knows):
    parts = {1: views(30, 1), 2: views(30, 2)}
    told = examine(Fake(parts, knows), NeighbourConfig(k=8), parts[1], parts[2])
    for split in ("unseen", "seen"):
        mine = told[split]
        assert mine["n"] == 30
        saved = mine["nats saved by hearing GeoToken too"]
        assert saved[1] <= saved[0] <= saved[2]
        if knows:
            assert mine[POOLED]["nats"][0] < mine[NEIGHBOURS]["nats"][0] - 1
            assert saved[1] > 0
            assert mine[POOLED]["median_km"][0] < mine[NEIGHBOURS]["median_km"][0]
        else:
            assert abs(saved[0]) < 0.5
            assert mine[HEAD]["within_200_km"][0] < 0.1
    assert len(told["fitted on each half"]) == 2
    if knows:
        assert min(fitted["weights"][HEAD] for fitted in told["fitted on each half"]) > 0.1


def test_too_few_views_are_refused():
    with pytest.raises(InputError, match="9 unseen and 30 seen"):
        examine(Fake({}, True), NeighbourConfig(), views(9, 1), views(30, 2))
