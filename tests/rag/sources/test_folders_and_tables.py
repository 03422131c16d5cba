"""Photos, image folders and tables: real photos from disk, and every odd spelling and path a user may bring."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD

from gaea.errors import InputError, PhotoError
from gaea.photo import Photo
from gaea.rag.records import Item, Source
from gaea.rag.sources import KINDS, open_source
from gaea.rag.sources.columns import guess, number
from gaea.rag.sources.xmp import parse_angle, parse_xmp

PHOTOS = Path(os.environ.get("GAEA_DATA", "../shared/data")) / "photos"
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="no shared photos; set GAEA_DATA to their folder")

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" {attributes}>
{elements}</rdf:Description></rdf:RDF></x:xmpmeta>"""


def save(file: Path, lat: float | None = None, lon: float = 0.0, *, seed: int = 0) -> Path:
    """A small real JPEG, with a position in EXIF where one is given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if lat is not None:
        gps = exif.get_ifd(IFD.GPSInfo)
        gps |= {GPS.GPSLatitudeRef: "N" if lat >= 0 else "S", GPS.GPSLongitudeRef: "E" if lon >= 0 else "W"}
        gps |= {GPS.GPSLatitude: (abs(lat), 0.0, 0.0), GPS.GPSLongitude: (abs(lon), 0.0, 0.0)}
    Image.new("RGB", (16, 12), (seed * 40 % 256, 90, 160)).save(file, exif=exif)
    return file


def listed(source: Source) -> dict[str, Item]:
    items = list(source.items())
    assert items == list(source.items()), "the order may depend on the source alone"
    assert items == list(pickle.loads(pickle.dumps(source)).items()), "workers see the same"
    assert len({item.key for item in items}) == len(items)
    for item in items:
        json.dumps(dict(item.extra), allow_nan=False)
    return {item.key: item for item in items}


def places(source: Source) -> dict[str, tuple[float | None, float | None]]:
    return {key: (item.lat, item.lon) for key, item in listed(source).items()}


# ── photos ──────────────────────────────────────────────────────────────────


@needs_photos
def test_positions_of_real_photos_are_what_their_metadata_says() -> None:
    folder = PHOTOS / "exif_gps_samples"
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        truth: dict[str, list[tuple[float, float]]] = {}
        for row in csv.DictReader(file):
            truth.setdefault(row["file_name"], []).append((float(row["latitude"]), float(row["longitude"])))
    source = open_source(folder, kind="photos")
    found = listed(source)
    assert source.count() == len(found) == len(truth) == 57
    for key, item in found.items():
        # Three names stand twice in the list; the file that is left has one of the two positions.
        errors = [max(abs(item.lat - lat), abs(item.lon - lon)) for lat, lon in truth[key]]
        assert min(errors) < 1e-6, key
        assert item.extra["position_from"] == "EXIF"
    first = next(iter(found.values()))
    assert Photo.open(source.read(first)).exif.lat == first.lat


@needs_photos
@pytest.mark.parametrize(
    ("name", "pictures", "placed"),
    [
        ("exif_gps_samples", 57, 54),  # three are listed at two positions each
        ("travel_photos", 147, 147),
        ("astronaut_photos", 8, 8),
        ("global_streetscapes_sample", 25, 25),
    ],
)
def test_real_image_folders(name: str, pictures: int, placed: int) -> None:
    source = open_source(PHOTOS / name)
    assert (source.kind, source.name) == ("imagefolder", name)
    found = listed(source)
    assert len(found) == pictures
    assert sum(item.lat is not None for item in found.values()) == placed
    for item in list(found.values())[:3]:
        assert Photo.open(source.read(item)).pixels.ndim == 3
    if name == "travel_photos":
        library = found["images/48844390243.jpg"]
        assert (library.lat, library.lon, library.text) == (51.045325, -114.055394, "Calgary Central Library")
        assert (library.credit, library.extra["country_iso2"]) == ("Robert Boschman", "CA")


def test_a_tree_of_photos_with_and_without_positions(tmp_path: Path) -> None:
    save(tmp_path / "b.jpg", 48.5, 2.25)
    save(tmp_path / "a/c.JPG", -33.5, -151.25)
    save(tmp_path / "a/none.png")
    (tmp_path / "a/broken.jpg").write_bytes(b"<html>not found</html>")
    (tmp_path / "notes.txt").write_text("not a photo")
    save(tmp_path / ".trash/gone.jpg", 1.0, 1.0)
    source = open_source(tmp_path)
    assert (source.kind, source.count()) == ("photos", 4)
    assert places(source) == {
        "b.jpg": (48.5, 2.25),
        "a/broken.jpg": (None, None),
        "a/c.JPG": (-33.5, -151.25),
        "a/none.png": (None, None),
    }
    assert listed(source)["a/broken.jpg"].extra == {
        "problems": ["it looks like a web page; download the picture itself"]
    }
    assert source.read(listed(source)["b.jpg"]) == (tmp_path / "b.jpg").read_bytes()


def test_a_sidecar_wins_over_exif_and_both_are_kept(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        save(tmp_path / f"{name}.jpg", 10.0, 20.0)
    attributes = 'exif:GPSLatitude="48,51.5088N" exif:GPSLongitude="2,17,40W"'
    (tmp_path / "a.jpg.xmp").write_text(XMP.format(attributes=attributes, elements=""), encoding="utf-8")
    elements = (
        "<exif:GPSLatitude>-33.8568</exif:GPSLatitude><exif:GPSLongitude>151.2153</exif:GPSLongitude>"
        "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Sydney Opera House</rdf:li></rdf:Alt></dc:title>"
        "<dc:creator><rdf:Seq><rdf:li>Ada Lund</rdf:li></rdf:Seq></dc:creator>"
    )
    (tmp_path / "b.XMP").write_text(XMP.format(attributes="", elements=elements), encoding="utf-8")
    (tmp_path / "c.xmp").write_text("<x:xmpmeta><unclosed>")
    (tmp_path / "d.xmp").write_text(XMP.format(attributes='exif:GPSLatitude="95,0N"', elements=""))
    found = listed(open_source(tmp_path))
    assert (found["a.jpg"].lat, found["a.jpg"].lon) == pytest.approx((48.85848, -2.294444), abs=1e-6)
    assert found["a.jpg"].extra["position_from"] == "a.jpg.xmp"
    assert (found["a.jpg"].extra["exif_lat"], found["a.jpg"].extra["exif_lon"]) == (10.0, 20.0)
    b = found["b.jpg"]
    assert (b.lat, b.lon, b.text, b.credit) == (-33.8568, 151.2153, "Sydney Opera House", "Ada Lund")
    for name in ("c.jpg", "d.jpg"):
        assert (found[name].lat, found[name].lon) == (10.0, 20.0)
        assert "sidecar" in found[name].extra["problems"][0]


def test_xmp_is_parsed_without_entities() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
    for text in (bomb, outside):
        assert "declares a document type" in parse_xmp(text.encode()).problem
    assert parse_xmp(b"").problem


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("48,51.5088N", 48.85848),
        ("48,51.5088s", -48.85848),
        ("48,51,30N", 48.858333),
        ("48.858", 48.858),
        ("-0.5", -0.5),
        ("+48.858", 48.858),
        ("48.858,0N", 48.858),
        ("48", 48.0),
        ("48,858", None),  # a decimal comma, or minutes without a letter
        ("48.5,30N", None),
        ("48,61N", None),
        ("-48,30N", None),
        ("48,30E", None),
        ("90,0.1N", None),
        ("", None),
        ("N", None),
    ],
)
def test_angles_of_xmp(text: str, degrees: float | None) -> None:
    assert parse_angle(text, "NS", 90) == (degrees if degrees is None else pytest.approx(degrees, abs=1e-6))


# ── tables and image folders ────────────────────────────────────────────────


@pytest.mark.parametrize(
    "header",
    [
        ("file_name", "lat", "lon"),
        ("Path", "Latitude", "Longitude"),
        ("FILE", "LAT", "LNG"),
        ("image path", "GPSLatitude", "gps_long"),
        ("IMG_ID", "decimalLatitude", "decimalLongitude"),
    ],
)
def test_usual_spellings_are_recognised(header: tuple[str, ...]) -> None:
    assert guess(["title", *header, "Licence"]) == {
        "path": header[0], "lat": header[1], "lon": header[2], "text": "title", "licence": "Licence"
    }  # fmt: skip


def test_columns_that_only_look_alike_are_left_alone() -> None:
    assert guess(["nadir_latitude", "lat_bin", "longest_side", "platitude"]) == {}
    assert guess(["LAT", "latitude", "lng", "lon"]) == {"lat": "LAT", "lon": "lon"}


def test_coordinates_are_numbers_missing_or_nonsense() -> None:
    assert [number(value) for value in (" 48.5 ", 7, "", "None", None)] == [48.5, 7.0, None, None, None]
    assert all(math.isnan(number(value)) for value in ("48,85", "north", math.nan, True, [1]))


ROWS = [
    {"path": "p/a.jpg", "latitude": 48.8584, "lng": 2.2945, "caption": "Eiffel Tower", "license": "CC0", "id": "7"},
    {"path": "p/b.jpg", "latitude": -33.8568, "lng": 151.2153, "caption": "", "license": "", "id": "8"},
]


def write(rows: list[dict[str, object]], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with file.open("w", encoding="utf-8-sig", newline="") as stream:
            separator = "\t" if file.suffix == ".tsv" else ","
            writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator)
            writer.writeheader()
            writer.writerows(rows)
    return file


@pytest.mark.parametrize(
    ("layout", "ending"),
    [("table", "tsv"), *((layout, end) for layout in ("table", "imagefolder") for end in ("csv", "jsonl", "parquet"))],
)
def test_all_formats_say_the_same(tmp_path: Path, layout: str, ending: str) -> None:
    save(tmp_path / "p/a.jpg")
    table = write(ROWS, tmp_path / f"metadata.{ending}")
    source = open_source(table if layout == "table" else tmp_path, name="mine", licence="CC BY 4.0", credit="me")
    assert (source.kind, source.name, source.licence, source.credit) == (layout, "mine", "CC BY 4.0", "me")
    assert isinstance(source, Source)
    found = listed(source)
    assert found["p/a.jpg"] == Item("p/a.jpg", 48.8584, 2.2945, text="Eiffel Tower", licence="CC0", extra={"id": "7"})
    assert (found["p/b.jpg"].text, found["p/b.jpg"].licence) == ("", "")
    assert source.count() == 2
    assert source.read(found["p/a.jpg"]) == (tmp_path / "p/a.jpg").read_bytes()
    with pytest.raises(PhotoError, match=r"b\.jpg: there is no such file"):
        source.read(found["p/b.jpg"])


def test_paths_are_relative_to_the_root_given(tmp_path: Path) -> None:
    save(tmp_path / "pictures/p/a.jpg")
    table = write(ROWS, tmp_path / "lists/places.csv")
    source = open_source(table, root=tmp_path / "pictures")
    assert source.name == "places"
    assert source.read(listed(source)["p/a.jpg"])[:2] == b"\xff\xd8"
    absolute = [{**ROWS[0], "path": str(tmp_path / "pictures/p/a.jpg")}]
    assert list(listed(open_source(write(absolute, table), root=tmp_path / "pictures"))) == ["p/a.jpg"]


def test_one_metadata_file_per_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write([{"file_name": "a.jpg", "lat": 1.5, "lon": 2.5}], tmp_path / split / "metadata.csv")
        save(tmp_path / split / "a.jpg")
    source = open_source(tmp_path)
    assert source.kind == "imagefolder"
    assert list(listed(source)) == ["test/a.jpg", "train/a.jpg"]


def test_semicolons_windows_paths_and_coordinates_as_found(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('path;lat;lon;note\r\np\\a.jpg;48,85;2.3;"x;y"\r\nb.jpg;;2.3;\r\nc.jpg;95.5;2.3;z\r\n')
    found = listed(open_source(table))
    assert math.isnan(found["p/a.jpg"].lat)
    assert found["p/a.jpg"].extra == {"note": "x;y", "lat": "48,85"}
    assert found["b.jpg"].lat is None
    assert found["c.jpg"].lat == 95.5, "coordinates are not judged here"


def test_a_picture_listed_twice(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,lat,lon,caption\na.jpg,1,2,one\nb.jpg,1,2,x\n./a.jpg,1,2,two\nb.jpg,3,4,y\n")
    found = listed(open_source(table))
    assert [(item.key, item.lat, item.text) for item in found.values()] == [("a.jpg", 1.0, "one"), ("b.jpg", None, "x")]
    assert found["b.jpg"].extra["problems"] == ["listed at different positions: t.csv line 3, t.csv line 5"]


# ── what cannot be read ─────────────────────────────────────────────────────


def refuses(location: Path, message: str, **options: object) -> None:
    with pytest.raises(InputError, match=message) as raised:
        list(open_source(location, **options).items())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "", "../pictures2/a.jpg", "a\0.jpg"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "pictures").mkdir()
    table = write([ROWS[0], {**ROWS[1], "path": path}], tmp_path / "pictures/metadata.jsonl")
    for location in (table, table.parent):
        refuses(location, r"metadata\.jsonl line 2: path .* is not inside .*pictures; give the folder")


def test_an_item_from_elsewhere_cannot_read_outside(tmp_path: Path) -> None:
    save(tmp_path / "in/a.jpg")
    save(tmp_path / "secret.jpg")
    for kind in ("photos", "imagefolder"):
        with pytest.raises(PhotoError, match="is not inside"):
            open_source(tmp_path / "in", kind=kind).read(Item("../secret.jpg", None, None))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "path,north,east\na.jpg,1,2\n", "no column for a latitude and a longitude; found path, north, east"),
        ("t.csv", "lat,lon\n1,2\n", "no column for a file_name or path; found lat, lon: expected file_name"),
        ("t.csv", "", "the file is empty"),
        ("t.csv", "path,lat,lon\na.jpg,1,2\nb.jpg,1\n", r"t\.csv line 3: 2 fields, but the header has 3"),
        ("t.csv", 'path,lat,lon\n"a.jpg,1,2\n', r"t\.csv line 2: not readable as UTF-8 CSV"),
        ("t.csv", "path,lat,lon\n\udcff.jpg,1,2\n", "line 2: not readable as UTF-8 CSV"),
        ("t.csv", "path,lat,lon\nhttps://x.org/a.jpg,1,2\n", "line 2: https://x.org/a.jpg is a web address; download"),
        ("t.jsonl", '{"path": "a.jpg", "lat": 1, "lon": 2}\n\n{"path": \n', r"t\.jsonl line 3: broken JSON"),
        ("t.jsonl", "[1, 2]\n", r"t\.jsonl line 1: a JSON list, expected an object"),
        ("t.parquet", "PAR1 not really", "not a readable Parquet file"),
    ],
)
def test_broken_tables_are_named_by_file_and_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    refuses(tmp_path / name, message)


def test_what_is_no_source_is_told_with_what_it_could_be(tmp_path: Path) -> None:
    refuses(tmp_path / "gone", "there is no such file or folder")
    refuses(tmp_path, "no photos, tables, .tar or .parquet shards there")
    refuses(save(tmp_path / "one/a.jpg"), r"this is one file \(JPEG\); give the folder")
    write(ROWS, tmp_path / "one/list.csv")
    refuses(tmp_path / "one", "could be kind 'photos' .* or kind 'table': then give the path of list.csv")
    assert open_source(tmp_path / "one", kind="photos").count() == 1
    (tmp_path / "one/shard.tar").touch()
    refuses(tmp_path / "one", r"could be 'photos' \(a\.jpg\), 'table' \(list\.csv\), 'webdataset' \(shard\.tar\)")
    write(ROWS, tmp_path / "two/list.csv")
    refuses(tmp_path / "two", "holds list.csv; give the path of that file itself")
    (tmp_path / "notes.txt").write_text("hello")
    refuses(tmp_path / "notes.txt", "no source of pictures that is known here")
    refuses(tmp_path / "one", f"unknown kind of source 'folder': expected one of {', '.join(KINDS)}", kind="folder")
    refuses(tmp_path / "one", "kind 'photos' has no option zoom; it has no options", kind="photos", zoom=3)
    refuses(tmp_path / "two/list.csv", "has no option zoom; it has root", zoom=3)
    refuses(tmp_path / "two/list.csv", "is a file; kind 'photos' needs a folder", kind="photos")
    refuses(tmp_path / "two", "kind 'table' needs a file that ends in", kind="table")
    refuses(tmp_path / "two", "no metadata.csv, metadata.jsonl, metadata.parquet; add one", kind="imagefolder")
    refuses(tmp_path / "two/list.csv", "nowhere: does not exist", root=tmp_path / "nowhere")
