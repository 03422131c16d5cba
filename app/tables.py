"""Answers as rows: CSV for spreadsheets, Parquet for programs, one answer a row.

A spreadsheet runs text that begins like a formula. In CSV such text is written behind an apostrophe, which spreadsheets
hide and which :func:`plain_text` takes away again; numbers are numbers, a negative latitude too, and stay as they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gaea.answer import Answer

COLUMNS: Mapping[str, type] = {
    "photo": str,
    "lat": float,
    "lon": float,
    "radius_km_50": float,
    "radius_km_90": float,
    "sure": str,
    "abstained": bool,
    "disclosure": str,
    "name": str,
    "region": str,
    "country": str,
    "country_code": str,
    "continent": str,
    "question": str,
    "text": str,
    "area_km2_50": float,
    "area_km2_90": float,
    "claimed_lat": float,
    "claimed_lon": float,
    "taken": str,
    "camera": str,
    "evidence": str,
    "alternatives": str,
    "model": str,
    "index": str,
    "photo_sha256": str,
    "error": str,
}
"""Columns in order, and what they hold; all may be empty."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Row = dict[str, Any]


def row(answer: Answer | None, *, photo: str = "", error: str = "") -> Row:
    """One answer, or the reason why there is none, as values by column; what is not known is None."""
    told: Row = dict.fromkeys(COLUMNS)
    told |= {"photo": photo or None, "error": error or None}
    if answer is None:
        return told
    place, claim, area = answer.place, answer.file_claim, answer.confidence.area_km2
    told |= {
        "sure": answer.confidence.sure,
        "abstained": answer.abstained,
        "disclosure": answer.disclosure,
        "question": answer.question,
        "text": answer.text,
        "area_km2_50": area.get(50),
        "area_km2_90": area.get(90),
        "evidence": "; ".join(item.text for item in answer.evidence) or None,
        "alternatives": "; ".join(f"{o.label} {o.probability:.0%}" for o in answer.alternatives) or None,
        "model": answer.provenance.get("model"),
        "index": answer.provenance.get("index"),
        "photo_sha256": answer.provenance.get("photo_sha256"),
    }
    if answer.point:
        told |= {"lat": answer.point.lat, "lon": answer.point.lon}
    for mass, radius_km in (answer.radius_km or {}).items():
        told[f"radius_km_{mass}"] = radius_km
    if place:
        told |= {name: getattr(place, name) for name in ("name", "region", "country", "country_code", "continent")}
    if claim:
        told |= {"claimed_lat": claim.lat, "claimed_lon": claim.lon, "taken": claim.taken, "camera": claim.camera}
    return told


def csv_rows(rows: Iterable[Row]) -> str:
    """Rows as CSV (RFC 4180), UTF-8 with a heading; text that a spreadsheet would run is neutralised."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for each in rows:
        writer.writerow([_cell(each.get(name), kind) for name, kind in COLUMNS.items()])
    return out.getvalue()


def plain_text(cell: str) -> str:
    """A text cell of :func:`csv_rows` as it was."""
    return cell[1:] if cell[:1] == "'" and cell[1:].lstrip(" '")[:1] in _FORMULA else cell


def parquet(rows: Sequence[Row]) -> bytes:
    """Rows as a Parquet file, typed as :data:`COLUMNS`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
    fields = [pa.field(name, kinds[kind]) for name, kind in COLUMNS.items()]
    table = pa.Table.from_pylist([{name: each.get(name) for name in COLUMNS} for each in rows], pa.schema(fields))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def json_lines(rows: Iterable[Row]) -> str:
    """Rows as JSON, an object a line."""
    return "".join(json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in rows)


def _cell(value: Any, kind: type) -> str:
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return f"{float(value):.9g}"
    text = str(value).replace("\x00", "")
    return "'" + text if text.lstrip(" '")[:1] in _FORMULA and text.lstrip(" '") else text
