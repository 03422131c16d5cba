"""Crops of the planet with their places: what the nano models learn from and are examined on.

Places are drawn evenly over the Earth's surface (Web Mercator by itself would over-weight high latitudes), views at
random scales, headings and tilts, and each crop obeys the split of its whole footprint (:mod:`gaea.finetune.splits`).
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gaea.errors import InputError
from gaea.finetune.imagery import Imagery, View, open_imagery
from gaea.finetune.splits import Part, footprint_parts, part_of
from gaea.sphere import destination

CHUNK = 5000  # places drawn by one worker at a time, and kept in one file
PATIENCE = 200_000  # draws of a place without a usable view before the search is given up


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """How views are drawn.

    Attributes:
        size: Side of a crop, pixels.
        width_km: Range of ground widths, drawn evenly in the logarithm.
        wide_share: Share of crops drawn from ``wide_km`` instead.
        wide_km: Range of the wide views.
        turned_share: Share with a random heading (a picture from orbit has no north).
        tilted_share: Share seen obliquely.
        max_tilt_deg: Largest off-nadir angle.
        anywhere_share: Share drawn from the whole globe, seas and poles included, rather than where there is detail.
    """

    size: int = 64
    width_km: tuple[float, float] = (90.0, 170.0)
    wide_share: float = 0.0
    wide_km: tuple[float, float] = (170.0, 420.0)
    turned_share: float = 0.0
    tilted_share: float = 0.0
    max_tilt_deg: float = 45.0
    anywhere_share: float = 0.0


@dataclasses.dataclass(frozen=True)
class Crops:
    """Pictures and where they were cut.

    Attributes:
        images_NHWC: uint8.
        lat: Degrees.
        lon: Degrees.
        width_km: Ground width.
        heading_deg: Direction that is up.
    """

    images_NHWC: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    width_km: np.ndarray
    heading_deg: np.ndarray

    def __len__(self) -> int:
        return len(self.lat)

    def rows(self) -> np.ndarray:
        """(n, 4) float32: latitude, longitude, width, heading."""
        return np.stack([self.lat, self.lon, self.width_km, self.heading_deg], 1).astype(np.float32)


def draw_views(imagery: Imagery, part: Part, config: CropConfig, rng: np.random.Generator) -> Iterator[View]:
    """Endless views whose footprint touches only ``part`` (test and validation) or nothing held out (training).

    Raises:
        InputError: No view was found in :data:`PATIENCE` draws of a place.
    """
    vain = 0
    while True:
        anywhere = rng.random() < config.anywhere_share
        while True:
            vain += 1
            if vain > PATIENCE:
                raise InputError(
                    f"{imagery.name} yields too few crops of {config.width_km} km for {part.name.lower()}: "
                    "none fits into the blocks of that part"
                )
            lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9961, 0.9961))), rng.uniform(-180, 180)
            if part_of(lat, lon) == part and (anywhere or imagery.has_detail(lat, lon)):
                break
        low, high = config.wide_km if rng.random() < config.wide_share else config.width_km
        view = View(
            float(lat),
            float(lon),
            float(np.exp(rng.uniform(np.log(low), np.log(high)))),
            float(rng.uniform(0, 360)) if rng.random() < config.turned_share else 0.0,
            float(rng.uniform(5, config.max_tilt_deg)) if rng.random() < config.tilted_share else 0.0,
        )
        if footprint_parts(view.lat, view.lon, view.reach_km) == {part}:
            vain = 0
            yield view


def draw_crops(imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator) -> Crops:
    """Cut ``count`` crops of one part.

    Raises:
        InputError: The imagery yields almost no crop of that part (after 200 tries per crop).
    """
    collected = _Collector(count, config.size)
    for tries, view in enumerate(draw_views(imagery, part, config, rng)):
        if tries > 200 * count + 1000:
            raise InputError(f"{imagery.name} yields too few crops of {config.width_km} km for {part.name.lower()}")
        picture = imagery.render(view, config.size)
        if picture is not None:
            collected.add(picture, view)
        if collected.full:
            break
    return collected.crops()


def draw_pairs(
    imagery: Imagery, part: Part, count: int, config: CropConfig, rng: np.random.Generator
) -> tuple[Crops, Crops]:
    """Two views each of ``count`` places: the second is drawn anew within 20 km of the first, row by row.

    Raises:
        InputError: The imagery yields almost no crop of that part (after 200 tries per pair).
    """
    first = _Collector(count, config.size)
    second = _Collector(count, config.size)
    for tries, view in enumerate(draw_views(imagery, part, config, rng)):
        if tries > 200 * count + 1000:
            raise InputError(f"{imagery.name} yields too few crops of {config.width_km} km for {part.name.lower()}")
        lat, lon = destination(view.lat, view.lon, float(rng.uniform(0, 360)), float(20 * np.sqrt(rng.random())))
        other = dataclasses.replace(
            view,
            lat=float(lat),
            lon=float(lon),
            width_km=view.width_km * float(np.exp(rng.uniform(-0.25, 0.25))),
            heading_deg=float(rng.uniform(0, 360)) if rng.random() < config.turned_share else 0.0,
        )
        if footprint_parts(other.lat, other.lon, other.reach_km) != {part}:
            continue
        picture, again = imagery.render(view, config.size), imagery.render(other, config.size)
        if picture is not None and again is not None:
            first.add(picture, view)
            second.add(again, other)
        if first.full:
            break
    return first.crops(), second.crops()


@dataclasses.dataclass(frozen=True)
class PoolJob:
    """What a pool of paired crops is drawn from."""

    source: str
    cache: str | None
    part: Part
    count: int
    config: CropConfig
    seed: int


def draw_pool(job: PoolJob, folder: Path, workers: int = 2) -> Crops:
    """Render (or find already rendered) two views each of ``job.count`` places.

    Args:
        job: What to draw. Every chunk has a seed of its own: the pool does not depend on ``workers``.
        folder: Where chunks are kept; a finished chunk is not drawn again.
        workers: Processes.

    Returns:
        Twice ``job.count`` crops: all first views, then the second views in the same order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        (dataclasses.replace(job, count=min(CHUNK, job.count - start)), start, folder / f"{start:08d}.npz")
        for start in range(0, job.count, CHUNK)
    ]
    todo = [part for part in parts if not part[-1].exists()]
    if todo:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            for _ in pool.imap(_draw_chunk, todo):
                pass
    images = np.empty((2 * job.count, job.config.size, job.config.size, 3), np.uint8)
    rows = np.empty((2 * job.count, 4), np.float32)
    for part, start, path in parts:
        with np.load(path) as drawn:
            for view in (0, 1):
                at = slice(view * job.count + start, view * job.count + start + part.count)
                images[at], rows[at] = drawn[f"images{view}"], drawn[f"rows{view}"]
    return Crops(images, *rows.T)


def _draw_chunk(part: tuple[PoolJob, int, Path]) -> None:
    job, start, path = part
    imagery = open_imagery(job.source, Path(job.cache) if job.cache else None)
    rng = np.random.default_rng((job.seed, start))
    first, second = draw_pairs(imagery, job.part, job.count, job.config, rng)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, images0=first.images_NHWC, rows0=first.rows(), images1=second.images_NHWC, rows1=second.rows())
    partial.replace(path)


class _Collector:
    """Fills a fixed number of pictures and their places."""

    def __init__(self, count: int, size: int) -> None:
        self._images = np.empty((count, size, size, 3), np.uint8)
        self._rows = np.empty((count, 4), np.float32)
        self._done = 0

    @property
    def full(self) -> bool:
        return self._done == len(self._rows)

    def add(self, picture: np.ndarray, view: View) -> None:
        self._images[self._done] = picture
        self._rows[self._done] = (view.lat, view.lon, view.width_km, view.heading_deg)
        self._done += 1

    def crops(self) -> Crops:
        return Crops(self._images, *self._rows.T)
