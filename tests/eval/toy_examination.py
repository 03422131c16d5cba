"""A benchmark and a system that need nothing; run as a program, they are slow enough to be killed half-way."""

import sys
import time
from pathlib import Path

from PIL import Image

from gaea.errors import ModelError, PhotoError
from gaea.eval.benchmark import Benchmark, Faults, benchmark
from gaea.eval.records import GroundTruth, Item, Prediction
from gaea.eval.running import Plan, run
from gaea.photo import Photo

PICTURE = Photo.open(Image.new("RGB", (8, 6)))


def toy(count: int = 40, lost: tuple[int, ...] = ()) -> Benchmark:
    """Items along the equator, two of a place; pictures of some are lost."""
    items = [
        Item(f"i{n}", "toy", "locate", f"{n}.jpg", truth=GroundTruth(0.0, n / 10), place=f"p{n // 2}")
        for n in range(count)
    ]

    def picture(item: Item) -> Photo:
        if int(item.id[1:]) in lost:
            raise PhotoError(f"{item.image}: no such file")
        return PICTURE

    return benchmark("toy", "1", items, faults=Faults(), picture=picture)


class Eastward:
    """Answers some way to the east; fails where it is told to."""

    name, settings, hashes = "eastward", {"by": 1.0}, {"model": "none"}

    def __init__(self, seconds: float = 0.0, failing: tuple[int, ...] = (), at_once: int = 1) -> None:
        self.seconds, self.failing, self.at_once = seconds, failing, at_once
        self.asked: list[str] = []

    def predict(self, item: Item, picture: object) -> Prediction:
        """A point, after a while."""
        time.sleep(self.seconds)
        self.asked.append(item.id)
        picture(item)
        if int(item.id[1:]) in self.failing:
            raise ModelError(f"the model fell over at {item.id}")
        return Prediction(item.id, "answered", lat=0.0, lon=item.truth.lon + 1.0)


if __name__ == "__main__":
    run(toy(), Eastward(seconds=0.1), Plan(), Path(sys.argv[1]))
