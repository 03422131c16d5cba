"""GAEA's formats: read and written as they are, and every fault named by row and field."""

import copy
import gzip
import json
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gaea.errors import GalleryError, InputError
from gaea.finetune import jsontext, rowlayout
from gaea.finetune.__main__ import main
from gaea.finetune.card import CardDetails, Split, card
from gaea.finetune.conversion import ConvertConfig, convert
from gaea.finetune.dataset import Kind, example_of, kind_of, rows_of
from gaea.finetune.faults import FaultLog, faults_of
from gaea.finetune.leakage import compare
from gaea.finetune.rowfiles import count_rows, read_examples, read_rows, scan_rows, sound_rows
from gaea.finetune.rowlayout import LINES, Layout, write_rows
from gaea.finetune.splits import Part, part_of
from gaea.finetune.statistics import Frequent, count

OSM = {"name": "OpenStreetMap", "licence": "ODbL", "credit": "© OpenStreetMap contributors"}


def train_row(image="00/22/1.jpg", kind="LOC", question="Where is this?", answer="Zürich, Switzerland", **more):
    said = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"image": image, "dataset": "MP16", "question_type": kind, "conversations": said, **more}


BENCHMARK = {
    "image": "1.jpg",
    "unique_id": 7,
    "question_type": "TF",
    "conversations": [{"from": "human", "value": "<image>\nIs there a port? 🎉"}, {"from": "gpt", "value": "True"}],
}
PREDICTION = {
    "filename": "1.jpg",
    "predicted_answer": ["True"],
    "ground_truth": "False",
    "question": "<image>\nIs there a port?",
    "question_type": "TF",
    "unique_id": 7,
}
HUB = {
    "image": "00/1.jpg",
    "question": "Where is this?",
    "answer": "Lima, Peru",
    "lat": "-12.0460",
    "lon": "-77.0",
    "location": "Lima, Peru",
    "question_type": "LOC",
    "subset": "MP16",
}
PUBLISHED = {Kind.TRAIN: train_row(), Kind.BENCHMARK: BENCHMARK, Kind.PREDICTIONS: PREDICTION, Kind.HUB: HUB}
kinds = pytest.mark.parametrize("kind", list(Kind))


def put(path, rows, **how):
    path.write_text(json.dumps(rows, **how), encoding="utf-8")
    return path


# ── reading and writing ─────────────────────────────────────────────────────


@kinds
def test_published_rows_are_sound_and_known_by_their_fields(kind):
    assert kind_of(PUBLISHED[kind]) is kind
    assert faults_of(PUBLISHED[kind], kind) == []


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "letters"])
@pytest.mark.parametrize("separators", [None, (",", ":")], ids=["spaced", "tight"])
@pytest.mark.parametrize("indent", [None, 4, 2, "\t"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_json_list_is_written_again_byte_for_byte(tmp_path, monkeypatch, indent, separators, ascii_only, end):
    monkeypatch.setattr(jsontext, "_CHUNK", 37)  # so that every row is cut off somewhere
    rows = [train_row(f"{n}.jpg", answer='ü🎉\\"\n' * n or "a", extra={"x": [n, None, 1.5, 1e300]}) for n in range(9)]
    text = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=ascii_only) + end
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert list(read_rows(tmp_path / "a.json")) == rows
    assert convert(tmp_path / "a.json", tmp_path / "b.json") == 9
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


@kinds
def test_every_kind_is_copied_byte_for_byte_with_fields_nobody_knows(tmp_path, kind):
    rows = [{**PUBLISHED[kind], "of ours": {"lat": 1}, "unique": "é"}] * 3
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    convert(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text",
    [
        '[{"a\\/b": "c\\/d", "image": "00\\/1.jpg"}, {"image": "00\\/2.jpg"}]',  # as ujson writes
        '[\r\n  {"image": "é", "x": "\\ud83d"},\r\n  {"image": "y"}\r\n]\r\n',
        '{"image": "x"}\n{"image": "y"}',
    ],
)
def test_other_writers_too(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode())
    layout = Layout.of(tmp_path / "a.json")
    write_rows(tmp_path / "b.json", read_rows(tmp_path / "a.json"), layout)
    assert (tmp_path / "b.json").read_bytes() == text.encode()
    assert layout.exact


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), json_values, max_size=4), max_size=5), chunk=st.integers(1, 70)
)
def test_any_rows_come_back(tmp_path_factory, rows, chunk):
    place = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsontext, "_CHUNK", chunk)
        for name, layout in (("any.json", Layout(ascii_only=False)), ("any.jsonl", LINES)):
            if rows or name == "any.json":
                assert write_rows(place / name, rows, layout) == len(rows)
                assert list(read_rows(place / name)) == rows


