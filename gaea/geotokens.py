"""GeoTokens: a place written as eleven symbols, each telling where in the cell of the one before.

The first token is the face of the cube (6 values), the other ten are pairs of child digits along the Hilbert curve (16
values). A prefix is a cell: the token at position k completes a cell of level 2k, so eleven reach level 20 (about 9 m).
This module knows integers and strings; :func:`add_to` alone touches a language model, to give it the symbols.

Source:
    GeoToken, hierarchical next-token geolocation over S2; the alphabet is DESIGN §5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gaea import cells as s2
from gaea.errors import InputError, ModelError
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

_SIZES = np.array(VOCAB_SIZES)
_SHIFTS = np.array([61 - 4 * position for position in range(LENGTH)], np.uint64)  # of each token, within its cell's id
_LOWEST = np.array([1 << (60 - 4 * more) for more in range(LENGTH)], np.uint64)  # bit of a cell of 1… tokens

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
    digits = (array[..., None] >> _SHIFTS[1:length]) & np.uint64(N_DIGITS - 1)
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
    array, count = array.astype(np.int64), np.int64(array.shape[-1])
    outside = (array < 0) | (array >= _SIZES[:count])
    if np.any(outside):  # which only padding may be
        given = array != PAD
        padded_inside = given[..., 1:] & ~given[..., :-1]
        if np.any(given & outside) or np.any(padded_inside) or not np.all(given[..., 0]):
            raise InputError(f"tokens out of range: the first is 0 to {N_FACES - 1}, further ones 0 to {N_DIGITS - 1}")
        array, count = np.where(given, array, 0), given.sum(axis=-1)
    path = np.bitwise_or.reduce(array.astype(np.uint64) << _SHIFTS[: array.shape[-1]], axis=-1)
    cells: CellArray = path | _LOWEST[count - 1]
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


def add_to(tokenizer: Any, model: Any, *, noise: float = 0.1, seed: int = 0) -> list[int]:
    """Teach any language model of a hub the symbols: in its tokenizer, its embeddings and its head.

    New rows begin as the mean of the old ones, so that the model's other words keep their probabilities, with a little
    noise that tells them apart (J. Hewitt, Initializing New Word Embeddings for Pretrained Language Models, 2021).
    Old rows stay as they are, bit for bit. Symbols that the tokenizer has already, and rows that the model has, are
    left alone, so a second call changes nothing; a tokenizer that comes with an adapter fits the bare model thereby.

    Args:
        tokenizer: A transformers tokenizer, changed in place.
        model: A causal or image-text-to-text model of transformers, or one of the same shape, changed in place.
        noise: Standard deviation of the noise, in that of the old rows.
        seed: Of the noise.

    Returns:
        Ids of :func:`all_symbols`, in its order.

    Raises:
        ModelError: The model has no embeddings that can be resized, or a symbol is cut into pieces.
    """
    from transformers import AddedToken

    had, symbols = len(tokenizer), list(all_symbols())
    tokenizer.add_tokens([AddedToken(symbol, normalized=False, special=False) for symbol in symbols])
    ids: list[int] = tokenizer.convert_tokens_to_ids(symbols)
    if [tokenizer(symbol, add_special_tokens=False)["input_ids"] for symbol in symbols] != [[each] for each in ids]:
        raise ModelError(
            f"{type(tokenizer).__name__} cuts S2 symbols into pieces after they were added: use a fast one"
        )
    rooms = model.get_input_embeddings().weight.shape[0] if model.get_input_embeddings() is not None else 0
    if not rooms or model.get_output_embeddings() is None:
        raise ModelError(f"{type(model).__name__} has no embeddings and head that S2 symbols could be added to")
    if rooms < len(tokenizer):
        # Larger tables are left as large as they are: many models keep rows in reserve.
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    known = min(had, rooms)
    if fresh := [each for each in ids if each >= known]:
        _begin_rows(model, fresh, known, noise, seed)
    return ids


def trained_rows(model: Any, ids: Sequence[int]) -> dict[str, list[int]]:
    """Name the rows to train beside a LoRA: ``LoraConfig(trainable_token_indices=trained_rows(model, ids), …)``.

    Args:
        model: After :func:`add_to`, before peft wraps it.
        ids: From :func:`add_to`.

    Returns:
        Ids by the full name of the embedding, and of the head where it is not tied to it.
    """
    tables = {id(table.weight): table for table in (model.get_output_embeddings(), model.get_input_embeddings())}
    return {name: list(ids) for name, part in model.named_modules() if any(part is table for table in tables.values())}


def _begin_rows(model: Any, fresh: list[int], known: int, noise: float, seed: int) -> None:
    """Write the first values of new rows, from the ``known`` rows before them."""
    import torch

    with torch.no_grad():
        tables = model.get_input_embeddings(), model.get_output_embeddings()
        for weight in {id(table.weight): table.weight for table in tables}.values():
            old = weight[:known].float()
            draw = torch.randn(len(fresh), old.shape[1], generator=torch.Generator().manual_seed(seed))
            rows = old.mean(0) + noise * old.std(0) * draw.to(old.device)
            weight[torch.tensor(fresh, device=weight.device)] = rows.to(weight.dtype)
        bias = getattr(tables[1], "bias", None)
        if bias is not None:
            bias[torch.tensor(fresh, device=bias.device)] = bias[:known].mean()
