"""Beam search and sampling with GeoToken's published network, beside a loop that decodes as its reference code does.

    OMP_NUM_THREADS=1 python benchmarks/decoding.py [--photos 1 16 64] [--searches beam samples] [--json FILE]

By default 1 and 16 photos, which takes some four minutes on two cores that do nothing else; 64 photos take the
reference ten minutes more. `--rounds` and `--seconds` bound what each row takes, `--no-share` leaves out the last
table.

Both decode on the same random weights (10 + 10 layers, width 512, 214 positions of the encoder) in one run, and have to
find the same sequences. The weights are half-precision numbers, as in the checkpoints that are shipped here, and both
compute in 32 bits; `--bits 32` takes others, which our side has to read in full. The reference loop runs beams as a
batch, has no cache (the whole prefix goes through the decoder again at each step), and repeats the encoder's memory per
beam and projects it anew at each step. Our side is what the package runs: `TokenTree` under `gaea.decoding`, several
photos in step. What the encoder costs is told apart; it is the same for both. "cells/s" counts the cells whose
probability is known after a search, 6 or 16 for each prefix.

Rounds take turns, so that other work on the machine hits both alike; a figure is the best of its rounds, the ratio the
median of the rounds' own. "CPU ratio" is the same in processor time, which a busy machine changes less, though not
little: a search of one photo streams all weights through the caches at each step, and so waits for memory whenever
others use it, while the reference computes. With more than one thread it also counts waiting threads. What runs in
Python is not threaded, so one thread favours us. With several, OpenMP's threads spin on after the reference's work, on
cores that our side wants, unless OMP_WAIT_POLICY is passive. Our side's kernel is compiled before anything is timed.

The first lines say how long it takes to read as many bytes once as a step of the decoder has weights. A search of one
photo takes ten steps and projects the encoder's memory before, so this bounds the ratio, whatever the code.

The last table is a whole question to nano: how much of it is not spent in its two models.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaea import geotokens
from gaea.decoding import BeamConfig, Decoded, NextToken, SampleConfig, beam, sample
from gaea.locate.lockstep import lockstep
from gaea.locate.tokennet import TokensNet, told
from gaea.locate.tokens import Pictures, TokensConfig
from gaea.locate.tokentree import TokenTree

BEAM = BeamConfig(width=5, symbols=11, keep=0.0, least_gain_bits=0.0)
DRAWS = SampleConfig(samples=30, symbols=11)
NAMES = {"beam": "beam 5 × 11", "samples": "30 samples × 11"}


def pictures(count: int, config: TokensConfig, seed: int = 0) -> Pictures:
    """Random features, and neighbours anywhere."""
    rng = np.random.default_rng(seed)
    k = config.neighbours
    own = [rng.standard_normal((count, w)) for w in config.feature_widths]
    near = [rng.standard_normal((count, k, w)) for w in config.feature_widths]
    lat, lon = rng.uniform(-80, 80, (count, k)), rng.uniform(-180, 180, (count, k))
    return Pictures(own, near, lat, lon, rng.random((count, k))).checked(config)


class Reference:
    """The decoder as the reference runs it: n prefixes in, everything computed again."""

    def __init__(self, net: TokensNet, memory: torch.Tensor) -> None:
        self.net, self.memory, self.scored = net, memory, 0

    @torch.inference_mode()
    def step(self, prefixes: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (photos, paths, choices) after prefixes (photos, paths, k) with k symbols."""
        net, (photos, paths, length) = self.net, prefixes.shape
        flat = prefixes.flatten(0, 1)
        repeated = self.memory.repeat_interleave(paths, 0)
        x = torch.stack([net.begin(len(flat)), *(net.embed(flat[:, k], k) for k in range(length))], 1)
        for layer in net.layers():
            x = layer.following(x, layer.memory.keys_values(repeated))
        self.scored += len(flat)
        logits = net.heads[length](net.decoder_norm(x[:, -1]))
        return logits.double().log_softmax(-1).unflatten(0, (photos, paths))

    def beam(self, width: int, symbols: int) -> np.ndarray:
        """The best paths of each photo, best first, (photos, width, symbols)."""
        photos = len(self.memory)
        paths, log_p = torch.zeros(photos, 1, 0, dtype=torch.long), torch.zeros(photos, 1, dtype=torch.double)
        for length in range(symbols):
            step = self.step(paths)
            choices = step.shape[-1]
            best = (log_p[..., None] + step).flatten(1).topk(min(width, log_p.shape[1] * choices), dim=1)
            log_p, parent = best.values, best.indices // choices
            kept = paths.gather(1, parent[..., None].expand(-1, -1, length))
            paths = torch.cat([kept, (best.indices % choices)[..., None]], -1)
        return paths.numpy()

    def sample(self, config: SampleConfig) -> np.ndarray:
        """As many paths of each photo, in the order they were drawn, with the draws of `gaea.sampling`."""
        draws = torch.from_numpy(np.random.default_rng(config.seed).random((config.samples, config.symbols)))
        heat = torch.from_numpy(np.resize(np.array(config.temperatures), config.samples))[:, None]
        paths = torch.zeros(len(self.memory), config.samples, 0, dtype=torch.long)
        for length in range(config.symbols):
            share = (self.step(paths) / heat).softmax(-1)
            rising = share.cumsum(-1)
            symbol = (rising <= draws[:, length, None] * rising[..., -1:]).sum(-1, keepdim=True)
            paths = torch.cat([paths, symbol.clamp(max=share.shape[-1] - 1)], -1)
        return paths.numpy()


