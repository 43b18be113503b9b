"""What the training looks at while it runs: validation patients, the variety of its images, preview pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.errors import CohortError, SettingError, describe
from synthoma.gans import Examples, Gan
from synthoma.records import Cohort
from synthoma.seeding import generator
from synthoma.similarity import psnr_db, ssim_map
from synthoma.storage import write_bytes

__all__ = ["Variety", "draw_rows", "examples_of", "score", "spread", "write_preview"]

RANGE = 2.0  # the cohort's window, [-1, 1]
MOST_DB = 100.0  # stands for the infinite PSNR of two equal images, which a log cannot hold
VARIETY_IMAGES = 16
COLLAPSE = 0.5
"""A ratio of diversities below this warns of mode collapse."""
Networks = Mapping[str, nn.Module]


def spread(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most ``most`` of ``rows``, evenly spread."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(int)])


def examples_of(gan: Gan, cohort: Cohort, rows: NDArray[np.intp]) -> Examples:
    """The samples of some rows on the GAN's device; each with noise of its own where images are made from noise."""
    noise = None
    if gan.latent:
        drawn = [generator(0, "look", int(row)).standard_normal(gan.latent, np.float32) for row in rows]
        noise = torch.from_numpy(np.stack(drawn))
    return Examples(
        torch.from_numpy(np.asarray(cohort.images[rows], dtype=np.float32)),
        torch.from_numpy(np.asarray(cohort.masks[rows], dtype=np.float32)),
        gan.layout.label_indices(cohort.table["label"][rows].tolist()),
        noise,
    ).to(gan.device)


@torch.no_grad()
def draw_rows(
    gan: Gan, networks: Networks, cohort: Cohort, rows: NDArray[np.intp], way: str, batch_size: int = 8
) -> NDArray[np.float32]:
    """Images (n, channel, [z,] y, x) that the networks make of ``rows``.

    Raises:
        SettingError: they hold NaN or infinity.
    """
    for network in networks.values():
        network.eval()
    made = []
    for start in range(0, len(rows), batch_size):
        examples = examples_of(gan, cohort, rows[start : start + batch_size])
        made.append(gan.draw(networks, examples, way).cpu().numpy())
    images = np.concatenate(made)
    if not np.isfinite(images).all():
        remedy = "Try --set training.precision=float32 or a smaller gan.learning_rate; the last saved state is good."
        raise SettingError(describe(f"images drawn ({way})", "finite numbers", "NaN or infinity", remedy))
    return images


def score(gan: Gan, networks: Networks, cohort: Cohort, rows: NDArray[np.intp]) -> dict[str, float]:
    """Mean SSIM and PSNR over the body, per patient first, of what ``gan.compared`` makes of ``rows``."""
    channels = gan.channels(gan.compared)[1]
    made = draw_rows(gan, networks, cohort, rows, gan.compared)
    by_patient: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i, row in enumerate(rows):
        body = cohort.body(int(row))
        if not body.any():
            continue
        for j, name in enumerate(channels):
            real = np.asarray(cohort.images[row, cohort.channels.index(name)], dtype=np.float64)
            fake = made[i, j].astype(np.float64)
            ssim = float(ssim_map(real, fake, RANGE)[body].mean())
            by_patient[str(cohort.table["patient"][row])].append((ssim, min(psnr_db(real, fake, RANGE, body), MOST_DB)))
    if not by_patient:
        raise CohortError(describe("validation samples", "a body in at least one of them", "none"))
    means = np.array([np.mean(values, axis=0) for values in by_patient.values()])
    ssim, psnr = means.mean(axis=0)
    return {"ssim": float(ssim), "psnr_db": float(psnr)}


class Variety:
    """How different the images of one fixed draw are from each other, beside real ones: mode collapse made visible.

    Mean distance of every two of 16 images in the features of EfficientNet-Lite0, over that of 16 real training images
    (EVIDENCE.md §2). Volumes are looked at in their middle slice.
    """

    def __init__(self, gan: Gan, cohort: Cohort, sides: tuple[NDArray[np.intp], ...]) -> None:
        from synthoma.networks.pretrained import efficientnet_lite0

        way = gan.makes[0]
        self.gan, self.cohort, self.way = gan, cohort, way
        self.network = efficientnet_lite0()[0].to(gan.device).eval()
        count = min(VARIETY_IMAGES, *(len(side) for side in sides))
        self.rows = spread(sides[0], count)
        names = [cohort.channels.index(name) for name in gan.channels(way)[1]]
        real = np.asarray(cohort.images[spread(sides[-1], count)], dtype=np.float32)[:, names]
        self.real = self._distance(torch.from_numpy(real).to(gan.device)) if count > 1 else 0.0

    def __call__(self, networks: Networks) -> float | None:
        """The ratio for these networks; ``None`` where there are too few images, or no two real ones differ."""
        if self.real == 0:
            return None
        made = draw_rows(self.gan, networks, self.cohort, self.rows, self.way)
        return self._distance(torch.from_numpy(made).to(self.gan.device)) / self.real

    def _distance(self, images: Tensor) -> float:
        from synthoma.networks.features import lite0_features

        if images.ndim == 5:
            images = images[:, :, images.shape[2] // 2]
        features = torch.stack([lite0_features(self.network, images[:, c]) for c in range(images.shape[1])], dim=1)
        return float(torch.stack([torch.pdist(features[:, c]).mean() for c in range(images.shape[1])]).mean())


def write_preview(path: Path, gan: Gan, networks: Networks, cohort: Cohort, rows: NDArray[np.intp]) -> None:
    """A PNG, a row a sample: what the GAN is shown, what it makes, and the real image of those channels.

    8-bit grey, for the eye only. What is translated there and back stands between: source, translation, back again.
    """
    import io

    from PIL import Image

    way = gan.makes[0]
    examples = examples_of(gan, cohort, rows)
    shown, target = gan.channels(way)
    columns = [gan.layout.stack(shown, examples.images, examples.masks).cpu().numpy()] if shown else []
    columns.append(draw_rows(gan, networks, cohort, rows, way))
    if gan.compared and gan.compared != way:
        columns.append(draw_rows(gan, networks, cohort, rows, gan.compared))
    columns.append(gan.layout.stack(target, examples.images, examples.masks).cpu().numpy())
    tiles = np.concatenate(columns, axis=1)  # (n, columns, [z,] y, x)
    if tiles.ndim == 5:
        tiles = tiles[:, :, tiles.shape[2] // 2]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles], axis=0)
    buffer = io.BytesIO()
    Image.fromarray(((grid + 1) * 127.5).clip(0, 255).astype(np.uint8)).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
