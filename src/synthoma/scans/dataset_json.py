"""``dataset.json`` of the Medical Segmentation Decathlon and of nnU-Net: the names of channels and labels.

Decathlon: ``"modality": {"0": "CT"}``, ``"labels": {"0": "background", "1": "liver"}`` (Antonelli et al., Nature
Communications 13:4128, 2022). nnU-Net 2: ``"channel_names": {"0": "CT"}``, ``"labels": {"core": [2, 3]}``, where a list
is a region of several labels (Isensee et al., Nature Methods 18, 2021).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthoma.errors import ScanError, describe
from synthoma.scans.anatomy import plain_name
from synthoma.scans.case import unreadable

__all__ = ["Dataset", "read_dataset"]

_MOST_BYTES = 2**26
_BACKGROUND, _IGNORE = "background", "ignore"


@dataclass(frozen=True)
class Dataset:
    """The content of a ``dataset.json``, as far as it is of use."""

    channels: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]]
    """Mask → its labels, the background left out."""
    ending: str = ""
    """nnU-Net: how the names of files end."""
    count: int | None = None
    """How many training cases there should be."""
    ignored: tuple[int, ...] = ()
    """nnU-Net: the label of voxels that nobody labelled."""


def read_dataset(file: Path) -> Dataset:
    """``dataset.json``; names as :func:`~synthoma.scans.anatomy.plain_name` has them.

    Raises:
        ScanError: no JSON, or one that does not name channels and labels.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ScanError(describe(file, f"at most {_MOST_BYTES:,} bytes", "more"))
        content = json.loads(text.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(file, "JSON", error) from error
    if not isinstance(content, dict):
        raise ScanError(describe(file, "a JSON object with the fields labels and channel_names or modality", "another"))
    key = "channel_names" if "channel_names" in content else "modality"
    labels = _labels(file, content.get("labels"))
    ending, count = content.get("file_ending", ""), content.get("numTraining")
    if not isinstance(ending, str):
        raise ScanError(describe(file, "file_ending to be text such as .nii.gz", repr(ending)[:60]))
    return Dataset(
        channels=_channels(file, key, content.get(key)),
        labels={name: values for name, values in labels.items() if name not in (_BACKGROUND, _IGNORE)},
        ending=ending,
        count=count if isinstance(count, int) and not isinstance(count, bool) else None,
        ignored=labels.get(_IGNORE, ()),
    )


def _channels(file: Path, key: str, found: Any) -> tuple[str, ...]:
    """In the order of their numbers, which begin at 0."""
    names = found if isinstance(found, dict) else {}
    ordered = [names.get(str(number)) for number in range(len(names))]
    plain = tuple(plain_name(name) for name in ordered if isinstance(name, str))
    if not plain or len(plain) < len(ordered) or not all(plain) or len(set(plain)) < len(plain):
        raise ScanError(describe(file, f'{key} such as {{"0": "T1", "1": "FLAIR"}}, names that differ', _short(found)))
    return plain


def _labels(file: Path, found: Any) -> dict[str, tuple[int, ...]]:
    """Plain name → values, from ``{"1": "liver"}`` or ``{"liver": 1}`` or ``{"core": [2, 3]}``."""
    content = found if isinstance(found, dict) else {}
    numbered = bool(content) and all(key.isascii() and key.isdigit() for key in content)
    pairs = [(value, int(key[:9])) if numbered else (key, value) for key, value in content.items()]
    labels: dict[str, tuple[int, ...]] = {}
    for name, value in pairs:
        values = tuple(value) if isinstance(value, list) else (value,)
        plain = plain_name(name) if isinstance(name, str) else ""
        whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in values)
        if not plain or plain in labels or not values or not whole or (plain != _BACKGROUND and 0 in values):
            expected = 'labels such as {"1": "liver"} or {"liver": 1}, names that differ, from 1 but for the background'
            raise ScanError(describe(file, expected, _short(found)))
        labels[plain] = values
    if not set(labels) - {_BACKGROUND, _IGNORE}:
        raise ScanError(describe(file, "labels of at least one structure", _short(found)))
    return labels


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 120 else f"{text[:119]}…"