def ours(net: TokensNet, memory: torch.Tensor, search: Callable[[NextToken], Decoded]) -> list[Decoded]:
    """The package's own search of each photo, in step with each other, the memory's projection included."""
    tree = TokenTree(net, memory, remembered=10**6)
    return lockstep([search] * len(memory), tree.log_probs)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call took, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def spent(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds that a call took, seconds of processor time, and its result."""
    cpu = time.process_time()
    seconds, result = timed(work)
    return seconds, time.process_time() - cpu, result


def same_beams(found: list[Decoded], theirs: np.ndarray) -> bool:
    """Whether every photo has the same sequences in the same order."""
    return all(
        [c.tokens for c in d.candidates] == [tuple(p) for p in paths.tolist()]
        for d, paths in zip(found, theirs, strict=True)
    )


def same_draws(found: list[Decoded], theirs: np.ndarray) -> bool:
    """Whether every photo drew the same sequences as often."""
    return all(
        sorted(c.tokens for c in d.candidates for _ in range(c.count)) == sorted(map(tuple, paths.tolist()))
        for d, paths in zip(found, theirs, strict=True)
    )


def cells(found: list[Decoded]) -> int:
    """Cells whose probability is known."""
    return sum(geotokens.VOCAB_SIZES[0] + (d.scored - 1) * geotokens.VOCAB_SIZES[1] for d in found)


def reading(net: TokensNet, rounds: int) -> tuple[float, float]:
    """Megabytes of weights that a step of a search takes in, and milliseconds to read as much of anything once."""
    weights = [p for name, p in net.decoder.named_parameters() if "memory.key_value" not in name and p.ndim == 2]
    size = sum(weight.numel() for weight in weights) * (net.stream.bits if net.stream else 32) // 8
    numbers = torch.ones(size // 8, dtype=torch.long)
    return 1e-6 * size, 1000 * min(timed(numbers.sum)[0] for _ in range(5 * rounds))


def compare(plain: TokensNet, net: TokensNet, photos: int, work: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Beam and samples of so many photos: rows of the table."""
    rounds = work.rounds
    seen = told(pictures(photos, net.config), net.config, device="cpu")
    with torch.inference_mode():
        encoder_s = min(timed(lambda: plain.encode(seen))[0] for _ in range(rounds))
        memory = plain.encode(seen)
    kinds: dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[..., bool]]] = {
        "beam": (
            lambda: ours(net, memory, lambda score: beam(score, BEAM)),
            lambda: Reference(plain, memory).beam(BEAM.width, BEAM.symbols),
            same_beams,
        ),
        "samples": (
            lambda: ours(net, memory, lambda score: sample(score, DRAWS)),
            lambda: Reference(plain, memory).sample(DRAWS),
            same_draws,
        ),
    }
    for kind in work.searches:
        mine, reference, same = kinds[kind]
        pairs: list[tuple[float, float, float]] = []
        mine()  # what is done once in a process is nobody's
        end = time.monotonic() + work.seconds
        while len(pairs) < rounds and (not pairs or time.monotonic() < end):
            (our_s, our_cpu, found), (their_s, their_cpu, theirs) = spent(mine), spent(reference)
            if not same(found, theirs):
                raise SystemExit(f"{kind}, {photos} photos: the two sides found different sequences")
            pairs.append((our_s, their_s, their_cpu / our_cpu))
        our_s, their_s, _ = (min(column) for column in zip(*pairs, strict=True))
        yield {
            "search": NAMES[kind],
            "photos": photos,
            "encoder_ms": 1000 * encoder_s / photos,
            "ours_ms": 1000 * our_s / photos,
            "reference_ms": 1000 * their_s / photos,
            "ratio": statistics.median(b / a for a, b, _ in pairs),
            "cpu_ratio": statistics.median(ratio for *_, ratio in pairs),
            "cells_per_s": cells(found) / our_s,
            "reference_cells_per_s": cells(found) / their_s,
            "same_sequences": True,
            "rounds": len(pairs),
        }


