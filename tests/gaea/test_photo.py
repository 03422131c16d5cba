"""A photo from anywhere becomes the same frozen value, or one clear line."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from gaea import photo
from gaea.errors import InputError, PhotoError
from gaea.photo import ExifClaim, Limits, Photo

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[3] / "shared" / "data"))
SAMPLES = DATA / "photos" / "exif_gps_samples"


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Four corners of different colours, so that every turn and flip shows."""
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    half_h, half_w = height // 2, width // 2
    pixels[:half_h, :half_w] = (230, 20, 20)
    pixels[:half_h, half_w:] = (20, 220, 20)
    pixels[half_h:, :half_w] = (20, 20, 230)
    return Image.fromarray(pixels)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    if form == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def near(photo: Photo, expected: Image.Image, tolerance: float = 12) -> bool:
    wanted = np.asarray(expected.convert("RGB"), dtype=float)
    return photo.pixels.shape == wanted.shape and float(np.abs(photo.pixels - wanted).mean()) < tolerance


def exif_with_gps(lat: Any, lon: Any, refs: tuple[Any, Any] = ("N", "E"), **more: Any) -> bytes:
    exif = Image.Exif()
    named = {GPS.GPSLatitude: lat, GPS.GPSLongitude: lon, GPS.GPSLatitudeRef: refs[0], GPS.GPSLongitudeRef: refs[1]}
    gps = {tag: value for tag, value in named.items() if value is not None} | more.get("gps", {})
    exif.get_ifd(IFD.GPSInfo).update(gps)
    exif.get_ifd(IFD.Exif).update(more.get("detail", {}))
    for tag, value in more.get("main", {}).items():
        exif[tag] = value
    return exif.tobytes()


def claim_of(exif: bytes) -> ExifClaim | None:
    return Photo.open(encode(scene(), "JPEG", exif=exif)).exif


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF", "AVIF", "GIF"])
def test_every_format_decodes(form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow wheel has no AVIF")
    data = encode(scene(64, 48), form)
    photo = Photo.open(data)
    assert photo.format == form
    assert photo.original_size == (64, 48)
    assert photo.sha256 == hashlib.sha256(data).hexdigest()
    assert near(photo, scene(64, 48), 25)


def test_all_sources_give_the_same_photo(tmp_path: Path) -> None:
    data = encode(scene(), "PNG")
    path = tmp_path / "scène.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    with path.open("rb") as file:
        photos = [
            Photo.open(source) for source in (data, bytearray(data), path, str(path), url, io.BytesIO(data), file)
        ]
    assert {photo.sha256 for photo in photos} == {hashlib.sha256(data).hexdigest()}
    assert all(np.array_equal(photo.pixels, np.asarray(scene())) for photo in photos)
    assert photos[2].name == photos[6].name == "scène.png"


def test_pillow_image_as_source() -> None:
    photo = Photo.open(scene())
    assert photo.format == "PIL"
    assert np.array_equal(photo.pixels, np.asarray(scene()))
    assert photo.sha256 == Photo.open(scene()).sha256
    assert photo.sha256 != Photo.open(scene(50, 32)).sha256


def test_photo_is_frozen_for_good() -> None:
    photo = Photo.open(encode(scene(), "PNG"))
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        photo.pixels.setflags(write=True)
    with pytest.raises(AttributeError):
        photo.name = "other"  # type: ignore[misc]
    assert photo == Photo.open(encode(scene(), "PNG"))
    assert len({photo, Photo.open(encode(scene(), "PNG"))}) == 1


def test_image_has_the_pixels_and_no_metadata() -> None:
    exif = exif_with_gps((48.0, 51.0, 30.0), (2.0, 17.0, 40.0))
    photo = Photo.open(encode(scene(), "JPEG", exif=exif))
    assert photo.exif is not None
    image = photo.image()
    assert image.mode == "RGB"
    assert not image.getexif()
    assert not image.info
    assert b"Exif" not in encode(image, "JPEG")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_all_eight_orientations_come_out_upright(orientation: int, form: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene() if orientation == 1 else scene().transpose(undo[orientation])
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    photo = Photo.open(encode(stored, form, exif=exif.tobytes()))
    assert near(photo, scene(), 25)
    assert photo.exif is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16"])
def test_modes_without_alpha(mode: str) -> None:
    grey = Image.linear_gradient("L").resize((40, 40))
    if mode == "I;16":
        source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        assert source.mode == "I;16"
    else:
        source = grey.convert("RGB").convert(mode)
    expected = source if mode in ("1", "P") else grey
    form = "JPEG" if mode == "YCbCr" else "TIFF"
    assert near(Photo.open(encode(source, form)), expected, 3)


@pytest.mark.parametrize(("dtype", "top"), [(np.int32, 65535), (np.int32, 255), (np.float32, 1.0), (np.float32, 9e8)])
def test_deep_greys_are_scaled_by_their_range(dtype: Any, top: float) -> None:
    grey = Image.linear_gradient("L").resize((40, 40))
    values = (np.asarray(grey) / 255 * top).astype(dtype)
    values[0, 0] = top
    if dtype is np.float32:
        values[0, 1] = np.nan
    assert near(Photo.open(encode(Image.fromarray(values), "TIFF")), grey, 3)


def test_sixteen_bit_png_keeps_its_brightness() -> None:
    dark = np.full((8, 8), 65535 // 4, dtype=np.uint16)
    assert abs(int(Photo.open(encode(Image.fromarray(dark), "PNG")).pixels.mean()) - 64) <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 10), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 10))
    source = image.convert(mode)
    photo = Photo.open(source if mode == "PA" else encode(source, "PNG"))
    assert (photo.pixels[:, :10] >= 250).all()
    assert photo.pixels[:, 10:, 1].max() < 80


