"""From a checkpoint to a synthetic cohort: reconstruct, transplant, remove, redraw."""

from synthoma.generation.options import GenerationOptions

__all__ = ["GenerationOptions"]
