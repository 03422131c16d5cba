"""Pictures and words as unit vectors: the ``Encoder`` seam and its open_clip implementation.

An encoder is known by its fingerprint, a hash of its weights, architecture and preprocessing. Two encoders with the
same fingerprint put the same picture at the same point; a gallery built by another one is refused. Nothing here says
which size runs: the shipped nano model and a ViT-L/14 from a hub go through the same class.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaea.errors import InputError, ModelError

Picture: TypeAlias = "Image.Image | NDArray[np.uint8]"
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
EVERYDAY_WORDS = 30_000
"""Tokens in the vocabulary of a text tower for everyday language, at least; CLIP's has 49,408, nano's 3,072."""

_PRECISIONS = ("fp32", "bf16")


@runtime_checkable
class Encoder(Protocol):
    """What a gallery and a conversation need of an image model."""

    @property
    def name(self) -> str:
        """What messages and provenance call it."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of weights, architecture and preprocessing."""
        ...

    def encode(self, images: Sequence[Picture]) -> NDArray[np.float32]:
        """Embed pictures: PIL images, or RGB arrays of shape (height, width, 3) and type uint8.

        Returns:
            Array of shape (n, dim), each row of unit length.
        """
        ...

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed sentences into the same space, shape (n, dim), unit rows; ModelError without a text tower."""
        ...


@runtime_checkable
class TwoStepEncoder(Protocol):
    """An encoder whose first step, one picture at a time, may be done by other threads while it encodes."""

    def preprocess(self, image: Picture) -> Any:
        """A picture scaled, cut and normalised, in a form that is the encoder's own; safe to call from threads."""
        ...

    def encode_preprocessed(self, ready: Sequence[Any]) -> NDArray[np.float32]:
        """What :meth:`Encoder.encode` makes of the same pictures, shape (n, dim), unit rows."""
        ...