def test_gzip_is_read_and_written_the_same_each_time(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_rows(tmp_path / name, [train_row(), train_row("2.jpg")])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).count(b"\n") == 2
    assert list(read_rows(tmp_path / "a.jsonl.gz")) == [train_row(), train_row("2.jpg")]


def test_parquet_keeps_the_hubs_columns_and_our_facts(tmp_path):
    import pyarrow.parquet as pq

    rows = [{**HUB, "image": f"{n}.jpg", "views": n, "gaea": {"facts": [n, "text"]}} for n in range(700)]
    write_rows(tmp_path / "a" / "0.parquet", rows[:500])
    write_rows(tmp_path / "a" / "1.parquet", rows[500:])
    schema = pq.read_schema(tmp_path / "a" / "0.parquet")
    assert schema.names == [*HUB, "gaea", "views"]
    assert {str(schema.field(name).type) for name in HUB} == {"string"}
    assert list(read_rows(tmp_path / "a")) == [{**{k: r[k] for k in [*HUB, "gaea", "views"]}} for r in rows]
    assert count_rows(tmp_path / "a") == 700
    assert next(read_rows(tmp_path / "a", columns=["answer"])) == {"answer": "Lima, Peru"}


def test_pictures_in_a_hub_file_stay_or_get_files(tmp_path):
    picture = b"\xff\xd8 not decoded here"
    write_rows(tmp_path / "a.parquet", [{**HUB, "image": {"bytes": picture, "path": "00/1.jpg"}}] * 3)
    convert(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert list(read_rows(tmp_path / "b.parquet")) == list(read_rows(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match="--pictures DIR"):
        convert(tmp_path / "a.parquet", tmp_path / "c.json", ConvertConfig(to="train"))
    convert(tmp_path / "a.parquet", tmp_path / "c.json", ConvertConfig(to="train", pictures=tmp_path / "p"))
    assert (tmp_path / "p" / "00" / "1.jpg").read_bytes() == picture
    assert next(read_rows(tmp_path / "c.json"))["image"] == "00/1.jpg"


@pytest.mark.parametrize("path", ["../1.jpg", "/etc/1.jpg", "a/../../1.jpg"])
def test_a_picture_cannot_be_written_elsewhere(tmp_path, path):
    write_rows(tmp_path / "a.parquet", [{**HUB, "image": {"bytes": b"x", "path": path}}])
    with pytest.raises(InputError, match="leads out of the folder"):
        convert(tmp_path / "a.parquet", tmp_path / "c.json", ConvertConfig(to="train", pictures=tmp_path / "p"))
    assert not (tmp_path / "c.json").exists()


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    """Eight times the rows take no more memory than one window on them and what Python keeps."""
    monkeypatch.setattr(jsontext, "_CHUNK", 1 << 14)
    monkeypatch.setattr(rowlayout, "_CHUNK", 1 << 14)
    peaks = []
    for number in (300, 2_400):
        write_rows(tmp_path / "a.json", (train_row(f"{n}.jpg", answer="word " * 60) for n in range(number)))
        tracemalloc.start()
        assert convert(tmp_path / "a.json", tmp_path / "b.json") == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "a.json").stat().st_size > 1_000_000
    assert peaks[1] < peaks[0] + 200_000, peaks


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    put(tmp_path / "a.json", [train_row()])

    def breaks():
        yield train_row()
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_rows(tmp_path / "a.json", breaks())
    assert list(read_rows(tmp_path / "a.json")) == [train_row()]
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be written as JSON"):
        write_rows(tmp_path / "a.json", [train_row(x=float("nan"))])
    with pytest.raises(InputError, match=r"\.json, \.jsonl"):
        write_rows(tmp_path / "a.csv", [])
    with pytest.raises(InputError, match="row 2: subset: is missing"):
        write_rows(tmp_path / "a.parquet", [HUB, {k: v for k, v in HUB.items() if k != "subset"}])
    with pytest.raises(InputError, match="do not fit"):
        write_rows(tmp_path / "a.parquet", [HUB, {**HUB, "lat": 1.0}] * 6000)
    (tmp_path / "b.json").mkdir()
    with pytest.raises(GalleryError, match="cannot be written"):
        write_rows(tmp_path / "b.json", [train_row()])


# ── faults ──────────────────────────────────────────────────────────────────


def changed(kind, **fields):
    return {**copy.deepcopy(PUBLISHED[kind]), **fields}


def said(*turns):
    return [{"from": speaker, "value": text} for speaker, text in turns]


Q, A = ("human", "<image>\nWhere?"), ("gpt", "Here")


@kinds
def test_each_missing_field_is_named(kind):
    for name in PUBLISHED[kind]:
        row = {k: v for k, v in PUBLISHED[kind].items() if k != name}
        assert (name, "is missing") in faults_of(row, kind)


@pytest.mark.parametrize(
    ("fields", "name", "problem"),
    [
        ({"question_type": "LOX"}, "question_type", "'LOX' is unknown; did you mean LOC?"),
        ({"question_type": "poem"}, "question_type", "'poem' is unknown; expected one of LOC, LVQA"),
        ({"question_type": ["LOC"]}, "question_type", r"\['LOC'\] is unknown"),
        ({"image": ""}, "image", "is no path"),
        ({"image": []}, "image", "is no path"),
        ({"dataset": None}, "dataset", "None is no text"),
        ({"conversations": "hello"}, "conversations", "is no list of turns"),
        ({"conversations": said(Q, A, A)}, "conversations", "turn 3 is 'gpt''s, expected human's"),
        ({"conversations": said(A, Q)}, "conversations", "turn 1 is 'gpt''s, expected human's"),
        ({"conversations": said(Q)}, "conversations", "no answer"),
        ({"conversations": said(Q, ("gpt", " "))}, "conversations", "turn 2 says nothing"),
        ({"conversations": [{"from": "human"}, 3]}, "conversations", "turn 1 is .*expected {from, value}"),
        ({"conversations": said(("human", "Where?"), A)}, "conversations", "0 <image> for 1 image"),
        ({"conversations": said(Q, A, Q, A)}, "conversations", "2 <image> for 1 image"),
        ({"image": ["a", "b"]}, "conversations", "1 <image> for 2 images"),
        ({"conversations": said(("human", "<image> Where?"), A)}, "conversations", "without a newline"),
        ({"conversations": said(Q, ("gpt", "<image>\n"))}, "conversations", "in an answer"),
        ({"gaea": 3}, "gaea", "3 is no object"),
        ({"gaea": {"lat": 91, "lon": 0}}, "gaea.lat", "out of range"),
        ({"gaea": {"lat": 1}}, "gaea.lon", "is empty where"),
        ({"gaea": {"lat": "north", "lon": True}}, "gaea.lat", "are no numbers"),
    ],
)
def test_faults_of_a_training_row(fields, name, problem):
    ((found, text),) = faults_of(changed(Kind.TRAIN, **fields), Kind.TRAIN)
    assert found == name
    assert re.search(problem, text)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        (Kind.BENCHMARK, {"unique_id": None}, "unique_id"),
        (Kind.PREDICTIONS, {"predicted_answer": []}, "predicted_answer"),
        (Kind.PREDICTIONS, {"predicted_answer": [1]}, "predicted_answer"),
        (Kind.HUB, {"lat": "north"}, "lat"),
        (Kind.HUB, {"lon": ""}, "lon"),
        (Kind.HUB, {"lat": "12", "lon": "190"}, "lat"),
        (Kind.HUB, {"image": {"bytes": None, "path": None}}, "image"),
        (Kind.HUB, {"answer": None}, "answer"),
    ],
)
def test_faults_of_other_kinds(kind, fields, name):
    assert [found for found, _ in faults_of(changed(kind, **fields), kind)] == [name]


