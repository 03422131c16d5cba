"""A small trunk for pictures from orbit, registered with timm so that open_clip builds it by name.

What it sees of a picture is not learned by gradient descent. Three kinds of statistics are computed once per picture,
so that the layers above, which are learned, train on cached features: on two cores they see ten times as many crops a
second as a convolutional network trained end to end (docs/experiments.md).

* Pooled responses of filters that are whitened, spherical k-means centroids of training patches at several scales
  (A. Coates & A. Ng, Learning Feature Representations with K-means, 2012).
* Which of those responses go together: their covariance, after a reduction to principal components, under a signed
  square root (T.-Y. Lin, A. RoyChowdhury & S. Maji, Bilinear CNN Models, ICCV 2015).
* Colours, as a histogram over a codebook of training colours, under a square root (Hellinger's distance).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

NAME, TINY = "gaea_orbitnet", "gaea_orbitnet_tiny"
PATCH = 6
STRIDES = {1: 3, 2: 2, 4: 2, 8: 1}
"""Of the filters, by how much the picture is reduced before them."""

SHADES = 32
"""Steps per channel in which colours are looked up."""

MEAN, STD = (0.40, 0.40, 0.38), (0.25, 0.22, 0.22)
"""By which pictures are normalised before they come here, per channel."""


class OrbitNet(nn.Module):
    """The trunk, with the attributes that open_clip expects of a timm model.

    Args:
        num_classes: Length of the output; 0 gives the features.
        filters: Filters per scale.
        components: Principal components of the responses whose covariance is taken, per scale but the coarsest of 8.
        colours: Size of the codebook.
        width: Width of the learned layers.
        scales: How often the picture is reduced before its filters; each one of :data:`STRIDES`.
        dropout: Between the learned layers.
    """

    centre: Tensor
    spread: Tensor
    codebook: Tensor

    def __init__(
        self,
        num_classes: int = 128,
        *,
        filters: int = 320,
        components: int = 48,
        colours: int = 512,
        width: int = 512,
        scales: tuple[int, ...] = (1, 2, 4, 8),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.scales, self.colours = scales, colours
        self.stems = nn.ModuleList(nn.Conv2d(3, filters, PATCH, stride=STRIDES[scale]) for scale in scales)
        # A linear layer per scale holds the components: outputs are centred and of unit variance over training patches.
        self.components = nn.ModuleList(nn.Linear(filters, components) for scale in scales if scale < 8)
        for parameter in [*self.stems.parameters(), *self.components.parameters()]:
            parameter.requires_grad_(False)
        self.register_buffer("codebook", torch.zeros(SHADES**3, dtype=torch.int16))
        pairs = components * (components + 1) // 2
        self.num_textures = len(scales) * filters * 6 + 2 * 192
        self.num_statistics = self.num_textures + len(self.components) * pairs + 2 * colours
        self.num_features = width
        self.register_buffer("centre", torch.zeros(self.num_statistics))
        self.register_buffer("spread", torch.ones(self.num_statistics))
        self.mlp = nn.Sequential(
            WideDropout(dropout * 0.7),
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
        self.default_cfg = self.pretrained_cfg = {"input_size": (3, 128, 128), "architecture": NAME}

    def responses(self, images_NCHW: Tensor) -> Iterator[Tensor]:
        """(n, filters, h, w) of each scale in turn, channels last."""
        for scale, stem in zip(self.scales, self.stems, strict=True):
            seen = F.avg_pool2d(images_NCHW, scale) if scale > 1 else images_NCHW
            # Channels last: whatever reads the responses of one place then reads them in one piece.
            yield F.relu(stem(seen.contiguous(memory_format=torch.channels_last)))

    @torch.no_grad()
    def statistics(self, images_NCHW: Tensor) -> Tensor:
        """(n, num_statistics) of normalised pictures, textures first; not differentiable."""
        textures, covariances = [], []
        for number, response in enumerate(self.responses(images_NCHW)):
            places = response.permute(0, 2, 3, 1).flatten(1, 2)  # (n, h·w, filters), without a copy
            pooled = (_pools(*response.shape[2:]).to(places) @ places).float()
            textures.append(pooled[:, :4].transpose(1, 2).flatten(1))
            textures.append(places.amax(1).float())
            textures.append(pooled[:, 4].clamp(min=0).sqrt())
            if number < len(self.components):
                covariances.append(_covariance(self.components[number](places)))
        images_NCHW = images_NCHW.float()
        mean = F.adaptive_avg_pool2d(images_NCHW, 8)
        spread = (F.adaptive_avg_pool2d(images_NCHW.square(), 8) - mean.square()).clamp(min=1e-6).sqrt()
        fine, coarse = images_NCHW[:, :, ::2, ::2], F.avg_pool2d(images_NCHW, 4)
        colours = [self._histogram(fine), self._histogram(coarse)]
        return torch.cat([*textures, mean.flatten(1), spread.flatten(1), *covariances, *colours], 1)

    def _histogram(self, images_NCHW: Tensor) -> Tensor:
        """(n, colours) square roots of the shares of each colour."""
        which = self.codebook[shade(images_NCHW)].long()
        counts = torch.zeros(len(which), self.colours, device=which.device)
        counts.scatter_add_(1, which, torch.ones_like(which, dtype=counts.dtype))
        return (counts / which.shape[1]).sqrt()

    def fix_standard(self, statistics: Tensor) -> None:
        """Standardise by the mean and spread of these from now on."""
        self.centre.copy_(statistics.mean(0))
        self.spread.copy_(statistics.std(0) + 1e-3)

    @torch.no_grad()
    def strangeness(self, images_NCHW: Tensor) -> Tensor:
        """(n,) mean squared deviation of the textures from those of training crops; about 1 for pictures from orbit.

        Photos of another world (people, houses, street scenes) have edges and contrasts that no training crop has.
        """
        standard = (self.statistics(images_NCHW) - self.centre) / self.spread
        return standard[:, : self.num_textures].square().mean(1)

    def standardised(self, statistics: Tensor) -> Tensor:
        """(n, num_statistics) around 0 and of about unit spread, from what :meth:`statistics` gave."""
        # Statistics are taken in float32; a model lowered to bfloat16 goes on in its own type.
        return ((statistics - self.centre) / self.spread).clamp(-8, 8).to(self.centre.dtype)

    def from_standardised(self, standard: Tensor) -> Tensor:
        """(n, num_classes) from what :meth:`standardised` gave."""
        out: Tensor = self.head(self.dropout(self.mlp(standard)))
        return out

    def from_statistics(self, statistics: Tensor) -> Tensor:
        """(n, num_classes) from what :meth:`statistics` gave."""
        return self.from_standardised(self.standardised(statistics))

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


class WideDropout(nn.Module):
    """Dropout for inputs of ten thousand numbers a row: its mask is drawn as bytes, which takes a CPU less time.

    The share is rounded to a 256th. Draws follow torch's seed. On a GPU, where masks cost little, it is plain dropout.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = round(share * 256) / 256

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share of the numbers and raise the others, in training."""
        if not self.training or not self.share:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        drawn = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
        mask = torch.frombuffer(bytearray(drawn.bytes(x.numel())), dtype=torch.uint8).view(x.shape).to(x.device)
        return x.masked_fill(mask < self.share * 256, 0).mul_(1 / (1 - self.share))


@lru_cache(maxsize=16)
def _pools(height: int, width: int) -> Tensor:
    """(5, height · width): the mean of each quarter of a map, and of all of it, as weights."""
    rows, columns = (F.adaptive_avg_pool1d(torch.eye(side), 2).T.contiguous() for side in (height, width))
    return torch.cat([torch.kron(rows, columns), torch.full((1, height * width), 1 / (height * width))])


def shade(images_NCHW: Tensor) -> Tensor:
    """(n, h·w) number of each pixel's colour among :data:`SHADES` steps per channel."""
    mean, std = (torch.tensor(values, device=images_NCHW.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    steps = ((images_NCHW * std + mean) * (SHADES - 1)).round().clamp(0, SHADES - 1).long()
    red, green, blue = steps.unbind(1)
    return ((red * SHADES + green) * SHADES + blue).flatten(1)


def _covariance(vectors: Tensor) -> Tensor:
    """(n, pairs) second moments of (n, places, components), each pair once, under a signed square root."""
    moments = (vectors.transpose(1, 2) @ vectors).float() / vectors.shape[1]
    rows, columns = torch.triu_indices(*moments.shape[1:], device=moments.device)
    paired = moments[:, rows, columns]
    return paired.sign() * paired.abs().sqrt()


@torch.no_grad()
def fit_filters(net: OrbitNet, images_NCHW: Tensor, generator: torch.Generator, patches: int = 60_000) -> None:
    """Set what is not learned: filters, principal components of their responses, and the codebook of colours.

    Args:
        net: The trunk.
        images_NCHW: Normalised pictures to take patches and colours from.
        generator: Source of randomness.
        patches: How many patches per scale.
    """
    for scale, stem in zip(net.scales, net.stems, strict=True):
        seen = F.avg_pool2d(images_NCHW, scale) if scale > 1 else images_NCHW
        conv = cast("nn.Conv2d", stem)
        weight, bias = whitened_filters(seen, conv.out_channels, generator, patches)
        conv.weight.copy_(weight)
        cast("Tensor", conv.bias).copy_(bias)
    for layer, response in zip(net.components, net.responses(images_NCHW[:1500]), strict=False):
        _fit_components(cast("nn.Linear", layer), response.float(), generator, patches)
    pixels = images_NCHW[:, :, ::4, ::4].permute(0, 2, 3, 1).reshape(-1, 3)
    pixels = pixels[torch.randperm(len(pixels), generator=generator)[: 4 * patches]]
    net.codebook.copy_(_codebook(pixels, net.colours).to(torch.int16))


def _fit_components(layer: nn.Linear, response: Tensor, generator: torch.Generator, patches: int) -> None:
    """Principal components of unit variance, in the order of growing variance."""
    vectors = response.flatten(2).transpose(1, 2).flatten(0, 1)
    vectors = vectors[torch.randperm(len(vectors), generator=generator)[:patches]]
    mean = vectors.mean(0)
    values, directions = torch.linalg.eigh(torch.cov((vectors - mean).T))
    values, directions = values[-layer.out_features :], directions[:, -layer.out_features :]
    weight = (directions / values.clamp(min=1e-8).sqrt()).T
    layer.weight.copy_(weight)
    layer.bias.copy_(-weight @ mean)


def _codebook(pixels: Tensor, count: int) -> Tensor:
    """(SHADES³,) the nearest of ``count`` k-means centroids of the pixels, for every shade."""
    centres = pixels[:count].clone()
    for _ in range(20):
        nearest = _nearest(pixels, centres)
        sizes = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, pixels)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    steps = torch.linspace(0, 1, SHADES)
    shades = (torch.cartesian_prod(steps, steps, steps) - torch.tensor(MEAN)) / torch.tensor(STD)
    return _nearest(shades, centres)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    chunks = [(2 * chunk @ centres.T - centres.square().sum(1)).argmax(1) for chunk in points.split(20_000)]
    return torch.cat(chunks)


def whitened_filters(
    images_NCHW: Tensor, count: int, generator: torch.Generator, patches: int
) -> tuple[Tensor, Tensor]:
    """Spherical k-means centroids of whitened patches, as weights (count, channels, PATCH, PATCH) and biases (count,).

    Source: A. Coates & A. Ng, "Learning Feature Representations with K-means" (2012).
    """
    n, channels, height, width = images_NCHW.shape
    which = torch.randint(n, (patches,), generator=generator)
    top = torch.randint(height - PATCH + 1, (patches,), generator=generator)
    left = torch.randint(width - PATCH + 1, (patches,), generator=generator)
    places = zip(which, top, left, strict=True)
    x = torch.stack([images_NCHW[i, :, a : a + PATCH, b : b + PATCH] for i, a, b in places]).flatten(1)
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
    return filters.T.reshape(count, channels, PATCH, PATCH), -(mean @ filters)


@timm.models.register_model
def gaea_orbitnet(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitNet:
    """The shipped size, for pictures of 128 px; built by ``timm.create_model``."""
    del pretrained, pretrained_cfg
    return OrbitNet(options.get("num_classes", 128))


@timm.models.register_model
def gaea_orbitnet_tiny(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitNet:
    """A size for tests, for pictures of 48 px and more."""
    del pretrained, pretrained_cfg
    small: dict[str, Any] = {"filters": 32, "components": 8, "colours": 32, "width": 64, "scales": (1, 2, 4)}
    return OrbitNet(options.get("num_classes", 32), **small)
