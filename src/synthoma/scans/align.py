"""Channels of one patient that lie on different grids: refused, resampled by their headers, or registered.

Sampling is SimpleITK's: linear for images, nearest neighbour for masks, onto the grid of the first channel, in double
precision. Registration is rigid and by Mattes' mutual information (Mattes et al., IEEE TMI 22(1), 2003), from coarse to
fine, with every voxel as a sample on one thread: equal files give equal transforms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import ScanError, describe
from synthoma.records import Grid
from synthoma.scans.volumes import Volume, check_same_grid

__all__ = ["Align", "align", "image_of", "resampled"]

Align = Literal["refuse", "resample", "register"]

_TO_LPS = np.array([-1.0, -1.0, 1.0])  # SimpleITK's world is DICOM's
_LEAST_SHARED = 0.1  # of the first channel's voxels; with less, the headers are of different places
_FARTHEST_MM, _LARGEST_TURN_DEG = 60.0, 30.0  # beyond, a rigid registration of one head or trunk has gone astray
_SHRINK, _SMOOTH_MM = (4, 2, 1), (4.0, 2.0, 0.0)
_MOST_VOXELS = 2_000_000  # at the finest level of a registration


def align(
    what: str, volumes: Mapping[str, Volume], masks: Collection[str], how: Align
) -> tuple[dict[str, Volume], tuple[str, ...]]:
    """The volumes of one case on the grid of the first, and what was done to them.

    Args:
        what: the case, for the message.
        volumes: role (a channel, a mask) → volume; a channel is the first.
        masks: the roles that are masks or labels. When channels are registered, a mask moves with the channel whose
            grid it shares, and stays at its place otherwise.
        how: ``refuse`` different grids, ``resample`` by the headers, or ``register`` (rigid) what differs.

    Raises:
        ScanError: grids differ and are refused; they hardly overlap; a registration that ends where no head or trunk
            can have moved to.
    """
    first = next(iter(volumes))
    grid = volumes[first].grid
    differ = [role for role, volume in volumes.items() if not grid.close_to(volume.grid)]
    if how == "refuse" or not differ:
        for role, volume in volumes.items():
            check_same_grid(what, first, grid, role, volume.grid)
        return dict(volumes), ()
    for role, volume in volumes.items():
        if volume.array.dtype.kind not in "buif":
            raise ScanError(describe(f"{what}, {role}", "real numbers", f"values of type {volume.array.dtype}"))
    moves: dict[str, Any] = {}
    notes: list[str] = []
    if how == "register":
        for role in differ:
            if role not in masks:
                moves[role], note = _registered(what, first, volumes[first], role, volumes[role])
                notes.append(note)
    done = dict(volumes)
    for role in differ:
        volume = volumes[role]
        channel = next((other for other in moves if volumes[other].grid.close_to(volume.grid)), "")
        array, inside = resampled(volume.array, volume.grid, grid, mask=role in masks, transform=moves.get(channel))
        if inside < _LEAST_SHARED and not channel:
            expected = f"{role} at the place of {first}"
            raise ScanError(describe(what, expected, f"{inside:.0%} of it in common by the headers", _REMEDY))
        done[role] = replace(volume, array=array, grid=grid)
        kind = "nearest" if role in masks else "linear"
        missing = f", {1 - inside:.1%} of which it does not cover" if inside < 1 else ""
        with_it = f", moved with {channel}" if channel and channel != role else ""
        notes.append(f"{role} resampled ({kind}) onto the grid of {first}{missing}{with_it}")
    return done, tuple(notes)


_REMEDY = "Look at the headers; data.align=register starts from the middles of the images instead."


def resampled(
    array: NDArray[Any], grid: Grid, onto: Grid, *, mask: bool, transform: Any = None
) -> tuple[NDArray[Any], float]:
    """``array`` (z, y, x) of ``grid`` at the voxels of ``onto``, and the share of those that lie inside ``grid``.

    Images are float32, linear between voxels, their least value outside; masks keep their type, 0 outside.
    ``transform`` is SimpleITK's, from the world of ``onto`` to that of ``grid``.
    """
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    moving = image_of(array if mask else array.astype(np.float32, copy=False), grid)
    sampler = sitk.ResampleImageFilter()
    sampler.SetReferenceImage(image_of(np.zeros(onto.shape, np.uint8), onto))
    sampler.SetInterpolator(sitk.sitkNearestNeighbor if mask else sitk.sitkLinear)
    sampler.SetDefaultPixelValue(0.0 if mask else float(array.min()))
    if transform is not None:
        sampler.SetTransform(transform)
    result = sitk.GetArrayFromImage(sampler.Execute(moving))
    sampler.SetInterpolator(sitk.sitkNearestNeighbor)
    sampler.SetDefaultPixelValue(0.0)
    covered = sitk.GetArrayFromImage(sampler.Execute(image_of(np.ones(grid.shape, np.uint8), grid)))
    return (result.astype(array.dtype) if mask else result), float(covered.mean())


def image_of(array: NDArray[Any], grid: Grid) -> Any:
    """A SimpleITK image of ``array`` (z, y, x), whose world is LPS."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    native = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    image = sitk.GetImageFromArray(array.astype(np.float32 if native == np.float16 else native, copy=False))
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin((np.asarray(grid.origin_mm) * _TO_LPS).tolist())
    direction = (np.asarray(grid.direction)[::-1] * _TO_LPS).T
    direction[np.abs(direction) < 1e-12] = 0  # ITK inverts a matrix with denormal numbers wrongly
    image.SetDirection(direction.ravel().tolist())
    return image


