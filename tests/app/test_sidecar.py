"""Sidecars: the right hemisphere, the radius, everything that stood there before, and no place overwritten."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gaea.answer import Answer, Point
from gaea.app import sidecar
from gaea.errors import InputError
from gaea.rag.sources.photos import Photos
from gaea.rag.sources.xmp import parse_xmp, read_sidecar
from gaea.sphere import great_circle_km

EXIF, XMP = "{http://ns.adobe.com/exif/1.0/}", "{http://ns.adobe.com/xap/1.0/}"
ANSWER = Answer(question="?", text="", point=Point(-33.85678, 151.21529), radius_km={50: 0.4, 90: 1.2345})
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmp:CreatorTool="darktable 4.6" darktable:xmp_version="5">
   <!-- by hand -->
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Die Oper &amp; das Wasser</rdf:li></rdf:Alt></dc:title>
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:operation="exposure"/></rdf:Seq></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


def photo(folder: Path, name: str = "IMG_1.jpg", **options: object) -> Path:
    path = folder / name
    Image.linear_gradient("L").resize((32, 24)).convert("RGB").save(path, "JPEG", **options)
    return path


def properties(path: Path) -> dict[str, str]:
    description = ET.fromstring(path.read_bytes()).find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert description is not None
    return dict(description.attrib)


def test_a_place_is_written_beside_the_photo_and_never_into_it(tmp_path: Path) -> None:
    original = photo(tmp_path)
    before, changed = hashlib.sha256(original.read_bytes()).hexdigest(), original.stat().st_mtime_ns
    written = sidecar.write(original, ANSWER)
    assert written.name == "IMG_1.jpg.xmp"
    told = properties(written)
    assert told[f"{EXIF}GPSLatitude"] == "33,51.4068S"
    assert told[f"{EXIF}GPSLongitude"] == "151,12.9174E"
    assert told[f"{EXIF}GPSHPositioningError"] == "1235/1"  # metres, rounded up
    assert told[f"{XMP}CreatorTool"].startswith("GAEA ")
    assert hashlib.sha256(original.read_bytes()).hexdigest() == before
    assert original.stat().st_mtime_ns == changed
    said = read_sidecar(written)
    assert great_circle_km(said.lat, said.lon, -33.85678, 151.21529) < 0.0003
    (item,) = Photos(str(tmp_path)).items()  # as an index reads it
    assert item.extra["position_from"] == "IMG_1.jpg.xmp"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["IMG_1.jpg", "IMG_1.jpg.xmp"]


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_every_place_comes_back_to_a_fifth_of_a_metre(lat: float, lon: float) -> None:
    said = parse_xmp(sidecar.packet(lat, lon, 1.0))
    assert said.problem == ""
    assert great_circle_km(said.lat, said.lon, lat, lon) < 0.0002


@pytest.mark.parametrize(
    ("degrees", "letters", "written"),
    [
        (0.0, "NS", "0,0.0000N"),
        (-0.00001, "EW", "0,0.0006W"),
        (-89.99999999, "NS", "90,0.0000S"),
        (180.0, "EW", "180,0.0000E"),
        (-180.0, "EW", "180,0.0000W"),
        (12.9999999, "NS", "13,0.0000N"),
        (48.858370, "NS", "48,51.5022N"),
    ],
)
def test_angles(degrees: float, letters: str, written: str) -> None:
    assert sidecar.angle(degrees, letters) == written


def test_what_stood_in_a_sidecar_stays(tmp_path: Path) -> None:
    original = photo(tmp_path)
    sidecar.path_of(original).write_text(DARKTABLE, encoding="utf-8")
    written = sidecar.write(original, ANSWER)
    text = written.read_text(encoding="utf-8")
    told = properties(written)
    assert told[f"{XMP}CreatorTool"] == "darktable 4.6"
    assert told[f"{XMP}Rating"] == "4"
    assert told["{http://darktable.sf.net/}xmp_version"] == "5"
    assert 'darktable:operation="exposure"' in text
    assert "<!-- by hand -->" in text
    assert 'xml:lang="x-default"' in text
    said = read_sidecar(written)
    assert said.title == "Die Oper & das Wasser"
    assert said.lat == pytest.approx(-33.85678, abs=1e-5)


def located_exif() -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    return exif


def test_a_place_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    with_exif = photo(tmp_path, "exif.jpg", exif=located_exif())
    beside, adobe = photo(tmp_path, "beside.jpg"), photo(tmp_path, "adobe.jpg")
    sidecar.path_of(beside).write_bytes(sidecar.packet(10.0, 20.0, 1.0))
    (tmp_path / "ADOBE.XMP").write_bytes(sidecar.packet(10.0, 20.0, 1.0))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for one, reason in ((with_exif, "its EXIF has a position"), (beside, "has a position"), (adobe, "ADOBE.XMP has")):
        with pytest.raises(InputError, match=f"{one.name}: .*{reason}"):
            sidecar.write(one, ANSWER)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("gps", [{1: "X", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}, {2: (999.0,)}])
def test_a_position_that_is_odd_is_still_somebodys(gps: dict, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(gps)
    with pytest.raises(InputError, match="its EXIF has a position that cannot be used"):
        sidecar.write(photo(tmp_path, exif=exif), ANSWER)
    assert [each.name for each in tmp_path.iterdir()] == ["IMG_1.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        b"not xml",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b"<x/>",
        b"",
        sidecar.packet(10.0, 20.0, 1.0).replace(b"10,0.0000N", b"somewhere"),
    ],
)
def test_a_sidecar_that_cannot_be_understood_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    original = photo(tmp_path)
    sidecar.path_of(original).write_bytes(content)
    if content:
        with pytest.raises(InputError, match="left as it is"):
            sidecar.write(original, ANSWER)
        assert sidecar.path_of(original).read_bytes() == content
    else:  # an empty file holds nothing to lose, but is no XMP either
        with pytest.raises(InputError):
            sidecar.write(original, ANSWER)


def test_an_answer_without_a_point_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no point"):
        sidecar.write(photo(tmp_path), Answer(question="?", text="", abstained=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to folders that are read-only")
def test_a_folder_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    original = photo(tmp_path)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="cannot be written"):
            sidecar.write(original, ANSWER)
    finally:
        tmp_path.chmod(0o755)
