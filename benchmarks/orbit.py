"""nano's memory beside a baseline of five minutes, on the same crops, under two rules of what is held out.

    python benchmarks/orbit.py --data ../shared/data [--rule blocks] [--rule corners] [--crops 55000] [--asked 500]

The baseline learns from crops of 64 px: whitened k-means filters over 6 x 6 patches (A. Coates & A. Ng, "Learning
Feature Representations with K-means", 2012), pooled over 3 x 3 fields, and a perceptron over anchors spread evenly over
the Earth, each crop's target softened over 80 km. nano answers from its shipped encoder and gallery: the nearest row,
and the median point of its neighbours' density as it was calibrated.

``blocks`` is this project's rule (docs/decisions/0004): no crop that is learned from touches a held-out block, and
what is asked lies wholly inside one. ``corners`` gives a crop to the block of its north-western corner, so that crops
of both sides may show the same ground along the edges, as where tiles are held out and crops reach over them. Under it
nano's gallery is joined by those of the baseline's crops that reach into test blocks; its encoder learned from none.

Places are drawn evenly over the ground. Intervals are bootstrapped over blocks.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gaea.belief import ANSWERED
from gaea.calibration import CALIBRATION_FILE, Calibration
from gaea.eval.bootstrap import Asked, Bootstrap
from gaea.finetune.crops import CropConfig, Crops, draw_views
from gaea.finetune.gallery import lattice
from gaea.finetune.imagery import Imagery, View, open_imagery
from gaea.finetune.splits import Part, block_address, footprint_parts, part_of
from gaea.locate.neighbours import NeighbourLocator
from gaea.locate.surroundings import RowDensity
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.gallery import Gallery
from gaea.rag.orbitnet import whitened_filters
from gaea.sphere import EARTH_RADIUS_KM, destination, great_circle_km, to_xyz

NANO = Path(__file__).parents[1] / "gaea/nano"
Guess = tuple[np.ndarray, np.ndarray]
"""Latitudes and longitudes."""

VIEWS = CropConfig(size=128, width_km=(100.0, 150.0))
SIDE, FILTERS, FIELDS, EPOCHS, BATCH = 64, 500, 3, 14, 512
KMEANS_FROM, PATCHES = 20_000, 60_000
SOFT_KM, NEIGHBOURS = 80.0, 1024


# ── what is held out ────────────────────────────────────────────────────────


def corner_part(view: View) -> Part:
    """The part of the block in which the north-western corner of a view lies."""
    lat, lon = destination(view.lat, view.lon, 315.0, view.width_km / math.sqrt(2))
    return Part(int(part_of(float(lat), float(lon))))


def by_corners(imagery: Imagery, part: Part, rng: np.random.Generator) -> Iterator[View]:
    """Endless views whose corner lies in ``part``, whatever else they show."""
    while True:
        lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9961, 0.9961))), rng.uniform(-180, 180)
        if not imagery.has_detail(lat, lon):
            continue
        low, high = np.log(VIEWS.width_km)
        view = View(float(lat), float(lon), float(np.exp(rng.uniform(low, high))))
        if corner_part(view) == part:
            yield view


def by_blocks(imagery: Imagery, part: Part, rng: np.random.Generator) -> Iterator[View]:
    """Endless views under this project's rule."""
    return draw_views(imagery, part, VIEWS, rng)


RULES: dict[str, Callable[[Imagery, Part, np.random.Generator], Iterator[View]]] = {
    "blocks": by_blocks,
    "corners": by_corners,
}


def cut(imagery: Imagery, views: Iterator[View], count: int) -> Crops:
    """The first ``count`` views of which there is a picture."""
    pictures, rows = [], []
    while len(rows) < count:
        view = next(views)
        picture = imagery.render(view, VIEWS.size)
        if picture is not None:
            pictures.append(picture)
            rows.append((view.lat, view.lon, view.width_km, 0.0))
    return Crops(np.stack(pictures), *np.array(rows, np.float32).T)


