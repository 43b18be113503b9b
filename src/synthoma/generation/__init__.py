"""From a checkpoint to a synthetic cohort: reconstruct, transplant, remove, redraw by a conditional GAN; translate,
back, cycle, redraw by a CycleGAN; sample by a WGAN-GP."""

from synthoma.generation.options import GenerationOptions

__all__ = ["GenerationOptions"]