def _registered(what: str, first: str, fixed: Volume, role: str, moving: Volume) -> tuple[Any, str]:
    """The transform that lays ``moving`` over ``fixed``, and a sentence on it."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    images = [_for_registration(volume) for volume in (fixed, moving)]
    start = sitk.CenteredTransformInitializer(
        *images, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    if _overlap(fixed.grid, moving.grid) >= _LEAST_SHARED:  # headers that make sense are the better start
        start = sitk.Euler3DTransform(start)
        start.SetTranslation((0.0, 0.0, 0.0))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_SHRINK)
    method.SetSmoothingSigmasPerLevel(_SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    try:
        found = sitk.Euler3DTransform(method.Execute(*images).GetNthTransform(0))
    except RuntimeError as error:
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given").strip()
        raise ScanError(describe(what, f"{role} that can be registered to {first}", f"({reason})")) from error
    rotation = np.asarray(found.GetMatrix()).reshape(3, 3)
    turn_deg = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    middle = np.asarray(found.GetCenter())
    shift_mm = np.asarray(found.TransformPoint(middle.tolist())) - middle
    beyond_start_mm = float(np.linalg.norm(np.asarray(found.GetTranslation()) - np.asarray(start.GetTranslation())))
    shift = ", ".join(f"{value:.2f}" for value in shift_mm * _TO_LPS)
    said = f"{turn_deg:.2f} degrees and ({shift}) mm (right, front, up)"
    if turn_deg > _LARGEST_TURN_DEG or beyond_start_mm > _FARTHEST_MM:
        most = f"at most {_LARGEST_TURN_DEG:g} degrees and {_FARTHEST_MM:g} mm"
        raise ScanError(describe(what, f"{role} that registers to {first} by {most}", said, "Register it by hand."))
    information = -float(method.GetMetricValue())
    return found, f"{role} registered to {first}: {said}; mutual information {information:.3f}"


def _for_registration(volume: Volume) -> Any:
    """float32, shrunk by whole factors until its voxels are few and of about one size."""
    import SimpleITK as sitk  # noqa: N813 (its own name for it)

    spacing = np.asarray(volume.grid.spacing_mm[::-1])
    size_mm = max(float(spacing.max()) / 2, (float(np.prod(spacing)) * volume.array.size / _MOST_VOXELS) ** (1 / 3))
    factors = np.maximum(1, np.floor(size_mm / spacing)).astype(int)
    image = image_of(volume.array.astype(np.float32), volume.grid)
    return sitk.BinShrink(image, factors.tolist()) if factors.max() > 1 else image


def _overlap(fixed: Grid, moving: Grid) -> float:
    """The share of ``fixed``'s voxels (every few along each axis) that lie inside ``moving``."""
    steps = [np.linspace(0, n - 1, 20) for n in fixed.shape[::-1]]
    points = np.stack([*(axis.ravel() for axis in np.meshgrid(*steps, indexing="ij")), np.ones(20**3)])
    index = (np.linalg.inv(moving.affine) @ fixed.affine @ points)[:3].T
    inside = ((index >= -0.5) & (index <= np.asarray(moving.shape[::-1]) - 0.5)).all(axis=1)
    return float(inside.mean())