# ── the baseline ────────────────────────────────────────────────────────────


def small(images_NHWC: np.ndarray) -> Tensor:
    """(n, 3, SIDE, SIDE) in 0…1, each pixel the mean of those it covers."""
    return F.adaptive_avg_pool2d(torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 255, SIDE)


@torch.no_grad()
def features(images_NHWC: np.ndarray, weight: Tensor, bias: Tensor) -> Tensor:
    """(n, features) float16: pooled responses, an 8 x 8 thumbnail, means and deviations of colour."""
    out = []
    for start in range(0, len(images_NHWC), BATCH):
        x = small(images_NHWC[start : start + BATCH])
        with torch.autocast("cpu", torch.bfloat16):
            response = F.relu(F.conv2d(x, weight, bias, stride=3))
        pooled = F.adaptive_avg_pool2d(response.float(), FIELDS).flatten(1)
        colour = x.flatten(2)
        out.append(
            torch.cat([pooled, 2 * F.adaptive_avg_pool2d(x, 8).flatten(1), colour.std(2), colour.mean(2)], 1).half()
        )
    return torch.cat(out)


def baseline(train: Crops, seed: int) -> Callable[[Crops], Guess]:
    """Learn from crops; what is returned tells (latitudes, longitudes) of others."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    some = torch.randperm(len(train), generator=generator)[:KMEANS_FROM].numpy()
    weight, bias = whitened_filters(small(train.images_NHWC[some]), FILTERS, generator, PATCHES)
    known = features(train.images_NHWC, weight, bias)
    mean, std = known.float().mean(0), known.float().std(0) + 1e-3
    here = torch.tensor(to_xyz(train.lat.astype(float), train.lon.astype(float)), dtype=torch.float32)
    anchor_lat, anchor_lon = lattice(8000)
    anchors = torch.tensor(to_xyz(anchor_lat, anchor_lon), dtype=torch.float32)
    near = torch.cat([(part @ here.T).amax(1) for part in anchors.split(500)]) > math.cos(150 / EARTH_RADIUS_KM)
    anchors, anchor_lat, anchor_lon = anchors[near], anchor_lat[near.numpy()], anchor_lon[near.numpy()]
    net = nn.Sequential(
        *(nn.Dropout(0.3), nn.Linear(len(mean), 1024), nn.BatchNorm1d(1024), nn.ReLU()),
        *(nn.Dropout(0.4), nn.Linear(1024, 512), nn.BatchNorm1d(512), nn.ReLU()),
        *(nn.Dropout(0.3), nn.Linear(512, len(anchors))),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.1)
    steps = len(known) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(known), generator=generator)[: steps * BATCH].view(-1, BATCH):
            away_km = torch.arccos((here[rows] @ anchors.T).clamp(-1, 1)) * EARTH_RADIUS_KM
            with torch.autocast("cpu", torch.bfloat16):
                scores = net((known[rows].float() - mean) / std)
            loss = F.cross_entropy(scores.float(), F.softmax(-away_km / SOFT_KM, 1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()

    def locate(crops: Crops) -> Guess:
        with torch.no_grad():
            best = net((features(crops.images_NHWC, weight, bias).float() - mean) / std).argmax(1).numpy()
        return anchor_lat[best], anchor_lon[best]

    return locate


# ── nano ────────────────────────────────────────────────────────────────────


def nano(beside: Crops | None, asked: Crops) -> dict[str, Guess]:
    """The nearest row and the density's point, from the gallery as shipped and crops ``beside`` it."""
    encoder, gallery = OpenClipEncoder(NANO / "clip"), Gallery.read(NANO / "gallery/gallery.parquet")
    rows, lat, lon = gallery.embeddings, gallery.lat, gallery.lon

    def embedded(crops: Crops) -> np.ndarray:
        pictures = [Image.fromarray(each) for each in crops.images_NHWC]
        return np.concatenate([encoder.encode(pictures[start : start + 256]) for start in range(0, len(pictures), 256)])

    if beside is not None:
        rows = np.concatenate([rows, embedded(beside)])
        lat, lon = np.append(lat, beside.lat), np.append(lon, beside.lon)
    trust = Calibration.load(NANO / "gallery" / CALIBRATION_FILE)
    locator = NeighbourLocator(trust.neighbours, RowDensity(lat, lon))
    similarity = embedded(asked) @ rows.T
    best = np.argsort(-similarity, axis=1)[:, :NEIGHBOURS]
    found = zip(best, np.take_along_axis(similarity, best, 1), strict=True)
    points = np.array([locator.belief(lat[near], lon[near], alike).point(ANSWERED) for near, alike in found])
    return {
        "nano, nearest row": (lat[best[:, 0]], lon[best[:, 0]]),
        "nano, neighbours' density": (points[:, 0], points[:, 1]),
    }


