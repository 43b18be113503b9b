"""Settings of the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from synthoma.cohort.augment import AugmentOptions
from synthoma.errors import MissingPartError, describe, did_you_mean
from synthoma.options import Options

__all__ = [
    "ARMS",
    "FAMILIES",
    "ClassifierOptions",
    "EmbeddingOptions",
    "EvaluationOptions",
    "ExplainOptions",
    "RecognitionOptions",
    "SegmenterOptions",
    "UtilityOptions",
]

FAMILIES = (
    "similarity", "distribution", "embedding", "structure", "recognition", "utility", "explain", "privacy",
)  # fmt: skip


ARMS = ("real", "real+duplicates", "real+classical", "real+synthetic", "synthetic")
"""What the classifier of the utility family may be trained on."""


class ClassifierOptions(Options):
    """The classifier of the utility and recognition families: trained alike for every arm and question."""

    network: Literal["efficientnet-lite0", "resnet50"] = "efficientnet-lite0"
    """EfficientNet-Lite0 with its embedded ImageNet weights, or ResNet-50, whose weights are the user's."""
    weights: Path | Literal["none"] | None = None
    """``resnet50`` only: a file of its ImageNet weights in torchvision's layout (``synthoma weights list``), or
    ``none`` for a network that starts untrained."""
    trainable: Literal["head", "all"] = "head"
    """``head``: the network is frozen and a linear layer learns on its features (EfficientNet-Lite0 only); ``all``:
    every weight is trained."""
    augment: AugmentOptions | None = None
    """``trainable: all`` only: random changes of every training image of every arm, each time it is shown. Left out:
    turned by up to 5°, resized and shifted a little, gamma and contrast ±10 %; ``none`` shows them as they are."""
    threshold: Literal["validation", "half"] = "validation"
    """Where an image is called positive: ``validation``, the cut of the highest balanced accuracy on validation
    patients (probabilities are shifted so that it lies at ½); ``half``, the network's own ½."""
    steps: int = Field(default=400, ge=1, le=1_000_000)
    """Optimiser steps, the same for every arm: more images must not mean more training."""
    batch: int = Field(default=32, ge=2, le=4096)
    """Images a step, half of either class."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Of AdamW. For ``trainable: all``, 1e-4 is usual."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Of AdamW."""
    checks: int = Field(default=20, ge=1, le=1000)
    """How many times, at equal intervals, the validation loss is looked at; the weights of the lowest are kept."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.network == "resnet50" and self.trainable == "head":
            raise ValueError("resnet50 is trained as a whole: expected trainable: all, found head")
        if self.network == "resnet50" and self.weights is None:
            raise ValueError("resnet50 needs weights: a file of ImageNet weights, or none to start untrained")
        if self.network != "resnet50" and self.weights is not None:
            raise ValueError(f"{self.network} has its weights embedded: weights belong to network: resnet50")
        if self.trainable == "head" and self.augment is not None:
            raise ValueError("augment: a head on frozen features sees every image once; expected trainable: all")
        return self

    def check_weights(self) -> None:
        """Refuse now what would fail after hours of training.

        Raises:
            MissingPartError: the file of weights is not there.
        """
        if isinstance(self.weights, Path) and not self.weights.is_file():
            setting, expected = "evaluation.classifier.weights", "a file with torchvision's resnet50 weights"
            remedy = f"Name yours with --set {setting}=FILE, or start untrained: --set {setting}=none"
            raise MissingPartError(describe(setting, expected, f"nothing at {self.weights}", remedy))


class UtilityOptions(Options):
    """What the classifier is trained on, arm by arm. All arms take the same number of steps of the same batches."""

    arms: tuple[str, ...] = ARMS
    """``real`` always; ``real+duplicates`` (real images repeated) and ``real+classical`` (real images and changed
    copies of them), each as many as ``real+synthetic``: what more images, and what old means, give by themselves."""
    ratio: float | None = Field(default=None, gt=0, le=100)
    """Synthetic images for each real one; left out, all that there are."""
    ratio_curve: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """Further ratios that ``real+synthetic`` is trained at, such as [0.5, 1, 2]."""
    learning_curve: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Shares of the real training patients that ``real`` and ``real+synthetic`` are trained on too, such as
    [0.25, 0.5, 1]."""
    classical: AugmentOptions = AugmentOptions(
        rotate_deg=10, scale=0.1, shift=0.05, gamma=0.2, contrast=0.1, brightness=0.05
    )
    """Changes of ``real+classical``. Flips are off: say where the anatomy allows them (``flip_left_right: true``)."""
    margin: float = Field(default=0.02, gt=0, lt=1)
    """Balanced accuracies that differ by less are called equal, if two one-sided tests show it: 0.02 is two points."""

    @field_validator("arms")
    @classmethod
    def _known_arms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ARMS:
                raise ValueError(f"unknown arm '{name}'. {did_you_mean(name, ARMS)}")
        if "real" not in names or len(set(names)) != len(names):
            raise ValueError(f"expected 'real' and others of {', '.join(ARMS)}, each once, found {list(names)}")
        return tuple(name for name in ARMS if name in names)

    @field_validator("ratio_curve", "learning_curve")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"expected rising numbers, each once, found {list(values)}")
        return values


