"""A process that does the steps of preprocessing when it is told to: ours, MONAI's, TorchIO's or SimpleITK's.

Each contestant has a process of its own, in a Python that may be another one, so this file imports nothing that MONAI
and TorchIO do not need themselves until it is told who it is. Everybody has one thread, the same scan and, where a peer
has them, the same settings; what differs all the same stands beside the step.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prepare_ours import N4_ITERATIONS, N4_LEVELS, N4_SHRINK, PERCENTS, Array, Step, ours
from prepare_scan import NEW_SPACING_MM, SPACING_MM, WINDOW, affine

UNCHECKED = "no checksum, no checks of the content"
AFFINE = "any affine grid, ours one along the axes"
GRID = f"{AFFINE}; where voxels grow, its grid is off by as much"
CLIPPED = "does not count what it clips"


def monai(what: argparse.Namespace, values: Array, body: NDArray[np.uint8]) -> dict[str, list[Step]]:
    """MONAI's transforms of arrays; its dictionary transforms call these."""
    import torch

    transforms, MetaTensor = import_module("monai.transforms"), import_module("monai.data").MetaTensor
    torch.set_num_threads(1)
    image = MetaTensor(torch.from_numpy(_for_peers(values)), affine=torch.from_numpy(affine(what.kind)))
    mask = MetaTensor(torch.from_numpy(_for_peers(body)), affine=image.affine)
    low, high = WINDOW[what.kind]
    normal = transforms.ScaleIntensityRange(low, high, -1, 1, clip=True)(image)
    half, slices = what.shape[1] // 2, what.shape[0]
    spacing = NEW_SPACING_MM[what.kind]

    def spaced(mode: str | int) -> Any:
        return transforms.Spacing(pixdim=(spacing,) * 3, mode=mode, scale_extent=True, dtype=np.float32)

    def resized(size: tuple[int, ...]) -> Any:
        return transforms.Resize(size, mode="trilinear", anti_aliasing=True)

    def percentiles() -> Any:
        return transforms.ScaleIntensityRangePercentiles(*PERCENTS, -1, 1, clip=True)

    def crop() -> Any:  # as CropForegroundd does with a source_key
        cropper = transforms.CropForeground(margin=0)
        start, end = cropper.compute_bounding_box(mask)
        return cropper.crop_pad(image, start, end)

    equalise = transforms.HistogramNormalize(num_bins=256, min=-1, max=1, mask=_for_peers(body))

    def step(transform: Any, on: Any = image, differs: str = "", variant: str = "") -> list[Step]:
        return [Step(lambda: transform(on), _from_peer, variant, differs)]

    steps = {
        "resample linear": step(spaced("bilinear"), differs=GRID),
        "resample b-spline": step(spaced(3), differs=GRID),
        "resize antialiased": step(resized((half, half, slices)), differs="Gaussian integrated over each voxel"),
        "resize volume": step(resized((half,) * 3), differs="stretches the scan to a cube; ours keeps its aspect"),
        "window": step(transforms.ScaleIntensityRange(low, high, -1, 1, clip=True), differs=CLIPPED),
        "normalise": step(percentiles(), differs=CLIPPED),
        "stretch": step(percentiles(), normal),
        "equalise": step(equalise, normal, "maps what lies outside the body too; the darkest bin becomes −1"),
        "median 3x3": step(transforms.MedianSmooth(radius=(1, 1, 0)), differs="zeros beyond the sides; ours reflects"),
        "median 3x3x3": step(transforms.MedianSmooth(radius=1), differs="zeros beyond the sides; ours reflects"),
        "crop": [Step(crop, _from_peer)],
        "reorient": step(transforms.Orientation(axcodes="RAS")),
    }
    for name, file in _files(what).items():
        readers = ["PydicomReader"] if name == "read DICOM" else ["NibabelReader"]
        for reader in (*readers, *["ITKReader"] * _there("itk")):
            load = transforms.LoadImage(reader=reader, dtype=np.float32)
            turned = "; slices from head to foot" * (reader == "PydicomReader")
            steps.setdefault(name, []).extend(step(load, file, f"{UNCHECKED}{turned}", reader))
    return steps


