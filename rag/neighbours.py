"""Neighbours that mean something: what looks like the picture, what does not, and what only seems to.

*Similar* rows are the nearest by cosine. *Dissimilar* rows are the nearest of the negated query, the farthest of all
(Img2Loc, SIGIR 2024; G3, NeurIPS 2024). In a gallery where the farthest rows are nearly the same for every query, they
say little; *hard dissimilar* rows are near by cosine but far from where the similar ones agree the picture is, and say
which look-alike place to rule out.

Stores know rows by their numbers, arrays by positions: a :class:`Neighbour` carries the number, which outlives
removals. What keeps a list from being filled by one picture, place or source is :mod:`gaea.rag.selection`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gaea.errors import InputError
from gaea.locate.neighbours import Neighbour, Neighbours, Role
from gaea.rag.consensus import Consensus, consensus
from gaea.rag.gallery import Gallery
from gaea.rag.selection import BoolArray, Exclusion, FloatArray, IntArray, RetrievalConfig, choose
from gaea.rag.store import Float32Array, Store
from gaea.sphere import great_circle_km

__all__ = ["Consensus", "Exclusion", "RetrievalConfig", "Retrieved", "consensus", "diversified", "find", "search"]

DIVERSITY = (0, 5, 10, 15)
DEFAULT = RetrievalConfig()


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Neighbours of many queries as arrays, each of shape (q, k), most similar first; ``rows`` are row numbers."""

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
        GalleryError: The store holds rows that the gallery does not.
    """
    queries = np.asarray(embeddings, np.float32)
    fetch = k if exclude is None else 2 * k + 16
    while True:
        numbers, positions, similarity = _fetch(queries, store, gallery, fetch)
        if exclude is None:
            break
        allowed = exclude.allows(gallery, numbers, positions, similarity)
        fewest = int(allowed.sum(axis=1).min(initial=k))
        if fewest >= k or numbers.shape[1] < fetch or fetch >= store.count():
            if fewest == 0 and len(queries):
                raise InputError(f"excluding rows {exclude} leaves a query no neighbour")
            # A stable sort brings the allowed rows forward without disturbing their order.
            order = np.argsort(~allowed, axis=1, kind="stable")[:, : min(k, fewest)]
            numbers, positions = (np.take_along_axis(column, order, axis=1) for column in (numbers, positions))
            similarity = np.take_along_axis(similarity, order, axis=1)
            break
        fetch *= 4
    return Retrieved(numbers, gallery.lat[positions], gallery.lon[positions], similarity)


def find(embedding: ArrayLike, store: Store, gallery: Gallery, config: RetrievalConfig = DEFAULT) -> Neighbours:
    """The neighbours of one picture, for its prompt, its evidence and the locator.

    The ranking is read as deep as the caps make necessary: until every list is full, or no row is left (hard rows:
    until ``hard_pool`` rows were read). Each list is capped by itself.

    Args:
        embedding: Of the picture, shape (dim,).
        store: Index over the gallery's row numbers.
        gallery: The rows.
        config: How many, and what keeps them apart.

    Returns:
        Similar rows, and the dissimilar: hard ones before the farthest; no row twice.

    Raises:
        InputError: As the store does; or exclusions leave no row.
        GalleryError: The store holds rows that the gallery does not.
    """
    query: Float32Array = np.asarray(embedding, np.float32).reshape(1, -1)
    similar, hard = _near(query, store, gallery, config) if config.k_similar or config.k_hard else ([], [])
    farthest: list[Neighbour] = []
    if config.k_dissimilar:
        seen = {neighbour.row for neighbour in (*similar, *hard)}
        farthest = _far(query, store, gallery, config, seen)
    return Neighbours(tuple(similar), (*hard, *farthest))


def diversified(
    embedding: ArrayLike,
    store: Store,
    gallery: Gallery,
    config: RetrievalConfig = DEFAULT,
    *,
    ks: Iterable[int] = DIVERSITY,
) -> dict[int, Neighbours]:
    """Neighbours for several prompts about one picture: k similar and as many dissimilar, for each k (G3, §3.3).

    Of the k dissimilar, up to ``config.k_hard`` are hard ones. At k = 0 nothing is told, so that one of the prompts
    leaves the model to its own eyes.

    Raises:
        InputError: As :func:`find`; or a negative k.
    """
    told = {}
    for k in ks:
        hard = min(config.k_hard, k)
        told[k] = find(
            embedding,
            store,
            gallery,
            dataclasses.replace(config, k_similar=k, k_hard=hard, k_dissimilar=k - hard),
        )
    return told


def _near(
    query: Float32Array, store: Store, gallery: Gallery, config: RetrievalConfig
) -> tuple[list[Neighbour], list[Neighbour]]:
    """Similar and hard dissimilar rows, from one reading of the ranking."""
    fetch = config.k_similar * (4 if config.capped else 1) + (16 if config.exclusions else 0)
    fetch = max(fetch, min(200, config.hard_pool) if config.k_hard else 1)
    while True:
        found, positions, exhausted = _ranked(query, store, gallery, config, fetch)
        taken = choose(positions, gallery, config.k_similar, config)
        hard = _hard(found, positions, taken, gallery, config) if config.k_hard else []
        filled = len(hard) >= config.k_hard or fetch >= config.hard_pool
        if exhausted or (len(taken) == config.k_similar and filled):
            break
        fetch = 4 * fetch if len(taken) < config.k_similar else min(4 * fetch, config.hard_pool)
    return (
        _neighbours(found, positions, taken, gallery, "similar"),
        _neighbours(found, positions, hard, gallery, "hard dissimilar"),
    )


def _hard(
    found: Retrieved, positions: IntArray, taken: list[int], gallery: Gallery, config: RetrievalConfig
) -> list[int]:
    """Indices of look-alikes far from where the similar rows agree; none while no row is allowed yet."""
    if not len(positions):
        return []
    reference = taken or [0]
    agreed = consensus(*(column[0, reference] for column in (found.lat, found.lon, found.similarity)))
    far = great_circle_km(agreed.lat, agreed.lon, found.lat[0], found.lon[0]) > config.hard_beyond_km
    far[taken] = False
    far[config.hard_pool :] = False
    candidates = np.flatnonzero(far)
    chosen = choose(positions[candidates], gallery, config.k_hard, config)
    return [int(candidates[index]) for index in chosen]


def _far(
    query: Float32Array, store: Store, gallery: Gallery, config: RetrievalConfig, seen: set[int]
) -> list[Neighbour]:
    """The farthest rows, farthest first, without those already seen."""
    fetch = config.k_dissimilar * (4 if config.capped else 1) + len(seen) + (16 if config.exclusions else 0)
    while True:
        found, positions, exhausted = _ranked(query, store, gallery, config, fetch, sign=-1)
        fresh = np.flatnonzero(~np.isin(found.rows[0], list(seen)))
        taken = choose(positions[fresh], gallery, config.k_dissimilar, config)
        if exhausted or len(taken) == config.k_dissimilar:
            break
        fetch *= 4
    return _neighbours(found, positions, [int(fresh[index]) for index in taken], gallery, "dissimilar")


def _ranked(
    query: Float32Array, store: Store, gallery: Gallery, config: RetrievalConfig, fetch: int, *, sign: int = 1
) -> tuple[Retrieved, IntArray, bool]:
    """Rows of one query that no exclusion forbids, their positions, and whether there are no more.

    Most similar first, or least similar first where ``sign`` is −1.
    """
    numbers, positions, similarity = _fetch(sign * query, store, gallery, fetch)
    # What the store says of a negated query is turned back into the similarity with the picture.
    similarity = sign * similarity
    exhausted = numbers.shape[1] < fetch or fetch >= store.count()
    kept: BoolArray = np.ones(numbers.shape, bool)
    for exclusion in config.exclusions:
        kept &= exclusion.allows(gallery, numbers, positions, similarity)
    if exhausted and numbers.size and not kept.any():
        raise InputError(f"excluding rows {', '.join(map(str, config.exclusions))} leaves a query no neighbour")
    numbers, positions, similarity = numbers[kept][None], positions[kept][None], similarity[kept][None]
    return Retrieved(numbers, gallery.lat[positions], gallery.lon[positions], similarity), positions[0], exhausted


def _fetch(queries: ArrayLike, store: Store, gallery: Gallery, k: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Row numbers, positions and similarities of the k nearest rows, each of shape (q, k)."""
    numbers, similarity = store.query(np.asarray(queries, np.float32), k)
    return numbers, gallery.positions(numbers), similarity.astype(np.float64)


def _neighbours(
    found: Retrieved, positions: IntArray, chosen: Sequence[int], gallery: Gallery, role: Role
) -> list[Neighbour]:
    return [
        Neighbour(
            row=int(found.rows[0, index]),
            lat=float(found.lat[0, index]),
            lon=float(found.lon[0, index]),
            similarity=float(found.similarity[0, index]),
            role=role,
            text=gallery.label("text", row),
            width_km=float(gallery.width_km[row]),
            source=gallery.label("source", row),
            credit=gallery.label("credit", row),
        )
        for index in chosen
        for row in (int(positions[index]),)
    ]
