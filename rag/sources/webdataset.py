"""WebDataset shards: tar files in which the members of a sample share a key, ``000123.jpg`` and ``000123.json``.

Listing reads only headers and the small members; a picture is read later straight from its offset. Nothing is ever
extracted: links, devices and members with absolute or climbing names are passed over.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gaea.errors import InputError, PhotoError
from gaea.rag.records import Item
from gaea.rag.sources.columns import Columns, guess, plain, words
from gaea.rag.sources.located import PICTURES, Located, checked_size, folders
from gaea.rag.sources.rows import parse_object
from gaea.source import printable

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_TEXT_BYTES = 16 * 2**20
_MAX_SHARDS = 1_000_000
_BLOCK = 512


@dataclass(frozen=True)
class WebDataset(Located):
    """Samples of one shard, of all shards below a folder, or of a pattern such as ``train-{000..099}.tar``.

    Keys are ``shard.tar/member.jpg``; the position comes from the sample's JSON, its caption from ``.txt``.
    """

    kind: ClassVar[str] = "webdataset"

    def _check(self, path: Path) -> None:
        if not _BRACES.search(self.location):
            super()._check(path)
        elif "/" in "".join(_BRACES.findall(self.location)):
            raise InputError(f"{self.location}: braces may not hold slashes; name one folder")
        self.shards()

    def shards(self) -> list[Path]:
        """The tar files, in the order of their names.

        Raises:
            InputError: There are none, one is missing, or they are compressed.
        """
        if self.path.is_dir():
            names = [f"{folder}/{name}".lstrip("/") for folder, files in folders(self.path) for name in files]
            shards = [self.path / name for name in names if name.lower().endswith((".tar", ".tar.gz", ".tgz"))]
        elif self.path.exists():
            shards = [self.path]
        else:
            shards = [Path(name) for name in expand_braces(self.location)]
        if not shards:
            raise InputError(f"{self.location}: no .tar files there; expected WebDataset shards")
        for shard in shards:
            if not shard.is_file():
                raise InputError(f"{shard}: there is no such shard; check the pattern {self.path.name!r}")
            if shard.suffix.lower() != ".tar":
                raise InputError(f"{shard}: compressed shards cannot be read at an offset; unpack them with gunzip")
        return shards

    def items(self) -> Iterator[Item]:
        """See :meth:`gaea.rag.records.Source.items`."""
        root = self._root()
        for shard in self.shards():
            relative = shard.relative_to(root).as_posix()
            for _, sample in itertools.groupby(_members(shard), lambda member: member[0]):
                if item := _item(relative, [member[1:] for member in sample], shard):
                    yield item

    def read(self, item: Item) -> bytes:
        """See :meth:`gaea.rag.records.Source.read`; seeks to the member's bytes."""
        name, offset, size = item.where
        checked_size(size, item.key)
        try:
            with (self._root() / name).open("rb") as shard:
                shard.seek(offset)
                data: bytes = shard.read(size)
        except OSError as error:
            raise PhotoError(f"{printable(item.key)}: the shard cannot be read ({error.strerror})") from error
        if len(data) != size:
            raise PhotoError(f"{printable(item.key)}: the shard is cut short or was replaced; get it again")
        return data

    def count(self) -> None:
        """Not known before the shards are read."""

    def _root(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent


def expand_braces(pattern: str) -> list[str]:
    """``a-{000..002}.tar`` and ``{a,b}.tar`` as the shell expands them, zeros kept.

    Raises:
        InputError: The braces hold neither a range of numbers nor a list, or far too many.
    """
    parts: list[list[str]] = []
    for index, part in enumerate(_BRACES.split(pattern)):
        ends = re.fullmatch(r"(\d+)\.\.(\d+)", part)
        if index % 2 == 0:
            parts.append([part])
        elif ends:
            first, last = int(ends[1]), int(ends[2])
            if last - first >= _MAX_SHARDS:
                raise InputError(f"{pattern}: {last - first + 1:,} shards; expected at most {_MAX_SHARDS:,}")
            parts.append([f"{value:0{len(ends[1])}d}" for value in range(first, last + 1)])
        elif "," in part:
            parts.append(part.split(","))
        else:
            raise InputError(f"{pattern}: {{{part}}} is no range; write {{000..099}} or {{a,b}}")
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _members(shard: Path) -> Iterator[tuple[str, str, tarfile.TarInfo, bytes]]:
    """Sample key, ending, header, and the bytes of members that are text."""
    try:
        with tarfile.open(shard, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # it would keep the header of every member
                if not _usable(member):
                    continue
                folder, slash, base = member.name.removeprefix("./").rpartition("/")
                key, _, ending = base.partition(".")
                text = b""
                if ending.lower() in {"json", "txt", "cls"}:
                    if member.size > _MAX_TEXT_BYTES:
                        raise InputError(f"{shard.name}: {printable(member.name)} is larger than 16 MiB; expected text")
                    opened = archive.extractfile(member)
                    text = opened.read() if opened else b""
                yield f"{folder}{slash}{key}", ending.lower(), member, text
            _check_end(shard, archive.offset)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{shard}: the shard is damaged or cut short ({error}); get it again") from error


def _usable(member: tarfile.TarInfo) -> bool:
    climbs = member.name.startswith(("/", "\\")) or ".." in member.name.split("/")
    hidden = os.path.basename(member.name).startswith(".")  # noqa: PTH119 - no path of this system
    return member.isreg() and not member.issparse() and not climbs and not hidden


def _check_end(shard: Path, offset: int) -> None:
    """A tar file ends with blocks of zeros; Python takes garbage and a cut at a member's border for the end too."""
    with shard.open("rb") as file:
        file.seek(offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise InputError(f"{shard}: the shard is damaged or cut short at byte {offset:,}; get it again")


def _item(shard: str, sample: list[tuple[str, tarfile.TarInfo, bytes]], path: Path) -> Item | None:
    """The picture of a sample, None where it has none."""
    pictures = [member for ending, member, _ in sample if f".{ending.rpartition('.')[2]}" in PICTURES]
    if not pictures:
        return None
    # A sample may hold masks and depth as well: the plain ending is the photo.
    picture = min(pictures, key=lambda member: os.path.basename(member.name).count("."))  # noqa: PTH119
    values: dict[str, Any] = {}
    texts = {ending: text for ending, _, text in sample}
    if "json" in texts:
        values = parse_object(texts["json"], f"{path.name}, JSON of {printable(picture.name)}")
    name = picture.name.removeprefix("./")
    key, where = f"{shard}/{name}", (shard, picture.offset_data, picture.size)
    caption = words(texts["txt"].decode("utf-8", "replace")) if "txt" in texts else ""
    label = {"cls": words(texts["cls"].decode("utf-8", "replace"))} if "cls" in texts else {}
    found = guess(values)
    found.pop("path", None)
    if "lat" in found and "lon" in found:
        item = Columns(**found).item(key, values, where=where)
        return _with(item, caption, label)
    extra = {column: plain(value) for column, value in values.items() if plain(value) is not None}
    return _with(Item(key=key, lat=None, lon=None, where=where, extra=extra), caption, label)


def _with(item: Item, caption: str, label: dict[str, str]) -> Item:
    from dataclasses import replace

    return replace(item, text=caption or item.text, extra={**item.extra, **label})
