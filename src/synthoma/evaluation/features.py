"""Features of images: what a network trained on photographs makes of them, one vector a channel."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import MissingPartError, SettingError, describe
from synthoma.records import Cohort
from synthoma.storage import write_bytes

if TYPE_CHECKING:
    import torch

__all__ = ["LITE0", "Features", "lesion_patches", "torch_device"]

LITE0 = "efficientnet-lite0"
"""The extractor that is always there."""
BATCH = 8
PATCH = 96
"""Side that every lesion patch is resized to."""
PATCH_MARGIN = 1.5
"""Side of the crop over the longer side of the lesion's bounding box: the tumour and what is around it."""
PATCH_LEAST = 16
"""A crop is at least so many pixels a side: a lesion of three pixels has no texture to compare."""

Device = Literal["auto", "cpu", "cuda"]


class Features:
    """Looks up or computes features; each image once, whatever family asks.

    With a ``cache`` folder the vectors of each set that was asked for are stored as one ``.npy`` under the hash of the
    weights and of the images' content: another image, another network or other weights never meet an old vector.

    Args:
        extractor: a name of :data:`synthoma.networks.extractors.EXTRACTORS`.
        weights: the user's file, for those that need one.
        calibration: (n, channel, y, x) real images, which the extractor ``random`` is calibrated on.

    Raises:
        MissingPartError: the extractor needs a file that is not there.
        InputError: the file is damaged or another network's.
    """

    def __init__(
        self,
        cache: Path | None = None,
        device: Device = "auto",
        extractor: str = LITE0,
        weights: Path | None = None,
        calibration: NDArray[Any] | None = None,
    ) -> None:
        self.cache = cache
        self.device = device
        self.extractor = extractor
        self._weights = weights
        self._calibration = calibration
        self._known: dict[str, NDArray[np.float64]] = {}
        if extractor not in (LITE0, "random"):
            self._network("cpu")  # a missing or wrong file is refused now, not after an hour

    @property
    def description(self) -> str:
        """Extractor and hash of its weights, for ``Measurement.method``."""
        how = ", mean over space" if self.extractor != "dinov2" else ", class token"
        return f"{self.extractor} (weights {self._network('cpu')[1][:16]}), {self.width} features{how}"

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        from synthoma.networks.extractors import EXTRACTORS

        return EXTRACTORS[self.extractor].width

    def shown(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width at which an image of ``shape`` is shown to the network."""
        from synthoma.networks.extractors import shown_size

        return shown_size(self.extractor, shape)

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """(n, channel, y, x) in [−1, 1] → (n, channel, width) float64; every channel is shown as three equal ones."""
        count, channels = images.shape[:2]
        flat = np.clip(np.asarray(images, dtype=np.float32), -1, 1).reshape(count * channels, *images.shape[2:])
        head = f"{self._network('cpu')[1]} {self.shown(flat.shape[1:])} {flat.shape[1:]}".encode()
        keys = [hashlib.sha256(head + image.tobytes()).hexdigest() for image in flat]
        missing = [i for i, key in enumerate(keys) if key not in self._known]
        if missing:
            name = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
            path = None if self.cache is None else self.cache / f"features-{name}.npy"
            vectors = _read(path, len(keys))
            if vectors is not None:
                self._known.update(zip(keys, vectors, strict=True))
            else:
                device = torch_device(self.device)
                found = _extract(flat[missing], self.extractor, self._network(str(device))[0], device)
                self._known.update(zip([keys[i] for i in missing], found, strict=True))
                if path is not None:
                    _write(path, np.stack([self._known[key] for key in keys]))
        return np.stack([self._known[key] for key in keys]).reshape(count, channels, -1)

    def _network(self, device: str) -> tuple[Any, str]:
        calibration = self._calibration
        if calibration is None or self.extractor != "random":
            return _network(device, self.extractor, self._weights)
        return _calibrated(device, calibration.shape, np.ascontiguousarray(calibration, dtype=np.float32).tobytes())


def lesion_patches(cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Square crops around the lesion of each sample, resized to 96 × 96: (n, channel, 96, 96).

    The side is 1.5 times the longer side of the bounding box of all lesion parts; a crop that would leave the frame
    is shifted into it. Every sample of ``rows`` must have a lesion.
    """
    import torch
    import torch.nn.functional as F

    order = [cohort.channels.index(name) for name in channels]
    patches = []
    for row in rows.tolist():
        image = np.asarray(cohort.images[row], dtype=np.float32)[order]
        ys, xs = np.nonzero(cohort.lesion(row))
        longest = max(np.ptp(ys), np.ptp(xs)) + 1
        side = int(min(max(round(PATCH_MARGIN * longest), PATCH_LEAST), *image.shape[1:]))
        corner = [
            int(np.clip((low + high + 1) // 2 - side // 2, 0, length - side))
            for low, high, length in ((ys.min(), ys.max(), image.shape[1]), (xs.min(), xs.max(), image.shape[2]))
        ]
        crop = image[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        resized = F.interpolate(
            torch.from_numpy(np.ascontiguousarray(crop))[None], size=(PATCH, PATCH), mode="bicubic", antialias=True
        )
        patches.append(resized[0].clamp(-1, 1).numpy())
    return np.stack(patches)


def torch_device(device: Device) -> torch.device:
    """The device of that name; ``auto``: CUDA when there is one.

    Raises:
        SettingError: CUDA was asked for and is not there.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError(describe("evaluation.device", "a CUDA device", "none", "Use device: auto."))
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


@lru_cache(maxsize=4)
def _network(device: str, extractor: str = LITE0, weights: Path | None = None) -> tuple[Any, str]:
    try:
        from synthoma.networks.extractors import load_extractor

        module, sha256 = load_extractor(extractor, weights)
    except ImportError as error:
        raise MissingPartError(
            describe("efficientnet-lite0", "the package efficientnet_lite_pytorch", "none",
                     "pip install efficientnet_lite_pytorch==0.1.0")
        ) from error  # fmt: skip
    return module.to(device), sha256


@lru_cache(maxsize=2)
def _calibrated(device: str, shape: tuple[int, ...], images: bytes) -> tuple[Any, str]:
    """The extractor ``random`` for these real images."""
    import torch

    from synthoma.networks.extractors import load_extractor

    flat = np.frombuffer(images, dtype=np.float32).reshape(-1, *shape[-2:]).copy()
    module, sha256 = load_extractor("random", calibration=torch.from_numpy(flat))
    return module.to(device), sha256


def _extract(images: NDArray[np.float32], extractor: str, network: Any, device: torch.device) -> NDArray[np.float64]:
    import torch

    from synthoma.networks.extractors import features_of

    found = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).to(device)
        found.append(features_of(extractor, network, batch).cpu().numpy())
    return np.concatenate(found)


def _read(path: Path | None, count: int) -> NDArray[np.float64] | None:
    """Vectors of a set that was stored, or nothing: a damaged file is computed anew."""
    if path is None or not path.is_file():
        return None
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = vectors.ndim == 2 and len(vectors) == count and vectors.dtype == np.float64 and np.isfinite(vectors).all()
    return vectors if fits else None


def _write(path: Path, vectors: NDArray[np.float64]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