class OpenClipEncoder:
    """Any open_clip model: a local folder in open_clip's hub layout, or a name with its pretrained tag.

    Args:
        model: A folder holding ``open_clip_config.json`` and ``open_clip_model.safetensors``, an open_clip model name
            such as ``ViT-B-32``, or ``hf-hub:owner/model``.
        pretrained: Tag or ``.safetensors`` file, only with a model name. A file is preprocessed for as the model's
            published weights are; where those disagree, as most of them are.
        device: A torch device, such as ``cpu`` or ``cuda:0``.
        precision: ``fp32``, or ``bf16`` (faster on processors that know it, exact to the second decimal).
        batch_size: Pictures per forward pass.
        name: What to call it; the folder's or model's own name if left out.
        spec: What a user wrote to get this encoder (:func:`gaea.rag.encoders.load_encoder`).

    Attributes:
        weights_sha256: Of the weights file of a folder; of the tensors by name and value where there is no folder.
        preprocess_sha256: Of the resolved preprocessing: size, mean, spread, interpolation, resize mode.

    Raises:
        ModelError: The model is unknown, a file is missing or damaged, or weights and architecture do not fit.
        InputError: An unknown precision.
    """

    def __init__(
        self,
        model: str | Path,
        pretrained: str | None = None,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        batch_size: int = 64,
        name: str | None = None,
        spec: str | None = None,
    ) -> None:
        import torch

        if precision not in _PRECISIONS:
            raise InputError(f"precision {precision!r} is not one of {', '.join(_PRECISIONS)}")
        folder = _folder_of(model)
        if folder is not None:
            self._identifier = f"local-dir:{folder}"
            self._tag: str | None = None
            self.name = name or folder.name
            self.fingerprint, self.weights_sha256 = _folder_hashes(folder)
        else:
            self._identifier, self._tag = str(model), _checked_tag(str(model), pretrained)
            self.name = name or (f"{model}/{pretrained}" if pretrained else str(model))
        self.spec = spec or (str(folder) if folder else self.name)
        self.precision, self._device, self._batch_size = precision, device, batch_size
        self._tokenizer: Any = None
        with _no_root_logging():
            self._model, self._transform = self._load()
        if folder is None:
            self.fingerprint, self.weights_sha256 = _loaded_hashes(self._model)
        self.preprocess_sha256 = _sha256_of(dict(self._model.visual.preprocess_cfg))
        # Lowered only now, so that the fingerprint does not depend on the precision.
        self._model.to(device, torch.bfloat16 if precision == "bf16" else torch.float32)
        self.dim = len(self.encode([np.zeros((8, 8, 3), np.uint8)])[0])

    def encode(self, images: Sequence[Picture]) -> NDArray[np.float32]:
        """See :meth:`Encoder.encode`.

        Raises:
            InputError: An item is neither a PIL image nor an RGB uint8 array.
        """
        pictures = [_as_rgb(image, index) for index, image in enumerate(images)]
        # A batch at a time: as float32 at the encoder's size, pictures may be larger than they were.
        starts = range(0, max(1, len(pictures)), self._batch_size)
        return np.concatenate(
            [
                self.encode_preprocessed([self._transform(one) for one in pictures[start : start + self._batch_size]])
                for start in starts
            ]
        )

    def preprocess(self, image: Picture) -> Any:
        """See :meth:`TwoStepEncoder.preprocess`; a float32 tensor of shape (3, height, width)."""
        return self._transform(_as_rgb(image, 0))

    def encode_preprocessed(self, ready: Sequence[Any]) -> NDArray[np.float32]:
        """See :meth:`TwoStepEncoder.encode_preprocessed`."""
        import torch

        rows = [np.zeros((0, getattr(self, "dim", 0)), np.float32)] if not ready else []
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        for start in range(0, len(ready), self._batch_size):
            batch_NCHW = torch.stack(list(ready[start : start + self._batch_size])).to(self._device, dtype)
            with torch.inference_mode():
                rows.append(self._model.encode_image(batch_NCHW).float().cpu().numpy())
        return unit_rows(np.concatenate(rows))

    def strangeness(self, images: Sequence[Picture]) -> NDArray[np.float32]:
        """How unlike the encoder's training pictures each picture is, shape (n,); zeros where the encoder cannot tell.

        The unit is the encoder's own: compare with a threshold that was fitted for it.
        """
        import torch

        judge = getattr(getattr(self._model.visual, "trunk", None), "strangeness", None)
        if judge is None or not images:
            return np.zeros(len(images), np.float32)
        batch_NCHW = torch.stack([self._transform(_as_rgb(image, index)) for index, image in enumerate(images)])
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        judged: NDArray[np.float32] = judge(batch_NCHW.to(self._device, dtype)).float().cpu().numpy()
        return judged

    @property
    def knows_words(self) -> bool:
        """Whether the text tower has the vocabulary of everyday language, and not only that of one data set."""
        text = getattr(self._model, "text", self._model)
        sizes = [getattr(part, "vocab_size", None) for part in (text, getattr(text, "config", None))]
        return hasattr(self._model, "encode_text") and any(int(size) >= EVERYDAY_WORDS for size in sizes if size)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before the softmax that the encoder was trained with; 100 where unknown."""
        scale = getattr(self._model, "logit_scale", None)
        return float(scale.detach().exp()) if scale is not None else 100.0

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See :meth:`Encoder.encode_text`."""
        import torch

        if not hasattr(self._model, "encode_text"):
            raise ModelError(f"encoder {self.name} has no text tower: it compares pictures only")
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        rows = []
        for start in range(0, len(texts), self._batch_size):
            tokens = self._tokenizer(list(texts[start : start + self._batch_size])).to(self._device)
            with torch.inference_mode():
                rows.append(self._model.encode_text(tokens).float().cpu().numpy())
        return unit_rows(np.concatenate(rows))

    def _load(self) -> tuple[Any, Any]:
        import open_clip

        import gaea.rag.orbitpair  # noqa: F401 - registers the shipped trunks with timm

        try:
            model, transform = open_clip.create_model_from_pretrained(
                self._identifier, self._tag, **_as_published(self._identifier, self._tag)
            )
        # open_clip, torch, safetensors and the hub client raise a dozen kinds here; all mean the same to the caller.
        except Exception as error:
            raise ModelError(f"encoder {self.name} does not load: {_one_line(error)}") from error
        return model.eval(), transform

    def _load_tokenizer(self) -> Any:
        import open_clip

        try:
            with _no_root_logging():
                return open_clip.get_tokenizer(self._identifier)
        except Exception as error:
            raise ModelError(f"encoder {self.name} has no usable tokenizer: {_one_line(error)}") from error


