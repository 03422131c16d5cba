"""Read the map layers of Natural Earth, as gzipped GeoJSON."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from shapely.geometry import shape

from gaea.errors import InputError


def read_layer(path: Path) -> list[tuple[dict[str, Any], Any]]:
    """Properties and geometry of each feature in a gzipped GeoJSON file.

    Raises:
        InputError: if the file is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; point --data at a folder with Natural Earth layers in vector/")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    return [(f["properties"], shape(f["geometry"])) for f in features if f["geometry"]]
