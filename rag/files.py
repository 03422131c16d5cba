"""Files that appear whole or not at all, and stay after the power goes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from gaea.errors import GalleryError

_PART = ".part"


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path``, bring it to the disk, and give it its name in one step.

    There is one writer per folder, so the name beside is fixed: what a killed process left is overwritten or removed
    by :func:`remove_parts`.

    Raises:
        GalleryError: It cannot be written; what was at ``path`` stays.
    """
    part = path.with_name(path.name + _PART)
    try:
        write(part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        discard(part)


def unwritable(path: Path, error: OSError) -> GalleryError:
    """What to tell about a file that could not be written."""
    detail = " ".join((error.strerror or str(error)).split())
    return GalleryError(f"{path} cannot be written ({detail}): make room or allow writing; what was there stays")


def remove_parts(folder: Path) -> None:
    """Remove what a killed writer left half written."""
    for part in folder.glob(f"*{_PART}"):
        discard(part)


def discard(path: Path) -> None:
    """Remove a file that nobody needs any more; one that cannot be removed now is removed by the next writer."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk once its folder is. Windows cannot open folders, and journals renames itself.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
