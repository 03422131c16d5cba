"""GeoToken's transformer: its size, its inputs, its tree read once, its files, and every search on top of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gaea import cells, geotokens
from gaea.decoding import BeamConfig, BestFirstConfig, SampleConfig, SearchConfig, beam, best_first, greedy, sample
from gaea.errors import InputError, ModelError
from gaea.locate import tokens
from gaea.locate.tokennet import TokensNet, told
from gaea.locate.tokens import Pictures, TokensConfig, TokensLocator
from gaea.locate.tokentree import TokenTree
from gaea.sphere import EARTH_AREA_KM2

SMALL = TokensConfig(
    image_width=12,
    location_width=8,
    text_width=6,
    width=32,
    encoder_layers=2,
    decoder_layers=2,
    heads=4,
    feedforward=48,
    neighbours=5,
    length=11,
)
FOLDED = dataclasses.replace(
    SMALL, location_width=0, text_width=0, length=6, folded=True, similarity=True, place_waves=3
)


def network(config: TokensConfig, seed: int = 0) -> TokensNet:
    torch.manual_seed(seed)
    net = TokensNet(config).eval()
    for head in net.heads:  # far from even, so that searches have something to find
        head.weight.data.mul_(6)
    return net


def pictures(config: TokensConfig, count: int, *, k: int | None = None, seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    k = config.neighbours if k is None else k
    return Pictures(
        [rng.standard_normal((count, w)) for w in config.feature_widths],
        [rng.standard_normal((count, k, w)) for w in config.feature_widths],
        rng.uniform(-80, 80, (count, k)),
        rng.uniform(-180, 180, (count, k)),
        np.sort(rng.uniform(0.5, 1, (count, k)))[:, ::-1],
    )


def teacher_forced(net: TokensNet, seen: Pictures, symbols: np.ndarray) -> list[np.ndarray]:
    batch = told(seen.checked(net.config), net.config, device="cpu")
    with torch.inference_mode():
        return [step.double().log_softmax(-1).numpy() for step in net(batch, torch.from_numpy(symbols))]


@pytest.mark.parametrize("config", [SMALL, FOLDED])
@pytest.mark.parametrize("count", [1, 3])
def test_the_tree_says_what_teacher_forcing_says(config: TokensConfig, count: int) -> None:
    net, seen = network(config), pictures(config, count)
    rng = np.random.default_rng(1)
    paths = geotokens.encode(rng.uniform(-90, 90, count), rng.uniform(-180, 180, count))[:, : config.length]
    expected = teacher_forced(net, seen, paths)
    tree = TokensLocator(net).read(seen)
    for k in rng.permutation(config.length):
        found = tree.log_probs(np.arange(count), paths[:, :k])
        np.testing.assert_allclose(found, expected[k], atol=2e-5)


def test_paths_may_be_asked_in_any_order_and_each_symbol_is_read_once() -> None:
    seen, rng = pictures(SMALL, 3), np.random.default_rng(2)
    tree = TokensLocator(network(SMALL)).read(seen)
    whole = geotokens.encode(rng.uniform(-90, 90, 12), rng.uniform(-180, 180, 12))
    whole[6:, :3] = whole[:6, :3]  # shared ancestors
    which = rng.integers(3, size=12)
    which[6:] = which[:6]
    apart = {(q, *row[:k]) for q, row in zip(which.tolist(), whole.tolist(), strict=True) for k in range(11)}
    apart |= {(q, face) for q in which.tolist() for face in range(6)}  # all faces are read with the start symbol
    together = tree.log_probs(which, whole[:, :10])
    assert tree.symbols_read == len(apart)
    again = tree.log_probs(which[::-1], whole[::-1, :10])[::-1]
    np.testing.assert_array_equal(together, again)
    assert tree.symbols_read == len(apart)
    alone = TokensLocator(network(SMALL)).read(seen)
    one_by_one = [alone.log_probs(which[i : i + 1], whole[i : i + 1, :10])[0] for i in range(12)]
    np.testing.assert_allclose(together, one_by_one, atol=2e-5)


def test_forgetting_changes_no_answer() -> None:
    net, seen = network(SMALL), pictures(SMALL, 1)
    memory = net.encode(told(seen.checked(SMALL), SMALL, device="cpu"))
    small, large = TokenTree(net, memory, remembered=40), TokenTree(net, memory)
    found, expected = (beam(tree.scorer(0), BeamConfig(width=4, symbols=11)) for tree in (small, large))
    assert [c.tokens for c in found.candidates] == [c.tokens for c in expected.candidates]
    assert small.symbols_read > large.symbols_read


def test_every_search_agrees_with_the_probabilities_of_the_network() -> None:
    net, seen = network(FOLDED), pictures(FOLDED, 1)
    locator = TokensLocator(net)
    plain = BeamConfig(width=5, keep=0, least_gain_bits=0, symbols=6)
    for found in (
        greedy(locator.scorer(seen), plain),
        beam(locator.scorer(seen), plain),
        sample(locator.scorer(seen), SampleConfig(samples=10, symbols=6)),
        best_first(locator.scorer(seen), BestFirstConfig(mass=0.05, symbols=3)),
    ):
        for candidate in found.candidates:
            path = np.array([candidate.tokens])
            steps = teacher_forced(net, seen, np.pad(path, ((0, 0), (0, 6 - path.shape[1]))))
            log_p = sum(float(steps[k][0, symbol]) for k, symbol in enumerate(candidate.tokens))
            assert candidate.log_prob == pytest.approx(log_p, abs=1e-4)


def test_a_belief_covers_the_earth_and_stops_where_the_network_does() -> None:
    locator = TokensLocator(network(FOLDED))
    belief = locator.belief(pictures(FOLDED, 1), SearchConfig(symbols=11, width=8))
    assert np.exp(belief.log_prob).sum() == pytest.approx(1)
    assert belief.areas_km2.sum() == pytest.approx(EARTH_AREA_KM2)
    assert cells.level(belief.cells).max() <= 2 * (FOLDED.length - 1)
    with pytest.raises(InputError, match="writes 6 symbols"):
        locator.read(pictures(FOLDED, 1)).log_probs(np.zeros(1, np.int64), np.zeros((1, 6), np.int64))


def test_log_probability_of_cells_is_the_product_of_the_steps() -> None:
    net, seen = network(SMALL), pictures(SMALL, 2)
    places = cells.from_latlon([48.9, -33.9], [2.3, 151.2], 10)
    steps = teacher_forced(net, seen, geotokens.encode_cells(places))
    paths = geotokens.encode_cells(places)
    expected = [sum(steps[k][q, paths[q, k]] for k in range(6)) for q in range(2)]
    np.testing.assert_allclose(tokens.log_probs_of(TokensLocator(net).read(seen), places), expected, atol=2e-5)
    with pytest.raises(InputError, match="expected one each"):
        tokens.log_probs_of(TokensLocator(net).read(seen), places[:1])


def test_neighbours_features_places_and_similarities_all_reach_the_answer() -> None:
    for config, keys in ((SMALL, ("neighbour_features", "lat")), (FOLDED, ("neighbour_features", "lat", "similarity"))):
        net, seen = network(config), pictures(config, 1)
        other = pictures(config, 1, seed=9)
        before = TokensLocator(net).scorer(seen)(np.zeros((1, 0), np.int64))
        for key in keys:
            changed = dataclasses.replace(seen, **{key: getattr(other, key)})
            assert np.abs(TokensLocator(net).scorer(changed)(np.zeros((1, 0), np.int64)) - before).max() > 1e-4, key


def test_fewer_neighbours_are_read_and_more_are_left_out() -> None:
    net, many = network(FOLDED), pictures(FOLDED, 1, k=9)
    some = Pictures(
        many.features,
        [np.asarray(rows)[:, :5] for rows in many.neighbour_features],
        *(np.asarray(rows)[:, :5] for rows in (many.lat, many.lon, many.similarity)),
    )
    root = np.zeros((1, 0), np.int64)
    np.testing.assert_array_equal(TokensLocator(net).scorer(many)(root), TokensLocator(net).scorer(some)(root))
    assert TokensLocator(net).scorer(pictures(FOLDED, 1, k=1))(root).shape == (1, 6)


def test_it_has_the_published_size() -> None:
    config = TokensConfig()
    assert config.positions == 214
    with torch.device("meta"):
        count = sum(p.numel() for p in TokensNet(config).parameters())
    assert 54e6 < count < 56e6


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-5), (True, 2e-2)])
def test_a_checkpoint_comes_back(tmp_path: Path, half: bool, tolerance: float) -> None:
    net, seen, root = network(FOLDED), pictures(FOLDED, 1), np.zeros((1, 0), np.int64)
    tokens.save(net, tmp_path, half=half)
    back = TokensLocator.load(tmp_path)
    assert back.config == FOLDED
    np.testing.assert_allclose(back.scorer(seen)(root), TokensLocator(net).scorer(seen)(root), atol=tolerance)
    kinds = {value.dtype for value in load_file(tmp_path / tokens.WEIGHTS_FILE).values()}
    assert kinds == {torch.float16 if half else torch.float32}


def test_a_checkpoint_of_another_version_or_size_is_refused(tmp_path: Path) -> None:
    tokens.save(network(FOLDED), tmp_path)
    kept = json.loads((tmp_path / tokens.CONFIG_FILE).read_text())

    def write(values: object) -> None:
        (tmp_path / tokens.CONFIG_FILE).write_text(json.dumps(values))

    for values, fault in (
        (kept | {"depth": 3}, "unknown keys depth"),
        (kept | {"width": "wide"}, "another kind for width"),
        (kept | {"folded": 1.5}, "another kind for folded"),
        (kept | {"width": 33}, "multiple of the 4 heads"),
        (kept | {"width": 64}, "holds no weights that fit"),
        ([1], "no token network"),
    ):
        write(values)
        with pytest.raises((ModelError, InputError), match=fault):
            TokensLocator.load(tmp_path)
    write(kept)
    (tmp_path / tokens.WEIGHTS_FILE).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="holds no weights"):
        TokensLocator.load(tmp_path)
    with pytest.raises(ModelError, match=r"is no token network's.*No such file"):
        TokensLocator.load(tmp_path / "nowhere")


def test_inputs_that_do_not_fit_are_refused() -> None:
    locator, seen = TokensLocator(network(FOLDED)), pictures(FOLDED, 2)
    with pytest.raises(InputError, match="one picture, not 2"):
        locator.scorer(seen)
    wrong = (
        dataclasses.replace(seen, features=[np.zeros((2, 5))]),
        dataclasses.replace(seen, lat=np.zeros((2, 3))),
        dataclasses.replace(seen, features=[]),
        pictures(SMALL, 2),
    )
    for one in wrong:
        with pytest.raises(InputError, match="of shapes"):
            locator.read(one)
    with pytest.raises(InputError, match="finite"):
        locator.read(dataclasses.replace(seen, similarity=np.full((2, 5), np.nan)))
    with pytest.raises(InputError, match=r"latitude 91\.0"):
        locator.read(dataclasses.replace(seen, lat=np.full((2, 5), 91.0)))
    for bad in ({"length": 12}, {"heads": 0}, {"heads": 5}, {"dropout": 1.0}, {"image_width": 0}):
        with pytest.raises(InputError, match=next(iter(bad))):
            dataclasses.replace(SMALL, **bad)


def test_one_picture_of_a_network_with_image_features_alone() -> None:
    seen = pictures(FOLDED, 1)
    columns = (seen.features[0], seen.neighbour_features[0], seen.lat, seen.lon, seen.similarity)
    one = Pictures.one(*(np.asarray(column)[0] for column in columns))
    root = np.zeros((1, 0), np.int64)
    locator = TokensLocator(network(FOLDED))
    np.testing.assert_array_equal(locator.scorer(one)(root), locator.scorer(seen)(root))


def test_packing_changes_neither_scores_nor_what_is_saved_nor_gradients(tmp_path: Path) -> None:
    net, seen = network(SMALL), pictures(SMALL, 2)
    paths = geotokens.encode(np.array([47.0, -33.0]), np.array([8.0, 151.0]))[:, :2]
    before = TokensLocator(net).read(seen).log_probs(np.arange(2), paths)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    net.pack()
    packed = [module for module in net.modules() if getattr(module, "packed", None) is not None]
    assert packed or not torch.backends.mkldnn.is_available()
    np.testing.assert_allclose(TokensLocator(net).read(seen).log_probs(np.arange(2), paths), before, atol=1e-5)
    assert {name: value.shape for name, value in net.state_dict().items()} == {n: v.shape for n, v in state.items()}
    net.heads[0](torch.ones(1, SMALL.width)).sum().backward()
    assert net.heads[0].weight.grad is not None
