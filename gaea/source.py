"""Bytes of a photo from wherever they come, within a limit, and what they look like.

The first bytes decide what a file is; its name does not. Naming what came instead of a photo ("a web page", "a Git LFS
pointer") is most of what a user needs to mend it.
"""

from __future__ import annotations

import base64
import binascii
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gaea.errors import InputError, PhotoError

_MAX_NAME = 80

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"%PDF", "a PDF document; export the page as PNG or JPEG"),
    (b"%!PS", "a PostScript or EPS drawing; export it as PNG or JPEG"),
    (b"\xc5\xd0\xd3\xc6", "an EPS drawing; export it as PNG or JPEG"),
    (b"8BPS", "a Photoshop document; export it as PNG or JPEG"),
    (b"BM", "a BMP picture; save it as PNG or JPEG"),
    (b"\x00\x00\x01\x00", "an icon; save it as PNG"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture; save it as PNG or JPEG"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture; save it as PNG or JPEG"),
    (b"\xff\x0a", "a JPEG XL picture; save it as PNG or JPEG"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture; save it as PNG or JPEG"),
    (b"FUJIFILM", "a camera's raw file; develop it to JPEG first"),
    (b"PK\x03\x04", "a ZIP archive or office document; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x1aE\xdf\xa3", "a video; give one frame of it as PNG or JPEG"),
    (b"RIFF", "an audio or video file; give one frame of it as PNG or JPEG"),
    (b"version https://git-lfs", "a Git LFS pointer; run 'git lfs pull' to get the file itself"),
)
_TEXT_SIGNATURES = (
    ("<!doctype html", "a web page; download the picture itself"),
    ("<html", "a web page; download the picture itself"),
    ("<?xml", "an XML document; give the picture itself"),
    ("{", "JSON text; give the picture itself"),
)


@dataclass(frozen=True)
class Limits:
    """How large a photo may be.

    Attributes:
        max_bytes: Of the file, checked before decoding.
        max_pixels: Width times height, checked at the header. The default takes today's 108-megapixel phones.
        max_aspect: Longer side over shorter side; a thin strip would be resized to something huge further on.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 120_000_000
    max_aspect: float = 100.0

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_pixels) < 1 or self.max_aspect < 1:
            raise InputError(f"{self} is not possible; every limit must be at least 1")


def read_source(source: Any, limits: Limits) -> tuple[bytes, str]:
    """Bytes and a name for messages, from bytes, a path, a ``data:`` URL or a binary file object.

    Raises:
        PhotoError: Nothing can be read there, it is empty, or it is larger than the limit.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "photo"
    elif isinstance(source, str) and source[:5].lower() == "data:":
        data, name = _read_data_url(source, limits), "data URL"
    elif isinstance(source, str | os.PathLike):
        data, name = _read_path(source, limits)
    elif hasattr(source, "read"):
        data, name = _read_stream(source, limits)
    else:
        raise PhotoError(
            f"a {type(source).__name__} is no photo; give bytes, a path, a data URL, a file or a PIL image"
        )
    if not data:
        raise PhotoError(f"{name}: the file is empty (0 bytes); check that it was copied or downloaded completely")
    if len(data) > limits.max_bytes:
        raise _too_large(name, limits)
    return data, name


def looks_like(data: bytes) -> str:
    """The name of an accepted format (``JPEG``, ``HEIF``, …), or words for what the bytes are instead."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _isobmff(data)
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    return _text_kind(data)


def printable(name: str) -> str:
    """A name fit for a one-line message: no control characters, the end kept when it is long."""
    clean = "".join(char if char.isprintable() else "?" for char in name)
    return clean if len(clean) <= _MAX_NAME else "…" + clean[-_MAX_NAME:]


def _text_kind(data: bytes) -> str:
    # The cut may split a character; four bytes is the longest one.
    text = data[:1024].decode("utf-8-sig", errors="replace")[: -4 if len(data) > 1024 else None].lower()
    odd = sum(not (char.isprintable() or char.isspace()) or char == "\ufffd" for char in text)
    if odd > len(text) / 50:
        return "nothing this program knows; check that the file is not damaged"
    if "<svg" in text:
        return "an SVG drawing; export it as PNG or JPEG"
    start = text.lstrip()
    return next((name for word, name in _TEXT_SIGNATURES if start.startswith(word)), "text; give the picture itself")


def _isobmff(data: bytes) -> str:
    # Brands: the major one first, then the compatible ones (ISO 14496-12, 4.3).
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, length, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "HEIF"
    if data[8:12] == b"crx ":
        return "a camera's raw file; develop it to JPEG first"
    return "a video; give one frame of it as PNG or JPEG"


def _read_data_url(url: str, limits: Limits) -> bytes:
    header, comma, body = url.partition(",")
    if not comma:
        raise PhotoError("data URL: there is no comma; expected data:image/jpeg;base64,… with the picture after it")
    if len(body) > 3 * limits.max_bytes:
        raise _too_large("data URL", limits)
    try:
        plain = urllib.parse.unquote_to_bytes(body)
        return base64.b64decode(b"".join(plain.split()), validate=True) if header.endswith(";base64") else plain
    except (binascii.Error, ValueError) as error:
        raise PhotoError(f"data URL: not valid base64 ({error}); encode the picture again") from error


def _read_path(source: str | os.PathLike[str], limits: Limits) -> tuple[bytes, str]:
    text = os.fspath(source)
    if text.lower().startswith(("http://", "https://", "ftp://", "s3://")):
        raise PhotoError(f"{printable(text)}: this is a web address; download the picture and give its path")
    if not text:
        raise PhotoError("the path is empty; give the path of a photo")
    path, name = Path(text), printable(Path(text).name or text)
    try:
        if path.is_dir():
            raise PhotoError(f"{printable(text)}: this is a directory; give one photo in it")
        # One byte beyond the limit tells too large from just right, also for pipes, which have no size.
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > limits.max_bytes:
                raise _too_large(name, limits)
            return file.read(limits.max_bytes + 1), name
    except PhotoError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"{printable(text)}: there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PhotoError(f"{printable(text)}: cannot be read ({reason}); check the path and its permissions") from error


def _read_stream(stream: BinaryIO, limits: Limits) -> tuple[bytes, str]:
    found = getattr(stream, "name", None)
    name = printable(Path(found).name) if isinstance(found, str) and found else "stream"
    try:
        data = stream.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:
        raise PhotoError(f"{name}: cannot be read ({error}); give an open binary file") from error
    if not isinstance(data, bytes):
        raise PhotoError(f"{name}: the file is open as text; open it with mode 'rb'")
    return data, name


def _too_large(name: str, limits: Limits) -> PhotoError:
    return PhotoError(
        f"{name}: larger than {limits.max_bytes / 2**20:,.0f} MiB; scale the photo down or save it as JPEG"
    )
