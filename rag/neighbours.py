"""Neighbours that mean something: what looks like the picture, what does not, and what only seems to.

*Similar* rows are the nearest by cosine. *Dissimilar* rows are the nearest of the negated query, the farthest of all
(Img2Loc, SIGIR 2024; G3, NeurIPS 2024). In a gallery where the farthest rows are nearly the same for every query, they
say little; *hard dissimilar* rows are near by cosine but far from where the similar ones agree the picture is, and say
which look-alike place to rule out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaea.errors import InputError
from gaea.locate.neighbours import Neighbour, Neighbours, Role
from gaea.rag.gallery import Gallery
from gaea.rag.store import Store
from gaea.sphere import from_xyz, great_circle_km, to_xyz

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Exclusion:
    """Rows nearer than ``within_km`` to a place (degrees; scalars, or one per query) do not count.

    For evaluation protocols: with the query's true place here, the gallery cannot answer with the place itself.
    """

    lat: ArrayLike
    lon: ArrayLike
    within_km: float


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Neighbours of many queries as arrays, each of shape (q, k), most similar first."""

    rows: IntArray
    lat: FloatArray
    lon: FloatArray
    similarity: FloatArray


def search(
    embeddings: ArrayLike, store: Store, gallery: Gallery, k: int, *, exclude: Exclusion | None = None
) -> Retrieved:
    """Nearest rows of many queries at once, the form the locator and its fit read.

    Args:
        embeddings: Queries, shape (q, dim).
        store: Index over the gallery's row numbers.
        gallery: The rows.
        k: How many per query; fewer if the gallery, or what an exclusion leaves of it for some query, has fewer.
        exclude: Rows that do not count.

    Raises:
        InputError: As the store does; or an exclusion leaves some query no row.
    """
    queries = np.asarray(embeddings, np.float32)
    fetch = k if exclude is None else 2 * k + 16
    while True:
        rows, similarity = store.query(queries, fetch)
        if exclude is None:
            break
        allowed = _allowed(rows, gallery, exclude)
        fewest = int(allowed.sum(axis=1).min(initial=k))
        if fewest >= k or rows.shape[1] >= store.count():
            if fewest == 0 and len(queries):
                raise InputError(f"excluding rows within {exclude.within_km:g} km leaves a query no neighbour")
            # A stable sort brings the allowed rows forward without disturbing their order.
            order = np.argsort(~allowed, axis=1, kind="stable")[:, : min(k, fewest)]
            rows = np.take_along_axis(rows, order, axis=1)
            similarity = np.take_along_axis(similarity, order, axis=1)
            break
        fetch *= 4
    return Retrieved(rows, gallery.lat[rows], gallery.lon[rows], similarity.astype(np.float64))