def test_what_the_published_programs_take_is_sound():
    assert not faults_of(changed(Kind.PREDICTIONS, predicted_answer="True"), Kind.PREDICTIONS)
    two = said(("human", "<image>\n<image>\nBoth?"), A)
    assert not faults_of(changed(Kind.TRAIN, image=["a", "b"], conversations=two), Kind.TRAIN)
    general = changed(Kind.TRAIN, question_type="GEN", conversations=said(("human", "What is a fjord?"), A))
    del general["image"]
    assert not faults_of(general, Kind.TRAIN)
    assert not faults_of(changed(Kind.HUB, lat="", lon=None, location=None), Kind.HUB)


def test_faults_are_counted_and_told_with_row_and_line(tmp_path):
    lines = [json.dumps(train_row(f"{n}.jpg")) for n in range(6)]
    lines[2] = lines[2].replace('"dataset": "MP16", ', "")
    lines[3] = lines[3][:40]
    lines[5] = lines[5].replace("LOC", "LOX").replace("gpt", "human")
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines))
    log = FaultLog()
    assert [example.images for example in read_examples(tmp_path / "a.jsonl", log=log)] == [
        (f"{n}.jpg",) for n in (0, 1, 4)
    ]
    assert (log.rows, dict(log.counts)) == (3, {"dataset": 1, "": 1, "question_type": 1, "conversations": 1})
    told = list(log.lines())
    assert told[0] == "row 3 (line 5): dataset: is missing"
    assert told[1].startswith("row 4 (line 7): is no JSON: ")
    assert told[-1] == "3 rows with faults: dataset 1, unreadable 1, question_type 1, conversations 1"
    with pytest.raises(InputError, match=r"a\.jsonl: row 3 \(line 5\): dataset: is missing"):
        list(read_examples(tmp_path / "a.jsonl"))


