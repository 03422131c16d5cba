"""The size in a JPEG's header: what Pillow says, or nothing."""

from __future__ import annotations

import base64
import io
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gaea.app.serving.jpeghead import jpeg_size

from .conftest import data_url, plain


def as_url(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    progressive=st.booleans(),
    comment=st.binary(max_size=300),
    restart=st.integers(0, 3),
)
def test_it_is_the_pictures_size(
    width: int, height: int, mode: str, progressive: bool, comment: bytes, restart: int
) -> None:
    image = Image.new(mode, (width, height))
    url = data_url(image, "JPEG", progressive=progressive, comment=comment, restart_marker_rows=restart)
    assert jpeg_size(url) == (width, height)


def seed(**options: object) -> bytes:
    packed = io.BytesIO()
    Image.effect_noise((40, 24), 90).convert("RGB").save(packed, "JPEG", **options)
    return packed.getvalue()


SEEDS = [seed(), seed(progressive=True), seed(comment=b"a" * 40, exif=Image.Exif().tobytes())]


@given(
    data=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 1, 2, 8, 0xC0, 0xC2, 0xC4, 0xD8, 0xDA, 0xFF]))),
    moved=st.tuples(st.integers(0, 700), st.integers(0, 700), st.integers(0, 700)),
)
def test_of_a_mangled_one_it_says_what_pillow_says_or_nothing(
    data: bytes, changes: list[tuple[int, int]], moved: tuple[int, int, int]
) -> None:
    mangled = bytearray(data)
    mangled[moved[0] : moved[0]] = data[moved[1] : moved[2]]
    for at, value in changes:
        mangled[at] = value
    size = jpeg_size(as_url(bytes(mangled)))
    if size is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a mangled EXIF block, too
            with Image.open(io.BytesIO(mangled), formats=["JPEG"]) as image:
                assert image.size == size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass  # it will be refused when it is opened


def test_two_headers_say_nothing() -> None:
    data, other = seed(), seed()
    frame = other[other.index(b"\xff\xc0") :][:19]
    assert jpeg_size(as_url(data)) == (40, 24)
    assert jpeg_size(as_url(data.replace(b"\xff\xda", frame + b"\xff\xda", 1))) is None


@pytest.mark.parametrize(
    "url",
    [
        plain(),
        "data:,",
        "data:image/jpeg;base64,",
        "data:image/jpeg;base64,/9j/",
        "https://pics.example/a.jpg",
        as_url(seed()).replace(";base64", ""),
        as_url(seed())[:60],
        as_url(seed(comment=bytes(60_000))),
        as_url(seed()).replace(",", ",\n"),
        as_url(b"\n" + seed()),
    ],
)
def test_of_anything_else_it_says_nothing(url: str) -> None:
    assert jpeg_size(url) is None
