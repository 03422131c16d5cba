"""``gaea index``: the verbs of ``python -m gaea.rag``, at this program's own edge."""

from __future__ import annotations

import argparse

from gaea.app import terminal
from gaea.rag import commands


def run(args: argparse.Namespace) -> int:
    """Run one verb; see :func:`gaea.rag.commands.run`."""
    return commands.run(args, lambda text: terminal.write(terminal.safe(text)))
