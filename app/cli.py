"""The ``gaea`` command: reads the arguments, runs one subcommand, and turns failures into one line.

Nothing heavy is imported here, so that help and version come at once; each subcommand loads what it needs. Answers go
to standard output, everything else to standard error. Exit status: 0, or 2 after one line saying what is wrong and
what to do, or 130 when interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from gaea import __version__
from gaea.app import terminal
from gaea.app.conditions import add_arguments as add_conditions
from gaea.app.conditions import add_disclosure
from gaea.app.locating import add_arguments as add_locate_arguments
from gaea.app.serving.arguments import add_arguments as add_serve_arguments
from gaea.errors import GaeaError, InputError
from gaea.rag.commands import add_arguments, join_negative

DEFAULT_QUESTION = "Where is this?"
INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 plus the signal, as shells have it

_COMMANDS = {
    "ask": ("gaea.app.ask", "ask a photo where it is, and whatever else you want to know of the place"),
    "locate": ("gaea.app.locate", "find the places of many photos, into tables, maps and, reviewed, XMP sidecars"),
    "chat": ("gaea.app.chat", "open a page to drop a photo on and talk about it, with a map beside the words"),
    "serve": ("gaea.app.server", "serve the assistant behind OpenAI's API, for programs and other chat clients"),
    "doctor": ("gaea.app.doctor", "say what is installed, which device and model are used, and what is missing"),
    "index": ("gaea.app.index", "build, search and look after an index of geotagged pictures of your own"),
    "merge": ("gaea.app.merge", "add a LoRA adapter into the weights of its model, and send the result to a hub"),
    "demo": ("gaea.app.demo", "ask three questions about a picture of the Earth from orbit, or about your photo"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; those of the process if left out.

    Returns:
        The exit status.
    """
    try:
        args = _parsed(sys.argv[1:] if argv is None else argv)
        _quieten_libraries()
        terminal.settle_encoding(utf8=getattr(args, "json", False))
        status: int = importlib.import_module(_COMMANDS[args.command][0]).run(args)
        sys.stdout.flush()
    except GaeaError as error:
        terminal.complain(str(error))
        return 2
    except KeyboardInterrupt:
        terminal.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        terminal.abandon_stdout()
        return PIPE_CLOSED
    return status


def parser() -> argparse.ArgumentParser:
    """The whole command line, with help for every part."""
    root = _Parser(prog="gaea", description="Ask a photo where it is, and get an answer you can check.")
    root.add_argument("--version", action="version", version=f"gaea {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    added = {
        name: commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        for name, (_, purpose) in _COMMANDS.items()
    }
    _add_ask(added["ask"])
    _add_locate(added["locate"])
    _add_chat(added["chat"])
    _add_serve(added["serve"])
    _add_doctor(added["doctor"])
    add_arguments(added["index"])
    _add_merge(added["merge"])
    _add_demo(added["demo"])
    return root


def _add_ask(command: argparse.ArgumentParser) -> None:
    command.add_argument("photo", metavar="PHOTO", help="file of the photo, or - to read it from standard input")
    command.add_argument(
        "question",
        metavar="QUESTION",
        nargs="*",
        default=[],
        help=f"one or more questions, asked in one conversation (default: {DEFAULT_QUESTION})",
    )
    command.add_argument("--json", action="store_true", help="print JSON; of several answers, one object a line")
    command.add_argument("--guess", action="store_true", help="give the most probable point even when unsure")
    command.add_argument("--html", metavar="FILE", help="also write a page with map, region and evidence")
    command.add_argument("--geojson", metavar="FILE", help="also write point, regions and evidence as GeoJSON")
    add_conditions(command)
    _add_settings(command)


def _add_chat(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    command.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    command.add_argument("--open", action="store_true", help="open the page in a browser")
    command.add_argument(
        "--tiles",
        metavar="URL",
        help="tile server that the map may be switched to, with {z}, {x} and {y} (default: none)",
    )
    command.add_argument("--tiles-credit", metavar="TEXT", help="who made those tiles; shown on the map")
    add_disclosure(command)
    _add_settings(command)


def _add_serve(command: argparse.ArgumentParser) -> None:
    add_serve_arguments(command)
    _add_settings(command)


def _add_locate(command: argparse.ArgumentParser) -> None:
    add_locate_arguments(command)
    _add_settings(command)


def _add_doctor(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_merge(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="folder or hub name of the base, or nano for the shipped one")
    command.add_argument("adapter", metavar="ADAPTER", help="folder or hub name of the LoRA adapter trained on it")
    command.add_argument("out", metavar="OUT", help="folder to write; it must not exist, or be empty")
    command.add_argument("--push", metavar="REPO", help="then send it to this repository of the hub, made private")
    command.add_argument("--public", action="store_true", help="with --push: anybody may read the repository")
    command.add_argument("--dry-run", action="store_true", help="with --push: say what would be sent, and send nothing")


def _add_demo(command: argparse.ArgumentParser) -> None:
    picture = command.add_mutually_exclusive_group()
    picture.add_argument("--place", metavar="LAT,LON", help="where to cut the picture, in degrees")
    picture.add_argument("--photo", metavar="FILE", help="use this photo instead of a picture from orbit")
    command.add_argument(
        "--width-km", metavar="KM", type=float, help="width of the picture from orbit on the ground (default: 300)"
    )
    _add_settings(command)


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="MODEL", help="folder or hub name of a model (default: the shipped nano)")
    command.add_argument("--adapter", metavar="ADAPTER", help="folder or hub name of a LoRA adapter for the model")
    command.add_argument("--engine", metavar="URL", help="OpenAI-compatible endpoint that runs the model")
    command.add_argument("--index", metavar="INDEX", help="index to compare with, or none (default: the shipped one)")
    command.add_argument("--encoder", metavar="ENCODER", help="folder or open_clip name of the index's encoder")
    command.add_argument("--store", metavar="STORE", help="chroma (default), memory, chroma-server or milvus")
    command.add_argument("--store-at", metavar="ADDRESS", help="folder or address of the vector store")
    command.add_argument("--device", metavar="DEVICE", help="torch device, such as cpu or cuda:0")
    command.add_argument("--quantize", metavar="BITS", help="load the model in 4bit or 8bit (bitsandbytes)")
    command.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Parse, forgiving two things that argparse does not: ``--place -33.9,151.2``, and options between questions."""
    root = parser()
    args, rest = root.parse_known_args(join_negative(argv))
    if args.command == "ask" and not any(argument.startswith("-") for argument in rest):
        args.question = [*args.question, *rest] or [DEFAULT_QUESTION]
    elif rest:
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _quieten_libraries() -> None:
    """Libraries speak through Python's warnings and their own bars; none of it is for this command's user."""
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


if __name__ == "__main__":
    sys.exit(main())
