"""Measurements as tables: one a family and region, an arm a row, a measure a column; none is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthoma.records import Measurement
from synthoma.report.tables import Cell, Table

__all__ = [
    "FAMILIES",
    "Methods",
    "beside",
    "every_measurement",
    "family_of",
    "family_tables",
    "format_value",
    "is_baseline",
    "main_arm",
    "measure_label",
    "worse_than",
]

FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "similarity": ("Similarity to the real image", ("ssim", "psnr", "mae", "mse", "nrmse")),
    "difference": ("Difference of the GAN to the others, paired by patient", ()),
    "distribution": (
        "Distribution",
        ("frechet", "fid", "kid", "precision", "recall", "density", "coverage", "diversity", "two-sample", "radiomics"),
    ),
    "structure": (
        "Structure",
        ("spectrum", "spectral", "checkerboard", "dice", "lesion", "high-frequency", "energy", "sharpness", "slice"),
    ),
    "utility": (
        "Utility: a classifier",
        ("accuracy", "balanced-accuracy", "auc", "f1", "specificity", "sensitivity", "brier"),
    ),
    "clipping": ("Values outside the window, clipped", ("share-clipped",)),
    "privacy": (
        "Privacy",
        ("nearest", "near-duplicate", "authenticity", "membership", "memorisation", "privacy", "closer"),
    ),
    "other": ("Other measurements", ()),
}
"""Family → its heading, and how the names of its measurements begin. What fits nowhere is shown under *other*; what
ends in ``-difference`` is one."""

MAIN_ARMS = ("synthetic", "reconstruct", "gan")
BASELINES = ("source", "least", "mean")
ACRONYMS = ("ssim", "psnr", "mae", "mse", "nrmse", "kid", "fid", "auc", "hu", "db", "f1")
_WITHOUT_MAIN = ("difference", "utility", "clipping")
"""Families whose arms are no competitors of the GAN."""
_REGIONS = ("body", "lesion", "frame")


@dataclass
class Methods:
    """The distinct ``method`` texts of the measurements, numbered in the order of their first use."""

    numbers: dict[str, int]

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> Methods:
        """Number the texts."""
        texts = dict.fromkeys(m.method for m in measurements if m.method)
        return cls({text: number for number, text in enumerate(texts, start=1)})

    def number(self, measurement: Measurement) -> str:
        """The number of a measurement's method; empty when it has none."""
        return str(self.numbers.get(measurement.method, ""))


def main_arm(measurements: Sequence[Measurement]) -> str:
    """The arm that is the GAN's."""
    arms = {m.arm for m in measurements}
    return next((arm for arm in MAIN_ARMS if arm in arms), MAIN_ARMS[0])


def is_baseline(arm: str) -> bool:
    """Whether an arm is one of the three baselines: source image, least squares, mean training image."""
    return arm.lower().startswith(BASELINES)


def beside(measurement: Measurement, measurements: Sequence[Measurement]) -> list[Measurement]:
    """The same measure of the other arms, in the same region and against the same images; no floors."""
    family = family_of(measurement, measurements)
    same = (measurement.name, measurement.region, measurement.compared)
    return [
        m
        for m in measurements
        if (m.name, m.region, m.compared) == same and m.arm != measurement.arm and not _is_floor(family, m.arm)
    ]


def worse_than(measurement: Measurement, others: Sequence[Measurement]) -> list[str]:
    """The arms among ``others`` whose value is better than this one's."""
    sign = {"higher": 1, "lower": -1}.get(measurement.better, 0)
    if measurement.value is None or not sign:
        return []
    value = measurement.value
    return [m.arm for m in others if m.value is not None and sign * (m.value - value) > 0]


def family_of(measurement: Measurement, measurements: Sequence[Measurement]) -> str:
    """The family whose names a measurement's name begins with, else ``other``."""
    name = measurement.name.lower()
    if name.split("[")[0].endswith("-difference"):
        return "difference"
    if name.startswith(("precision", "recall")):  # of a generator, or of a classifier: then an arm ``real`` has one too
        classifier = any(m.name == measurement.name and m.arm == "real" for m in measurements)
        return "utility" if classifier else "distribution"
    fits = [
        (len(begin), family) for family, (_, begins) in FAMILIES.items() for begin in begins if name.startswith(begin)
    ]
    return max(fits)[1] if fits else "other"


def family_tables(family: str, measurements: Sequence[Measurement], methods: Methods) -> list[Table]:
    """The tables of one family: one a region, the body first; medians in tables of their own, behind the rest."""
    members = [m for m in measurements if family_of(m, measurements) == family]
    order = {region: at for at, region in enumerate(_REGIONS)}
    groups = sorted({(_is_median(m), m.region) for m in members}, key=lambda g: (g[0], order.get(g[1], 9), g[1]))
    return [
        _pivot(family, region, [m for m in members if (_is_median(m), m.region) == (median, region)], methods, median)
        for median, region in groups
    ]


