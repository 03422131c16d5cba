"""Points to S2 cells and back, beside the three S2 packages of PyPI, on the same points in one run.

Run ``python benchmarks/s2.py [--points N]``. The peers take one point at a time, so each is called in a plain loop.
Seconds are of processor time, which other work on the machine changes little: all of them run in one thread.
A peer that is not installed is left out: ``pip install s2sphere s2cell s2geometry``.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gaea import cells


def s2sphere_peer(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Leaf id of a point, and centre of an id, in pure Python."""

    def back(cell: int) -> tuple[float, float]:
        centre = module.CellId(cell).to_lat_lng()
        return centre.lat().degrees, centre.lng().degrees

    return lambda lat, lon: module.CellId.from_lat_lng(module.LatLng.from_degrees(lat, lon)).id(), back


def s2cell_peer(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same in pure Python with flat functions."""
    return module.lat_lon_to_cell_id, module.cell_id_to_lat_lon


def s2geometry_peer(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same in C++ through SWIG."""

    def back(cell: int) -> tuple[float, float]:
        centre = module.S2CellId(cell).ToLatLng()
        return centre.lat().degrees(), centre.lng().degrees()

    return lambda lat, lon: module.S2CellId(module.S2LatLng.FromDegrees(lat, lon)).id(), back


PEERS = {"s2geometry": s2geometry_peer, "s2cell": s2cell_peer, "s2sphere": s2sphere_peer}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds that a call took, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    """Print seconds, points per second and how many times longer than ours each peer takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    n = parser.parse_args().points
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)
    cells.to_latlon(cells.from_latlon(lat[:1000], lon[:1000]))
    there_s, ids = timed(lambda: cells.from_latlon(lat, lon))
    back_s, centres = timed(lambda: cells.to_latlon(ids))
    print(f"{n} points, leaf cells (level 30)")
    print(f"{'':12}{'to cells':>12}{'to points':>12}{'ratio':>9}{'ratio':>9}  same ids  largest difference of centres")
    print(f"{'gaea.cells':12}{there_s:10.3f} s{back_s:10.3f} s{1:8.1f}x{1:8.1f}x")
    points = list(zip(lat.tolist(), lon.tolist(), strict=True))
    for name, peer in PEERS.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            print(f"{name:12}not installed")
            continue
        there, back = peer(module)
        peer_there_s, found = timed(lambda there=there: [there(*point) for point in points])
        peer_back_s, back_points = timed(lambda back=back, found=found: [back(cell) for cell in found])
        same = np.array(found, np.uint64) == ids
        apart = np.abs(np.array(back_points)[same].T - np.stack(centres)[:, same]).max()
        print(
            f"{name:12}{peer_there_s:10.3f} s{peer_back_s:10.3f} s{peer_there_s / there_s:8.1f}x"
            f"{peer_back_s / back_s:8.1f}x  {same.sum()}/{n}  {apart:.1e} degrees"
        )


if __name__ == "__main__":
    main()
