"""The extractors whose weights the user brings: public names and shapes, strict files, and what they compute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from synthoma.errors import InputError, MissingPartError
from synthoma.networks.extractors import EXTRACTORS, features_of, load_extractor, shown_size
from synthoma.networks.inception import InceptionV3
from synthoma.networks.vit import DinoV2Small
from synthoma.storage import file_sha256


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inception_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of pytorch-fid's file but the counts of batches, written down from the published tables."""
    units: dict[str, tuple[int, int, int, int]] = {  # name → inputs, outputs, kernel rows, kernel columns
        "Conv2d_1a_3x3": (3, 32, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (32, 64, 3, 3),
        "Conv2d_3b_1x1": (64, 80, 1, 1), "Conv2d_4a_3x3": (80, 192, 3, 3),
    }  # fmt: skip
    for name, inputs, pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        units |= {
            f"Mixed_{name}.{branch}": shape
            for branch, shape in {
                "branch1x1": (inputs, 64, 1, 1), "branch5x5_1": (inputs, 48, 1, 1), "branch5x5_2": (48, 64, 5, 5),
                "branch3x3dbl_1": (inputs, 64, 1, 1), "branch3x3dbl_2": (64, 96, 3, 3),
                "branch3x3dbl_3": (96, 96, 3, 3), "branch_pool": (inputs, pool, 1, 1),
            }.items()
        }  # fmt: skip
    units |= {
        "Mixed_6a.branch3x3": (288, 384, 3, 3), "Mixed_6a.branch3x3dbl_1": (288, 64, 1, 1),
        "Mixed_6a.branch3x3dbl_2": (64, 96, 3, 3), "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
    }  # fmt: skip
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        w = width
        units |= {
            f"Mixed_{name}.{branch}": shape
            for branch, shape in {
                "branch1x1": (768, 192, 1, 1), "branch7x7_1": (768, w, 1, 1), "branch7x7_2": (w, w, 1, 7),
                "branch7x7_3": (w, 192, 7, 1), "branch7x7dbl_1": (768, w, 1, 1), "branch7x7dbl_2": (w, w, 7, 1),
                "branch7x7dbl_3": (w, w, 1, 7), "branch7x7dbl_4": (w, w, 7, 1), "branch7x7dbl_5": (w, 192, 1, 7),
                "branch_pool": (768, 192, 1, 1),
            }.items()
        }  # fmt: skip
    units |= {
        "Mixed_7a.branch3x3_1": (768, 192, 1, 1), "Mixed_7a.branch3x3_2": (192, 320, 3, 3),
        "Mixed_7a.branch7x7x3_1": (768, 192, 1, 1), "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1), "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    }  # fmt: skip
    for name, inputs in (("7b", 1280), ("7c", 2048)):
        units |= {
            f"Mixed_{name}.{branch}": shape
            for branch, shape in {
                "branch1x1": (inputs, 320, 1, 1), "branch3x3_1": (inputs, 384, 1, 1),
                "branch3x3_2a": (384, 384, 1, 3), "branch3x3_2b": (384, 384, 3, 1),
                "branch3x3dbl_1": (inputs, 448, 1, 1), "branch3x3dbl_2": (448, 384, 3, 3),
                "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1),
                "branch_pool": (inputs, 192, 1, 1),
            }.items()
        }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, (inputs, outputs, rows, columns) in units.items():
        shapes[f"{name}.conv.weight"] = (outputs, inputs, rows, columns)
        shapes |= {f"{name}.bn.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def dino_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the public ViT-S/14."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 384), "pos_embed": (1, 1370, 384), "mask_token": (1, 384),
        "patch_embed.proj.weight": (384, 3, 14, 14), "patch_embed.proj.bias": (384,),
        "norm.weight": (384,), "norm.bias": (384,),
    }  # fmt: skip
    for i in range(12):
        shapes |= {
            f"blocks.{i}.norm1.weight": (384,), f"blocks.{i}.norm1.bias": (384,),
            f"blocks.{i}.attn.qkv.weight": (1152, 384), f"blocks.{i}.attn.qkv.bias": (1152,),
            f"blocks.{i}.attn.proj.weight": (384, 384), f"blocks.{i}.attn.proj.bias": (384,),
            f"blocks.{i}.ls1.gamma": (384,), f"blocks.{i}.ls2.gamma": (384,),
            f"blocks.{i}.norm2.weight": (384,), f"blocks.{i}.norm2.bias": (384,),
            f"blocks.{i}.mlp.fc1.weight": (1536, 384), f"blocks.{i}.mlp.fc1.bias": (1536,),
            f"blocks.{i}.mlp.fc2.weight": (384, 1536), f"blocks.{i}.mlp.fc2.bias": (384,),
        }  # fmt: skip
    return shapes


