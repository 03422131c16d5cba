"""What can go wrong, in five words each.

Every expected failure is a :class:`GaeaError` whose message says what was received, what was expected and what to do.
The command line prints it as one line and exits with status 2; nothing else in the project prints an error.
"""

from __future__ import annotations


class GaeaError(Exception):
    """Base of every failure a user can cause or mend. The message is one line and names the thing it is about."""


class InputError(GaeaError, ValueError):
    """A value from outside is not usable: a coordinate out of range, an unknown option, an empty question."""


class PhotoError(InputError):
    """Bytes that are not a photo this program reads."""


class ModelError(GaeaError):
    """A model, adapter or checkpoint is missing, damaged, or does not fit its partner."""


class GalleryError(GaeaError):
    """A gallery or vector store is missing, damaged, or was built by another encoder."""


class MissingDependencyError(GaeaError, ImportError):
    """An optional package is not installed; the message names the install command."""


def first_line(error: Exception) -> str:
    """What another library says of a failure, short enough to stand within one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