def test_colour_key_transparency_lies_on_white() -> None:
    data = encode(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (Photo.open(data).pixels == 255).all()


def test_cmyk_jpeg_with_and_without_adobe_marker() -> None:
    data = encode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)
    assert near(Photo.open(data), Image.new("RGB", (16, 16), (0, 255, 255)), 6)
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack(">H", data[start + 2 : start + 4])
    plain = data[:start] + data[start + 2 + length :]
    # Without the marker the same samples mean the opposite amounts of ink.
    assert near(Photo.open(plain), Image.new("RGB", (16, 16), (0, 0, 0)), 6)


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encode(frames[0], form, save_all=True, append_images=frames[1:])
        assert near(Photo.open(data), frames[0], 6), form


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (12_000, 11_000), (15_000, 9_000), (65_000, 40)])
def test_large_header_is_refused_without_allocation(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PhotoError, match=r"scale it down|crop it"):
            Photo.open(png_header(*size))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_limits_are_the_callers() -> None:
    data = encode(scene(), "PNG")
    before = Image.MAX_IMAGE_PIXELS
    Photo.open(data, limits=Limits(max_pixels=48 * 32))
    with pytest.raises(PhotoError, match="scale it down"):
        Photo.open(data, limits=Limits(max_pixels=48 * 32 - 1))
    with pytest.raises(PhotoError, match="larger than"):
        Photo.open(data, limits=Limits(max_bytes=len(data) - 1))
    with pytest.raises(PhotoError, match="scale it down"):
        Photo.open(scene(), limits=Limits(max_pixels=10))
    with pytest.raises(InputError):
        Limits(max_bytes=0)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_truncated_file_is_refused(form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, form)
    with pytest.raises(PhotoError, match="damaged or cut short"):
        Photo.open(data[: len(data) // 2])


def test_pixels_cut_from_a_file_with_trailing_pictures() -> None:
    # Phones append gain maps and previews to a JPEG (MPO); the first picture is the photo.
    data = encode(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    photo = Photo.open(data)
    assert photo.format == "JPEG"
    assert near(photo, scene())


def test_threads_decode_side_by_side_and_leave_no_trace() -> None:
    good, bad = encode(scene(), "JPEG"), png_header(50_000, 50_000)
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)

    def work(index: int) -> bool:
        if index % 2:
            return near(Photo.open(good), scene())
        with pytest.raises(PhotoError):
            Photo.open(bad)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_two_threads_are_inside_their_decoders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, read_exif = threading.Barrier(2), photo.read_exif

    def met(image: Image.Image) -> Any:
        meeting.wait(timeout=60)  # a lock around decoding would break the barrier
        return read_exif(image)

    monkeypatch.setattr(photo, "read_exif", met)
    data = encode(scene(), "JPEG")
    with ThreadPoolExecutor(2) as pool:
        assert all(near(found, scene()) for found in pool.map(Photo.open, [data, data]))


def test_threads_with_limits_of_their_own() -> None:
    data = encode(scene(), "PNG")
    before = Image.MAX_IMAGE_PIXELS
    few, many = Limits(max_pixels=10), Limits(max_pixels=10**9)

    def work(limits: Limits) -> bool:
        try:
            return near(Photo.open(data, limits=limits), scene())
        except PhotoError as error:
            return "at most 10 in all" not in str(error)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, [few, many] * 50)) == [False, True] * 50
    assert before == Image.MAX_IMAGE_PIXELS


