"""What the verbs of ``gaea index`` do; :mod:`gaea.rag.commands` declares their arguments."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaea.errors import GalleryError, InputError
from gaea.rag import telling
from gaea.rag.commands import Write, narrowing, row_filter
from gaea.rag.files import write_atomically
from gaea.rag.index import STORES_FOLDER, Index

if TYPE_CHECKING:
    from gaea.rag.build import Embed
    from gaea.rag.encoders import EncoderIdentity
    from gaea.rag.records import Source

_LONG_S = 60.0  # a build that takes longer is announced with its estimate
_MANY = 500  # items; fewer are not worth an estimate


def build(args: argparse.Namespace, write: Write) -> int:
    """``gaea index build``: a new index, or the rest of one that was stopped."""
    from gaea.rag.encoders import EncoderIdentity, load_encoder
    from gaea.rag.manifest import MANIFEST_FILE

    sources = _sources(args)
    if (Path(args.index) / MANIFEST_FILE).exists():
        index = Index.open(args.index)
        _check_same(args, index)
        return _fill(args, index, sources, write)
    spec = _settled(args.encoder)
    encoder = load_encoder(spec, device=args.device, precision=args.precision, batch_size=args.batch_size)
    if args.estimate:
        return _estimate(args, sources, write, told=EncoderIdentity.of(encoder), dtype=args.dtype, encoder=encoder)
    index = Index.create(args.index, EncoderIdentity.of(encoder), dtype=args.dtype)
    return _fill(args, index, sources, write, encoder)


def add(args: argparse.Namespace, write: Write) -> int:
    """``gaea index add``: more pictures for an index that is there."""
    index = Index.open(args.index)
    return _fill(args, index, _sources(args), write)


def query(args: argparse.Namespace, write: Write) -> int:
    """``gaea index query``: the neighbours of a photo."""
    from gaea.photo import Photo
    from gaea.rag.encoders import load_encoder
    from gaea.rag.narrow import NarrowedStore, Narrowing
    from gaea.rag.neighbours import find
    from gaea.rag.selection import RetrievalConfig
    from gaea.rag.sync import open_index_store

    photo = Photo.open(args.photo)
    wanted = RetrievalConfig(k_similar=args.k, k_dissimilar=args.dissimilar, k_hard=args.hard)
    narrowed = Narrowing(**narrowing(args)) if narrowing(args) else None
    index = Index.open(args.index)
    encoder = load_encoder(index.encoder.spec, device=args.device, precision=index.encoder.precision)
    index.check_encoder(encoder)
    with _bar(args, "building the vector store") as progress:
        store: Any = open_index_store(index, args.store, location=args.store_at, progress=progress)
    try:
        if narrowed:
            store = NarrowedStore(store, index.gallery, narrowed.mask(index.gallery))
        found = find(encoder.encode([photo.image()])[0], store, index.gallery, wanted)
    finally:
        store.close()
    write(telling.neighbours_json(found, index.gallery) if args.json else telling.neighbours(found, index.gallery))
    return 0


def info(args: argparse.Namespace, write: Write) -> int:
    """``gaea index info``."""
    told = Index.open(args.index).info()
    write(telling.info_json(told) if args.json else telling.info(told))
    return 0


def verify(args: argparse.Namespace, write: Write) -> int:
    """``gaea index verify``: the exit status is 1 where something is wrong."""
    from gaea.rag.verify import verify as examine

    faults = examine(args.index, deep=not args.quick)
    write("\n".join(faults) if faults else f"{args.index} is whole: {len(Index.open(args.index)):,} rows")
    return 1 if faults else 0


def rebuild(args: argparse.Namespace, write: Write) -> int:
    """``gaea index rebuild``: the shards tidied, and the vector store made from them anew."""
    from gaea.rag.sync import open_index_store

    index = Index.open(args.index)
    if args.store_at and "://" in args.store_at:
        raise InputError(f"--store-at {args.store_at}: a server's collection is not deleted from here; delete it there")
    with index.writer() as writer:
        lost = writer.repair() if args.repair else ()
        fewer = writer.compact(shard_rows=args.shard_rows)
    for shard in lost:
        write(f"dropped {shard.file}, {shard.rows:,} rows: build again from their sources")
    shutil.rmtree(Path(args.store_at or index.folder / STORES_FOLDER / args.store), ignore_errors=True)
    with _bar(args, "building the vector store") as progress:
        store = open_index_store(index, args.store, location=args.store_at, progress=progress)
    write(f"{store.count():,} rows in {len(index.shards)} shards ({fewer} fewer), {args.store} built anew")
    store.close()
    return 0


def calibrate(args: argparse.Namespace, write: Write) -> int:
    """``gaea index calibrate``: writes ``calibration.json`` into the index; assistants that open it read it."""
    from gaea.calibration import CALIBRATION_FILE
    from gaea.rag.calibrate import LeaveOut, learn
    from gaea.rag.sync import open_index_store

    index = Index.open(args.index)
    with _bar(args, "building the vector store") as progress:
        store = open_index_store(index, args.store, location=args.store_at, progress=progress)
    learned = learn(index.gallery, store, LeaveOut(questions=args.questions, away_km=args.away_km))
    store.close()
    write_atomically(index.folder / CALIBRATION_FILE, learned.calibration.save)
    write(telling.learned(learned, away_km=args.away_km))
    return 0


def export(args: argparse.Namespace, write: Write) -> int:
    """``gaea index export``."""
    rows = Index.open(args.index).export(args.file)
    write(f"wrote {rows:,} rows to {args.file}")
    return 0


def recover(args: argparse.Namespace, write: Write) -> int:
    """``gaea index recover``."""
    from gaea.rag.encoders import EncoderIdentity, load_encoder
    from gaea.rag.recover import recover as restore

    index, left_out = restore(args.index, EncoderIdentity.of(load_encoder(_settled(args.encoder))))
    for line in left_out:
        write(f"left out: {line}")
    write(f"{args.index} is an index again: {len(index):,} rows in {len(index.shards)} shards")
    return 0


def remove(args: argparse.Namespace, write: Write) -> int:
    """``gaea index remove``."""
    which = row_filter(args)
    with Index.open(args.index).writer() as writer:
        removed = writer.remove(which)
        write(f"removed {removed:,} rows, {len(writer.index):,} remain")
    return 0


def _fill(args: argparse.Namespace, index: Index, sources: list[Source], write: Write, encoder: Any = None) -> int:
    """Build every source into an index, one after the other."""
    from gaea.rag.build import BuildConfig, build
    from gaea.rag.duplicates import DuplicateConfig

    _check_names(args, index, sources)
    if args.estimate:
        return _estimate(args, sources, write, told=index.encoder, dtype=index.manifest.dtype, encoder=encoder)
    config = BuildConfig(shard_rows=args.shard_rows, duplicates=DuplicateConfig(near=args.same_picture))
    embed = _embedder(args, index.encoder, encoder)
    for source in sources:
        _announce(args, source, embed, index)
        with _bar(args, source.name) as progress:
            report = build(index, source, embed, config, encoder=index.encoder, progress=progress)
        write(telling.built(report))
    return 0


def _estimate(
    args: argparse.Namespace, sources: list[Source], write: Write, *, told: EncoderIdentity, dtype: str, encoder: Any
) -> int:
    """Say what each source would cost, and write nothing."""
    from gaea.rag.estimate import estimate

    embed = _embedder(args, told, encoder)
    for source in sources:
        write(f"{source.name}: {telling.cost(estimate(source, embed, dim=told.dim, dtype=dtype))}")
    return 0


def _embedder(args: argparse.Namespace, told: EncoderIdentity, encoder: Any) -> Embed:
    """What embeds the items, in this process or in Ray's, with the very encoder that the index belongs to."""
    from gaea.rag.embed import embed_local
    from gaea.rag.encoders import EncoderIdentity, load_encoder

    if args.engine == "ray":
        from gaea.rag.ray_embed import embed_ray

        options: dict[str, Any] = {"address": args.address, "workers": args.workers, "batch_size": args.batch_size}
        options |= {"gpus_per_worker": args.gpus_per_worker, "precision": told.precision}
        return partial(_with_spec, embed_ray, told.spec, {**options, "fingerprint": told.fingerprint})
    if encoder is None:
        encoder = load_encoder(told.spec, device=args.device, precision=told.precision, batch_size=args.batch_size)
        if differences := told.differences(EncoderIdentity.of(encoder)):
            raise GalleryError(
                f"{told.spec} is no longer the encoder that {args.index} was built with: it differs in "
                f"{', '.join(differences)}; bring that one back, or build another index"
            )
    return partial(embed_local, encoder=encoder, batch_size=args.batch_size, threads=args.workers)


