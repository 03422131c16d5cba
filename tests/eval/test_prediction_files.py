"""Predictions of others, in the files in which they leave them; what is wrong is counted, and nothing mended."""

import csv
import json

import pytest

from gaea.errors import InputError
from gaea.eval.benchmark import Faults, benchmark
from gaea.eval.prediction_files import FileSystem
from gaea.eval.records import GroundTruth, Item, Prediction, line
from gaea.eval.running import Plan, run
from gaea.eval.scoring import score

PLACES = [(48.85 + n / 10, 2.35 - n / 10) for n in range(6)]


def made(items=None, faults=None):
    items = items or [
        Item(f"{n}.jpg", "toy", "locate", f"{n}.jpg", truth=GroundTruth(lat, lon))
        for n, (lat, lon) in enumerate(PLACES)
    ]
    return benchmark("toy", "1", items, faults=faults or Faults())


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def predicted(system, whole=None):
    return {item.id: system.predict(item, lambda _: None) for item in (whole or made()).items}


G3 = [
    {"IMG_ID": f"{n}.jpg", "LAT": lat, "LON": lon, "LAT_pred": lat + 1, "LON_pred": lon, "geodesic": 111.2}
    for n, (lat, lon) in enumerate(PLACES)
]
CANDIDATES = [
    {
        "IMG_ID": f"{n}.jpg",
        "LAT": lat,
        "LON": lon,
        "zs_0_latitude": lat + 1 if n else 0.0,
        "zs_0_longitude": lon if n else 0.0,
    }
    for n, (lat, lon) in enumerate(PLACES)
]
SAMPLES = [
    {"dataset": "toy", "img_idx": n, "sample_j": j, "lat": lat + 1 + j, "lon": lon, "logp": -1.0 - j}
    for n, (lat, lon) in enumerate(PLACES)
    for j in range(3)
]
RESULTS = [
    {"img_idx": n, "true_lat": lat, "true_lon": lon, "chosen_lat": lat + 1, "chosen_lon": lon}
    for n, (lat, lon) in enumerate(PLACES)
]
PLAIN = [{"filename": f"images/{n}.jpg", "lat": str(lat + 1), "lon": str(lon)} for n, (lat, lon) in enumerate(PLACES)]


@pytest.mark.parametrize(
    "rows", [G3, SAMPLES, RESULTS, PLAIN], ids=["G3", "GeoToken samples", "GeoToken results", "plain"]
)
def test_tables_of_coordinates(rows, tmp_path):
    system = FileSystem(table(tmp_path / "predictions.csv", rows), made())
    assert not system.faults.counts
    found = predicted(system)
    assert all(found[f"{n}.jpg"].point == pytest.approx((lat + 1, lon)) for n, (lat, lon) in enumerate(PLACES))


def test_json_lines_and_a_geocoders_pairs(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in PLAIN))
    (tmp_path / "b.json").write_text(json.dumps({row["filename"]: [row["lat"], row["lon"]] for row in PLAIN}))
    assert predicted(FileSystem(tmp_path / "a.jsonl", made())) == predicted(FileSystem(tmp_path / "b.json", made()))


def test_a_run_of_ones_own(tmp_path):
    (tmp_path / "predictions.jsonl").write_text(line(Prediction("0.jpg", "refused", "I will not say.")))
    system = FileSystem(tmp_path / "predictions.jsonl", made())
    assert predicted(system)["0.jpg"] == Prediction("0.jpg", "refused", "I will not say.")


def test_gaeas_answers_in_words(tmp_path):
    question = Item("7", "toy", "ask", "0.jpg", "True or false?", "true_false", GroundTruth(answer="true"))
    where = Item("8", "toy", "ask", "0.jpg", "Where?", "location", GroundTruth(41.15, -8.61, "PT", None, "Porto"))
    whole = made([question, where])
    rows = [
        {
            "filename": "0.jpg",
            "predicted_answer": ["False."],
            "ground_truth": "True",
            "question": "True or false?",
            "unique_id": 7,
        },
        {
            "filename": "0.jpg",
            "predicted_answer": ["Porto, Portugal"],
            "ground_truth": "Porto",
            "question": "Where?",
            "unique_id": 8,
        },
    ]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = predicted(FileSystem(tmp_path / "p.json", whole), whole)
    assert found["7"].text == "False."
    assert (found["8"].country, found["8"].city) == ("PT", "Porto")
    for row in rows:  # as its location script leaves them: without ids
        del row["unique_id"]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    assert predicted(FileSystem(tmp_path / "p.json", whole), whole) == found


