"""From a checkpoint to a synthetic cohort: reconstruct, transplant, remove."""

from synthoma.generation.options import GenerationOptions

__all__ = ["GenerationOptions"]
