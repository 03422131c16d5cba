"""The trunk of two halves: both unit, both used, and the same function through timm."""

import timm
import torch

from gaea.rag.orbitnet import fit_filters
from gaea.rag.orbitpair import NAME, TINY, OrbitPair, StageNet


def pictures(n=6, side=64, seed=0):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def fitted():
    torch.manual_seed(0)
    net = timm.create_model(TINY, num_classes=32)
    fit_filters(net.textures, pictures(12), torch.Generator().manual_seed(0), patches=800)
    net.textures.fix_standard(net.textures.statistics(pictures(40, seed=1)))
    return net.eval()


def test_timm_builds_it_by_name_and_it_stays_small():
    net = timm.create_model(NAME, num_classes=128)
    assert isinstance(net, OrbitPair)
    assert sum(p.numel() for p in net.parameters()) < 8.5e6


def test_each_half_is_one_networks_unit_vector():
    net, x = fitted(), pictures()
    with torch.no_grad():
        whole, textures, shapes = net(x), net.textures(x), net.shapes(x)
    assert whole.shape == (6, 32)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(6))
    for half, own in ((whole[:, :16], textures), (whole[:, 16:], shapes)):
        torch.testing.assert_close(half, torch.nn.functional.normalize(own, dim=1) * 0.5**0.5)
    # The cosine of two embeddings is the mean of the cosines of their halves.
    apart = [torch.cosine_similarity(part[:1], part[1:]) for part in (textures, shapes)]
    torch.testing.assert_close(whole[:1] @ whole[1:].T, ((apart[0] + apart[1]) / 2)[None])


def test_pictures_do_not_depend_on_their_batch():
    net, x = fitted(), pictures()
    with torch.no_grad():
        torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-4, atol=1e-5)


def test_every_stage_but_the_first_reaches_the_output():
    torch.manual_seed(0)
    net = StageNet(8, layers=(1, 1, 1, 1), channels=(8, 16, 24, 32), stem=8).eval()
    net(pictures()).square().sum().backward()
    assert net.head.weight.shape == (8, 16 + 24 + 32)
    for stage in (net.body.conv1, net.body.layer1, net.body.layer2, net.body.layer3, net.body.layer4):
        assert max(p.grad.abs().max() for p in stage.parameters()) > 0


def test_strangeness_is_that_of_the_textures():
    net, x = fitted(), pictures()
    torch.testing.assert_close(net.strangeness(x), net.textures.strangeness(x))
