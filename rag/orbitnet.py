"""A small trunk for pictures from orbit, registered with timm so that open_clip builds it by name.

Its filters are not learned by gradient descent: they are whitened, spherical k-means centroids of training patches
(Coates & Ng, 2012) at three scales, pooled into statistics of texture and colour. Those are computed once per picture,
so that the layers above, which are learned, train on cached features: on two cores they see ten times as many crops a
second as a convolutional network trained end to end (docs/experiments.md).
"""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

NAME, TINY = "gaea_orbitnet", "gaea_orbitnet_tiny"
SCALES = (1, 2, 4)


class OrbitNet(nn.Module):
    """The trunk, with the attributes that open_clip expects of a timm model.

    Args:
        num_classes: Length of the output; 0 gives the features.
        filters: Filters per scale.
        width: Width of the learned layers.
        dropout: Between the learned layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, num_classes: int = 128, filters: int = 320, width: int = 1024, dropout: float = 0.3) -> None:
        super().__init__()
        self.stems = nn.ModuleList(nn.Conv2d(3, filters, 6, stride=3 if scale == 1 else 2) for scale in SCALES)
        for parameter in self.stems.parameters():
            parameter.requires_grad_(False)
        self.num_statistics = len(SCALES) * filters * 6 + 2 * 192
        self.num_features = width
        self.register_buffer("centre", torch.zeros(self.num_statistics))
        self.register_buffer("spread", torch.ones(self.num_statistics))
        self.mlp = nn.Sequential(
            nn.Dropout(dropout * 0.7),
            nn.Linear(self.num_statistics, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(dropout * 0.5)
        self.head = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        self.default_cfg = self.pretrained_cfg = {"input_size": (3, 96, 96), "architecture": NAME}

    @torch.no_grad()
    def statistics(self, images_NCHW: Tensor) -> Tensor:
        """(n, num_statistics) of normalised pictures: what the fixed filters see, pooled; not differentiable."""
        pooled = []
        for scale, stem in zip(SCALES, self.stems, strict=True):
            seen = F.avg_pool2d(images_NCHW, scale) if scale > 1 else images_NCHW
            response = F.relu(stem(seen)).float()
            pooled.append(F.adaptive_avg_pool2d(response, 2).flatten(1))
            pooled.append(response.amax((2, 3)))
            pooled.append(response.mean((2, 3)).sqrt())
        mean = F.adaptive_avg_pool2d(images_NCHW, 8)
        spread = (F.adaptive_avg_pool2d(images_NCHW.square(), 8) - mean.square()).clamp(min=1e-6).sqrt()
        return torch.cat([*pooled, mean.flatten(1), spread.flatten(1)], 1)

    def fix_standard(self, statistics: Tensor) -> None:
        """Standardise by the mean and spread of these from now on."""
        self.centre.copy_(statistics.mean(0))
        self.spread.copy_(statistics.std(0) + 1e-3)

    @torch.no_grad()
    def strangeness(self, images_NCHW: Tensor) -> Tensor:
        """(n,) mean squared deviation of the statistics from those of training crops; about 1 for pictures from orbit.

        Photos of another world (people, houses, street scenes) have edges and contrasts that no training crop has.
        """
        return ((self.statistics(images_NCHW) - self.centre) / self.spread).square().mean(1)

    def from_statistics(self, statistics: Tensor) -> Tensor:
        """(n, num_classes) from what :meth:`statistics` gave."""
        # Statistics are taken in float32; a model lowered to bfloat16 goes on in its own type.
        standard = ((statistics - self.centre) / self.spread).clamp(-8, 8).to(self.centre.dtype)
        out: Tensor = self.head(self.dropout(self.mlp(standard)))
        return out

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """(n, num_classes)."""
        return self.from_statistics(self.statistics(images_NCHW))

    def get_classifier(self) -> nn.Module:
        """The last layer, as timm names it."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Another last layer."""
        del global_pool
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()


def fit_stems(net: OrbitNet, images_NCHW: Tensor, generator: torch.Generator, patches: int = 60_000) -> None:
    """Set every stem to whitened k-means centroids of random patches at its scale.

    Args:
        net: The trunk.
        images_NCHW: Normalised pictures to take patches from.
        generator: Source of randomness.
        patches: How many patches per scale.
    """
    for scale, stem in zip(SCALES, net.stems, strict=True):
        seen = F.avg_pool2d(images_NCHW, scale) if scale > 1 else images_NCHW
        conv = cast("nn.Conv2d", stem)
        weight, bias = _centroids(seen, conv.kernel_size[0], conv.out_channels, generator, patches)
        with torch.no_grad():
            conv.weight.copy_(weight)
            cast("Tensor", conv.bias).copy_(bias)


def _centroids(
    images_NCHW: Tensor, side: int, count: int, generator: torch.Generator, patches: int
) -> tuple[Tensor, Tensor]:
    n, channels, height, width = images_NCHW.shape
    which = torch.randint(n, (patches,), generator=generator)
    top = torch.randint(height - side, (patches,), generator=generator)
    left = torch.randint(width - side, (patches,), generator=generator)
    x = torch.stack([images_NCHW[i, :, a : a + side, b : b + side] for i, a, b in zip(which, top, left, strict=True)])
    x = x.flatten(1)
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((x - mean).T) + 1e-2 * torch.eye(x.shape[1]))
    whiten = (vectors / values.sqrt()) @ vectors.T
    z = F.normalize((x - mean) @ whiten, dim=1)
    centres = z[torch.randperm(patches, generator=generator)[:count]]
    for _ in range(15):
        nearest = (z @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, F.normalize(sums, dim=1), centres)
    filters = whiten @ centres.T
    return filters.T.reshape(count, channels, side, side), -(mean @ filters)


@timm.models.register_model
def gaea_orbitnet(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitNet:
    """The shipped size; built by ``timm.create_model``."""
    del pretrained, pretrained_cfg
    return OrbitNet(options.get("num_classes", 128))


@timm.models.register_model
def gaea_orbitnet_tiny(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitNet:
    """A size for tests."""
    del pretrained, pretrained_cfg
    return OrbitNet(options.get("num_classes", 32), filters=32, width=64)
