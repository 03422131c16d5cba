"""Let torchvision's portable wheel import beside a CPU build of torch.

The wheel on the package index is linked against CUDA. On a CPU build of torch its compiled part is skipped, the
operators ``torchvision::nms`` and ``qnms`` are never declared, and ``import torchvision`` fails while registering
their shapes. A finder on ``sys.meta_path`` declares the two schemas just before torchvision is imported, and only
where torch is a CPU build. Nothing here loads torch by itself. Box suppression itself stays unavailable: this
project never calls it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[Any] = []


class _DeclareOperators(importlib.abc.MetaPathFinder):
    """Declares the missing operators when torchvision is about to be imported, then stands aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname == "torchvision" and not _libraries:
            _declare()
        return None


def _declare() -> None:
    import torch

    if torch.version.cuda is not None or getattr(torch.version, "hip", None) is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(_SCHEMA.format(operator))
    _libraries.append(library)


def install_hook() -> None:
    """Add the finder once; a process that has torchvision already is left alone."""
    if "torchvision" in sys.modules or any(isinstance(finder, _DeclareOperators) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _DeclareOperators())
