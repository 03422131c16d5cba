"""The recipe that turns polygons into cell tables, on toy polygons and, where they are present, on the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import cells
from gaea.celltable import CellTable
from gaea.errors import InputError

shapely = pytest.importorskip("shapely", reason="shapely builds the tables: pip install 'gaea-geo[dev]'")

from gaea.finetune import atlas, cellcut, layers, towns  # noqa: E402

DATA = Path(os.environ.get("GAEA_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "vector" / "countries_10m.geojson.gz").is_file(),
    reason="Natural Earth layers are absent: set GAEA_DATA to a folder that has vector/",
)


def square(south: float, north: float, west: float, east: float) -> shapely.Polygon:
    return shapely.box(west, south, east, north)


def toy_parts() -> list[cellcut.Part]:
    """Two neighbours, a cap around the south pole, and an island cut in two by the antimeridian."""
    return [
        cellcut.Part(square(40, 50, 0, 10), "west"),
        cellcut.Part(square(40, 50, 10, 20), "east"),
        cellcut.Part(square(-90, -80, -180, 180), "pole"),
        cellcut.Part(square(-5, 5, 175, 180), "island"),
        cellcut.Part(square(-5, 5, -180, -175), "island"),
    ]


@pytest.fixture(scope="module")
def toy() -> CellTable:
    parts = toy_parts()
    return cellcut.table_of_parts(parts, levels=np.full(len(parts), 9), source="toy")


@pytest.mark.parametrize(
    ("lat", "lon", "label"),
    [
        (45, 5, "west"),
        (45, 15, "east"),
        (45, 9.7, "west"),
        (45, 10.3, "east"),
        (45, -1, ""),
        (-90, 0, "pole"),
        (-85, 123, "pole"),
        (90, 0, ""),
        (0, 180, "island"),
        (0, -180, "island"),
        (0, 179.9, "island"),
        (0, -179.9, "island"),
        (0, 174, ""),
    ],
)
def test_toy_labels(toy: CellTable, lat: float, lon: float, label: str) -> None:
    assert toy.lookup(lat, lon) == label


def test_toy_agrees_with_its_polygons(toy: CellTable) -> None:
    share, compared = cellcut.agreement(toy, toy_parts(), points=20_000)
    assert compared > 500
    assert share > 0.98


def test_file_gives_back_the_table(toy: CellTable, tmp_path: Path) -> None:
    toy.save(tmp_path / "toy.npz")
    again = CellTable.read(tmp_path / "toy.npz")
    np.testing.assert_array_equal(again.starts, toy.starts)
    np.testing.assert_array_equal(again.values, toy.values)
    assert again.labels.tolist() == toy.labels.tolist()
    assert again.source == "toy"


def test_overlapping_cells_are_refused() -> None:
    child = cells.from_latlon([10.0], [10.0], 8)
    both = np.concatenate([child, cells.parent(child, 5)])
    with pytest.raises(InputError, match="overlap"):
        CellTable.from_cells(both, np.array([1, 2]), labels=["", "a", "b"], source="toy")


def test_cells_too_fine_for_the_file_are_refused(tmp_path: Path) -> None:
    leaf = cells.from_latlon([10.0], [10.0], 30)
    table = CellTable.from_cells(leaf, np.array([1]), labels=["", "a"], source="toy")
    with pytest.raises(InputError, match="level-18"):
        table.save(tmp_path / "toy.npz")


def test_table_of_no_cells_is_empty_everywhere() -> None:
    table = CellTable.from_cells(np.array([], np.uint64), np.array([], int), labels=[""], source="toy")
    assert table.lookup([0.0, 90.0], [0.0, 0.0]).tolist() == ["", ""]


def test_uncovered_earth_gets_the_empty_label() -> None:
    cell = cells.from_latlon([10.0], [10.0], 6)
    table = CellTable.from_cells(cell, np.array([1]), labels=["", "a"], source="toy")
    assert table.lookup([10.0, -10.0, 80.0], [10.0, -170.0, 0.0]).tolist() == ["a", "", ""]
    assert len(table.starts) == 3


def test_shores_hold_the_water_near_land_and_only_that() -> None:
    parts = toy_parts()
    shores = atlas.shores(cellcut.table_of_parts(parts, levels=np.full(len(parts), 12), source="toy"))
    just_off, far_off = 3 / 111.2, 12 / 111.2
    assert shores.lookup([50 + just_off, 50 + far_off, 45], [5, 5, 5]).tolist() == ["west", "", ""]
    assert shores.lookup([0, 0], [175 - just_off, -175 + just_off]).tolist() == ["island", "island"]
    assert shores.lookup([-80 + just_off], [77]).tolist() == ["pole"]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.99, 35.2643])),
    st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -180.0, 45.0, 179.999])),
    st.integers(cellcut.FIRST_LEVEL, atlas.TINY_LEVEL),
)
def test_boxes_hold_their_cells(lat: float, lon: float, level: int) -> None:
    cell = cells.from_latlon([lat], [lon], level)
    boxes, owner = cellcut.cell_boxes(cell, level)
    assert set(owner) == {0}
    held = shapely.union_all(shapely.buffer(boxes, 1e-9))
    corners = cells.vertices_latlon(cell)[0]
    assert shapely.intersects_xy(held, corners[:, 1], corners[:, 0]).all()


@pytest.mark.parametrize(
    ("code", "lat", "lon", "expected"),
    [("FR", 4, -53, "GF"), ("FR", 46, 2, "FR"), ("NO", 78, 16, "SJ"), ("NO", 70.5, 25, "NO"), ("NL", 52, 5, "NL")],
)
def test_overseas_code(code: str, lat: float, lon: float, expected: str) -> None:
    assert atlas.overseas_code(code, shapely.Point(lon, lat).buffer(0.1)) == expected


def test_missing_layer_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="point --data at"):
        layers.read_layer(tmp_path / "nothing.geojson.gz")


@needs_data
def test_shipped_countries_agree_with_the_polygons() -> None:
    share, compared = cellcut.agreement(CellTable.load("countries"), atlas.country_parts(DATA), points=20_000)
    assert compared == 20_000
    assert share >= 0.999, f"country table and polygons agree on only {100 * share:.3f} % of points on land"


@needs_data
def test_divisions_get_their_names_from_shared_towns() -> None:
    lyon = {"countrycode": "FR", "admin1code": "84", "name": "Lyon", "population": 500_000}
    sapporo = {"countrycode": "JP", "admin1code": "12", "name": "Sapporo", "population": 1_900_000}
    lima = {"countrycode": "PE", "admin1code": "LMA", "name": "Lima", "population": 7_000_000}
    names = towns.division_names(DATA, {"2996944": lyon, "2128295": sapporo, "-2": lima})
    assert names["FR", "84"] == "Auvergne-Rhône-Alpes"
    assert names["JP", "12"] == "Hokkaido"
    assert names["PE", "LMA"] == "Lima"


@needs_data
@pytest.mark.parametrize("name", ["states", "europe", "climates"])
def test_recipe_gives_the_shipped_table(name: str) -> None:
    made, shipped = atlas.TABLES[name](DATA), CellTable.load(name)
    assert made.labels.tolist() == shipped.labels.tolist()
    np.testing.assert_array_equal(made.starts, shipped.starts)
    np.testing.assert_array_equal(made.values, shipped.values)
