"""What a photo file claims about itself: where, when and with what it was taken.

The claim is read from EXIF and kept apart from the pixels: it is shown beside an answer and never used to find one.
Metadata in the wild is often odd, so nothing here raises; what is not credible is left out and named in ``problems``.
Text from EXIF is untrusted: it is stripped of control characters and cut short, and must still be escaped when shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

_T = TypeVar("_T")

_MAX_TEXT = 80
_UNKNOWN_TIME = re.compile(r"[\s:0]*")
_CLOCK = re.compile(r"(\d{4})[:-](\d{2})[:-](\d{2})[ T](\d{2}):(\d{2}):(\d{2})")


@dataclass(frozen=True)
class ExifClaim:
    """What the file says, believed or not.

    Attributes:
        lat: WGS84 degrees, None unless the whole position is credible.
        lon: WGS84 degrees, None together with ``lat``.
        taken: When the picture was taken, by the camera's clock; has a time zone only if the file gives one.
        make: The camera's maker.
        model: The camera's model.
        problems: What is odd about the metadata, one line each.
    """

    lat: float | None = None
    lon: float | None = None
    taken: datetime | None = None
    make: str | None = None
    model: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def camera(self) -> str | None:
        """Maker and model, the maker not repeated: ``Canon EOS 600D``."""
        if self.make and self.model and self.model.lower().startswith(self.make.lower()):
            return self.model
        return " ".join(part for part in (self.make, self.model) if part) or None


def read_exif(image: Image.Image) -> tuple[ExifClaim | None, int]:
    """The file's claim and its orientation.

    Returns:
        The claim, or None where the file says nothing on place, time or camera; and the EXIF orientation 1 to 8,
        which is 1 where it is missing or odd.
    """
    problems: list[str] = []
    exif = _attempt(image.getexif, Image.Exif(), "EXIF", problems)
    main: Mapping[int, Any] = _attempt(lambda: dict(exif), {}, "EXIF", problems)
    detail: Mapping[int, Any] = _attempt(lambda: exif.get_ifd(IFD.Exif), {}, "the EXIF detail block", problems)
    gps: Mapping[int, Any] = _attempt(lambda: exif.get_ifd(IFD.GPSInfo), {}, "the GPS block", problems)

    orientation = main.get(Base.Orientation, 1)
    if orientation not in range(1, 9):
        problems.append(
            f"orientation is {_text(orientation) or 'empty'}, expected 1 to 8; the picture is left as it is"
        )
        orientation = 1
    lat, lon = _position(gps, problems)
    claim = ExifClaim(
        lat=lat,
        lon=lon,
        taken=_taken(detail, problems),
        make=_text(main.get(Base.Make)),
        model=_text(main.get(Base.Model)),
        problems=tuple(problems),
    )
    return None if claim == ExifClaim() else claim, int(orientation)


def _attempt(read: Callable[[], _T], otherwise: _T, what: str, problems: list[str]) -> _T:
    # Pillow parses lazily and lets whatever the parser stumbles over escape, of any exception type.
    try:
        return read()
    except Exception as error:
        problems.append(f"{what} cannot be read ({type(error).__name__})")
        return otherwise


def _position(gps: Mapping[int, Any], problems: list[str]) -> tuple[float, float] | tuple[None, None]:
    if GPS.GPSLatitude not in gps and GPS.GPSLongitude not in gps:
        return None, None
    lat = _angle(gps, "latitude", (GPS.GPSLatitude, GPS.GPSLatitudeRef), ("N", "S", 90), problems)
    lon = _angle(gps, "longitude", (GPS.GPSLongitude, GPS.GPSLongitudeRef), ("E", "W", 180), problems)
    if lat is None or lon is None:
        return None, None
    if lat == 0 and lon == 0:
        problems.append("position is exactly 0, 0, which cameras write when they have none")
        return None, None
    if (_text(gps.get(GPS.GPSStatus)) or "A").upper() == "V":
        problems.append("the receiver had no fix when the picture was taken")
    datum = _text(gps.get(GPS.GPSMapDatum)) or "WGS-84"
    if re.sub(r"[^a-z0-9]", "", datum.lower()) not in {"wgs84", "wgs1984"}:
        problems.append(f"position is on datum {datum!r}, taken as WGS84")
    return lat, lon


def _angle(
    gps: Mapping[int, Any], what: str, tags: tuple[int, int], signs: tuple[str, str, int], problems: list[str]
) -> float | None:
    positive, negative, limit = signs
    value = gps.get(tags[0])
    parts = value if isinstance(value, tuple | list) else (value,)
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        problems.append(f"{what} is not a number")
        return None
    if not 1 <= len(numbers) <= 3 or not all(math.isfinite(number) for number in numbers):
        problems.append(f"{what} is not degrees, minutes and seconds (a zero denominator or a missing part)")
        return None
    degrees = math.fsum(number / 60**power for power, number in enumerate(numbers))
    if min(numbers) < 0 or max(numbers[1:], default=0) > 60 or degrees > limit:
        problems.append(f"{what} is out of range: {' '.join(f'{number:g}' for number in numbers)}")
        return None
    reference = (_text(gps.get(tags[1])) or "").upper()[:1]
    if reference not in (positive, negative):
        problems.append(f"{what} does not say {positive} or {negative}, so its sign is not known")
        return None
    return -degrees if reference == negative else degrees


def _taken(detail: Mapping[int, Any], problems: list[str]) -> datetime | None:
    # Base.DateTime is left out on purpose: it is when the file was last changed.
    for clock, zone in (
        (Base.DateTimeOriginal, Base.OffsetTimeOriginal),
        (Base.DateTimeDigitized, Base.OffsetTimeDigitized),
    ):
        written = _text(detail.get(clock))
        if written is None or _UNKNOWN_TIME.fullmatch(written):
            continue
        match = _CLOCK.match(written)
        try:
            if match is None:
                raise ValueError(written)
            taken = datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type] # six numbers
        except ValueError:
            problems.append(f"time is {written!r}, which is no date")
            continue
        offset = _text(detail.get(zone)) or ""
        if re.fullmatch(r"[+-]\d\d:\d\d", offset) and int(offset[1:3]) < 24 and int(offset[4:]) < 60:
            return datetime.fromisoformat(taken.isoformat() + offset)
        return taken
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text[:_MAX_TEXT] or None