def test_of_many_faults_the_first_are_told(tmp_path):
    put(tmp_path / "a.json", [train_row(kind="X")] * 50)
    log = FaultLog()
    assert not list(sound_rows(tmp_path / "a.json", log=log))
    assert list(log.lines())[20:] == ["and 30 more", "50 rows with faults: question_type 50"]


@pytest.mark.parametrize(
    ("text", "sound", "line", "problem"),
    [
        ('[{"a": 1},\n{"a": 2}', 2, 2, "the file ends before its list does"),
        ('[{"a": 1},\n\n{"a": 2\n', 1, 4, "',' delimiter"),
        ('[{"a": 1}\n{"a": 2}]', 1, 2, "',' or ']' expected"),
        ('[{"a": 1},\n]', 1, 2, "a row expected after ','"),
        ('[{"a": 1}]\nmore', 1, 2, "goes on after its list"),
        ('[{"a": 1},\n{"a": NaN}]', 1, 2, "NaN is no JSON value"),
        ('[{"a": 1},\n{"a": "never closed}, {}]', 1, 2, "Unterminated string"),
        ("[" + "[" * 100_000, 0, 1, "nested too deeply"),
    ],
)
def test_where_a_json_list_breaks_is_told(tmp_path, text, sound, line, problem):
    (tmp_path / "a.json").write_text(text)
    *rows, last = scan_rows(tmp_path / "a.json")
    assert len(rows) == sound
    assert not any(found.problem for found in rows)
    assert problem in last.problem
    assert last.line == line