def folder_fingerprint(folder: Path) -> str:
    """Fingerprint of a local model folder, read without loading the model.

    Raises:
        ModelError: A file is missing, or the configuration is not open_clip's.
    """
    return _folder_hashes(folder)[0]


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows scaled to unit length, shape and order kept; a row of zeros stays zero."""
    rows = np.asarray(rows, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), np.float32)


def _folder_hashes(folder: Path) -> tuple[str, str]:
    """Fingerprint, and hash of the weights file, of a local model folder."""
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise ModelError(f"{folder} holds no {file}: an encoder folder needs {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        described = {key: config[key] for key in ("model_cfg", "preprocess_cfg")}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG_FILE} is not an open_clip configuration: {_one_line(error)}") from error
    with (folder / WEIGHTS_FILE).open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    return _fingerprint(described, digest), digest


def _loaded_hashes(model: Any) -> tuple[str, str]:
    """Fingerprint, and hash of the tensors in the order of their names, of a model that has no folder of its own."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
    return _fingerprint(dict(model.visual.preprocess_cfg), digest.hexdigest()), digest.hexdigest()


def _fingerprint(described: Mapping[str, Any], weights_digest: str) -> str:
    return hashlib.sha256(f"{_canonical(described)}\n{weights_digest}".encode()).hexdigest()


def _sha256_of(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(described).encode()).hexdigest()


def _canonical(described: Mapping[str, Any]) -> str:
    return json.dumps(described, sort_keys=True, separators=(",", ":"), default=str)


def _folder_of(model: str | Path) -> Path | None:
    text = str(model).removeprefix("local-dir:")
    path = Path(text).expanduser()
    return path if path.is_dir() or isinstance(model, Path) or text != str(model) else None


def _checked_tag(model: str, pretrained: str | None) -> str | None:
    """Refuse what open_clip would answer with random weights, a pickle, or a page of model names."""
    import open_clip

    if model.startswith("hf-hub:"):
        return None
    if model not in open_clip.list_models():
        raise ModelError(f"{model!r} is neither a folder nor an open_clip model name (see open_clip.list_models())")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained is None:
        raise ModelError(f"open_clip model {model} needs pretrained weights: one of {', '.join(tags) or 'a file'}")
    if pretrained not in tags and not (pretrained.endswith(".safetensors") and Path(pretrained).is_file()):
        raise ModelError(f"{pretrained!r} is no .safetensors file and no tag of {model}: known are {', '.join(tags)}")
    return pretrained


def _as_published(model: str, tag: str | None) -> dict[str, Any]:
    """How the published weights of a named model want to be run, which open_clip tells of tags but not of files."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model) if tag else []
    published = [open_clip.get_pretrained_cfg(model, known) for known in ([tag] if tag in tags else tags)]
    if not published:
        return {}
    if tag in tags:
        return {"force_quick_gelu": published[0].get("quick_gelu", False)}
    keys = ("mean", "std", "interpolation", "resize_mode")
    common = Counter(tuple(config[key] for key in keys) for config in published).most_common(1)[0][0]
    return {f"image_{key}": value for key, value in zip(keys, common, strict=True)}


def _as_rgb(image: Picture, index: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"image {index}: expected (height, width, 3) uint8, got {array.shape} {array.dtype}")
    return Image.fromarray(array)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextlib.contextmanager
def _no_root_logging() -> Iterator[None]:
    """Keep open_clip's bare ``logging.info`` calls from setting up logging for the whole program."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
