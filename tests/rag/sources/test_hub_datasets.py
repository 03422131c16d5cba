"""Hugging Face datasets on disk, written by the real library: GAEA's columns, OSV-5M's folders, and anybody's."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from gaea.errors import InputError, PhotoError
from gaea.photo import Photo
from gaea.rag.records import Item
from gaea.rag.sources import open_source

datasets = pytest.importorskip("datasets", reason="needs gaea-geo[index]")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (16, 12), (seed * 37 % 256, 90, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


def row(seed: int, path: str | None, lat: str, lon: str, **more: Any) -> dict[str, Any]:
    return {
        "image": {"bytes": picture(seed), "path": path},
        "question": f"Question {seed}: where is this?",
        "answer": "I can see a street.",
        "lat": lat,
        "lon": lon,
        "location": "Paris, France",
        "question_type": "SVQA",
        "subset": "MP16",
        **more,
    }


GAEA = [
    row(1, "00/1.jpg", "48.8584", "2.2945"),
    row(1, "00/1.jpg", "48.8584", "2.2945", question="What is it?", question_type="MCQ"),
    row(2, "00/2.jpg", "-33.8568", "151.2153", location="Sydney, Australia"),
    row(1, "00/1.jpg", "48.8584", "2.2945", question="Is it old?"),
    row(3, "00/1.jpg", "1.5", "2.5"),  # another subset's picture of the same name
]
GAEA_KEYS = ["1.jpg", "2.jpg", "1.jpg#4"]  # save_to_disk keeps no folders


def features(row: dict[str, Any]) -> Any:
    return datasets.Features({name: datasets.Image() if name == "image" else datasets.Value("string") for name in row})


def saved(rows: list[dict[str, Any]], folder: Path) -> Path:
    datasets.Dataset.from_list(rows, features=features(rows[0])).save_to_disk(folder)
    return folder


def shards(rows: list[dict[str, Any]], folder: Path, *, split: str = "train", count: int = 2) -> Path:
    """As the hub keeps them: ``data/train-00000-of-00002.parquet``, two rows to a group, as the library writes them."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for shard in range(count):
        part = rows[shard * len(rows) // count : (shard + 1) * len(rows) // count]
        file = folder / "data" / f"{split}-{shard:05d}-of-{count:05d}.parquet"
        if isinstance(part[0]["image"], dict):
            datasets.Dataset.from_list(part, features=features(part[0])).to_parquet(file, batch_size=2)
        else:
            pq.write_table(pa.Table.from_pylist(part), file)
    return folder


def listed(location: Path, **options: Any) -> tuple[Any, list[Item]]:
    source = open_source(location, **options)
    items = list(source.items())
    assert items == list(pickle.loads(pickle.dumps(source)).items())
    assert len({item.key for item in items}) == len(items)
    return source, items


def test_gaea_saved_to_disk_is_listed_one_picture_at_a_time(tmp_path: Path) -> None:
    source, items = listed(saved(GAEA, tmp_path / "gaea"))
    assert (source.kind, source.name) == ("huggingface", "gaea")
    assert [item.key for item in items] == [f"rows/{key}" for key in GAEA_KEYS]
    assert [(item.lat, item.lon) for item in items] == [(48.8584, 2.2945), (-33.8568, 151.2153), (1.5, 2.5)]
    assert items[1].text == "Sydney, Australia"
    assert items[0].extra == {"question_type": "SVQA", "subset": "MP16"}
    assert [source.read(item) for item in items] == [picture(1), picture(2), picture(3)]
    assert Photo.open(source.read(items[0])).original_size == (16, 12)


def test_gaea_as_parquet_shards(tmp_path: Path) -> None:
    source, items = listed(shards(GAEA, tmp_path / "gaea"))
    assert source.kind == "huggingface"
    # The second shard begins with row 2, which is another picture; its third row repeats one of the first shard.
    assert [(item.lat, item.lon) for item in items] == [(48.8584, 2.2945), (-33.8568, 151.2153), (1.5, 2.5)]
    assert items[0].key == "data/train-00000-of-00002.parquet/00/1.jpg"
    assert [source.read(item) for item in items] == [picture(1), picture(2), picture(3)]
    single = tmp_path / "gaea/data/train-00000-of-00002.parquet"
    source, items = listed(single)
    assert source.kind == "huggingface"
    assert [source.read(item) for item in items] == [picture(1)]


@pytest.mark.parametrize("named", [True, False])
def test_gaea_with_the_columns_that_its_authors_download(tmp_path: Path, named: bool) -> None:
    """The picture is in ``file_name``, and ``image`` is its path below the folder of its ``dataset``."""
    rows = []
    for values in GAEA:
        kept = {name: value for name, value in values.items() if name != "image"}
        path = values["image"]["path"]
        packed = {"bytes": values["image"]["bytes"], "path": Path(path).name if named else None}
        rows.append({"image": path, "dataset": "MP16", "file_name": packed, **kept})
    kinds = {name: datasets.Value("string") for name in rows[0]} | {"file_name": datasets.Image()}
    made = datasets.Dataset.from_list(rows, features=datasets.Features(kinds))
    (tmp_path / "hub/data").mkdir(parents=True)
    made.to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet", batch_size=2)
    made.save_to_disk(tmp_path / "saved")
    for folder, label in ((tmp_path / "hub", "data/train-00000-of-00001.parquet"), (tmp_path / "saved", "rows")):
        source, items = listed(folder)
        assert [item.key for item in items] == [f"{label}/{name}" for name in ("00/1.jpg", "00/2.jpg", "00/1.jpg#4")]
        assert [(item.lat, item.lon) for item in items] == [(48.8584, 2.2945), (-33.8568, 151.2153), (1.5, 2.5)]
        assert (items[0].text, items[0].extra["dataset"]) == ("Paris, France", "MP16")
        assert [source.read(item) for item in items] == [picture(1), picture(2), picture(3)]


def test_questions_about_pictures_without_names_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    rows = [{**values, "image": {**values["image"], "path": None}} for values in GAEA]
    for folder in (saved(rows, tmp_path / "saved"), shards(rows, tmp_path / "shards")):
        source, items = listed(folder)
        kept = [hashlib.sha256(source.read(item)).hexdigest() for item in items]
        assert kept == [hashlib.sha256(picture(seed)).hexdigest() for seed in (1, 2, 3)]


def test_pictures_named_by_a_column_lie_beside_the_dataset(tmp_path: Path) -> None:
    rows = [{**values, "image": values["image"]["path"]} for values in GAEA[:3]]
    folder = shards(rows, tmp_path / "gaea")
    (folder / "00").mkdir()
    (folder / "00/1.jpg").write_bytes(picture(1))
    source, items = listed(folder)
    assert source.kind == "huggingface"
    assert len(items) == 2
    assert source.read(items[0]) == picture(1)
    with pytest.raises(PhotoError, match=r"2\.jpg: there is no such file"):
        source.read(items[1])
    rows[1]["image"] = "../../etc/passwd"
    with pytest.raises(InputError, match="is not inside"):
        listed(shards(rows, tmp_path / "evil"))


def test_splits_are_all_read_or_one(tmp_path: Path) -> None:
    splits = datasets.DatasetDict(
        {name: datasets.load_from_disk(saved(rows, tmp_path / name)) for name, rows in
         (("train", GAEA[:2]), ("bench", GAEA[2:3]))}
    )  # fmt: skip
    splits.save_to_disk(tmp_path / "both")
    assert [item.key for item in listed(tmp_path / "both")[1]] == ["bench/2.jpg", "train/1.jpg"]
    assert [item.key for item in listed(tmp_path / "both", split="train")[1]] == ["train/1.jpg"]
    with pytest.raises(InputError, match="no split 'test'; it has train, bench"):
        listed(tmp_path / "both", split="test")

    shards(GAEA[:2], tmp_path / "shards", count=1)
    shards(GAEA[2:3], tmp_path / "shards", split="test", count=1)
    assert len(listed(tmp_path / "shards")[1]) == 2
    _, (item,) = listed(tmp_path / "shards", split="test")
    assert item.lat == -33.8568
    with pytest.raises(InputError, match="no Parquet files of split 'tes' there"):
        listed(tmp_path / "shards", split="tes")


def test_any_dataset_with_pictures_and_coordinates(tmp_path: Path) -> None:
    """Rows are pictures where nobody asks about them, also those of one name at one place, shuffled or not."""
    features = datasets.Features(
        {"image": datasets.Image(), "Latitude": datasets.Value("float64"), "Longitude": datasets.Value("float64")}
    )
    rows = [
        {"image": Pillow.new("RGB", (16, 12), (seed, 0, 0)), "Latitude": seed / 2, "Longitude": -seed / 4}
        for seed in range(5)
    ]
    dataset = datasets.Dataset.from_list(rows, features=features)
    dataset.select([4, 2, 0]).save_to_disk(tmp_path / "some")
    source, items = listed(tmp_path / "some")
    assert [(item.key, item.lat, item.lon) for item in items] == [
        ("rows/0", 2.0, -1.0), ("rows/1", 1.0, -0.5), ("rows/2", 0.0, 0.0)
    ]  # fmt: skip
    assert Photo.open(source.read(items[0])).pixels[0, 0].tolist() == [4, 0, 0]

    table = pa.table({"jpg": [picture(1), picture(2)], "lat": [1.0, None], "lon": [2.0, 3.0]})
    pq.write_table(table, tmp_path / "plain.parquet")
    source, items = listed(tmp_path / "plain.parquet")
    assert [(item.key, item.lat) for item in items] == [("plain.parquet/0", 1.0), ("plain.parquet/1", None)]
    assert source.read(items[1]) == picture(2)


def test_datasets_that_are_none(tmp_path: Path) -> None:
    without = [{name: value for name, value in GAEA[0].items() if name != "lon"}]
    with pytest.raises(InputError, match=r"no column for a longitude; found .*lat.*: expected"):
        listed(shards(without, tmp_path / "without", count=1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no Parquet files there"):
        open_source(tmp_path / "empty", kind="huggingface")
    folder = saved(GAEA, tmp_path / "cut")
    (file,) = folder.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(InputError, match="cut: not a readable saved dataset"):
        listed(folder)
    folder = shards(GAEA, tmp_path / "damaged")
    source, _ = listed(folder)
    file = folder / "data/train-00000-of-00002.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match="not a readable Parquet"):
        open_source(folder)
    with pytest.raises(InputError, match="not readable Parquet"):
        list(source.items())


# ── OSV-5M ──────────────────────────────────────────────────────────────────

HEADER = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,region,sub-region,city,creator_username\n"
)


def osv5m(folder: Path) -> Path:
    """A train split in two archives, the second of them also unpacked, and a test split in a folder."""
    rows = [
        '111,48.8584,2.2945,,FR,s1,1593000000000,"Île-de-France",Paris,Paris,ada\n',
        "222,-33.8568,151.2153,,AU,s2,1593000000001,New South Wales,,Sydney,bob\n",
        "333,35.6595,139.7005,,JP,s3,1593000000002,Tokyo,,Shibuya,eve\n",
        "999,1.0,2.0,,GA,s4,1593000000003,,,,nobody\n",  # in an archive that was not fetched
    ]
    (folder / "images/train").mkdir(parents=True)
    (folder / "train.csv").write_text(HEADER + "".join(reversed(rows)), encoding="utf-8")
    (folder / "test.csv").write_text(HEADER + "777,0.5,9.45,,GA,s5,1,Estuaire,,Libreville,kim\n", encoding="utf-8")
    with zipfile.ZipFile(folder / "images/train/00.zip", "w") as archive:
        archive.writestr("00/222.jpg", picture(2))
        archive.writestr("00/111.jpg", picture(1))
        archive.writestr("00/555.jpg", picture(5))  # no row in the CSV
    with zipfile.ZipFile(folder / "images/train/01.zip", "w") as archive:
        archive.writestr("01/333.jpg", picture(3))
    (folder / "images/test/00").mkdir(parents=True)
    (folder / "images/test/00/777.jpg").write_bytes(picture(7))
    return folder


def test_osv5m_in_archives_and_folders(tmp_path: Path) -> None:
    source, items = listed(osv5m(tmp_path / "osv5m"))
    assert (source.kind, source.licence) == ("osv5m", "CC BY-SA 4.0")
    assert source.credit.startswith("Mapillary")
    assert [(item.key, item.lat, item.lon) for item in items] == [
        ("train/00/111.jpg", 48.8584, 2.2945),
        ("train/00/222.jpg", -33.8568, 151.2153),
        ("train/00/555.jpg", None, None),
        ("train/01/333.jpg", 35.6595, 139.7005),
        ("test/00/777.jpg", 0.5, 9.45),
    ]
    assert (items[0].text, items[0].credit) == ("Paris, Île-de-France, FR", "ada")
    assert items[0].extra["captured_at"] == "1593000000000"
    assert [source.read(item) for item in items] == [picture(seed) for seed in (1, 2, 5, 3, 7)]

    # Unpacking an archive beside itself changes neither keys nor bytes.
    with zipfile.ZipFile(tmp_path / "osv5m/images/train/01.zip") as archive:
        archive.extractall(tmp_path / "osv5m/images/train")
    again, unpacked = listed(tmp_path / "osv5m", kind="huggingface")
    assert [item.key for item in unpacked] == [item.key for item in items]
    assert unpacked[3].where[0] == ""
    assert again.read(unpacked[3]) == picture(3)
    assert [item.key for item in listed(tmp_path / "osv5m", split="test")[1]] == ["test/00/777.jpg"]


PUBLISHED = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,region,sub-region,city,"
    "land_cover,road_index,drive_side,climate,soil,dist_sea,quadtree_10_5000,quadtree_10_25000,quadtree_10_1000,"
    "quadtree_10_50000,quadtree_10_12500,quadtree_10_500,quadtree_10_2500,unique_region,unique_sub-region,unique_city,"
    "unique_country,creator_username,creator_id\n"
)


def test_osv5m_with_all_its_published_columns(tmp_path: Path) -> None:
    """The columns that osv5m.py of the repository names; a cell such as "(0, 8)" has a comma of its own."""
    folder = osv5m(tmp_path / "osv5m")
    row = '3859149887465501,-43.80,-176.61,https://x.y/z?a=1,NZ,s9,1404286462000,0.0,8.0,"(0, 8)",Chatham Islands,'
    row += ",Waitangi,4.0,4.66,1.0,15.0,3.0,0.0068,0,0,0,0,0,0,0,Chatham Islands_NZ,,Waitangi_NaN_NZ,NZ,roadroid,1.1\n"
    (folder / "test.csv").write_text(PUBLISHED + row, encoding="utf-8")
    (folder / "images/test/00/777.jpg").unlink()
    with zipfile.ZipFile(folder / "images/test/04.zip", "w") as archive:
        archive.writestr("04/3859149887465501.jpg", picture(9))
    source, items = listed(folder, split="test")
    assert [(item.key, item.lat, item.lon) for item in items] == [("test/04/3859149887465501.jpg", -43.80, -176.61)]
    assert (items[0].text, items[0].credit) == ("Waitangi, Chatham Islands, NZ", "roadroid")
    assert items[0].extra["captured_at"] == "1404286462000"
    assert source.read(items[0]) == picture(9)


def test_osv5m_that_is_damaged(tmp_path: Path) -> None:
    folder = osv5m(tmp_path / "osv5m")
    source, items = listed(folder, split="train")
    (folder / "images/train/01.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"01\.zip: not a readable ZIP archive"):
        list(source.items())
    with pytest.raises(PhotoError, match=r"train/01/333\.jpg: cannot be read from"):
        pickle.loads(pickle.dumps(source)).read(items[3])
    archive = folder / "images/train/00.zip"
    archive.write_bytes(archive.read_bytes().replace(picture(1), picture(1)[:-2] + b"??"))
    with pytest.raises(PhotoError, match=r"train/00/111\.jpg: cannot be read from .*CRC"):
        source.read(items[0])
    assert source.read(items[1]) == picture(2)
    (folder / "train.csv").write_text("id,lat\n1,2\n")
    with pytest.raises(InputError, match=r"train\.csv: no column latitude, longitude; found id, lat"):
        list(source.items())
    with pytest.raises(InputError, match="split 'val' is not train or test"):
        open_source(folder, split="val")
    with pytest.raises(InputError, match=r"no train\.csv beside an images folder"):
        open_source(tmp_path, kind="osv5m")
