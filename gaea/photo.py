"""A photo from outside becomes one frozen value: RGB pixels, a hash, and the file's own claim kept apart.

Nothing about a file is trusted. Its size in bytes is checked before decoding and its size in pixels at the header, so
that a small file cannot ask for a large memory; only the formats named in :data:`FORMATS` are tried, so that drawings
and documents never reach an interpreter; and whatever a decoder stumbles over becomes one :class:`PhotoError`.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from gaea.errors import PhotoError
from gaea.exif import ExifClaim, read_exif
from gaea.source import Limits, looks_like, read_source

__all__ = ["FORMATS", "ExifClaim", "Limits", "Photo"]

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "TIFF", "AVIF", "GIF")
"""Formats that are opened, by Pillow's names. Of animations and page stacks the first picture is taken."""

_EXPECTED = "expected a photo (JPEG, PNG, WebP, HEIC, TIFF, AVIF or GIF)"

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow keeps its limits, and Python its warning filters, in module globals: one decode at a time may set them.
_decoding = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """One decoded photo. Two photos are equal when their bytes and names are.

    Attributes:
        pixels: uint8, shape (H, W, 3), RGB, upright, read-only; transparency lies on white.
        sha256: Of the original bytes; of mode, size and pixels where an already decoded image was given.
        format: JPEG, PNG, WEBP, HEIF, TIFF, AVIF or GIF; PIL for an image without a file behind it.
        original_size: (width, height) in the file, before orientation is applied.
        name: For messages; a file name, or what kind of source it was. Untrusted.
        exif: What the file claims about itself; never part of what a model sees.
    """

    pixels: np.ndarray = field(repr=False, compare=False)
    sha256: str
    format: str
    original_size: tuple[int, int]
    name: str
    exif: ExifClaim | None = field(default=None, compare=False)

    @classmethod
    def open(
        cls,
        source: bytes | bytearray | str | Path | BinaryIO | Image.Image,
        *,
        limits: Limits | None = None,
        name: str | None = None,
    ) -> Photo:
        """Read a photo.

        Args:
            source: Bytes, a path, a ``data:`` URL, a binary file object or a Pillow image.
            limits: How large a photo may be.
            name: What to call it in messages instead of the file name.

        Raises:
            PhotoError: It cannot be read or is no photo; the one-line message says what came and what to do.
        """
        limits = limits or Limits()
        if isinstance(source, Image.Image):
            with _one_decode(name or "image", "image", limits):
                return _decode_opened(source, name or "image", limits, None)
        data, found_name = read_source(source, limits)
        name = name or found_name
        kind = looks_like(data)
        if kind == "HEIF":
            _register_heif(name)
        if kind not in FORMATS:
            raise PhotoError(f"{name}: {_EXPECTED}, but it looks like {kind}")
        with _one_decode(name, f"{kind} file", limits), Image.open(io.BytesIO(data), formats=[kind]) as image:
            return _decode_opened(image, name, limits, hashlib.sha256(data).hexdigest())

    def image(self) -> Image.Image:
        """The upright RGB picture as a new Pillow image, free of metadata."""
        return Image.fromarray(self.pixels)


@contextmanager
def _one_decode(name: str, what: str, limits: Limits) -> Iterator[None]:
    """Run a decoder under the given limits, quietly, and turn whatever it raises into a PhotoError."""
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits.max_pixels, False
        try:
            yield
        except PhotoError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise PhotoError(
                f"{name}: the {what} says it is larger than {limits.max_pixels:,} pixels; scale it down first"
            ) from error
        # Decoders meet hostile bytes with exceptions of every kind; all of them mean the same to the user.
        except Exception as error:
            raise PhotoError(
                f"{name}: the {what} is damaged or cut short ({_reason(error)}); get the original again"
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decode_opened(image: Image.Image, name: str, limits: Limits, sha256: str | None) -> Photo:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise PhotoError(
            f"{name}: {width:,} × {height:,} pixels; expected at most {limits.max_pixels:,} in all: scale it down first"
        )
    if min(width, height) < 1 or max(width, height) > limits.max_aspect * min(width, height):
        raise PhotoError(
            f"{name}: {width:,} × {height:,} pixels is a strip; expected sides within 1:{limits.max_aspect:g}: crop it"
        )
    image.load()
    claim, orientation = read_exif(image)
    turn = _TRANSPOSE.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    # A copy of the bytes inside Pillow: read-only for good, because bytes are.
    form = "JPEG" if image.format == "MPO" else image.format
    pixels = np.asarray(_to_rgb(upright, form))
    pixels.setflags(write=False)
    return Photo(
        pixels=pixels,
        sha256=sha256 or hashlib.sha256(pixels.tobytes()).hexdigest(),
        format=form or "PIL",
        original_size=(width, height),
        name=name,
        exif=claim,
    )


def _to_rgb(image: Image.Image, form: str | None) -> Image.Image:
    """Any mode as 8-bit RGB: transparency on white, deep greys scaled by their range, inks inverted where needed."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(image)
    if image.mode == "CMYK" and form == "JPEG" and "adobe" not in image.info:
        # Adobe stores inks inverted and says so; Pillow assumes that of every CMYK JPEG.
        return ImageChops.invert(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    grey_HW = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)
    peak = float(grey_HW.max())
    # Sixteen bits are sixteen bits even in a dark picture; whole and real numbers say nothing about their own white.
    levels = {"F": (1.0, 255.0, 65535.0), "I": (255.0, 65535.0)}.get(image.mode, (65535.0,))
    white = next((level for level in levels if peak <= level), peak)
    return Image.fromarray((grey_HW * (255.0 / white)).round().astype(np.uint8)).convert("RGB")


def _register_heif(name: str) -> None:
    # libheif is loaded only once a HEIC file comes along.
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotoError(f"{name}: reading HEIC needs the package pillow-heif; run: pip install pillow-heif") from error
    pillow_heif.register_heif_opener()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header makes no sense"
    words = " ".join(str(error).split())
    return words[:120] or type(error).__name__
