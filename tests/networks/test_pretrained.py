"""Pretrained networks: the embedded one gives its golden numbers; files of others load strictly and never run code."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from synthoma.errors import InputError
from synthoma.networks import pretrained
from synthoma.networks.pretrained import VGG19Features, efficientnet_lite0, load_state, vgg19_features
from synthoma.storage import file_sha256

# torchvision's vgg19: index of each convolution in `features` → (inputs, outputs)
CONVOLUTIONS = {
    **{0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)},
    **{16: (256, 256), 19: (256, 512), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512)},
    **{30: (512, 512), 32: (512, 512), 34: (512, 512)},
}


def torchvision_state() -> dict[str, Tensor]:
    """Random weights under torchvision's names, with (much smaller) classifier weights, as its file has them."""
    rng = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = OrderedDict()
    for index, (inputs, outputs) in CONVOLUTIONS.items():
        weight = torch.randn(outputs, inputs, 3, 3, generator=rng) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.weight"] = weight
        state[f"features.{index}.bias"] = torch.randn(outputs, generator=rng) * 0.01
    state["classifier.0.weight"] = torch.zeros(2, 2)
    return state


def test_the_embedded_network_gives_its_golden_features() -> None:
    """Recorded once with the package's own class and the same weights; features are means over space."""
    network, sha256 = efficientnet_lite0()
    ramp = torch.linspace(-1, 1, 224 * 224).reshape(1, 1, 224, 224).expand(-1, 3, -1, -1)
    with torch.no_grad():
        features = network.extract_features(ramp).mean((2, 3))[0]  # type: ignore[operator]
    assert features.shape == (1280,)
    assert float(features.sum()) == pytest.approx(68.81721, abs=1e-3)
    assert float(features.norm()) == pytest.approx(11.7955, abs=1e-3)
    assert int(features.argmax()) == 872
    assert sha256 == pretrained.WEIGHTS["efficientnet-lite0"].sha256
    assert not network.training


def test_another_number_of_classes_gets_a_new_last_layer() -> None:
    network, _ = efficientnet_lite0(classes=3)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vgg19_in_torchvisions_layout_loads_strictly(tmp_path: Path, suffix: str) -> None:
    state, path = torchvision_state(), tmp_path / f"vgg19{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    network, sha256 = vgg19_features(path)
    assert sha256 == file_sha256(path)
    assert not network.training
    x = torch.randn(1, 3, 32, 32)
    wanted, index = x, 0
    for entry in (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512):  # up to features.20, relu4_1
        if entry == "M":
            wanted, index = torch.nn.functional.max_pool2d(wanted, 2, 2), index + 1
            continue
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        wanted, index = torch.relu(torch.nn.functional.conv2d(wanted, weight, bias, padding=1)), index + 2
    with torch.no_grad():
        torch.testing.assert_close(network(x, 20), wanted)


def test_vgg19_has_torchvisions_names() -> None:
    names = {f"features.{index}.{part}" for index in CONVOLUTIONS for part in ("weight", "bias")}
    with torch.device("meta"):
        network = VGG19Features()
    assert set(network.state_dict()) == names
    assert sum(parameter.numel() for parameter in network.parameters()) == 20_024_384  # of torchvision's features


@pytest.mark.parametrize("change", ["renamed", "missing", "surplus", "shape"])
def test_another_layout_is_refused_by_name(tmp_path: Path, change: str) -> None:
    state = {name: torch.zeros(1) for name in torchvision_state()}  # names are compared before shapes
    if change == "renamed":
        state["conv1_1.weight"] = state.pop("features.0.weight")
    elif change == "missing":
        del state["features.34.bias"]
    elif change == "surplus":
        state["features.35.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "w.safetensors")
    culprit = {"renamed": "conv1_1.weight", "missing": "features.34.bias", "surplus": "features.35.weight"}
    with pytest.raises(InputError) as caught:
        vgg19_features(tmp_path / "w.safetensors")
    assert "w.safetensors: expected the 32 convolution weights of torchvision's vgg19" in str(caught.value)
    assert f"difference at {culprit.get(change, 'features.0.bias')}" in str(caught.value)


class Bomb:
    """Runs code when it is unpickled: makes the file ``fuse``."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        import os

        return os.system, (f"touch {self.fuse}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_file_that_carries_code_is_refused_and_never_run(tmp_path: Path, writer: str) -> None:
    path, fuse = tmp_path / "vgg19.pt", tmp_path / "fuse"
    content = {"features.0.weight": Bomb(fuse)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="Files that carry code are never loaded"):
        load_state(path)
    assert not fuse.exists()
    pickle.loads(pickle.dumps(Bomb(fuse)))  # noqa: S301 (the bomb is live: without the guard it would have gone off)
    assert fuse.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: expected a state dict of tensors"):
        load_state(tmp_path / name)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    for suffix, write in ((".pt", torch.save), (".safetensors", save_file)):
        path = tmp_path / f"w{suffix}"
        write({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(InputError, match="cannot be read safely"):
            load_state(path)


def test_a_file_of_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="a state dict of tensors"):
        load_state(tmp_path / "w.pt")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: expected a file of weights, found nothing"):
        load_state(tmp_path / "none.pt")
