"""Which images the page shows, and how: ranks, galleries, grey values, outlines, frames."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthoma.records import Cohort
from synthoma.report import ReportContent
from synthoma.report.gallery import edit_gallery, real_strip, reconstruction_galleries, spread_ranks
from synthoma.report.page import picture_width
from synthoma.report.pictures import Frame, difference_picture, grey_picture, plane_index
from synthoma.similarity import psnr_db, ssim


def pixels_of(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(3, 9))
def test_ranks_hold_best_median_worst_and_no_rank_twice(patients: list[str], count: int) -> None:
    ranks = spread_ranks(patients, count)
    n = len(patients)
    assert ranks == sorted(set(ranks))
    assert len(ranks) == min(n, count)
    assert {0, (n - 1) // 2, n - 1} <= set(ranks)
    shown = {patients[rank] for rank in ranks}
    assert len(shown) >= min(len(set(patients)), count - 3)


def test_ranks_of_distinct_patients_are_evenly_spaced() -> None:
    assert spread_ranks([f"p{i}" for i in range(61)], 7) == [0, 10, 20, 30, 40, 50, 60]


def test_gallery_shows_the_best_the_median_and_the_worst(real: Cohort, content: ReportContent) -> None:
    made = content.synthetic["reconstruct"]
    (shown,) = reconstruction_galleries(real, made, {"unet-l1": content.synthetic["unet-l1"]})
    scores = {}
    for row in real.rows(split="test"):
        i = made.table["reference"].tolist().index(real.table["id"][row])
        pair = (real.channel("flair")[row], made.channel("flair")[i], 2.0, real.body(row))
        scores[ssim(*pair)] = (real.table["patient"][row], f"SSIM {ssim(*pair):.3f} · {psnr_db(*pair):.1f} dB")
    for position, score in ((0, max(scores)), (-1, min(scores))):
        assert shown.rows[position].header == scores[score][0]
        assert shown.rows[position].pictures[2].caption == scores[score][1]
    assert [text for row in shown.rows for text in row.details if "median" in text] == ["rank 9 of 18 · median"]
    assert {row.header for row in shown.rows} == {f"P{n}" for n in range(12, 18)}
    assert "Not cherry-picked: all 18 images of 6 test patients" in shown.rule
    assert shown.columns == ("T1, condition", "FLAIR, real", "FLAIR, synthetic", "FLAIR, unet-l1", "|real − synthetic|")


def test_images_of_training_patients_are_called_so(real: Cohort, content: ReportContent) -> None:
    made = content.synthetic["reconstruct"]
    table = {**real.table, "split": np.full(len(real), "train", dtype=object)}
    (shown,) = reconstruction_galleries(replace(real, table=table), made, {})
    assert "non-test patients" in shown.rule
    assert "may have been trained on those shown" in shown.rule


def test_a_rival_without_an_image_leaves_its_place_empty(real: Cohort, content: ReportContent) -> None:
    rival = content.synthetic["unet-l1"].select(np.arange(2))
    (shown,) = reconstruction_galleries(real, content.synthetic["reconstruct"], {"unet-l1": rival})
    assert {len(row.pictures) for row in shown.rows} == {len(shown.columns)}
    assert any(row.pictures[3].caption == "not made" for row in shown.rows)


def test_transplants_stand_beside_their_host_and_donor(real: Cohort, content: ReportContent) -> None:
    shown = edit_gallery(real, content.synthetic["transplant"], "transplant")
    assert shown is not None
    assert shown.columns == ("FLAIR, lesion's donor", "T1, real (condition)", "FLAIR, real", "FLAIR, synthetic")
    assert len(shown.rows) == 4
    for row in shown.rows:
        assert row.header != "P00"
        assert row.details == ("slice 60", "lesion of P00, slice 82")
        assert row.pictures[-1].outline
    removed = edit_gallery(real, content.synthetic["remove"], "remove")
    assert removed is not None
    assert removed.columns[0] == "T1, real (condition)"
    assert all(picture.outline for row in removed.rows for picture in row.pictures)


def test_three_dimensional_cohorts_show_the_slice_with_most_lesion(real: Cohort, content: ReportContent) -> None:
    def deep(cohort: Cohort) -> Cohort:
        masks = np.repeat(cohort.masks[:, :, None], 12, axis=2)
        masks[:, 1:, :7] = 0
        return replace(cohort, images=np.repeat(cohort.images[:, :, None], 12, axis=2), masks=masks)

    volumes = deep(real)
    assert plane_index(volumes.lesion(1), volumes.body(1)) == 7
    assert plane_index(np.zeros((3, 4, 4)), np.arange(3)[:, None, None] * np.ones((3, 4, 4))) == 2
    (shown,) = reconstruction_galleries(volumes, deep(content.synthetic["reconstruct"]), {})
    assert shown.rows[0].pictures[0].width > 30
    assert any(row.details[0] == "slice 7" for row in shown.rows)
    for method in ("remove", "transplant"):
        edited = edit_gallery(volumes, deep(content.synthetic[method]), method)
        assert edited is not None
        assert all(row.details[0] == "slice 7" for row in edited.rows)  # where the lesion is, or was
        assert all(row.pictures[-1].outline for row in edited.rows)
    assert real_strip(volumes) is not None


def test_grey_values_are_the_window_without_a_stretch() -> None:
    image = np.array([[-1.0, 0.0, 1.0, 3.0, -3.0]])
    assert pixels_of(grey_picture(image, Frame(0, 1, 0, 5), "x").uri).tolist() == [[0, 128, 255, 255, 0]]
    faint = np.full((4, 4), -0.5)
    assert set(pixels_of(grey_picture(faint, Frame(0, 4, 0, 4), "x").uri).ravel()) == {64}


def test_differences_have_one_scale() -> None:
    x, y = np.zeros((1, 3)), np.array([[0.0, -0.25, 0.9]])
    assert pixels_of(difference_picture(x, y, Frame(0, 1, 0, 3), "x").uri).tolist() == [[0, 128, 255]]


def test_the_outline_surrounds_the_lesion_where_it_is_shown() -> None:
    lesion = np.zeros((20, 20), dtype=bool)
    lesion[8:12, 6:10] = True
    frame = Frame(5, 20, 5, 20)
    points = grey_picture(np.zeros((20, 20)), frame, "x", lesion).outline.strip("MZ").split()
    xy = np.array([[float(v) for v in point.split(",")] for point in points])
    assert xy.min(axis=0).tolist() == [1.0, 3.0]  # the lesion's left and upper edge, 5 pixels off the frame's
    assert xy.max(axis=0).tolist() == [5.0, 7.0]
    assert grey_picture(np.zeros((20, 20)), frame, "x", np.zeros((20, 20))).outline == ""


def test_a_frame_holds_every_body_and_shrinks_large_images() -> None:
    masks = np.zeros((2, 600, 600), dtype=bool)
    masks[0, 10:300, 20:30] = masks[1, 50:60, 5:580] = True
    frame = Frame.around(masks)
    assert (frame.top, frame.bottom, frame.left, frame.right) == (7, 303, 2, 583)
    assert frame.shrink == 3
    assert max(frame.cut(np.ones((600, 600))).shape) <= 256
    assert Frame.around(np.zeros((1, 5, 7))) == Frame(0, 5, 0, 7)


@given(st.integers(1, 8), st.integers(8, 256))
def test_pictures_fit_the_page_at_a_whole_zoom_where_one_fits(columns: int, pixels: int) -> None:
    width = picture_width(columns, pixels)
    assert width > 0
    assert columns * width + 132 <= 1040
    if pixels * columns + 6 * columns + 132 <= 1040:
        assert width % pixels == 0
