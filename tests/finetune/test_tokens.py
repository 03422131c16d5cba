"""Training GeoToken's transformer: what it may see, its loss, that it learns, and that a killed run ends the same."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gaea import geotokens
from gaea.errors import InputError, ModelError
from gaea.finetune import __main__ as command
from gaea.finetune import recipe, tokenrows, tokens
from gaea.locate.tokens import CONFIG_FILE, TokensConfig, TokensLocator
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.sphere import great_circle_km, to_xyz

MODEL = TokensConfig(
    image_width=24,
    location_width=0,
    text_width=0,
    width=32,
    encoder_layers=1,
    decoder_layers=1,
    heads=2,
    feedforward=48,
    dropout=0.0,
    neighbours=6,
    length=3,
    folded=True,
    similarity=True,
    place_waves=2,
)
TINY = tokens.TokensRecipe(
    model=MODEL, epochs=2, batch_size=32, learning_rate=3e-3, candidates=40, checkpoint_every=5, noise=0.1
)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Places whose embeddings follow from where they are, so that neighbours in one are neighbours in the other."""
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, 320))), rng.uniform(-180, 180, 320)
    mix = rng.standard_normal((3, 24))
    embeddings = np.sin(to_xyz(lat, lon) @ mix * 2)
    return Gallery.from_embeddings(embeddings, lat, lon, meta=GalleryMeta("made up", "none", 24))


@pytest.fixture(scope="module")
def nearest(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return tokens.nearest_rows(gallery, TINY.candidates, tmp_path_factory.mktemp("kept") / "nearest.npy")


def test_nearest_rows_are_exact_leave_oneself_out_and_are_kept(gallery: Gallery, tmp_path: Path) -> None:
    kept = tmp_path / "nearest.npy"
    blocks = 7  # smaller than the gallery, so that blocks have an end inside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenrows, "_BLOCK_ROWS", blocks)
        found = tokens.nearest_rows(gallery, 10, kept)
    cosine = gallery.embeddings @ gallery.embeddings.T
    np.fill_diagonal(cosine, -2)
    best = -np.sort(-cosine, axis=1)[:, :10]
    np.testing.assert_allclose(np.take_along_axis(cosine, found, 1), best, atol=1e-6)
    kept.touch()
    before = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(tokens.nearest_rows(gallery, 10, kept), found)
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="too few"):
        tokens.nearest_rows(gallery, 320, tmp_path / "more.npy")


@pytest.mark.parametrize("unseen", [0.0, 1.0])
def test_a_picture_sees_its_nearest_rows_but_itself_and_none_that_is_hidden(
    gallery: Gallery, nearest: np.ndarray, unseen: float
) -> None:
    config = dataclasses.replace(TINY, unseen_share=unseen, unseen_km=(900.0, 900.0), noise=0.0)
    rows = tokens.Rows(gallery, nearest, config)
    asked = np.arange(0, 320, 5)
    seen, symbols = rows.draw(asked, np.random.default_rng(0))
    np.testing.assert_array_equal(symbols, geotokens.encode(gallery.lat, gallery.lon)[asked, :3])
    assert (np.diff(seen.similarity) <= 0).all()
    np.testing.assert_allclose(
        seen.similarity, np.einsum("nkd,nd->nk", seen.neighbour_features[0], seen.features[0]), atol=1e-6
    )
    for row, xyz, similarity in zip(asked, seen.xyz.numpy(), seen.similarity.numpy(), strict=True):
        km = great_circle_km(gallery.lat[row], gallery.lon[row], gallery.lat, gallery.lon)
        allowed = [i for i in nearest[row] if unseen == 0 or km[i] > 900]
        assert len(allowed) >= 6  # else the test would say nothing
        cosine = gallery.embeddings[allowed] @ gallery.embeddings[row]
        np.testing.assert_allclose(similarity, np.sort(cosine)[::-1][:6], atol=1e-5)
        own = to_xyz(gallery.lat[row], gallery.lon[row])
        nearest_km = 2 * 6371.0088 * np.arcsin(np.linalg.norm(xyz - own, axis=1) / 2).min()
        assert nearest_km > (900 if unseen else 0)


def test_where_everything_is_near_the_nearest_places_are_hidden(gallery: Gallery, nearest: np.ndarray) -> None:
    config = dataclasses.replace(TINY, unseen_share=1.0, unseen_km=(20_000.0, 20_100.0), noise=0.0)
    seen, _ = tokens.Rows(gallery, nearest, config).draw(np.array([3]), np.random.default_rng(0))
    km = great_circle_km(gallery.lat[3], gallery.lon[3], gallery.lat[nearest[3]], gallery.lon[nearest[3]])
    farthest = to_xyz(*(column[nearest[3][np.argsort(-km)[:6]]] for column in (gallery.lat, gallery.lon)))
    found = seen.xyz[0].numpy()
    assert all(np.linalg.norm(farthest - one, axis=1).min() < 1e-5 for one in found)


