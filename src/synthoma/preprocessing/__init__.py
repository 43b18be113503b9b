"""Steps ``Scan → Scan`` and sampling ``Scan → Samples``; pure, one patient at a time."""

from synthoma.preprocessing.n4 import N4
from synthoma.preprocessing.normalise import Normalise
from synthoma.preprocessing.options import STEPS, PreprocessingOptions, Step, preprocess, sample
from synthoma.preprocessing.reorient import Reorient
from synthoma.preprocessing.resize import Resize
from synthoma.preprocessing.sampling import SliceSampling, VolumeSampling
from synthoma.preprocessing.skull_strip import SkullStrip, is_stripped
from synthoma.preprocessing.volume import ResizeVolume

__all__ = [
    "N4",
    "STEPS",
    "Normalise",
    "PreprocessingOptions",
    "Reorient",
    "Resize",
    "ResizeVolume",
    "SkullStrip",
    "SliceSampling",
    "Step",
    "VolumeSampling",
    "is_stripped",
    "preprocess",
    "sample",
]