def test_warnings_of_decoders_are_quiet_and_those_of_others_are_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with photo._decode_guard("x", "file", Limits()):
            with pytest.raises(UserWarning, match="mine"):
                warnings.warn("mine", stacklevel=1)
            warnings.warn_explicit("theirs", UserWarning, "ImageFile.py", 1, module="PIL.ImageFile")
        assert list(warnings.filters) == before


def test_a_picture_alone_is_that_of_the_photo() -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        data = encode(scene(), form)
        assert np.array_equal(np.asarray(photo.read_picture(data)), Photo.open(data).pixels)
    with pytest.raises(PhotoError, match=r"cut: .* web page"):
        photo.read_picture(b"<!doctype html>", name="cut")
    with pytest.raises(PhotoError, match="larger than"):
        photo.read_picture(data, limits=Limits(max_bytes=10))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "web page"),
        (b"Dear reader, this is no photo.\n", "text"),
        ("Grüße aus dem Süden".encode() * 100, "text"),
        (b'{"error": "not found"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"BM" + bytes(60), "BMP"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(40), "video"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (bytes(100), "not damaged"),
        (bytes(range(128, 256)), "not damaged"),
        (b"\xff\xd8\xff", "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(12), "damaged or cut short"),
    ],
)
def test_what_is_no_photo_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=words) as caught:
        Photo.open(path)
    assert str(caught.value).startswith("holiday.jpg: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("no/such/photo.jpg", "no such file"),
        ("", "path is empty"),
        ("https://example.org/a.jpg", "web address"),
        ("a\0b.jpg", "cannot be read"),
        ("bad\nname\x1b[31m.jpg", "bad.name"),
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,@@@", "base64"),
        ("data:,hello", "text"),
        (42, "int"),
        (None, "NoneType"),
        (io.StringIO("x"), "mode 'rb'"),
    ],
)
def test_unusable_source_is_one_line(source: Any, words: str) -> None:
    with pytest.raises(PhotoError, match=words) as caught:
        Photo.open(source)
    assert all(char.isprintable() for char in str(caught.value))


def test_directory_and_closed_file(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="directory"):
        Photo.open(tmp_path)
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(PhotoError, match="closed"):
        Photo.open(closed)


def test_endless_file_stops_at_the_limit() -> None:
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(PhotoError, match="larger than"):
        Photo.open(endless, limits=Limits(max_bytes=1000))


def test_claim_is_read() -> None:
    claim = claim_of(
        exif_with_gps(
            (33.0, 51.0, 30.0),
            (151.0, 12.0, 36.0),
            ("S", "E"),
            main={Base.Make: "Canon\0", Base.Model: "Canon EOS 600D"},
            detail={Base.DateTimeOriginal: "2021:07:01 12:30:00", Base.OffsetTimeOriginal: "+10:00"},
        )
    )
    assert claim is not None
    assert (claim.lat, claim.lon) == pytest.approx((-33.858333, 151.21), abs=1e-5)
    assert claim.taken == datetime(2021, 7, 1, 12, 30, tzinfo=timezone(timedelta(hours=10)))
    assert claim.camera == "Canon EOS 600D"
    assert claim.problems == ()


@pytest.mark.parametrize(
    ("lat", "lon", "refs", "problem"),
    [
        ((IFDRational(1, 0), 0.0, 0.0), (1.0, 0.0, 0.0), ("N", "E"), "zero denominator"),
        ((91.0, 0.0, 0.0), (1.0, 0.0, 0.0), ("N", "E"), "out of range"),
        ((45.0, 75.0, 0.0), (1.0, 0.0, 0.0), ("N", "E"), "out of range"),
        ((45.0, 0.0, 0.0), (181.0, 0.0, 0.0), ("N", "W"), "out of range"),
        ((45.0, 0.0, 0.0), (1.0, 0.0, 0.0), (None, "E"), "sign is not known"),
        ((45.0, 0.0, 0.0), (1.0, 0.0, 0.0), ("Q", "E"), "sign is not known"),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), ("N", "E"), "exactly 0, 0"),
    ],
)
def test_odd_gps_is_no_position_but_a_problem(lat: Any, lon: Any, refs: Any, problem: str) -> None:
    claim = claim_of(exif_with_gps(lat, lon, refs))
    assert claim is not None
    assert claim.lat is None
    assert claim.lon is None
    assert any(problem in line for line in claim.problems)


