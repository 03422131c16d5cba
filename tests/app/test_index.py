"""``gaea index`` from a table of pictures to an answer that stands on them."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from gaea.app import cli, sample
from gaea.rag.__main__ import main as rag_main

COUNT = 240


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Crops of Blue Marble at places on land, a table of them with a few bad rows, and one of them again as a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    with (folder / "places.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "lat", "lon", "title", "author"])
        for number in range(COUNT):
            lat, lon = float(rng.uniform(15, 55)), float(rng.uniform(-10, 100))
            name = f"{number:03d}.jpg"
            sample.crop((lat, lon), width_km=400, size=128).save(folder / name, quality=90)
            table.writerow([name, round(lat, 4), round(lon, 4), f"place {number}", "NASA"])
        table.writerow(["000.png", 95, 10, "", ""])
        table.writerow(["001.png", 0, 0, "", ""])
        table.writerow(["002.png", 10, 190, "", ""])
        table.writerow(["gone.jpg", 10, 20, "", ""])
        for name in ("000.png", "001.png", "002.png"):
            Image.new("RGB", (64, 64)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def index(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "orbit"
    assert cli.main(["index", "build", str(folder), str(pictures / "places.csv"), "--licence", "public domain"]) == 0
    return folder


def out(capsys, *argv, status=0):
    assert cli.main(["index", *map(str, argv)]) == status
    return capsys.readouterr().out


def test_a_build_says_what_it_refused_and_goes_on_where_it_was(index, pictures, capsys):
    told = out(capsys, "build", index, pictures / "places.csv")
    assert f"there already    {COUNT}" in told
    assert "0 rows added" in told
    refused = [json.loads(line) for line in (index / "rejected.jsonl").read_text().splitlines()]
    assert {line["key"] for line in refused} == {"000.png", "001.png", "002.png", "gone.jpg"}


def test_an_index_says_what_it_holds(index, capsys):
    told = json.loads(out(capsys, "info", index, "--json"))
    assert told["rows"] == COUNT
    assert told["encoder"]["spec"] == "nano"
    assert told["licences"] == {"public domain": COUNT}
    assert "countries" in out(capsys, "info", index)
    assert out(capsys, "verify", index).startswith(f"{index} is whole: {COUNT} rows")


def test_a_photo_finds_itself_and_narrowing_keeps_to_its_country(index, pictures, capsys):
    found = json.loads(out(capsys, "query", index, pictures / "007.jpg", "-k", 5, "--dissimilar", 2, "--json"))
    assert found[0]["key"] == "007.jpg"
    assert found[0]["similarity"] > 0.98
    assert [row["role"] for row in found] == ["similar"] * 5 + ["dissimilar"] * 2
    inside = json.loads(out(capsys, "query", index, pictures / "007.jpg", "--country", "ru", "--json"))
    assert {row["country"] for row in inside} == {"RU"}
    near = json.loads(out(capsys, "query", index, pictures / "007.jpg", "--box", "20,-5,30,40", "--json"))
    assert all(20 <= row["lat"] <= 30 and -5 <= row["lon"] <= 40 for row in near)
    out(capsys, "query", index, pictures / "007.jpg", "--near", "-60,-100,50", status=2)


def test_calibrating_makes_the_answers_of_an_index_fitted(index, pictures, capsys):
    ask = ["ask", str(pictures / "007.jpg"), "--index", str(index), "--guess", "--json"]
    assert cli.main(ask) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["provenance"]["calibration"] == "none"
    assert before["evidence"][0]["text"] == "place 7"
    assert "50 and 90 % regions are drawn at" in out(capsys, "calibrate", index, "--away-km", 300)
    assert cli.main(ask) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["calibration"] == "fitted"


def test_rows_are_exported_and_removed(index, tmp_path, capsys):
    assert f"wrote {COUNT} rows" in out(capsys, "export", index, tmp_path / "rows.geojson")
    features = json.loads((tmp_path / "rows.geojson").read_text())["features"]
    assert len(features) == COUNT
    assert "removed 1 rows" in out(capsys, "remove", index, "--key", "011.jpg")
    told = out(capsys, "rebuild", index)
    assert told.startswith(f"{COUNT - 1} rows in 1 shards")
    added = out(capsys, "add", index, json.loads((index / "index.json").read_text())["sources"][0]["location"])
    assert "1 rows added" in added


def test_an_estimate_writes_nothing(pictures, tmp_path, capsys):
    told = out(capsys, "build", tmp_path / "none", pictures / "places.csv", "--estimate")
    assert f"for {COUNT + 4} items" in told
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["info", "{gone}"], "no index at"),
        (["build", "{gone}", "{gone}"], "there is no such file or folder"),
        (
            ["build", "{index}", "{pictures}/places.csv", "--encoder", "hf-hub:some/model"],
            "was begun with encoder nano",
        ),
        (["query", "{index}", "{pictures}/places.csv"], "it looks like text"),
        (["query", "{index}", "{pictures}/007.jpg", "--box", "1,2,3"], "expected SOUTH,WEST,NORTH,EAST"),
        (["remove", "{index}"], "no rows are named"),
        (["export", "{index}", "{gone}.xlsx"], ".parquet"),
        (["frobnicate", "{index}"], "invalid choice"),
    ],
)
def test_a_mistake_is_one_line(index, pictures, tmp_path, capsys, argv, message):
    places = {"index": index, "pictures": pictures, "gone": tmp_path / "gone"}
    argv = [part.format(**places) for part in argv]
    assert rag_main(argv) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "gone").exists()


def test_two_sources_of_one_name_are_told_apart(index, pictures, tmp_path, capsys):
    (tmp_path / "places.csv").write_text("path,lat,lon\n")
    assert rag_main(["add", str(index), str(tmp_path / "places.csv")]) == 2
    assert "give this one another --name" in capsys.readouterr().err
