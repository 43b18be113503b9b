"""The classifier of the utility family: trained alike in every arm, on features or end to end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.evaluation.features import Features, torch_device
from synthoma.evaluation.options import ClassifierOptions
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.networks.features import batch_for_network
from synthoma.records import Cohort
from synthoma.seeding import child_seed, generator

__all__ = [
    "METRICS_OF_CLASSIFIER",
    "Labelled",
    "Trained",
    "auc",
    "classification_metrics",
    "joined",
    "labelled",
    "train_classifier",
]

Float = NDArray[np.float64]
Give = Callable[[int, NDArray[np.intp]], Tensor]
"""(0, 1, 2 for train, validation, test; rows) → the network's input for those samples."""


@dataclass(frozen=True)
class Labelled:
    """Images of the target channels and whether each is positive."""

    images: NDArray[Any]
    """(n, channel, y, x) in [−1, 1]."""
    positive: NDArray[np.bool_]
    patients: NDArray[Any]


@dataclass(frozen=True)
class Trained:
    """Probabilities of the positive class on the test images, and how training went."""

    probability: Float
    steps: list[int]
    validation_loss: list[float]
    best_step: int


def labelled(
    cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], positive: NDArray[np.bool_], most: int, seed: int
) -> Labelled:
    """At most ``most`` of the samples ``rows``, drawn evenly over their patients; ``positive`` is of all samples."""
    rows = rows[spread_over_patients(cohort.table["patient"][rows], most, seed, "utility")]
    order = [cohort.channels.index(name) for name in channels]
    images: NDArray[Any] = np.asarray(cohort.images[rows])[:, order]
    return Labelled(images, np.asarray(positive)[rows], cohort.table["patient"][rows])


def joined(parts: Sequence[Labelled]) -> Labelled:
    """One set from several."""
    return Labelled(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "positive", "patients")))


