"""XMP sidecars: a reviewed place beside a photo, where photo managers look for it, and never in the photo itself.

The place is written as XMP's EXIF schema has it (ISO 16684-2): ``exif:GPSLatitude`` as degrees and minutes with the
letter of the hemisphere, and the radius that holds 90 % of the belief as ``exif:GPSHPositioningError`` in metres. A
photo that has a place already, in its EXIF or in a sidecar, keeps it. What else stands in a sidecar stays in it.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from xml.etree import ElementTree as ET  # the file was read by expat, with document types refused, before

from gaea import __version__
from gaea.answer import Answer
from gaea.app.export import write_bytes
from gaea.errors import InputError
from gaea.rag.sources.photos import read_claim
from gaea.rag.sources.xmp import parse_xmp, read_sidecar

_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXIF, _XMP = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/xap/1.0/"
_PREFIXES = {"x": _X, "rdf": _RDF, "exif": _EXIF, "xmp": _XMP}
_OF_A_POSITION = ("latitude", "longitude", "position", "GPS", "EXIF cannot", "header cannot")
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>\n'
_NOTHING = (
    f'<x:xmpmeta xmlns:x="{_X}"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
)


def path_of(photo: Path) -> Path:
    """Where a new sidecar of a photo goes: ``IMG.jpg.xmp``, which belongs to no other file."""
    return photo.with_name(photo.name + ".xmp")


def existing(photo: Path) -> Path | None:
    """The sidecar that a photo has: ``IMG.jpg.xmp`` or ``IMG.xmp``, in upper or lower case."""
    wanted = (f"{photo.name}.xmp".lower(), f"{photo.stem}.xmp".lower())
    try:
        beside = {each.name.lower(): each for each in photo.parent.iterdir() if each.name.lower() in wanted}
    except OSError:
        return None
    return next((beside[name] for name in wanted if name in beside), None)


def has_place(photo: Path) -> str:
    """Why a photo gets no place: it has one, or what stands there cannot be read; empty where it may get one."""
    claim, problems = read_claim(photo)
    if claim.lat is not None:
        return "its EXIF has a position already"
    for problem in problems:  # a position that is odd is still somebody's position
        if any(word in problem for word in _OF_A_POSITION):
            return f"its EXIF has a position that cannot be used ({problem})"
    for beside in {path_of(photo), existing(photo)} - {None}:
        if beside is None or not beside.is_file():
            continue
        said = read_sidecar(beside)
        if said.lat is not None:
            return f"{beside.name} has a position already"
        if said.problem:
            return f"{beside.name}: {said.problem}"
    return ""


def write(photo: Path, answer: Answer) -> Path:
    """Write the place of an answer beside a photo.

    Args:
        photo: The original; it is read, and never written.
        answer: As it may be told; its point and 90 % radius are written.

    Returns:
        The sidecar: ``IMG.jpg.xmp``, with what stood in it before.

    Raises:
        InputError: The answer has no point, the photo has a place already, or the sidecar cannot be read or written.
    """
    if answer.point is None or answer.radius_km is None:
        raise InputError(f"{photo.name}: the answer has no point to write")
    if reason := has_place(photo):
        raise InputError(f"{photo.name}: {reason}; it is left as it is")
    beside = existing(photo)
    target = beside if beside is not None and beside.name.lower() == path_of(photo).name.lower() else path_of(photo)
    try:
        before = target.read_bytes() if target.is_file() else None
    except OSError as error:
        raise InputError(f"{target.name}: cannot be read ({error.strerror}); it is left as it is") from error
    return write_bytes(target, packet(answer.point.lat, answer.point.lon, answer.radius_km[90], before=before))


def packet(lat: float, lon: float, radius_km: float, *, before: bytes | None = None) -> bytes:
    """The bytes of a sidecar.

    Args:
        lat: WGS84 degrees.
        lon: WGS84 degrees.
        radius_km: Holding 90 % of the belief.
        before: A sidecar whose other properties are kept.

    Raises:
        InputError: What stood there is no XMP.
    """
    root = _parsed(before) if before else ET.fromstring(_NOTHING)  # noqa: S314 - our own text
    description = root.find(f".//{{{_RDF}}}Description")
    if description is None:
        raise InputError("the sidecar holds no rdf:Description: it is left as it is")
    told = {
        f"{{{_EXIF}}}GPSVersionID": "2.3.0.0",
        f"{{{_EXIF}}}GPSMapDatum": "WGS-84",
        f"{{{_EXIF}}}GPSLatitude": angle(lat, "NS"),
        f"{{{_EXIF}}}GPSLongitude": angle(lon, "EW"),
        f"{{{_EXIF}}}GPSHPositioningError": f"{max(math.ceil(radius_km * 1000), 1)}/1",
    }
    for name, value in told.items():
        description.set(name, value)
    tool = f"{{{_XMP}}}CreatorTool"
    if not any(tool in each.attrib or each.find(tool) is not None for each in root.iter(f"{{{_RDF}}}Description")):
        description.set(tool, f"GAEA {__version__}")
    for prefix, uri in _PREFIXES.items():
        ET.register_namespace(prefix, uri)
    return (_BEGIN + ET.tostring(root, encoding="unicode") + _END).encode()


def angle(degrees: float, letters: str) -> str:
    """An angle as XMP writes it, ``48,51.5030N``; a ten-thousandth of a minute is 0.2 m.

    Args:
        degrees: Signed.
        letters: For positive and negative, ``NS`` or ``EW``.
    """
    tenthousandths = round(abs(degrees) * 600_000)
    whole, rest = divmod(tenthousandths, 600_000)
    return f"{whole},{rest // 10_000}.{rest % 10_000:04d}{letters[degrees < 0]}"


def _parsed(before: bytes) -> ET.Element:
    """A sidecar as a tree with its own prefixes, after it was found to declare no document type."""
    if problem := parse_xmp(before).problem:
        raise InputError(f"{problem}: it is left as it is")
    for _, (prefix, uri) in ET.iterparse(io.BytesIO(before), events=["start-ns"]):  # noqa: S314 - see parse_xmp
        if prefix and not prefix.startswith("ns"):  # names that ElementTree keeps for itself
            ET.register_namespace(prefix, uri)
    builder = ET.TreeBuilder(insert_comments=True, insert_pis=True)
    return ET.fromstring(before, ET.XMLParser(target=builder))  # noqa: S314 - see parse_xmp
