"""A cluster of Ray by its address: two nodes on this machine, each with its own object store, one of which dies."""

import io
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea.rag.embed import embed_local
from gaea.rag.encoders import load_encoder
from gaea.rag.ray_embed import embed_ray
from gaea.rag.records import Item

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ITEMS = 48


@dataclass(frozen=True)
class Drawn:
    """Pictures drawn when they are read, with a list of which node read them.

    On a cluster, the first reader waits until there is a second one: nodes start as slowly as they like.
    """

    folder: Path
    name: str = "drawn"
    licence: str = ""
    credit: str = ""

    def items(self):
        for number in range(ITEMS):
            yield Item(f"{number}", 0.0, 0.0)

    def count(self):
        return ITEMS

    def read(self, item):
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with (self.folder / "readers").open("a") as readers:
            readers.write(f"{item.key} {node}\n")
        deadline = time.monotonic() + 300
        while node != "here" and len(nodes(self)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        colours = np.random.default_rng(int(item.key)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(colours).resize((96, 96)).save(buffer, "PNG")
        return buffer.getvalue()


def nodes(source):
    """The nodes that read anything, and how often."""
    told = [line.split()[1] for line in (source.folder / "readers").read_text().splitlines()]
    return {node: told.count(node) for node in told}


def assert_same(rows, expected):
    told, wanted = ([(row.item, row.sha256, row.phash) for row in part] for part in (rows, expected))
    assert told == wanted
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row.embedding, other.embedding, atol=1e-6, rtol=0)


def scenario(cluster, folder):
    """Both nodes, then one that has to go on alone."""
    source = Drawn(folder)
    expected = list(embed_local(source, source.items(), load_encoder("nano"), batch_size=4))
    assert nodes(source) == {"here": ITEMS}

    (folder / "readers").unlink()
    rows = embed_ray(source, source.items(), "nano", address=cluster.address, workers=2, batch_size=4)
    assert_same(list(rows), expected)
    assert len(nodes(source)) == 2, "both machines took part"

    (folder / "readers").unlink()
    rows = embed_ray(source, source.items(), "nano", address=cluster.address, workers=2, batch_size=4)
    first = next(rows)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert_same([first, *rows], expected)


def main(folder):
    """Two nodes of one core each, on the loopback address alone."""
    import ray
    from ray.cluster_utils import Cluster

    # The workers cannot import this file, so its class travels with the data.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    scenario(cluster, folder)
    cluster.shutdown()
    sys.stdout.write("the same rows\n")


def test_two_nodes_give_the_rows_of_one_process_and_so_does_one_when_the_other_dies(tmp_path):
    """In a process of its own: what Ray leaves behind when a node does not start would fail other tests."""
    pytest.importorskip("ray")
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **quiet})
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray gives a node 30 seconds to start, which this machine is too busy for")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the same rows" in done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
