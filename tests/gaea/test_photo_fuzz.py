"""Images mutated by the thousand: each is a Photo or a PhotoError, quickly, quietly and in little memory."""

from __future__ import annotations

import io
import resource
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, features
from PIL.ExifTags import GPS, IFD, Base

from gaea.errors import PhotoError
from gaea.photo import Limits, Photo, check_picture, read_picture

ROUNDS = 2_000
SECONDS = 40.0
GROWTH_MIB = 300
LIMITS = Limits(max_pixels=4_000_000)


def seeds() -> dict[str, bytes]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    exif[Base.Orientation] = 6
    exif.get_ifd(IFD.GPSInfo).update(
        {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: (48.0, 51.0, 30.0),
            GPS.GPSLongitudeRef: "E",
            GPS.GPSLongitude: (2.0, 17.0, 40.0),
        }
    )
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = "2021:07:01 12:00:00"
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    forms: list[tuple[str, str, Image.Image, dict[str, object]]] = [
        ("jpeg", "JPEG", noise, {"exif": exif}),
        ("jpeg progressive", "JPEG", noise, {"progressive": True}),
        ("jpeg cmyk", "JPEG", noise.convert("CMYK"), {}),
        ("png", "PNG", noise, {"exif": exif}),
        ("png palette", "PNG", noise.convert("P"), {"transparency": 3}),
        ("webp", "WEBP", noise, {"exif": exif}),
        ("webp animated", "WEBP", noise, {"save_all": True, "append_images": [noise.rotate(180)]}),
        ("gif animated", "GIF", noise, {"save_all": True, "append_images": [noise.rotate(180)]}),
        ("tiff", "TIFF", noise, {"exif": exif}),
        ("tiff deflate", "TIFF", noise, {"compression": "tiff_deflate"}),
        ("heic", "HEIF", noise, {"exif": exif.tobytes()}),
    ]
    if features.check("avif"):
        forms.append(("avif", "AVIF", noise, {"exif": exif.tobytes()}))
    found = {}
    for name, form, image, options in forms:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found[name] = buffer.getvalue()
    return found


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, len(data), rng.integers(1, 9)):
        data[at] ^= 1 << int(rng.integers(8))


def rewrite_header(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, min(96, len(data)), rng.integers(1, 5)):
        data[at] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))


def lie_about_a_length(data: bytearray, rng: np.random.Generator) -> None:
    # Wherever it lands, a 16 or 32-bit number becomes an extreme one: chunk lengths, sizes, offsets, counts.
    form = str(rng.choice(["<I", ">I", "<H", ">H"]))
    top = 2 ** (8 * struct.calcsize(form)) - 1
    at = int(rng.integers(0, len(data) - 4))
    struct.pack_into(form, data, at, int(rng.choice([0, 1, top // 2, top // 2 + 1, top - 1, top])))


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(0, len(data))) :]


def splice(data: bytearray, rng: np.random.Generator) -> None:
    start, stop = sorted(int(at) for at in rng.integers(0, len(data), 2))
    at = int(rng.integers(0, len(data)))
    data[at:at] = data[start:stop] if rng.random() < 0.5 else rng.bytes(stop - start)


def reseal_png(data: bytearray) -> None:
    # Right checksums let the damage through to the chunk parsers.
    at = 8
    while at + 12 <= len(data) and data.startswith(b"\x89PNG"):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        struct.pack_into(">I", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    flip_bits,
    rewrite_header,
    lie_about_a_length,
    cut,
    splice,
)


def verdict(look: Callable[..., object], data: bytes) -> str:
    try:
        look(data, limits=LIMITS)
    except PhotoError as error:
        return str(error)
    return "a picture"


def test_a_check_says_of_every_mutant_what_reading_it_says() -> None:
    rng, found = np.random.default_rng(29), Counter[str]()
    for name, data in seeds().items():
        for round_ in range(200):
            mutant = bytearray(data)
            MUTATIONS[int(rng.integers(len(MUTATIONS)))](mutant, rng)
            read = verdict(read_picture, bytes(mutant))
            assert verdict(check_picture, bytes(mutant)) == read, (name, round_)
            found["a picture" if read == "a picture" else "refused"] += 1
    assert min(found["a picture"], found["refused"]) > 300


@pytest.mark.skipif(sys.platform == "win32", reason="the memory check needs the resource module")
def test_every_mutant_is_a_photo_or_a_photo_error() -> None:
    rng = np.random.default_rng(20_240_229)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for data in seeds().values():
        Photo.open(data, limits=LIMITS)
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        for name, data in seeds().items():
            for round_ in range(ROUNDS):
                mutant = bytearray(data)
                for _ in range(int(rng.integers(1, 4))):
                    if len(mutant) > 8:
                        MUTATIONS[int(rng.integers(len(MUTATIONS)))](mutant, rng)
                if rng.random() < 0.7:
                    reseal_png(mutant)
                before = time.monotonic()
                try:
                    photo = Photo.open(bytes(mutant), limits=LIMITS)
                except PhotoError as error:
                    outcomes["refused"] += 1
                    message = str(error)
                    assert message, (name, round_)
                    assert message.isprintable(), (name, round_, message)
                else:
                    outcomes["photo"] += 1
                    assert photo.pixels.dtype == np.uint8
                    assert photo.pixels.ndim == 3
                    assert photo.pixels.size <= 3 * LIMITS.max_pixels
                slowest = max(slowest, time.monotonic() - before)
    seconds = time.monotonic() - started
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before) / unit
    assert leaked == []
    assert min(outcomes["photo"], outcomes["refused"]) > 500, (
        "the mutations are too weak or too strong to tell anything"
    )
    assert growth_mib < GROWTH_MIB
    assert slowest < 5
    assert seconds < SECONDS
