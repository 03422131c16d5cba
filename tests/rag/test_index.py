import csv
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from gaea import cells
from gaea.errors import GalleryError, InputError
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.index import Index
from gaea.rag.manifest import Manifest, SourceInfo
from gaea.rag.records import Record
from gaea.rag.rowfilter import RowFilter

ENCODER = EncoderIdentity(
    name="tiny", spec="nano", fingerprint="f" * 64, weights_sha256="w" * 64, preprocess_sha256="p" * 64, dim=8
)


def records(n, start=0, **changes):
    lat, lon = np.linspace(-80, 80, n), np.linspace(-170, 170, n)
    s2 = cells.from_latlon(lat, lon)
    return [
        Record(**{
            "row": -1, "key": f"{start + i}.jpg", "source": "album", "lat": float(lat[i]), "lon": float(lon[i]),
            "s2": int(s2[i]), "country": "FR" if i % 2 else "", "text": f"photo {i}", "licence": "CC0",
            "sha256": f"{start + i:064x}", "phash": (start + i) * 2**50, "extra": '{"camera": "x"}',
        } | changes)
        for i in range(n)
    ]  # fmt: skip


def vectors(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 8))


@pytest.fixture
def index(tmp_path):
    made = Index.create(tmp_path / "index", ENCODER)
    with made.writer() as writer:
        writer.add_source(SourceInfo("album", "CC0", "Ann", "folder", "/photos"))
        writer.append(records(10), vectors(10))
        writer.append(records(7, start=10), vectors(7, seed=1))
    return made


def files(index):
    return sorted(path.name for path in (index.folder / "shards").iterdir())


def test_rows_come_back_as_they_were_given(index):
    again = Index.open(index.folder)
    gallery = again.gallery
    assert len(again) == len(gallery) == 17
    assert gallery.row_numbers.tolist() == list(range(17))
    given = [*records(10), *records(7, start=10)]
    assert gallery.labels["key"].tolist() == [record.key for record in given]
    assert gallery.labels["extra"].tolist() == ['{"camera": "x"}'] * 17
    assert gallery.s2.tolist() == [record.s2 for record in given]
    assert gallery.phash.tolist() == [record.phash for record in given]
    # Exactly: an S2 leaf is smaller than a step of float32.
    assert gallery.lat.tolist() == [record.lat for record in given]
    unit = vectors(10) / np.linalg.norm(vectors(10), axis=1, keepdims=True)
    assert ((gallery.embeddings[:10] * unit).sum(axis=1) > 0.999).all()
    assert again.manifest.sources == (SourceInfo("album", "CC0", "Ann", "folder", "/photos"),)
    assert [(shard.rows, shard.first, shard.last) for shard in again.shards] == [(10, 0, 9), (7, 10, 16)]
    assert again.verify() == ()


def test_an_empty_index_is_an_index(tmp_path):
    made = Index.create(tmp_path, ENCODER, dtype="float16")
    assert len(made.gallery) == 0
    assert made.gallery.embeddings.shape == (0, 8)
    assert made.verify() == ()
    assert made.info().rows == 0
    assert made.export(tmp_path / "rows.csv") == made.export(tmp_path / "rows.parquet") == 0
    with made.writer() as writer:
        assert writer.append([], np.zeros((0, 8))).tolist() == []
    assert made.shards == ()


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_what_it_holds_is_told(tmp_path, dtype):
    made = Index.create(tmp_path, ENCODER, dtype=dtype)
    with made.writer() as writer:
        writer.append(records(10), vectors(10))
    info = made.info()
    assert (info.rows, info.shards, info.dtype, info.rejected) == (10, 1, dtype, 0)
    assert (info.sources, info.countries, info.licences) == ({"album": 10}, {"FR": 5, "": 5}, {"CC0": 10})
    assert made.gallery.codes.dtype == dtype


def test_an_index_is_not_made_over_another(index):
    with pytest.raises(GalleryError, match="holds an index already"):
        Index.create(index.folder, ENCODER)


