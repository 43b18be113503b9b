"""What a GAN must know of a cohort to be built: names and sizes, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from synthoma.errors import SettingError, describe, did_you_mean
from synthoma.records import BODY, MASK, Cohort

__all__ = ["MASK", "Layout"]


@dataclass(frozen=True)
class Layout:
    """The channels, masks and size of a cohort's samples."""

    channels: tuple[str, ...]
    mask_names: tuple[str, ...]
    shape: tuple[int, ...]
    """([z,] y, x)."""
    labels: tuple[str, ...] = ()
    """The labels of the real training samples, sorted; of all real samples where there is no split."""

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """The layout of a cohort."""
        training = cohort.rows(split="train", origin="real")
        real = cohort.table["label"][training if len(training) else cohort.rows(origin="real")]
        shape = tuple(int(n) for n in cohort.images.shape[2:])
        return cls(cohort.channels, cohort.mask_names, shape, tuple(sorted(set(real.tolist()))))

    def label_indices(self, labels: Sequence[str]) -> Tensor:
        """The index of each label, (n,); −1 for one that the training did not know."""
        known = {label: index for index, label in enumerate(self.labels)}
        return torch.tensor([known.get(label, -1) for label in labels], dtype=torch.int64)

    @property
    def lesion_indices(self) -> list[int]:
        """Indices of the lesion's parts among the masks."""
        return [i for i, name in enumerate(self.mask_names) if name != BODY]

    def width(self, names: Sequence[str]) -> int:
        """Number of channels that ``names`` stands for once ``mask`` is spelled out."""
        return sum(len(self.lesion_indices) if name == MASK else 1 for name in names)

    def check(self, setting: str, names: Sequence[str]) -> None:
        """Raise :class:`SettingError` where ``names`` asks for what the cohort does not have."""
        known = [*self.channels, *([MASK] if self.lesion_indices else [])]
        for name in names:
            if name not in known:
                raise SettingError(describe(setting, "channels of the cohort", f"'{name}'", did_you_mean(name, known)))

    def stack(self, names: Sequence[str], images: Tensor, masks: Tensor) -> Tensor:
        """The named channels of a batch, (n, width, [z,] y, x); ``mask`` becomes a channel a part, of −1 and +1."""
        parts = []
        for name in names:
            if name == MASK:
                parts.append(masks[:, self.lesion_indices].to(images.dtype) * 2 - 1)
            else:
                index = self.channels.index(name)
                parts.append(images[:, index : index + 1])
        return torch.cat(parts, dim=1)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Back from :meth:`to_json`."""
        return cls(**{key: tuple(value) for key, value in content.items()})
