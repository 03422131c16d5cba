"""Reads benchmarks of places from the tables in which they were published."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gaea import places
from gaea.countries import codes_by_name, normalise
from gaea.errors import InputError
from gaea.eval.benchmark import Benchmark, Faults, benchmark, picture_in
from gaea.eval.layouts import COLUMNS, INCOMES, LAYOUTS, SCENES, WHERE, Layout
from gaea.eval.records import GroundTruth, Item

NESTED_IN = 3
"""Folders down, at most, that pictures lie."""

FIRST = 500
"""Items by whose pictures their folder is known."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif", ".tiff")


def open_table(name: str, root: Path) -> Benchmark:
    """A benchmark of :data:`gaea.eval.layouts.LAYOUTS`.

    Pictures that are missing are counted; a system that needs one fails on that item alone.

    Raises:
        InputError: The table is missing or lacks a column; the message says where to get it.
    """
    layout = LAYOUTS[name]
    table = find_table(layout, root, name)
    rows = list(read_table(table))
    if not rows:
        raise InputError(f"{table} has no rows: nothing can be asked; {layout.obtain}")
    columns = _columns(rows[0], layout, table)
    faults = Faults()
    if layout.published and len(rows) != layout.published:
        faults.note(f"rows that differ in number from the published {layout.published:,}", f"{len(rows):,}")
    reading = _Reading(name, layout, columns, faults)
    made = (reading.item(row, number) for number, row in enumerate(rows, 1))
    items = [item for item in made if item is not None]
    note_contradictions(items, faults)
    folder, files = _pictures(layout, table, root, {str(item.image) for item in items[:FIRST]})
    if not files:
        faults.note(
            "pictures that are not here, so that only systems without need of them can be examined", layout.obtain
        )
    for index, item in enumerate(items if files else ()):
        found = files.get(str(item.image))
        if found is None:
            faults.note("pictures that are missing", str(item.image))
        elif found != item.image:
            items[index] = dataclasses.replace(item, image=found)
    picture = picture_in(folder) if files else None
    return benchmark(name, layout.version, items, faults=faults, root=folder, picture=picture)


def find_table(layout: Layout, root: Path, name: str) -> Path:
    """The first table of a layout that is there, in the root or one folder down.

    Raises:
        InputError: None is.
    """
    for table in layout.tables:
        for place in (root / table, *sorted(root.glob(f"*/{table}")), root / f"{table}.gz"):
            if place.is_file():
                return place
    raise InputError(f"{name}: {root} holds none of {', '.join(layout.tables)}: {layout.obtain}")


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV (also .gz) or of JSON lines, every value as text, names of columns in lower case.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as file
        ):
            if ".jsonl" in path.suffixes:
                for line in file:
                    if line.strip():
                        yield {k.lower(): "" if v is None else str(v) for k, v in json.loads(line).items()}
                return
            for row in csv.DictReader(file):
                yield {(k or "").strip().lower(): (v or "") if isinstance(v, str) else "" for k, v in row.items()}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error


def point(lat: str, lon: str) -> tuple[tuple[float, float] | None, str]:
    """Coordinates from text, and what is wrong with them ('' where nothing is)."""
    if not lat.strip() and not lon.strip():
        return None, "coordinates that are empty"
    try:
        lat_deg, lon_deg = float(lat), float(lon)
    except ValueError:
        return None, "coordinates that are no numbers"
    if not (math.isfinite(lat_deg) and math.isfinite(lon_deg)):
        return None, "coordinates that are no numbers"
    if abs(lat_deg) > 90 and abs(lon_deg) <= 90 and abs(lat_deg) <= 180:
        return None, "coordinates that look swapped (latitude beyond 90)"
    if abs(lat_deg) > 90 or abs(lon_deg) > 180:
        return None, "coordinates out of range"
    return (lat_deg, lon_deg), ""


def _columns(row: Mapping[str, str], layout: Layout, table: Path) -> dict[str, str]:
    found = {}
    for field, names in COLUMNS.items():
        name = next((each for each in names if each in row), None)
        if name:
            found[field] = name
    wanted = ["id", *(("lat", "lon") if layout.places else ("country",))]
    if missing := [field for field in wanted if field not in found]:
        told = ", ".join(f"{field} ({' or '.join(COLUMNS[field])})" for field in missing)
        raise InputError(f"{table} has the columns {', '.join(row)} and lacks {told}")
    return found


