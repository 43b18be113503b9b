"""What the labels of other people's segmentations are called here, and which of them are healthy anatomy."""

from __future__ import annotations

import re

__all__ = ["is_organ", "names_lesion", "plain_name"]

_LESIONS = re.compile(
    r"tumou?r|cancer|carcinoma|lesion|neoplas|nodul|metasta|mass(es)?\b|\bhcc\b|cyst|gliom|schwannom|necro|o?edema|enhanc"
)
_ORGANS = re.compile(
    r"\b(liver|hepatic|spleen|pancreas|kidneys?|lungs?|heart|atrium|ventricles?|myocardium|aorta|cava|arter(y|ies)|"
    r"veins?|vessels?|bones?|spine|vertebrae?|ribs?|brain|cerebellum|prostate|bladder|gallbladder|colon|bowel|stomach|"
    r"duodenum|o?esophagus|trachea|airways?|muscles?|skin|body|adrenal|hippocampus|anterior|posterior|pz|tz|"
    r"portalvein\d?|venacava|venoussystem|biliarysystem)\b"
)


def plain_name(label: str) -> str:
    """Small letters and digits, words joined by ``-``: ``Portal vein`` → ``portal-vein``."""
    return "-".join(re.findall(r"[a-z0-9]+", label.casefold()))


def is_organ(name: str) -> bool:
    """Whether a plain name is of healthy anatomy; ``liver-tumour`` is not."""
    return bool(_ORGANS.search(name.replace("-", " "))) and not names_lesion(name)


def names_lesion(name: str) -> bool:
    """Whether a plain name speaks of disease. Of a name that says neither, a reader assumes so."""
    return bool(_LESIONS.search(name.replace("-", " ")))
