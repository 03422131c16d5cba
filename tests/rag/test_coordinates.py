"""Coordinates, believed or not: one pair at a time, and real sets as they are, swapped and turned."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaea.errors import InputError
from gaea.rag.coordinates import NULL_ISLAND_KM, REASONS, check, survey
from gaea.sphere import great_circle_km

REFERENCE = Path(os.environ.get("GAEA_DATA", "../shared/data")) / "reference"
PUBLISHED = ("coordinates_100K.csv", "im2gps_citygt.csv", "im2gps3k_citygt.csv", "gws15k_citygt.csv")


@pytest.mark.parametrize(
    ("lat", "lon", "reason"),
    [
        (48.8584, 2.2945, ""),
        (-90.0, 180.0, ""),
        (0.0, 9.45, ""),  # the equator in Gabon is no Null Island
        (0.001, 0.001, ""),  # 157 m from 0, 0
        (None, 2.2945, "missing"),
        (48.8584, None, "missing"),
        (math.nan, 2.2945, "not a number"),
        (48.8584, math.inf, "not a number"),
        (151.2153, -33.8568, "out of range, likely swapped"),
        (-118.24, 34.05, "out of range, likely swapped"),
        (90.0001, 0.0, "out of range, likely swapped"),
        (91.0, 100.0, "latitude out of range"),
        (512.0, 10.0, "latitude out of range"),
        (10.0, 180.5, "longitude out of range"),
        (0.0, 0.0, "Null Island"),
        (-0.0, 0.0, "Null Island"),
        (0.0005, -0.0005, "Null Island"),
    ],
)
def test_a_pair_is_refused_for_one_reason(lat: float | None, lon: float | None, reason: str) -> None:
    assert check(lat, lon) == reason


@given(st.floats(), st.floats())
def test_what_passes_is_on_the_globe_and_what_is_called_swapped_would_pass_swapped(lat: float, lon: float) -> None:
    reason = check(lat, lon)
    assert reason in REASONS
    if reason == "":
        assert abs(lat) <= 90
        assert abs(lon) <= 180
        assert great_circle_km(lat, lon, 0, 0) > NULL_ISLAND_KM
    if reason == "out of range, likely swapped":
        assert check(lon, lat) == ""


@given(st.lists(st.tuples(st.floats(), st.floats() | st.none()), max_size=20))
def test_a_survey_counts_what_check_says(pairs: list[tuple[float, float | None]]) -> None:
    seen = survey([lat for lat, _ in pairs], [lon for _, lon in pairs])
    said = [check(lat, lon) for lat, lon in pairs]
    assert seen.n == len(pairs)
    assert seen.usable == said.count("")
    assert dict(seen.problems) == {reason: said.count(reason) for reason in REASONS[1:] if reason in said}


def published(name: str) -> tuple[np.ndarray, np.ndarray]:
    if not (REFERENCE / name).is_file():
        pytest.skip(f"no {name}; set GAEA_DATA to the folder of shared data")
    with (REFERENCE / name).open(encoding="utf-8") as file:
        lat, lon = zip(*[(float(row["LAT"]), float(row["LON"])) for row in csv.DictReader(file)], strict=True)
    return np.array(lat), np.array(lon)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_are_told_from_themselves_swapped_and_turned(name: str) -> None:
    lat, lon = published(name)
    as_given = survey(lat, lon)
    assert as_given.usable == len(lat)
    assert as_given.land_share["as given"] > 0.97
    assert not [line for line in as_given.suspicions if "on land" in line]

    swapped = survey(lon, lat)
    (suspicion,) = (line for line in swapped.suspicions if "on land" in line)
    assert suspicion.startswith("latitude and longitude look swapped")
    assert f"{as_given.land_share['as given']:.0%} swapped" in suspicion
    assert swapped.problems["out of range, likely swapped"] == (np.abs(lon) > 90).sum()

    (suspicion,) = (line for line in survey(lat, -lon).suspicions if "on land" in line)
    assert suspicion.startswith("longitudes seem to lack their sign")
    (suspicion,) = (line for line in survey(-lat, lon).suspicions if "on land" in line)
    assert suspicion.startswith("latitudes seem to have the wrong sign")


def test_a_small_honest_set_and_one_at_sea_raise_no_suspicion() -> None:
    generator = np.random.default_rng(7)
    stuttgart = survey(generator.normal(48.77, 0.05, 25), generator.normal(9.17, 0.05, 25))
    # Ships in the South Pacific, where no reading of the numbers is on land; elsewhere the suspicion would be fair.
    pacific = survey(generator.uniform(-18, -10, 500), generator.uniform(-120, -111, 500))
    assert stuttgart.suspicions == pacific.suspicions == ()
    assert stuttgart.land_share["as given"] == 1.0
    assert pacific.land_share["as given"] < 0.05


def test_default_positions_and_whole_degrees_are_suspected() -> None:
    generator = np.random.default_rng(7)
    lat, lon = generator.uniform(44, 50, 300), generator.uniform(0, 8, 300)
    assert survey(lat, lon).spots == ()
    lat[:40], lon[:40] = 48.856614, 2.352222  # what geocoders give for all of Paris
    seen = survey(lat, lon)
    assert seen.spots == ((48.856614, 2.352222, 40),)
    assert seen.suspicions == (
        "40 of 300 positions are on one spot (48.85661, 2.35222): perhaps a default and no measurement",
    )
    whole = survey(np.round(lat[40:]), np.round(lon[40:]))
    assert whole.whole_degrees == 260
    assert "260 of 260 positions are whole degrees" in whole.suspicions[-1]


def test_an_empty_set_is_no_fault_and_odd_columns_are_refused() -> None:
    assert survey([], []).suspicions == ()
    assert survey([None, None], [1.0, 2.0]).problems == {"missing": 2}
    with pytest.raises(InputError, match="expected two columns"):
        survey([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="must be numbers"):
        survey(["north"], ["east"])
