"""A folder tree of photos, placed by what each says of itself: EXIF, or an XMP sidecar beside it.

A sidecar wins, because it is what somebody reviewed; what the camera wrote is kept beside it. Photos without a position
are listed too, without one, so that a builder can count what it leaves out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gaea.exif import ExifClaim, read_exif
from gaea.photo import FORMATS
from gaea.rag.records import Item
from gaea.rag.sources.located import Located, folders, is_picture, read_below, require_folder
from gaea.rag.sources.xmp import Sidecar, read_sidecar
from gaea.source import looks_like


@dataclass(frozen=True)
class Photos(Located):
    """Photos below a folder, in the order of their paths; keys are paths relative to the folder."""

    kind: ClassVar[str] = "photos"

    def _check(self, path: Path) -> None:
        require_folder(path, self.kind)

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`; each file's header is read for its EXIF."""
        for folder, files in folders(self.path):
            beside = {name.lower(): name for name in files if name.lower().endswith(".xmp")}
            for name in filter(is_picture, files):
                sidecar = _sidecar_of(name, beside)
                key = f"{folder}/{name}" if folder else name
                yield _item(key, self.path / key, (self.path / key).with_name(sidecar) if sidecar else None)

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`."""
        return read_below(self.path, item.key)

    def count(self) -> int:
        """How many photos there are; walks the folders and opens no file."""
        return sum(sum(map(is_picture, files)) for _, files in folders(self.path))


def _sidecar_of(name: str, beside: dict[str, str]) -> str | None:
    """``a.jpg.xmp`` (darktable) before ``a.xmp`` (Adobe), which may belong to a raw file of the same name."""
    for candidate in (f"{name}.xmp", f"{name.rpartition('.')[0]}.xmp"):
        if found := beside.get(candidate.lower()):
            return found
    return None


def _item(key: str, photo: Path, sidecar: Path | None) -> Item:
    claim, problems = read_claim(photo)
    said = read_sidecar(sidecar) if sidecar else Sidecar()
    extra: dict[str, Any] = {}
    lat, lon = claim.lat, claim.lon
    if lat is not None:
        extra = {"position_from": "EXIF", "exif_lat": lat, "exif_lon": lon}
    if sidecar and said.lat is not None:
        lat, lon = said.lat, said.lon
        extra |= {"position_from": sidecar.name, "sidecar_lat": lat, "sidecar_lon": lon}
    if claim.taken:
        extra["taken"] = claim.taken.isoformat()
    if problems := [*problems, *filter(None, [said.problem])]:
        extra["problems"] = problems
    return Item(key=key, lat=lat, lon=lon, text=said.title, credit=said.creator, extra=extra)


def read_claim(file: Path) -> tuple[ExifClaim, list[str]]:
    """What a photo file says about itself, and what is odd about that; its pixels are not decoded, nothing raises."""
    from PIL import Image

    try:
        with file.open("rb") as start:
            form = looks_like(start.read(1024))
        if form not in FORMATS:
            return ExifClaim(), [f"it looks like {form}"]
        if form == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which the claim names itself
            with Image.open(file, formats=[form]) as image:
                claim = read_exif(image)[0] or ExifClaim()
    # Decoders meet hostile bytes with exceptions of every kind; reading the photo itself will say which.
    except Exception as error:
        return ExifClaim(), [f"the header cannot be read ({type(error).__name__})"]
    return claim, list(claim.problems)