def test_another_encoder_is_refused_in_one_line(index):
    index.check_encoder(ENCODER)
    other = EncoderIdentity(
        name="large", spec="ViT-L-14/x", fingerprint="a" * 64, weights_sha256="", preprocess_sha256="", dim=768
    )
    with pytest.raises(GalleryError, match=r"belongs to encoder tiny.*this is large") as refused:
        index.check_encoder(other)
    assert "\n" not in str(refused.value)
    foreign = Gallery.from_embeddings(np.ones((1, 768)), [0], [0], meta=GalleryMeta("large", "a" * 64, 768))
    with index.writer() as writer, pytest.raises(GalleryError, match="this is large"):
        writer.append_gallery(foreign)


def test_embeddings_that_do_not_fit_add_nothing(index):
    before = files(index)
    with index.writer() as writer:
        for bad in (np.ones((2, 5)), np.full((2, 8), np.nan), np.ones((3, 8))):
            with pytest.raises(GalleryError):
                writer.append(records(2, start=50), bad)
        with pytest.raises(GalleryError, match="latitude"):
            writer.append(records(2, start=50, lat=91.0), vectors(2))
    assert files(index) == before
    assert len(Index.open(index.folder)) == 17


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        ([3, 12], {3, 12}),
        (RowFilter(source="album", key="4.jpg"), {4}),
        (RowFilter(country="FR"), {1, 3, 5, 7, 9, 11, 13, 15}),
        (RowFilter(box=(-90, 160, 90, -160)), {0, 9, 10, 16}),
        (RowFilter(box=(-90, -180, 0, 180)), {0, 1, 2, 3, 4, 10, 11, 12, 13}),
        (RowFilter(licence="CC0", numbers=(0, 1)), {0, 1}),
        (RowFilter(licence="secret"), set()),
        (range(10), set(range(10))),
    ],
)
def test_rows_are_removed_and_their_numbers_never_used_again(index, which, gone):
    with index.writer() as writer:
        assert writer.remove(which) == len(gone)
        assert set(index.gallery.row_numbers.tolist()) == set(range(17)) - gone
        assert writer.append(records(1, start=99), vectors(1)).tolist() == [17]
    again = Index.open(index.folder)
    assert set(again.gallery.row_numbers.tolist()) == set(range(18)) - gone
    assert again.verify() == ()
    assert files(again) == sorted(shard.file for shard in again.shards)


def test_a_filter_has_to_say_something():
    with pytest.raises(InputError, match="at least one of"):
        RowFilter()
    with pytest.raises(InputError, match="south above its north"):
        RowFilter(box=(10, 0, -10, 5))


def test_compacting_keeps_rows_and_numbers(index):
    with index.writer() as writer:
        for start in range(20, 26):
            writer.append(records(1, start=start), vectors(1, seed=start))
        writer.remove([11])
        before = index.gallery
        assert writer.compact(shard_rows=16) == 6
        assert writer.compact(shard_rows=16) == 0
    after = Index.open(index.folder)
    assert [shard.rows for shard in after.shards] == [16, 6]
    assert after.gallery.content_hash == before.content_hash
    assert after.gallery.labels["key"].tolist() == before.labels["key"].tolist()
    assert after.verify() == ()


def test_a_reader_goes_on_when_a_writer_replaces_shards(index):
    reader = Index.open(index.folder)
    with index.writer() as writer:
        writer.remove([2])
    assert len(reader) == 17
    assert 2 not in reader.gallery.row_numbers
    assert len(reader) == 16
    held = reader.gallery
    with index.writer() as writer:
        writer.remove([3])
    assert reader.gallery is held
    assert reader.refresh()
    assert not reader.refresh()
    assert len(reader.gallery) == 15


