"""Answers as files other programs read: GeoJSON, KML, CSV and Parquet, written whole or not at all.

Only answers go in, which are held to their level of disclosure already; nothing here knows more than they tell.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gaea.answer import Answer, Evidence, FileClaim
from gaea.errors import InputError

_DECIMALS = 6  # a tenth of a metre, finer than any answer


def geojson(answers: Answer | Sequence[Answer], *, names: Sequence[str] = ()) -> dict[str, Any]:
    """One or more answers of a conversation as a GeoJSON FeatureCollection (RFC 7946: lon, lat, WGS84).

    Every feature says what it is in ``properties.role``: ``region`` (with ``mass`` in percent), ``answer``,
    ``alternative``, ``neighbour`` (with ``kind``), ``fact``, or ``file claim``, the position in the photo's own
    metadata. What several answers share is written once. Regions come first, so that viewers draw points above them.
    With ``names``, those of the photos, each feature tells in ``properties.photo`` which one it is about.
    """
    found: list[dict[str, Any]] = []
    for number, answer in enumerate(each_answer(answers)):
        for feature in features(answer):
            if number < len(names):
                feature["properties"]["photo"] = names[number]
                found.append(feature)
            elif feature not in found:
                found.append(feature)
    found.sort(key=lambda feature: feature["properties"]["role"] != "region")
    return {"type": "FeatureCollection", "features": found}


def kml(answers: Answer | Sequence[Answer], *, names: Sequence[str] = ()) -> str:
    """See :func:`gaea.app.kml.kml`."""
    from gaea.app.kml import kml as written

    return written(answers, names=names)


def csv_rows(answers: Answer | Sequence[Answer], *, names: Sequence[str] = ()) -> str:
    """Answers as CSV, one a row; ``names`` are those of the photos. See :func:`gaea.app.tables.csv_rows`."""
    from gaea.app import tables

    return tables.csv_rows(_rows(answers, names))


def parquet(answers: Answer | Sequence[Answer], *, names: Sequence[str] = ()) -> bytes:
    """Answers as a Parquet file, one a row; see :func:`gaea.app.tables.parquet`."""
    from gaea.app import tables

    return tables.parquet(_rows(answers, names))


def point_only(answer: Answer) -> Answer:
    """An answer without areas, neighbours, alternatives and claims; for maps of many photos."""
    return dataclasses.replace(answer, region={}, evidence=(), alternatives=(), file_claim=None)


def each_answer(answers: Answer | Sequence[Answer]) -> list[Answer]:
    """One answer or several, as a list."""
    return [answers] if isinstance(answers, Answer) else list(answers)


def _rows(answers: Answer | Sequence[Answer], names: Sequence[str]) -> list[dict[str, Any]]:
    from gaea.app import tables

    named = itertools.zip_longest(each_answer(answers), names[: len(each_answer(answers))], fillvalue="")
    return [tables.row(answer, photo=name) for answer, name in named]


def write_geojson(answers: Answer | Sequence[Answer], path: str | Path) -> Path:
    """Write :func:`geojson` to a file; see :func:`write_text` for what is raised."""
    return write_text(path, json.dumps(geojson(answers), ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def write_text(path: str | Path, text: str) -> Path:
    """Write a file completely or not at all: a reader never sees half of it, and a failure leaves the old one.

    Raises:
        InputError: The folder is missing or cannot be written to.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, data: bytes) -> Path:
    """See :func:`write_text`."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise InputError(f"{target}: cannot be written ({reason}); check the folder and its permissions") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target


def features(answer: Answer) -> Iterable[dict[str, Any]]:
    """The GeoJSON features of one answer; see :func:`geojson`."""
    for mass in sorted(answer.region, reverse=True):
        area_km2 = answer.confidence.area_km2.get(mass)
        yield _feature(answer.region[mass], role="region", mass=mass, area_km2=area_km2)
    if answer.point is not None:
        yield _feature(
            _point(answer.point.lat, answer.point.lon),
            role="answer",
            question=answer.question,
            text=answer.text,
            place=answer.place.label if answer.place else None,
            sure=answer.confidence.sure,
            radius_km_50=answer.radius_km[50] if answer.radius_km else None,
            radius_km_90=answer.radius_km[90] if answer.radius_km else None,
            disclosure=answer.disclosure,
        )
    for other in answer.alternatives:
        if other.point is not None:
            place = _point(other.point.lat, other.point.lon)
            yield _feature(place, role="alternative", label=other.label, probability=other.probability)
    for item in answer.evidence:
        yield from _evidence(item)
    if answer.file_claim is not None:
        yield from _claim(answer.file_claim)


def _evidence(item: Evidence) -> Iterable[dict[str, Any]]:
    if item.lat is None or item.lon is None:
        return
    yield _feature(
        _point(item.lat, item.lon),
        role="neighbour" if item.kind in ("similar", "dissimilar") else item.kind,
        kind=item.kind,
        text=item.text,
        distance_km=item.distance_km,
        similarity=item.similarity,
        share=item.share,
        source=item.source,
        credit=item.credit,
    )


def _claim(claim: FileClaim) -> Iterable[dict[str, Any]]:
    if claim.lat is None or claim.lon is None:
        return
    yield _feature(
        _point(claim.lat, claim.lon),
        role="file claim",
        taken=claim.taken,
        camera=claim.camera,
        distance_km=claim.distance_km,
        problems=list(claim.problems),
    )


def _feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    rounded = {**geometry, "coordinates": _rounded(geometry["coordinates"])}
    known = {name: value for name, value in properties.items() if value is not None}
    return {"type": "Feature", "geometry": rounded, "properties": known}


def _point(lat: float, lon: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [lon, lat]}


def _rounded(coordinates: Any) -> Any:
    if isinstance(coordinates, list | tuple):
        return [_rounded(item) for item in coordinates]
    return round(float(coordinates), _DECIMALS)
