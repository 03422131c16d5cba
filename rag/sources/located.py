"""What every source of pictures has: somewhere on disk, a name, and whose pictures they are.

Paths that a metadata file names are untrusted: a path may not leave the folder it is relative to. Links inside that
folder are followed, because the user's own folders and the Hugging Face cache are full of them.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gaea.errors import InputError, PhotoError
from gaea.rag.sources.rows import at
from gaea.source import Limits, printable, read_source

PICTURES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".tif", ".tiff", ".avif", ".gif"}
)
"""Endings of files that may be photos, in lower case; what a file is, its bytes decide when it is read."""

_ODD = re.compile(r"^[\s/]|\s$|[\\:\0]|(?:^|/)\.{0,2}(?:/|$)")
"""What keeps a path from being taken as it is: an absolute one, a scheme, backslashes, or parts '', '.' and '..'."""

_ABSENT = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN"})


@dataclass(frozen=True)
class Located:
    """Base of the sources.

    Attributes:
        location: Absolute path of the file or folder.
        name: What provenance calls it; the file's or folder's own name where none is given.
        licence: Of its pictures, where a picture does not say otherwise.
        credit: Whom to name, where a picture does not say otherwise.

    Raises:
        InputError: There is nothing at the location.
    """

    location: str
    name: str = ""
    licence: str = ""
    credit: str = ""
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Make the location absolute, so that a worker elsewhere finds it, and give the source a name."""
        path = Path(os.path.abspath(Path(self.location).expanduser()))  # noqa: PTH100 - resolve() would follow links
        object.__setattr__(self, "location", str(path))
        # A file called metadata or data is best told by the folder that it lies in.
        plain = path.parent.name if path.stem in {"metadata", "data", "images"} else path.name if path.is_dir() else ""
        object.__setattr__(self, "name", self.name or plain or path.stem)
        self._check(path)

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{self.location}: there is no such file or folder; check the path")

    @property
    def path(self) -> Path:
        """The location."""
        return Path(self.location)


def inside(root: Path, name: str, where: str | tuple[Path, int]) -> str:
    """A path from a metadata file, relative to ``root``, with slashes; refused where it leads out.

    Args:
        root: Absolute folder.
        name: As written: relative, or absolute and below ``root``; backslashes are taken as separators.
        where: What names the path, or file and line, for the message.

    Raises:
        InputError: The path is empty, a web address, or leaves ``root``.
    """
    # Nearly all paths are as they should be, and there may be millions.
    if not _ODD.search(name) and name:
        return name
    where = where if isinstance(where, str) else at(*where)
    text = name.strip().replace("\\", "/")
    if text.lower().startswith(("http://", "https://", "s3://", "ftp://", "data:")):
        raise InputError(f"{where}: {printable(text)} is a web address; download the pictures and give their paths")
    base = root.as_posix().rstrip("/")
    whole = posixpath.normpath(posixpath.join(base, text))
    if not text or "\0" in text or not whole.startswith(f"{base}/"):
        raise InputError(
            f"{where}: path {printable(name)!r} is not inside {base or '/'}; give the folder of the pictures as root"
        )
    return whole[len(base) + 1 :]


def read_below(root: Path, key: str) -> bytes:
    """Bytes of one file below a folder.

    Raises:
        PhotoError: It is gone, empty, too large or cannot be read, or the key leads out of the folder.
    """
    try:
        path = root / inside(root, key, "item")
    except InputError as error:
        raise PhotoError(str(error)) from error
    return read_source(path, Limits())[0]


def checked_size(size: int, key: str) -> None:
    """Refuse a picture inside an archive before its bytes are read.

    Raises:
        PhotoError: It is empty or larger than any photo may be.
    """
    if not 0 < size <= Limits().max_bytes:
        raise PhotoError(f"{printable(key)}: {size:,} bytes; expected 1 to {Limits().max_bytes:,}")


def is_picture(name: str) -> bool:
    """Whether a file may be a photo, by its ending; hidden files are none."""
    return os.path.splitext(name)[1].lower() in PICTURES and not name.startswith(".")  # noqa: PTH122 - millions of them


def folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below ``root`` with its file names, both in the order of their names.

    Yields:
        The folder relative to ``root`` with slashes ('' for itself), and all its files. Hidden folders and what
        operating systems leave behind are skipped; links to folders are not followed, as they may lead in circles.

    Raises:
        InputError: A folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error

    for folder, below, files in os.walk(root, onerror=fail):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in _ABSENT)
        relative = Path(folder).relative_to(root).as_posix()
        yield "" if relative == "." else relative, sorted(files)


def require_folder(path: Path, kind: str) -> None:
    """Refuse what is no folder.

    Raises:
        InputError: It is missing or a file.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InputError(f"{path}: {what}; kind {kind!r} needs a folder")
