"""One dataset file becomes another: of another kind, laid out another way, or for another trainer. Nothing is held."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gaea.errors import InputError
from gaea.finetune.dataset import Example, Kind, Row, example_of, kind_of, rows_of
from gaea.finetune.exports import ExportConfig, Trainer, import_row, is_export, write_export
from gaea.finetune.faults import Fault, FaultLog
from gaea.finetune.rowfiles import Found, read_rows, scan_rows, sound_rows
from gaea.finetune.rowlayout import Layout, layout_for, write_rows
from gaea.rag.files import write_atomically


@dataclass(frozen=True)
class ConvertConfig:
    """How to convert.

    Attributes:
        to: A :class:`Kind` or a :class:`Trainer`; '' keeps the kind.
        log: Takes in faulty rows, which are left out; without it the first one is an error.
        export: What an export says besides.
        pictures: Folder for pictures that lie in a hub file as bytes, wherever the target has only names.
        question_type: Of rows from another trainer that tell none.
    """

    to: str = ""
    log: FaultLog | None = None
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    pictures: Path | None = None
    question_type: str = "GEN"


def convert(source: str | Path, target: str | Path, config: ConvertConfig | None = None) -> int:
    """Write the rows of a file to another one.

    Rows that keep their kind are copied as they are, unknown fields too; JSON then keeps its layout byte for byte,
    unless the target's name asks for another.

    Args:
        source: Any file of :func:`gaea.finetune.rowfiles.scan_rows`, of GAEA or of one of the three trainers.
        target: See :func:`gaea.finetune.rowlayout.write_rows`; Parquet holds hub rows.
        config: What to convert to.

    Returns:
        How many rows were written.

    Raises:
        InputError: A fault without a log, or a target that cannot say what the source says.
        GalleryError: The target cannot be written.
    """
    config = config or ConvertConfig()
    if config.to not in {"", *Kind, *Trainer}:
        raise InputError(f"no format {config.to!r}: expected one of {', '.join([*Kind, *Trainer])}")
    if Path(source).resolve() == Path(target).resolve():
        raise InputError(f"{target} would be written over while it is read: give another name")
    first = next(read_rows(source), None) if config.log is None else _first_row(source)
    foreign = first is not None and is_export(first)
    if config.to in set(Trainer):
        return write_export(target, _examples(source, config, foreign=foreign), Trainer(config.to), config.export)
    if foreign and not config.to:
        raise InputError(
            f"{source} is in a trainer's format: say what it should become, {', '.join([*Kind, *Trainer])}"
        )
    kind = kind_of(first) if first is not None and not foreign else None
    wanted = Kind(config.to) if config.to else kind
    if wanted is kind or wanted is None:
        rows: Iterator[Row] = (found.row for found, _ in sound_rows(source, kind, log=config.log))
        return write_rows(target, rows, _kept_layout(Path(source), Path(target)))
    return write_rows(target, _rows_as(wanted, _examples(source, config, foreign=foreign)))


def _rows_as(kind: Kind, examples: Iterator[Example]) -> Iterator[Row]:
    for number, example in enumerate(examples):
        numbered = kind is Kind.BENCHMARK and example.unique_id is None
        yield from rows_of(dataclasses.replace(example, unique_id=number) if numbered else example, kind)


def _examples(source: str | Path, config: ConvertConfig, *, foreign: bool) -> Iterator[Example]:
    if foreign:
        yield from _foreign_examples(source, config)
        return
    for found, kind in sound_rows(source, log=config.log):
        row = _with_picture_outside(found.row, found.number, config.pictures) if kind is Kind.HUB else found.row
        yield example_of(row, kind)


def _foreign_examples(source: str | Path, config: ConvertConfig) -> Iterator[Example]:
    for found in scan_rows(source):
        try:
            if not isinstance(found.row, dict):
                raise InputError(found.problem or f"a {type(found.row).__name__} stands where a row belongs")
            yield import_row(found.row, question_type=config.question_type)
        except InputError as error:
            fault = Fault(found.number, found.line, "", str(error))
            if config.log is None:
                raise InputError(f"{source}: {fault}") from None
            config.log.note([fault])


def _first_row(source: str | Path) -> dict[str, Any] | None:
    found: Found | None = next((one for one in scan_rows(source) if isinstance(one.row, dict)), None)
    return found.row if found else None


def _kept_layout(source: Path, target: Path) -> Layout | None:
    """The source's layout where both are the same form of JSON; the target's own otherwise."""
    wanted = layout_for(target)
    try:
        as_named = layout_for(source)
    except InputError:
        return wanted
    return Layout.of(source) if wanted is not None and wanted == as_named else wanted


def _with_picture_outside(row: Row, number: int, folder: Path | None) -> Row:
    """A hub row whose picture has a name; its bytes are written under it."""
    picture = row["image"]
    if not isinstance(picture, dict) or not picture.get("bytes"):
        return row
    if folder is None:
        raise InputError("the hub file holds its pictures as bytes: give a folder to write them to (--pictures DIR)")
    name = PurePosixPath(picture.get("path") or f"{number:08d}.jpg")
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"row {number:,}: image: the path {str(name)!r} leads out of the folder for pictures")
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        write_atomically(place, lambda part: part.write_bytes(picture["bytes"]) and None)
    return {**row, "image": str(name)}
