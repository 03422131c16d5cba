"""What a tower is trained on: pictures put through another frame and sky each time, or statistics seen once."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaea.finetune.augment import AugmentConfig, augment
from gaea.finetune.crops import Crops
from gaea.rag.orbitnet import MEAN, STD, OrbitNet, fit_filters

BATCH = 64
FILTERS, STANDARD = 5_000, 20_000  # crops to fit filters to, and to take the mean and spread of statistics from


class Inputs(Protocol):
    """What a tower is fed: drawn by row, with the places beside it."""

    lat: np.ndarray
    lon: np.ndarray

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Inputs of these rows, on the CPU."""

    def forward(self, tower: nn.Module, batch: Tensor) -> Tensor:
        """(n, embed_dim) outputs of the tower, not yet normalised."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Crops, put through another frame, sky and camera each time they are drawn."""

    crops: Crops
    image_size: int
    augment: AugmentConfig

    @property
    def lat(self) -> np.ndarray:
        """Degrees."""
        return self.crops.lat

    @property
    def lon(self) -> np.ndarray:
        """Degrees."""
        return self.crops.lon

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Normalised pictures."""
        framed = _jitter_frame(floats(self.crops.images_NHWC[rows]), rng, self.image_size)
        return disturbed(framed, self.augment, rng)

    def forward(self, tower: nn.Module, batch: Tensor) -> Tensor:
        """Through the whole tower."""
        return tower(batch)  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What the trunk's fixed filters saw of every crop, computed once.

    Attributes:
        values: (n, num_statistics) bfloat16, standardised by the trunk.
        lat: Degrees, (n,).
        lon: Degrees, (n,).
    """

    values: Tensor
    lat: np.ndarray
    lon: np.ndarray

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Their statistics; nothing is drawn."""
        del rng
        return self.values[torch.from_numpy(rows)]

    def forward(self, tower: nn.Module, batch: Tensor) -> Tensor:
        """Through the learned layers."""
        return tower.from_standardised(batch)  # type: ignore[operator,no-any-return]


def gather_statistics(
    tower: OrbitNet, crops: Crops, augmented: AugmentConfig, *, image_size: int, seed: int = 0, device: str = "cpu"
) -> Tensor:
    """(n, num_statistics) fp16 of every crop, each under another sky and camera once.

    Crops are not cut again: their places, widths and headings are random already, and a frame that is enlarged to the
    size of the input is blurred, as no photo that is asked about will be.
    """
    out = torch.empty(len(crops), tower.num_statistics, dtype=torch.float16)
    tower = tower.to(device).eval()

    def gather(first: int) -> None:
        some = slice(first, first + BATCH)
        x = floats(crops.images_NHWC[some], image_size)
        x = disturbed(x, augmented, np.random.default_rng((seed, 1, first))).to(device)
        with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16):
            out[some] = tower.statistics(x).half().cpu()

    # Batches side by side on one thread each: many of these operations are too small to be divided.
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(gather, range(0, len(crops), BATCH)))
    return out


def prepare(
    tower: OrbitNet, crops: Crops, augmented: AugmentConfig, *, image_size: int, seed: int = 0, device: str = "cpu"
) -> Statistics:
    """Fit what the trunk does not learn to the crops, and see every crop through it once."""
    rows = np.linspace(0, len(crops) - 1, min(len(crops), 5_000)).astype(int)
    sample = normalise(floats(crops.images_NHWC[rows]))
    fit_filters(tower, sample, torch.Generator().manual_seed(seed))
    values = gather_statistics(tower, crops, augmented, image_size=image_size, seed=seed, device=device)
    some = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:20_000]
    tower.fix_standard(values[some].float())
    # Standardised where they lie: both forms at once would take twice the memory.
    standard = values.view(torch.bfloat16)
    for first in range(0, len(values), 2_000):
        chunk = slice(first, first + 2_000)
        standard[chunk] = tower.standardised(values[chunk].float().to(device)).to("cpu", torch.bfloat16)
    return Statistics(standard, crops.lat, crops.lon)


def fit(
    tower: OrbitNet, crops: Crops, augmented: AugmentConfig, *, image_size: int, seed: int = 0, device: str = "cpu"
) -> None:
    """Fit what the trunk does not learn, from some of the crops."""
    rows = np.linspace(0, len(crops) - 1, min(len(crops), STANDARD)).astype(int)
    some = Crops(*(getattr(crops, field.name)[rows] for field in dataclasses.fields(crops)))
    sample = some.images_NHWC[:: max(len(rows) // FILTERS, 1)]
    fit_filters(tower, normalise(floats(sample, image_size)), torch.Generator().manual_seed(seed))
    tower.fix_standard(
        gather_statistics(tower, some, augmented, image_size=image_size, seed=seed, device=device).float().to(device)
    )


def normalise(images_NCHW: Tensor) -> Tensor:
    """Centre and scale pictures in 0…1 as the shipped preprocessing does."""
    mean = torch.tensor(MEAN, device=images_NCHW.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=images_NCHW.device).view(1, 3, 1, 1)
    return (images_NCHW - mean) / std


def floats(images_NHWC: np.ndarray, size: int | None = None, device: torch.device | str = "cpu") -> Tensor:
    """(n, 3, h, w) in 0…1 of uint8 pictures; brought to ``size`` pixels where it is given."""
    x = torch.from_numpy(np.ascontiguousarray(images_NHWC)).to(device).permute(0, 3, 1, 2).float().div_(255)
    if size is None or size == x.shape[-1]:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def disturbed(images_NCHW: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Another sky and camera; normalised."""
    return normalise(augment(images_NCHW, config, torch.Generator().manual_seed(int(rng.integers(2**62)))))


def _jitter_frame(images_NCHW: Tensor, rng: np.random.Generator, size: int) -> Tensor:
    """A slightly smaller frame at a random place, the same for the batch, brought to the input size."""
    side = images_NCHW.shape[-1]
    keep = int(rng.integers(int(side * 0.85), side + 1))
    top, left = rng.integers(0, side - keep + 1, 2)
    frame = images_NCHW[:, :, top : top + keep, left : left + keep]
    return frame if keep == size else F.interpolate(frame, size=(size, size), mode="bilinear", align_corners=False)
