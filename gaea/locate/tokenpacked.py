"""Linear layers in the order in which oneDNN multiplies many rows with them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

_MANY_ROWS = 256  # of a call, for which the order of packed weights is chosen; others are computed as well


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Packed:
    """Linear layers side by side, their weights in oneDNN's order.

    The layers must not be changed any more, because the copy would not follow them.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *layers: nn.Linear) -> Packed | None:
        """Make the copy, of 32-bit weights on a CPU whose torch has oneDNN; elsewhere there is none."""
        weight = torch.cat([layer.weight.detach() for layer in layers])
        bias = torch.cat([layer.bias.detach() for layer in layers])
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
            return None
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight, _MANY_ROWS), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Rows (…, in) to (…, out)."""
        out: Tensor = _LINEAR(x, self.weight, self.bias, "none", [], "")
        return out


_LINEAR: Any = torch.ops.mkldnn._linear_pointwise.default if torch.backends.mkldnn.is_available() else None
