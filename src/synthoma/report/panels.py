"""Panels of pictures that the evidence names: nearest neighbours, the audit's nearest pairs, heat-maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.records import Cohort
from synthoma.report.gallery import Gallery, Row
from synthoma.report.pictures import Frame, Picture, grey_picture
from synthoma.report.shown import aspect_of, flat, label, plane_of

__all__ = ["audit_gallery", "heat_galleries", "neighbour_gallery"]

Array = NDArray[Any]
MOST_PAIRS = 6
HEAT_PIXELS = 48
"""Longer side of a heat-map as it is stored; the browser enlarges it smoothly."""
HEAT_TOP = 0.62
"""Opacity where the heat is greatest: the anatomy must stay visible."""


def neighbour_gallery(real: Cohort, made: Cohort, arm: str, content: Mapping[str, Any]) -> Gallery | None:
    """Synthetic images above their nearest training and nearest held-out image in feature space."""
    where, own = _rows(real), _rows(made)
    channel, frame = made.channels[0], _whole(real)
    shown = [
        one for one in content["shown"] if one["synthetic"] in own and {one["train"], one["held_out"]} <= set(where)
    ]
    if not shown:
        return None
    lines = [_first(made, [own[one["synthetic"]] for one in shown], channel, frame, arm)]
    for side, kind in (("train", "nearest training image"), ("held_out", "nearest held-out image")):
        pictures = [
            _of(real, where[one[side]], channel, frame, f"{kind} of {one['synthetic']}",
                f"distance {one[f'{side}_distance']:.1f}")
            for one in shown
        ]  # fmt: skip
        lines.append(Row(kind, (), tuple(pictures)))
    searched = content["searched"]
    rule = (
        f"Not cherry-picked: {content['images']} images ordered by the distance to their nearest training image, from "
        f"the nearest, at equal steps. Searched: {searched['train']} training and {searched['held_out']} held-out "
        "images; with more of the one the nearest is nearer by chance. What an image was made from or stands for is no "
        f"neighbour. Euclidean distance of {content['features']}; for comparison, held-out real images are "
        f"{content['held_out_to_train']:.1f} from their nearest training image (median)."
    )
    columns = tuple(f"rank {one['rank']} of {content['images']}" for one in shown)
    return _gallery(f"Neighbours of {arm}, {label(channel)}", rule, columns, lines)


def audit_gallery(real: Cohort, made: Cohort, arm: str, content: Mapping[str, Any]) -> Gallery | None:
    """The pairs that the privacy audit found nearest after registration, near-duplicates first."""
    where, own = _rows(real), _rows(made)
    channel, frame = made.channels[0], _whole(real)
    pairs = [pair for pair in content["nearest"] if pair["synthetic"] in own and pair["real"] in where][:MOST_PAIRS]
    if not pairs:
        return None
    lines = [_first(made, [own[one["synthetic"]] for one in pairs], channel, frame, arm)]
    pictures = []
    for pair in pairs:
        said = [f"ρ {pair['correlation']:.3f}"]
        said += [] if pair["transformation"] == "none" else [pair["transformation"]]
        said.append("made from it" if pair["source"] else pair["split"] or "no split")
        pictures.append(
            _of(real, where[pair["real"]], channel, frame, f"real, like {pair['synthetic']}", ", ".join(said))
        )
    lines.append(Row("most alike real image", (), tuple(pictures)))
    count = len(content["near_duplicates"])
    rule = (
        f"Of all {content['images']} images the {len(pairs)} that are most like a real one by the privacy audit: ρ is "
        "the correlation after the mean image was taken off and the best flip, turn, shift, blur and brightness found. "
        f"{count} of {content['images']} are called near-duplicates."
    )
    columns = tuple(str(pair["synthetic"]) for pair in pairs)
    return _gallery(f"Nearest pairs of {arm} by the audit, {label(channel)}", rule, columns, lines)


def heat_galleries(
    real: Cohort, synthetic: Mapping[str, Cohort], content: Mapping[str, Any]
) -> list[Gallery]:  # fmt: skip
    """Grad-CAM over the images it explains: of the classifier arm below arm, of what judged real below synthetic."""
    return [
        shown for name, panel in content.items() if (shown := _heat_gallery(real, synthetic, name, panel)) is not None
    ]


def _heat_gallery(
    real: Cohort, synthetic: Mapping[str, Cohort], network: str, panel: Mapping[str, Any]
) -> Gallery | None:  # fmt: skip
    channel, frame, known = panel["channels"][0], _whole(real), {}
    for name, entries in panel["of"].items():
        cohort = real if network == "classifier" or name == "real" else _arm(synthetic, name)
        if cohort is not None and channel in cohort.channels:
            known[name] = (cohort, [entry for entry in entries if 0 <= entry["row"] < len(cohort)])
    if not known or not all(entries for _, entries in known.values()):
        return None
    lines: list[Row] = []
    for name, (cohort, entries) in known.items():
        kind = "real" if network == "classifier" else name
        if not lines or network != "classifier":
            plain = tuple(_of(cohort, entry["row"], channel, frame, kind, "") for entry in entries)
            lines.append(Row(f"{kind} image" if kind == "real" else kind, (), plain))
        heading = f"heat, trained on {name}" if network == "classifier" else "heat"
        lines.append(Row(heading, (), tuple(_heated(cohort, e, channel, frame, f"{network}, {name}") for e in entries)))
    what = f"for “real”, of the {network} that the generator was trained against"
    if network == "classifier":
        what = "for the true label, of the classifier of the utility family"
    heat = next(iter(known.values()))[1][0]["heat"]
    rule = (
        f"Grad-CAM (Selvaraju et al. 2017) {what}; maps of {len(heat)} × {len(heat[0])}, enlarged; in each picture "
        "its own greatest heat is brightest, so only where it lies can be compared. Not cherry-picked: drawn at random "
        "from the images with a lesion (of real ones: test patients), each of another patient where there are as many."
    )
    cohort, entries = next(iter(known.values()))
    columns = tuple(f"{cohort.table['label'][e['row']]}, {cohort.table['patient'][e['row']]}" for e in entries)
    if (
        network != "classifier"
        and len({tuple(c.table["patient"][e["row"]] for e in own) for c, own in known.values()}) > 1
    ):
        columns = tuple(f"{i + 1}" for i in range(len(entries)))  # rows of different patients
    most = max(len(own) for _, own in known.values())
    blank = Picture("", 0, 0, "")
    lines = [Row(r.header, r.details, (*r.pictures, *[blank] * (most - len(r.pictures)))) for r in lines]
    columns = (*columns, *(f"{i + 1}" for i in range(len(columns), most)))
    return _gallery(f"What the {network} looks at, {label(channel)}", rule, columns, lines)


def _first(made: Cohort, rows: Sequence[int], channel: str, frame: Frame, arm: str) -> Row:
    """The line of synthetic images."""
    pictures = tuple(_of(made, row, channel, frame, f"synthetic, {arm}", "") for row in rows)
    return Row("synthetic", (arm,) * (arm != "synthetic"), pictures)


def _gallery(caption: str, rule: str, columns: tuple[str, ...], lines: Sequence[Row]) -> Gallery:
    return Gallery(caption, rule, columns, tuple(lines), heading="", whole_zoom=False)


def _arm(synthetic: Mapping[str, Cohort], arm: str) -> Cohort | None:
    return synthetic.get("reconstruct" if arm == "synthetic" else arm)


def _heated(cohort: Cohort, entry: Mapping[str, Any], channel: str, frame: Frame, title: str) -> Picture:
    picture = _of(cohort, entry["row"], channel, frame, f"heat-map, {title}, over", "")
    heat = _enlarged(np.asarray(entry["heat"], dtype=np.float64), cohort.images.shape[-2:])
    if not heat.any():
        return replace(picture, caption="no heat")
    return replace(picture, heat=_heat_png(frame.cut(heat)))


def _enlarged(heat: Array, shape: tuple[int, ...]) -> Array:
    """Bilinear, corners at pixels' corners, as the evidence measured it."""
    from scipy.ndimage import map_coordinates

    axes = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, heat.shape, strict=True)]
    places = np.meshgrid(*(np.clip(a, 0, m - 1) for a, m in zip(axes, heat.shape, strict=True)), indexing="ij")
    return np.asarray(map_coordinates(heat, places, order=1, mode="nearest"))


