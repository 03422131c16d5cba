"""The retrieval trunk: fixed filters seen once, and the same function through open_clip and timm."""

import numpy as np
import pytest
import torch

from gaea.rag import orbitnet
from gaea.rag.orbitnet import MEAN, NAME, SHADES, STD, TINY, OrbitNet, fit_filters, shade


def pictures(n=12, side=96, seed=0):
    coarse = torch.rand(n, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 4 - 2


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = orbitnet.timm.create_model(TINY, num_classes=32)
    fit_filters(made, pictures(), torch.Generator().manual_seed(0), patches=800)
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
    assert not any(p.requires_grad for part in (net.stems, net.components) for p in part.parameters())
    assert not net.statistics(pictures(2).requires_grad_()).requires_grad


def test_filters_follow_the_seed_and_whiten(net):
    again = OrbitNet(32, filters=32, components=8, colours=32, width=64, scales=(1, 2, 4))
    fit_filters(again, pictures(), torch.Generator().manual_seed(0), patches=800)
    for a, b in zip(net.stems, again.stems, strict=True):
        torch.testing.assert_close(a.weight, b.weight)
    for a, b in zip(net.components, again.components, strict=True):
        torch.testing.assert_close(a.weight, b.weight)
    assert torch.equal(net.codebook, again.codebook)
    assert len(net.stems) == len(net.scales) == 3
    for stem in net.stems:
        assert torch.isfinite(stem.weight).all()
        assert len(torch.unique(stem.weight.flatten(1), dim=0)) > 20  # centroids did not collapse
    assert torch.isfinite(torch.cat([stem.bias for stem in net.stems])).all()


def test_components_are_centred_and_of_unit_variance_over_what_they_were_fitted_on(net):
    for layer, response in zip(net.components, net.responses(pictures()), strict=True):
        values = layer(response.flatten(2).transpose(1, 2)).flatten(0, 1)
        assert values.mean(0).abs().max() < 0.2
        assert (values.std(0) > 0.5).all()
        assert (values.std(0) < 2).all()


def test_a_colour_belongs_to_the_nearest_of_the_codebook(net):
    """The lookup by shades gives what comparing with the centroids would, up to the width of a shade."""
    flat = torch.tensor([[0.1, 0.2, 0.6], [0.8, 0.7, 0.3]])
    x = ((flat - torch.tensor(MEAN)) / torch.tensor(STD)).view(2, 3, 1, 1).expand(2, 3, 96, 96)
    numbers = (flat * (SHADES - 1)).round().long()
    assert shade(x)[:, 0].tolist() == [int((r * SHADES + g) * SHADES + b) for r, g, b in numbers]
    histograms = net.statistics(x)[:, -2 * net.colours :].view(2, 2, net.colours)
    torch.testing.assert_close(histograms.square().sum(2), torch.ones(2, 2))
    assert (histograms.amax(2) == 1).all()  # one colour each
    assert (histograms[:, 0].argmax(1) == net.codebook[shade(x)[:, 0]]).all()
    assert histograms[0, 0].argmax() != histograms[1, 0].argmax()


def test_what_goes_together_is_told_from_what_does_not():
    """Two pictures with the same stripes in different places differ in their covariances, not in their means."""
    torch.manual_seed(0)
    net = orbitnet.timm.create_model(TINY)
    fit_filters(net, pictures(40), torch.Generator().manual_seed(0), patches=800)
    across = torch.zeros(1, 3, 96, 96)
    across[..., ::6] = 1.0
    both = torch.cat([across, across.transpose(2, 3)])
    part = slice(net.num_textures, net.num_textures + 3 * 36)
    first, second = net.statistics(both)[:, part]
    assert (first - second).abs().max() > 0.1
    assert torch.isfinite(first).all()


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
    other = OrbitNet(32, filters=8, components=4, colours=8, width=16)
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


def test_wide_dropout_keeps_the_mean_follows_the_seed_and_rests_outside_of_training():
    layer = orbitnet.WideDropout(0.25)
    x = torch.ones(400, 500, dtype=torch.bfloat16)

    def drawn(seed):
        torch.manual_seed(seed)
        return layer(x)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert drawn(1).dtype == x.dtype
    assert (drawn(1) == 0).float().mean().item() == pytest.approx(0.25, abs=0.005)
    assert drawn(1).float().mean().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(drawn(1)[0] == 0, drawn(1)[1] == 0)  # each row a mask of its own
    assert torch.equal(layer.eval()(x), x)


def test_standardised_statistics_give_the_same_as_statistics(net):
    seen = net.statistics(pictures(5))
    with torch.no_grad():
        torch.testing.assert_close(net.from_standardised(net.standardised(seen)), net.from_statistics(seen))
    assert net.standardised(seen).abs().max() <= 8
