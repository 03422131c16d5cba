"""What may be said with every question: where the place is known to be, and how finely it may be told."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gaea.disclosure import Level
from gaea.rag.commands import narrowing

if TYPE_CHECKING:  # loads tables, and is needed only where something is narrowed
    from gaea.narrowing import Narrowing


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Options for narrowing and disclosure, called as those of ``gaea index query`` are."""
    where = command.add_argument_group("where the place is known to be")
    where.add_argument("--country", metavar="CODE", action="append", help="ISO code; may be given again")
    where.add_argument("--region", metavar="NAME", action="append", help="first-level division; may be given again")
    where.add_argument("--box", metavar="SOUTH,WEST,NORTH,EAST", help="degrees; west above east crosses 180°")
    where.add_argument("--near", "--circle", metavar="LAT,LON,KM", help="a circle")
    where.add_argument("--source", metavar="NAME", action="append", help="compare with this source of the index only")
    add_disclosure(command)


def add_disclosure(command: argparse.ArgumentParser) -> None:
    """The option for disclosure alone."""
    command.add_argument(
        "--disclosure",
        metavar="LEVEL",
        help=f"tell the place no finer than: {', '.join(Level)} (default: precise, and less of private scenes)",
    )


def narrow(args: argparse.Namespace) -> Narrowing | None:
    """The narrowing that was asked for, checked; None where none was.

    Raises:
        InputError: It is not known, or no place fulfils it.
    """
    if not hasattr(args, "country"):
        return None
    given = narrowing(args)
    if not given:
        return None
    from gaea.narrowing import Narrowing

    made = Narrowing(**given)  # type: ignore[arg-type]
    made.cells()
    return made


def disclosure(args: argparse.Namespace) -> Level | None:
    """The level that was asked for.

    Raises:
        InputError: There is no such level.
    """
    said = getattr(args, "disclosure", None)
    return None if said is None else Level.of(said)
