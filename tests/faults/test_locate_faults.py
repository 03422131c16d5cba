"""``gaea locate`` killed in the middle, again and again: the same result, and nothing doubled or lost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

CHILD = Path(__file__).with_name("locate_child.py")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(CHILD), "locate", "photos", "--quiet", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for shade in range(60):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "photos" / f"{shade:02}.png")
    return tmp_path


def test_killed_in_the_middle_it_ends_the_same(folder: Path) -> None:
    done = subprocess.run(command("--out", "whole.csv"), cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "photos").iterdir()}
    journal = folder / "torn.csv.journal"
    for wanted in (5, 20, 40):
        child = subprocess.Popen(command("--out", "torn.csv"), cwd=folder, stdout=subprocess.DEVNULL)
        while child.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) <= wanted):
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (folder / "torn.csv").exists()
    done = subprocess.run(command("--out", "torn.csv"), cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "torn.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert len(lines) == len({line["photo"] for line in lines}) == 60
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "photos").iterdir()} == before
    assert not list(folder.glob("**/*.part"))


def test_interrupted_it_says_so_and_goes_on(folder: Path) -> None:
    journal = folder / "out.csv.journal"
    # What a shell starts in the background ignores interrupts, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(command("--out", "out.csv"), cwd=folder, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while child.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < 5):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    assert "interrupted" in child.communicate()[1]
    assert child.returncode == 130
    assert subprocess.run(command("--out", "out.csv"), cwd=folder, capture_output=True, check=False).returncode == 0
    assert len((folder / "out.csv").read_text().splitlines()) == 61


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_place_that_cannot_be_written_is_one_line(folder: Path) -> None:
    done = subprocess.run(
        command("--out", "out.csv", "--journal", "photos/none/j"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
