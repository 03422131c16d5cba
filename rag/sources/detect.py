"""What kind of source lies at a path, by what is there and not by what it is called where that can be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gaea.errors import InputError
from gaea.rag.sources.hub import is_saved, picture_column
from gaea.rag.sources.imagefolder import METADATA
from gaea.rag.sources.located import folders, is_picture
from gaea.rag.sources.rows import ENDINGS
from gaea.source import looks_like

_PEEK_FOLDERS = 1000  # a tree of millions of photos is recognised by its first thousand folders


def detect(location: str | Path) -> str:
    """The kind of a source.

    Raises:
        InputError: Nothing is there, nothing there is known, or it could be several kinds; the message says which.
    """
    path = Path(location).expanduser()
    if "{" in path.name and path.suffix == ".tar":
        return "webdataset"
    if not path.exists():
        raise InputError(f"{location}: there is no such file or folder; check the path")
    return _folder(path) if path.is_dir() else _file(path)


def is_osv5m(path: Path) -> bool:
    """Whether OpenStreetView-5M lies there, whole or in part."""
    return any((path / f"{split}.csv").is_file() and (path / "images" / split).is_dir() for split in ("train", "test"))


def _file(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1024)
    ending = path.suffix.lower()
    if ending == ".mbtiles" or start.startswith(b"SQLite format 3\0"):
        return "mbtiles"
    if ending == ".parquet":
        return "huggingface" if _packed(path) else "table"
    if ending in ENDINGS:
        return "table"
    if ending in {".tar", ".tgz"} or path.name.lower().endswith(".tar.gz") or start[257:262] == b"ustar":
        return "webdataset"
    if is_picture(path.name):
        raise InputError(f"{path}: this is one file ({looks_like(start)}); give the folder that it lies in")
    raise InputError(
        f"{path}: no source of pictures that is known here; expected a folder, {', '.join(ENDINGS)}, .tar or .mbtiles"
    )


def _folder(path: Path) -> str:
    if is_saved(path):
        return "huggingface"
    if is_osv5m(path):
        return "osv5m"
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    for kind, name in _hints(path):
        found[kind] += 1
        example.setdefault(kind, name)
    # A metadata file lists the pictures beside it, and beside a dataset lie figures of its README or the pictures that
    # its rows name: these are no second kind.
    if {"imagefolder", "huggingface"} & set(found):
        del found["photos"]
    if "imagefolder" in found and set(found) <= {"imagefolder", "huggingface", "table"}:
        return "imagefolder"
    if len(found) == 1 and not {"table", "mbtiles"} & set(found):
        return next(iter(found))
    if not found:
        raise InputError(f"{path}: no photos, tables, .tar or .parquet shards there; check the path")
    if set(found) <= {"table", "mbtiles", "photos"} and found["photos"] == 0:
        raise InputError(f"{path}: holds {', '.join(sorted(example.values()))}; give the path of that file itself")
    if set(found) == {"photos", "table"}:
        raise InputError(
            f"{path}: photos with {example['table']} beside them could be kind 'photos' (positions from EXIF), or kind "
            f"'table': then give the path of {example['table']}"
        )
    told = ", ".join(f"{kind!r} ({example[kind]})" for kind in sorted(found))
    raise InputError(f"{path}: could be {told}; say which with kind")


def _hints(path: Path) -> Iterator[tuple[str, str]]:
    """What single files speak for, with the file."""
    for folder, files in islice(folders(path), _PEEK_FOLDERS):
        for name in files:
            shown = f"{folder}/{name}".lstrip("/")
            ending = Path(name).suffix.lower()
            if name in METADATA:
                yield "imagefolder", shown
            elif is_picture(name):
                yield "photos", shown
            elif ending == ".tar" or name.lower().endswith((".tar.gz", ".tgz")):
                yield "webdataset", shown
            elif ending == ".parquet":
                yield ("huggingface" if _packed(path / shown) else "table"), shown
            elif ending in ENDINGS and not folder:
                yield "table", shown
            elif ending == ".mbtiles":
                yield "mbtiles", shown


def _packed(file: Path) -> bool:
    """Whether a Parquet file holds pictures, or rows of GAEA's hub columns that name them."""
    from gaea.rag.sources.rows import parquet_schema

    schema = parquet_schema(file)
    return bool(picture_column(schema)) or {"image", "question"} <= set(schema.names)
