"""A photo from outside becomes one frozen value: RGB pixels, a hash, and the file's own claim kept apart.

Nothing about a file is trusted. Its size in bytes is checked before decoding and its size in pixels at the header, so
that a small file cannot ask for a large memory; only the formats named in :data:`FORMATS` are tried, so that drawings
and documents never reach an interpreter; and whatever a decoder stumbles over becomes one :class:`PhotoError`.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from gaea.errors import PhotoError
from gaea.exif import ExifClaim, read_exif
from gaea.source import Limits, looks_like, read_source

__all__ = ["FORMATS", "ExifClaim", "Limits", "Photo", "check_picture", "read_picture"]

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "TIFF", "AVIF", "GIF")
"""Formats that are opened, by Pillow's names. Of animations and page stacks the first picture is taken."""
PLAIN_DEVIATION = 1.0
"""Standard deviation, of 255 levels; pictures of land vary by two or more, and only the open sea by less."""

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

_TALKERS = r"PIL\.|pillow_heif|gaea\.(photo|exif)$"  # modules whose warnings about odd files are of no use to a caller
_handed_over = threading.Lock()  # images that a caller had opened: two threads may have been given the same one


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
            with _handed_over, _decode_guard(name or "image", "image", limits):
                return _photo(_decoded(source, name or "image", limits), name or "image", None)
        data, found_name = read_source(source, limits)
        name = name or found_name
        with _opened(data, name, limits) as image:
            return _photo(_decoded(image, name, limits), name, hashlib.sha256(data).hexdigest())

    def image(self) -> Image.Image:
        """The upright RGB picture as a new Pillow image, free of metadata."""
        return Image.fromarray(self.pixels)

    @property
    def plain(self) -> bool:
        """Whether it shows one colour and nothing else: no channel varies by :data:`PLAIN_DEVIATION`."""
        step = max(1, max(self.pixels.shape) // 512)
        return float(self.pixels[::step, ::step].std(axis=(0, 1)).max()) < PLAIN_DEVIATION


class _Globals:
    """What Pillow and Python keep for the whole process, set while any thread decodes and put back by the last one.

    Nothing here decides about a photo: sizes are checked at its header, against the caller's own limits, and threads
    with different limits decode side by side.
    """

    def __init__(self) -> None:
        self._lock, self._running = threading.Lock(), 0
        self._before: tuple[int | None, bool] = (None, False)

    def hold(self, max_pixels: int) -> None:
        """Keep warnings quiet, refuse what is cut short, and let Pillow open at least so many pixels."""
        with self._lock:
            if not self._running:
                self._before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._running += 1
            if Image.MAX_IMAGE_PIXELS is not None:
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
            # Not catch_warnings: what it puts back is a list as another thread may have left it. Each time, because
            # another thread's catch_warnings may have put a list back meanwhile.
            warnings.filterwarnings("ignore", module=_TALKERS)

    def release(self) -> None:
        """Undo :meth:`hold`, where no other thread decodes."""
        with self._lock:
            self._running -= 1
            if not self._running:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before
                filters: Any = warnings.filters
                with suppress(ValueError):
                    filters.remove(("ignore", None, Warning, re.compile(_TALKERS), 0))


_globals = _Globals()


def read_picture(data: bytes, *, limits: Limits | None = None, name: str = "photo") -> Image.Image:
    """The upright RGB picture of a file, for those who want nothing else of it: a third less work than a Photo.

    Raises:
        PhotoError: As :meth:`Photo.open`.
    """
    limits = limits or Limits()
    data, _ = read_source(data, limits)
    with _opened(data, name, limits) as image:
        return _decoded(image, name, limits).image


def check_picture(data: bytes, *, limits: Limits | None = None, name: str = "photo") -> None:
    """Read the whole of a file to see that :func:`read_picture` would, where nobody wants the picture itself.

    All of a JPEG is unpacked, but only an eighth of its width and height is made into colours: half the work or less.

    Raises:
        PhotoError: As :func:`read_picture`.
    """
    limits = limits or Limits()
    data, _ = read_source(data, limits)
    with _opened(data, name, limits) as image:
        _check_size(image, name, limits)
        image.draft(image.mode, (1, 1))
        image.load()
        _to_rgb(image, _form(image))


@contextmanager
def _opened(data: bytes, name: str, limits: Limits) -> Iterator[Image.Image]:
    """A file's header read and its kind known; its pixels are not decoded yet."""
    kind = looks_like(data)
    if kind == "HEIF":
        _register_heif(name)
    if kind not in FORMATS:
        raise PhotoError(f"{name}: {_EXPECTED}, but it looks like {kind}")
    with _decode_guard(name, f"{kind} file", limits), Image.open(io.BytesIO(data), formats=[kind]) as image:
        yield image


@contextmanager
def _decode_guard(name: str, what: str, limits: Limits) -> Iterator[None]:
    """Run a decoder quietly, and turn whatever it raises into a PhotoError."""
    _globals.hold(limits.max_pixels)
    try:
        yield
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{name}: the {what} says it is larger than {limits.max_pixels:,} pixels; scale it down first"
        ) from error
    # Decoders meet hostile bytes with exceptions of every kind; all of them mean the same to the user.
    except Exception as error:
        raise PhotoError(
            f"{name}: the {what} is damaged or cut short ({_reason(error)}); get the original again"
        ) from error
    finally:
        _globals.release()


@dataclass(frozen=True, eq=False)
class _Decoded:
    image: Image.Image  # upright, RGB
    form: str
    original_size: tuple[int, int]
    exif: ExifClaim | None


def _decoded(image: Image.Image, name: str, limits: Limits) -> _Decoded:
    size = _check_size(image, name, limits)
    image.load()
    claim, orientation = read_exif(image)
    turn = _TRANSPOSE.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    form = _form(image)
    return _Decoded(_to_rgb(upright, form), form or "PIL", size, claim)


def _check_size(image: Image.Image, name: str, limits: Limits) -> tuple[int, int]:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise PhotoError(
            f"{name}: {width:,} × {height:,} pixels; expected at most {limits.max_pixels:,} in all: scale it down first"
        )
    if min(width, height) < 1 or max(width, height) > limits.max_aspect * min(width, height):
        raise PhotoError(
            f"{name}: {width:,} × {height:,} pixels is a strip; expected sides within 1:{limits.max_aspect:g}: crop it"
        )
    return width, height


def _form(image: Image.Image) -> str | None:
    return "JPEG" if image.format == "MPO" else image.format


def _photo(decoded: _Decoded, name: str, sha256: str | None) -> Photo:
    # A copy of the bytes inside Pillow: read-only for good, because bytes are.
    pixels = np.asarray(decoded.image)
    pixels.setflags(write=False)
    sha256 = sha256 or hashlib.sha256(pixels.tobytes()).hexdigest()
    return Photo(pixels, sha256, decoded.form, decoded.original_size, name, decoded.exif)


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
