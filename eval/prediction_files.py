"""Predictions that were made elsewhere, read from the files in which their makers left them.

Known by their columns: GAEA's ``{filename, predicted_answer, …}`` and ``{filename: [lat, lon]}``; GeoToken's samples
(``img_idx, sample_j, lat, lon, logp``: the likeliest counts) and results (``chosen_lat, chosen_lon``); G3's results
(``LAT_pred, LON_pred``) and candidates (``zs_0_latitude`` …: the first counts); a run's own ``predictions.jsonl``; and
any CSV, JSON or JSON lines with a name, ``lat`` and ``lon``, or with an answer in words.

Nothing is mended. Coordinates that are no numbers, out of range or plainly swapped make a prediction *unparsable*, with
the reason beside it; rows that fit no item, and rows that come again, are counted and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gaea.errors import InputError
from gaea.eval.benchmark import Benchmark, Faults
from gaea.eval.records import Item, Prediction
from gaea.eval.system import Picture, from_words
from gaea.eval.tables import point, read_table
from gaea.rag.files import file_sha256
from gaea.sphere import great_circle_km

NAMES = ("unique_id", "img_id", "filename", "image_name", "file_name", "file_path", "file", "image", "id", "name")
ROW = "img_idx"
"""GeoToken's name for the number of a row in the benchmark's table, from 0."""

LAT = ("lat_pred", "pred_lat", "predicted_lat", "chosen_lat", "zs_0_latitude", "lat", "latitude")
LON = (
    *("lon_pred", "pred_lon", "predicted_lon", "predicted_long", "pred_lng", "chosen_lon", "zs_0_longitude"),
    *("lon", "lng", "long", "longitude"),
)
WORDS = ("predicted_answer", "model_response", "response", "prediction", "answer", "text", "output")
FAKED = ("zs_0_latitude",)
"""Files that put 0, 0 where an answer could not be read."""

SWAP_GAIN = 4.0
"""Points that lie so many times nearer the truth when read the other way round were written the other way round."""


class FileSystem:
    """A file as a system: its predictions by item.

    Args:
        path: The file.
        benchmark: What it answers.
        name: What tables call it; the file's name if left out.

    Attributes:
        faults: What was wrong with it.

    Raises:
        InputError: It cannot be read, or nothing in it fits the benchmark.
    """

    at_once = 1

    def __init__(self, path: Path, benchmark: Benchmark, *, name: str | None = None) -> None:
        faults = Faults()
        rows = list(_rows(path))
        if not rows:
            raise InputError(f"{path} holds no predictions")
        finder = _Finder(benchmark, faults)
        self._held: dict[str, Prediction] = {}
        for number, row in enumerate(_one_each(rows), 1):
            for item in finder.items(row, number):
                if item.id in self._held:
                    faults.note("predictions that come again, the first counts", item.id)
                else:
                    self._held[item.id] = _prediction(item, row, faults)
        if not self._held:
            first = next(iter(rows[0].values()), "")
            raise InputError(
                f"{path}: none of its {len(rows):,} rows fits an item of {benchmark.name}, such as {first!r}"
            )
        wanted = [item for item in benchmark.items if item.id not in self._held]
        if wanted:
            faults.note_all("items without a prediction, counted as misses", len(wanted), [item.id for item in wanted])
        _note_swapped(benchmark.items, self._held, faults)
        self.faults = faults
        self.name = name or path.stem
        self.settings = {"file": path.name, "faults": faults.told()}
        self.hashes = {"predictions": file_sha256(path)}

    def predict(self, item: Item, picture: Picture) -> Prediction:  # noqa: ARG002 - others looked
        """What the file says."""
        return self._held.get(item.id) or Prediction(item.id, "missing")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of any of the formats, names of columns in lower case.

    Raises:
        InputError: It is none of them.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there: give a file of predictions")
    if path.suffix in {".csv", ".gz", ".tsv"}:
        yield from read_table(path)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
        try:
            held = json.loads(text)
        except ValueError:
            held = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no CSV, JSON or JSON lines: {error}") from error
    if isinstance(held, dict) and not any(name in held for name in (*NAMES, ROW, "status")):
        held = [{"filename": key, **_pair(value)} for key, value in held.items()]
    for row in held if isinstance(held, list) else [held]:
        if not isinstance(row, dict):
            raise InputError(f"{path} holds a {type(row).__name__} where a prediction belongs: {str(row)[:60]!r}")
        yield row if "status" in row else {str(name).lower(): value for name, value in row.items()}


def _pair(value: Any) -> dict[str, Any]:
    """What GAEA's geocoder left: a pair of coordinates; anything else is an answer in words."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return {"lat": value[0], "lon": value[1]}
    return {"predicted_answer": value}


