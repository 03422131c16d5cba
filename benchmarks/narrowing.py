"""What a query narrowed to a few per cent of a million rows costs, as it was compared before and as it is now.

    python benchmarks/narrowing.py            # 1,000,000 rows of 512 numbers: 0.8 GB

Rows are random numbers at random places, so that nothing is found out about recall: ``tests/rag/test_narrow.py`` holds
narrowed queries to exact ones. Printed is processor time, median of some repetitions, one thread. A store would have
been asked twice in vain before, for 388 and 1,552 neighbours; now it is not asked, and this one could not be.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gaea.rag.columns import columns
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.narrow import Narrowing, narrowed_query

DIM, K = 512, 10


class Unasked:
    """Stands where a store stands, and cannot answer."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def count(self) -> int:
        """How many rows it holds."""
        return self.rows

    def query(self, *_: Any) -> Any:
        """Never called where comparing is cheaper."""
        raise AssertionError("the store was asked")


def compared_before(gallery: Gallery, query: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Rows gathered and converted in blocks of 4 MB of fresh memory, as they were."""
    positions = np.flatnonzero(mask)
    similarity = np.empty((1, len(positions)), np.float32)
    for start in range(0, len(positions), 1953):
        at = positions[start : start + 1953]
        lengths = columns(gallery)._lengths[at]
        similarity[:, start : start + 1953] = (query @ gallery.codes[at].astype(np.float32).T) / lengths
    best = np.argpartition(-similarity, K - 1, axis=1)[:, :K]
    return positions[np.sort(best)]


def cpu_ms(work: Callable[[], Any], times: int) -> float:
    """Median processor time of a call."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    rng, n = np.random.default_rng(0), options.rows
    gallery = Gallery(
        codes=np.frombuffer(rng.bytes(n * DIM), np.int8).reshape(n, DIM),
        lat=np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        lon=rng.uniform(-180, 180, n),
        width_km=np.full(n, np.nan),
        meta=GalleryMeta("random", "0" * 64, DIM),
    )
    query = rng.normal(size=(1, DIM)).astype(np.float32)
    query /= np.linalg.norm(query)
    print(f"{n:,} × {DIM}, processor ms: mask | compared before | first narrowed query | narrowed query, all in all")
    for east in (-174.0, -168.0, -161.0):
        narrowing = Narrowing(box=(-90, -180, 90, east))
        mask = narrowing.mask(gallery)

        def narrowed(narrowing: Narrowing = narrowing) -> Any:
            return narrowed_query(Unasked(n), gallery, query, K, narrowing.mask(gallery))

        # The first question about a row computes its length as well.
        first = cpu_ms(narrowed, 1)
        cost = [cpu_ms(lambda c=narrowing: c.mask(gallery), options.times)]
        cost += [cpu_ms(lambda m=mask: compared_before(gallery, query, m), options.times), first]
        cost.append(cpu_ms(narrowed, options.times))
        told = " | ".join(f"{ms:6.1f}" for ms in cost)
        same = np.array_equal(np.sort(narrowed()[0]), compared_before(gallery, query, mask))
        print(
            f"{int(mask.sum()):8,} rows ({mask.mean():.1%}): {told}   {'same rows' if same else 'OTHER ROWS'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
