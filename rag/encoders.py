"""Encoders by what a user writes, and what an index remembers of the one that built it.

====================================  ==========================================================================
``nano``                              the model that ships with this package
``path/to/folder``                    ``open_clip_config.json`` beside ``open_clip_model.safetensors``
``ViT-B-32/laion2b_s34b_b79k``        an open_clip model and a tag of its published weights
``ViT-B-32@path/weights.safetensors`` an open_clip model with weights of one's own
``hf-hub:owner/model``                a repository of a model hub in the folder's layout
====================================  ==========================================================================

Weights are safetensors. Where a hub offers nothing but pickles, the encoder is refused before anything is fetched.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gaea.errors import ModelError
from gaea.rag.encoder import CONFIG_FILE, WEIGHTS_FILE, Encoder, OpenClipEncoder

NANO = "nano"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz", ".npy")
_HUB_FILES = (CONFIG_FILE, WEIGHTS_FILE, "tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt")


@dataclass(frozen=True)
class EncoderIdentity:
    """What an index records of its encoder, and compares when it is opened.

    Attributes:
        name: What messages call it.
        spec: What :func:`load_encoder` takes to load it again.
        fingerprint: Of weights, architecture and preprocessing together.
        weights_sha256: Of the weights alone.
        preprocess_sha256: Of the preprocessing alone.
        dim: Length of an embedding.
        precision: ``fp32`` or ``bf16``; recorded, and no reason to refuse.
    """

    name: str
    spec: str
    fingerprint: str
    weights_sha256: str
    preprocess_sha256: str
    dim: int
    precision: str = "fp32"

    @classmethod
    def of(cls, encoder: Encoder) -> EncoderIdentity:
        """The identity of a loaded encoder; an encoder of another kind may leave all but the protocol empty."""
        return cls(
            encoder.name,
            getattr(encoder, "spec", encoder.name),
            encoder.fingerprint,
            getattr(encoder, "weights_sha256", ""),
            getattr(encoder, "preprocess_sha256", ""),
            encoder.dim,
            getattr(encoder, "precision", "fp32"),
        )

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> EncoderIdentity:
        """Read :meth:`to_json`; keys of a later version are left aside.

        Raises:
            ModelError: A field is missing.
        """
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{key: value for key, value in described.items() if key in known})
        except TypeError as error:
            raise ModelError(f"the record of an encoder is incomplete: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        return asdict(self)

    def same_space(self, other: EncoderIdentity) -> bool:
        """Whether vectors of both can be compared."""
        return (self.fingerprint, self.dim) == (other.fingerprint, other.dim)

    def differences(self, other: EncoderIdentity) -> tuple[str, ...]:
        """In words, what makes the vectors of two encoders incomparable; empty where they can be compared."""
        if self.same_space(other):
            return ()
        told = [
            f"{what} ({ours[:12]} and {theirs[:12]})"
            for what, ours, theirs in (
                ("weights", self.weights_sha256, other.weights_sha256),
                ("preprocessing", self.preprocess_sha256, other.preprocess_sha256),
            )
            if ours and theirs and ours != theirs
        ]
        if self.dim != other.dim:
            told.append(f"length of an embedding ({self.dim} and {other.dim})")
        return tuple(told) or ("architecture",)


def load_encoder(
    spec: str | Path,
    *,
    device: str = "cpu",
    precision: str | None = None,
    batch_size: int = 64,
    nano: Path | None = None,
) -> OpenClipEncoder:
    """Load the encoder that a spec names (the table above).

    Args:
        spec: What the user wrote.
        device: A torch device.
        precision: ``fp32`` (also if left out), ``bf16``, or ``auto`` for :func:`fastest_precision`.
        batch_size: Pictures per forward pass.
        nano: Where the shipped encoder lies, if not in this package.

    Raises:
        ModelError: The spec names nothing that can be loaded, weights are pickled, or the hub does not answer.
        InputError: An unknown precision.
    """
    text = str(spec)
    options: dict[str, Any] = {
        "device": device,
        "precision": fastest_precision(device) if precision == "auto" else precision or "fp32",
        "batch_size": batch_size,
        "spec": text,
    }
    if text == NANO and not isinstance(spec, Path):
        return OpenClipEncoder(nano or _shipped_nano(), name=NANO, **options)
    if isinstance(spec, Path) or _names_a_folder(text):
        return OpenClipEncoder(Path(text.removeprefix("local-dir:")).expanduser(), **options)
    if text.startswith("hf-hub:"):
        return OpenClipEncoder(_from_hub(text.removeprefix("hf-hub:")), name=text.removeprefix("hf-hub:"), **options)
    model, at, file = text.partition("@")
    if at:
        return OpenClipEncoder(model, str(_safetensors(file, text)), name=text, **options)
    model, slash, tag = text.partition("/")
    if slash:
        _require_safetensors_of(model, tag)
    return OpenClipEncoder(model, tag or None, **options)


def fastest_precision(device: str = "cpu") -> str:
    """``bf16`` where the device computes in it natively, else ``fp32``.

    A processor with AVX512-BF16 or AMX is about three times as fast in bf16; one without emulates it, slowly.
    """
    import torch

    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "fp32"
    if device != "cpu":
        return "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def _shipped_nano() -> Path:
    return Path(str(importlib.resources.files("gaea") / "nano" / "clip"))


def _names_a_folder(text: str) -> bool:
    return text.startswith(("local-dir:", "/", "./", "../", "~")) or Path(text).is_dir()


def _safetensors(file: str, spec: str) -> Path:
    path = Path(file).expanduser()
    if path.suffix in _PICKLES:
        raise ModelError(f"{spec}: {path.name} may be a pickle, which can run code; convert the weights to safetensors")
    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(f"{spec}: there is no .safetensors file at {path}; expected MODEL@FILE.safetensors")
    return path


def _from_hub(repository: str) -> Path:
    """The folder that a hub repository becomes, fetched or found in the hub's own cache; pickles stay there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(_HUB_FILES)))
    # The hub client raises a dozen kinds; all mean that the model cannot be had now.
    except Exception as error:
        raise ModelError(f"hf-hub:{repository} cannot be fetched: {_reason(error)}; give a local folder") from error


def _require_safetensors_of(model: str, tag: str) -> None:
    """Fetch the safetensors of a tag, so that open_clip finds them cached and never falls back to a pickle."""
    import open_clip
    from huggingface_hub import hf_hub_download

    published = open_clip.get_pretrained_cfg(model, tag)
    if not published:
        return  # OpenClipEncoder names the known models and tags
    repository, _, file = published.get("hf_hub", "").rpartition("/")
    file = str(Path(file).with_suffix(".safetensors")) if file else WEIGHTS_FILE
    try:
        hf_hub_download(repository, file)
    except Exception as error:
        raise ModelError(
            f"{model}/{tag} has no safetensors within reach ({_reason(error)}); "
            f"give a local file: {model}@weights.safetensors"
        ) from error


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