def _pivot(family: str, region: str, members: Sequence[Measurement], methods: Methods, median: bool) -> Table:
    main = main_arm(members)
    keys = list(dict.fromkeys((m.arm, m.compared) for m in members))
    keys.sort(key=lambda key: (key[0] != main, is_baseline(key[0]), _is_floor(family, key[0])))
    names = list(dict.fromkeys(m.name for m in members))
    compared = {against for _, against in keys if against}
    rows: list[tuple[Cell | str, ...]] = []
    for arm, against in keys:
        here = [m for m in members if (m.arm, m.compared) == (arm, against)]
        cells = [_cell([m for m in here if m.name == name], members, family, main, methods) for name in names]
        sign = " − " if family == "difference" else " against "
        floor = " (floor)" if family == "distribution" and _is_floor(family, arm) and "floor" not in arm else ""
        heading = (
            arm + floor + (f"{sign}{against}" if against and (len(compared) > 1 or family == "difference") else "")
        )
        rows.append((heading, *cells, ", ".join(dict.fromkeys(f"{m.n_patients} ({m.n_images})" for m in here))))
    columns = [_heading(next(m for m in members if m.name == name)) for name in names]
    where = {"body": "over the body", "lesion": "over the lesion", "frame": "over the whole frame", "": ""}
    caption = where.get(region, f"over {region}") or ("" if compared else "all arms")
    if len(compared) == 1 and family != "difference":
        caption += (", " if caption else "") + f"against {next(iter(compared))}"
    caption = caption[:1].upper() + caption[1:] if caption else "By arm"
    caption += ", median over patients" if median else ""
    main_row = 0 if family not in _WITHOUT_MAIN and keys[0][0] == main else -1
    columns = ["Difference" if family == "difference" else "Arm", *columns, "Patients (images)"]
    return Table(caption, tuple(columns), tuple(rows), main_row=main_row, minor=median)


def _cell(
    here: Sequence[Measurement], members: Sequence[Measurement], family: str, main: str, methods: Methods
) -> Cell:
    if not here:
        return Cell("—")
    m = here[0]
    others = beside(m, members)
    best, flag = False, ""
    if family == "difference":
        flag = "worse" if m.value is not None and (m.value < 0 if m.better == "higher" else m.value > 0) else ""
    elif others and m.better and m.value is not None and not _is_floor(family, m.arm):
        losers = worse_than(m, others)
        best = not losers
        flag = f"worse than {' and '.join(losers)}" if m.arm == main and family not in _WITHOUT_MAIN else ""
        flag = flag if losers else ""
    # The same name, arm and comparison twice: show both. A difference carries its sign.
    texts = [("+" if family == "difference" and (o.value or 0) > 0 else "") + format_value(o.value) for o in here]
    return Cell("; ".join(texts), _interval(m), flag, best, methods.number(m))


def every_measurement(measurements: Sequence[Measurement], methods: Methods) -> Table:
    """All measurements, one a row, as in ``evidence.csv``."""
    rows = [
        (m.name, m.region, m.arm, m.compared, format_value(m.value), _interval(m), m.unit, f"{m.n_patients}",
         f"{m.n_images}", methods.number(m))
        for m in measurements
    ]  # fmt: skip
    columns = (
        "Name", "Region", "Arm", "Compared with", "Value", "95 % interval", "Unit", "Patients", "Images", "Method",
    )  # fmt: skip
    return Table("Every measurement.", columns, tuple(rows), text_columns=4)


def format_value(value: float | None) -> str:
    """Three significant digits, at least three decimals below one; a true minus sign."""
    if value is None:
        return "undefined"
    size = abs(value)
    text = f"{value:.1e}" if 0 < size < 1e-4 else f"{value:.{_decimals(value)}f}"
    return text.replace("e-0", "e-").replace("-", "−")


def measure_label(name: str) -> str:
    """``frechet-distance`` → ``Fréchet distance``, ``psnr`` → ``PSNR``."""
    name, _, channel = name.partition("[")
    words = [word.upper() if word in ACRONYMS else word for word in name.replace("_", "-").split("-")]
    text = " ".join(words).replace("frechet", "Fréchet").replace("DB", "dB")
    text += f", {channel.rstrip(']')}" if channel else ""
    return text[:1].upper() + text[1:]


def _decimals(value: float) -> int:
    size = abs(value)
    if size < 1:
        return 3 if size >= 0.01 or size == 0 else 5
    return max(0, 2 - math.floor(math.log10(size)))


def _interval(m: Measurement) -> str:
    if m.low is None or m.high is None:
        return "no interval"
    digits = _decimals(m.value or 0.0)
    return f"{m.low:.{digits}f} to {m.high:.{digits}f}".replace("-", "−")


def _heading(m: Measurement) -> str:
    known = {"": "", "1": "", "arbitrary": " (arbitrary units)"}
    unit = known.get(m.unit, f" ({m.unit})")
    arrow = {"higher": " ↑", "lower": " ↓"}.get(m.better, "")
    return f"{measure_label(m.name)}{unit}{arrow}"


def _is_floor(family: str, arm: str) -> bool:
    """Real against real is the floor of a distance, not one of its competitors."""
    return family in ("distribution", "structure") and arm.lower().startswith(("real", "floor"))


def _is_median(m: Measurement) -> bool:
    return m.name.split("[")[0].endswith("-median")
