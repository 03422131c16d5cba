"""``python -m gaea.finetune``: make nano from a recipe, stage by stage."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from gaea.errors import GaeaError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gaea.finetune", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    nano = commands.add_parser("nano", help="train the embedded model from imagery")
    nano.add_argument("--recipe", default="tiny", help="a YAML file, or 'nano' (the shipped model) or 'tiny' (minutes)")
    nano.add_argument("--imagery", help="MBTiles or equirectangular picture; replaces the recipe's")
    nano.add_argument("--out", type=Path, default=Path("runs/nano"), help="folder of the run")
    nano.add_argument("--device", default="cpu", help="torch device")
    nano.add_argument("--workers", type=int, default=2, help="processes that cut crops")
    nano.add_argument("--export", type=Path, help="folder to write the shipped files into, for example gaea/nano")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        _nano(options)
    except GaeaError as error:
        print(f"gaea: {error}", file=sys.stderr)  # noqa: T201 - this is the edge
        return 2
    return 0


def _nano(options: argparse.Namespace) -> None:
    import dataclasses

    from tqdm import tqdm

    from gaea.finetune import nano, recipe

    config = recipe.load(options.recipe, nano.NanoRecipe)
    if options.imagery:
        config = dataclasses.replace(config, imagery=options.imagery)
    run = nano.make(config, options.out, device=options.device, workers=options.workers, progress=tqdm)
    if options.export:
        run.export(options.export)


if __name__ == "__main__":
    raise SystemExit(main())
