"""What the training looks at while it runs: validation patients and preview pictures."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthoma.errors import CohortError, describe
from synthoma.gans import ConditionalGAN
from synthoma.records import Cohort
from synthoma.similarity import psnr_db, ssim_map
from synthoma.storage import write_bytes

__all__ = ["draw_rows", "score", "spread", "write_preview"]

RANGE = 2.0  # the cohort's window, [-1, 1]
MOST_DB = 100.0  # stands for the infinite PSNR of two equal images, which a log cannot hold


def spread(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most ``most`` of ``rows``, evenly spread."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).round().astype(int)])


@torch.no_grad()
def draw_rows(
    gan: ConditionalGAN, network: nn.Module, cohort: Cohort, rows: NDArray[np.intp], batch_size: int = 8
) -> NDArray[np.float32]:
    """Images (n, target, y, x) that ``network`` makes from the conditions of ``rows``."""
    network.eval()
    made = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        images = torch.from_numpy(np.asarray(cohort.images[part], dtype=np.float32)).to(gan.device)
        masks = torch.from_numpy(np.asarray(cohort.masks[part])).to(gan.device)
        made.append(gan.draw(network, images, masks).cpu().numpy())
    return np.concatenate(made)


def score(gan: ConditionalGAN, network: nn.Module, cohort: Cohort, rows: NDArray[np.intp]) -> dict[str, float]:
    """Mean SSIM and PSNR over the body, per patient first, of the reconstructions of ``rows``."""
    made = draw_rows(gan, network, cohort, rows)
    by_patient: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i, row in enumerate(rows):
        body = cohort.body(int(row))
        if not body.any():
            continue
        for j, name in enumerate(gan.options.target):
            real = np.asarray(cohort.images[row, cohort.channels.index(name)], dtype=np.float64)
            fake = made[i, j].astype(np.float64)
            ssim = float(ssim_map(real, fake, RANGE)[body].mean())
            by_patient[str(cohort.table["patient"][row])].append((ssim, min(psnr_db(real, fake, RANGE, body), MOST_DB)))
    if not by_patient:
        raise CohortError(describe("validation samples", "a body in at least one of them", "none"))
    means = np.array([np.mean(values, axis=0) for values in by_patient.values()])
    ssim, psnr = means.mean(axis=0)
    return {"ssim": float(ssim), "psnr_db": float(psnr)}


def write_preview(path: Path, gan: ConditionalGAN, network: nn.Module, cohort: Cohort, rows: NDArray[np.intp]) -> None:
    """A PNG, a row a sample: condition channels, target, what the generator makes; 8-bit grey for the eye only."""
    import io

    from PIL import Image

    made = draw_rows(gan, network, cohort, rows)
    images = torch.from_numpy(np.asarray(cohort.images[rows], dtype=np.float32))
    masks = torch.from_numpy(np.asarray(cohort.masks[rows]))
    shown = torch.cat(
        [gan.layout.stack(gan.options.condition, images, masks), gan.layout.stack(gan.options.target, images, masks)], 1
    )
    tiles = np.concatenate([shown.numpy(), made], axis=1)  # (n, columns, y, x)
    if tiles.ndim == 5:
        tiles = tiles[:, :, tiles.shape[2] // 2]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles], axis=0)
    buffer = io.BytesIO()
    Image.fromarray(((grid + 1) * 127.5).clip(0, 255).astype(np.uint8)).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
