"""From items to embeddings on one machine: read, hash, decode and encode, in the order of the items.

Decoding runs in threads ahead of the encoder, so that the encoder waits for the first batch only. One file that cannot
be read or decoded becomes a problem of its row, never the end of a build. ``gaea.rag.ray_embed`` spreads the same
:func:`prepare` over processes and machines.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from gaea.errors import GaeaError, InputError
from gaea.photo import Limits, read_picture
from gaea.rag.encoder import Encoder, TwoStepEncoder
from gaea.rag.records import Embedded, Item, Source

MAX_PENDING_PIXELS = 256_000_000
"""Decoded pixels that wait for the encoder at once: 768 MB, two hundred phone pictures or ten thousand tiles."""

# A picture is reduced to about this before it is hashed: 4 times faster at 640 pixels, 30 times on a phone's picture,
# and at most two bits of 64 away from the hash of the whole.
_HASHED_SIDE = 96


@dataclass(frozen=True, eq=False)
class Prepared:
    """An item read and decoded, ready for an encoder; ``problem`` says why there is no picture.

    Attributes:
        item: What was read.
        image: Upright, RGB; None where it could not be read, or where ``ready`` is there instead.
        ready: What the encoder made of it, if it works in two steps (:class:`~gaea.rag.encoder.TwoStepEncoder`).
        sha256: Of the file's bytes, hex; empty where they could not be read.
        phash: 64-bit perceptual hash of the upright picture.
        problem: One line; empty where all went well.
    """

    item: Item
    image: Image.Image | None = field(default=None, repr=False)
    ready: Any = field(default=None, repr=False)
    sha256: str = ""
    phash: int = 0
    problem: str = ""


def prepare(
    source: Source, item: Item, *, limits: Limits | None = None, encoder: TwoStepEncoder | None = None
) -> Prepared:
    """Read and decode one item; what is wrong with it is told in ``problem`` and not raised.

    Args:
        source: Where its bytes lie.
        item: Which.
        limits: How large a picture may be.
        encoder: Does its first step here, in place of the picture.
    """
    sha256 = ""
    try:
        data = source.read(item)
        sha256 = hashlib.sha256(data).hexdigest()
        image = read_picture(data, limits=limits, name=item.key)
    except GaeaError as error:
        return Prepared(item, sha256=sha256, problem=one_line(error))
    # A disk or share that fails on one file is that file's problem, and is told as such.
    except OSError as error:
        return Prepared(item, sha256=sha256, problem=f"{item.key}: {error.strerror or one_line(error)}")
    if encoder is None:
        return Prepared(item, image=image, sha256=sha256, phash=perceptual_hash(image))
    return Prepared(item, ready=encoder.preprocess(image), sha256=sha256, phash=perceptual_hash(image))


def perceptual_hash(image: Image.Image) -> int:
    """The 64-bit DCT hash of a picture (imagehash's ``phash``), as an unsigned number.

    The same picture saved again, or scaled, differs in a few bits; strangers differ in 32 on average.
    """
    import imagehash

    grey, factor = image.convert("L"), min(image.size) // _HASHED_SIDE
    bits = imagehash.phash(grey.reduce(factor) if factor > 1 else grey).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def embed_local(
    source: Source,
    items: Iterable[Item],
    encoder: Encoder,
    *,
    batch_size: int = 32,
    threads: int = 2,
    limits: Limits | None = None,
) -> Iterator[Embedded]:
    """Embed items in this process, yielding them in their order.

    Args:
        source: Where their bytes lie.
        items: What to embed; read as needed, so it may be endless.
        encoder: Turns pictures into vectors; used from the calling thread only.
        batch_size: Pictures per call of the encoder; fewer where they are very large.
        threads: How many read and decode ahead.
        limits: How large a picture may be.

    Yields:
        One :class:`Embedded` per item; those that failed have a ``problem`` and no embedding.

    Raises:
        InputError: ``batch_size`` or ``threads`` below 1.
        ModelError: The encoder fails as a whole.
    """
    if min(batch_size, threads) < 1:
        raise InputError(f"batch_size {batch_size} and threads {threads}: expected at least 1 each")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    # Scaling to the encoder's size is done by those threads too: it is what keeps the encoder's other cores waiting.
    first_step = encoder if isinstance(encoder, TwoStepEncoder) else None
    work = functools.partial(prepare, source, limits=limits, encoder=first_step)
    try:
        batch: list[Prepared] = []
        for prepared in _ahead(pool, work, items, batch_size + threads):
            batch.append(prepared)
            if len(batch) == batch_size or sum(map(_pixels, batch)) >= MAX_PENDING_PIXELS:
                yield from encode_batch(encoder, batch)
                batch = []
        yield from encode_batch(encoder, batch)
    finally:
        # The consumer may leave early: nothing that is still queued is worth decoding then.
        pool.shutdown(wait=True, cancel_futures=True)


def encode_batch(encoder: Encoder, batch: list[Prepared]) -> list[Embedded]:
    """Encode what was decoded; rows keep their order, and a vector that is not finite becomes a problem."""
    images = [prepared.image for prepared in batch if prepared.image is not None]
    ready = [prepared.ready for prepared in batch if prepared.ready is not None]
    if ready and isinstance(encoder, TwoStepEncoder):
        vectors = iter(encoder.encode_preprocessed(ready))
    else:
        vectors = iter(encoder.encode(images) if images else ())
    done = []
    for prepared in batch:
        vector, problem = None, prepared.problem
        if prepared.image is not None or prepared.ready is not None:
            vector = np.asarray(next(vectors), np.float32)
            if not (np.isfinite(vector).all() and vector.any()):
                vector, problem = None, f"{prepared.item.key}: the encoder gives no usable vector for this picture"
        done.append(Embedded(prepared.item, prepared.sha256, prepared.phash, vector, problem))
    return done


def one_line(error: BaseException) -> str:
    """An error as one line of a report."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Prepared], items: Iterable[Item], depth: int
) -> Iterator[Prepared]:
    """Prepared items in order, with up to ``depth`` of them under way, fewer where pictures are large."""
    waiting: deque[Future[Prepared]] = deque()
    mean_pixels = 0.0
    for item in items:
        waiting.append(pool.submit(work, item))
        while waiting and len(waiting) >= min(depth, max(1.0, MAX_PENDING_PIXELS / max(mean_pixels, 1.0))):
            prepared = waiting.popleft().result()
            mean_pixels = max(mean_pixels * 0.9, float(_pixels(prepared)))
            yield prepared
    while waiting:
        yield waiting.popleft().result()


def _pixels(prepared: Prepared) -> int:
    """What it holds while it waits; a picture made ready for an encoder is small, whatever it was before."""
    return 0 if prepared.image is None else prepared.image.width * prepared.image.height
