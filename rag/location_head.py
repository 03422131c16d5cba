"""Places as unit vectors in the space of pictures: a location encoder in the manner of GeoCLIP.

Coordinates are projected to the plane (Equal Earth), turned into random Fourier features at several scales, and each
scale passes a small network of its own, a *capsule*; the capsules' outputs are summed (Vivanco Cepeda et al., NeurIPS
2023, arXiv 2309.16020). A head of two layers brings picture embeddings of a frozen encoder into the same space, where
a picture and its place have a high cosine.

The plane is cut at 180°, so places on both sides of the antimeridian look far apart here; it says nothing about how
sure it is; and it has no notion of a footprint, so a picture of a continent and one of a street get a point each.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gaea.errors import GalleryError, InputError, ModelError
from gaea.rag.encoder import Encoder
from gaea.sphere import validate_latlon

CONFIG_FILE = "location_head.json"
WEIGHTS_FILE = "location_head.safetensors"
_FORMAT = 1
_EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)  # Šavrič, Patterson & Jenny (2019), equation 8
_PLANE = 66.50336 / 180  # GeoCLIP's scale: the equator reaches from -1 to 1
_BATCH = 8192


@dataclass(frozen=True)
class LocationHeadConfig:
    """Sizes of a head; the defaults are GeoCLIP's.

    Attributes:
        sigmas: Spread of the Fourier frequencies of each capsule, cycles per half an equator.
        frequencies: Of each capsule; each gives a sine and a cosine.
        width: Of a capsule's hidden layers.
        layers: Hidden layers of a capsule.
        dim: Length of an embedding.
        image_dim: Length of the picture embeddings that are brought here; 0 where they are compared as they are.
        image_width: Hidden layer on the pictures' side.
        encoder: What the picture encoder is called.
        fingerprint: Of the picture encoder; empty where it is not known.
    """

    sigmas: tuple[float, ...] = (1.0, 16.0, 256.0)
    frequencies: int = 256
    width: int = 1024
    layers: int = 3
    dim: int = 512
    image_dim: int = 768
    image_width: int = 768
    encoder: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        """Check sizes."""
        object.__setattr__(self, "sigmas", tuple(self.sigmas))
        if not self.sigmas or min(self.frequencies, self.width, self.layers, self.dim, self.image_width) < 1:
            raise InputError(f"a location head of {self} is not possible; every size must be at least 1")


def equal_earth(lat_deg: ArrayLike, lon_deg: ArrayLike) -> NDArray[np.float64]:
    """Project degrees to the Equal Earth plane, scaled so that the equator reaches from -1 to 1; shape (..., 2)."""
    lat, lon = np.radians(np.asarray(lat_deg, np.float64)), np.radians(np.asarray(lon_deg, np.float64))
    a1, a2, a3, a4 = _EQUAL_EARTH
    theta = np.arcsin(math.sqrt(3) / 2 * np.sin(lat))
    square = theta**2
    slope = a1 + square * (3 * a2 + square**2 * (7 * a3 + 9 * a4 * square))
    x = 2 * math.sqrt(3) * lon * np.cos(theta) / (3 * slope)
    y = theta * (a1 + square * (a2 + square**2 * (a3 + a4 * square)))
    return np.asarray(np.stack((x, y), axis=-1) * _PLANE)


class Capsule(nn.Module):
    """Fourier features of one scale and the network behind them."""

    frequencies: Tensor

    def __init__(self, sigma: float, config: LocationHeadConfig) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(config.frequencies, 2) * sigma)
        sizes = [2 * config.frequencies, *[config.width] * config.layers]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.mlp = nn.Sequential(*hidden, nn.Linear(config.width, config.dim))

    def forward(self, plane: Tensor) -> Tensor:
        """(n, dim) of points in the plane, (n, 2)."""
        # In float64: a phase is thousands of turns, of which float32 leaves some 1e-4 of a turn to chance.
        phase = 2 * math.pi * plane.double() @ self.frequencies.double().T
        out: Tensor = self.mlp(torch.cat((phase.cos(), phase.sin()), dim=-1).to(plane.dtype))
        return out


class LocationHead(nn.Module):
    """The location encoder and the pictures' side; :meth:`load` one, or train one with ``gaea.finetune.location``."""

    def __init__(self, config: LocationHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.capsules = nn.ModuleList(Capsule(sigma, config) for sigma in config.sigmas)
        self.image_mlp: nn.Module = nn.Identity()
        if config.image_dim:
            first, last = nn.Linear(config.image_dim, config.image_width), nn.Linear(config.image_width, config.dim)
            self.image_mlp = nn.Sequential(first, nn.ReLU(), last)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def place_rows(self, plane: Tensor) -> Tensor:
        """(n, dim) unit rows of points in the plane, (n, 2); differentiable."""
        return F.normalize(torch.stack([capsule(plane) for capsule in self.capsules]).sum(0), dim=-1)

    def image_rows(self, embeddings: Tensor) -> Tensor:
        """(n, dim) unit rows of picture embeddings, (n, image_dim); differentiable."""
        return F.normalize(self.image_mlp(embeddings), dim=-1)

    @torch.inference_mode()
    def encode(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> NDArray[np.float32]:
        """Embed places.

        Args:
            lat_deg: Degrees, shape (n,).
            lon_deg: Degrees, shape (n,).

        Returns:
            Unit rows, float32, shape (n, dim).

        Raises:
            InputError: A coordinate that is none.
        """
        lat, lon = validate_latlon(np.atleast_1d(lat_deg), np.atleast_1d(lon_deg))
        plane = torch.from_numpy(equal_earth(lat, lon).astype(np.float32)).to(self.log_scale.device)
        rows = [self.place_rows(chunk).cpu() for chunk in plane.split(_BATCH)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.config.dim), np.float32)

    @torch.inference_mode()
    def encode_images(self, embeddings: ArrayLike) -> NDArray[np.float32]:
        """Bring picture embeddings, shape (n, image_dim), among the places: unit rows, float32, shape (n, dim).

        Raises:
            InputError: Embeddings of another length.
        """
        rows = np.asarray(embeddings, np.float32)
        expected = self.config.image_dim or self.config.dim
        if rows.ndim != 2 or rows.shape[1] != expected:
            raise InputError(f"picture embeddings have shape {rows.shape}, this location head expects (n, {expected})")
        return self.image_rows(torch.tensor(rows, device=self.log_scale.device)).cpu().numpy()

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuse a picture encoder that this head was not trained with.

        Raises:
            GalleryError: Another encoder.
        """
        if self.config.fingerprint not in ("", encoder.fingerprint):
            raise GalleryError(
                f"the location head belongs to encoder {self.config.encoder} ({self.config.fingerprint[:12]}), this is "
                f"{encoder.name} ({encoder.fingerprint[:12]}): train one with 'python -m gaea.finetune location'"
            )

    def save(self, folder: str | Path) -> Path:
        """Write configuration and weights into a folder; returns it."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps({"format": _FORMAT, **asdict(self.config)}, indent=2) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> LocationHead:
        """Read what :meth:`save` wrote, onto the CPU, ready to encode.

        Raises:
            ModelError: Files are missing, damaged, or do not fit each other.
        """
        folder = Path(folder)
        try:
            described = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            if described.pop("format", None) != _FORMAT:
                raise ValueError(f"format is not {_FORMAT}")
            unknown = set(described) - {field.name for field in fields(LocationHeadConfig)}
            config = LocationHeadConfig(**{key: value for key, value in described.items() if key not in unknown})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"no location head in {folder}: {CONFIG_FILE}: {_one_line(error)}") from error
        return cls.filled(config, read_tensors(folder / WEIGHTS_FILE))

    @classmethod
    def filled(cls, config: LocationHeadConfig, tensors: dict[str, Tensor]) -> LocationHead:
        """A head of these sizes with these weights, ready to encode.

        Raises:
            ModelError: They do not fit each other.
        """
        head = cls(config)
        try:
            head.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"weights do not fit the location head: {_one_line(error)}") from error
        return head.eval()


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        ModelError: Another kind of file, missing, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file.suffix != ".safetensors":
        raise ModelError(f"{file} is not a .safetensors file: convert the weights, pickles are not opened")
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"weights {file} cannot be read: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
