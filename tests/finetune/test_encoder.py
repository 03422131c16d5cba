"""The towers' trainer: a killed run goes on as if nothing had been, and a near miss costs less than a far one."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from gaea.errors import InputError
from gaea.finetune import encoder, inputs
from gaea.finetune.augment import AugmentConfig, augment
from gaea.finetune.crops import Crops
from gaea.finetune.gap import GapConfig, Queue, gap_loss
from gaea.sphere import to_xyz

ORBIT = encoder.EncoderConfig(
    trunk="gaea_orbitnet_tiny",
    image_size=48,
    embed_dim=32,
    level=2,
    coarse_level=1,
    steps=12,
    batch_size=16,
    checkpoint_every=6,
    cell_batch=12,
    gap=GapConfig(weight=1.0, gap_km=500, reach_km=900, known_km=4000, queue=20, after=2),
)
VIT = encoder.EncoderConfig(
    arch="vit", width=64, layers=1, image_size=48, embed_dim=32, level=2, coarse_level=1, steps=6, batch_size=8,
    checkpoint_every=3, distill_weight=1.0,
)  # fmt: skip


PAIR = dataclasses.replace(ORBIT, arch="pair", trunk="gaea_orbitpair_tiny", halves_weight=0.5)


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, 40))), rng.uniform(-180, 180, 40)
    images = rng.integers(0, 255, (40, 48, 48, 3), dtype=np.uint8)
    return Crops(images, lat.astype(np.float32), lon.astype(np.float32), np.full(40, 100.0), np.zeros(40))


class KilledError(Exception):
    pass


def killed_at(step):
    def progress(steps, **_):
        for i in steps:
            if i == step:
                raise KilledError
            yield i

    return progress


@pytest.mark.parametrize("config", [ORBIT, PAIR, VIT], ids=["orbit", "pair", "vit"])
def test_a_killed_run_equals_an_unbroken_one(config, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "fit_filters", functools.partial(inputs.fit_filters, patches=500))
    taught = torch.nn.functional.normalize(torch.randn(40, 32, generator=torch.Generator().manual_seed(2)))
    teacher = taught if config.arch == "vit" else None

    def train(folder, **options):
        torch.manual_seed(0)
        tower = encoder.build_tower(config)
        if config.arch == "orbit":
            fed = inputs.prepare(tower, crops, config.augment, image_size=config.image_size)
        else:
            fed = inputs.Pictures(crops, config.image_size, config.augment)
        if config.arch == "pair":
            inputs.fit(tower.textures, crops, config.augment, image_size=config.image_size)
        return encoder.train(config, tower, fed, crops, tmp_path / folder, teacher=teacher, **options)

    whole = train("whole")
    with pytest.raises(KilledError):
        train("cut", progress=killed_at(config.steps - 2))
    again = train("cut")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


def test_a_near_miss_costs_less_than_a_far_one():
    centres = torch.tensor(to_xyz(np.array([0.0, 0.0, 0.0]), np.array([0.0, 5.0, 90.0])), dtype=torch.float32)
    target = encoder.soft_targets(centres[:1], centres, encoder.EncoderConfig())
    torch.testing.assert_close(target.sum(1), torch.ones(1))
    assert target[0, 0] > target[0, 1] > target[0, 2]
    assert target[0, 1] > 0.01


def on_the_equator(*degrees):
    return torch.tensor(to_xyz(np.zeros(len(degrees)), np.array(degrees)), dtype=torch.float32)


def test_beyond_the_gap_the_nearest_shall_be_the_most_similar():
    """Four places in a row, 111 km apart; the first is asked. What is hidden changes nothing, and order counts."""
    xyz = on_the_equator(0.0, 1.0, 2.0, 3.0)
    config = GapConfig(gap_km=150, reach_km=30, known_km=500)
    scale = torch.tensor(10.0)

    def surprise(*similarities):
        z = torch.tensor([[s, (1 - s * s) ** 0.5] for s in (1.0, *similarities)])
        queue = Queue(z[1:], xyz[1:])
        return gap_loss(z[:1], xyz[:1], scale, queue, config).item()

    right, wrong = surprise(0.0, 0.9, 0.1), surprise(0.0, 0.1, 0.9)
    assert right < 0.3
    assert wrong > 5
    assert surprise(0.99, 0.9, 0.1) == pytest.approx(right)  # the neighbour at 111 km is hidden


def test_pictures_with_nothing_within_reach_are_not_asked():
    z = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    xyz, config, one = on_the_equator(0.0, 2.0, 90.0), GapConfig(), torch.tensor(1.0)
    both = gap_loss(z, xyz, one, Queue.empty(4), config)
    alone = torch.stack([gap_loss(z[i : i + 1], xyz[i : i + 1], one, Queue(z, xyz), config) for i in (0, 1)]).mean()
    torch.testing.assert_close(both, alone)
    assert gap_loss(z[2:], xyz[2:], one, Queue.empty(4), config) == 0


def test_the_queue_keeps_the_newest():
    queue = Queue.empty(1)
    for step in range(4):
        queue = queue.pushed(torch.full((2, 1), float(step)), torch.full((2, 3), float(step)), 5)
    assert queue.embeddings[:, 0].tolist() == queue.xyz[:, 0].tolist() == [3, 3, 2, 2, 1]


def test_a_gap_wider_than_what_is_known_is_refused():
    with pytest.raises(InputError, match="expected a gap below"):
        GapConfig(gap_km=600)


def test_statistics_are_of_crops_as_they_were_cut(crops):
    """A second frame, enlarged to the input, would blur what the trunk learns from and not what it is asked about."""
    tower = encoder.build_tower(ORBIT).eval()
    still = AugmentConfig(strong_share=0, haze_share=0, cloud_share=0, blur_share=0, coarse_share=0, mild=0)
    found = inputs.gather_statistics(tower, crops, still, image_size=48)
    with torch.autocast("cpu", torch.bfloat16):
        expected = tower.statistics(inputs.normalise(inputs.floats(crops.images_NHWC)))
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)
    again = inputs.gather_statistics(tower, crops, ORBIT.augment, image_size=48)
    assert not torch.allclose(found.float(), again.float(), atol=0.02, rtol=0.02)


def test_coarse_classes_are_the_parents(crops):
    from gaea import cells

    ids = np.unique(cells.from_latlon(crops.lat.astype(float), crops.lon.astype(float), 2))
    model = encoder.PlaceClassifier(encoder.build_tower(VIT), ids, VIT)
    parents = cells.parent(ids, 1)
    assert model.coarse_count == len(np.unique(parents))
    assert (np.unique(parents)[model.coarse.numpy()] == parents).all()


def test_embeddings_are_in_order_whatever_the_batch(crops):
    torch.manual_seed(0)
    tower = encoder.build_tower(VIT).eval()
    small, large = (encoder.embed(tower, crops.images_NHWC, batch=n) for n in (7, 64))
    torch.testing.assert_close(small, large, rtol=0.05, atol=0.02)


def test_preprocessing_is_the_shipped_one():
    grey = torch.full((1, 3, 4, 4), 0.5)
    expected = (torch.tensor([0.5, 0.5, 0.5]) - torch.tensor(inputs.MEAN)) / torch.tensor(inputs.STD)
    torch.testing.assert_close(inputs.normalise(grey)[0, :, 0, 0], expected)


def test_augmentation_follows_its_seed_and_stays_a_picture():
    pictures = torch.rand(64, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    strong = AugmentConfig(strong_share=1, haze_share=1, cloud_share=1, blur_share=1)

    def run(config, seed):
        return augment(pictures, config, torch.Generator().manual_seed(seed))

    assert torch.equal(run(strong, 1), run(strong, 1))
    assert not torch.equal(run(strong, 1), run(strong, 2))
    for config in (strong, AugmentConfig()):
        out = run(config, 3)
        assert out.shape == pictures.shape
        assert ((out >= 0) & (out <= 1)).all()
    none = AugmentConfig(strong_share=0, haze_share=0, cloud_share=0, blur_share=0, coarse_share=0, mild=0)
    torch.testing.assert_close(run(none, 1), pictures, atol=1e-5, rtol=0)
    coarse = run(dataclasses.replace(none, coarse_share=1), 1)
    rough, smooth = (x.diff(dim=3).abs().mean() for x in (pictures, coarse))
    assert smooth < 0.2 * rough  # an eighth of the resolution
    changed = {c: (run(c, 4) - pictures).abs().mean() for c in (AugmentConfig(), strong)}
    assert changed[strong] > 2 * changed[AugmentConfig()]
