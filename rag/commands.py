"""The verbs of ``python -m gaea.rag`` and ``gaea index``: build, add, query, info, verify, calibrate, export and so on.

Arguments are declared here and nothing heavy is imported until a verb runs. A verb writes lines through the function it
is given, and progress to standard error where that is a terminal.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gaea.errors import InputError

if TYPE_CHECKING:
    from gaea.rag.rowfilter import RowFilter

Write = Callable[[str], None]

_BACKENDS = ("chroma", "memory", "chroma-server", "milvus")
_VERBS = {
    "build": "make an index from pictures, or go on where a build was stopped",
    "add": "add pictures to an index that is there",
    "query": "find the pictures that look like a photo",
    "info": "say what an index holds",
    "verify": "check every shard of an index against its manifest",
    "rebuild": "merge small shards, drop damaged ones, and build the vector store anew",
    "calibrate": "learn from an index's own rows how far its answers can be trusted",
    "export": "write all rows as one .parquet, .geojson or .csv",
    "recover": "make the manifest anew from the shards, where it was lost or damaged",
    "remove": "remove rows, by source, key, licence, country, region, box or number",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their arguments."""
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="VERB", parser_class=type(parser), help="what to do with the index"
    )
    added = {name: verbs.add_parser(name, help=told, description=_sentence(told)) for name, told in _VERBS.items()}
    for name, verb in added.items():
        verb.add_argument("index", metavar="INDEX", help="folder of the index")
        if name in {"build", "add"}:
            _add_sources(verb, new=name == "build")
    _add_query(added["query"])
    added["info"].add_argument("--json", action="store_true", help="print JSON")
    added["verify"].add_argument("--quick", action="store_true", help="sizes and counts only, no hashes and vectors")
    added["rebuild"].add_argument("--shard-rows", metavar="N", type=int, default=65_536, help="rows per merged shard")
    added["rebuild"].add_argument("--repair", action="store_true", help="drop damaged shards; build again afterwards")
    added["calibrate"].add_argument(
        "--questions", type=int, default=1000, metavar="N", help="rows that play the photo (default: 1000)"
    )
    added["calibrate"].add_argument(
        "--away-km",
        type=float,
        default=50.0,
        metavar="KM",
        help="what counts as a place not in the index (default: 50)",
    )
    added["recover"].add_argument("--encoder", metavar="ENCODER", default="nano", help=_ENCODER_HELP)
    added["export"].add_argument("file", metavar="FILE", help=".parquet, .geojson or .csv")
    _add_filter(added["remove"])
    for name in ("query", "rebuild", "calibrate"):
        _add_store(added[name])
    for verb in added.values():
        verb.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(args: argparse.Namespace, write: Write) -> int:
    """Run a verb.

    Args:
        args: Parsed with :func:`add_arguments`.
        write: Takes text for standard output.

    Returns:
        The exit status: 0, or 1 where ``verify`` finds faults.

    Raises:
        GaeaError: Anything expected went wrong.
    """
    verb = importlib.import_module("gaea.rag.verbs")
    status: int = getattr(verb, args.verb)(args, write)
    return status


def narrowing(args: argparse.Namespace) -> dict[str, object]:
    """The geographic conditions that were given, as :class:`gaea.rag.narrow.Narrowing` takes them."""
    given: dict[str, object] = {}
    if args.country:
        given["countries"] = tuple(code.upper() for code in args.country)
    if args.region:
        given["regions"] = tuple(args.region)
    if args.box is not None:
        given["box"] = numbers(args.box, "--box", "SOUTH,WEST,NORTH,EAST")
    if args.near is not None:
        given["circle"] = numbers(args.near, "--near", "LAT,LON,KM")
    if args.source:
        given["sources"] = tuple(args.source)
    return given


def row_filter(args: argparse.Namespace) -> RowFilter:
    """The rows that ``remove`` means."""
    from gaea.rag.rowfilter import RowFilter

    box = None if args.box is None else numbers(args.box, "--box", "SOUTH,WEST,NORTH,EAST")
    return RowFilter(
        numbers=tuple(args.row) if args.row else None,
        source=args.source,
        key=args.key,
        licence=args.licence,
        country=None if args.country is None else args.country.upper(),
        region=args.region,
        box=None if box is None else (box[0], box[1], box[2], box[3]),
    )


