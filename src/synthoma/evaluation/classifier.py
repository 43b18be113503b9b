"""The classifier of the utility family: trained alike in every arm, on features or end to end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.cohort.augment import AugmentOptions, augment, draw_augmentation
from synthoma.evaluation.features import Features, torch_device
from synthoma.evaluation.options import ClassifierOptions
from synthoma.evaluation.statistics import spread_over_patients
from synthoma.records import Cohort
from synthoma.seeding import child_seed, generator
from synthoma.storage import file_sha256

__all__ = [
    "METRICS_OF_CLASSIFIER",
    "Labelled",
    "Trained",
    "auc",
    "classification_metrics",
    "drawn",
    "joined",
    "labelled",
    "taken",
    "train_classifier",
]

Float = NDArray[np.float64]
Give = Callable[[int, NDArray[np.intp]], Tensor]
"""(0, 1, 2 for train, validation, test; rows) → the network's input for those samples."""
LIGHT = AugmentOptions(rotate_deg=5, scale=0.05, shift=0.03, gamma=0.1, contrast=0.1)
"""What a network whose every weight learns is shown, unless told otherwise: it soon knows them by heart."""


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
    """½ is the threshold, whichever way it was chosen."""
    steps: list[int]
    validation_loss: list[float]
    best_step: int
    threshold: float
    """The network's own probability that ½ stands for."""
    method: str
    """Network, hash of its weights, training, selection and threshold."""
    embedding: NDArray[np.float32]
    """(n, width) what the last layer reads of each test image, each feature times its weight: they sum to the logit."""
    network: nn.Module | None = None
    """Images (n, channel, y, x) in [−1, 1] → logits (n, 1), in eval mode; where it was asked for."""


def labelled(
    cohort: Cohort, rows: NDArray[np.intp], channels: tuple[str, ...], positive: NDArray[np.bool_], most: int, seed: int
) -> Labelled:
    """At most ``most`` of the samples ``rows``, drawn evenly over their patients; ``positive`` is of all samples."""
    rows = drawn(cohort, rows, most, seed)
    order = [cohort.channels.index(name) for name in channels]
    images: NDArray[Any] = np.asarray(cohort.images[rows])[:, order]
    return Labelled(images, np.asarray(positive)[rows], cohort.table["patient"][rows])


def drawn(cohort: Cohort, rows: NDArray[np.intp], most: int, seed: int) -> NDArray[np.intp]:
    """The samples that :func:`labelled` takes."""
    return rows[spread_over_patients(cohort.table["patient"][rows], most, seed, "utility")]


def joined(parts: Sequence[Labelled]) -> Labelled:
    """One set from several."""
    return Labelled(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "positive", "patients")))


def taken(part: Labelled, rows: NDArray[np.intp]) -> Labelled:
    """Some of the images, in the order of ``rows``."""
    return Labelled(part.images[rows], part.positive[rows], part.patients[rows])


def train_classifier(
    train: Labelled, validation: Labelled, test: Labelled, options: ClassifierOptions, seed: int, features: Features,
    *, keep: bool = False,
) -> Trained:  # fmt: skip
    """Train on ``train`` for a fixed number of steps, keep the weights of the lowest validation loss, predict ``test``.

    Every batch holds as many positive as negative images, drawn with replacement, whatever the arm's proportions;
    the loss on validation images weighs the classes equally as well. Initial weights and draws depend on ``seed`` only.
    ``keep`` asks for the network too, which may be large.

    Raises:
        ValueError: ``train`` or ``validation`` lacks a class.
    """
    for part in (train, validation):
        if part.positive.all() or not part.positive.any():
            raise ValueError("a classifier needs images of both classes to train on and to be selected by")
    parts = (train, validation, test)
    method = _method(options, features)  # before the seed: the first look at a network's weights draws random numbers
    whole = options.trainable == "all"
    device = torch_device(features.device if whole else "cpu")  # the head alone is one small layer
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # new weights, dropped paths
        torch.manual_seed(child_seed(seed, "classifier weights"))
        if whole:
            network, give = _whole(parts, options, seed, device)
            found = _fit(network, give, method, parts, options, seed, device)
            return replace(found, network=network.eval()) if keep else found
        layer, give, joined_to_features = _head(parts, features)
        with _one_thread():
            found = _fit(layer, give, method, parts, options, seed, device)
        return replace(found, network=joined_to_features()) if keep else found


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
    network: nn.Module, give: Give, method: str,
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

    cut = 0.0
    if options.threshold == "validation":
        cut = _best_cut(validation.positive, _logits(network, give, 1, len(validation.positive)))
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    read: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach().cpu()))
    probability = np.asarray(expit(_logits(network, give, 2, len(test.positive)) - cut))
    hook.remove()
    embedding = (torch.cat(read) * last.weight.detach().cpu()).float().numpy()
    return Trained(probability, steps, losses, best_step, float(expit(cut)), method, embedding)