def train_classifier(
    train: Labelled, validation: Labelled, test: Labelled, options: ClassifierOptions, seed: int, features: Features
) -> Trained:
    """Train on ``train`` for a fixed number of steps, keep the weights of the lowest validation loss, predict ``test``.

    Every batch holds as many positive as negative images, drawn with replacement, whatever the arm's proportions;
    the loss on validation images weighs the classes equally as well. Initial weights and draws depend on ``seed`` only.

    Raises:
        ValueError: ``train`` or ``validation`` lacks a class.
    """
    for part in (train, validation):
        if part.positive.all() or not part.positive.any():
            raise ValueError("a classifier needs images of both classes to train on and to be selected by")
    parts = (train, validation, test)
    whole = options.trainable == "all"
    device = torch_device(features.device if whole else "cpu")  # the head alone is one small layer
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # new weights, dropped paths
        torch.manual_seed(child_seed(seed, "classifier weights"))
        if whole:
            return _fit(*_whole(parts, device), parts, options, seed, device)
        network, give = _head(parts, features)
        with _one_thread():
            return _fit(network, give, parts, options, seed, device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A single layer is too small to share: on busy cores threads that wait for each other took ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fit(
    network: nn.Module, give: Give,
    parts: tuple[Labelled, Labelled, Labelled], options: ClassifierOptions, seed: int, device: torch.device,
) -> Trained:  # fmt: skip
    """The loop."""
    train, validation, test = parts
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    random = generator(seed, "classifier batches")
    classes = [np.flatnonzero(train.positive), np.flatnonzero(~train.positive)]
    weight = np.where(validation.positive, 0.5 / validation.positive.sum(), 0.5 / (~validation.positive).sum())
    looks = set(np.linspace(0, options.steps, options.checks + 1).round().astype(int)[1:].tolist())
    steps: list[int] = []
    losses: list[float] = []
    best, best_step, best_loss = _copy(network), 0, math.inf
    for step in range(1, options.steps + 1):
        network.train()
        rows = np.concatenate([random.choice(rows, options.batch // 2) for rows in classes])
        wanted = torch.from_numpy(train.positive[rows].astype(np.float32)).to(device)
        loss = F.binary_cross_entropy_with_logits(network(give(0, rows))[:, 0], wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step in looks:
            logits = _logits(network, give, 1, len(validation.positive))
            losses.append(float((weight * np.logaddexp(0, np.where(validation.positive, -logits, logits))).sum()))
            steps.append(step)
            if losses[-1] < best_loss:
                best, best_step, best_loss = _copy(network), step, losses[-1]
    network.load_state_dict(best)
    from scipy.special import expit

    probability = np.asarray(expit(_logits(network, give, 2, len(test.positive))))
    return Trained(probability, steps, losses, best_step)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _logits(network: nn.Module, give: Give, part: int, count: int) -> Float:
    network.eval()
    with torch.inference_mode():
        found = [
            network(give(part, np.arange(i, min(i + 64, count))))[:, 0].double().cpu() for i in range(0, count, 64)
        ]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


def _head(parts: tuple[Labelled, Labelled, Labelled], features: Features) -> tuple[nn.Module, Give]:
    """A linear layer on frozen features, standardised by the arm's own training images."""
    vectors = [features(part.images).reshape(len(part.images), -1) for part in parts]
    mean, deviation = vectors[0].mean(axis=0), vectors[0].std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    inputs = [torch.from_numpy(((v - mean) / deviation).astype(np.float32)) for v in vectors]
    layer = nn.Linear(inputs[0].shape[1], 1)
    nn.init.zeros_(layer.weight)  # convex: no start is better than 0
    nn.init.zeros_(layer.bias)
    return layer, lambda part, rows: inputs[part][torch.from_numpy(rows)]


def _whole(parts: tuple[Labelled, Labelled, Labelled], device: torch.device) -> tuple[nn.Module, Give]:
    """EfficientNet-Lite0 from its ImageNet weights, every weight trained; one channel is shown three times."""
    from synthoma.networks.pretrained import efficientnet_lite0

    channels = parts[0].images.shape[1]
    network = _FineTuned(efficientnet_lite0()[0], channels)

    def give(part: int, rows: NDArray[np.intp]) -> Tensor:
        images = np.clip(np.asarray(parts[part].images[rows], dtype=np.float32), -1, 1)
        return torch.from_numpy(images).to(device)

    return network, give


class _FineTuned(nn.Module):
    """Features of every channel, mean over space, and a new linear layer on all of them."""

    def __init__(self, base: nn.Module, channels: int) -> None:
        super().__init__()
        self.base = base
        self.last = nn.Linear(1280 * channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.base.extract_features(batch_for_network(images.flatten(0, 1)))  # type: ignore[operator]
        return self.last(maps.mean(dim=(2, 3)).reshape(len(images), -1))  # type: ignore[no-any-return]


METRICS_OF_CLASSIFIER = (
    "accuracy", "balanced-accuracy", "sensitivity", "specificity", "precision", "f1", "auc", "brier",
)  # fmt: skip


def classification_metrics(positive: NDArray[np.bool_], probability: Float) -> Float:
    """In the order of :data:`METRICS_OF_CLASSIFIER`, at the threshold ½; NaN where undefined (a class is absent).

    Precision and F1 are 0 where no image is called positive and some are.
    """
    called = probability >= 0.5
    hits, alarms = float((called & positive).sum()), float((called & ~positive).sum())
    n_positive, n_negative = float(positive.sum()), float((~positive).sum())
    sensitivity = hits / n_positive if n_positive else np.nan
    specificity = 1 - alarms / n_negative if n_negative else np.nan
    precision = hits / (hits + alarms) if hits + alarms else (0.0 if n_positive else np.nan)
    f1 = 2 * hits / (n_positive + hits + alarms) if n_positive else np.nan
    return np.array([
        float((called == positive).mean()), (sensitivity + specificity) / 2, sensitivity, specificity, precision, f1,
        auc(positive, probability), float(((probability - positive) ** 2).mean()),
    ])  # fmt: skip


def auc(positive: NDArray[np.bool_], score: Float) -> float:
    """Area under the receiver operating characteristic, by ranks (ties count ½); NaN when a class is absent."""
    from scipy.stats import rankdata

    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(score)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
