"""How near the gallery has to be: nano's memory by the distance of the nearest row that it may use.

    python benchmarks/reach.py --data ../shared/data [--asked 400] [--crops 60000] [--seed 0]

Views are drawn evenly over the ground, wholly inside test blocks (docs/decisions/0004), which the encoder learned
nothing from. The shipped gallery leaves those blocks empty too. Here it is filled up there with rows of the same
lattice, and for each view and each line of the table the rows nearer than so many kilometres are left out. nano answers
by the nearest row that is left, and by the median point of its neighbours' density as it was calibrated.

The last line takes another distance for each view, drawn from those of a split by blocks of 4 x 4 zoom-8 tiles: a crop
of one tile lies anywhere in the 2 x 2 tiles south-east of one, and goes with the block of that one, 5 % of the blocks
being held out, so that crops of both sides meet along the edges. The goals for unseen places were set beside a baseline
under that split, with `--crops` crops in all; only where its crops lie is drawn here, no picture is cut.

Intervals are bootstrapped over blocks.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import time
from pathlib import Path

import numpy as np
from orbit import NANO, NEIGHBOURS, VIEWS, by_blocks, cut, row
from PIL import Image

from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.eval.bootstrap import Bootstrap
from gaea.finetune.gallery import GalleryConfig, lattice
from gaea.finetune.imagery import Imagery, View, open_imagery
from gaea.finetune.splits import Part, block_address, footprint_parts
from gaea.locate.neighbours import NeighbourLocator
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.gallery import Gallery
from gaea.sphere import EARTH_RADIUS_KM, great_circle_km, to_xyz

DISTANCES_KM = (0.0, 25.0, 50.0, 75.0, 100.0, 125.0, 150.0, 200.0, 300.0)
ZOOM, BLOCK_TILES, HELD_OUT = 8, 4, 20


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


def tile_split_km(mbtiles: Path, crops: int, seed: int) -> np.ndarray:
    """From each crop of a held-out block of tiles to the nearest of the others, km."""
    rng, side = np.random.default_rng(seed), 2**ZOOM
    with sqlite3.connect(mbtiles) as file:
        found = file.execute("select tile_column, tile_row from tiles where zoom_level = ?", (ZOOM,)).fetchall()
    column, south = np.array(found).T
    line = side - 1 - south
    known = np.zeros((side + 1, side + 1), bool)
    known[line, column] = True
    whole = known[line, column] & known[line + 1, column] & known[line, column + 1] & known[line + 1, column + 1]
    area = np.cosh(np.pi * (1 - 2 * (line + 0.5) / side)) ** -2.0 * whole
    drawn = rng.choice(len(line), crops, p=area / area.sum())
    line, column = line[drawn], column[drawn]
    x, y = (column + rng.random(crops) + 0.5) / side, (line + rng.random(crops) + 0.5) / side
    xyz = to_xyz(np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y)))), 360 * x - 180)
    blocks = list(zip((column // BLOCK_TILES).tolist(), (line // BLOCK_TILES).tolist(), strict=True))
    drawn_out = {b: int(hashlib.md5(str(b).encode(), usedforsecurity=False).hexdigest(), 16) for b in set(blocks)}
    held = np.array([drawn_out[b] % HELD_OUT == 0 for b in blocks])
    cosine = np.concatenate([(some @ xyz[~held].T).max(1) for some in np.array_split(xyz[held], 20)])
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) * EARTH_RADIUS_KM)


def main() -> None:
    """Fill the gallery up, ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with bluemarble.mbtiles")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--asked", type=int, default=400, help="views of test blocks")
    parser.add_argument("--crops", type=int, default=60_000, help="of the split of tiles")
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
    split_km = tile_split_km(mbtiles, options.crops, options.seed)
    spread = ", ".join(f"{km:,.0f}" for km in np.percentile(split_km, (10, 25, 50, 75, 90)))
    shipped_km = np.median(away_km[:, : len(gallery.lat)].min(1))
    print(
        f"{len(gallery.lat):,} rows as shipped (the nearest {shipped_km:,.0f} km away, median) and {len(more):,} more"
    )
    print(f"under the split of tiles the nearest crop is away (10, 25, 50, 75, 90 %): {spread} km\n")
    print("| rows left out | system | median km | ≤ 200 km | ≤ 750 km | ≤ 2,500 km |\n|---|---|---|---|---|---|")
    lines = [(f"nearer than {km:,.0f} km", np.full(options.asked, km)) for km in DISTANCES_KM]
    lines.append(("as under the split of tiles", rng.choice(split_km, options.asked)))
    for name, least_km in lines:
        heard = np.where(away_km >= least_km[:, None], similarity, -np.inf)
        some = np.argpartition(-heard, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        order = np.argsort(-np.take_along_axis(heard, some, 1), axis=1)
        best = np.take_along_axis(some, order, 1)
        found = zip(best, np.take_along_axis(heard, best, 1), strict=True)
        points = np.array([locator.belief(lat[near], lon[near], alike).point("median") for near, alike in found])
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