@pytest.mark.parametrize(
    "content", [b"", b"  \n", b"hello", b"PAR1 and no more", b'[{"a": "\xff"}]', b"\x1f\x8bnot gzip"]
)
def test_what_is_no_dataset_is_refused_in_a_line(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json") as caught:
        list(read_rows(tmp_path / "a.json"))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_and_rows_of_no_kind(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_rows(tmp_path / "none.json"))
    with pytest.raises(InputError, match="without Parquet files"):
        list(read_rows(tmp_path))
    put(tmp_path / "a.json", [{"x": 1}])
    with pytest.raises(InputError, match=r"a\.json: row 1 \(line 1\): a row with the fields x is of no GAEA format"):
        list(sound_rows(tmp_path / "a.json"))
    put(tmp_path / "b.json", [train_row(), 3])
    with pytest.raises(InputError, match=r"row 2 \(line 1\): a int stands where a row"):
        list(read_rows(tmp_path / "b.json"))


# ── conversions ─────────────────────────────────────────────────────────────


def test_the_hub_and_back_loses_nothing(tmp_path):
    ours = {"lat": 47.37, "lon": 8.5, "country": "CH", "facts": [{"text": "a"}], "sources": [OSM]}
    rows = [train_row(f"{n}.jpg", gaea={**ours, "lat": n / 8}) for n in range(20)] + [train_row(extra="kept")]
    write_rows(tmp_path / "a.json", rows)
    convert(tmp_path / "a.json", tmp_path / "b.parquet", ConvertConfig(to="hub"))
    hub = list(read_rows(tmp_path / "b.parquet"))
    assert hub[1]["lat"] == "0.125"
    assert hub[1]["question"] == "Where is this?"
    convert(tmp_path / "b.parquet", tmp_path / "c.json", ConvertConfig(to="train"))
    back = list(read_rows(tmp_path / "c.json"))
    assert back == rows


def test_hub_rows_survive_the_way_through_train_exactly():
    (train,) = rows_of(example_of(HUB), Kind.TRAIN)
    assert train["gaea"] == {"lat": "-12.0460", "lon": "-77.0", "location": "Lima, Peru"}
    assert faults_of(train, Kind.TRAIN) == []
    (hub,) = rows_of(example_of(train), Kind.HUB)
    assert list(hub.items()) == list(HUB.items())


def test_a_conversation_becomes_several_hub_rows():
    turns = said(Q, A, ("human", "Why?"), ("gpt", "The signs."))
    rows = rows_of(example_of({**train_row(), "conversations": turns}), Kind.HUB)
    assert [(row["question"], row["answer"]) for row in rows] == [("Where?", "Here"), ("Why?", "The signs.")]


def test_benchmark_rows_are_numbered_and_predictions_become_questions(tmp_path):
    write_rows(tmp_path / "a.jsonl", [train_row(), train_row("2.jpg")])
    convert(tmp_path / "a.jsonl", tmp_path / "b.json", ConvertConfig(to="benchmark"))
    rows = list(read_rows(tmp_path / "b.json"))
    assert [row["unique_id"] for row in rows] == [0, 1]
    assert list(rows[0])[:4] == ["image", "unique_id", "question_type", "conversations"]
    (row,) = rows_of(example_of(PREDICTION), Kind.BENCHMARK)
    assert row["conversations"] == said(("human", "<image>\nIs there a port?"), ("gpt", "False"))
    with pytest.raises(InputError, match="come from a model"):
        convert(tmp_path / "a.jsonl", tmp_path / "c.json", ConvertConfig(to="predictions"))
    with pytest.raises(InputError, match="no format 'csv'"):
        convert(tmp_path / "a.jsonl", tmp_path / "c.json", ConvertConfig(to="csv"))
    with pytest.raises(InputError, match="while it is read"):
        convert(tmp_path / "a.jsonl", tmp_path / "a.jsonl")


# ── statistics, leakage, card ───────────────────────────────────────────────


def some_rows():
    place = {"lat": 48.85, "lon": 2.35, "sources": [OSM]}
    choice = "What is near? A) a port B) a farm C) a mine"
    return [
        train_row("1.jpg", gaea=place),
        train_row("1.jpg", gaea=place),
        train_row("1.jpg", answer="Bern, Switzerland"),
        train_row("2.jpg", "TF", "Is it?", "True.", gaea={**place, "country": "CH"}),
        train_row("2.jpg", "TF", "Is it so?", "No, it is not."),
        train_row("3.jpg", "TF", "Or so?", "Perhaps"),
        train_row("3.jpg", "MCQ", choice, "B) a farm", gaea={"lat": 0.0, "lon": -30.0}),
        train_row("4.jpg", "MCQ", choice, "(A) a port"),
        train_row("4.jpg", "MCQ", choice, "All of them"),
        train_row("5.jpg", "LVQA", answer="word " * 99 + "end", dataset="GLDv2"),
    ]


def test_statistics():
    told = count(map(example_of, some_rows()))
    assert (told["rows"], told["questions"], told["images"]) == (10, 10, 5)
    assert told["question_types"] == {"LOC": 3, "TF": 3, "MCQ": 3, "LVQA": 1}
    assert told["datasets"] == {"MP16": 9, "GLDv2": 1}
    assert told["answer_words"]["LVQA"] == {"mean": 100.0, "median": 100, "p95": 100, "longest": 100}
    assert told["answer_words"]["TF"] == {"mean": 2.0, "median": 1, "p95": 4, "longest": 4}
    assert told["majority"]["LOC"] == {"answer": "Zürich, Switzerland", "count": 2, "share": 0.6667}
    assert told["true_false"] == {"true": 1, "false": 1, "other": 1}
    assert told["letters"] == {"A": 1, "B": 1, "none": 1}
    assert told["options"] == {"3": 3}
    assert (told["questions_repeated"], told["contradicted"]) == (3, 2)
    assert told["countries"] == {"FR": 2, "CH": 1, "none": 1}
    assert told["coordinates"]["rows"] == 4
    assert told["coordinates"]["blocks"] == 2
    assert sum(told["coordinates"]["rows_by_part"].values()) == 4
    assert told["sources"] == [{**OSM, "rows": 3}]
    json.dumps(told)


def test_statistics_of_nothing():
    told = count([])
    assert told["rows"] == told["images"] == 0
    assert told["coordinates"]["share"] == 0.0


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 8))
def test_the_most_frequent_answer_is_found_with_few_candidates(numbers, candidates):
    frequent = Frequent(candidates)
    for number in numbers:
        frequent.add(str(number))
    best = max(map(numbers.count, numbers))
    found = frequent.most()
    if best > len(numbers) / candidates:
        assert found is not None
    if found:
        assert found[1] == best == numbers.count(int(found[0]))


