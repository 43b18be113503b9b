"""Training: the loop, its options, its run folder."""

from synthoma.training.options import TrainingOptions
from synthoma.training.run_folder import RunFolder

__all__ = ["RunFolder", "TrainingOptions"]
