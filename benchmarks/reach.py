"""How near the gallery has to be: nano's memory by the distance of the nearest row that it may use.

    python benchmarks/reach.py --data ../shared/data [--asked 400] [--seed 0]

Views are drawn evenly over the ground, wholly inside test blocks (docs/decisions/0004), which the encoder learned
nothing from. The shipped gallery leaves those blocks empty too. Here it is filled up there with rows of the same
lattice, and for each view and each line of the table the rows nearer than so many kilometres are left out. nano answers
by the nearest row that is left, and by its neighbours' density as it was calibrated, without what it concludes of
places that have no rows (``gaea/locate/surroundings.py``), which differ from line to line here.

Such rows lie all around a view. The first line leaves out a square of 4 x 4 zoom-8 tiles instead, laid at random about
each view that it holds: what a split by blocks of 4 x 4 tiles leaves empty where a crop of one tile goes with the tile
in which it begins, so that crops of both sides meet along the edges. The goals for unseen places were set beside a
baseline under that split.

Intervals are bootstrapped over blocks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from orbit import NANO, NEIGHBOURS, VIEWS, by_blocks, cut, row
from PIL import Image

from gaea.belief import ANSWERED
from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.eval.bootstrap import Bootstrap
from gaea.finetune.gallery import GalleryConfig, lattice
from gaea.finetune.imagery import Imagery, View, open_imagery
from gaea.finetune.splits import Part, block_address, footprint_parts
from gaea.locate.neighbours import NeighbourLocator
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.gallery import Gallery
from gaea.sphere import great_circle_km

DISTANCES_KM = (0.0, 25.0, 50.0, 75.0, 100.0, 125.0, 150.0, 200.0, 300.0)
ZOOM, HOLE_TILES = 8, 4.0


def filling(imagery: Imagery, encoder: OpenClipEncoder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, latitudes and longitudes of the rows that the gallery would have if test blocks were not held out."""
    config = GalleryConfig()
    lat, lon = lattice(config.lattice)
    reach_km = View(0.0, 0.0, config.width_km).reach_km
    found, pictures, batch = [], [], []
    for at in zip(lat.tolist(), lon.tolist(), strict=True):
        if abs(at[0]) >= 80 or not imagery.has_detail(*at) or Part.TEST not in footprint_parts(*at, reach_km):
            continue
        picture = imagery.render(View(*at, config.width_km), VIEWS.size)
        if picture is None:
            continue
        found.append(at)
        pictures.append(Image.fromarray(picture))
        if len(pictures) == 256:
            batch.append(encoder.encode(pictures))
            pictures = []
    if pictures:
        batch.append(encoder.encode(pictures))
    return np.concatenate(batch), *np.array(found).T


def in_the_hole(view: tuple[float, float], lat: np.ndarray, lon: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which rows lie in a square of tiles laid at random about a view that it holds, (n,)."""
    side = 2**ZOOM

    def tiles(lat: Any, lon: Any) -> Any:
        return (lon / 360 + 0.5) * side, (0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)) * side

    (x, y), (view_x, view_y) = tiles(lat, lon), tiles(*view)
    west, north = (place - HOLE_TILES * rng.random() for place in (view_x, view_y))
    return np.asarray(((x - west) % side < HOLE_TILES) & (y >= north) & (y < north + HOLE_TILES))


def main() -> None:
    """Fill the gallery up, ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with bluemarble.mbtiles")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--asked", type=int, default=400, help="views of test blocks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.time()
    mbtiles = options.data / "bluemarble.mbtiles"
    imagery, encoder = open_imagery(mbtiles, options.cache), OpenClipEncoder(NANO / "clip")
    rng = np.random.default_rng((options.seed, 23))
    asked = cut(imagery, by_blocks(imagery, Part.TEST, rng), options.asked)
    gallery, (more, more_lat, more_lon) = Gallery.read(NANO / "gallery/gallery.parquet"), filling(imagery, encoder)
    rows = np.concatenate([gallery.embeddings, more])
    lat, lon = np.append(gallery.lat, more_lat), np.append(gallery.lon, more_lon)
    pictures = [Image.fromarray(each) for each in asked.images_NHWC]
    own = np.concatenate([encoder.encode(pictures[i : i + 256]) for i in range(0, len(pictures), 256)])
    similarity = own @ rows.T
    away_km = np.stack([great_circle_km(lat, lon, *at) for at in zip(asked.lat, asked.lon, strict=True)])
    locator = NeighbourLocator(Calibration.load(NANO / "gallery" / CALIBRATION_FILE).neighbours)
    blocks = Bootstrap([f"{y}/{x}" for y, x in zip(*block_address(asked.lat, asked.lon), strict=True)])
    holes = np.stack([in_the_hole(at, lat, lon, rng) for at in zip(asked.lat, asked.lon, strict=True)])
    spread = ", ".join(
        f"{km:,.0f}" for km in np.percentile(np.where(holes, np.inf, away_km).min(1), (10, 25, 50, 75, 90))
    )
    shipped_km = np.median(away_km[:, : len(gallery.lat)].min(1))
    print(
        f"{len(gallery.lat):,} rows as shipped (the nearest {shipped_km:,.0f} km away, median) and {len(more):,} more"
    )
    print(f"with a hole of tiles the nearest row is away (10, 25, 50, 75, 90 %): {spread} km\n")
    print("| rows left out | system | median km | ≤ 200 km | ≤ 750 km | ≤ 2,500 km |\n|---|---|---|---|---|---|")
    lines = [("in a hole of tiles", holes), *((f"nearer than {km:,.0f} km", away_km < km) for km in DISTANCES_KM)]
    for name, left_out in lines:
        heard = np.where(left_out, -np.inf, similarity)
        some = np.argpartition(-heard, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        order = np.argsort(-np.take_along_axis(heard, some, 1), axis=1)
        best = np.take_along_axis(some, order, 1)
        found = zip(best, np.take_along_axis(heard, best, 1), strict=True)
        points = np.array([locator.belief(lat[near], lon[near], alike).point(ANSWERED) for near, alike in found])
        guesses = {
            "nearest row": (lat[best[:, 0]], lon[best[:, 0]]),
            "neighbours' density": (points[:, 0], points[:, 1]),
        }
        for system, guess in guesses.items():
            error_km = great_circle_km(*guess, asked.lat, asked.lon)
            print(f"| {name} {row(system, error_km, blocks)}", flush=True)
    print(f"\n{time.time() - start:,.0f} s")


if __name__ == "__main__":
    main()
