"""Scans of known truth, drawn by us and written in the true file formats."""

from synthoma.phantoms.brain import BrainPhantomOptions, write_brain_phantom
from synthoma.phantoms.liver import LiverPhantomOptions, write_liver_phantom
from synthoma.phantoms.lung import LungPhantomOptions, write_lung_phantom

PhantomOptions = BrainPhantomOptions | LiverPhantomOptions | LungPhantomOptions
"""The settings of any phantom; the field ``source`` says which."""

PHANTOM_SOURCES = ("phantom-brain", "phantom-lung", "phantom-liver")

__all__ = [
    "PHANTOM_SOURCES",
    "BrainPhantomOptions",
    "LiverPhantomOptions",
    "LungPhantomOptions",
    "PhantomOptions",
    "write_brain_phantom",
    "write_liver_phantom",
    "write_lung_phantom",
]