@dataclasses.dataclass(frozen=True)
class _Reading:
    """What is the same for all rows of a table."""

    name: str
    layout: Layout
    columns: Mapping[str, str]
    faults: Faults

    def item(self, row: Mapping[str, str], number: int) -> Item | None:
        """One row; None where nothing in it can be scored, which is counted."""
        identity = row[self.columns["id"]].strip() or f"row {number}"
        told = {name: row[each].replace("_", " ").strip() or None for name, each in self.columns.items()}
        truth = None
        if self.layout.places:
            truth, wrong = point(told.get("lat") or "", told.get("lon") or "")
            if wrong:
                self.faults.note(f"rows left out for {wrong}", identity)
                return None
        elif not told["country"]:
            self.faults.note("rows left out without a country", identity)
            return None
        lat, lon = truth or (None, None)
        return Item(
            id=identity,
            benchmark=self.name,
            kind="locate",
            image=identity if identity.lower().endswith(PICTURES) else identity + self.layout.suffix,
            question=WHERE,
            truth=GroundTruth(lat, lon, told.get("country"), told.get("region"), told.get("city")),
            strata=_groups(self.layout, row),
            place=_place(identity, truth, told),
            split="test",
        )


def _place(identity: str, truth: tuple[float, float] | None, told: Mapping[str, Any]) -> str:
    """Photographs within about 0.01° are of one place; without coordinates those of one city are, or each by itself."""
    if truth is not None:
        return f"{truth[0]:.2f},{truth[1]:.2f}"
    return f"{told['city']}, {told['country']}" if told.get("city") else identity


def _groups(layout: Layout, row: Mapping[str, str]) -> dict[str, str]:
    groups = {name: row[column].strip() for column, name in layout.strata.items() if row.get(column, "").strip()}
    try:
        if all(column in row for column in SCENES):
            groups["scene"] = SCENES[max(SCENES, key=lambda column: float(row[column]))]
        if row.get("income"):
            income = float(row["income"])
            groups["income"] = next((name for most, name in INCOMES if income < most), "4 richest")
    except ValueError:
        pass  # a group that cannot be read is a group that is not known
    return groups


@cache
def _code(name: str) -> str:
    return codes_by_name().get(normalise(name), "")


def note_contradictions(items: Sequence[Item], faults: Faults) -> None:
    """Note where a named country and coordinates disagree, and whether a swap or a lost sign would mend it.

    The first folders of an id may name the country too, as GeoDE's do (``Africa/South_Africa/…``). Nothing is mended.
    """
    placed = [item for item in items if item.truth.point is not None]
    if not placed:
        return
    lat, lon = np.array([item.truth.point for item in placed], float).T
    here = places.country_codes(lat, lon)
    may_swap = np.abs(lon) <= 90
    mended = {
        "swapped": np.where(may_swap, places.country_codes(np.where(may_swap, lon, 0), lat), ""),
        "with the other sign of latitude": places.country_codes(-lat, lon),
        "with the other sign of longitude": places.country_codes(lat, -lon),
    }
    for row, item in enumerate(placed):
        folders = [_code(part.replace("_", " ")) for part in item.id.split("/")[:-1]]
        told, path = _code(item.truth.country or ""), next((code for code in folders if code), "")
        if path and told and path != told:
            faults.note("rows whose path names another country than their column", item.id)
        named = path or told
        if named and here[row] != named:
            how = next((name for name, codes in mended.items() if codes[row] == named), "")
            if how or here[row]:  # off the coast the named country may be right
                fits = f"fits their coordinates {how}" if how else "is not that of their coordinates"
                faults.note(f"rows whose country {fits}", item.id)


def _pictures(layout: Layout, table: Path, root: Path, wanted: set[str]) -> tuple[Path, dict[str, str]]:
    """The folder that holds most of the pictures wanted, and where each of its pictures lies under it."""
    best: tuple[int, Path, dict[str, str]] = (0, root, {})
    for base in dict.fromkeys((table.parent, root)):
        for name in layout.pictures:
            if (base / name).is_dir():
                found = _files(base / name, layout)
                held = len(wanted & found.keys())
                if held > best[0]:
                    best = (held, base / name, found)
                if held == len(wanted):
                    return best[1:]
    return best[1:]


def _files(folder: Path, layout: Layout) -> dict[str, str]:
    """Pictures under a folder by the name that the table gives them."""
    found: dict[str, str] = {}
    for here, folders, files in os.walk(folder):
        inside = Path(here).relative_to(folder)
        if len(inside.parts) >= NESTED_IN:
            folders.clear()
        for name in files:
            if name.lower().endswith(PICTURES):
                path = (inside / name).as_posix()
                found[path] = path
                if layout.nested:
                    found.setdefault(name, path)
    return found