def test_an_answer_that_was_faked_as_null_island_is_unparsable(tmp_path):
    system = FileSystem(table(tmp_path / "toy_prediction.csv", CANDIDATES), made())
    assert predicted(system)["0.jpg"].status == "unparsable"
    assert predicted(system)["1.jpg"].status == "answered"
    (kind,) = system.faults.counts
    assert "0, 0" in kind


def test_what_is_wrong_is_counted_and_scored_as_a_miss(tmp_path):
    rows = [
        {"id": "0.jpg", "lat": "48.85", "lon": "2.35"},
        {"id": "0.jpg", "lat": "10", "lon": "10"},
        {"id": "1.jpg", "lat": "north", "lon": "2"},
        {"id": "2.jpg", "lat": "151.2", "lon": "-33.8"},
        {"id": "3.jpg", "lat": "", "lon": ""},
        {"id": "stranger.jpg", "lat": "1", "lon": "1"},
        {"id": "4.jpg", "lat": "95", "lon": "100"},
    ]
    whole = made()
    system = FileSystem(table(tmp_path / "p.csv", rows), whole)
    assert dict(system.faults.counts) == {
        "predictions that come again, the first counts": 1,
        "predictions with coordinates that are no numbers": 1,
        "predictions with coordinates that look swapped (latitude beyond 90)": 1,
        "predictions with coordinates out of range": 1,
        "predictions of no item": 1,
        "items without a prediction, counted as misses": 1,
    }
    told = score(run(whole, system, Plan(), tmp_path / "run"))
    assert told["n"] == {
        "attempted": 6, "answered": 1, "abstained": 0, "refused": 0, "unparsable": 3, "error": 0, "missing": 2,
    }  # fmt: skip
    assert told["places"]["within_1_km"][0] == pytest.approx(1 / 6, abs=1e-4)
    assert told["settings"]["faults"]["predictions of no item"]["first"] == ["stranger.jpg"]
    assert any("look swapped" in reason for reason in told["errors"])


def test_half_a_file_is_half_missed(tmp_path):
    whole = made()
    told = score(run(whole, FileSystem(table(tmp_path / "p.csv", PLAIN[:3]), whole), Plan(), tmp_path / "run"))
    assert (told["n"]["answered"], told["n"]["missing"]) == (3, 3)
    assert told["places"]["within_200_km"][0] == 0.5


def test_a_file_that_is_swapped_throughout_is_named_and_left_as_it_is(tmp_path):
    points = [(10 + n / 3, 60 - n / 4) for n in range(30)]
    whole = made([Item(f"{n}", "toy", "locate", truth=GroundTruth(*each)) for n, each in enumerate(points)])
    rows = [{"id": n, "lat": lon, "lon": lat} for n, (lat, lon) in enumerate(points)]
    system = FileSystem(table(tmp_path / "p.csv", rows), whole)
    (kind,) = system.faults.counts
    assert kind == "latitude and longitude look swapped throughout, scored as they stand"
    assert system.predict(whole.items[0], lambda _: None).point == (60, 10)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{not json", "no CSV, JSON or JSON lines"),
        ("a.json", "[1, 2]", "a int where a prediction belongs"),
        ("a.csv", "id,lat,lon\n", "holds no predictions"),
        ("a.csv", "id,lat,lon\nx,1,1\n", "none of its 1 rows fits"),
        ("a.csv", "img_idx,true_lat,true_lon,chosen_lat,chosen_lon\n0,1,1,1,1\n", "of another table"),
    ],
)
def test_a_file_that_is_none(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        FileSystem(tmp_path / name, made())
    with pytest.raises(InputError, match="not there"):
        FileSystem(tmp_path / "absent.csv", made())


def test_numbers_of_rows_are_not_trusted_where_rows_were_left_out(tmp_path):
    faults = Faults()
    faults.note("rows left out for coordinates that are empty", "x")
    with pytest.raises(InputError, match="name pictures instead"):
        FileSystem(table(tmp_path / "p.csv", SAMPLES), made(faults=faults))


def test_a_name_that_fits_several_items_is_none(tmp_path):
    whole = made([Item(f"{f}/1.jpg", "toy", "locate", f"{f}/1.jpg", truth=GroundTruth(1.0, 1.0)) for f in "ab"])
    rows = [{"id": "1.jpg", "lat": 1, "lon": 1}, {"id": "a/1.jpg", "lat": 1, "lon": 1}]
    system = FileSystem(table(tmp_path / "p.csv", rows), whole)
    assert system.faults.counts["names that fit several items"] == 1
    assert predicted(system, whole)["a/1.jpg"].status == "answered"
