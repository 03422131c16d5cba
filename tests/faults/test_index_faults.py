"""An index under kills, crowds and broken disks: nothing is lost, nothing is doubled, and the message is one line."""

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaea.errors import GalleryError
from gaea.rag.index import Index
from gaea.rag.recover import recover
from gaea.rag.rowfilter import RowFilter

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that are forked")


class Children:
    """Forks a process for every task, from one that has imported everything already."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def start(self, do, folder, **task):
        self._say(json.dumps({"do": do, "folder": str(folder)} | task))
        return int(self.process.stdout.readline())

    def wait(self):
        """Exit status of the task started last; minus the signal's number if one killed it."""
        self._say("wait")
        return os.waitstatus_to_exitcode(int(self.process.stdout.readline()))

    def run(self, do, folder, **task):
        self.start(do, folder, **task)
        return self.wait()

    def stop(self):
        """End, and give what was written to the error stream."""
        self.process.stdin.close()
        told = self.process.stderr.read()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return told

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture(scope="module")
def children():
    started = Children()
    yield started
    assert "Traceback" not in started.stop()


def state(folder):
    """All that an index holds, row by row, and what it refused."""
    index = Index.open(folder)
    gallery = index.gallery
    columns = [gallery.row_numbers.tolist(), gallery.lat.tolist(), gallery.lon.tolist(), gallery.s2.tolist()]
    columns += [gallery.labels[name].tolist() for name in ("source", "key", "sha256", "text", "country", "region")]
    columns += [gallery.phash.tolist(), [row.tobytes() for row in gallery.codes]]
    rejected = Path(folder, "rejected.jsonl")
    lines = rejected.read_text(encoding="utf-8").splitlines() if rejected.exists() else []
    return list(zip(*columns, strict=True)), sorted(lines)


def real_problems(folder):
    """What verify finds, but for files that a killed writer left and the next one removes."""
    return [line for line in Index.open(folder).verify() if "belong to no commit" not in line]


