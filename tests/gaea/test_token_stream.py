"""The compiled step of GeoToken's decoder says what torch says, with threads too, and stays away where it cannot."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gaea import geotokens
from gaea.decoding import BeamConfig, SampleConfig, beam, sample
from gaea.errors import ModelError
from gaea.locate import tokenkernel, tokenstream
from gaea.locate.crew import Crew
from gaea.locate.tokennet import TokensNet, told
from gaea.locate.tokens import Pictures, TokensConfig
from gaea.locate.tokentree import TokenTree

if not tokenkernel.supported():
    pytest.skip("this processor has no kernel", allow_module_level=True)

CONFIG = TokensConfig(
    image_width=12,
    location_width=8,
    text_width=6,
    width=128,
    encoder_layers=1,
    decoder_layers=3,
    heads=4,
    feedforward=96,
    neighbours=5,
    length=11,
)
FOLDED = dataclasses.replace(
    CONFIG, location_width=0, text_width=0, length=6, folded=True, similarity=True, place_waves=3
)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(tokenstream, "_WORTH_SHARING", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def networks(config: TokensConfig, *, half: bool) -> tuple[TokensNet, TokensNet]:
    """The same weights, as torch reads them and packed."""
    torch.manual_seed(0)
    nets = []
    for _ in range(2):
        net = TokensNet(config).eval()
        net.load_state_dict(nets[0].state_dict() if nets else net.state_dict())
        if half:
            net = net.half().float()
        nets.append(net)
    for name, values in nets[0].named_parameters():
        if name.endswith("bias"):  # torch begins with zeros in places, which would hide a bias that is left out
            values.data.uniform_(-0.3, 0.3)
            if half:
                values.data = values.data.half().float()
    for head in nets[0].heads:
        head.weight.data.mul_(8)
    nets[1].load_state_dict(nets[0].state_dict())
    nets[1].pack()
    return nets[0], nets[1]


def encoded(net: TokensNet, *, neighbours: int, seed: int = 0) -> torch.Tensor:
    rng, widths = np.random.default_rng(seed), net.config.feature_widths
    pictures = Pictures(
        [rng.standard_normal((1, w)) for w in widths],
        [rng.standard_normal((1, neighbours, w)) for w in widths],
        rng.uniform(-80, 80, (1, neighbours)),
        rng.uniform(-180, 180, (1, neighbours)),
        rng.random((1, neighbours)),
    )
    with torch.inference_mode():
        return net.encode(told(pictures.checked(net.config), net.config, device="cpu"))


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(("config", "neighbours"), [(CONFIG, 5), (CONFIG, 1), (FOLDED, 4), (FOLDED, 5)])
def test_it_says_what_torch_says(config: TokensConfig, neighbours: int, half: bool, threads: int) -> None:
    plain, packed = networks(config, half=half)
    assert packed.stream is not None
    assert packed.stream.bits == (16 if half else 32)
    memory, rng = encoded(plain, neighbours=neighbours), np.random.default_rng(1)
    slow, fast = TokenTree(plain, memory), TokenTree(packed, memory)
    places = geotokens.encode(rng.uniform(-90, 90, 9), rng.uniform(-180, 180, 9))
    for rows in (slice(0, 1), slice(0, 5), slice(5, 9), slice(0, 9)):  # as few, more, and from each other's paths
        for length in rng.permutation(config.length):
            asked = np.zeros(len(places[rows]), np.int64), places[rows, :length]
            np.testing.assert_allclose(fast.log_probs(*asked), slow.log_probs(*asked), atol=3e-5)
    assert fast.symbols_read == slow.symbols_read


def test_searches_find_the_same_and_many_rows_go_past_it(threads: int) -> None:
    plain, packed = networks(CONFIG, half=True)
    memory = encoded(plain, neighbours=5)
    wide = BeamConfig(width=5, symbols=11, keep=0.0, least_gain_bits=0.0)
    for search in (lambda score: beam(score, wide), lambda score: sample(score, SampleConfig(samples=30, symbols=11))):
        found, expected = (search(TokenTree(net, memory).scorer(0)) for net in (packed, plain))
        assert [c.tokens for c in found.candidates] == [c.tokens for c in expected.candidates]
        assert [c.log_prob for c in found.candidates] == pytest.approx(
            [c.log_prob for c in expected.candidates], abs=1e-4
        )
    tree = TokenTree(packed, memory)
    beam(tree.scorer(0), wide)
    expected = beam(TokenTree(plain, memory).scorer(0), dataclasses.replace(wide, width=12))
    found = beam(tree.scorer(0), dataclasses.replace(wide, width=12))  # goes on, in torch, from what the kernel kept
    assert [c.tokens for c in found.candidates] == [c.tokens for c in expected.candidates]


def test_a_memory_with_gradients_is_read_as_well() -> None:
    plain, packed = networks(CONFIG, half=True)
    memory = encoded(plain, neighbours=5).clone().requires_grad_()
    asked = np.zeros(1, np.int64), np.array([[3, 1]])
    np.testing.assert_allclose(
        TokenTree(packed, memory).log_probs(*asked), TokenTree(plain, memory).log_probs(*asked), atol=1e-5
    )


def test_several_pictures_are_read_by_torch() -> None:
    plain, packed = networks(CONFIG, half=True)
    both = torch.cat([encoded(plain, neighbours=5, seed=seed) for seed in range(2)])
    asked = np.arange(2), np.array([[1, 3], [4, 0]])
    np.testing.assert_allclose(
        TokenTree(packed, both).log_probs(*asked), TokenTree(plain, both).log_probs(*asked), atol=1e-5
    )


def test_it_is_left_where_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (dataclasses.replace(CONFIG, feedforward=100), dataclasses.replace(CONFIG, heads=16)):
        assert networks(config, half=True)[1].stream is None
    with monkeypatch.context() as patch:
        patch.setattr(tokenstream, "find_spec", lambda _: None)
        assert networks(CONFIG, half=True)[1].stream is None
    monkeypatch.setattr(tokenkernel, "supported", lambda: False)
    plain, packed = networks(CONFIG, half=True)
    assert packed.stream is None
    memory, asked = encoded(plain, neighbours=5), (np.zeros(1, np.int64), np.array([[2, 7, 7]]))
    np.testing.assert_allclose(
        TokenTree(packed, memory).log_probs(*asked), TokenTree(plain, memory).log_probs(*asked), atol=1e-5
    )


def test_what_is_not_a_number_is_not_taken_for_one() -> None:
    net, _ = networks(CONFIG, half=True)
    memory = encoded(net, neighbours=5)
    net.layers()[1].feed[3].weight.data[0, 0] = float("nan")
    net.pack()
    assert net.stream is None
    with pytest.raises(ModelError, match="NaN"):
        beam(TokenTree(net, memory).scorer(0), BeamConfig(width=2, symbols=3))


def test_two_searches_at_once_find_what_one_finds(threads: int) -> None:
    plain, packed = networks(CONFIG, half=True)
    memories = [encoded(plain, neighbours=5, seed=seed) for seed in range(4)]
    wide = BeamConfig(width=5, symbols=11, keep=0.0, least_gain_bits=0.0)
    expected = [[c.tokens for c in beam(TokenTree(plain, memory).scorer(0), wide).candidates] for memory in memories]
    found: dict[int, list[tuple[int, ...]]] = {}

    def one(at: int) -> None:
        for _ in range(3):
            found[at] = [c.tokens for c in beam(TokenTree(packed, memories[at]).scorer(0), wide).candidates]

    searches = [threading.Thread(target=one, args=(at,)) for at in range(4)]
    for search in searches:
        search.start()
    for search in searches:
        search.join(60)
    assert [found[at] for at in range(4)] == expected


def meet(gate: np.ndarray) -> object:
    """Work whose parts wait for each other."""
    counting = threading.Lock()

    def part(at: int, parts: int) -> tuple[int, int]:
        with counting:
            gate[0] += 1
        while 0 <= gate[0] < parts:
            time.sleep(0.001)
        return at, parts

    return part


def test_a_crew_does_all_parts_and_the_first_answers() -> None:
    crew = Crew()
    for parts in (1, 3, 2):
        gate = np.zeros(1, np.int64)
        assert crew.work(meet(gate), parts, gate) == (0, parts)
        assert gate[0] == parts
    assert sum(thread.name == "gaea-crew" for thread in threading.enumerate()) >= 2


@pytest.mark.parametrize("bad", [0, 1])
def test_where_a_part_fails_nobody_waits(bad: int) -> None:
    crew, gate = Crew(), np.zeros(1, np.int64)
    rest = meet(gate)

    def part(at: int, parts: int) -> object:
        if at == bad:
            raise MemoryError("no room")
        return rest(at, parts)  # type: ignore[operator]

    with pytest.raises(MemoryError, match="no room"):
        crew.work(part, 2, gate)
    good = np.zeros(1, np.int64)
    assert crew.work(meet(good), 2, good) == (0, 2)


def test_helpers_end_with_their_crew() -> None:
    def helpers() -> int:
        return sum(thread.name == "gaea-crew" for thread in threading.enumerate())

    gc.collect()
    time.sleep(0.1)
    before, crew, gate = helpers(), Crew(), np.zeros(1, np.int64)
    crew.work(meet(gate), 3, gate)
    assert helpers() == before + 2
    del crew
    gc.collect()
    deadline = time.monotonic() + 10
    while helpers() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert helpers() == before


def _in_a_fork(crew: Crew, answer: object) -> None:
    gate = np.zeros(1, np.int64)
    answer.put(crew.work(meet(gate), 2, gate))  # type: ignore[attr-defined]


def test_a_forked_process_has_helpers_of_its_own() -> None:
    crew, gate, fork = Crew(), np.zeros(1, np.int64), multiprocessing.get_context("fork")
    crew.work(meet(gate), 2, gate)
    answer = fork.Queue()
    child = fork.Process(target=_in_a_fork, args=(crew, answer))
    child.start()
    assert answer.get(timeout=20) == (0, 2)
    child.join(10)
    assert child.exitcode == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="narrower vectors are those of older x86 processors")
def test_processors_with_narrower_vectors_say_the_same(tmp_path: Path) -> None:
    program = f"""
import sys
from llvmlite import binding
real = binding.get_host_cpu_features()
class Narrow(dict):
    flatten = real.flatten
binding.get_host_cpu_features = lambda: Narrow({{name: value and "avx512" not in name for name, value in real.items()}})
import pytest
from gaea.locate import tokenkernel
assert tokenkernel.TILE == 16 and tokenkernel.supported()
kinds = "2-config0-5-True", "2-config2-4-False"
names = [{__file__!r} + "::test_it_says_what_torch_says[" + kind + "]" for kind in kinds]
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *names]))
"""
    env = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
