"""What the fault tests do to an index in processes that they kill. Started once; forks for every task it is given.

Reads one JSON task a line: ``{"do": "build", "folder": …, "die_at": 17}``, answers with the process number, and after
a line ``wait`` with the exit status. ``die_at`` kills the process by SIGKILL just before its so-many-th touch of a file
in the folder: an opening, a renaming or a removal.
"""

import io
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import filelock  # noqa: F401
import imagehash  # noqa: F401 - before the fork, so that children start at once
import numpy as np
import pandas as pd  # noqa: F401 - pyarrow imports it when it is there
import pyarrow.compute
import pyarrow.parquet  # noqa: F401
from PIL import Image

from gaea import places
from gaea.errors import GaeaError
from gaea.rag.build import BuildConfig, build
from gaea.rag.embed import embed_local
from gaea.rag.encoder import unit_rows
from gaea.rag.encoders import EncoderIdentity
from gaea.rag.index import Index
from gaea.rag.records import Item
from gaea.rag.rowfilter import RowFilter


class Projection:
    """A fixed random projection of the pixels."""

    name, dim, fingerprint = "projection", 16, "e" * 64

    def __init__(self):
        self.matrix = np.random.default_rng(0).normal(size=(768, self.dim)).astype(np.float32)

    def encode(self, images):
        pixels = np.stack([np.asarray(image.resize((16, 16)), np.float32).reshape(-1) for image in images])
        return unit_rows((pixels - 127) @ self.matrix)


class Numbered:
    """A source of ``n`` small pictures made of their number; every 20th has bad coordinates, every 9th is a copy."""

    licence, credit = "CC0", "Ann"

    def __init__(self, name, n, seed):
        self.name, self.n, self.seed = name, n, seed

    def items(self):
        for i in range(self.n):
            bad = (None, 0.0, float("nan"), 91.0)[i // 20 % 4] if i % 20 == 7 else None
            lat = bad if i % 20 == 7 else (i * 7.3) % 160 - 80 + 0.001
            yield Item(f"{i:04d}.png", lat, 0.0 if i % 20 == 7 else (i * 13.7) % 360 - 180 + 0.001, text=f"photo {i}")

    def count(self):
        return self.n

    def read(self, item):
        i = int(item.key[:4])
        rng = np.random.default_rng(self.seed * 10_000 + (i - 9 if i and i % 9 == 0 else i))
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((24, 24), Image.Resampling.BICUBIC).save(file, "PNG")
        return file.getvalue()


def do_build(task):
    encoder = Projection()
    folder = task["folder"]
    there = Path(folder, "index.json").exists()
    index = Index.open(folder) if there else Index.create(folder, EncoderIdentity.of(encoder))
    source = Numbered(task.get("source", "album"), task["n"], task.get("seed", 1))
    config = BuildConfig(shard_rows=task.get("shard_rows", 4))
    build(index, source, partial(embed_local, encoder=encoder, batch_size=3, threads=1), config, encoder=encoder)


def do_remove(task):
    with Index.open(task["folder"]).writer() as writer:
        writer.remove(RowFilter(numbers=tuple(task["numbers"])))


def do_compact(task):
    with Index.open(task["folder"]).writer() as writer:
        writer.compact(shard_rows=task["shard_rows"])


def do_churn(task):
    """Add ten rows, remove the ten oldest, merge the shards, over and over: 30 or 40 rows at any moment."""
    index = Index.open(task["folder"])
    with index.writer() as writer:
        for _ in range(task["rounds"]):
            oldest = index.gallery.take(range(10))
            writer.append_gallery(oldest)
            writer.remove(oldest.row_numbers)
            writer.compact(shard_rows=20)


def do_hold(task):
    with Index.open(task["folder"]).writer():
        Path(task["ready"]).touch()
        time.sleep(60)


def die_at(folder, count):
    left = count

    def hook(event, arguments):
        nonlocal left
        if event in {"open", "os.rename", "os.remove"} and folder in str(arguments[0]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main():
    # What a killed process has written stays in the page cache; only a power cut needs the disk, and it is slow.
    os.fsync = lambda descriptor: None
    places.region_names(48.9, 2.3)
    child = 0
    for line in sys.stdin:
        if line.strip() == "wait":
            say(os.waitpid(child, 0)[1])
            continue
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            carry_out(task)
        say(child)


def carry_out(task):
    """In the child: never returns."""
    if "die_at" in task:
        die_at(task["folder"], task["die_at"])
    try:
        globals()[f"do_{task['do']}"](task)
    except GaeaError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(2)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def say(number):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
