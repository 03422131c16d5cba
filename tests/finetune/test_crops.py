"""What is learned from: crops drawn evenly, inside their part, and the same whoever draws them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from gaea.errors import InputError
from gaea.finetune import crops
from gaea.finetune.crops import CropConfig, PoolJob, draw_crops, draw_pairs, draw_pool, draw_views
from gaea.finetune.imagery import Imagery, Mosaic, View, open_imagery
from gaea.finetune.splits import Part, footprint_parts
from gaea.sphere import great_circle_km

SMALL = CropConfig(size=16, width_km=(200.0, 400.0), turned_share=0.5, tilted_share=0.3, anywhere_share=0.1)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (512, 1024, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="module")
def imagery(picture):
    return open_imagery(picture)


def first(views, count):
    return [next(views) for _ in range(count)]


@pytest.mark.parametrize("part", list(Part))
def test_a_view_stays_within_its_part(part, imagery):
    config = dataclasses.replace(SMALL, width_km=(60.0, 120.0))
    for view in first(draw_views(imagery, part, config, np.random.default_rng(0)), 60):
        assert footprint_parts(view.lat, view.lon, view.reach_km) == {part}
        assert 60 <= view.width_km <= 120


def test_places_are_even_over_the_sphere_and_shares_are_kept(imagery):
    rng = np.random.default_rng(1)
    config = dataclasses.replace(SMALL, wide_share=0.25, width_km=(90.0, 100.0), wide_km=(101.0, 120.0))
    views = first(draw_views(imagery, Part.TRAIN, config, rng), 1500)
    below_30 = np.mean([abs(v.lat) < 30 for v in views])
    assert 0.42 < below_30 < 0.62  # half of the Earth; blocks near the poles are small, so fewer crops fit there
    assert 0.4 < np.mean([v.heading_deg != 0 for v in views]) < 0.6
    assert 0.2 < np.mean([v.tilt_deg != 0 for v in views]) < 0.4
    assert 0.2 < np.mean([v.width_km > 100 for v in views]) < 0.3
    assert max(v.tilt_deg for v in views) <= config.max_tilt_deg


def test_crops_hold_what_they_say(imagery):
    drawn = draw_crops(imagery, Part.TRAIN, 20, SMALL, np.random.default_rng(2))
    assert (len(drawn), drawn.images_NHWC.shape, drawn.images_NHWC.dtype) == (20, (20, 16, 16, 3), np.uint8)
    assert drawn.rows().shape == (20, 4)
    straight = np.flatnonzero(drawn.heading_deg == 0)
    equal = [
        np.array_equal(
            drawn.images_NHWC[i],
            imagery.render(View(float(drawn.lat[i]), float(drawn.lon[i]), float(drawn.width_km[i])), 16),
        )
        for i in straight
    ]
    assert any(equal)  # those that were neither turned nor tilted


def test_a_pair_shows_one_place_twice(imagery):
    one, two = draw_pairs(imagery, Part.TRAIN, 40, SMALL, np.random.default_rng(3))
    apart = great_circle_km(one.lat, one.lon, two.lat, two.lon)
    assert apart.max() < 20.1
    assert np.median(apart) > 10
    assert (one.width_km != two.width_km).all()
    assert (np.abs(np.log(one.width_km / two.width_km)) < 0.2501).all()
    assert not np.array_equal(one.images_NHWC, two.images_NHWC)


def test_the_pool_does_not_depend_on_the_number_of_workers(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "CHUNK", 8)
    job = PoolJob(str(picture), None, Part.TRAIN, 20, SMALL, seed=5)
    one, three = (draw_pool(job, tmp_path / str(workers), workers) for workers in (1, 3))
    assert len(one) == 40
    np.testing.assert_array_equal(one.images_NHWC, three.images_NHWC)
    np.testing.assert_array_equal(one.rows(), three.rows())
    assert great_circle_km(one.lat[:20], one.lon[:20], one.lat[20:], one.lon[20:]).max() < 20.1
    assert len(np.unique(one.rows(), axis=0)) == 40  # chunks do not repeat each other


def test_a_finished_chunk_is_not_drawn_again_and_half_a_chunk_is(picture, tmp_path):
    job = PoolJob(str(picture), None, Part.TRAIN, 12, SMALL, seed=5)
    before = draw_pool(job, tmp_path, 1)
    (chunk,) = tmp_path.glob("[0-9]*.npz")
    stamp = chunk.stat().st_mtime_ns
    draw_pool(job, tmp_path, 1)
    assert chunk.stat().st_mtime_ns == stamp
    chunk.rename(tmp_path / "00000000.part.npz")  # as a killed worker leaves it
    again = draw_pool(job, tmp_path, 1)
    np.testing.assert_array_equal(before.images_NHWC, again.images_NHWC)


def test_crops_too_wide_for_a_block_are_an_error_and_not_a_wait(imagery, monkeypatch):
    monkeypatch.setattr(crops, "PATIENCE", 2000)
    config = CropConfig(size=16, width_km=(2000.0, 3000.0))
    with pytest.raises(InputError, match=r"yields too few crops of \(2000.0, 3000.0\) km for validation"):
        draw_crops(imagery, Part.VALIDATION, 1, config, np.random.default_rng(0))


def test_imagery_without_detail_is_an_error_and_not_a_wait(monkeypatch):
    monkeypatch.setattr(crops, "PATIENCE", 2000)
    empty = Imagery((Mosaic(np.zeros((512, 512, 3), np.uint8), mercator=True, present=np.zeros((4, 4), bool)),), "sea")
    with pytest.raises(InputError, match="sea yields too few crops"):
        draw_pairs(empty, Part.TRAIN, 1, SMALL, np.random.default_rng(0))
    with pytest.raises(InputError, match="sea yields too few crops"):  # views are found, but nothing is shown there
        draw_pairs(empty, Part.TRAIN, 1, dataclasses.replace(SMALL, anywhere_share=1.0), np.random.default_rng(0))
