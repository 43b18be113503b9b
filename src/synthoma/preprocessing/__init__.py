"""Steps ``Scan → Scan`` and sampling ``Scan → Samples``; pure, one patient at a time."""

from synthoma.preprocessing.body_mask import BodyMask
from synthoma.preprocessing.crop_roi import CropRoi
from synthoma.preprocessing.equalise import Equalise
from synthoma.preprocessing.median import Median
from synthoma.preprocessing.n4 import N4
from synthoma.preprocessing.normalise import Normalise
from synthoma.preprocessing.options import STEPS, PreprocessingOptions, Step, preprocess, sample
from synthoma.preprocessing.patches import PatchSampling
from synthoma.preprocessing.reorient import Reorient
from synthoma.preprocessing.resample import Resample
from synthoma.preprocessing.resize import Resize
from synthoma.preprocessing.sampling import SliceSampling, VolumeSampling
from synthoma.preprocessing.skull_strip import SkullStrip, is_stripped
from synthoma.preprocessing.stretch import Stretch
from synthoma.preprocessing.volume import ResizeVolume
from synthoma.preprocessing.windows import Windows

__all__ = [
    "N4",
    "STEPS",
    "BodyMask",
    "CropRoi",
    "Equalise",
    "Median",
    "Normalise",
    "PatchSampling",
    "PreprocessingOptions",
    "Reorient",
    "Resample",
    "Resize",
    "ResizeVolume",
    "SkullStrip",
    "SliceSampling",
    "Step",
    "Stretch",
    "VolumeSampling",
    "Windows",
    "is_stripped",
    "preprocess",
    "sample",
]
