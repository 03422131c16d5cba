"""Pictures with places, and the gallery that may answer for them: the two worlds in which retrieval is examined."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gaea import places
from gaea.errors import GaeaError, InputError
from gaea.eval.blocks import even_crops
from gaea.eval.case import PROBE
from gaea.finetune.imagery import Imagery
from gaea.finetune.splits import Part
from gaea.photo import Photo
from gaea.rag.embed import perceptual_hash
from gaea.rag.encoder import Encoder
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.memory import GalleryMemory
from gaea.rag.store import MemoryStore
from gaea.sphere import great_circle_km

SAME_PLACE_KM = 25.0
SAME_PICTURE_BITS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """One picture that is asked about.

    Attributes:
        image: RGB.
        lat: Where it was taken, degrees.
        lon: Likewise.
        place: Block or place it belongs to; the unit of all intervals.
        country: ISO 3166 alpha-2 of its place; empty at sea, where no country is asked.
        embedding: float32, shape (dim,).
        strangeness: How unlike the encoder's world it is.
        phash: Perceptual hash.
        sha256: Of its file; empty where there is none.
        barred: Gallery rows of its own place, which may not answer.
    """

    image: Image.Image
    lat: float
    lon: float
    place: str
    country: str
    embedding: np.ndarray
    strangeness: float
    phash: int
    sha256: str = ""
    barred: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """Queries, and the memory that answers for them.

    ``imagery`` is what the gallery's pictures can be cut from again, None where the gallery keeps their hashes.
    """

    name: str
    queries: tuple[Query, ...]
    memory: GalleryMemory
    imagery: Imagery | None = None


def crops(name: str, memory: GalleryMemory, imagery: Imagery, *, part: Part, count: int, seed: int) -> World:
    """New crops of the planet, spread evenly over the blocks of a split, against the assistant's own gallery."""
    cases = even_crops(imagery, part, count, PROBE, np.random.default_rng((seed, int(part), 77)))
    embeddings = _encoded(memory.encoder, [case.image for case in cases])
    codes = places.country_codes(np.array([c.lat for c in cases]), np.array([c.lon for c in cases]))
    queries = tuple(
        Query(
            case.image,
            case.lat,
            case.lon,
            case.name,
            str(code),
            embedding,
            memory.strangeness(case.image),
            perceptual_hash(case.image),
        )
        for case, code, embedding in zip(cases, codes.tolist(), embeddings, strict=True)
    )
    return World(name, queries, memory, imagery)


def photographs(name: str, encoder: Encoder, folder: Path, *, limit: int | None = None, seed: int = 0) -> World:
    """Photographs of an ImageFolder, each against all others but those of its own place.

    Args:
        name: Of the world.
        encoder: Makes the gallery.
        folder: With ``metadata.jsonl``: file_name, latitude, longitude, country_iso2, title.
        limit: Ask about so many only; the gallery keeps all.
        seed: Which are asked about, and in what order.

    Raises:
        InputError: The metadata cannot be read, or lack a column.
    """
    try:
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        files = [folder / row["file_name"] for row in rows]
        lat, lon = (np.array([float(row[key]) for row in rows]) for key in ("latitude", "longitude"))
        countries, titles = [str(row["country_iso2"]) for row in rows], [str(row["title"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/metadata.jsonl is not a list of photographs with places: {error!r}") from error
    images = [_opened(file) for file in files]
    embeddings = _encoded(encoder, images)
    hashes = [perceptual_hash(image) for image in images]
    shas = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    gallery = Gallery.from_embeddings(
        embeddings,
        lat,
        lon,
        meta=GalleryMeta(encoder.name, encoder.fingerprint, encoder.dim, source=folder.name),
        labels={"text": titles, "sha256": shas, "country": countries},
        phash=hashes,
        dtype="float16",
    )
    memory = GalleryMemory(encoder, gallery, MemoryStore.open(gallery))
    group = same_place(lat, lon, titles, hashes)
    queries = tuple(
        Query(
            images[row],
            float(lat[row]),
            float(lon[row]),
            str(group[row]),
            countries[row],
            embeddings[row],
            memory.strangeness(images[row]),
            hashes[row],
            shas[row],
            barred=tuple(np.flatnonzero(group == group[row]).tolist()),
        )
        for row in np.random.default_rng(seed).permutation(len(rows))[:limit].tolist()
    )
    return World(name, queries, memory)


def same_place(lat: np.ndarray, lon: np.ndarray, titles: Sequence[str], hashes: Sequence[int]) -> np.ndarray:
    """A number for the place of each photograph, shape (n,).

    Two photographs are of one place when they were taken within 25 km of each other (a city and its outskirts), bear
    the same title, or are the same picture by perceptual hash; and so are the friends of friends.
    """
    joined = great_circle_km(lat[:, None], lon[:, None], lat, lon) <= SAME_PLACE_KM
    named = np.array([title.casefold().strip() for title in titles])
    joined |= (named[:, None] == named) & (named != "")
    codes = np.array(hashes, np.uint64)
    joined |= np.bitwise_count(codes[:, None] ^ codes) <= SAME_PICTURE_BITS
    group = np.arange(len(lat))
    while True:
        # Everybody takes the lowest number among its friends, until nobody has a lower one to take.
        lowest = np.where(joined, group, len(group)).min(axis=1)
        if (lowest == group).all():
            return group
        group = lowest


def _encoded(encoder: Encoder, images: Sequence[Image.Image], batch: int = 32) -> np.ndarray:
    """Embeddings of (n, dim), a batch at a time."""
    return np.concatenate([encoder.encode(images[start : start + batch]) for start in range(0, len(images), batch)])


def _opened(file: Path) -> Image.Image:
    try:
        return Photo.open(file).image()
    except GaeaError as error:
        raise InputError(f"{file} cannot be examined: {error}") from error


def blind(world: World, sample: int = 1500) -> tuple[list[tuple[float, float]], list[str]]:
    """What can be answered without looking: the middle of the gallery, and its most common country, for each query.

    The middle is the row of least mean distance to the others, among the rows that may answer (of a large gallery, an
    even sample of them). A gallery of few countries makes this baseline strong.
    """
    gallery = world.memory.gallery
    rows = np.unique(np.linspace(0, len(gallery) - 1, min(sample, len(gallery))).astype(int))
    lat, lon = gallery.lat[rows], gallery.lon[rows]
    codes = gallery.labels["country"][rows] if "country" in gallery.labels else places.country_codes(lat, lon)
    away = great_circle_km(lat[:, None], lon[:, None], lat, lon)
    middles, commonest = [], []
    for query in world.queries:
        free = ~np.isin(gallery.row_numbers[rows], query.barred)
        middle = int(np.argmin(np.where(free, away[:, free].mean(axis=1), np.inf)))
        middles.append((float(lat[middle]), float(lon[middle])))
        names, times = np.unique([code for code in codes[free] if code], return_counts=True)
        commonest.append(str(names[np.argmax(times)]) if len(names) else "")
    return middles, commonest
