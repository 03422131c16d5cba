"""Does the gallery hold the exam? Near-duplicates between queries and gallery, counted in three ways.

The same file by its hash; the same picture saved again by its perceptual hash; and what the encoder cannot tell from
the query by cosine. The last need not be the same place: two crops of one desert are alike without being near.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gaea.eval.worlds import SAME_PICTURE_BITS, SAME_PLACE_KM, Query, World
from gaea.finetune.imagery import Imagery, View
from gaea.rag.embed import perceptual_hash
from gaea.sphere import great_circle_km

RENDERED = 5  # most similar rows whose picture is cut again where the gallery keeps no hashes


def duplicates(world: World, query: Query, similarity: float) -> dict[str, np.ndarray]:
    """Positions of the gallery's rows that are near-duplicates of a query, by how they were found.

    Rows of the query's own place count too: what a protocol bars is for the caller to take away.
    """
    gallery = world.memory.gallery
    cosine = gallery.embeddings @ query.embedding
    found = {"cosine": np.flatnonzero(cosine >= similarity)}
    if gallery.phash is not None:
        far = np.bitwise_count(gallery.phash ^ np.uint64(query.phash))
        found["phash"] = np.flatnonzero(far <= SAME_PICTURE_BITS)
    elif world.imagery is not None:
        top = np.argsort(-cosine)[:RENDERED]
        found["phash"] = np.array([row for row in top if _cut_again(world.imagery, world, int(row), query)], np.int64)
    if query.sha256 and "sha256" in gallery.labels:
        found["sha256"] = np.flatnonzero(gallery.labels["sha256"] == query.sha256)
    return found


def count(world: World, similarity: float) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """How many queries have near-duplicates in the gallery, and which row numbers those are, query by query.

    A photograph is not its own duplicate: rows that a protocol bars are counted apart, as what it takes care of.
    """
    gallery = world.memory.gallery
    tally: dict[str, dict[str, int]] = {}
    rows: list[tuple[int, ...]] = []
    near = 0
    for query in world.queries:
        found = duplicates(world, query, similarity)
        mine: set[int] = set()
        for kind, positions in found.items():
            barred = np.isin(gallery.row_numbers[positions], query.barred)
            told = tally.setdefault(kind, {"queries": 0, "rows": 0, "rows barred as of the same place": 0})
            told["queries"] += bool((~barred).any())
            told["rows"] += int((~barred).sum())
            told["rows barred as of the same place"] += int(barred.sum())
            mine |= set(positions[~barred].tolist())
        positions = np.array(sorted(mine), np.int64)
        away = great_circle_km(query.lat, query.lon, gallery.lat[positions], gallery.lon[positions])
        near += bool((away <= SAME_PLACE_KM).any())
        rows.append(tuple(gallery.row_numbers[positions].tolist()))
    summary = {
        "queries": len(world.queries),
        "gallery rows": len(gallery),
        "cosine from": similarity,
        "phash bits up to": SAME_PICTURE_BITS,
        "found": tally,
        "queries with a near-duplicate": sum(map(bool, rows)),
        "queries with one within 25 km": near,
    }
    return summary, rows


def _cut_again(imagery: Imagery, world: World, position: int, query: Query) -> bool:
    """Whether a row's picture, cut from the imagery once more, is the query's by perceptual hash."""
    gallery = world.memory.gallery
    view = View(float(gallery.lat[position]), float(gallery.lon[position]), float(gallery.width_km[position]))
    from PIL import Image

    picture = imagery.render(view, query.image.width)
    if picture is None:
        return False
    apart = perceptual_hash(Image.fromarray(picture)) ^ query.phash
    return apart.bit_count() <= SAME_PICTURE_BITS
