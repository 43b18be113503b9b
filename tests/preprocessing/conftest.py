"""Small scans of known content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from synthoma.records import Grid, Scan


def ellipse(shape: tuple[int, int], radii: tuple[float, float]) -> NDArray[np.bool_]:
    y, x = np.indices(shape)
    return ((y - shape[0] / 2) / radii[0]) ** 2 + ((x - shape[1] / 2) / radii[1]) ** 2 < 1


@pytest.fixture
def make_scan() -> Callable[..., Scan]:
    """``make_scan(channel=array, lesion=mask, …)``: arrays of floats are channels, of bools or uint8 masks."""

    def make(arrays: dict[str, NDArray[Any]], **fields: Any) -> Scan:
        channels = {n: a.astype(np.float32) for n, a in arrays.items() if a.dtype.kind == "f"}
        masks = {n: a.astype(np.uint8) for n, a in arrays.items() if a.dtype.kind != "f"}
        shape = next(iter(arrays.values())).shape
        return Scan(channels, masks, **({"grid": Grid.unknown(shape), "patient": "P1"} | fields))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def head() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A drawn head (14, 128, 128) in noise: scalp, dark bone, brain with ventricles; and its true brain."""
    shape, draw = (128, 128), np.random.default_rng(3)
    image, brain = np.zeros((14, *shape)), np.zeros((14, *shape), dtype=bool)
    for z in range(14):
        scale = np.sqrt(1 - ((z - 6) / 11) ** 2)
        scalp, bone, tissue = (ellipse(shape, (r * 1.15 * scale, r * scale)) for r in (42, 37, 33))
        image[z] = 140 * scalp - 125 * bone + 85 * tissue - 75 * ellipse(shape, (8 * scale, 5 * scale))
        brain[z] = tissue
    image = gaussian_filter(image, (0, 0.7, 0.7)) + draw.normal(0, 2, image.shape)
    return np.abs(image), brain
