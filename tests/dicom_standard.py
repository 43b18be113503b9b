"""dicom-validator with the DICOM standard; imported by name, see ``conftest.py``.

The validator downloads an edition of the standard (``validate_iods`` does). Where none lies on the machine, its tables
are made of those that come with highdicom (IODs, modules, types) and with pydicom (the dictionary). These do not hold
the conditions of 1C and 2C, of modules of usage C, and of functional groups: such an attribute may be there or not,
which is what the validator makes of a condition that it cannot read, too. Nor do they hold enumerated values.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from dicom_validator.spec_reader.edition_reader import EditionReader
from dicom_validator.validator.dicom_file_validator import DicomFileValidator
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.validation_result import Status
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom import config
from pydicom.datadict import DicomDictionary, keyword_dict
from pydicom.uid import CTImageStorage, MRImageStorage, SegmentationStorage

__all__ = ["complaints", "conditions"]

SOP_CLASSES = (CTImageStorage, MRImageStorage, SegmentationStorage)
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def complaints(file: Path) -> list[str]:
    """What the validator says of a file: tag (with those of the sequences around it) and error, sorted."""
    mode = config.settings.reading_validation_mode  # which the validator changes for the whole process
    try:
        (result,) = DicomFileValidator(_standard(), log_level=logging.CRITICAL).validate(file).values()
    finally:
        config.settings.reading_validation_mode = mode
    assert result.status in (Status.Passed, Status.Failed), result
    found = [(tag, error) for errors in result.module_errors.values() for tag, error in errors.items()]
    return sorted(f"{tag} {error.code.name}" for tag, error in found)


def conditions(file: Path) -> list[str]:
    """The errors of ``dciodvfy`` (Debian's dicom3tools), which knows the conditions by heart, but no attribute that is
    younger than itself, such as Synthetic Data."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("no dciodvfy (Debian: dicom3tools)")
    said = subprocess.run([program, file], capture_output=True, text=True, check=False).stderr.splitlines()
    assert len(said) > 0  # the name of the IOD at least
    return [line for line in said if line.startswith("Error") and "(0x0008,0x001c)" not in line]


@lru_cache(1)
def _standard() -> DicomInfo:
    """The newest edition on this machine, or what highdicom and pydicom know of the standard."""
    reader = EditionReader()
    editions = [path.parent.name for path in reader.path.glob("*/json") if reader.json_files_exist(path.parent.name)]
    return reader.load_dicom_info(max(editions)) if editions else _from_tables()


def _from_tables() -> DicomInfo:
    names, parts, attributes = get_sop_class_iod_map(), get_iod_module_map(), get_module_attribute_map()
    iods: dict[str, Any] = {}
    modules: dict[str, Any] = {}
    for uid in SOP_CLASSES:
        used = parts[names[uid]]
        table = {part["key"]: {"ref": part["key"], "use": part["usage"]} for part in used}
        iods[uid] = {"title": names[uid], "modules": table, "group_macros": {}}
        modules |= {key: _module(attributes[key]) for key in table if key not in modules}
    dictionary = {
        _tag(keyword): dict(zip(("vr", "vm", "name", "prop"), DicomDictionary[number], strict=False))
        for keyword, number in keyword_dict.items()
    }
    return DicomInfo(dictionary, iods, modules)


def _module(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Attributes with their paths → nested as the validator has them."""
    content: dict[str, Any] = {}
    for attribute in attributes:
        if attribute["keyword"] not in keyword_dict:
            continue  # the overlays, whose group repeats
        place = content
        for keyword in attribute["path"]:
            place = place[_tag(keyword)]["items"]
        kind = attribute["type"]
        if attribute["path"] and attribute["path"][-1] in GROUPS and kind in ("1", "2"):
            kind += "C"  # which macros an object has, and in which of the two sequences, is a condition
        entry: dict[str, Any] = {"name": attribute["keyword"], "type": kind}
        if DicomDictionary[keyword_dict[attribute["keyword"]]][0] == "SQ":
            entry["items"] = {}
        place[_tag(attribute["keyword"])] = entry
    return content


def _tag(keyword: str) -> str:
    number = keyword_dict[keyword]
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"
