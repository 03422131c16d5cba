"""A batch of crops cut by tensors is the batch that Pillow cuts, and no more of the Earth than it may be."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from gaea.finetune import globe
from gaea.finetune.augment import AugmentConfig
from gaea.finetune.crops import CropConfig, PoolJob
from gaea.finetune.imagery import Imagery, Mosaic, View, open_imagery
from gaea.finetune.splits import Part, footprint_parts

SIZE = 48


def world(height, width, seed=0):
    """Clouds of colour with speckles over them, so that a pixel's shift shows."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(30, 225, (16, 32, 3), dtype=np.uint8)).resize((width, height))
    return np.clip(np.asarray(soft) + rng.integers(-25, 25, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def tiles():
    """Web-Mercator mosaics, of 16 and 8 pixels per degree of longitude."""
    return Imagery(tuple(Mosaic(world(side, side, side), mercator=True) for side in (4096, 2048)), "tiles")


def views(imagery, *wanted):
    rows = np.array([(*dataclasses.astuple(view), imagery.level(view, SIZE)) for view in wanted])
    return globe.Views(*rows[:, :5].T, rows[:, 5].astype(int))


LOOKS = (
    View(12.0, 40.0, 900.0),
    View(-33.3, 179.7, 1200.0),
    View(61.0, -10.0, 800.0, heading_deg=200.0),
    View(5.0, -70.0, 1500.0, tilt_deg=40.0),
    View(45.0, 8.0, 2500.0, heading_deg=75.0, tilt_deg=20.0),
    View(0.0, -180.0, 3500.0),
)


def test_a_batch_is_what_pillow_cuts(tiles):
    drawn = views(tiles, *LOOKS)
    assert set(drawn.level) == {0, 1}
    ours = globe.Globe(tiles, "cpu").render(drawn, SIZE) * 255
    theirs = np.stack([tiles.render(view, SIZE) for view in LOOKS]).transpose(0, 3, 1, 2)
    # Pillow rounds to whole numbers twice on its way.
    assert np.abs(ours.numpy() - theirs).max() < 2.5
    assert np.abs(ours.numpy() - theirs).mean() < 0.6


def test_the_shift_of_a_pixel_would_show(tiles):
    cut = globe.Globe(tiles, "cpu")
    here = views(tiles, View(12.0, 40.0, 900.0))
    there = dataclasses.replace(here, lon=here.lon + 360 / tiles.mosaics[0].pixels.shape[1])
    assert (cut.render(here, SIZE) - cut.render(there, SIZE)).abs().mean() * 255 > 2


def test_equirectangular_pictures_too(tmp_path):
    Image.fromarray(world(1024, 2048)).save(tmp_path / "world.png")
    plain = open_imagery(tmp_path / "world.png")
    drawn = views(plain, *LOOKS)
    theirs = np.stack([plain.render(view, SIZE) for view in LOOKS]).transpose(0, 3, 1, 2)
    assert np.abs((globe.Globe(plain, "cpu").render(drawn, SIZE) * 255).numpy() - theirs).max() < 2.5


def test_drawn_views_touch_nothing_held_out_and_follow_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(globe, "CHUNK", 30)
    Image.fromarray(world(512, 1024)).save(tmp_path / "world.png")
    config = CropConfig(size=SIZE, width_km=(90.0, 170.0), turned_share=0.5, tilted_share=0.5)
    job = PoolJob(str(tmp_path / "world.png"), None, Part.TRAIN, 70, config, 3)
    drawn, again = globe.draw(job, workers=2), globe.draw(job, workers=1)
    assert len(drawn) == 70
    for field in dataclasses.fields(drawn):
        np.testing.assert_array_equal(getattr(drawn, field.name), getattr(again, field.name))
    told = zip(drawn.lat, drawn.lon, drawn.width_km, drawn.heading_deg, drawn.tilt_deg, strict=True)
    assert {part for row in told for part in footprint_parts(row[0], row[1], View(*row).reach_km)} == {Part.TRAIN}
    assert len(np.unique(drawn.lat)) == 70


def test_inputs_are_cut_anew_under_another_sky(tiles):
    fed = globe.Rendered(globe.Globe(tiles, "cpu"), views(tiles, *LOOKS), SIZE, AugmentConfig())
    rows = np.array([4, 0, 4])
    first, second = (fed.batch(rows, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.shape == (3, 3, SIZE, SIZE)
    assert torch.equal(first, fed.batch(rows, np.random.default_rng(0)))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[2])
    np.testing.assert_array_equal(fed.lat[rows], [45.0, 12.0, 45.0])