def _with_spec(embed: Any, spec: str, options: dict[str, Any], source: Source, items: Any) -> Iterator[Any]:
    return iter(embed(source, items, spec, **options))


def _sources(args: argparse.Namespace) -> list[Source]:
    from gaea.rag.sources import open_source

    if args.name and len(args.sources) > 1:
        raise InputError(f"--name {args.name} is one name for {len(args.sources)} sources: add them one by one")
    given = {name: getattr(args, name) for name in ("root", "split", "zoom") if getattr(args, name) is not None}
    common: dict[str, Any] = {"kind": args.kind, "name": args.name, "licence": args.licence, "credit": args.credit}
    opened = [open_source(place, **common, **given) for place in args.sources]
    names = [source.name for source in opened]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise InputError(f"sources of the same name {sorted(doubled)}: add them one by one, each with its own --name")
    return opened


def _check_same(args: argparse.Namespace, index: Index) -> None:
    """An index that is there keeps its encoder; asking for another one is a mistake worth a word."""
    asked = _settled(args.encoder)
    if args.encoder != "nano" and asked != index.encoder.spec:
        raise InputError(
            f"{args.index} was begun with encoder {index.encoder.spec}, not {asked}: leave --encoder out to go on, "
            "or choose another folder"
        )


def _check_names(args: argparse.Namespace, index: Index, sources: list[Source]) -> None:
    """Two folders called ``photos`` are two sources, though their pictures may be called the same."""
    known = {told.name: told.location for told in index.manifest.sources}
    for source in sources:
        place, before = str(getattr(source, "location", "")), known.get(source.name, "")
        if args.name is None and before and Path(before).resolve() != Path(place).resolve():
            raise InputError(
                f"{args.index} has a source '{source.name}' from {before} already: give this one another --name, "
                f"or --name {source.name} if it is the same, moved"
            )


def _settled(spec: str) -> str:
    """A folder or file of weights by its whole path, so that the index finds it from anywhere."""
    model, at, file = spec.partition("@")
    if at:
        return f"{model}@{Path(file).expanduser().resolve()}"
    return str(Path(spec).expanduser().resolve()) if Path(spec).expanduser().is_dir() else spec


def _announce(args: argparse.Namespace, source: Source, embed: Embed, index: Index) -> None:
    """Say on standard error what a long build will take, before it begins."""
    if args.quiet or (source.count() or 0) < _MANY:
        return
    from gaea.rag.estimate import estimate

    cost = estimate(source, embed, dim=index.encoder.dim, dtype=index.manifest.dtype)
    if cost.seconds >= _LONG_S:
        sys.stderr.write(f"{source.name}: {telling.cost(cost)}\n")


@contextmanager
def _bar(args: argparse.Namespace, name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar with rate and time left on standard error, where that is a terminal."""
    from tqdm import tqdm

    bar: Any = None

    def progress(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            hidden = args.quiet or not sys.stderr.isatty()
            bar = tqdm(total=total, desc=name[:40], unit="", disable=hidden, mininterval=0.2, dynamic_ncols=True)
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
