"""Scans of known truth, drawn by us and written in the true file formats."""

from synthoma.phantoms.brain import BrainPhantomOptions, write_brain_phantom

__all__ = ["BrainPhantomOptions", "write_brain_phantom"]