def test_the_loss_weighs_symbols_from_two_to_one() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(5, size) for size in geotokens.VOCAB_SIZES]
    symbols = torch.stack([torch.randint(size, (5,)) for size in geotokens.VOCAB_SIZES], 1)
    loss, each = tokens.loss_of(logits, symbols, tokens.TokensRecipe())
    expected = np.array([float(F.cross_entropy(step, symbols[:, k])) for k, step in enumerate(logits)])
    weights = 2 - np.arange(11) / 10
    np.testing.assert_allclose(each, expected, rtol=1e-5)
    assert float(loss) == pytest.approx(float((expected * weights).sum() / weights.sum()), rel=1e-5)


def test_it_learns_and_a_killed_run_ends_as_the_whole_one(
    gallery: Gallery, nearest: np.ndarray, tmp_path: Path
) -> None:
    config = dataclasses.replace(TINY, epochs=8, epoch_decay=0.95)
    rows = tokens.Rows(gallery, nearest, config)
    whole = tokens.train(config, rows, tmp_path / "whole")
    logged = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 80
    assert logged[-1]["nats"][0] < 0.5 * np.log(6)
    assert logged[-1]["loss"] < 0.8 * logged[0]["loss"]

    class Killed(BaseException):
        pass

    def until(steps: range, **_: object) -> object:
        for step in steps:
            if step == 43:
                raise Killed
            yield step

    with pytest.raises(Killed):
        tokens.train(config, rows, tmp_path / "killed", progress=until)
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 40
    resumed = tokens.train(config, rows, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    other = dataclasses.replace(config, model=dataclasses.replace(MODEL, width=64))
    with pytest.raises(ModelError, match="of another network"):
        tokens.train(other, tokens.Rows(gallery, nearest, other), tmp_path / "killed")


def test_rates_fall_by_the_epoch(gallery: Gallery, nearest: np.ndarray, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, batch_size=16, learning_rate=1e-3, epoch_decay=0.5, warmup_steps=40)
    tokens.train(config, tokens.Rows(gallery, nearest, config), tmp_path)
    rates = [json.loads(line)["rate"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([0.5e-3, 0.5e-3])  # at step 20 half warm; at step 40 warm, in the second epoch


def test_the_command_survives_a_kill_and_leaves_a_locator(gallery: Gallery, tmp_path: Path) -> None:
    """A real process, killed for real once it has a checkpoint, and started again."""
    gallery.write(tmp_path / "gallery.parquet")
    values = {"epochs": 8, "batch_size": 16, "candidates": 40, "checkpoint_every": 5, "learning_rate": 0.003}
    model = ", ".join(f"{k}: {json.dumps(v)}" for k, v in dataclasses.asdict(MODEL).items())
    lines = [f"{key}: {value}" for key, value in values.items()]
    (tmp_path / "small.yaml").write_text("\n".join([f"model: {{{model}}}", *lines]))
    out = tmp_path / "out"
    arguments = ["tokens", "--recipe", tmp_path / "small.yaml", "--gallery", tmp_path / "gallery.parquet", "--out", out]
    words = [str(word) for word in arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, "-m", "gaea.finetune", *words], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        started = time.monotonic()
        while not (out / "checkpoint.pt").exists() and time.monotonic() - started < 240:
            assert running.poll() is None
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    step = torch.load(out / "checkpoint.pt", weights_only=True)["step"]
    assert not (out / CONFIG_FILE).exists()  # it was not done
    assert command.main(words) == 0
    logged = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert logged[-1] == 160 > step
    assert json.loads((out / "recipe.json").read_text())["model"]["width"] == 32
    assert TokensLocator.load(out).config == dataclasses.replace(MODEL, encoder="none")
    described = json.loads((out / "recipe.json").read_text())
    described["model"]["encoder"] = "another"
    (out / "recipe.json").write_text(json.dumps(described))
    assert command.main(words) == 2  # what is there must not be gone on with


def test_recipes_that_ship_fit_and_wrong_ones_are_refused(gallery: Gallery, nearest: np.ndarray) -> None:
    published = recipe.load("tokens-geotoken", tokens.TokensRecipe)
    assert published == tokens.TokensRecipe()
    nano = recipe.load("tokens-nano", tokens.TokensRecipe)
    assert nano.model.feature_widths == (128,)
    with pytest.raises(InputError, match="24-d embeddings"):
        tokens.Rows(gallery, nearest, nano)
    for bad in ({"epochs": 0}, {"candidates": 5}, {"unseen_share": 1.5}, {"unseen_km": (3.0, 2.0)}):
        with pytest.raises(InputError, match=next(iter(bad))):
            dataclasses.replace(TINY, **bad)
