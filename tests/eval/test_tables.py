"""Benchmarks of places in the layouts in which they were published, and what is wrong in them; rows are invented."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from gaea.errors import InputError, PhotoError
from gaea.eval.benchmarks import TOLD, open_benchmark
from gaea.eval.layouts import LAYOUTS
from gaea.eval.tables import open_table

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[3] / "shared/data"))
real = pytest.mark.skipif(not (DATA / "reference").is_dir(), reason="needs reference/ in GAEA_DATA or ../shared/data")

PLACES365 = "IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban"
PUBLISHED = {
    "im2gps": ("im2gps_places365.csv", f"{PLACES365}\na.jpg,x,48.85,2.35,2,1,9,0.1,0.2,0.7\n", "gps_query_imgs/a.jpg"),
    "im2gps3k": (
        "im2gps3k_citygt.csv",
        "IMG_ID,AUTHOR,LAT,LON,CITY,COUNTRY\na.jpg,x,48.85,2.35,Paris,France\n",
        "im2gps3ktest/a.jpg",
    ),
    "yfcc4k": ("yfcc4k_places365.csv", f"{PLACES365}\n123,x,48.85,2.35,0,1,9,0.8,0.1,0.1\n", "yfcc4k/123.jpg"),
    "yfcc26k": (
        "yfcc25600_places365.csv",
        f"{PLACES365}\n3f/aa/123.jpg,x,48.85,2.35,0,1,9,0.8,0.1,0.1\n",
        "yfcc26k/3f/aa/123.jpg",
    ),
    "gws15k": (
        "gws15k_citygt.csv",
        "FILE,LAT,LON,CITY,COUNTRY\ngsv_1.jpg,48.85,2.35,Paris,France\n",
        "images/gsv_1.jpg",
    ),
    "osv5m": (
        "test.csv",
        "id,latitude,longitude,land_cover,drive_side,region,city,unique_country\n"
        "38591,48.85,2.35,4,1,Île-de-France,Paris,FR\n",
        "images/test/07/38591.jpg",
    ),
    "geode": (
        "geode_citygt.csv",
        "file_path,lat,lon,city,country\nEurope/France/France_bag_1.jpg,48.85,2.35,Paris,France\n",
        "geode/Europe/France/France_bag_1.jpg",
    ),
    "cityguessr": (
        "cityguessr_citygt.csv",
        "FILE,CITY,COUNTRY\nParis_1_00002/14.jpg,Paris,France\n",
        "cityguessr/Paris_1_00002/14.jpg",
    ),
    "dollarstreet": (
        "images_v2.csv",
        "id,country.name,topics,imageRelPath,income\n5ec4,France,beds,assets/5ec4/5ec4.jpg,1500\n",
        "dataset_dollarstreet/assets/5ec4/5ec4.jpg",
    ),
    "folder": ("metadata.csv", "file_name,latitude,longitude\nimages/a.jpg,48.85,2.35\n", "images/a.jpg"),
}


def lay_out(root, name):
    table, text, picture = PUBLISHED[name]
    (root / picture).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (90, 120, 60)).save(root / picture)
    (root / table).write_text(text, encoding="utf-8")
    return root


def test_every_layout_has_a_fixture():
    assert set(PUBLISHED) == set(LAYOUTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_is_read(name, tmp_path, monkeypatch):
    lay_out(tmp_path / name, name)
    monkeypatch.setenv("GAEA_BENCHMARKS", str(tmp_path))
    opened = open_benchmark(name)
    (item,) = opened.items
    if LAYOUTS[name].places:
        assert item.truth.point == (48.85, 2.35)
        assert item.strata["continent"] == "Europe"
    else:
        assert item.truth.point is None
        assert item.truth.country == "France"
    assert opened.picture(item).original_size == (8, 6)
    assert opened.sha256 == open_benchmark(name).sha256
    assert not any("missing" in kind for kind in opened.faults)


@pytest.mark.parametrize("name", [name for name in TOLD if name not in ("orbit", "travel")])
def test_what_is_not_here_is_said_where_to_get(name, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"http|metadata\.csv"):
        open_benchmark(name, root=tmp_path)
    monkeypatch.delenv("GAEA_BENCHMARKS", raising=False)
    with pytest.raises(InputError, match="--root"):
        open_benchmark(name)


def test_an_unknown_benchmark_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'im2gps3k'"):
        open_benchmark("im2gps3")


def test_groups_of_a_benchmark_are_kept(tmp_path):
    (item,) = open_table("im2gps", lay_out(tmp_path / "a", "im2gps")).items
    assert item.strata["scene"] == "urban"
    (item,) = open_table("dollarstreet", lay_out(tmp_path / "b", "dollarstreet")).items
    assert item.strata == {"topic": "beds", "income": "3"}
    (item,) = open_table("osv5m", lay_out(tmp_path / "c", "osv5m")).items
    assert item.strata["land cover"] == "4"
    assert (item.truth.country, item.truth.region) == ("FR", "Île-de-France")


def test_what_is_wrong_is_counted_and_named(tmp_path):
    rows = [
        "good.jpg,48.85,2.35,Paris,France",
        "text.jpg,forty,2.35,Paris,France",
        "empty.jpg,,,Paris,France",
        "nan.jpg,nan,2.35,Paris,France",
        "swapped.jpg,151.21,-33.86,Sydney,Australia",
        "far.jpg,48.85,1000,Paris,France",
        "turned.jpg,2.35,48.85,Paris,France",
        "sign.jpg,33.9275,18.4153,Cape Town,South Africa",
        "good.jpg,48.85,2.35,Paris,France",
        "good.jpg,45.75,4.85,Lyon,France",
        '"quoted.jpg"," 48.85 ","2.35",Paris,France',
        "Africa/South_Africa/x.jpg,33.9275,18.4153,Benghazi,Libya",
    ]
    (tmp_path / "gws15k_citygt.csv").write_text("FILE,LAT,LON,CITY,COUNTRY\n" + "\n".join(rows) + "\n")
    for name in ("good.jpg", "turned.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    opened = open_table("gws15k", tmp_path)
    counts = {kind: told["count"] for kind, told in opened.faults.items()}
    assert counts["rows left out for coordinates that are no numbers"] == 2
    assert counts["rows left out for coordinates that are empty"] == 1
    assert counts["rows left out for coordinates that look swapped (latitude beyond 90)"] == 1
    assert counts["rows left out for coordinates out of range"] == 1
    assert counts["ids that come again, saying the same"] == 1
    assert counts["ids that come again, saying another"] == 1
    assert counts["rows whose country fits their coordinates swapped"] == 1
    assert counts["rows whose country fits their coordinates with the other sign of latitude"] == 2
    assert counts["rows whose path names another country than their column"] == 1
    assert counts["pictures that are missing"] == 3
    assert opened.faults["pictures that are missing"]["first"] == [
        "sign.jpg",
        "quoted.jpg",
        "Africa/South_Africa/x.jpg",
    ]
    assert [item.id for item in opened.items] == [
        "good.jpg",
        "turned.jpg",
        "sign.jpg",
        "quoted.jpg",
        "Africa/South_Africa/x.jpg",
    ]
    assert opened.items[3].truth.point == (48.85, 2.35)
    with pytest.raises(PhotoError):
        opened.picture(opened.items[2])


def test_an_empty_table_or_one_without_its_columns_is_an_error(tmp_path):
    (tmp_path / "test.csv").write_text("id,latitude,longitude\n")
    with pytest.raises(InputError, match="no rows"):
        open_table("osv5m", tmp_path)
    (tmp_path / "test.csv").write_text("id,where\n1,here\n")
    with pytest.raises(InputError, match=r"lacks lat \(lat or latitude\)"):
        open_table("osv5m", tmp_path)


def test_a_limit_is_spread_and_a_shard_leaves_nothing_out(tmp_path):
    rows = [{"file_name": f"{n}.jpg", "latitude": n, "longitude": 0} for n in range(40)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    opened = open_table("folder", tmp_path)
    assert opened.chosen(limit=7, seed=1) == opened.chosen(limit=7, seed=1)
    assert opened.chosen(limit=7, seed=1) != opened.chosen(limit=7, seed=2)
    shards = [opened.chosen(shard=f"{n}/3") for n in (1, 2, 3)]
    assert sorted(item.id for shard in shards for item in shard) == sorted(item.id for item in opened.items)
    for wrong in ("0/3", "4/3", "a/b", "3"):
        with pytest.raises(InputError, match="not a shard"):
            opened.chosen(shard=wrong)
    with pytest.raises(InputError, match="leaves nothing"):
        opened.chosen(limit=0)


@real
@pytest.mark.parametrize(("name", "count"), [("im2gps", 237), ("im2gps3k", 2452), ("gws15k", 14955)])
def test_real_ground_truth_is_read_whole(name, count):
    opened = open_table(name, DATA / "reference")
    assert len(opened.items) == count
    assert all(item.truth.point and item.truth.country and item.strata for item in opened.items)
    wrong = sum(told["count"] for kind, told in opened.faults.items() if "country" in kind)
    assert wrong < 0.04 * count