def _one_each(rows: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Of several samples of one picture the likeliest; everything else as it is."""
    if not {ROW, "logp", "lat", "lon"} <= rows[0].keys():
        return rows
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = str(row[ROW])
        if key not in best or _number(row["logp"]) > _number(best[key]["logp"]):
            best[key] = row
    return best.values()


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("-inf")


class _Finder:
    """Finds the item that a row is about: by id, by the name of its picture, or by the number of its row."""

    def __init__(self, benchmark: Benchmark, faults: Faults) -> None:
        self._items, self._faults = benchmark.items, faults
        self._by_id = {item.id: item for item in benchmark.items}
        self._by_name: dict[str, list[Item]] = {}
        for item in benchmark.items:
            whole = PurePosixPath(str(item.image or item.id))
            for name in {item.id, str(whole), whole.name, whole.stem, PurePosixPath(item.id).stem}:
                self._by_name.setdefault(name, []).append(item)
        left_out = [kind for kind in benchmark.faults if "left out" in kind or "come again" in kind]
        self._shifted = left_out[0] if left_out else ""

    def items(self, row: Mapping[str, Any], number: int) -> list[Item]:
        """None or one; several where a benchmark asks several things about one picture."""
        if ROW in row:
            return self._numbered(row)
        told = [str(row[name]) for name in NAMES if row.get(name) not in (None, "")]
        for name in told:
            if name in self._by_id:
                return [self._by_id[name]]
        for name in told:
            found = self._by_name.get(name) or self._by_name.get(PurePosixPath(name).name, [])
            if len({str(item.image) for item in found}) > 1:
                self._faults.note("names that fit several items", name)
                return []
            if "question" in row:
                found = [item for item in found if item.question.strip() == str(row["question"]).strip()] or found[:1]
            elif len(found) > 1:
                found = [item for item in found if item.question_type in (None, "location")]
            if found:
                return found
        self._faults.note("predictions of no item", told[0] if told else f"row {number}")
        return []

    def _numbered(self, row: Mapping[str, Any]) -> list[Item]:
        if self._shifted:
            raise InputError(
                f"predictions name rows by number ({ROW}), and the table had {self._shifted}: name pictures instead"
            )
        try:
            item = self._items[int(float(row[ROW]))] if float(row[ROW]) >= 0 else None
        except (ValueError, IndexError, TypeError):
            item = None
        if item is None:
            self._faults.note("predictions of no item", f"{ROW} {row[ROW]}")
            return []
        if "true_lat" in row and item.truth.point:
            told, _ = point(str(row["true_lat"]), str(row.get("true_lon", "")))
            if told is None or great_circle_km(*told, *item.truth.point) > 1:
                raise InputError(
                    f"row {row[ROW]} of the predictions has its truth at {row['true_lat']}, {row.get('true_lon')}, "
                    f"and item {item.id} is at {item.truth.point}: they are of another table"
                )
        return [item]


def _prediction(item: Item, row: Mapping[str, Any], faults: Faults) -> Prediction:
    if "status" in row:
        return Prediction.from_dict({**row, "id": item.id})
    text = _words(row)
    lat, lon = (next((row[name] for name in names if name in row), None) for names in (LAT, LON))
    if lat is None and lon is None:
        return from_words(item, text)
    told, wrong = point("" if lat is None else str(lat), "" if lon is None else str(lon))
    if told == (0.0, 0.0) and any(name in row for name in FAKED):
        told, wrong = None, "coordinates of 0, 0, which stand for an answer that could not be read"
    if told is None:
        if text and (read := from_words(item, text)).point is not None:
            faults.note(f"{wrong}, read from the words instead", item.id)
            return read
        if wrong == "coordinates that are empty":
            return from_words(item, text) if text else Prediction(item.id, "missing")
        faults.note(f"predictions with {wrong}", item.id)
        return Prediction(item.id, "unparsable", text, error=f"{wrong}: {str(lat)[:40]}, {str(lon)[:40]}")
    return Prediction(
        item.id,
        "answered",
        text,
        lat=told[0],
        lon=told[1],
        country=str(row["country_pred"]) if row.get("country_pred") else None,
        city=str(row["city_pred"]) if row.get("city_pred") else None,
    )


def _words(row: Mapping[str, Any]) -> str:
    for name in WORDS:
        value = row.get(name)
        if value not in (None, ""):
            return str(value[0] if value else "") if isinstance(value, list) else str(value)
    return ""


def _note_swapped(items: Sequence[Item], held: Mapping[str, Prediction], faults: Faults) -> None:
    """Say so when the whole file makes far more sense with latitude and longitude exchanged; leave it as it is."""
    pairs = [
        (*item.truth.point, *made.point)
        for item in items
        if item.truth.point and (made := held.get(item.id)) and made.point and abs(made.point[1]) <= 90
    ]
    if len(pairs) < 20:
        return
    lat, lon, a, o = np.array(pairs).T
    as_is, swapped = (float(np.median(np.asarray(great_circle_km(lat, lon, *p)))) for p in ((a, o), (o, a)))
    if swapped * SWAP_GAIN < as_is:
        told = f"median {as_is:,.0f} km as they stand, {swapped:,.0f} km the other way round"
        faults.note("latitude and longitude look swapped throughout, scored as they stand", told)
