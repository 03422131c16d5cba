"""GeoCLIP's published location encoder as a :class:`~gaea.rag.location_head.LocationHead`.

Its weights come as pickles, which are not opened here: convert each file once, keeping the names, with
``safetensors.torch.save_file(torch.load(file, weights_only=True), file_safetensors)``.

The names are those of the public package ``geoclip``: ``LocEnc{i}.capsule.0.b`` (frequencies, (256, 2)),
``LocEnc{i}.capsule.{1,3,5}`` and ``LocEnc{i}.head.0`` (layers); on the pictures' side ``{0,2}`` of an MLP over the 768
numbers of OpenAI's CLIP ViT-L/14. Prefixes that come from saving a larger module are allowed.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from gaea.errors import ModelError
from gaea.rag.location_head import LocationHead, LocationHeadConfig, read_tensors

_LAYERS = (("capsule.1", 0), ("capsule.3", 2), ("capsule.5", 4), ("head.0", 6))  # theirs, and our place in the MLP


def load_geoclip(
    places: str | Path, images: str | Path | None = None, *, temperature: float = 0.07, encoder: str = ""
) -> LocationHead:
    """Read GeoCLIP's weights from safetensors.

    Args:
        places: Of the location encoder.
        images: Of the MLP on the pictures' side; without it only places can be embedded in GeoCLIP's space.
        temperature: Of the published logit scale, which lies in a third file.
        encoder: What to call the picture encoder.

    Raises:
        ModelError: A file is missing or a pickle, or has other names or shapes.
    """
    source = _without_prefix(read_tensors(Path(places)), "location_encoder.")
    count = len({name.split(".")[0] for name in source if name.startswith("LocEnc")})
    tensors = {"log_scale": torch.tensor(math.log(1 / temperature))}
    try:
        for index in range(max(count, 1)):
            tensors |= _capsule(source, index)
        if images is not None:
            side = _without_prefix(read_tensors(Path(images)), "image_encoder.mlp.", "mlp.")
            tensors |= {f"image_mlp.{i}.{part}": side[f"{i}.{part}"] for i in (0, 2) for part in ("weight", "bias")}
    except KeyError as error:
        raise ModelError(f"{places} is not GeoCLIP's: tensor {error} is missing; convert with names kept") from error
    dim, width = source["LocEnc0.head.0.weight"].shape
    image_width, image_dim = tensors["image_mlp.0.weight"].shape if images is not None else (1, 0)
    frequencies = [tensors[f"capsules.{index}.frequencies"] for index in range(count)]
    config = LocationHeadConfig(
        # Frequencies were drawn from a normal distribution of that spread; only they are used.
        sigmas=tuple(round(float(drawn.std()), 3) for drawn in frequencies),
        frequencies=len(frequencies[0]),
        width=width,
        dim=dim,
        image_dim=image_dim,
        image_width=image_width,
        encoder=encoder,
    )
    return LocationHead.filled(config, tensors)


def _capsule(source: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    old, new = f"LocEnc{index}", f"capsules.{index}"
    named = {f"{new}.frequencies": source[f"{old}.capsule.0.b"]}
    for theirs, ours in _LAYERS:
        for part in ("weight", "bias"):
            named[f"{new}.mlp.{ours}.{part}"] = source[f"{old}.{theirs}.{part}"]
    return named


def _without_prefix(tensors: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return tensors
