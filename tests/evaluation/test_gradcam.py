"""Grad-CAM: its closed form on a linear network, its shares, and a planted lesion that a network must look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from synthoma.evaluation.classifier import Labelled, train_classifier
from synthoma.evaluation.features import Features
from synthoma.evaluation.gradcam import best_share, enlarged, grad_cam, last_maps, share_inside, uniform_share
from synthoma.evaluation.options import ClassifierOptions


class Pooled(nn.Module):
    """A convolution, its maps averaged over space, a linear layer: Grad-CAM is then w · A / (h w)."""

    def __init__(self, channels: int = 3, relu: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.ReLU() if relu else nn.Identity())
        self.last = nn.Linear(channels, 1)

    def forward(self, x):
        return self.last(self.body(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("sign", [1, -1])
def test_equals_its_closed_form_on_a_linear_network(sign):
    torch.manual_seed(0)
    network, images = Pooled(), torch.randn(5, 1, 12, 16)
    found = grad_cam(network.body, images, lambda x: sign * network(x)[:, 0])
    maps = network.body(images)
    weights = sign * network.last.weight[0, :, None, None] / (maps.shape[2] * maps.shape[3])
    torch.testing.assert_close(found, (weights * maps).sum(dim=1).relu().detach())
    assert found.shape == (5, 6, 8)
    assert not images.requires_grad


def test_no_hook_stays_and_an_image_does_not_depend_on_the_others():
    torch.manual_seed(1)
    network, images = Pooled(relu=True), torch.randn(4, 1, 8, 8)
    together = grad_cam(network.body, images, lambda x: network(x)[:, 0])
    alone = torch.cat([grad_cam(network.body, images[i : i + 1], lambda x: network(x)[:, 0]) for i in range(4)])
    torch.testing.assert_close(together, alone)

    def broken(x):
        network(x)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        grad_cam(network.body, images, broken)
    assert not network.body._forward_hooks


def test_shares_of_a_uniform_a_cold_and_a_pointed_map():
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    inside[:, :4, :4] = True
    within = torch.ones_like(inside)
    within[:, :, 7] = False
    heat = torch.zeros(3, 2, 2)
    heat[0] = 1.0
    heat[2, 0, 0] = 5.0
    found = share_inside(heat, inside, within)
    assert float(found[0]) == pytest.approx(16 / 56)
    assert torch.isnan(found[1])
    assert float(found[2]) > float(found[0])
    assert uniform_share(inside, within).tolist() == pytest.approx([16 / 56] * 3)
    # the enlarged map of one warm pixel, summed by hand
    large = enlarged(heat[2:], (8, 8))[0]
    assert float(found[2]) == pytest.approx(float(large[:4, :4].sum() / large[:, :7].sum()))


def test_no_map_has_a_higher_share_than_the_best():
    random = np.random.default_rng(0)
    inside = torch.from_numpy(random.random((6, 20, 24)) < 0.2)
    within = torch.from_numpy(random.random((6, 20, 24)) < 0.8) | inside
    best = best_share((3, 4), inside, within)
    every = torch.stack(
        [share_inside(torch.eye(12)[i].reshape(1, 3, 4).expand(6, -1, -1), inside, within) for i in range(12)]
    )
    torch.testing.assert_close(best, every.amax(dim=0))
    for _ in range(20):
        heat = torch.from_numpy(random.exponential(size=(6, 3, 4)))
        assert (share_inside(heat, inside, within) <= best + 1e-9).all()


def test_a_trained_network_looks_at_the_planted_lesion():
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    n, side = 64, 24
    positive = np.arange(n) % 2 == 0
    images = random.normal(0, 0.2, (n, 1, side, side)).astype(np.float32)
    masks = np.zeros((n, side, side), bool)
    for i in range(n):
        y, x = random.integers(2, side - 8, 2)
        masks[i, y : y + 6, x : x + 6] = True
        images[i, 0][masks[i]] += 0.8 if positive[i] else 0.0
    network = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    )
    last = nn.Linear(8, 1)
    optimiser = torch.optim.Adam([*network.parameters(), *last.parameters()], lr=0.01)
    x, wanted = torch.from_numpy(images), torch.from_numpy(positive.astype(np.float32))

    def logits(x):
        return last(network(x).mean(dim=(2, 3)))[:, 0]

    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits(x), wanted).backward()
        optimiser.step()
    assert float(((logits(x) > 0) == (wanted > 0)).float().mean()) > 0.95
    some = torch.from_numpy(np.flatnonzero(positive))
    inside = torch.from_numpy(masks)[some]
    found = share_inside(grad_cam(network[3], x[some], logits), inside, torch.ones_like(inside))
    assert float(found.mean()) > 5 * float(uniform_share(inside, torch.ones_like(inside)).mean())


@pytest.mark.slow
def test_the_kept_network_of_a_head_gives_its_probabilities_and_is_explained_by_its_weights():
    random = np.random.default_rng(0)
    parts = []
    for n in (12, 8, 6):
        positive = np.arange(n) % 2 == 0
        images = random.normal(0, 0.2, (n, 2, 96, 96)).astype(np.float32)
        images += 0.4 * positive[:, None, None, None]
        parts.append(Labelled(images.clip(-1, 1), positive, np.array([f"p{i}" for i in range(n)])))
    options = ClassifierOptions(steps=20, batch=8, checks=2, threshold="half")
    found = train_classifier(*parts, options, 0, Features(device="cpu"), keep=True)
    assert train_classifier(*parts, options, 0, Features(device="cpu")).network is None
    network, images = found.network, torch.from_numpy(parts[2].images)
    with torch.no_grad():
        probability = torch.sigmoid(network(images)[:, 0]).numpy()
    assert probability == pytest.approx(found.probability, abs=2e-4)
    # what the last layer reads, weighted, sums to the logit but for the bias, which all images share
    logit = np.log(found.probability / (1 - found.probability))
    assert np.ptp(logit - found.embedding.sum(axis=1)) < 1e-3
    # with a linear layer on pooled maps, Grad-CAM is the class activation map
    heat = grad_cam(last_maps(network), images, lambda x: network(x)[:, 0])
    from synthoma.networks.features import batch_for_network

    with torch.no_grad():
        maps = network.base.extract_features(batch_for_network(images.flatten(0, 1)))
    maps = maps.reshape(len(images), 2 * 1280, *maps.shape[2:])
    expected = (network.last.weight[0, :, None, None] * maps).sum(dim=1).relu() / (maps.shape[2] * maps.shape[3])
    torch.testing.assert_close(heat, expected.detach(), rtol=1e-3, atol=1e-6)


def test_a_network_nobody_knows_is_refused():
    with pytest.raises(TypeError, match="no feature maps are known of a Linear"):
        last_maps(nn.Linear(2, 2))
