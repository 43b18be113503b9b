"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthoma.cohort import AugmentOptions
from synthoma.options import Options

__all__ = ["TrainingOptions"]


class TrainingOptions(Options):
    """How long, how fast, in which precision, and what is kept. The defaults are the study's."""

    epochs: int = Field(200, ge=0)
    """Passes over the training samples, of the larger domain where there are two. 0 keeps the first weights, as a
    control."""
    batch_size: int = Field(8, ge=1)
    """Samples a step, of each domain where there are two; several processes share them."""
    seed: int = Field(0, ge=0)
    """Of weights, order, augmentation and dropout; the same seed gives the same weights."""
    augment: AugmentOptions = AugmentOptions()
    decay_from: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which the learning rate falls linearly to 0; 1 keeps it constant."""
    average_decay: float = Field(0.999, ge=0, lt=1)
    """Of the running average (EMA) of the generator's weights, which draws the images; 0 takes the last weights."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """``auto``: bf16 where the hardware has instructions for it, float32 elsewhere. ``fp16`` scales its losses."""
    compile: bool = False
    """Compile the networks (``torch.compile``): minutes at the start, faster steps on a GPU."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Order of 2D images and weights in memory; ``auto``: on GPUs, where it is measured to help."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains; ``auto`` takes a CUDA device when there is one."""
    threads: int = Field(0, ge=0)
    """Processor threads of each process; 0 takes all cores, an equal share each where there are several."""
    validate_every: int = Field(10, ge=1)
    """Epochs between two looks at the validation patients."""
    validation_samples: int = Field(100, ge=1)
    """At most so many of their slices, spread evenly."""
    best_by: Literal["ssim", "psnr_db"] = "ssim"
    """Which measure over the body of validation patients chooses the best checkpoint."""
    variety: bool = True
    """Log after every epoch how different the images are from each other, and warn of mode collapse."""
    tensorboard: bool = False
    """Write what goes into the log for TensorBoard as well, into ``tensorboard/`` of the run (needs that package)."""
    preview_every: int = Field(10, ge=1)
    """Epochs between two preview pictures."""
    checkpoint_every: int = Field(10, ge=1)
    """Epochs between two saved states; Ctrl-C saves one too."""
