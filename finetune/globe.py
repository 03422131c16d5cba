"""Cuts crops out of the planet on a GPU, as many a second as a network there can learn from.

The same pyramid and the same geometry as :meth:`gaea.finetune.imagery.Imagery.render`, for whole batches: every drawn
pixel is looked up by bilinear interpolation in the mosaic that fits its view, at twice the size, and the picture is
brought to its size by an antialiased bicubic filter. A processor cuts 20 to 40 crops a second and core, for which
reason a pool of them is kept there. Here a view is cut whenever it is drawn, under another sky each time.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaea.finetune.augment import AugmentConfig
from gaea.finetune.crops import PoolJob, draw_views
from gaea.finetune.imagery import Imagery, Mosaic, ground_matrices, open_imagery
from gaea.finetune.inputs import disturbed

CHUNK = 10_000  # views drawn by one worker at a time
TOGETHER = 256  # crops cut at once
STRIP = 1024  # rows of a mosaic that are packed at once


@dataclasses.dataclass(frozen=True)
class Views:
    """How crops look down on the Earth, (n,) each; ``level`` is the number of the mosaic that they are cut from."""

    lat: np.ndarray
    lon: np.ndarray
    width_km: np.ndarray
    heading_deg: np.ndarray
    tilt_deg: np.ndarray
    level: np.ndarray

    def __len__(self) -> int:
        return len(self.lat)

    def at(self, rows: np.ndarray) -> Views:
        """These rows."""
        return Views(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def draw(job: PoolJob, workers: int = 2) -> Views:
    """``job.count`` views of one part, wherever the imagery reaches; the same ones whatever ``workers``."""
    jobs = [
        (dataclasses.replace(job, count=min(CHUNK, job.count - start)), start) for start in range(0, job.count, CHUNK)
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        drawn = np.concatenate(pool.map(_draw, jobs, chunksize=1))
    return Views(*drawn[:, :5].T, drawn[:, 5].astype(np.int64))


def _draw(part: tuple[PoolJob, int]) -> np.ndarray:
    job, start = part
    imagery = open_imagery(job.source, Path(job.cache) if job.cache else None)
    rows: list[tuple[float, ...]] = []
    for view in draw_views(imagery, job.part, job.config, np.random.default_rng((job.seed, 11, start))):
        level = imagery.level(view, job.config.size)
        if level is not None:
            rows.append((*dataclasses.astuple(view), level))
        if len(rows) == job.count:
            break
    return np.array(rows)


class Globe:
    """The mosaics of an :class:`~gaea.finetune.imagery.Imagery` in a device's memory, a pixel in four bytes."""

    def __init__(self, imagery: Imagery, device: torch.device | str) -> None:
        self.mosaics, self.device = imagery.mosaics, torch.device(device)
        self._packed = [_packed(mosaic, self.device) for mosaic in imagery.mosaics]

    def render(self, views: Views, size: int) -> Tensor:
        """(n, 3, size, size) float pictures in 0…1."""
        out = torch.empty(len(views), 3, size, size, device=self.device)
        for level in np.unique(views.level):
            rows = np.flatnonzero(views.level == level)
            for first in range(0, len(rows), TOGETHER):
                some = rows[first : first + TOGETHER]
                out[torch.from_numpy(some).to(self.device)] = self._cut(int(level), views.at(some), size)
        return out

    def _cut(self, level: int, views: Views, size: int) -> Tensor:
        """Crops of one mosaic; see :meth:`render`."""
        fine, mosaic, packed = 2 * size, self.mosaics[level], self._packed[level]
        height, width = mosaic.pixels.shape[:2]
        centre = np.array([mosaic.to_pixel(lat, lon) for lat, lon in zip(views.lat, views.lon, strict=True)])
        scale = np.array([mosaic.pixels_per_km(lat) for lat in views.lat])
        # Whole pixels stay integers: a float32 could not tell neighbours in a mosaic of 65,536 apart to a hundredth.
        base = np.floor(centre)
        looks = (views.width_km, views.heading_deg, views.tilt_deg)
        whole = ground_matrices(*looks, size=fine, scale=scale, centre=centre - base)
        matrix = torch.from_numpy(whole).float().to(self.device)
        left, top = (torch.from_numpy(axis).long().to(self.device)[:, None] for axis in base.T)
        steps = torch.arange(fine, device=self.device) + 0.5
        grid = torch.stack([steps.repeat(fine), steps.repeat_interleave(fine), torch.ones(fine**2, device=self.device)])
        x, y, far = (matrix @ grid).unbind(1)
        x, y = x / far - 0.5, y / far - 0.5
        column, row = x.floor(), y.floor()
        right, down = (x - column).unsqueeze(1), (y - row).unsqueeze(1)
        columns, rows = left + column.long(), top + row.long()

        def seen(rows: Tensor, columns: Tensor) -> Tensor:
            pixels = packed[rows.clamp(0, height - 1) * width + columns.remainder(width)]
            return torch.stack([pixels & 255, (pixels >> 8) & 255, pixels >> 16], 1).float()

        above = torch.lerp(seen(rows, columns), seen(rows, columns + 1), right)
        below = torch.lerp(seen(rows + 1, columns), seen(rows + 1, columns + 1), right)
        drawn = torch.lerp(above, below, down).view(len(views), 3, fine, fine) / 255
        return F.interpolate(drawn, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def _packed(mosaic: Mosaic, device: torch.device) -> Tensor:
    """(H · W,) int32 of a mosaic: red, and green and blue shifted by one and two bytes."""
    height, width = mosaic.pixels.shape[:2]
    out = torch.empty(height, width, dtype=torch.int32, device=device)
    for first in range(0, height, STRIP):
        strip = torch.from_numpy(np.array(mosaic.pixels[first : first + STRIP])).to(device).int()
        out[first : first + STRIP] = strip[..., 0] | (strip[..., 1] << 8) | (strip[..., 2] << 16)
    return out.flatten()


@dataclasses.dataclass(frozen=True)
class Rendered:
    """Crops that are cut as they are asked for, under another sky and camera each time; :class:`~.inputs.Inputs`."""

    globe: Globe
    views: Views
    image_size: int
    augment: AugmentConfig

    @property
    def lat(self) -> np.ndarray:
        """Degrees."""
        return self.views.lat

    @property
    def lon(self) -> np.ndarray:
        """Degrees."""
        return self.views.lon

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Normalised pictures, on the globe's device."""
        return disturbed(self.globe.render(self.views.at(rows), self.image_size), self.augment, rng)

    def forward(self, tower: nn.Module, batch: Tensor) -> Tensor:
        """Through the whole tower."""
        return tower(batch)  # type: ignore[no-any-return]
