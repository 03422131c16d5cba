"""Let the portable wheels of torchvision and torchaudio import beside a CPU build of torch.

The wheel on the package index is linked against CUDA. On a CPU build of torch its compiled part is skipped, the
operators ``torchvision::nms`` and ``qnms`` are never declared, and ``import torchvision`` fails while registering
their shapes. A finder on ``sys.meta_path`` declares the two schemas just before torchvision is imported, and only
where torch is a CPU build. Nothing here loads torch by itself. Box suppression itself stays unavailable: this
project never calls it.

torchaudio's wheel, and torchcodec's, which vLLM brings along, fail in another way: they load CUDA's libraries. As
transformers imports torchaudio wherever it is installed, an empty module takes its place; torchcodec is refused as one
that is missing would be. Builds of the two for CPUs are left alone.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[Any] = []
_CUDA_ONLY = ("torchaudio", "torchcodec")


class _DeclareOperators(importlib.abc.MetaPathFinder):
    """Declares the missing operators when torchvision is about to be imported, then stands aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname == "torchvision" and not _libraries:
            _declare()
        if fullname in _CUDA_ONLY and "+cpu" in _version("torch") and "+cpu" not in _version(fullname, "+cpu"):
            return importlib.machinery.ModuleSpec(fullname, _Empty())
        return None


class _Empty(importlib.abc.Loader):
    """Loads nothing."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "torchcodec":  # those who import it expect that it may be missing
            raise ImportError("this build of torchcodec needs CUDA, and torch is a CPU build")


def _version(package: str, absent: str = "") -> str:
    """Of an installed package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return absent


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