def torchio(what: argparse.Namespace, values: Array, body: NDArray[np.uint8]) -> dict[str, list[Step]]:
    """TorchIO's transforms, without the copy of the scan that each of them makes by default."""
    import torch

    tio = import_module("torchio")
    torch.set_num_threads(1)
    data, mask, of_file = torch.from_numpy(_for_peers(values)), torch.from_numpy(_for_peers(body)), affine(what.kind)
    low, high = WINDOW[what.kind]
    normal = (data.clamp(low, high) - low) / (high - low) * 2 - 1
    spacing, half, slices = NEW_SPACING_MM[what.kind], what.shape[1] // 2, what.shape[0]

    def step(*transforms: Any, on: Any = data, differs: str = "") -> list[Step]:
        def work() -> Any:
            subject = tio.Subject(image=tio.ScalarImage(tensor=on, affine=of_file))
            for transform in transforms:
                subject = transform(subject)
            return subject.image.data

        return [Step(work, _from_peer, "", differs)]

    def crop() -> Any:
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=data, affine=of_file), body=tio.LabelMap(tensor=mask, affine=of_file)
        )
        return tio.CropOrPad(mask_name="body", copy=False)(subject).image.data

    def rescaled(**how: Any) -> Any:
        return tio.RescaleIntensity((-1, 1), **how, copy=False)

    def resampled(spacing: float, how: str, antialias: bool = False) -> Any:
        return tio.Resample(spacing, image_interpolation=how, antialias=antialias, copy=False)

    steps = {
        "resample linear": step(resampled(spacing, "linear"), differs=AFFINE),
        "resample b-spline": step(resampled(spacing, "bspline"), differs=AFFINE),
        "resample antialiased": step(resampled(2 * spacing, "linear", True), differs="Gaussian of another width"),
        "resize antialiased": step(
            tio.Resize((half, half, slices), copy=False), differs="linear without antialiasing, which it does not have"
        ),
        "resize volume": step(
            tio.Resize((half,) * 3, copy=False), differs="no antialiasing; stretches the scan to a cube"
        ),
        "window": step(tio.Clamp(low, high, copy=False), rescaled(in_min_max=(low, high)), differs=CLIPPED),
        "normalise": step(rescaled(percentiles=PERCENTS), differs=CLIPPED),
        "stretch": step(rescaled(percentiles=PERCENTS), on=normal),
        "crop": [Step(crop, _from_peer, "", "crops the mask too, as ours does")],
        "reorient": step(tio.ToCanonical(copy=False)),
    }
    for name, file in _files(what).items():

        def load(file: str = file) -> Any:
            image = tio.ScalarImage(file)
            image.load()
            return image.data.float()

        steps[name] = [Step(load, _from_peer, "", UNCHECKED)]
    return steps


def simpleitk(what: argparse.Namespace, values: Array, body: NDArray[np.uint8]) -> dict[str, list[Step]]:
    """N4, which neither MONAI nor TorchIO has, as SimpleITK's own example does it."""
    if what.kind != "mr":
        return {}
    import SimpleITK

    def n4() -> Any:
        image, mask = SimpleITK.GetImageFromArray(values), SimpleITK.GetImageFromArray(body)
        for picture in (image, mask):
            picture.SetSpacing(tuple(reversed(SPACING_MM[what.kind])))
        correction = SimpleITK.N4BiasFieldCorrectionImageFilter()
        correction.SetMaximumNumberOfIterations([N4_ITERATIONS] * N4_LEVELS)
        factors = [max(1, min(N4_SHRINK, size // 16)) for size in image.GetSize()]
        correction.Execute(SimpleITK.Shrink(image, factors), SimpleITK.Shrink(mask, factors))
        return SimpleITK.GetArrayFromImage(image / SimpleITK.Exp(correction.GetLogBiasFieldAsImage(image)))

    return {"n4": [Step(n4, lambda array: array, "", "field of no fixed mean")]}


CONTESTANTS = {"synthoma": ours, "MONAI": monai, "TorchIO": torchio, "SimpleITK": simpleitk}


def main() -> None:
    """Say which steps there are, then do the one that each line of the input names, and answer with a line of JSON.

    A line of JSON is ``{"step": name, "variant": name, "at_least_s": seconds, "save": file}``: the step is repeated for
    so long, and its result saved where a file is named.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    what = argparse.Namespace(**json.loads(sys.argv[1]))
    what.shape = tuple(what.shape)
    warnings.simplefilter("ignore")
    folder = Path(what.folder)
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    steps = CONTESTANTS[what.who](what, np.load(folder / "values.npy"), np.load(folder / "body.npy"))
    offers = {
        name: [{"variant": step.variant, "differs": step.differs} for step in variants]
        for name, variants in steps.items()
    }
    release = "" if what.who == "synthoma" else version(what.who)
    print(json.dumps({"steps": offers, "version": release}), file=answers, flush=True)
    for line in sys.stdin:
        turn = json.loads(line)
        step = next(step for step in steps[turn["step"]] if step.variant == turn["variant"])
        print(json.dumps(_turn(step, turn["at_least_s"], turn["save"])), file=answers, flush=True)


def _turn(step: Step, at_least_s: float, save: str) -> dict[str, float]:
    count, begun, busy = 0, time.perf_counter(), time.process_time()
    while True:
        done = step.work()
        count += 1
        elapsed = time.perf_counter() - begun
        if elapsed >= at_least_s:
            break
        del done  # nobody has to hold two results at once
    answer = {"seconds": elapsed / count, "processor_seconds": (time.process_time() - busy) / count}
    if save:
        np.save(save, np.asarray(step.array(done), dtype=np.float32))
    return answer


def _for_peers(array: NDArray[Any]) -> NDArray[Any]:
    """(z, y, x) as (1, x, y, z), in one piece."""
    return np.ascontiguousarray(array.T)[None]


def _from_peer(data: Any) -> NDArray[Any]:
    return np.asarray(data).squeeze().T


def _files(what: argparse.Namespace) -> dict[str, str]:
    names = {"read .nii": "scan.nii", "read .nii.gz": "scan.nii.gz"}
    names |= {"read DICOM": "series"} if what.kind == "ct" else {}
    return {step: str(Path(what.folder) / name) for step, name in names.items()}


def _there(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


if __name__ == "__main__":
    main()
