"""An index, a build and neighbours in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gaea.locate.neighbours import Neighbour, Neighbours
from gaea.rag.build import BuildReport
from gaea.rag.calibrate import Learned
from gaea.rag.estimate import Estimate
from gaea.rag.gallery import Gallery
from gaea.rag.index import IndexInfo

_SHOWN = 8


def built(report: BuildReport) -> str:
    """What a build did, a fact a line."""
    lines = [
        f"{report.source}: {report.added:,} rows added in {duration(report.seconds)} ({report.rows_per_s:,.0f}/s), "
        f"{report.rows:,} in the index"
    ]
    if report.present:
        lines.append(f"  there already    {report.present:,}")
    lines += [f"  refused          {n:,} {reason}" for reason, n in report.rejected.items()]
    if report.rejected:
        lines.append("  the list         rejected.jsonl in the index")
    lines += [f"  look again       {suspicion}" for suspicion in report.suspicions]
    if report.near_count:
        lines.append(f"  same picture     {report.near_count:,} that an earlier row shows, for example:")
        lines += [f"                   {key} · {duplicate}" for key, duplicate in report.near[:3]]
    return "\n".join(lines)


def cost(told: Estimate) -> str:
    """What a build would take."""
    return (
        f"about {duration(told.seconds)} for {told.items:,} items at {told.items_per_s:,.1f}/s, "
        f"giving {told.rows:,} rows, {size(told.disk_bytes)} on disk and "
        f"{size(told.memory_bytes)} in memory "
        f"({told.usable} of the first {told.sampled} are usable)"
    )


def learned(told: Learned, *, away_km: float) -> str:
    """What an index learned about itself."""
    half, most = told.calibration.region_mass
    return (
        f"median error {told.median_km[0]:,.1f} km where the place is in the index, "
        f"{told.median_km[1]:,.0f} km where nothing within {away_km:g} km of it is\n"
        f"50 and 90 % regions are drawn at {half:.0%} and {most:.1%} of the belief, fitted on {told.questions} rows"
    )


def info(told: IndexInfo) -> str:
    """What an index holds."""
    encoder = told.encoder
    lines = [
        f"{told.folder}",
        f"  rows             {told.rows:,} in {told.shards} shards, {size(told.size_bytes)}, {told.dtype}",
        f"  encoder          {encoder.name} ({encoder.dim}-d, {encoder.precision}, {encoder.fingerprint[:12]})",
        f"  loaded by        {encoder.spec}",
        f"  created          {told.created}, last change {told.updated}",
        f"  refused          {told.rejected:,} items" + (" (rejected.jsonl)" if told.rejected else ""),
    ]
    for name, counts in (("sources", told.sources), ("countries", told.countries), ("licences", told.licences)):
        lines.append(f"  {name:<17}{_counted(counts, '(sea)' if name == 'countries' else '(not told)')}")
    return "\n".join(lines)


def info_json(told: IndexInfo) -> str:
    """The same as JSON."""
    return json.dumps({**asdict(told), "folder": str(told.folder)}, indent=2, ensure_ascii=False)


def neighbours(found: Neighbours, gallery: Gallery) -> str:
    """A list a role, most similar first."""
    lines: list[str] = []
    for number, one in enumerate((*found.similar, *found.dissimilar), 1):
        key = gallery.label("key", int(gallery.positions(one.row)))
        whose = " · ".join(part for part in (one.text, key, one.source, one.credit) if part)
        lines.append(f"{number:3d}. {one.similarity:6.3f}  {one.lat:9.4f}, {one.lon:9.4f}  {one.role:<15}  {whose}")
    return "\n".join(lines) or "nothing in the index fits"


def neighbours_json(found: Neighbours, gallery: Gallery) -> str:
    """The same as JSON, with provenance."""

    def told(one: Neighbour) -> dict[str, Any]:
        at = int(gallery.positions(one.row))
        more = {name: gallery.label(name, at) for name in ("key", "licence", "country", "region", "sha256")}
        width = one.width_km if one.width_km == one.width_km else None
        return {**asdict(one), "width_km": width, **more}

    return json.dumps([told(one) for one in (*found.similar, *found.dissimilar)], indent=2, ensure_ascii=False)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _counted(counts: Mapping[str, int], blank: str) -> str:
    shown = [f"{name or blank} {n:,}" for name, n in list(counts.items())[:_SHOWN]]
    more = len(counts) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") or "none"