def test_half_a_position_and_a_lost_fix() -> None:
    claim = claim_of(
        exif_with_gps((45.0, 0.0, 0.0), (1.0, 0.0, 0.0), gps={GPS.GPSStatus: "V", GPS.GPSMapDatum: "TOKYO"})
    )
    assert claim is not None
    assert (claim.lat, claim.lon) == (45.0, 1.0)
    assert len(claim.problems) == 2
    exif = Image.Exif()
    exif.get_ifd(IFD.GPSInfo).update({GPS.GPSLatitude: (45.0, 0.0, 0.0), GPS.GPSLatitudeRef: "N"})
    half = claim_of(exif.tobytes())
    assert half is not None
    assert half.lat is None
    assert "longitude is not a number" in half.problems


@pytest.mark.parametrize(
    ("written", "problems"),
    [("2021:13:45 99:00:00", 1), ("yesterday", 1), ("0000:00:00 00:00:00", 0), ("    :  :  ", 0)],
)
def test_odd_time(written: str, problems: int) -> None:
    claim = claim_of(exif_with_gps((1.0,), (1.0,), detail={Base.DateTimeOriginal: written}))
    assert claim is not None
    assert claim.taken is None
    assert len(claim.problems) == problems


def test_odd_orientation_and_hostile_text() -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 99
    exif[Base.Make] = "a\x1b[2Jb\n" + "x" * 500
    photo = Photo.open(encode(scene(), "JPEG", exif=exif.tobytes()))
    assert near(photo, scene())
    assert photo.exif is not None
    assert photo.exif.problems == ("orientation is 99, expected 1 to 8; the picture is left as it is",)
    assert photo.exif.make is not None
    assert photo.exif.make.isprintable()
    assert len(photo.exif.make) <= 80


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("block", [b"", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff", b"garbage"])
def test_broken_exif_never_stops_a_photo(form: str, block: bytes) -> None:
    assert near(Photo.open(encode(scene(), form, exif=b"Exif\0\0" + block)), scene(), 25)


def test_unreadable_exif_is_a_problem_and_no_claim() -> None:
    claim = Photo.open(encode(scene(), "WEBP", exif=b"Exif\0\0garbage")).exif
    assert claim == ExifClaim(problems=("EXIF cannot be read (SyntaxError)",))


def test_photo_without_metadata_claims_nothing() -> None:
    assert Photo.open(encode(scene(), "JPEG")).exif is None


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs photos/exif_gps_samples under GAEA_DATA")
def test_real_files_agree_with_their_published_positions() -> None:
    truth: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with (SAMPLES / "metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            truth[row["file_name"]].append((float(row["latitude"]), float(row["longitude"])))
    assert len(truth) >= 57
    for name, positions in truth.items():
        photo = Photo.open(SAMPLES / name)
        assert photo.exif is not None, name
        assert photo.exif.lat is not None, (name, photo.exif.problems)
        assert photo.exif.lon is not None, name
        # Three names occur twice in the table, with the file of one of the two rows.
        found = (photo.exif.lat, photo.exif.lon)
        assert any(found == pytest.approx(position, abs=2e-6) for position in positions), name


@pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="needs photos under GAEA_DATA")
@pytest.mark.parametrize("folder", ["travel_photos", "astronaut_photos", "global_streetscapes_sample"])
def test_real_photos_open(folder: str) -> None:
    paths = [
        path
        for path in sorted((DATA / "photos" / folder).rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    assert paths
    for path in paths[:40]:
        assert Photo.open(path).pixels.std() > 1


@pytest.mark.parametrize(
    ("colour", "size"), [((128, 128, 128), (300, 200)), ((200, 170, 120), (3000, 600)), (0, (1, 1))]
)
def test_one_colour_and_nothing_else_is_plain(colour, size):
    flat = Image.new("RGB", size, colour)
    assert Photo.open(flat).plain
    packed = io.BytesIO()
    flat.save(packed, "JPEG", quality=40)
    assert Photo.open(packed.getvalue()).plain


def test_what_shows_anything_is_not_plain():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(125, 131, (200, 200, 3), dtype=np.uint8))
    same_grey = Image.new("RGB", (200, 200), (120, 80, 60))  # two colours of one brightness
    same_grey.paste((60, 113, 49), (0, 0, 100, 200))
    line = Image.new("RGB", (200, 200))
    line.paste((255, 255, 255), (0, 90, 200, 92))
    assert not any(Photo.open(image).plain for image in (noise, same_grey, line, Image.linear_gradient("L")))
