"""The perceptual loss: 0 at equality, and its gradient changes the image only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from synthoma.errors import MissingPartError
from synthoma.gans.perceptual import PerceptualLoss, PerceptualOptions
from synthoma.networks.pretrained import VGG19Features


@pytest.fixture(scope="module")
def lite0() -> PerceptualLoss:
    return PerceptualLoss(PerceptualOptions(network="efficientnet-lite0"))


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory: pytest.TempPathFactory) -> PerceptualLoss:
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.manual_seed(0)
    torch.save(VGG19Features().state_dict(), path)
    return PerceptualLoss(PerceptualOptions(network="vgg19", weights=path, layer=4))


@pytest.fixture(params=["lite0", "vgg19"])
def loss(request: pytest.FixtureRequest) -> PerceptualLoss:
    found: PerceptualLoss = request.getfixturevalue(request.param)
    return found


def test_equal_images_cost_nothing_and_others_something(loss: PerceptualLoss) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    assert float(loss(image, image)) == 0
    near, far = image + 0.05 * torch.randn_like(image), image + 0.5 * torch.randn_like(image)
    assert 0 < float(loss(near, image)) < float(loss(far, image))


def test_the_gradient_reaches_the_image_only(loss: PerceptualLoss) -> None:
    image, target = (torch.rand(1, 2, 32, 32).requires_grad_(True) for _ in range(2))
    loss(image, target).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in loss.parameters())


def test_each_channel_is_judged_as_a_grey_image(loss: PerceptualLoss) -> None:
    """Two channels cost the mean of what each costs alone."""
    torch.manual_seed(0)
    image, target = torch.rand(1, 2, 32, 32), torch.rand(1, 2, 32, 32)
    alone = [float(loss(image[:, i : i + 1], target[:, i : i + 1])) for i in range(2)]
    assert float(loss(image, target)) == pytest.approx(sum(alone) / 2, rel=1e-4)


def test_it_judges_in_eval_mode_and_changes_nothing(loss: PerceptualLoss) -> None:
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.train()
    image = torch.rand(2, 1, 32, 32, requires_grad=True)
    first = loss(image, torch.zeros(2, 1, 32, 32))
    first.backward()
    assert not any(module.training for module in loss.modules())
    assert torch.equal(first, loss(image, torch.zeros(2, 1, 32, 32)))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_vgg19_without_a_file_says_what_to_do() -> None:
    with pytest.raises(MissingPartError, match=r"gan\.perceptual\.weights: expected a file") as caught:
        PerceptualLoss(PerceptualOptions(network="vgg19"))
    assert "efficientnet-lite0" in str(caught.value)


def test_only_known_layers_and_weights(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="layer"):
        PerceptualOptions(layer=37)
    with pytest.raises(ValidationError, match="weight"):
        PerceptualOptions(weight=-1)


@pytest.mark.parametrize(("network", "weight", "used"), [("none", 1, False), ("vgg19", 0, False), ("vgg19", 1, True)])
def test_it_is_used_with_a_network_and_a_weight(network: str, weight: float, used: bool) -> None:
    assert PerceptualOptions.model_validate({"network": network, "weight": weight}).used is used
