"""Standard output and standard error as a command uses them: answers on the one, progress and faults on the other.

Captions, camera names and models' words come from strangers: control characters are taken out before they reach a
terminal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gaea.errors import InputError

_ERASE = "\r\x1b[K"


def safe(text: str) -> str:
    """Text without control characters, escape sequences' among them; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def write(text: str) -> None:
    """Write lines to standard output at once.

    Raises:
        BrokenPipeError: The reader went away.
        InputError: It cannot be written, for example because the disk is full.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise InputError(f"standard output cannot be written ({error.strerror}); send it elsewhere") from error


def complain(message: str) -> None:
    """Write one line to standard error, whatever the message holds."""
    sys.stderr.write(f"gaea: {safe(' '.join(message.split()))}\n")


def note(message: str, *, quiet: bool) -> None:
    """Write one line to standard error that is no complaint; nothing where quiet is asked for."""
    if not quiet:
        sys.stderr.write(f"{_ERASE if sys.stderr.isatty() else ''}{safe(' '.join(message.split()))}\n")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done, on standard error where that is a terminal; erased at the end."""
    shown = not quiet and sys.stderr.isatty()

    def tell(message: str) -> None:
        if shown:
            sys.stderr.write(f"{_ERASE}{safe(message)} …")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if shown:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


def settle_encoding(*, utf8: bool) -> None:
    """Let names in all scripts through: what a terminal cannot show becomes a question mark, and JSON is UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", encoding="utf-8" if utf8 else None)


def abandon_stdout() -> None:
    """Send what is still buffered nowhere, so that Python does not complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