def test_leakage_by_place_picture_and_question():
    spots = np.array([[10.0, 10.0], [10.1, 10.1], [-30.0, 20.0], [50.0, 60.0]])
    assert (part_of(spots[:, 0], spots[:, 1]) == Part.TRAIN).all()
    training = [
        train_row("1.jpg", gaea={"lat": 10.0, "lon": 10.0, "sha256": "aa", "phash": "ff00ff00ff00ff00"}),
        train_row("2.jpg", gaea={"lat": 50.0, "lon": 60.0}),
    ]
    held = [
        train_row("9.jpg", gaea={"lat": 10.1, "lon": 10.1}),
        train_row("8.jpg", gaea={"lat": -30.0, "lon": 20.0, "sha256": "aa"}),
        train_row("7.jpg", gaea={"lat": -30.0, "lon": 20.0, "phash": "ff00ff00ff00ff03"}),
        train_row("2.jpg", question="Something else?"),
        train_row("2.jpg"),
        train_row("6.jpg", gaea={"lat": -30.0, "lon": 20.0, "phash": "0fff0fff0fff0fff"}),
    ]
    found = compare(map(example_of, training), map(example_of, held))
    assert {sort: rows.tolist() for sort, rows in found.found.items()} == {
        "same block of the map": [1],
        "picture of the same name": [4, 5],
        "same question about it": [5],
        "picture with the same bytes": [2],
        "picture that looks the same": [3],
    }
    assert (found.unplaced, found.trained_on_held_out, found.leaks) == (2, 0, True)
    clean = compare(map(example_of, training), map(example_of, held[5:]))
    assert not clean.leaks