def radimagenet_shapes() -> dict[str, tuple[int, ...]]:
    """ResNet-50 of torchvision as a sequence of its parts, as RadImageNet's authors saved it, without a last layer."""
    shapes: dict[str, tuple[int, ...]] = {"backbone.0.weight": (64, 3, 7, 7)}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)

    norm("backbone.1", 64)
    inputs = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=4):
        for block in range(blocks):
            at = f"backbone.{stage}.{block}"
            for number, (a, b, k) in enumerate(((inputs, width, 1), (width, width, 3), (width, 4 * width, 1)), 1):
                shapes[f"{at}.conv{number}.weight"] = (b, a, k, k)
                norm(f"{at}.bn{number}", b)
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                norm(f"{at}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights of a sensible size under these names."""
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=rng)
        fan = value[0].numel() if value.ndim > 1 else 1
        state[name] = value * (2 / fan) ** 0.5 if value.ndim > 1 else 0.1 * value
        if name.endswith(("running_var", "gamma")) or (name.endswith("weight") and value.ndim == 1):
            state[name] = 1 + 0.1 * value.abs()
    return state


CASES = {"inception-v3": inception_shapes, "dinov2": dino_shapes, "radimagenet-resnet50": radimagenet_shapes}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_the_public_layout_loads_strictly(tmp_path: Path, name: str) -> None:
    state, file = drawn(CASES[name]()), tmp_path / "weights.pth"
    torch.save(state, file)
    network, sha256 = load_extractor(name, file)
    assert sha256 == file_sha256(file)
    assert not network.training
    found = features_of(name, network, torch.linspace(-1, 1, 2 * 40 * 40).reshape(2, 40, 40))
    assert found.shape == (2, EXTRACTORS[name].width)
    assert found.dtype == torch.float64
    assert float(found.std()) > 1e-3
    wrong = dict(state)
    first = next(iter(wrong))
    wrong["extra"] = wrong.pop(first)
    torch.save(wrong, file)
    with pytest.raises(InputError, match=r"weights\.pth: expected the \d+ tensors of .*found a difference at"):
        load_extractor(name, file)
    torch.save({**state, first: torch.zeros(3)}, file)
    with pytest.raises(InputError, match="found a difference at"):
        load_extractor(name, file)
    with pytest.raises(MissingPartError, match="nothing at"):
        load_extractor(name, tmp_path / "absent.pth")


def test_how_many_weights_the_published_networks_have() -> None:
    """23,850,960 of Inception-v3 with 1008 classes; 22,056,576 of ViT-S/14."""
    assert sum(p.numel() for p in InceptionV3().parameters()) == 23_850_960
    assert sum(p.numel() for p in DinoV2Small().parameters()) == 22_056_576


def test_what_each_network_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """White, black: 1 and −1 for Inception and RadImageNet (2 x − 1); ImageNet's mean and deviation for DINOv2."""
    for name, white, black in (
        ("inception-v3", [1.0] * 3, [-1.0] * 3),
        ("radimagenet-resnet50", [1.0] * 3, [-1.0] * 3),
        ("dinov2", [2.24890, 2.42857, 2.64], [-2.11790, -2.03571, -1.80444]),
    ):
        side = EXTRACTORS[name].side
        assert side is not None
        assert shown_size(name, (48, 30)) == (side, side)
        for value, expected in ((1.0, white), (-1.0, black)):
            seen: list[Tensor] = []
            extractor = EXTRACTORS[name]
            replaced = type(extractor)(
                **{**vars(extractor), "answer": lambda _, x, seen=seen: seen.append(x) or torch.zeros(len(x), 1)}
            )
            monkeypatch.setitem(EXTRACTORS, name, replaced)  # type: ignore[arg-type]
            features_of(name, torch.nn.Identity(), torch.full((1, 48, 30), value))
            monkeypatch.undo()
            assert seen[0].shape == (1, 3, side, side)
            assert seen[0].mean(dim=(0, 2, 3)).tolist() == pytest.approx(expected, abs=1e-4)


