"""GeoTokens: a place written as eleven symbols, each telling where in the cell of the one before.

The first token is the face of the cube (6 values), the other ten are pairs of child digits along the Hilbert curve (16
values). A prefix is a cell: the token at position k completes a cell of level 2k, so eleven reach level 20 (about 9 m).
This module knows integers and strings, not tokenizers.

Source:
    GeoToken, hierarchical next-token geolocation over S2; the alphabet is DESIGN §5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea.errors import InputError
from gaea.hilbert import CellArray, IntArray

N_FACES = 6
"""Values of the first token."""

N_DIGITS = 16
"""Values of every further token: two levels of four children each."""

LENGTH = 11
"""Tokens of a complete place."""

LEVEL = 2 * (LENGTH - 1)
"""Level of a complete place, 20."""

PAD = -1
"""Fills token arrays after the last token of a coarser cell."""

VOCAB_SIZES = (N_FACES, *(N_DIGITS,) * (LENGTH - 1))
"""Number of values at each position."""

FACE_SYMBOLS = tuple(f"<|s2:f{face}|>" for face in range(N_FACES))
DIGIT_SYMBOLS = tuple(f"<|s2:{digit}|>" for digit in range(N_DIGITS))
SYMBOLS = FACE_SYMBOLS + DIGIT_SYMBOLS
"""The strings of faces, then of digits."""

GEO_OPEN = "<|geo|>"
GEO_CLOSE = "<|/geo|>"

_PLACE = re.compile(
    re.escape(GEO_OPEN)
    + r"<\|s2:f([0-5])\|>((?:<\|s2:(?:1[0-5]|[0-9])\|>){0,"
    + str(LENGTH - 1)
    + "})"
    + re.escape(GEO_CLOSE)
)
_DIGIT = re.compile(r"<\|s2:(\d+)\|>")


def all_symbols() -> tuple[str, ...]:
    """List the strings a vocabulary needs, in the order of their ids: 6 faces, 16 digits, open, close."""
    return (*SYMBOLS, GEO_OPEN, GEO_CLOSE)


def encode(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> IntArray:
    """Write points as tokens.

    Args:
        lat_deg: Latitudes, degrees.
        lon_deg: Longitudes, degrees.

    Returns:
        Tokens of the broadcast shape with a last axis of 11.

    Raises:
        InputError: A coordinate is out of range.
    """
    return encode_cells(s2.from_latlon(lat_deg, lon_deg, LEVEL))


def encode_cells(cells: npt.ArrayLike) -> IntArray:
    """Write cells of even levels up to 20 as tokens.

    Returns:
        Tokens ``(..., 1 + L/2)`` for the finest level L among the cells; coarser ones end in ``PAD``.

    Raises:
        InputError: A cell is of an odd level or finer than level 20.
    """
    array = np.asarray(cells, np.uint64)
    level = s2.level(array)
    if np.any((level % 2 == 1) | (level > LEVEL)):
        raise InputError(f"only cells of even levels up to {LEVEL} have tokens, not of levels {np.unique(level)}")
    length = 1 + int(level.max(initial=0)) // 2
    shifts = np.array([61 - 4 * position for position in range(1, length)], np.uint64)
    digits = (array[..., None] >> shifts) & np.uint64(N_DIGITS - 1)
    tokens = np.concatenate([s2.face(array)[..., None], digits.astype(np.int64)], axis=-1)
    return np.where(np.arange(length) <= level[..., None] // 2, tokens, PAD)


def decode(tokens: npt.ArrayLike) -> CellArray:
    """Read tokens as cells.

    Args:
        tokens: Integers ``(..., k)`` with k from 1 to 11; ``PAD`` may follow the last token of a row.

    Returns:
        Cells of shape ``(...)``; n tokens give level 2(n − 1).

    Raises:
        InputError: A token is out of range, or a row is empty or too long.
    """
    array = np.asarray(tokens)
    if array.ndim == 0 or not 1 <= array.shape[-1] <= LENGTH or array.dtype.kind not in "iu":
        raise InputError(f"expected rows of 1 to {LENGTH} integer tokens, not {array.dtype} of shape {array.shape}")
    array = array.astype(np.int64)
    given = array != PAD
    sizes = np.array(VOCAB_SIZES[: array.shape[-1]])
    padded_inside = given[..., 1:] & ~given[..., :-1]
    if np.any(given & ((array < 0) | (array >= sizes))) or np.any(padded_inside) or not np.all(given[..., 0]):
        raise InputError(f"tokens out of range: the first is 0 to {N_FACES - 1}, further ones 0 to {N_DIGITS - 1}")
    digits = np.where(given, array, 0).astype(np.uint64)
    shifts = np.array([61 - 4 * position for position in range(array.shape[-1])], np.uint64)
    path = np.bitwise_or.reduce(digits << shifts, axis=-1)
    cells: CellArray = path | (np.uint64(1) << (60 - 4 * (given.sum(axis=-1) - 1)).astype(np.uint64))
    return cells


def cell_of_prefix(prefix: Sequence[int]) -> int:
    """Read one prefix of 1 to 11 tokens as the id of its cell.

    Raises:
        InputError: As `decode`.
    """
    return int(decode(np.array(prefix, np.int64)))


def to_text(tokens: Sequence[int] | npt.NDArray[np.integer]) -> str:
    """Write one row of tokens the way a language model speaks it, between `GEO_OPEN` and `GEO_CLOSE`.

    Raises:
        InputError: As `decode`.
    """
    row = [int(token) for token in tokens if token != PAD]
    cell_of_prefix(row)
    return GEO_OPEN + FACE_SYMBOLS[row[0]] + "".join(DIGIT_SYMBOLS[digit] for digit in row[1:]) + GEO_CLOSE


def from_text(text: str) -> list[tuple[int, ...]]:
    """Find the places spoken in a text, in order; anything malformed (a gap, a 12th token, no close) is passed over."""
    return [(int(place[1]), *(int(digit) for digit in _DIGIT.findall(place[2]))) for place in _PLACE.finditer(text)]
