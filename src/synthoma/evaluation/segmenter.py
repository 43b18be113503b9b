"""A small U-Net that finds lesions, trained on real training patients: does it find those that were asked for?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from synthoma.evaluation.options import SegmenterOptions
from synthoma.networks.unet import UNet, depth_for
from synthoma.records import Cohort
from synthoma.seeding import child_seed, generator

__all__ = ["Segmenter", "train_segmenter"]

Segmenter = Callable[[NDArray[Any]], NDArray[np.bool_]]
"""(n, channel, y, x) in [−1, 1] → (n, y, x): where it sees a lesion."""
MOST_LEVELS = 4
BATCH = 16


def train_segmenter(
    cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], options: SegmenterOptions, seed: int,
    device: torch.device,
) -> Segmenter | None:  # fmt: skip
    """Train on the real samples ``rows`` for a fixed number of steps; half of every batch has a lesion.

    The loss is cross-entropy plus one minus the soft Dice of the batch (Milletari 2016, arXiv 1606.04797). ``None``
    where there are no lesions to learn from, or the sides are not divisible by 4.
    """
    order = [cohort.channels.index(name) for name in channels]
    depth = min(depth_for(side, MOST_LEVELS) for side in cohort.images.shape[2:])
    masks = np.stack([cohort.lesion(row) for row in rows.tolist()]) if len(rows) else np.zeros((0, 1, 1), dtype=bool)
    has = masks.any(axis=(1, 2))
    if depth < 2 or not has.any():
        return None
    sides = [np.flatnonzero(has), np.flatnonzero(~has)] if not has.all() else [np.flatnonzero(has)]
    random = generator(seed, "segmenter", *channels)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(child_seed(seed, "segmenter weights"))
        network = UNet(len(order), 1, depth=depth, width=options.width, norm="instance", dropout=0, upsample="resize")
    network.to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, total_steps=options.steps)
    for _ in range(options.steps):
        chosen = np.concatenate([random.choice(side, max(1, options.batch // len(sides))) for side in sides])
        images = np.asarray(cohort.images[rows[chosen]], dtype=np.float32)[:, order]
        target = torch.from_numpy(masks[chosen].astype(np.float32))[:, None].to(device)
        probability = _probability(network, torch.from_numpy(images).clamp(-1, 1).to(device))
        overlap = 2 * (probability * target).sum() / (probability.sum() + target.sum() + 1)
        loss = F.binary_cross_entropy(probability, target) + 1 - overlap
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()

    def segment(images: NDArray[Any]) -> NDArray[np.bool_]:
        found = []
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.asarray(images[start : start + BATCH], dtype=np.float32)).clamp(-1, 1)
            with torch.inference_mode():
                found.append((_probability(network, batch.to(device))[:, 0] > 0.5).cpu().numpy())
        return np.concatenate(found)

    return segment


def _probability(network: UNet, images: torch.Tensor) -> torch.Tensor:
    """Its tanh moved to (0, 1), away from the ends, where the logarithm has none."""
    moved: torch.Tensor = (network(images) + 1) / 2
    return moved.clamp(1e-6, 1 - 1e-6)
