"""What a location head is worth: places named for pictures of held-out blocks, beside the nearest neighbour's place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gaea.finetune.crops import CropConfig, draw_crops
from gaea.finetune.gallery import lattice
from gaea.finetune.imagery import open_imagery
from gaea.finetune.splits import Part
from gaea.rag.encoders import load_encoder
from gaea.rag.gallery import Gallery
from gaea.rag.location_head import LocationHead
from gaea.sphere import great_circle_km


@dataclasses.dataclass(frozen=True)
class Found:
    """How well places were found.

    Attributes:
        error_km: Distance of each answer from the truth, shape (n,).
    """

    error_km: np.ndarray

    def told(self, seed: int = 0) -> dict[str, Any]:
        """Median and shares within 200 and 750 km, each with a 95 % bootstrap interval over pictures."""
        draws = self.error_km[np.random.default_rng(seed).integers(len(self.error_km), size=(1000, len(self.error_km)))]
        measures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "median_km": lambda e: np.median(e, axis=-1),
            "within_200": lambda e: (e <= 200).mean(-1),
            "within_750": lambda e: (e <= 750).mean(-1),
        }
        return {
            name: [round(float(x), 4) for x in (measure(self.error_km), *np.quantile(measure(draws), [0.025, 0.975]))]
            for name, measure in measures.items()
        }


def nearest_place(head: LocationHead, embeddings: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Row, among candidate places, that lies nearest to each picture in the head's space, shape (n,)."""
    return np.asarray(np.argmax(head.encode_images(embeddings) @ head.encode(lat, lon).T, axis=1))


def examine(
    head: LocationHead,
    gallery: Gallery,
    embeddings: np.ndarray,
    *,
    truth: tuple[np.ndarray, np.ndarray],
    candidates: tuple[np.ndarray, np.ndarray],
) -> dict[str, Found]:
    """The head's best candidate, its best gallery row's place, and the nearest neighbour's place, on the same pictures.

    Args:
        head: Trained.
        gallery: What the neighbours come from.
        embeddings: Of the pictures, (n, dim), by the gallery's encoder.
        truth: Latitudes and longitudes of the pictures, degrees.
        candidates: Latitudes and longitudes that the head chooses among; may lie where the gallery has no row.
    """
    chosen = nearest_place(head, embeddings, *candidates)
    answers = {"head over candidates": (candidates[0][chosen], candidates[1][chosen])}
    rows = nearest_place(head, embeddings, gallery.lat, gallery.lon)
    answers["head over gallery places"] = (gallery.lat[rows], gallery.lon[rows])
    rows = np.argmax(embeddings @ gallery.embeddings.T, axis=1)
    answers["nearest neighbour"] = (gallery.lat[rows], gallery.lon[rows])
    return {name: Found(great_circle_km(*truth, *answer)) for name, answer in answers.items()}


def examine_on_crops(
    head: LocationHead,
    gallery: Gallery,
    imagery: str,
    count: int,
    *,
    cache: Path | None = None,
    encoder: str = "nano",
    seed: int = 0,
) -> dict[str, Any]:
    """Place crops of validation blocks, which neither the gallery nor the head has seen.

    The head chooses among an even lattice over all the imagery shows, held-out blocks included.

    Args:
        head: Trained.
        gallery: It was trained on.
        imagery: File that crops are cut from.
        count: Crops.
        cache: Folder of decoded mosaics.
        encoder: Spec of the gallery's encoder.
        seed: Of the crops.

    Raises:
        GalleryError: Another encoder.
    """
    loaded = load_encoder(encoder)
    gallery.check_encoder(loaded)
    source = open_imagery(imagery, cache)
    config = CropConfig(size=96, width_km=(100.0, 150.0))
    crops = draw_crops(source, Part.VALIDATION, count, config, np.random.default_rng((seed, 17)))
    lat, lon = lattice(200_000)
    kept = np.array([source.has_detail(float(a), float(b)) for a, b in zip(lat, lon, strict=True)])
    head.check_encoder(loaded)
    found = examine(
        head,
        gallery,
        loaded.encode(list(crops.images_NHWC)),
        truth=(crops.lat.astype(float), crops.lon.astype(float)),
        candidates=(lat[kept], lon[kept]),
    )
    told: dict[str, Any] = {"crops": count, "candidates": int(kept.sum()), "rows": len(gallery)}
    return told | {name: answer.told() for name, answer in found.items()}
