"""The options of ``gaea locate``."""

from __future__ import annotations

import argparse

from gaea.app import conditions


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    command.add_argument(
        "photos", metavar="SOURCE", nargs="+", help="folder, photo, or table (CSV, TSV, JSON lines, Parquet) of paths"
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        action="append",
        help="write .csv, .parquet, .jsonl, .geojson or .kml; may be given again (default: located.csv)",
    )
    command.add_argument(
        "--areas", action="store_true", help="put areas, neighbours and claims on maps, not only points"
    )
    command.add_argument("--words", action="store_true", help="also let the model say each answer in words; slower")
    command.add_argument("--guess", action="store_true", help="give the most probable point even when unsure")
    command.add_argument(
        "--journal", metavar="FILE", help="where answers are kept as they come (default: beside the first --out)"
    )
    command.add_argument(
        "--workers", metavar="N", type=int, help="photos at the same time (default: 2, or 8 with an endpoint)"
    )
    command.add_argument(
        "--estimate", action="store_true", help="answer the first photos, say what all will take, stop"
    )
    command.add_argument(
        "--price", metavar="IN,OUT", help="what an endpoint costs per million tokens, for the estimate"
    )
    reviewed = command.add_argument_group("review")
    reviewed.add_argument(
        "--review", action="store_true", help="then accept or reject places one by one, and write XMP sidecars"
    )
    reviewed.add_argument("--host", default="127.0.0.1", help="address of the review page (default: 127.0.0.1)")
    reviewed.add_argument("--port", type=int, help="port of the review page (default: the first free one from 7860)")
    reviewed.add_argument("--open", action="store_true", help="open the review page in a browser")
    conditions.add_arguments(command)