# ── the run ─────────────────────────────────────────────────────────────────


def row(name: str, error_km: np.ndarray, blocks: Bootstrap) -> str:
    """One line of the table, with 95 % intervals over blocks."""
    shares = {f"{km}": 100.0 * (error_km <= km) for km in (200, 750, 2500)}
    found = blocks.estimate(Asked(means=shares, medians={"median": error_km}))

    def told(of: str, unit: str = "") -> str:
        value, (low, high) = found[of]
        return f"{value:,.0f}{unit} ({low:,.0f}–{high:,.0f})"

    return f"| {name} | {told('median')} | {' | '.join(told(km, ' %') for km in shares)} |"


def main() -> None:
    """Draw, learn, ask, and print one table for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with bluemarble.mbtiles")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded mosaics")
    parser.add_argument("--rule", action="append", choices=list(RULES), help="may be given again; both if left out")
    parser.add_argument("--crops", type=int, default=55_000, help="that the baseline learns from")
    parser.add_argument("--asked", type=int, default=500, help="crops of test blocks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    imagery = open_imagery(options.data / "bluemarble.mbtiles", options.cache)
    for rule in options.rule or list(RULES):
        start = time.time()
        rng = np.random.default_rng((options.seed, 17))
        train = cut(imagery, RULES[rule](imagery, Part.TRAIN, rng), options.crops)
        asked = cut(imagery, RULES[rule](imagery, Part.TEST, rng), options.asked)
        reaching = [i for i in range(len(train)) if Part.TEST in touched(train, i)] if rule == "corners" else []
        beside = Crops(train.images_NHWC[reaching], *train.rows()[reaching].T) if reaching else None
        guesses = {"baseline": baseline(train, options.seed)(asked), **nano(beside, asked)}
        nearest_km = [
            float(great_circle_km(train.lat, train.lon, *at).min()) for at in zip(asked.lat, asked.lon, strict=True)
        ]
        low, middle, high = np.percentile(nearest_km, (10, 50, 90))
        print(f"\n{rule}: {options.crops:,} crops to learn from, {options.asked} asked about; nearest of the former:")
        told = f"{low:,.0f} km (10 %), {middle:,.0f} (50 %), {high:,.0f} (90 %)"
        print(f"{told}; {len(reaching):,} reach into test blocks\n")
        print("| system | median km | ≤ 200 km | ≤ 750 km | ≤ 2,500 km |\n|---|---|---|---|---|")
        blocks = Bootstrap([f"{y}/{x}" for y, x in zip(*block_address(asked.lat, asked.lon), strict=True)])
        for name, guess in guesses.items():
            print(row(name, great_circle_km(*guess, asked.lat, asked.lon), blocks), flush=True)
        print(f"\n{time.time() - start:,.0f} s")


def touched(crops: Crops, index: int) -> set[Part]:
    """The parts that a crop shows."""
    return footprint_parts(float(crops.lat[index]), float(crops.lon[index]), float(crops.width_km[index]) / 2)


if __name__ == "__main__":
    main()
