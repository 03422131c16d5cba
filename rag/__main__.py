"""``python -m gaea.rag VERB INDEX …``: build, search and look after an index of geotagged pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from gaea.errors import GaeaError, InputError
from gaea.rag.commands import add_arguments, join_negative, run


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 for faults that ``verify`` found, 2 after one line of error."""
    parser = _Parser(prog="python -m gaea.rag", description=__doc__.partition("…: ")[2] if __doc__ else None)
    add_arguments(parser)
    try:
        return run(parser.parse_args(join_negative(sys.argv[1:] if argv is None else argv)), _write)
    except GaeaError as error:
        sys.stderr.write(f"gaea: {_printable(' '.join(str(error).split()))}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("gaea: interrupted; what was committed stays, and the same command goes on\n")
        return 130


def _write(text: str) -> None:
    sys.stdout.write(_printable(text) + "\n")
    sys.stdout.flush()


def _printable(text: str) -> str:
    """Captions and names of files come from strangers: no control characters reach a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


if __name__ == "__main__":
    sys.exit(main())