class Stopwatch:
    """Seconds spent within some calls, nested ones counted once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def around(self, owner: Any, name: str) -> None:
        """Time a method of an object from now on."""
        work = getattr(owner, name)

        @functools.wraps(work)  # generation reads the signature
        def timed_work(*args: Any, **options: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                self._depth -= 1
                self.seconds += 0.0 if self._depth else time.perf_counter() - start

        setattr(owner, name, timed_work)


def share_of_a_question(rounds: int) -> dict[str, Any]:
    """One question about one new photo to nano, and how much of it its models' forward passes take.

    Within the models: the language model with its tower, and the encoder behind retrieval. Outside: opening the photo,
    preparing it for both, the vector store, beliefs, tables of places, prompts, generation's own bookkeeping.
    """
    from gaea.app.assemble import assemble
    from gaea.app.sample import crop

    assistant, watch = assemble(), Stopwatch()
    engine, memory = assistant.engine, assistant.memory
    watch.around(engine._model, "forward")  # type: ignore[attr-defined]
    visual = memory.encoder._model.visual  # type: ignore[union-attr]
    watch.around(visual, "forward")
    watch.around(visual.trunk, "strangeness")
    places = [(30.9, 31.1), (-3.1, -60.0), (45.5, 9.2), (36.2, -112.3), (-25.3, 131.0), (61.0, 7.5)]
    pairs, stages = [], []
    for place in (places * rounds)[: 1 + 2 * rounds]:
        photo, before = crop(place), watch.seconds
        total_s, answer = timed(lambda photo=photo: assistant.open(photo).ask())
        pairs.append((total_s, watch.seconds - before))
        stages.append(answer.timings)
    pairs, stages = pairs[1:], stages[1:]  # the first question also warms up
    return {
        "questions": len(pairs),
        "total_ms": 1000 * statistics.median(total for total, _ in pairs),
        "models_ms": 1000 * statistics.median(models for _, models in pairs),
        "share_outside": statistics.median(1 - models / total for total, models in pairs),
        "stages_ms": {k: round(1000 * statistics.median(s.get(k, 0.0) for s in stages), 1) for k in stages[0]},
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[1, 16], help="decoded at once (default: 1 16)")
    parser.add_argument("--searches", nargs="+", choices=NAMES, default=list(NAMES), help="which (default: both)")
    parser.add_argument("--rounds", type=int, default=3, help="most rounds of each row (default: 3)")
    parser.add_argument("--seconds", type=float, default=30.0, help="no further round of a row after so many (30)")
    parser.add_argument("--bits", type=int, choices=(16, 32), default=16, help="of a weight (default: 16)")
    parser.add_argument("--no-share", action="store_true", help="without the whole question to nano")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.manual_seed(0)
    plain = TokensNet(TokensConfig()).eval()
    if options.bits == 16:
        plain = plain.half().float()
    net = copy.deepcopy(plain)
    net.pack()
    count = sum(p.numel() for p in plain.parameters()) / 1e6
    load, threads = os.getloadavg()[0], torch.get_num_threads()
    step_mb, read_ms = reading(net, options.rounds)
    told_of = {"parameters_M": count, "positions": plain.config.positions, "threads": threads, "load": load}
    told_of |= {"step_MB": step_mb, "read_ms": read_ms, "bits": options.bits}
    print(f"{count:.1f} M parameters, {plain.config.positions} positions, {threads} threads; load before: {load:.1f}")
    print(f"a step takes in {step_mb:.0f} MB of weights; reading as much takes {read_ms:.1f} ms here")
    heads = ("encoder ms", "ours ms", "reference ms", "ratio", "CPU ratio", "cells/s", "reference")
    print(f"{'per photo':16} photos", *(f"{head:>12}" for head in heads))
    rows = []
    for photos in options.photos:
        for row in compare(plain, net, photos, options):
            rows.append(row)
            keys = (
                "encoder_ms",
                "ours_ms",
                "reference_ms",
                "ratio",
                "cpu_ratio",
                "cells_per_s",
                "reference_cells_per_s",
            )
            print(f"{row['search']:16} {photos:6}", *(f"{row[key]:12.1f}" for key in keys), flush=True)
    report: dict[str, Any] = {"network": told_of, "rows": rows}
    if not options.no_share:
        report["question"] = told = share_of_a_question(options.rounds)
        print(
            f"a question to nano: {told['total_ms']:.0f} ms, {told['models_ms']:.0f} ms of it in its models: ", end=""
        )
        print(f"{100 * told['share_outside']:.0f} % outside; stages {told['stages_ms']}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
