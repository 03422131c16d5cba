"""The trainer of location heads on a small planet whose pictures tell exactly where they are."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from gaea.errors import InputError, ModelError
from gaea.finetune.gallery import lattice
from gaea.finetune.location import LocationConfig, _draw, train
from gaea.finetune.location_exam import Found, examine
from gaea.rag.gallery import Gallery, GalleryMeta
from gaea.rag.location_head import LocationHead
from gaea.sphere import great_circle_km, to_xyz

SMALL = LocationConfig(
    sigmas=(1.0, 2.0, 4.0),
    frequencies=16,
    width=32,
    layers=1,
    dim=16,
    image_width=32,
    steps=150,
    batch_size=64,
    more_places=64,
    own_noise_km=10.0,
    other_noise_km=50.0,
    near_km=300.0,
    learning_rate=5e-3,
    checkpoint_every=50,
)


def pictures_of(lat, lon):
    """What a perfect encoder would see: (n, 8) smooth functions of the place."""
    return np.tanh(to_xyz(lat, lon) @ np.random.default_rng(0).normal(size=(3, 8)))


@pytest.fixture(scope="module")
def planet():
    lat, lon = lattice(800)
    meta = GalleryMeta("perfect", "f" * 64, 8)
    return Gallery.from_embeddings(pictures_of(lat, lon), lat, lon, meta=meta, dtype="float16")


@pytest.fixture(scope="module")
def run(planet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(planet, SMALL, folder), folder


def test_it_learns_where_pictures_belong(run, planet):
    head, folder = run
    losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    rng = np.random.default_rng(1)
    truth = np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, 60))), rng.uniform(-170, 170, 60)
    found = examine(head, planet, pictures_of(*truth), truth=truth, candidates=lattice(4000))
    # Guessing is wrong by 10,000 km in the median.
    assert found["head over candidates"].told()["median_km"][0] < 2000
    assert set(found) == {"head over candidates", "head over gallery places", "nearest neighbour"}


def test_the_run_leaves_a_head_that_loads(run, planet):
    head, folder = run
    again = LocationHead.load(folder)
    assert (again.config.encoder, again.config.fingerprint, again.config.image_dim) == ("perfect", "f" * 64, 8)
    np.testing.assert_array_equal(again.encode([1.0], [2.0]), head.encode([1.0], [2.0]))
    assert json.loads((folder / "config.json").read_text())["steps"] == SMALL.steps


class KilledError(Exception):
    pass


def test_a_resumed_run_ends_as_an_unbroken_one(run, planet, tmp_path):
    def until(stop):
        def progress(steps, initial, total):
            for step in steps:
                if step == stop:
                    raise KilledError
                yield step

        return progress

    for stop in (70, 120):
        with pytest.raises(KilledError):
            train(planet, SMALL, tmp_path, progress=until(stop))
    whole, resumed = run[0].state_dict(), train(planet, SMALL, tmp_path).state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


def test_a_checkpoint_of_other_sizes_is_refused(planet, tmp_path):
    train(planet, dataclasses.replace(SMALL, steps=1), tmp_path)
    with pytest.raises(ModelError, match="belongs to another configuration"):
        train(planet, dataclasses.replace(SMALL, width=16), tmp_path)


def test_noise_and_near_places_are_as_asked(planet):
    config = dataclasses.replace(SMALL, batch_size=400, more_places=800, own_noise_km=20.0, other_noise_km=0.0)
    rows, plane, near = _draw(planet, config, 3)
    assert (len(set(rows)), plane.shape, near.shape) == (400, (1200, 2), (400, 1200))
    assert not near.diagonal().any()  # its own place is the right answer
    assert near.any()
    quiet = _draw(planet, dataclasses.replace(config, own_noise_km=0.0, near_km=0.0), 3)
    # Displacements of two normal components have a Rayleigh length of mean σ·√(π/2); the plane keeps areas.
    moved = (plane - quiet[1])[:400].double().norm(dim=1) * np.pi * 6371.0088 / 1.0 * (180 / 66.50336 / np.pi)
    assert float(moved.median()) == pytest.approx(20 * 1.1774, rel=0.25)
    torch.testing.assert_close(plane[400:], quiet[1][400:])
    # Without a radius, only a row that was drawn twice is no wrong answer.
    assert 0 < int(quiet[2].sum()) < 800


def test_steps_draw_alike_in_every_run(planet):
    one, two, other = _draw(planet, SMALL, 5), _draw(planet, SMALL, 5), _draw(planet, SMALL, 6)
    np.testing.assert_array_equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[1], other[1])


def test_intervals_hold_the_figure():
    told = Found(great_circle_km(0.0, 0.0, 0.0, np.linspace(0, 20, 101))).told()
    for value, low, high in told.values():
        assert low <= value <= high
    assert told["within_750"][0] == pytest.approx((np.linspace(0, 20, 101) * 111.195 <= 750).mean(), abs=1e-3)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"near_km": -1.0}, {"learning_rate": 0.0}, {"more_places": -1}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(InputError, match="have to be positive"):
        LocationConfig(**wrong)


def test_the_command_trains_and_says_what_is_wrong(tmp_path, planet, capsys):
    from gaea.finetune.__main__ import main

    planet.write(tmp_path / "gallery.parquet")
    (tmp_path / "r.yaml").write_text("steps: 2\nwidth: 8\nlayers: 1\nfrequencies: 4\ndim: 4\nimage_width: 4\n")
    common = ["location", "--gallery", str(tmp_path / "gallery.parquet"), "--out", str(tmp_path / "out")]
    assert main([*common, "--recipe", str(tmp_path / "r.yaml")]) == 0
    assert LocationHead.load(tmp_path / "out").config.image_dim == 8
    (tmp_path / "r.yaml").write_text("step: 2\n")
    assert main([*common, "--recipe", str(tmp_path / "r.yaml")]) == 2
    assert "unknown key 'step'; did you mean 'steps'?" in capsys.readouterr().err


def test_the_shipped_recipe_reads():
    from gaea.finetune import recipe

    assert recipe.load("location", LocationConfig).near_km == 100.0
