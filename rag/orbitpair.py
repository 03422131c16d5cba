"""A trunk that looks twice: fixed statistics of a picture, and a convolutional network learned end to end.

Each half of an embedding comes from one of the two, is a unit vector by itself, and is taught by itself as well as
together with the other (:mod:`gaea.finetune.encoder`): an ensemble of two that err differently, stored as one vector.
A cosine between embeddings is then the mean of the two halves' cosines.

* :class:`~gaea.rag.orbitnet.OrbitNet`: what a picture is made of, whatever its order: filter responses, which of them
  go together, colours.
* :class:`StageNet`: a residual network (K. He et al., Deep Residual Learning, CVPR 2016, with the stem and shortcuts of
  T. He et al., Bag of Tricks, CVPR 2019) whose stages are all read, the finer ones for texture, the coarser for form.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

from gaea.rag.orbitnet import OrbitNet

NAME, TINY = "gaea_orbitpair", "gaea_orbitpair_tiny"


class StageNet(nn.Module):
    """A residual network; the mean of every stage but the first goes into its output.

    Args:
        num_classes: Length of the output.
        layers: Residual blocks per stage.
        channels: Of each stage.
        stem: Width of the three convolutions before them.
        dropout: Before the last layer.
        drop_path: Largest share of pictures for which a block is left out, in training.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        layers: tuple[int, int, int, int] = (2, 2, 2, 1),
        channels: tuple[int, int, int, int] = (64, 128, 256, 384),
        stem: int = 32,
        dropout: float = 0.2,
        drop_path: float = 0.05,
    ) -> None:
        super().__init__()
        self.body = ResNet(
            BasicBlock,  # type: ignore[arg-type] # timm says an instance and means the class
            layers,
            num_classes=0,
            channels=channels,
            stem_width=stem,
            stem_type="deep",
            avg_down=True,
            drop_path_rate=drop_path,
        )
        width = sum(channels[1:])
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """(n, num_classes)."""
        body: Any = self.body
        x = images_NCHW.contiguous(memory_format=torch.channels_last)
        x = body.layer1(body.maxpool(body.act1(body.bn1(body.conv1(x)))))
        seen = []
        for stage in (body.layer2, body.layer3, body.layer4):
            x = stage(x)
            seen.append(x.mean((2, 3)))
        out: Tensor = self.head(self.dropout(self.norm(torch.cat(seen, 1))))
        return out


class OrbitPair(nn.Module):
    """Both halves, with the attributes that open_clip expects of a timm model.

    Args:
        num_classes: Length of the embedding, even; each half has half of it.
        statistics: Arguments of :class:`~gaea.rag.orbitnet.OrbitNet`.
        stages: Arguments of :class:`StageNet`.
    """

    def __init__(
        self, num_classes: int = 128, *, statistics: dict[str, Any] | None = None, stages: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.num_features = num_classes
        self.textures = OrbitNet(num_classes // 2, **(statistics or {}))
        self.shapes = StageNet(num_classes // 2, **(stages or {}))
        self.default_cfg = self.pretrained_cfg = {"input_size": (3, 128, 128), "architecture": NAME}

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """(n, num_classes) unit vectors: the two halves side by side, each as long as the other."""
        halves = [F.normalize(net(images_NCHW).float(), dim=-1) for net in (self.textures, self.shapes)]
        out: Tensor = torch.cat(halves, 1) * 0.5**0.5
        return out

    def strangeness(self, images_NCHW: Tensor) -> Tensor:
        """(n,) of the textures; see :meth:`gaea.rag.orbitnet.OrbitNet.strangeness`."""
        return self.textures.strangeness(images_NCHW)


@timm.models.register_model
def gaea_orbitpair(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitPair:
    """The shipped size, for pictures of 128 px; built by ``timm.create_model``."""
    del pretrained, pretrained_cfg
    return OrbitPair(options.get("num_classes", 128), statistics={"width": 224})


@timm.models.register_model
def gaea_orbitpair_tiny(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> OrbitPair:
    """A size for tests, for pictures of 48 px and more."""
    del pretrained, pretrained_cfg
    small = {"filters": 32, "components": 8, "colours": 32, "width": 64, "scales": (1, 2, 4)}
    stages = {"layers": (1, 1, 1, 1), "channels": (8, 16, 24, 32), "stem": 8}
    return OrbitPair(options.get("num_classes", 32), statistics=small, stages=stages)