def find(
    embedding: ArrayLike,
    store: Store,
    gallery: Gallery,
    *,
    k_similar: int = 16,
    k_dissimilar: int = 4,
    k_hard: int = 0,
    hard_beyond_km: float = 1000.0,
    duplicate_similarity: float | None = None,
    exclude: Exclusion | None = None,
) -> Neighbours:
    """The neighbours of one picture, for its prompt, its evidence and the locator.

    Args:
        embedding: Of the picture, shape (dim,).
        store: Index over the gallery's row numbers.
        gallery: The rows.
        k_similar: Nearest rows.
        k_dissimilar: Farthest rows.
        k_hard: Rows that look alike but lie far away, most similar first; listed before the farthest.
        hard_beyond_km: How far from the consensus a hard row must lie.
        duplicate_similarity: If given, a row whose cosine to one already taken is above this is passed over, so that
            a repetitive source cannot fill the list.
        exclude: Rows that do not count.

    Raises:
        InputError: As :func:`search`; or a negative count.
    """
    if min(k_similar, k_dissimilar, k_hard) < 0:
        raise InputError(f"neighbour counts {(k_similar, k_dissimilar, k_hard)} must not be negative")
    query = np.asarray(embedding, np.float32).reshape(1, -1)
    # Beyond the similar rows, a pool deep enough to meet look-alikes from elsewhere and to replace duplicates.
    pool = k_similar * (1 if duplicate_similarity is None else 4) + (200 if k_hard else 0)
    similar: list[Neighbour] = []
    hard: list[Neighbour] = []
    if pool:
        near = search(query, store, gallery, pool, exclude=exclude)
        taken = _distinct(near.rows[0], gallery, k_similar, duplicate_similarity)
        similar = _neighbours(near, taken, gallery, "similar")
        if k_hard:
            reference = taken or [0]
            lat, lon = consensus(near.lat[0, reference], near.lon[0, reference], near.similarity[0, reference])
            far = great_circle_km(lat, lon, near.lat[0], near.lon[0]) > hard_beyond_km
            far[taken] = False
            candidates = np.flatnonzero(far)
            chosen = _distinct(near.rows[0][candidates], gallery, k_hard, duplicate_similarity)
            hard = _neighbours(near, [int(candidates[index]) for index in chosen], gallery, "hard dissimilar")
    farthest: list[Neighbour] = []
    if k_dissimilar:
        opposite = search(-query, store, gallery, k_dissimilar, exclude=exclude)
        # The store's similarity is that with the negated query: its sign is turned back.
        opposite = Retrieved(opposite.rows, opposite.lat, opposite.lon, -opposite.similarity)
        seen = {neighbour.row for neighbour in (*similar, *hard)}
        fresh = [index for index, row in enumerate(opposite.rows[0]) if int(row) not in seen]
        farthest = _neighbours(opposite, fresh, gallery, "dissimilar")
    return Neighbours(tuple(similar), (*hard, *farthest))


def consensus(
    lat: ArrayLike, lon: ArrayLike, similarity: ArrayLike, *, temperature: float = 0.05
) -> tuple[float, float]:
    """Where neighbours agree the picture is: their spherical mean, weighted by the softmax of similarity.

    Neighbours that balance each other (antipodes) have no mean; the most similar one then speaks alone.
    """
    score = np.asarray(similarity, np.float64)
    weights = np.exp((score - score.max()) / temperature)
    xyz = to_xyz(lat, lon)
    mean = weights @ xyz
    best: FloatArray = mean if np.linalg.norm(mean) > 1e-9 * weights.sum() else xyz[int(np.argmax(score))]
    at_lat, at_lon = from_xyz(best)
    return float(at_lat), float(at_lon)


def _allowed(rows: IntArray, gallery: Gallery, exclude: Exclusion) -> NDArray[np.bool_]:
    lat, lon = (np.asarray(place, np.float64).reshape(-1, 1) for place in (exclude.lat, exclude.lon))
    return np.asarray(great_circle_km(lat, lon, gallery.lat[rows], gallery.lon[rows]) >= exclude.within_km)


def _distinct(rows: IntArray, gallery: Gallery, k: int, duplicate_similarity: float | None) -> list[int]:
    """Positions of the first k rows, passing over near-duplicates of those already taken."""
    if duplicate_similarity is None:
        return list(range(min(k, len(rows))))
    vectors = gallery.embeddings[rows]
    taken: list[int] = []
    for index in range(len(rows)):
        if len(taken) == k:
            break
        if not taken or (vectors[taken] @ vectors[index]).max() <= duplicate_similarity:
            taken.append(index)
    return taken


def _neighbours(found: Retrieved, positions: Sequence[int], gallery: Gallery, role: Role) -> list[Neighbour]:
    return [
        Neighbour(
            row=(row := int(found.rows[0, index])),
            lat=float(found.lat[0, index]),
            lon=float(found.lon[0, index]),
            similarity=float(found.similarity[0, index]),
            role=role,
            text=gallery.label("text", row),
            width_km=float(gallery.width_km[row]),
            source=gallery.label("source", row),
            credit=gallery.label("credit", row),
        )
        for index in positions
    ]