def _heat_png(heat: Array) -> str:
    """Heat of 0 to 1 as a small picture: yellow where it is great, clear where there is none."""
    from matplotlib import colormaps
    from PIL import Image

    step = max(1, -(-max(heat.shape) // HEAT_PIXELS))
    small = heat[: heat.shape[0] // step * step, : heat.shape[1] // step * step]
    small = np.clip(small.reshape(small.shape[0] // step, step, -1, step).mean(axis=(1, 3)), 0, 1)
    levels = np.round(small * 63).astype(np.uint8)
    colours = colormaps["inferno"](np.linspace(0.15, 0.98, 64))
    image = Image.fromarray(levels)
    image.putpalette(np.round(colours[:, :3] * 255).astype(np.uint8).tobytes())
    clear = np.round(255 * HEAT_TOP * np.linspace(0, 1, 64) ** 0.8).astype(np.uint8).tobytes()
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, transparency=clear)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _of(cohort: Cohort, row: int, channel: str, frame: Frame, what: str, caption: str) -> Picture:
    z = plane_of(cohort, row)
    alt = f"{what}, {label(channel)} of {cohort.table['id'][row]}" + (f"; {caption}" if caption else "")
    return grey_picture(flat(cohort.channel(channel)[row], z), frame, alt, flat(cohort.lesion(row), z), caption)


def _whole(real: Cohort) -> Frame:
    height, width = real.images.shape[-2:]
    return Frame(0, height, 0, width, aspect_of(real, 0))


def _rows(cohort: Cohort) -> dict[str, int]:
    return {str(name): row for row, name in enumerate(cohort.table["id"].tolist())}