def numbers(text: str, option: str, form: str) -> tuple[float, ...]:
    """Numbers between commas, as many as ``form`` has parts.

    Raises:
        InputError: Other text.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != form.count(",") + 1:
        raise InputError(f"{option} {text}: expected {form}, numbers with commas between and no spaces")
    return values


def join_negative(argv: Sequence[str]) -> list[str]:
    """Arguments with ``--near -33.9,151.2,50`` written as ``--near=…``, which argparse needs for a leading minus."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in {"--near", "--circle", "--box", "--place"} and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _add_sources(verb: argparse.ArgumentParser, *, new: bool) -> None:
    verb.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="folder of photos, table of paths and coordinates, dataset on disk, .mbtiles, or .tar shards",
    )
    told = verb.add_argument_group("what the pictures are")
    told.add_argument("--kind", help="photos, imagefolder, table, huggingface, mbtiles, webdataset (default: detected)")
    told.add_argument("--name", help="what provenance calls the source (default: the name of the folder or file)")
    told.add_argument("--licence", default="", help="of the pictures, where one does not say otherwise")
    told.add_argument("--credit", default="", help="whom to name, where a picture does not say otherwise")
    told.add_argument("--root", help="folder that a table's paths start from (default: the table's own)")
    told.add_argument("--split", help="part of a dataset")
    told.add_argument("--zoom", type=int, help="zoom level of an .mbtiles (default: the deepest)")
    made = verb.add_argument_group("how they are embedded")
    if new:
        made.add_argument("--encoder", metavar="ENCODER", default="nano", help=_ENCODER_HELP)
        made.add_argument(
            "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of the forward pass (default: auto)"
        )
        made.add_argument("--dtype", choices=("int8", "float16"), default="int8", help="of what is kept")
    made.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this process, or workers of Ray Data"
    )
    made.add_argument("--address", help="of a running Ray cluster (default: one is started here)")
    made.add_argument("--workers", type=int, default=2, help="threads that read ahead, or actors of Ray (default: 2)")
    made.add_argument("--gpus-per-worker", type=float, default=0, help="GPUs, or a share of one, per actor of Ray")
    made.add_argument("--device", default="cpu", help="torch device of the local engine (default: cpu)")
    made.add_argument("--batch-size", type=int, default=32, help="pictures per forward pass (default: 32)")
    made.add_argument("--shard-rows", type=int, default=8192, help="rows per commit (default: 8192)")
    made.add_argument(
        "--same-picture", choices=("report", "drop", "keep"), default="report", help="what becomes of near-duplicates"
    )
    made.add_argument("--estimate", action="store_true", help="say what it would cost, and stop")


def _add_query(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("photo", metavar="PHOTO", help="file of the photo")
    verb.add_argument("-k", type=int, default=8, help="similar pictures (default: 8)")
    verb.add_argument("--dissimilar", type=int, default=0, metavar="K", help="also the farthest ones")
    verb.add_argument("--hard", type=int, default=0, metavar="K", help="also look-alikes from far away")
    where = verb.add_argument_group("narrowed to")
    where.add_argument("--country", metavar="CODE", action="append", help="ISO code; may be given again")
    where.add_argument("--region", metavar="NAME", action="append", help="first-level division; may be given again")
    where.add_argument("--box", metavar="SOUTH,WEST,NORTH,EAST", help="degrees; west above east crosses 180°")
    where.add_argument("--near", metavar="LAT,LON,KM", help="a circle")
    where.add_argument("--source", metavar="NAME", action="append", help="name of a source; may be given again")
    verb.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    verb.add_argument("--json", action="store_true", help="print JSON")


def _add_filter(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--row", metavar="N", type=int, action="append", help="row number; may be given again")
    verb.add_argument("--source", metavar="NAME", help="name of the source")
    verb.add_argument("--key", metavar="KEY", help="key within a source")
    verb.add_argument("--licence", metavar="LICENCE", help="as the rows tell it")
    verb.add_argument("--country", metavar="CODE", help="ISO code")
    verb.add_argument("--region", metavar="NAME", help="first-level division")
    verb.add_argument("--box", metavar="SOUTH,WEST,NORTH,EAST", help="degrees; west above east crosses 180°")


def _add_store(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--store", choices=_BACKENDS, default="chroma", help="vector store (default: chroma)")
    verb.add_argument("--store-at", metavar="ADDRESS", help="folder or address of the store (default: in the index)")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


_ENCODER_HELP = "nano, a folder, ViT-B-32/laion2b_s34b_b79k, ViT-B-32@weights.safetensors, hf-hub:… (default: nano)"