def _method(options: ClassifierOptions, features: Features) -> str:
    """Network, weights, training, selection and threshold, in words."""
    network, shown = features.description, ""
    if options.network == "resnet50":
        file = options.weights
        start = f"weights {file_sha256(file)[:16]}" if isinstance(file, Path) else "untrained at the start"
        network = f"resnet50 ({start})"
    if options.trainable == "all":
        changes = (LIGHT if options.augment is None else options.augment).model_dump(exclude_defaults=True)
        named = ", ".join(f"{name} {value:g}" for name, value in changes.items())
        shown = f", images changed at random ({named})" if named else ", images as they are"
    cut = "best balanced accuracy on validation patients" if options.threshold == "validation" else "0.5"
    return (
        f"{network}, trainable: {options.trainable}{shown}; AdamW, {options.steps} steps, batch {options.batch}, "
        f"classes balanced, lowest validation loss; threshold {cut}"
    )


def _best_cut(positive: NDArray[np.bool_], logits: Float) -> float:
    """The logit that, with all from it on called positive, has the highest balanced accuracy; of equals that next to 0.

    Candidates are 0 and the middles between neighbouring logits.
    """
    known = np.unique(logits)
    cuts = np.concatenate([[0.0], (known[1:] + known[:-1]) / 2])
    sides = (np.sort(logits[positive]), np.sort(logits[~positive]))
    below = [np.searchsorted(side, cuts, side="left") / len(side) for side in sides]
    balanced = np.round((1 - below[0] + below[1]) / 2, 12)
    best = cuts[balanced == balanced.max()]
    return float(best[np.argmin(np.abs(best))])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _logits(network: nn.Module, give: Give, part: int, count: int) -> Float:
    network.eval()
    with torch.inference_mode():
        found = [
            network(give(part, np.arange(i, min(i + 64, count))))[:, 0].double().cpu() for i in range(0, count, 64)
        ]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


def _head(
    parts: tuple[Labelled, Labelled, Labelled], features: Features
) -> tuple[nn.Linear, Give, Callable[[], nn.Module]]:
    """A linear layer on frozen features, standardised by the arm's own training images; and both as one network."""
    vectors = [features(part.images).reshape(len(part.images), -1) for part in parts]
    mean, deviation = vectors[0].mean(axis=0), vectors[0].std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    inputs = [torch.from_numpy(((v - mean) / deviation).astype(np.float32)) for v in vectors]
    layer = nn.Linear(inputs[0].shape[1], 1)
    nn.init.zeros_(layer.weight)  # convex: no start is better than 0
    nn.init.zeros_(layer.bias)

    def joined_to_features() -> nn.Module:
        """The same logits from images: the standardisation goes into the layer's weights."""
        from synthoma.networks.classifiers import FineTunedLite0
        from synthoma.networks.pretrained import efficientnet_lite0

        network = FineTunedLite0(efficientnet_lite0()[0], parts[0].images.shape[1])
        weight = layer.weight.detach().double() / torch.from_numpy(deviation)
        with torch.no_grad():
            network.last.weight.copy_(weight)
            network.last.bias.copy_(layer.bias.double() - weight @ torch.from_numpy(mean))
        return network.eval()

    return layer, lambda part, rows: inputs[part][torch.from_numpy(rows)], joined_to_features


def _whole(
    parts: tuple[Labelled, Labelled, Labelled], options: ClassifierOptions, seed: int, device: torch.device
) -> tuple[nn.Module, Give]:
    """A network to train as a whole, and what it is shown."""
    from synthoma.networks.classifiers import FineTunedLite0, NormalisedResNet50
    from synthoma.networks.pretrained import efficientnet_lite0, resnet50
    from synthoma.networks.resnet50 import ResNet50

    channels = parts[0].images.shape[1]
    if options.network == "efficientnet-lite0":
        network: nn.Module = FineTunedLite0(efficientnet_lite0()[0], channels)
    elif isinstance(options.weights, Path):
        network = NormalisedResNet50(resnet50(options.weights, channels, 1)[0])
    else:
        network = NormalisedResNet50(ResNet50(channels, 1))
    changes = LIGHT if options.augment is None else options.augment
    random = generator(seed, "classifier augmentation")

    def give(part: int, rows: NDArray[np.intp]) -> Tensor:
        images = torch.from_numpy(np.clip(np.asarray(parts[part].images[rows], dtype=np.float32), -1, 1))
        if part == 0:
            drawn = [draw_augmentation(changes, random) for _ in range(len(rows))]
            images, _ = augment(images, torch.zeros_like(images[:, :1]), drawn, changes)
        return images.to(device)

    return network, give


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