@pytest.fixture(scope="module")
def undisturbed(children, tmp_path_factory):
    """30 items built at once, then 30 of another source."""
    folder = tmp_path_factory.mktemp("undisturbed") / "index"
    assert children.run("build", folder, n=30) == 0
    first = state(folder)
    assert children.run("build", folder, n=30, source="more", seed=2) == 0
    return first, state(folder)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """As in the child."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


# ---- killed


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_touch_of_a_file_a_build_goes_on(children, undisturbed, tmp_path, seed):
    killed = 0
    for moment in [seed, seed + 2, *random.Random(seed).sample(range(4, 90), 8)]:
        folder = tmp_path / str(moment)
        status = children.run("build", folder, n=30, die_at=moment)
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        if (folder / "index.json").exists():
            assert real_problems(folder) == []
            held = state(folder)[0]
            assert held == undisturbed[0][0][: len(held)]
        assert children.run("build", folder, n=30) == 0
        assert state(folder) == undisturbed[0]
        assert Index.open(folder).verify() == ()
    assert killed >= 5


def test_killed_again_and_again_at_random_times_adding_goes_on(children, undisturbed, tmp_path):
    folder, rng = tmp_path / "index", random.Random(7)
    assert children.run("build", folder, n=30) == 0
    begun = time.perf_counter()
    assert children.run("build", tmp_path / "timed", n=30) == 0
    usual_s = time.perf_counter() - begun
    kills = 0
    for _ in range(40):
        process = children.start("build", folder, n=30, source="more", seed=2)
        time.sleep(rng.uniform(0, usual_s))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        status = children.wait()
        kills += status == -signal.SIGKILL
        assert real_problems(folder) == []
        if status == 0:
            break
    assert kills
    assert children.run("build", folder, n=30, source="more", seed=2) == 0
    assert state(folder) == undisturbed[1]
    assert Index.open(folder).verify() == ()


@pytest.mark.parametrize("task", [{"do": "remove", "numbers": [1, 2, 9, 17]}, {"do": "compact", "shard_rows": 10}])
def test_killed_while_changing_rows_it_is_done_wholly_or_not_at_all(children, tmp_path, task):
    folder = tmp_path / "index"
    assert children.run("build", folder, n=30) == 0
    before = state(folder)[0]
    gone = set(task.get("numbers", ()))
    after = [row for row in before if row[0] not in gone]
    killed = 0
    for moment in range(0, 60, 2):
        status = children.run(folder=folder, die_at=moment, **task)
        assert real_problems(folder) == []
        held = state(folder)[0]
        assert held in (before, after)
        if status == 0:
            break
        killed += 1
    assert killed >= 3
    assert held == after
    assert Index.open(folder).verify() == ()
    # What was removed and is still in the source comes back under new numbers.
    assert children.run("build", folder, n=30) == 0
    assert {row[5] for row in state(folder)[0]} == {row[5] for row in before}
    assert len(Index.open(folder)) == len(before)


# ---- crowded


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(children, tmp_path):
    folder, ready = tmp_path / "index", tmp_path / "ready"
    assert children.run("build", folder, n=10) == 0
    before = state(folder)
    process = children.start("hold", folder, ready=str(ready))
    while not ready.exists():
        time.sleep(0.01)
    with pytest.raises(GalleryError, match=f"is being written by process {process} on ") as refused:
        Index.open(folder).writer().__enter__()
    assert "\n" not in str(refused.value)
    assert state(folder) == before
    os.kill(process, signal.SIGKILL)
    assert children.wait() == -signal.SIGKILL
    with Index.open(folder).writer() as writer:
        assert writer.remove([0]) == 1


def test_readers_go_on_while_a_writer_adds_removes_and_merges(children, tmp_path):
    folder = tmp_path / "index"
    assert children.run("build", folder, n=36, shard_rows=10) == 0
    with Index.open(folder).writer() as writer:
        writer.remove(Index.open(folder).gallery.row_numbers[30:])
        writer.compact(shard_rows=10)
    seen = set()
    process = children.start("churn", folder, rounds=25)
    reads = 0
    while Path(f"/proc/{process}/stat").exists() and Path(f"/proc/{process}/stat").read_text().split()[2] != "Z":
        gallery = Index.open(folder).gallery
        assert len(gallery) in (30, 40)
        assert len(np.unique(gallery.row_numbers)) == len(gallery)
        seen.add(int(gallery.row_numbers[-1]))
        reads += 1
    assert children.wait() == 0
    assert reads >= 3
    assert len(seen) >= 2
    assert Index.open(folder).verify() == ()


# ---- damaged


@pytest.fixture
def index(children, tmp_path):
    assert children.run("build", tmp_path / "index", n=30, shard_rows=10) == 0
    return Index.open(tmp_path / "index")


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x10
    path.write_bytes(bytes(data))


def test_a_damaged_shard_is_named_dropped_and_built_again(children, index, undisturbed):
    whole = state(index.folder)
    bad, cut, lost = (index.path(index.shards[at]) for at in (0, 1, 2))
    flip(bad, 700)
    cut.write_bytes(cut.read_bytes()[:-900])
    lost.unlink()
    problems = index.verify()
    for shard, word in zip(index.shards, ("changed", "bytes, expected", "gone"), strict=True):
        assert any(line.startswith(shard.file) and word in line for line in problems)
    with pytest.raises(GalleryError, match=r"0000000\d\.parquet is not a readable gallery.*repair\(\) and build again"):
        Index.open(index.folder).read_gallery()
    with Index.open(index.folder).writer() as writer:
        assert [shard.file for shard in writer.repair()] == [bad.name, cut.name, lost.name]
        assert writer.repair() == ()
    assert children.run("build", index.folder, n=30, shard_rows=10) == 0
    again = state(index.folder)
    # The same rows under new numbers.
    assert [row[1:] for row in again[0]] == [row[1:] for row in whole[0]]
    assert min(row[0] for row in again[0]) > max(row[0] for row in whole[0])
    assert Index.open(index.folder).verify() == ()


def test_a_flipped_bit_never_becomes_another_row(index):
    path = index.path(index.shards[0])
    data, expected = path.read_bytes(), index.read_shard(index.shards[0])
    noticed = 0
    for at in random.Random(1).sample(range(len(data)), 150):
        flip(path, at)
        assert any(path.name in line for line in index.verify())
        try:
            found = index.read_shard(index.shards[0])
        except GalleryError:
            noticed += 1
        else:
            # Of the footer and of page headers not every bit matters.
            assert np.array_equal(found.codes, expected.codes)
            assert np.array_equal(found.lat, expected.lat)
            assert found.labels["key"].tolist() == expected.labels["key"].tolist()
        path.write_bytes(data)
    assert noticed > 50


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "list"])
def test_a_damaged_manifest_is_told_and_written_anew(index, damage):
    before, file, encoder = state(index.folder), index.folder / "index.json", index.encoder
    text = file.read_text()
    with pytest.raises(GalleryError, match="nothing to recover"):
        recover(index.folder, encoder)
    if damage == "gone":
        file.unlink()
    else:
        file.write_text({"cut": text[:200], "empty": "", "list": "[1, 2]"}[damage])
    with pytest.raises(GalleryError, match="no index at" if damage == "gone" else "is damaged") as told:
        Index.open(index.folder)
    assert "\n" not in str(told.value)
    stray = index.folder / "shards" / "00000099.parquet"
    stray.write_bytes(b"PAR1")
    again, left_out = recover(index.folder, encoder)
    assert len(left_out) == 1
    assert str(stray) in left_out[0]
    assert state(index.folder) == before
    assert [source.name for source in again.manifest.sources] == ["album"]


def test_five_in_a_hundred_bad_coordinates_cost_only_themselves(children, tmp_path):
    folder = tmp_path / "index"
    for _ in range(2):
        assert children.run("build", folder, n=200, shard_rows=64) == 0
        rows, lines = state(folder)
        refused = [json.loads(line) for line in lines]
        bad = [line["key"] for line in refused if "same" not in line["reason"]]
        assert bad == [f"{i:04d}.png" for i in range(7, 200, 20)]
        copies = {line["key"] for line in refused if "the same file" in line["reason"]}
        assert len(rows) == 200 - len(bad) - len(copies)
        assert len({line["key"] for line in refused}) == len(refused)
    assert Index.open(folder).verify() == ()


# ---- a disk that is full or cannot be written


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root and a kernel that lets it")
    yield folder
    # Lazily, so that a test that fails with a file open leaves no disk behind.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, leave):
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    (folder / "filler").write_bytes(bytes(free - leave))


def append_for_ever(writer):
    while True:
        writer.append_gallery(writer.index.gallery)


@pytest.mark.parametrize("leave_kb", [0, 8, 24, 40])
def test_on_a_full_disk_what_was_there_stays_and_building_goes_on_after(children, small_disk, undisturbed, leave_kb):
    folder = small_disk / "index"
    assert children.run("build", folder, n=10) == 0
    before = state(folder)[0]
    fill(small_disk, leave_kb * 1024)
    assert children.run("build", folder, n=30) == 2
    assert real_problems(folder) == []
    held = state(folder)[0]
    assert held[: len(before)] == before
    with Index.open(folder).writer() as writer, pytest.raises(GalleryError, match="No space left") as told:
        append_for_ever(writer)
    assert "what was there stays" in str(told.value)
    assert "\n" not in str(told.value)
    (small_disk / "filler").unlink()
    with Index.open(folder).writer() as writer:
        held_numbers = {row[0] for row in held}
        writer.remove(number for number in Index.open(folder).gallery.row_numbers if number not in held_numbers)
    assert children.run("build", folder, n=30) == 0
    assert [row[4:] for row in state(folder)[0]] == [row[4:] for row in undisturbed[0][0]]
    assert Index.open(folder).verify() == ()


def test_a_disk_that_cannot_be_written_can_be_read(children, small_disk):
    folder = small_disk / "index"
    assert children.run("build", folder, n=10) == 0
    before = state(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(GalleryError, match="Read-only file system") as told:
        Index.open(folder).writer().__enter__()
    assert "\n" not in str(told.value)
    with pytest.raises(GalleryError, match="Read-only file system"):
        Index.create(small_disk / "other", Index.open(folder).encoder)
    assert state(folder) == before
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_write_that_fails_half_way_leaves_no_trace(index, monkeypatch):
    before, files = state(index.folder), sorted(path.name for path in index.folder.rglob("*"))

    def half(gallery, file):
        Path(file).write_bytes(b"PAR1 and then")
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("gaea.rag.parquet.write_file", half)
    with index.writer() as writer:
        for change in (lambda: writer.remove([1]), lambda: writer.append_gallery(index.gallery), writer.compact):
            with pytest.raises(GalleryError, match="Disk quota exceeded"):
                change()
    assert state(index.folder) == before
    assert sorted(path.name for path in index.folder.rglob("*")) == files
    with pytest.raises(GalleryError, match="Disk quota exceeded"), index.writer() as writer:
        writer.remove(RowFilter(source="album", key="0001.png"))
