"""A manifest written anew from the shards of an index, for when its own is damaged or gone."""

from __future__ import annotations

from pathlib import Path

from gaea.errors import GalleryError
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.files import file_sha256
from gaea.rag.gallery import Gallery
from gaea.rag.index import Index, timestamp
from gaea.rag.manifest import MANIFEST_FILE, SHARDS_FOLDER, Manifest, Shard, SourceInfo


def recover(folder: str | Path, encoder: EncoderIdentity) -> tuple[Index, tuple[str, ...]]:
    """Make an index of the shards that lie in a folder.

    A shard that a killed writer left behind may come back with it: where two hold the same row numbers, the one with
    the later name is taken, because rewritten shards are given new names. What no shard tells, the defaults of sources,
    is lost; rows keep their own provenance.

    Args:
        folder: Of an index without a usable manifest.
        encoder: Which encoder its shards belong to; compared with what they say.

    Returns:
        The index, and one line for each shard that was left out.

    Raises:
        GalleryError: There is a usable manifest, no usable shard, or the folder cannot be written.
    """
    folder = Path(folder)
    if _has_manifest(folder):
        raise GalleryError(f"{folder / MANIFEST_FILE} is whole: there is nothing to recover")
    taken: list[tuple[Shard, Gallery]] = []
    left_out: list[str] = []
    for path in sorted((folder / SHARDS_FOLDER).glob("*.parquet"), reverse=True):
        try:
            shard, rows = _read(path, encoder)
        except GalleryError as error:
            left_out.append(str(error))
            continue
        if any(shard.first <= other.last and other.first <= shard.last for other, _ in taken):
            left_out.append(f"{path}: its rows stand in a later shard")
            continue
        taken.append((shard, rows))
    if not taken:
        raise GalleryError(f"{folder} holds no usable shard of encoder {encoder.name}: build the index again")
    taken.sort(key=lambda one: one[0].first)
    shards = tuple(shard for shard, _ in taken)
    names = dict.fromkeys(name for _, rows in taken for name in rows.labels.get("source", ()))
    now = timestamp()
    manifest = Manifest(
        encoder=encoder,
        dtype=str(taken[0][1].codes.dtype),
        created=taken[0][1].meta.created or now,
        updated=now,
        shards=shards,
        next_row=shards[-1].last + 1,
        next_shard=1 + max(int(Path(shard.file).stem) for shard in shards),
        sources=tuple(SourceInfo(name) for name in names if name),
    )
    manifest.write(folder)
    return Index.open(folder), tuple(left_out)


def _has_manifest(folder: Path) -> bool:
    try:
        Manifest.read(folder)
    except GalleryError:
        return False
    return True


def _read(path: Path, encoder: EncoderIdentity) -> tuple[Shard, Gallery]:
    from gaea.rag.parquet import read_file

    rows = read_file(path, ("source",))
    if (rows.meta.fingerprint, rows.meta.dim) != (encoder.fingerprint, encoder.dim):
        raise GalleryError(f"{path} belongs to encoder {rows.meta.encoder}, not to {encoder.name}")
    if rows.numbers is None or not len(rows) or not path.stem.isdigit():
        raise GalleryError(f"{path} is no shard of an index: its rows have no numbers")
    numbers = rows.numbers
    shard = Shard(path.name, len(rows), int(numbers[0]), int(numbers[-1]), file_sha256(path), path.stat().st_size)
    return shard, rows