class SegmenterOptions(Options):
    """The U-Net of the structure family that marks lesions, trained on real training patients only."""

    steps: int = Field(default=400, ge=1, le=100_000)
    """Optimiser steps, a fixed number."""
    batch: int = Field(default=8, ge=2, le=256)
    """Images a step, half of them with a lesion."""
    width: int = Field(default=12, ge=4, le=256)
    """Channels of its first level."""
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    """The highest of a cycle, of AdamW."""


class EmbeddingOptions(Options):
    """t-SNE and PCA of real and synthetic images, and the clusters that they form."""

    images: int = Field(default=100, ge=8, le=2000)
    """At most so many images of each set are drawn as points, evenly over its patients."""
    perplexity: float = Field(default=30.0, ge=2, le=500)
    """Of t-SNE: about how many neighbours a point has. With few points it is a third of their number at most."""


class ExplainOptions(Options):
    """Heat-maps of what the classifier and the discriminator look at (Grad-CAM)."""

    images: int = Field(default=64, ge=4, le=10_000)
    """At most so many test images with a lesion are looked at, evenly over their patients."""


class RecognitionOptions(Options):
    """What the classifier of the recognition family is asked."""

    by: tuple[Literal["channel", "label", "modality", "site"], ...] = Field(
        default=("channel", "label", "modality", "site"), min_length=1
    )
    """What the two classes differ in. Each that a cohort can be asked by trains a classifier of its own."""


class EvaluationOptions(Options):
    """What is measured of a synthetic cohort, and how."""

    families: tuple[str, ...] = FAMILIES
    """Families of measurements to compute."""
    seed: int = Field(default=0, ge=0)
    """Of every draw: bootstraps, subsets, the classifier."""
    bootstrap_draws: int = Field(default=2000, ge=100, le=100_000)
    """Draws of patients for each bootstrap interval."""
    extractor: Literal["efficientnet-lite0", "inception-v3", "radimagenet-resnet50", "dinov2", "random"] = (
        "efficientnet-lite0"
    )
    """The network whose features the distribution and privacy families compare: the embedded one, one whose weights are
    the user's (``synthoma weights list``), or ``random``, the embedded one untrained, as a control. Numbers of
    different extractors are never comparable."""
    extractor_weights: Path | None = None
    """The file of weights of ``inception-v3``, ``radimagenet-resnet50`` or ``dinov2``."""
    max_images: int = Field(default=400, ge=10)
    """At most so many images of a set go through the feature network, drawn evenly over its patients."""
    interval: Literal["jackknife", "subsampling"] = "jackknife"
    """Of the distances: patients left out in turn, or ``subsamples`` draws of half of the patients."""
    subsamples: int = Field(default=1000, ge=100, le=100_000)
    """Draws of ``interval: subsampling``."""
    jackknife_groups: int = Field(default=20, ge=3)
    """With more patients than this, the jackknife of distances leaves out groups of them instead of single ones."""
    classifier: ClassifierOptions = ClassifierOptions()
    utility: UtilityOptions = UtilityOptions()
    embedding: EmbeddingOptions = EmbeddingOptions()
    explain: ExplainOptions = ExplainOptions()
    recognition: RecognitionOptions = RecognitionOptions()
    segmenter: SegmenterOptions | None = None
    """Of the structure family: marks lesions in synthetic and real images. Off when left out: its training takes about
    a minute a set of channels (``segmenter: {}`` turns it on)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; ``auto`` takes a CUDA device when there is one."""

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FAMILIES:
                raise ValueError(f"unknown family '{name}'. {did_you_mean(name, FAMILIES)}")
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected one or more different families of {', '.join(FAMILIES)}, found {list(names)}")
        return names

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.extractor_weights is not None and self.extractor in ("efficientnet-lite0", "random"):
            raise ValueError(f"{self.extractor} needs no file: extractor_weights belong to another extractor")
        return self

    def check_extractor(self) -> None:
        """Refuse now what would fail after hours of training.

        Raises:
            MissingPartError: the extractor's file of weights is not there.
        """
        from synthoma.networks.extractors import check_file

        check_file(self.extractor, self.extractor_weights)
