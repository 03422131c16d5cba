"""Where geotagged pictures come from: folders, tables, datasets, tiles and shards, all listed and read the same way."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

from gaea.errors import InputError
from gaea.rag.records import Source
from gaea.rag.sources.detect import detect, is_osv5m

__all__ = ["KINDS", "open_source"]

KINDS = {
    "photos": ("photos", "Photos"),
    "imagefolder": ("imagefolder", "ImageFolder"),
    "table": ("table", "Table"),
    "huggingface": ("huggingface", "HuggingFace"),
    "osv5m": ("osv5m", "OSV5M"),
    "mbtiles": ("mbtiles", "Tiles"),
    "webdataset": ("webdataset", "WebDataset"),
}
"""Module and class of each kind of source."""


def open_source(
    location: str | Path,
    *,
    kind: str | None = None,
    name: str | None = None,
    licence: str = "",
    credit: str = "",
    **options: Any,
) -> Source:
    """A source of pictures from a path.

    Args:
        location: A file, a folder, or a pattern of shards such as ``train-{000..099}.tar``.
        kind: One of :data:`KINDS`; recognised by what lies there if None.
        name: What provenance calls it; the file's or folder's own name if None.
        licence: Of its pictures, where a picture does not say otherwise.
        credit: Whom to name, where a picture does not say otherwise.
        options: Of the kind: ``root`` (table), ``split`` (huggingface, osv5m), ``zoom`` (mbtiles).

    Raises:
        InputError: Nothing is there, the kind is not clear or does not fit, or an option is unknown.
        MissingDependencyError: The kind needs a package that is not installed.
    """
    kind = kind or detect(location)
    if kind not in KINDS:
        raise InputError(f"unknown kind of source {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == "huggingface" and is_osv5m(Path(location).expanduser()):
        kind = "osv5m"
    module, class_name = KINDS[kind]
    source = getattr(importlib.import_module(f"gaea.rag.sources.{module}"), class_name)
    known = {field.name for field in fields(source)} - {"location", "name", "licence", "credit"}
    if unknown := sorted(set(options) - known):
        raise InputError(
            f"kind {kind!r} has no option {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'no options'}"
        )
    opened: Source = source(str(location), name or "", licence, credit, **options)
    return opened
