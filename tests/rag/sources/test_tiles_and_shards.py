"""MBTiles and WebDataset shards: real tiles of the Earth, and tar files as they come, cut and poisoned too."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gaea.errors import InputError, PhotoError
from gaea.photo import Photo
from gaea.rag.records import Item, Source
from gaea.rag.sources import open_source
from gaea.rag.sources.mbtiles import place_of
from gaea.rag.sources.webdataset import expand_braces
from gaea.sphere import great_circle_km

MARBLE = Path(os.environ.get("GAEA_DATA", "../shared/data")) / "bluemarble.mbtiles"
needs_marble = pytest.mark.skipif(not MARBLE.is_file(), reason="no bluemarble.mbtiles; set GAEA_DATA to its folder")


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (seed * 37 % 256, 90, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


def listed(source: Source) -> list[Item]:
    items = list(source.items())
    assert items == list(pickle.loads(pickle.dumps(source)).items())
    assert len({item.key for item in items}) == len(items)
    return items


# ── tiles ───────────────────────────────────────────────────────────────────


@needs_marble
def test_blue_marble_is_placed_right() -> None:
    source = open_source(MARBLE, credit="NASA")
    items = listed(source)
    assert (source.kind, source.name, source.zoom, source.credit) == ("mbtiles", "bluemarble", 8, "NASA")
    assert source.count() == len(items) == 8627
    assert max(abs(item.lat) for item in items) < 62, "zoom 8 covers land between 60° south and north"

    # Whether rows are flipped shows in the pictures: the Sahara is bright and yellow, the sea off Angola dark blue.
    two = {item.key: item for item in open_source(MARBLE, zoom=4).items()}
    sahara, sea = two["4/8/6"], two["4/7/8"]
    assert (round(sahara.lat), round(sahara.lon)) == (32, 11)
    assert (round(sea.lat), round(sea.lon)) == (-11, -11)
    red, _, blue = Photo.open(source.read(sahara)).pixels.mean(axis=(0, 1))
    assert red > blue + 20
    red, _, blue = Photo.open(source.read(sea)).pixels.mean(axis=(0, 1))
    assert blue > red + 20
    with pytest.raises(InputError, match="no tiles of zoom 7; it holds 0, 1, 2, 3, 4, 5, 6, 8"):
        open_source(MARBLE, zoom=7)


@given(st.integers(0, 18), st.data())
def test_tiles_lie_where_web_mercator_says(zoom: int, data: Any) -> None:
    side = 1 << zoom
    column, row = data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1))
    lat, lon, width_km = place_of(zoom, column, row)
    # OpenStreetMap's slippy-map formula leads back to the tile.
    assert math.floor((lon + 180) / 360 * side) == column
    assert math.floor((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * side) == row
    assert abs(lat) < 85.06
    if zoom >= 8:
        half = 180 / side
        assert width_km == pytest.approx(float(great_circle_km(lat, lon - half, lat, lon + half)), rel=1e-3)


def tiles(file: Path, rows: list[tuple[int, int, int, bytes]], **metadata: str) -> Path:
    with sqlite3.connect(file) as database:
        database.execute("create table metadata (name text, value text)")
        database.executemany("insert into metadata values (?, ?)", metadata.items())
        database.execute("create table tiles (zoom_level int, tile_column int, tile_row int, tile_data blob)")
        database.executemany("insert into tiles values (?, ?, ?, ?)", rows)
    database.close()
    return file


def test_rows_are_counted_from_the_south(tmp_path: Path) -> None:
    rows = [(1, 0, 1, picture(1)), (1, 1, 0, picture(2)), (0, 0, 0, picture(3)), (1, 0, 0, b"")]
    source = open_source(tiles(tmp_path / "odd #1?.mbtiles", rows, attribution="© somebody", format="jpg"))
    north, empty, south = listed(source)
    assert (source.credit, source.count()) == ("© somebody", 3)
    assert (north.key, empty.key, south.key) == ("1/0/0", "1/0/1", "1/1/1")
    assert (north.lat, north.lon) == (pytest.approx(66.51326), -90.0)
    assert (south.lat, south.lon) == (pytest.approx(-66.51326), 90.0)
    assert (source.read(north), source.read(south)) == (picture(1), picture(2))
    with pytest.raises(PhotoError, match="tile 1/0/1 is gone"):
        source.read(empty)


def test_what_is_no_tiles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.mbtiles").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(InputError, match=r"fake\.mbtiles: not a readable MBTiles file \(file is not a database\)"):
        open_source(tmp_path / "fake.mbtiles")
    sqlite3.connect(tmp_path / "other.db").execute("create table a (b)").connection.close()
    with pytest.raises(InputError, match="no such table: tiles"):
        open_source(tmp_path / "other.db")
    with pytest.raises(InputError, match="vector tiles"):
        open_source(tiles(tmp_path / "streets.mbtiles", [(0, 0, 0, b"x")], format="pbf"))
    with pytest.raises(InputError, match="holds no tiles"):
        open_source(tiles(tmp_path / "none.mbtiles", []))
    with pytest.raises(InputError, match="tile column 0, row 2 is not on zoom 1"):
        list(open_source(tiles(tmp_path / "off.mbtiles", [(1, 0, 2, b"x")])).items())


# ── shards ──────────────────────────────────────────────────────────────────


def shard(file: Path, members: list[tuple[str, bytes]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def sample(key: str, seed: int, **values: Any) -> list[tuple[str, bytes]]:
    return [(f"{key}.jpg", picture(seed)), (f"{key}.json", json.dumps(values).encode())]


def test_samples_are_grouped_and_pictures_read_at_their_offsets(tmp_path: Path) -> None:
    members = [
        *sample("000001", 1, latitude=48.8584, longitude=2.2945, license="CC0", caption="from json", width=16),
        ("000001.txt", b"Eiffel Tower\n"),
        ("000002.cls", b"7"),
        *sample("./000002", 2, lat="-33.8568", lng="151.2153"),
        ("sub/000003.seg.png", b"mask"),
        ("sub/000003.jpg", picture(3)),
        ("000004.json", b'{"lat": 1, "lon": 2}'),  # no picture
        ("000005.JPG", picture(5)),
    ]
    source = open_source(shard(tmp_path / "a.tar", members), licence="ODbL")
    items = listed(source)
    assert (source.kind, source.name, source.count()) == ("webdataset", "a", None)
    assert [(item.key, item.lat, item.lon) for item in items] == [
        ("a.tar/000001.jpg", 48.8584, 2.2945),
        ("a.tar/000002.jpg", -33.8568, 151.2153),
        ("a.tar/sub/000003.jpg", None, None),
        ("a.tar/000005.JPG", None, None),
    ]
    assert (items[0].text, items[0].licence, items[0].extra["width"]) == ("Eiffel Tower", "CC0", 16)
    assert items[1].extra == {"cls": "7"}
    assert [source.read(item) for item in reversed(items)] == [picture(seed) for seed in (5, 3, 2, 1)]


def test_folders_and_patterns_of_shards(tmp_path: Path) -> None:
    for number in range(12):
        shard(tmp_path / f"s/train-{number:03d}.tar", sample("0", number, lat=number / 2, lon=1.5))
    keys = [f"train-{number:03d}.tar/0.jpg" for number in range(12)]
    assert [item.key for item in listed(open_source(tmp_path / "s"))] == keys
    some = open_source(tmp_path / "s" / "train-{009..011}.tar")
    assert [item.key for item in listed(some)] == keys[9:]
    assert some.read(listed(some)[2]) == picture(11)
    with pytest.raises(InputError, match=r"train-012\.tar: there is no such shard"):
        open_source(tmp_path / "s" / "train-{009..012}.tar")


def test_braces() -> None:
    assert expand_braces("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert expand_braces("{x,y}{0..1}") == ["x0", "x1", "y0", "y1"]
    for pattern, message in (("{a}.tar", "is no range"), ("{0..99999999}.tar", "shards; expected at most")):
        with pytest.raises(InputError, match=message):
            expand_braces(pattern)


def test_links_and_climbing_names_are_passed_over(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(9))
    file = tmp_path / "in/a.tar"
    shard(
        file, [("/abs.jpg", picture(1)), ("../up.jpg", picture(2)), ("a/../../up.jpg", picture(2)), ("._m.jpg", b"x")]
    )
    with tarfile.open(file, "a") as archive:
        for name, kind in (("sym.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("pipe.jpg", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
        member = tarfile.TarInfo("good.jpg")
        member.size = len(picture(3))
        archive.addfile(member, io.BytesIO(picture(3)))
    assert [item.key for item in listed(open_source(file))] == ["a.tar/good.jpg"]
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["secret.jpg"], "nothing is extracted"


def test_a_shard_cut_anywhere_is_told(tmp_path: Path) -> None:
    whole = shard(tmp_path / "whole.tar", [pair for key in "abc" for pair in sample(key, 1, lat=1.5, lon=2.5)])
    data = whole.read_bytes()
    with tarfile.open(whole) as archive:
        borders = [member.offset for member in archive.getmembers()]
    cut = tmp_path / "cut.tar"
    for length in [*borders[1:], *(border + 100 for border in borders), *(border + 600 for border in borders)]:
        cut.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.tar: the shard is damaged or cut short"):
            list(open_source(cut).items())
    cut.write_bytes(data[: borders[2]] + b"\x07" * 512 + data[borders[2] + 512 :])
    with pytest.raises(InputError, match=f"damaged or cut short at byte {borders[2]:,}"):
        list(open_source(cut).items())

    item = listed(open_source(whole))[2]
    whole.write_bytes(data[: borders[4] + 700])
    with pytest.raises(PhotoError, match=r"whole\.tar/c\.jpg: the shard is cut short or was replaced"):
        open_source(whole).read(item)


def test_broken_samples_and_shards_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tar, JSON of 1\.jpg: broken JSON"):
        list(open_source(shard(tmp_path / "a.tar", [("1.jpg", picture()), ("1.json", b'{"lat": ')])).items())
    (tmp_path / "b.tar").write_bytes(b"<html>" * 1000)
    with pytest.raises(InputError, match=r"b\.tar: the shard is damaged"):
        list(open_source(tmp_path / "b.tar").items())
    (tmp_path / "c.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="compressed shards cannot be read at an offset; unpack them with gunzip"):
        open_source(tmp_path / "c.tar.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.tar files there"):
        open_source(tmp_path / "empty", kind="webdataset")