def unit(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
    """Convolution, batch norm written out, ReLU."""
    y = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, var, weight, bias = (
        state[f"{name}.bn.{p}"].reshape(1, -1, 1, 1) for p in ("running_mean", "running_var", "weight", "bias")
    )
    return ((y - mean) / (var + 1e-3).sqrt() * weight + bias).clamp(min=0)


def test_the_pools_of_inception_are_those_of_the_distance() -> None:
    """The mean leaves the padding out, and the last block takes the largest: block by block, against a plain form."""
    network, state = InceptionV3().eval(), drawn(inception_shapes())
    network.load_state_dict(state, strict=False)
    x = torch.rand(1, 192, 9, 9, generator=torch.Generator().manual_seed(1))
    ones = torch.ones(1, 1, 9, 9)
    mean = F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
    name = "Mixed_5b"
    expected = torch.cat(
        [
            unit(state, f"{name}.branch1x1", x),
            unit(state, f"{name}.branch5x5_2", unit(state, f"{name}.branch5x5_1", x), padding=(2, 2)),
            unit(
                state,
                f"{name}.branch3x3dbl_3",
                unit(state, f"{name}.branch3x3dbl_2", unit(state, f"{name}.branch3x3dbl_1", x), padding=(1, 1)),
                padding=(1, 1),
            ),
            unit(state, f"{name}.branch_pool", mean),
        ],
        dim=1,
    )
    with torch.no_grad():
        assert torch.allclose(network.Mixed_5b(x), expected, atol=1e-4)
        last = torch.rand(1, 2048, 8, 8, generator=torch.Generator().manual_seed(2))
        pooled = unit(state, "Mixed_7c.branch_pool", F.max_pool2d(last, 3, 1, 1))
        assert torch.allclose(network.Mixed_7c(last)[:, -192:], pooled, atol=1e-3)
        before = torch.rand(1, 1280, 8, 8, generator=torch.Generator().manual_seed(3))
        even = F.avg_pool2d(before, 3, 1, 1) / F.avg_pool2d(torch.ones(1, 1, 8, 8), 3, 1, 1)
        assert torch.allclose(network.Mixed_7b(before)[:, -192:], unit(state, "Mixed_7b.branch_pool", even), atol=1e-3)


def test_the_transformer_is_the_written_out_one() -> None:
    """One block with its softmax spelled out; at 518 pixels the positions are taken as they are."""
    network, state = DinoV2Small().eval(), drawn(dino_shapes())
    network.load_state_dict(state, strict=True)
    x = torch.rand(1, 5, 384, generator=torch.Generator().manual_seed(1))
    y = F.layer_norm(x, (384,), state["blocks.3.norm1.weight"], state["blocks.3.norm1.bias"], 1e-6)
    qkv = (y @ state["blocks.3.attn.qkv.weight"].T + state["blocks.3.attn.qkv.bias"])[0]
    heads = []
    for head in range(6):
        q, k, v = (qkv[:, part * 384 + head * 64 : part * 384 + (head + 1) * 64] for part in range(3))
        heads.append(torch.softmax(q @ k.T / 8, dim=1) @ v)
    mixed = torch.cat(heads, dim=1) @ state["blocks.3.attn.proj.weight"].T + state["blocks.3.attn.proj.bias"]
    z = x[0] + state["blocks.3.ls1.gamma"] * mixed
    inner = F.layer_norm(z, (384,), state["blocks.3.norm2.weight"], state["blocks.3.norm2.bias"], 1e-6)
    inner = inner @ state["blocks.3.mlp.fc1.weight"].T + state["blocks.3.mlp.fc1.bias"]
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    inner = inner @ state["blocks.3.mlp.fc2.weight"].T + state["blocks.3.mlp.fc2.bias"]
    with torch.no_grad():
        assert torch.allclose(network.blocks[3](x)[0], z + state["blocks.3.ls2.gamma"] * inner, atol=1e-4)
        assert torch.equal(network._positions(37, 37), state["pos_embed"])
        resized = network._positions(16, 16)
    assert resized.shape == (1, 257, 384)
    assert torch.equal(resized[:, :1], state["pos_embed"][:, :1])
    # a plane of positions stays one, but for the outermost (and but for what a cubic with a = −0.75 does to planes)
    plane = torch.arange(37.0).reshape(37, 1).expand(37, 37)
    network.pos_embed.data[:, 1:] = plane.reshape(1, -1, 1).expand(-1, -1, 384)
    with torch.no_grad():
        rows = network._positions(16, 16)[0, 1:].reshape(16, 16, 384)[:, 5, 0]
    assert rows.diff()[2:-2].tolist() == pytest.approx([37 / 16.1] * 11, rel=0.05)
    assert float(rows[-3] - rows[2]) / 11 == pytest.approx(37 / 16.1, rel=0.01)


def test_the_random_network_needs_real_images_and_lives() -> None:
    with pytest.raises(ValueError, match="calibrate"):
        load_extractor("random")
    images = torch.rand(20, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network, sha256 = load_extractor("random", calibration=images)
    assert float(features_of("random", network, images).std()) > 0.01
    assert load_extractor("random", calibration=images)[1] == sha256
    assert load_extractor("random", calibration=images[:10])[1] != sha256
    assert not any(module.training for module in network.modules())
