"""OpenStreetView-5M as its repository lies on disk: ``train.csv``, ``test.csv`` and ``images/<split>/NN.zip``.

Pictures are ``<id>.jpg`` in a hundred archives or in folders unpacked from them; few people have all of them, so what
is listed is the pictures that are there, each with its row. Layout and columns: osv5m/osv5m on the hub (Astruc et al.,
CVPR 2024), pictures CC BY-SA 4.0 by Mapillary contributors.
"""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gaea.errors import InputError, PhotoError
from gaea.rag.records import Item
from gaea.rag.sources.columns import number, words
from gaea.rag.sources.located import Located, checked_size, folders, is_picture, read_below, require_folder

SPLITS = ("train", "test")
_NEEDED = ("id", "latitude", "longitude")
_KEPT = ("country", "region", "sub-region", "city", "captured_at", "sequence", "creator_username")
_BATCH = 4096


@dataclass(frozen=True)
class OSV5M(Located):
    """Pictures by split, archive and name; keys are ``train/00/123.jpg`` whether unpacked or not.

    Attributes:
        split: ``train`` or ``test``; both where none is given.
    """

    split: str = ""
    kind: ClassVar[str] = "osv5m"

    def _check(self, path: Path) -> None:
        require_folder(path, self.kind)
        if self.split and self.split not in SPLITS:
            raise InputError(f"{path}: split {self.split!r} is not train or test")
        if not self._splits():
            raise InputError(f"{path}: no {self.split or 'train'}.csv beside an images folder; expected osv5m/osv5m")
        object.__setattr__(self, "licence", self.licence or "CC BY-SA 4.0")
        object.__setattr__(self, "credit", self.credit or "Mapillary contributors, via OpenStreetView-5M")

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`; pictures that the CSV does not know have no position."""
        for split in self._splits():
            places = _Places.read(self.path / f"{split}.csv")
            pictures = self._pictures(split)
            while batch := list(islice(pictures, _BATCH)):
                found = places.find([name.rpartition(".")[0] for _, name, _ in batch])
                for (folder, name, where), values in zip(batch, found, strict=True):
                    yield _item(f"{split}/{folder}/{name}", values, where)

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`."""
        archive, member = item.where
        if not archive:
            return read_below(self.path, member)
        try:
            opened = _archive(str(self.path / archive), (self.path / archive).stat().st_mtime_ns, os.getpid())
            checked_size(opened.getinfo(member).file_size, item.key)
            return opened.read(member)
        except PhotoError:
            raise
        except (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise PhotoError(f"{item.key}: cannot be read from {archive} ({error}); get the archive again") from error

    def count(self) -> None:
        """Not known before the archives are opened."""

    def _splits(self) -> list[str]:
        return [
            split
            for split in SPLITS
            if (self.path / f"{split}.csv").is_file() and self.split in {"", split} and self._images(split).is_dir()
        ]

    def _images(self, split: str) -> Path:
        return self.path / "images" / split

    def _pictures(self, split: str) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """Folder, file name, and (archive, member), the archive '' for a file."""
        base = self._images(split)
        unpacked = {folder: files for folder, files in folders(base) if any(map(is_picture, files))}
        packed = {
            archive.relative_to(base).with_suffix("").as_posix(): archive for archive in sorted(base.rglob("*.zip"))
        }
        for folder in sorted({*unpacked, *packed}):
            if folder in unpacked:  # an archive of the same name is what they were unpacked from
                for name in filter(is_picture, unpacked[folder]):
                    yield folder, name, ("", (base / folder / name).relative_to(self.path).as_posix())
                continue
            archive = packed[folder]
            for member in _names(archive):
                yield folder, member.rpartition("/")[2], (archive.relative_to(self.path).as_posix(), member)


def _item(key: str, values: dict[str, Any] | None, where: tuple[str, str]) -> Item:
    if values is None:
        return Item(key=key, lat=None, lon=None, where=where)
    extra = {name: value for name, value in values.items() if name in _KEPT and value}
    place = [words(values.get(name)) for name in ("city", "region", "country")]
    return Item(
        key=key,
        lat=number(values["latitude"]),
        lon=number(values["longitude"]),
        text=", ".join(filter(None, place)),
        credit=words(extra.pop("creator_username", "")),
        where=where,
        extra=extra,
    )


def _names(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [entry.filename for entry in opened.infolist() if not entry.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive}: not a readable ZIP archive ({error}); get it again") from error
    return sorted(name for name in names if is_picture(name.rpartition("/")[2]))


@functools.lru_cache(maxsize=4)
def _archive(file: str, changed_ns: int, process: int) -> zipfile.ZipFile:  # noqa: ARG001 - parts of the cache's key
    """An open archive: reading its directory takes a tenth of a second, far more than one picture.

    One per process, because forked processes would share its position; and another where the file was replaced.
    """
    return zipfile.ZipFile(file)


@dataclass(frozen=True, eq=False)
class _Places:
    """The rows of a CSV, found by picture id; ``ids`` are sorted, ``order`` are their rows in ``table``."""

    table: Any
    ids: NDArray[np.bytes_]
    order: NDArray[np.intp]

    @classmethod
    def read(cls, file: Path) -> _Places:
        import pyarrow as pa
        from pyarrow import csv

        try:
            names = csv.open_csv(file).schema.names
            if missing := [name for name in _NEEDED if name not in names]:
                raise InputError(f"{file}: no column {', '.join(missing)}; found {', '.join(names)}")
            wanted = [name for name in (*_NEEDED, *_KEPT) if name in names]
            options = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
            table = csv.read_csv(file, convert_options=options)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file}: not a readable CSV ({' '.join(str(error).split())[:160]})") from error
        ids = np.array(table["id"].to_pylist() or [""], dtype=np.bytes_)
        order = np.argsort(ids, kind="stable")
        return cls(table, ids[order], order)

    def find(self, ids: list[str]) -> list[dict[str, Any] | None]:
        """The row of each picture, None where there is none."""
        asked = np.array([name.encode() for name in ids], dtype=np.bytes_)
        at = np.minimum(np.searchsorted(self.ids, asked), len(self.ids) - 1)
        known = self.ids[at] == asked
        rows = iter(self.table.take(self.order[at[known]]).to_pylist() if len(self.table) else [])
        return [next(rows) if here else None for here in known]
