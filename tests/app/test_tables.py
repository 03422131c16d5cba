"""Rows of answers: numbers stay numbers, text stays text, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import io

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.answer import Answer, Confidence, Evidence, FileClaim, Place, Point
from gaea.app import tables
from gaea.app.export import csv_rows, parquet

SOUTH = Answer(
    question="Where?",
    text='=HYPERLINK("http://x","y")',
    point=Point(-33.8568, -70.5),
    radius_km={50: 3.25, 90: 17.0},
    place=Place("Santiago", 2.0, "+SUM(A1)", "Chile", "CL", "South America"),
    evidence=(Evidence("similar", "@cmd", -33.0, -70.0, 95.0),),
    confidence=Confidence("confident", 20.0, {50: 9.0, 90: 100.0}),
    file_claim=FileClaim(-33.5, -70.0, None, "-1+1|cmd"),
    disclosure="city",
    provenance={"model": "nano", "photo_sha256": "0" * 64},
)


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_numbers_are_numbers_and_formulas_are_text():
    (told,) = read(csv_rows(SOUTH, names=["-a.jpg"]))
    assert list(told) == list(tables.COLUMNS)
    assert (float(told["lat"]), float(told["lon"])) == (-33.8568, -70.5)
    assert told["lat"].startswith("-")
    assert (told["radius_km_50"], told["radius_km_90"], told["disclosure"]) == ("3.25", "17", "city")
    assert told["claimed_lat"] == "-33.5"
    for column in ("text", "region", "evidence", "camera", "photo"):
        assert told[column].startswith("'"), column
        assert tables.plain_text(told[column])[0] in "=+-@"
    assert told["country"] == "Chile"
    assert told["error"] == ""


@given(st.text())
def test_no_text_cell_begins_like_a_formula_and_all_come_back(text):
    row = tables.row(Answer(question=text, text="t"), photo=text)
    (told,) = read(tables.csv_rows([row]))
    clean = text.replace("\x00", "")
    assert told["question"].lstrip(" '")[:1] not in ("=", "+", "-", "@", "\t", "\r") or told["question"][:1] == "'"
    assert tables.plain_text(told["question"]) == clean


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_coordinates_come_back_to_a_metre(lat, lon):
    (told,) = read(csv_rows(Answer(question="?", text="", point=Point(lat, lon))))
    assert float(told["lat"]) == pytest.approx(lat, abs=1e-6)
    assert float(told["lon"]) == pytest.approx(lon, abs=1e-6)


def test_parquet_holds_the_same_with_types():
    table = pq.read_table(io.BytesIO(parquet([SOUTH, Answer(question="?", text="", abstained=True)], names=["a", "b"])))
    assert table.column_names == list(tables.COLUMNS)
    assert str(table.schema.field("lat").type) == "double"
    first, second = table.to_pylist()
    assert (first["photo"], first["lat"], first["text"]) == ("a", -33.8568, SOUTH.text)
    assert (second["lat"], second["abstained"]) == (None, True)


def test_a_failure_is_a_row_of_its_own():
    (told,) = read(tables.csv_rows([tables.row(None, photo="x.jpg", error="damaged")]))
    assert (told["photo"], told["error"], told["lat"]) == ("x.jpg", "damaged", "")
