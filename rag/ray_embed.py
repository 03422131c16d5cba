"""The same embedding as :mod:`gaea.rag.embed`, over worker processes, GPUs and machines, through Ray Data.

Each worker is a Ray actor that loads the encoder once and runs :func:`~gaea.rag.embed.embed_local` on the blocks it
is handed. Ray keeps the order, restarts a worker that dies and gives its block to another, so that the rows are those
of one process. Items go out and results come back; pictures never pass through Ray's object store. On a cluster, the
pictures, the encoder and this package have to be within reach of every machine.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaea.errors import GaeaError, InputError, ModelError
from gaea.photo import Limits
from gaea.rag.embed import embed_local, one_line
from gaea.rag.encoder import OpenClipEncoder
from gaea.rag.encoders import load_encoder
from gaea.rag.ray_session import ray_session
from gaea.rag.records import Embedded, Item, Source

WINDOW = 65_536
"""Items that are in Ray's hands at once; the encoder is loaded anew for each window, about once in many minutes."""


@dataclass(frozen=True)
class _Job:
    """What a worker needs; sent to each once."""

    source: Source
    spec: str
    device: str
    precision: str
    batch_size: int
    limits: Limits | None
    fingerprint: str | None


class _Worker:
    """The actor: an encoder, loaded once, and a method that Ray calls with a block of items."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._encoder: OpenClipEncoder | None = None
        self._refusal = ""
        # Ray tries a constructor that fails again and again, and loses which error it was: a refusal goes back as data.
        try:
            self._encoder = _load(job)
        except GaeaError as error:
            self._refusal = one_line(error)

    def __call__(self, block: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        job, positions = self._job, block["position"]
        items = [pickle.loads(item) for item in block["item"]]  # noqa: S301 - made by the process that started this one
        rows: list[Embedded] = []
        if self._encoder is not None:
            try:
                rows = list(embed_local(job.source, items, self._encoder, batch_size=job.batch_size, limits=job.limits))
            except GaeaError as error:
                self._encoder, self._refusal = None, one_line(error)
        rows = rows or [Embedded(item) for item in items]
        dim = self._encoder.dim if self._encoder is not None else 1
        empty = np.zeros(dim, np.float32)  # what failed has a problem; a column of vectors has no holes
        return {
            "position": positions,
            "sha256": np.array([row.sha256 for row in rows]),
            "phash": np.array([row.phash for row in rows], np.uint64),
            "problem": np.array([row.problem for row in rows]),
            "embedding": np.stack([empty if row.embedding is None else row.embedding for row in rows]),
            "refusal": np.array([self._refusal] * len(rows)),
        }


def embed_ray(
    source: Source,
    items: Iterable[Item],
    spec: str,
    *,
    address: str | None = None,
    workers: int = 2,
    batch_size: int = 32,
    gpus_per_worker: float = 0,
    precision: str = "fp32",
    fingerprint: str | None = None,
    limits: Limits | None = None,
    window: int = WINDOW,
) -> Iterator[Embedded]:
    """Embed items over workers, yielding them in their order.

    Args:
        source: Where their bytes lie, as the workers see it.
        items: What to embed; read a window at a time, so it may be long.
        spec: Encoder, for :func:`~gaea.rag.encoders.load_encoder`, as the workers see it.
        address: Of a running Ray cluster (``auto``, ``10.0.0.1:6379``); a private one is started if left out.
        workers: Actors. On a CPU the cores are shared out among them.
        batch_size: Pictures per forward pass.
        gpus_per_worker: GPUs, or a share of one, that each worker gets.
        precision: ``fp32`` or ``bf16``; not ``auto``, which machines might understand differently.
        fingerprint: Expected of the encoder, so that no machine embeds with other weights.
        limits: How large a picture may be.
        window: Items that are in Ray's hands at once.

    Yields:
        One :class:`Embedded` per item, as :func:`~gaea.rag.embed.embed_local` would.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: A setting that cannot work, or more workers than the cluster has room for.
        ModelError: The encoder does not load on a worker, or Ray gives up.
    """
    if min(workers, batch_size, window) < 1 or gpus_per_worker < 0:
        raise InputError(f"workers {workers}, batch_size {batch_size}, window {window}: expected at least 1 each")
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision {precision!r} is not fp32 or bf16: workers on several machines must agree")
    device = "cuda" if gpus_per_worker else "cpu"
    job = _Job(source, spec, device, precision, batch_size, limits, fingerprint)
    waiting = iter(items)
    with ray_session(address) as ray:
        cpus = _cpus_per_worker(ray.cluster_resources(), workers, gpus_per_worker)
        while taken := list(islice(waiting, window)):
            try:
                yield from _one_window(job, taken, workers, cpus, gpus_per_worker)
            except ray.exceptions.RayError as error:
                raise ModelError(f"Ray gave up: {one_line(error)}; embed with the local engine") from error


def _load(job: _Job) -> OpenClipEncoder:
    encoder = load_encoder(job.spec, device=job.device, precision=job.precision, batch_size=job.batch_size)
    if job.fingerprint not in (None, encoder.fingerprint):
        raise ModelError(
            f"a worker loaded encoder {job.spec} as {encoder.fingerprint[:12]}, expected "
            f"{str(job.fingerprint)[:12]}: give every machine the same weights"
        )
    return encoder


def _one_window(job: _Job, items: list[Item], workers: int, cpus: float, gpus: float) -> Iterator[Embedded]:
    """One run of Ray Data. Items stay here and are joined with what comes back, row by row."""
    import ray

    batches = math.ceil(len(items) / job.batch_size)
    # A block is what a dead worker loses, and what it is handed at once: several batches, so that it decodes ahead.
    blocks = max(math.ceil(batches / 4), min(workers, batches))
    listed = [{"position": position, "item": pickle.dumps(item)} for position, item in enumerate(items)]
    rows = ray.data.from_items(listed, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(workers, blocks)),
        num_cpus=cpus,
        num_gpus=gpus or None,
    )
    done = 0
    for batch in rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1):
        if batch["refusal"][0]:
            raise ModelError(str(batch["refusal"][0]))
        columns = (batch[name] for name in ("position", "sha256", "phash", "problem", "embedding"))
        for position, sha256, phash, problem, embedding in zip(*columns, strict=True):
            if position != done:
                raise ModelError(f"Ray returned row {position} where row {done} was due; embed with the local engine")
            vector = None if problem else np.array(embedding, np.float32)
            yield Embedded(items[done], str(sha256), int(phash), vector, str(problem))
            done += 1
    if done != len(items):
        raise ModelError(f"Ray returned {done} of {len(items)} rows; embed with the local engine")


def _cpus_per_worker(resources: dict[str, float], workers: int, gpus_per_worker: float) -> float:
    """An equal share of the cores, whole where possible; refused where workers would wait for ever."""
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 1.0)
    if gpus_per_worker * workers > gpus:
        raise InputError(
            f"{workers} workers with {gpus_per_worker:g} GPUs each need more than the {gpus:g} that Ray sees here; "
            "ask for fewer"
        )
    share = cpus / workers
    return float(int(share)) if share >= 1 else int(share * 100) / 100
