"""Networks that describe an image by a vector: how each is loaded, shown a grey image, and asked for its features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthoma.errors import InputError, MissingPartError, describe
from synthoma.networks.features import batch_for_network, feature_size
from synthoma.networks.inception import InceptionV3
from synthoma.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD, WEIGHTS, efficientnet_lite0, load_state
from synthoma.networks.resnet50 import ResNet50
from synthoma.networks.vit import DinoV2Small
from synthoma.storage import file_sha256

__all__ = ["EXTRACTORS", "Extractor", "check_file", "features_of", "load_extractor", "shown_size"]

Size = tuple[int, int]
RANDOM_SEED = 0
"""Of the untrained network: one network for all, so that its numbers can be compared."""
CALIBRATION_BATCH = 16


@dataclass(frozen=True)
class Extractor:
    """A network and what it is asked."""

    build: Callable[[], nn.Module]
    width: int
    """Length of a feature vector."""
    side: int | None
    """Every image is resized to so many pixels a side; ``None``: shown at its own size within 96 to 299 pixels."""
    mean: float | tuple[float, float, float]
    """Taken off values in [0, 1], of each colour."""
    std: float | tuple[float, float, float]
    answer: Callable[[nn.Module, Tensor], Tensor]
    """(network, its input) → (n, width)."""
    file_names: Callable[[str], str | None] = lambda name: name
    """Name of a tensor in the user's file → its name here; ``None`` for what is not used."""
    origin: str = ""
    """Where files of its weights come from, in words."""


def _lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")  # type: ignore[no-any-return]


def _radimagenet_name(name: str) -> str | None:
    """``backbone.4.0.conv1.weight`` → ``layer1.0.conv1.weight``: its authors numbered the parts of torchvision's."""
    parts = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    head, _, rest = name.removeprefix("backbone.").partition(".")
    return f"{parts.get(head, head)}.{rest}"


EXTRACTORS: Mapping[str, Extractor] = {
    "efficientnet-lite0": Extractor(
        _lite0, 1280, None, 127 / 255, 128 / 255, lambda net, x: net.extract_features(x).mean(dim=(2, 3)),  # type: ignore[operator]
    ),
    "random": Extractor(
        _lite0, 1280, None, 127 / 255, 128 / 255, lambda net, x: net.extract_features(x).mean(dim=(2, 3)),  # type: ignore[operator]
    ),
    "inception-v3": Extractor(
        InceptionV3, 2048, 299, 0.5, 0.5, lambda net, x: net(x),
        origin="the project pytorch-fid publishes it with its releases: pt_inception-2015-12-05-6726825d.pth",
    ),
    "radimagenet-resnet50": Extractor(
        lambda: ResNet50(classes=1), 2048, 224, 0.5, 0.5, lambda net, x: net.features(x),  # type: ignore[operator]
        _radimagenet_name, "the authors of RadImageNet give it to those who ask: ResNet50.pt of their PyTorch models",
    ),
    "dinov2": Extractor(
        DinoV2Small, 384, 224, IMAGENET_MEAN, IMAGENET_STD, lambda net, x: net(x),
        origin="the project DINOv2 of Meta publishes it: dinov2_vits14_pretrain.pth (ViT-S/14 without registers)",
    ),
}  # fmt: skip


def shown_size(name: str, shape: tuple[int, ...]) -> Size:
    """Height and width at which an image of ``shape`` is shown."""
    side = EXTRACTORS[name].side
    return feature_size(shape) if side is None else (side, side)


def load_extractor(name: str, weights: Path | None = None, calibration: Tensor | None = None) -> tuple[nn.Module, str]:
    """The network in eval mode, and the SHA-256 of its weights.

    Args:
        weights: the user's file for ``inception-v3``, ``radimagenet-resnet50`` and ``dinov2``, loaded strictly.
        calibration: (n, y, x) in [−1, 1], real images: ``random`` has its batch norms calibrated on them. Untrained and
            uncalibrated the network is dead: its features vanish, and all distances with them.

    Raises:
        MissingPartError: a file of weights is needed and none is there, or a package is missing.
        InputError: the file is damaged, or another network's.
    """
    extractor = EXTRACTORS[name]
    if name == "efficientnet-lite0":
        return efficientnet_lite0()
    if name == "random":
        if calibration is None:
            raise ValueError("the extractor 'random' needs real images to calibrate its batch norms on")
        return _calibrated(extractor, calibration)
    check_file(name, weights)
    assert weights is not None  # noqa: S101 (for the type checker)
    network = extractor.build().eval()
    _fill(network, weights, extractor, name)
    return network, file_sha256(weights)


def check_file(name: str, weights: Path | None) -> None:
    """Refuse an extractor whose file of weights is not there.

    Raises:
        MissingPartError: it says where such files come from.
    """
    if EXTRACTORS[name].origin and (weights is None or not weights.is_file()):
        expected = f"a file of its weights ({WEIGHTS[name].layout})"
        found = "no setting evaluation.extractor_weights" if weights is None else f"nothing at {weights}"
        raise MissingPartError(describe(name, expected, found, f"Get the file: {EXTRACTORS[name].origin}."))


def features_of(name: str, network: nn.Module, images: Tensor) -> Tensor:
    """(n, y, x) in [−1, 1] → (n, width) float64; grey is shown as three equal colours, nothing is rounded to 8 bits."""
    with torch.inference_mode():
        return EXTRACTORS[name].answer(network, _batch(EXTRACTORS[name], images)).double()


def _batch(extractor: Extractor, images: Tensor) -> Tensor:
    if extractor.side is None:
        return batch_for_network(images)
    images = images[:, None].expand(-1, 3, -1, -1)
    if images.shape[-2:] != (extractor.side, extractor.side):
        size = (extractor.side, extractor.side)
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    mean, std = (torch.as_tensor(v, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
                 for v in (extractor.mean, extractor.std))  # fmt: skip
    return ((images + 1) / 2 - mean) / std


def _fill(network: nn.Module, path: Path, extractor: Extractor, name: str) -> None:
    """Load the user's file: every tensor by name and shape, none missing, none left over."""
    own = network.state_dict()
    state = {}
    for key, value in load_state(path).items():
        if (new := extractor.file_names(key)) is not None:
            state[new] = value
    for key, value in own.items():  # files of before PyTorch 0.4.1 do not count batches; nothing reads the count
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros_like(value))
        elif name == "radimagenet-resnet50" and key.startswith("fc."):
            state.setdefault(key, value)  # a backbone without a last layer, which no feature comes from
    wrong = sorted(set(own) ^ set(state)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if wrong:
        expected = f"the {len(own)} tensors of {WEIGHTS[name].layout}"
        raise InputError(describe(path, expected, f"a difference at {wrong[0]}", f"Get the file: {extractor.origin}."))
    network.load_state_dict(state, strict=True)


def _calibrated(extractor: Extractor, images: Tensor) -> tuple[nn.Module, str]:
    """The untrained network with the means and variances of ``images`` in its batch norms, layer by layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        network = extractor.build().eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for start in range(0, len(images), CALIBRATION_BATCH):
        features_of("random", network, images[start : start + CALIBRATION_BATCH])
    network.eval()
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return network, digest.hexdigest()
