"""The retrieval trunk: fixed filters seen once, and the same function through open_clip and timm."""

import numpy as np
import pytest
import torch

from gaea.rag import orbitnet
from gaea.rag.orbitnet import NAME, SCALES, TINY, OrbitNet, fit_stems


def pictures(n=12, side=96, seed=0):
    coarse = torch.rand(n, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 4 - 2


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = orbitnet.timm.create_model(TINY, num_classes=32)
    fit_stems(made, pictures(), torch.Generator().manual_seed(0), patches=800)
    made.fix_standard(made.statistics(pictures(40, seed=1)))
    return made.eval()


def test_timm_builds_it_by_name():
    assert isinstance(orbitnet.timm.create_model(NAME, num_classes=128), OrbitNet)
    assert orbitnet.timm.create_model(TINY, num_classes=0).get_classifier() is not None


def test_cached_statistics_give_the_same_as_pictures(net):
    x = pictures(5)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.from_statistics(net.statistics(x)))
    assert net(x).shape == (5, 32)
    assert net.statistics(x).shape == (5, net.num_statistics)


def test_statistics_do_not_depend_on_the_batch(net):
    x = pictures(6)
    one_by_one = torch.cat([net.statistics(x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(net.statistics(x), one_by_one, rtol=1e-4, atol=1e-5)


def test_the_filters_are_not_learned(net):
    assert not any(p.requires_grad for p in net.stems.parameters())
    assert not net.statistics(pictures(2).requires_grad_()).requires_grad


def test_filters_follow_the_seed_and_whiten(net):
    again = OrbitNet(32, filters=32, width=64)
    fit_stems(again, pictures(), torch.Generator().manual_seed(0), patches=800)
    for a, b in zip(net.stems, again.stems, strict=True):
        torch.testing.assert_close(a.weight, b.weight)
    assert len(net.stems) == len(SCALES)
    for stem in net.stems:
        assert torch.isfinite(stem.weight).all()
        assert len(torch.unique(stem.weight.flatten(1), dim=0)) > 20  # centroids did not collapse
    assert torch.isfinite(torch.cat([stem.bias for stem in net.stems])).all()


def test_its_own_world_is_less_strange_than_another(net):
    own = net.strangeness(pictures(20, seed=2))
    noise = net.strangeness(torch.randn(20, 3, 96, 96, generator=torch.Generator().manual_seed(3)) * 3)
    assert own.shape == (20,)
    assert own.max() < noise.min()
    assert 0.3 < own.median() < 5


def test_extremes_stay_finite(net):
    for value in (-5.0, 0.0, 5.0):
        with torch.no_grad():
            assert torch.isfinite(net(torch.full((2, 3, 96, 96), value))).all()


def test_another_last_layer(net):
    other = OrbitNet(32, filters=8, width=16)
    other.reset_classifier(5)
    assert other.eval()(pictures(1)).shape == (1, 5)
    other.reset_classifier(0)
    assert other(pictures(1)).shape == (1, 16)


def test_open_clip_runs_it_unchanged(net):
    import open_clip

    vision = {"image_size": 96, "timm_model_name": TINY, "timm_pool": "", "timm_proj": ""}
    words = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 1, "layers": 1}
    clip = open_clip.CLIP(32, vision, words)
    clip.visual.trunk.load_state_dict(net.state_dict())
    x = pictures(3)
    with torch.no_grad():
        seen = clip.eval().encode_image(x)
        np.testing.assert_allclose(seen.numpy(), net(x).numpy(), atol=1e-6)
