"""What building an index would cost, measured on its first items, before a night is spent on it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from gaea.errors import InputError
from gaea.rag.buildreport import Embed
from gaea.rag.coordinates import check
from gaea.rag.records import Embedded, Source

_WARM_UP = 4  # items embedded first and not timed: libraries load, kernels compile
# Beside the vector a row takes, compressed: 32 bytes of hash that do not compress, 16 of coordinates, 8 each of cell
# and picture hash, and what is left of its texts. In memory the texts are Python strings of 50 bytes and more.
_ROW_BYTES = 68
_TEXT_SHARE = 0.4
_ROW_MEMORY_BYTES = 400


@dataclass(frozen=True)
class Estimate:
    """What a build would take.

    Attributes:
        items: In the source.
        sampled: How many were tried.
        usable: How many of those would become rows.
        rows: Rows that the whole source would give.
        items_per_s: Measured, with reading and decoding.
        seconds: For all items.
        disk_bytes: Shards; a vector store takes about five bytes more per number.
        memory_bytes: To search it: rows, and vectors at full precision.
    """

    items: int
    sampled: int
    usable: int
    rows: int
    items_per_s: float
    seconds: float
    disk_bytes: int
    memory_bytes: int


def estimate(source: Source, embed: Embed, *, dim: int, dtype: str = "int8", sample: int = 64) -> Estimate:
    """Embed the first items of a source and say what all of them would take; nothing is written.

    The first items stand for all: a source whose pictures grow or break later on takes longer or gives fewer rows.

    Args:
        source: What would be built.
        embed: As for :func:`gaea.rag.build.build`.
        dim: Length of an embedding.
        dtype: ``int8`` or ``float16``.
        sample: How many items to try; the first four are not timed.

    Raises:
        InputError: ``sample`` below 1, or a source that is not what its kind expects.
        ModelError: The encoder fails.
    """
    if sample < 1:
        raise InputError(f"an estimate tries at least 1 item, not {sample}")
    items = source.count()
    if items is None:
        items = sum(1 for _ in source.items())
    first = list(itertools.islice(source.items(), sample))
    placed = [item for item in first if not check(item.lat, item.lon)]
    warm = placed[:_WARM_UP] if len(placed) > 2 * _WARM_UP else []
    done = list(embed(source, warm))
    begun = time.perf_counter()
    done += embed(source, placed[len(warm) :])
    elapsed_s = time.perf_counter() - begun
    timed = len(first) - len(warm)
    rate = timed / elapsed_s if timed and elapsed_s > 0 else 0.0
    usable = [one for one in done if one.embedding is not None]
    rows = round(items * len(usable) / len(first)) if first else 0
    text_bytes = sum(map(_text_bytes, usable)) / max(len(usable), 1)
    number_bytes = 2 if dtype == "float16" else 1
    return Estimate(
        items=items,
        sampled=len(first),
        usable=len(usable),
        rows=rows,
        items_per_s=rate,
        seconds=items / rate if rate else 0.0,
        disk_bytes=rows * (dim * number_bytes + _ROW_BYTES + round(_TEXT_SHARE * text_bytes)),
        memory_bytes=rows * (dim * (number_bytes + 4) + _ROW_MEMORY_BYTES + round(text_bytes)),
    )


def _text_bytes(one: Embedded) -> int:
    texts = (one.item.key, one.item.text, str(dict(one.item.extra)) if one.item.extra else "")
    return sum(len(text.encode("utf-8", "replace")) for text in texts)
