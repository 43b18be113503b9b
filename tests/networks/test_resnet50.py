"""ResNet-50: torchvision's names and shapes, what it computes, and how its first layer meets other channels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from synthoma.errors import InputError
from synthoma.networks.classifiers import NormalisedResNet50
from synthoma.networks.pretrained import resnet50
from synthoma.networks.resnet50 import ResNet50
from synthoma.storage import file_sha256

STAGES = {1: (64, 3), 2: (128, 4), 3: (256, 6), 4: (512, 3)}


def batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    parts: dict[str, tuple[int, ...]] = {
        f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")
    }
    return parts | {f"{name}.num_batches_tracked": ()}


def public_layout() -> dict[str, tuple[int, ...]]:
    """Name → shape in torchvision's ``resnet50`` state dict, written down from the paper's table and its file."""
    layout: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)} | batch_norm("bn1", 64)
    inputs = 64
    for number, (width, blocks) in STAGES.items():
        for block in range(blocks):
            name = f"layer{number}.{block}"
            layout |= {f"{name}.conv1.weight": (width, inputs, 1, 1)} | batch_norm(f"{name}.bn1", width)
            layout |= {f"{name}.conv2.weight": (width, width, 3, 3)} | batch_norm(f"{name}.bn2", width)
            layout |= {f"{name}.conv3.weight": (4 * width, width, 1, 1)} | batch_norm(f"{name}.bn3", 4 * width)
            if block == 0:
                layout |= {f"{name}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                layout |= batch_norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return layout | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


def random_state() -> dict[str, Tensor]:
    """Random weights in the public layout, scaled so that signals neither die nor explode."""
    random = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, shape in public_layout().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith(".weight")):
            state[name] = 0.5 + torch.rand(shape, generator=random)
        elif len(shape) > 1:
            state[name] = torch.randn(shape, generator=random) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        else:
            state[name] = 0.1 * torch.randn(shape, generator=random)
    return state


def functional(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network written out on its weights alone."""

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, scale, shift = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    x = F.relu(norm("bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for number, (_, blocks) in STAGES.items():
        for block in range(blocks):
            name = f"layer{number}.{block}"
            stride = 2 if block == 0 and number > 1 else 1
            y = F.relu(norm(f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"])))
            y = F.relu(norm(f"{name}.bn2", F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)))
            y = norm(f"{name}.bn3", F.conv2d(y, state[f"{name}.conv3.weight"]))
            if block == 0:
                x = norm(f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride))
            x = F.relu(x + y)
    return F.linear(x.flatten(2).mean(2), state["fc.weight"], state["fc.bias"])


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        network = ResNet50()
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == public_layout()
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032  # as torchvision documents


def test_computes_what_is_written_down() -> None:
    state = {name: value.double() for name, value in random_state().items()}
    x = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(1)).double()
    network = ResNet50().double().eval()
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        torch.testing.assert_close(network(x), functional(state, x))
        assert network.features(x).shape == (2, 2048)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_users_file_meets_other_channels(tmp_path: Path, suffix: str) -> None:
    """A grey image in each of several channels is answered as the same image in red, green and blue."""
    state, path = random_state(), tmp_path / f"resnet50{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, path)
    grey = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2)).double()
    network = ResNet50().eval()
    network.load_state_dict(state)
    network.double()
    with torch.no_grad():
        expected = network.features(grey.expand(-1, 3, -1, -1))
        for channels in (1, 2, 3):
            adapted, sha256 = resnet50(path, channels, 1)
            assert (sha256, adapted.training) == (file_sha256(path), False)
            found = adapted.double().features(grey.expand(-1, channels, -1, -1))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)  # the weights' mean is of 32 bits
            assert adapted(grey.expand(-1, channels, -1, -1)).shape == (1, 1)


@pytest.mark.parametrize("change", ["renamed", "missing", "surplus", "shape"])
def test_another_layout_is_refused_by_name(tmp_path: Path, change: str) -> None:
    state = {name: torch.zeros(shape) for name, shape in public_layout().items()}
    if change == "renamed":
        state["backbone.conv1.weight"] = state.pop("conv1.weight")
    elif change == "missing":
        del state["layer3.5.bn3.running_var"]
    elif change == "surplus":
        state["layer1.3.conv1.weight"] = torch.zeros(1)
    else:
        state["fc.weight"] = torch.zeros(2, 2048)
    save_file(state, tmp_path / "w.safetensors")
    culprit = {"renamed": "backbone.conv1.weight", "missing": "layer3.5.bn3.running_var",
               "surplus": "layer1.3.conv1.weight", "shape": "fc.weight"}  # fmt: skip
    with pytest.raises(InputError) as caught:
        resnet50(tmp_path / "w.safetensors", 1, 1)
    assert f"torchvision's resnet50, found a difference at {culprit[change]}" in str(caught.value)


def test_small_images_are_enlarged_and_normalised() -> None:
    """A black image is −mean/std of ImageNet's grey; sides below 96 pixels are enlarged first."""
    seen: list[Tensor] = []

    class Spy(ResNet50):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.mean(dim=(1, 2, 3))[:, None]

    with torch.device("meta"):
        spy = Spy(2, 1)
    NormalisedResNet50(spy)(torch.full((1, 2, 48, 60), -1.0))
    assert seen[0].shape == (1, 2, 96, 120)
    assert seen[0].mean().item() == pytest.approx(-0.449 / 0.226, abs=1e-3)
