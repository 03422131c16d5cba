"""XMP sidecars: what photo managers write beside a picture when its place is corrected by hand.

An XMP file is RDF in XML (ISO 16684-1). It comes from outside, so it is read by expat with document types refused,
which leaves no entities to expand; only the few properties that an index needs are looked at.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from gaea.rag.sources.columns import words

_MAX_BYTES = 8 * 2**20
_EXIF, _DC = "http://ns.adobe.com/exif/1.0/", "http://purl.org/dc/elements/1.1/"
_WANTED = {
    f"{_EXIF} GPSLatitude": "lat",
    f"{_EXIF} GPSLongitude": "lon",
    f"{_DC} title": "title",
    f"{_DC} description": "description",
    f"{_DC} creator": "creator",
}
# XMP's own forms are "48,51.5088N" and "48,51,30N" (ISO 16684-2, GPSCoordinate); plain degrees are common too.
_ANGLE = re.compile(r"([+-]?\d+(?:\.\d*)?)(?:,(\d+(?:\.\d*)?))?(?:,(\d+(?:\.\d*)?))?\s*([NSEW]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Sidecar:
    """What an XMP file says.

    Attributes:
        lat: Degrees north, None unless the whole position is readable.
        lon: Degrees east, None together with ``lat``.
        title: Title, or description where there is none.
        creator: Who made the picture.
        problem: One line on what cannot be read; empty where nothing is wrong.
    """

    lat: float | None = None
    lon: float | None = None
    title: str = ""
    creator: str = ""
    problem: str = ""


def read_sidecar(file: Path) -> Sidecar:
    """Read an XMP file; never raises, because an odd sidecar is no reason to lose its picture."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return Sidecar(problem=f"sidecar is larger than {_MAX_BYTES >> 20} MiB")
        return parse_xmp(file.read_bytes())
    except OSError as error:
        return Sidecar(problem=f"sidecar cannot be read ({error.strerror})")


def parse_xmp(data: bytes) -> Sidecar:
    """Read the bytes of an XMP file."""
    try:
        found = _properties(data)
    except (expat.ExpatError, ValueError) as error:
        return Sidecar(problem=f"sidecar is not readable XMP ({error})")
    title = found.get("title") or found.get("description", "")
    said = Sidecar(title=title, creator=found.get("creator", ""))
    if "lat" not in found and "lon" not in found:
        return said
    lat, lon = parse_angle(found.get("lat", ""), "NS", 90), parse_angle(found.get("lon", ""), "EW", 180)
    if lat is None or lon is None:
        wrong = f"{found.get('lat', 'nothing')!r}, {found.get('lon', 'nothing')!r}"[:80]
        return Sidecar(title=title, creator=said.creator, problem=f"sidecar position {wrong} is not readable")
    return Sidecar(lat, lon, title, said.creator)


def parse_angle(text: str, signs: str, limit: float) -> float | None:
    """Degrees from ``48,51.5088N``, ``48,51,30N``, ``48.858N`` or ``-48.858``; None where the text is none of them.

    Args:
        text: As written.
        signs: The letters for positive and negative, ``NS`` or ``EW``.
        limit: The largest number of degrees.
    """
    match = _ANGLE.fullmatch(text.strip())
    if match is None:
        return None
    degrees, minutes, seconds = (float(part) if part else 0.0 for part in match.group(1, 2, 3))
    letter = match[4].upper()
    if letter and letter not in signs:
        return None
    # A sign and a letter contradict each other, and minutes without a letter may be a decimal comma.
    if (letter and match[1][0] in "+-") or (match[2] and not letter):
        return None
    # A fraction is the last part there is.
    if minutes >= 60 or seconds >= 60 or (degrees % 1 and minutes) or (minutes % 1 and seconds):
        return None
    angle = math.copysign(abs(degrees) + minutes / 60 + seconds / 3600, degrees)
    if abs(angle) > limit:
        return None
    return -angle if letter == signs[1] else angle


def _properties(data: bytes) -> dict[str, str]:
    """The wanted properties, written as attributes or as elements (of a list, the first; of languages, the first)."""
    found: dict[str, str] = {}
    current: list[str] = []
    text: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        for attribute, value in attributes.items():
            if attribute in _WANTED:
                found.setdefault(_WANTED[attribute], words(value)[:500])
        if name in _WANTED:
            current.append(_WANTED[name])
        text.clear()

    def end(name: str) -> None:
        if current and "".join(text).strip():
            found.setdefault(current[-1], words("".join(text))[:500])
        if name in _WANTED:
            current.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which XMP never does")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.Parse(data, True)
    return found
