"""Builds the shipped gallery: an even lattice over the imagery, held-out blocks left empty."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gaea import places
from gaea.finetune.imagery import View, open_imagery
from gaea.finetune.splits import Part, footprint_parts, part_of
from gaea.rag.gallery import Gallery, GalleryMeta


@dataclasses.dataclass(frozen=True)
class GalleryConfig:
    """What the gallery holds.

    Attributes:
        lattice: Points of the Fibonacci lattice over the whole Earth; those on imagery are kept.
        width_km: Ground width of a row's picture.
        wide_lattice: A second, coarser lattice of wider pictures.
        wide_km: Their width.
        source: Said of every row.
        credit: Said of every row.
        licence: Said of every row.
    """

    lattice: int = 420_000
    width_km: float = 125.0
    wide_lattice: int = 40_000
    wide_km: float = 300.0
    source: str = "NASA Blue Marble"
    credit: str = "NASA Earth Observatory"
    licence: str = "public domain"


def lattice(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(lat, lon) of ``count`` points spread evenly over the sphere (Fibonacci)."""
    i = np.arange(count) + 0.5
    return np.degrees(np.arcsin(1 - 2 * i / count)), (180 * (1 + 5**0.5) * i + 180) % 360 - 180


def build(
    config: GalleryConfig,
    imagery: str,
    *,
    cache: str | None,
    size: int,
    encode: Callable[[np.ndarray], torch.Tensor],
    meta: GalleryMeta,
    workers: int = 2,
) -> Gallery:
    """Cut, encode and label every row.

    Args:
        config: What to hold.
        imagery: File to cut from.
        cache: Folder of decoded mosaics.
        size: Side of a picture, pixels.
        encode: (n, size, size, 3) uint8 to (n, dim) unit embeddings.
        meta: Which encoder that is.
        workers: Processes that cut.
    """
    jobs = []
    for count, width in ((config.lattice, config.width_km), (config.wide_lattice, config.wide_km)):
        if not count:
            continue
        lat, lon = lattice(count)
        keep = (np.abs(lat) < 80) & (part_of(lat, lon) == Part.TRAIN)
        pairs = np.stack([lat[keep], lon[keep]], 1)
        jobs += [(imagery, cache, chunk, width, size) for chunk in np.array_split(pairs, max(len(pairs) // 8000, 1))]
    embeddings, rows = [], []
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for pictures, kept in pool.imap(_cut, jobs):
            if len(kept):
                embeddings.append(encode(pictures).cpu())
                rows.append(kept)
    return labelled(torch.cat(embeddings), *np.concatenate(rows).T, meta)


def labelled(
    embeddings: torch.Tensor, lat: np.ndarray, lon: np.ndarray, width_km: np.ndarray, meta: GalleryMeta
) -> Gallery:
    """A gallery whose rows are named by region and country, or by sea.

    Args:
        embeddings: Unit, (n, dim).
        lat: Degrees, (n,).
        lon: Degrees, (n,).
        width_km: Of each row's picture, (n,).
        meta: Which encoder they come from.
    """
    codes = places.country_codes(lat, lon)
    regions = places.region_names(lat, lon)
    seas = places.sea_names(lat, lon)
    names = {code: places.country(code).name for code in set(codes.tolist()) - {""}}
    labels = [
        ", ".join(v for v in (str(r), names.get(str(c), "")) if v) or str(s) or "open sea"
        for r, c, s in zip(regions, codes, seas, strict=True)
    ]
    return Gallery.from_embeddings(embeddings.numpy(), lat, lon, meta=meta, width_km=width_km, labels={"text": labels})


def _cut(job: tuple) -> tuple[np.ndarray, np.ndarray]:
    imagery, cache, pairs, width, size = job
    source = open_imagery(imagery, Path(cache) if cache else None)
    pictures, kept = [], []
    for lat, lon in pairs:
        view = View(float(lat), float(lon), width)
        if not source.has_detail(view.lat, view.lon) or footprint_parts(view.lat, view.lon, view.reach_km) != {
            Part.TRAIN
        }:
            continue
        picture = source.render(view, size)
        if picture is not None:
            pictures.append(picture)
            kept.append((lat, lon, width))
    return np.array(pictures, np.uint8), np.array(kept, float).reshape(-1, 3)
