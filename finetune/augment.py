"""What another camera, sky and season do to a picture from orbit.

Colour, exposure, haze, cloud, blur and resolution, drawn per picture and applied to whole batches. Only a share of the
crops is changed strongly: colour is evidence of a place, and a model that never sees it true cannot use it.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

COARSER = (2, 4, 8)
"""By how much the resolution of coarse pictures is lowered."""


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Shares of a batch that meet each disturbance, and how strong the strong ones are.

    ``coarse_share`` is the share of each of :data:`COARSER`.
    """

    strong_share: float = 0.12
    haze_share: float = 0.08
    cloud_share: float = 0.06
    blur_share: float = 0.1
    coarse_share: float = 0.03
    mild: float = 0.06
    strong: float = 0.3


def augment(images_NCHW: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Disturb a batch.

    Args:
        images_NCHW: Float pictures in 0…1.
        config: Shares and strengths.
        generator: Source of randomness, on the CPU.

    Returns:
        A new batch of the same shape, in 0…1.
    """
    n = images_NCHW.shape[0]
    device = images_NCHW.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    def happens(share: float) -> Tensor:
        return (uniform(n, 1, 1, 1) < share).float()

    strength = config.mild + (config.strong - config.mild) * happens(config.strong_share)
    x = images_NCHW
    x = x * (1 + strength * (2 * uniform(n, 1, 1, 1) - 1)) * (1 + 0.4 * strength * (2 * uniform(n, 3, 1, 1) - 1))
    mean = x.mean((2, 3), keepdim=True)
    x = mean + (x - mean) * (1 + strength * (2 * uniform(n, 1, 1, 1) - 1))
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + 1.5 * strength * (2 * uniform(n, 1, 1, 1) - 1))
    blurred = F.interpolate(F.avg_pool2d(x, 3), size=x.shape[-2:], mode="bilinear", align_corners=False)
    x = torch.lerp(x, blurred, happens(config.blur_share) * uniform(n, 1, 1, 1))
    for factor in COARSER:
        seen = (uniform(n) < config.coarse_share).nonzero()[:, 0]
        if len(seen) and min(x.shape[-2:]) >= 2 * factor:
            shrunk = F.avg_pool2d(x[seen], factor)
            x = x.index_copy(0, seen, F.interpolate(shrunk, size=x.shape[-2:], mode="bicubic", align_corners=False))
    sky = torch.tensor([0.75, 0.82, 0.92], device=device).view(1, 3, 1, 1)
    x = torch.lerp(x, sky.expand_as(x), happens(config.haze_share) * 0.45 * uniform(n, 1, 1, 1))
    cloud = sum(
        F.interpolate(uniform(n, 1, side, side), size=x.shape[-2:], mode="bicubic", align_corners=False) * weight
        for side, weight in ((4, 0.5), (8, 0.3), (16, 0.2))
    )
    cover = ((cloud - 0.75 + 0.4 * uniform(n, 1, 1, 1)) * 6).clamp(0, 1) * happens(config.cloud_share)
    return torch.lerp(x, torch.full_like(x, 0.95), cover).clamp(0, 1)