def test_only_one_writes(index):
    with index.writer(), pytest.raises(GalleryError, match=rf"being written by process {os.getpid()} on "):
        Index.open(index.folder).writer().__enter__()
    with Index.open(index.folder).writer() as writer:
        writer.remove([0])
    assert not (index.folder / "index.lock.json").exists()


def test_the_lock_holds_against_another_process(index):
    code = f"from gaea.rag.index import Index\nwith Index.open({str(index.folder)!r}).writer(): pass"
    with index.writer():
        refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"being written by process {os.getpid()}" in refused.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_writer_is_used_inside_its_block_only(index):
    with index.writer() as writer:
        pass
    with pytest.raises(GalleryError, match="with block"):
        writer.remove([1])
    assert len(Index.open(index.folder)) == 17


def test_what_a_killed_writer_left_is_removed(index):
    stray = index.folder / "shards" / "00000007.parquet"
    stray.write_bytes(b"half a shard")
    (index.folder / "index.json.part").write_text("{")
    assert any("belong to no commit" in line for line in index.verify())
    with index.writer() as writer:
        writer.append(records(1, start=70), vectors(1))
    assert not stray.exists()
    assert not (index.folder / "index.json.part").exists()
    assert index.verify() == ()


def test_a_parquet_export_is_a_gallery(index, tmp_path):
    with index.writer() as writer:
        writer.append(records(2, start=30, text="other words", country="NZ"), vectors(2))
    assert index.export(tmp_path / "all.parquet") == 19
    again = Gallery.read(tmp_path / "all.parquet")
    assert again.content_hash == index.gallery.content_hash
    assert again.labels["text"].tolist() == index.gallery.labels["text"].tolist()


def test_geojson_and_csv_exports_say_the_same(index, tmp_path):
    with index.writer() as writer:
        writer.append(records(1, start=30, text='=1+1, "quoted"\nline', width_km=2.5), vectors(1))
    assert index.export(tmp_path / "all.geojson") == index.export(tmp_path / "all.csv") == 18
    features = json.loads((tmp_path / "all.geojson").read_text(encoding="utf-8"))["features"]
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(features) == len(rows) == 18
    gallery = index.gallery
    for position, (feature, row) in enumerate(zip(features, rows, strict=True)):
        assert feature["geometry"]["coordinates"] == [gallery.lon[position], gallery.lat[position]]
        assert (float(row["lat"]), float(row["lon"])) == (gallery.lat[position], gallery.lon[position])
        assert int(row["s2"]) == int(feature["properties"]["s2"]) == gallery.s2[position]
        assert row["key"] == feature["properties"]["key"]
    assert features[-1]["properties"]["text"] == '=1+1, "quoted"\nline'
    assert rows[-1]["text"] == '\'=1+1, "quoted"\nline'
    assert (features[0]["properties"]["width_km"], features[-1]["properties"]["width_km"]) == (None, 2.5)
    with pytest.raises(InputError, match="expected one of"):
        index.export(tmp_path / "all.xlsx")


def test_a_manifest_of_a_later_format_is_refused(index):
    file = index.folder / "index.json"
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {"a later field": 1}))
    assert Manifest.read(index.folder) == index.manifest
    file.write_text(json.dumps(found | {"format": 2}))
    with pytest.raises(GalleryError, match="upgrade gaea"):
        Index.open(index.folder)


def test_rows_without_provenance_are_completed(tmp_path):
    made = Index.create(tmp_path, ENCODER)
    meta = made.meta
    bare = Gallery.from_embeddings(vectors(4), [0, 1, 2, 3], [4, 5, 6, 7], meta=meta)
    with made.writer() as writer:
        writer.append_gallery(bare)
        writer.append(records(2), vectors(2))
    assert made.gallery.labels["text"].tolist() == ["", "", "", "", "photo 0", "photo 1"]
    assert pq.read_table(made.path(made.shards[0]))["s2"].to_pylist() == cells.from_latlon(bare.lat, bare.lon).tolist()
    # Rows without a key are no doubles of each other.
    assert made.verify() == ()
