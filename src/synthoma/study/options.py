"""What a reader study is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthoma.options import Options

__all__ = ["SCALES", "StudyOptions"]

SCALES = ("realism", "anatomy", "lesion")
"""What is rated from 1 to 5; ``lesion`` may be left open, where there is none."""


class StudyOptions(Options):
    """The settings of ``synthoma study create``."""

    items: int = Field(100, ge=2, le=5000)
    """Images that each reader rates, half of them real; those to practise on and the repeats come on top."""
    readers: int = Field(3, ge=1, le=200)
    """Readers, each with a private link."""
    common: float = Field(0.8, ge=0, le=1)
    """Share of the items that all readers see: agreement is measured on these. The others are drawn for each reader,
    and so is how many of them are real, so that nobody can count to half."""
    repeats: float = Field(0.1, ge=0, le=0.5)
    """Share of the items that a reader sees a second time: the agreement of readers with themselves."""
    training: int = Field(4, ge=0, le=100)
    """Images to practise on, shown first and not analysed."""
    seed: int = Field(1, ge=0)
    """Of the choice of samples and their order."""
    channel: str = ""
    """The channel that is shown; the first that both cohorts have when empty."""
    modality: Literal["", "MR", "CT", "OT"] = ""
    """Of the samples to show; needed where cohorts hold several."""
    labels: tuple[str, ...] = ()
    """The classes to show, equally many of each; all that both cohorts have when empty."""
    split: Literal["", "train", "validation", "test"] = ""
    """Only samples of this split; all when empty."""
    trim: float = Field(0.01, ge=0, lt=0.5)
    """How much of the intensity range [-1, 1] is cut at each end, of real and synthetic alike: a network's last layer
    hardly reaches -1, which is where the background of a real image lies."""
    title: str = Field("Reader study", min_length=1, max_length=120)
    """What the readers see at the top."""
    notice: str = Field("", max_length=4000)
    """A text of yours on the readers' first page: what they consent to, whom to ask."""