def test_leakage_by_the_files_themselves(tmp_path):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    other = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    (tmp_path / "MP16").mkdir()
    picture.save(tmp_path / "MP16" / "1.png")
    picture.save(tmp_path / "again.jpg", quality=80)
    other.save(tmp_path / "other.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "MP16" / "1.png").read_bytes())
    held = [example_of(train_row(name)) for name in ("again.jpg", "other.png", "copy.png", "gone.png")]
    found = compare([example_of(train_row("1.png"))], held, pictures=tmp_path).found
    assert found["picture with the same bytes"].tolist() == [3]
    assert found["picture that looks the same"].tolist() == [1, 3]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has none of the pictures"):
        compare([], held, pictures=tmp_path / "empty")


def test_training_on_held_out_blocks_is_a_leak():
    lat, lon = np.meshgrid(np.arange(-60.0, 60.0, 2), np.arange(-180.0, 180.0, 2))
    at = np.flatnonzero(part_of(lat.ravel(), lon.ravel()) == Part.TEST)[0]
    row = train_row(gaea={"lat": float(lat.ravel()[at]), "lon": float(lon.ravel()[at])})
    found = compare([example_of(row)], [])
    assert found.trained_on_held_out == 1
    assert found.leaks
    assert list(found.lines())[-1] == "training rows within held-out blocks: 1"


def test_the_card_is_read_by_the_hubs_own_library_and_loads_the_data(tmp_path, monkeypatch):
    import datasets
    from huggingface_hub import DatasetCard

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    write_rows(tmp_path / "data" / "train.jsonl", some_rows())
    write_rows(tmp_path / "data" / "test.jsonl", some_rows()[:2])
    assert main(["dataset", "card", str(tmp_path / "data" / "README.md")] + [
        f"--split={name}={tmp_path / 'data' / name}.jsonl" for name in ("train", "test")
    ]) == 0  # fmt: skip
    text = (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    header = DatasetCard(text).data
    assert header.license == "odbl"
    assert header.size_categories == "n<1K"
    for heading in ("## Splits", "## Sources and licences", "## How it was made", "## Known faults"):
        assert text.count(f"\n{heading}\n") == 1
    assert "| OpenStreetMap | ODbL | © OpenStreetMap contributors | 5 |" in text
    assert "- train: 6 rows have no coordinates." in text
    loaded = datasets.load_dataset(str(tmp_path / "data"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 10, "test": 2}


def test_a_card_shows_data_and_does_not_obey_it():
    evil = train_row(answer="| <script>x</script>\n## Sources")
    text = card([Split("train", "a.json", count([example_of(evil)]), 3)], CardDetails(name="N", made="By hand."))
    assert "<script>" not in text
    assert text.count("\n## Sources") == 1
    assert "3 faulty rows" in text
    assert "No row tells its source" in text
    assert yaml.safe_load(text.split("---")[1])["license"] == "unknown"


# ── the command ─────────────────────────────────────────────────────────────


def test_the_command_converts_counts_and_checks(tmp_path, capsys):
    source = put(tmp_path / "a.json", [*some_rows(), train_row(kind="LOX")], indent=4)
    line = [number for number, text in enumerate(source.read_text().splitlines(), 1) if text == "    {"][10]
    assert main(["dataset", "convert", str(source), str(tmp_path / "b.jsonl")]) == 2
    assert capsys.readouterr().err == (
        f"gaea: {source}: row 11 (line {line}): question_type: 'LOX' is unknown; did you mean LOC?\n"
    )
    assert not (tmp_path / "b.jsonl").exists()
    assert main(["dataset", "convert", str(source), str(tmp_path / "b.jsonl"), "--skip"]) == 0
    assert "wrote 10 rows" in capsys.readouterr().out
    assert main(["dataset", "stats", str(tmp_path / "b.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 10
    assert main(["dataset", "check", str(source)]) == 1
    assert "1 rows with faults: question_type 1" in capsys.readouterr().out
    assert main(["dataset", "check", str(source), "--first"]) == 2
    capsys.readouterr()
    assert main(["dataset", "check", str(tmp_path / "b.jsonl")]) == 0
    write_rows(tmp_path / "c.json", [train_row("1.jpg", question="New?", gaea={"lat": -30.0, "lon": 20.0})])
    assert main(["dataset", "check", str(tmp_path / "b.jsonl"), "--against", str(tmp_path / "c.json")]) == 1
    assert "picture of the same name: 1 rows (row 1)" in capsys.readouterr().out


def test_reading_rows_loads_no_framework():
    program = (
        "import sys, gaea.finetune.rowlayout, gaea.finetune.exports, gaea.finetune.dataset_commands;"
        "print([m for m in ('torch', 'pyarrow', 'datasets', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['numpy']")
