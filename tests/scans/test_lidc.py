"""LIDC-IDRI as distributed: which series the XML speaks of, which marks become masks, what is said of the others."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.errors import ScanError
from synthoma.records import Scan, part_of
from synthoma.scans import LidcData, find, read

PATIENT, SERIES = "LIDC-IDRI-0001", "1.2.77.5"
Z = (-100.0, -97.5, -95.0, -92.5)


class Readers:
    """One patient of four slices (16 × 20), and the XML that a test wants."""

    def __init__(self, root: Path, writers: Any) -> None:
        self.root, self.writers = root, writers
        self.folder = root / PATIENT / "1.2.77" / SERIES
        self.uids = writers.write_ct(self.folder, writers.voxels(77, (4, 16, 20)) + 900, SERIES)

    def outline(self, box: tuple[int, int, int, int], *slices: int) -> str:
        line = self.writers.lidc_line(*box)
        return "".join(self.writers.lidc_outline(line, self.uids[k], Z[k]) for k in slices)

    def nodule(self, box: tuple[int, int, int, int], *slices: int, malignancy: object = 3) -> str:
        return str(self.writers.lidc_nodule("x", self.outline(box, *slices), malignancy))

    def write(self, *readers: str, name: str = "069.xml", series: str = SERIES) -> None:
        (self.folder / name).write_text(self.writers.lidc_xml(series, *readers))

    def read(self, **options: Any) -> Scan:
        settings = LidcData(path=self.root, **options)
        (case,) = find(settings).cases
        return read(case, settings)


@pytest.fixture
def readers(tmp_path: Path, writers: Any) -> Readers:
    return Readers(tmp_path / "data", writers)


SMALL, WIDE, FAR = (5, 5, 7, 7), (5, 5, 9, 7), (14, 10, 16, 12)


def said(scan: Scan, start: str) -> str:
    (note,) = (note for note in scan.notes if note.startswith(start))
    return note


def test_a_nodule_is_what_half_of_its_readers_outlined(readers):
    readers.write(
        *(readers.nodule(box, 1, malignancy=m) for box, m in ((SMALL, 5), (WIDE, 4), (SMALL, 4))),
        readers.nodule(FAR, 0, 1, malignancy=2),
    )
    scan = readers.read()
    assert (scan.patient, scan.site, scan.label, scan.modality, scan.unit) == (PATIENT, "", "", "CT", "HU")
    assert scan.labels == {"nodule-1": "malignant", "nodule-2": "benign"}
    assert np.argwhere(scan.masks["nodule-1"]).tolist() == [[1, y, x] for y in (5, 6, 7) for x in (5, 6, 7)]
    assert np.argwhere(scan.masks["nodule-2"]).tolist() == [
        [z, y, x] for z in (0, 1) for y in (10, 11, 12) for x in (14, 15, 16)
    ]
    assert set(map(part_of, scan.lesions)) == {"nodule"}
    assert said(scan, "nodule-1") == "nodule-1: malignant, malignancy 5, 4, 4 (3 readers of 4)"
    assert scan.grid.spacing_mm == (2.5, 0.7, 0.7)
    assert scan.grid.origin_mm == (10, 20, -100)
    assert len(scan.source) == 5
    assert scan.source[0].path == f"{PATIENT}/1.2.77/{SERIES}/069.xml"
    np.testing.assert_array_equal(scan.channels["ct"], readers.writers.voxels(77, (4, 16, 20)) - 124.0)


@pytest.mark.parametrize(
    ("options", "pixels"),
    [({"consensus": 0.3}, 15), ({"consensus": 1.0}, 9), ({"consensus_of": "all"}, 9), ({"consensus": 0.25}, 15)],
)
def test_the_level_of_consensus_is_a_setting(readers, options, pixels):
    readers.write(readers.nodule(SMALL, 1), readers.nodule(WIDE, 1), readers.nodule(SMALL, 1), "")
    assert readers.read(**options).masks["nodule-1"].sum() == pixels


def test_dropped_nodules_are_not_taken_for_healthy_tissue(readers):
    first, second = readers.nodule(SMALL, 1, malignancy=3), readers.nodule(WIDE, 1, malignancy=4)
    other = readers.nodule(FAR, 2, malignancy=1)
    readers.write(first, second + other, "", "")
    kept = readers.read()
    assert kept.labels == {"nodule-1": "indeterminate", "nodule-2": "benign"}
    assert "excluded" not in kept.masks
    dropped = readers.read(indeterminate="drop")
    assert dropped.labels == {"nodule-2": "benign"}, "the number stays"
    assert list(dropped.masks) == ["nodule-2", "excluded"]
    assert np.argwhere(dropped.masks["excluded"]).tolist() == [[1, y, x] for y in (5, 6, 7) for x in range(5, 10)]
    assert dropped.lesions == ("nodule-2", "excluded")
    note = "nodule-1: indeterminate, malignancy 3, 4 (2 readers of 4); dropped: in the mask 'excluded'"
    assert said(dropped, "nodule-1") == note
    few = readers.read(min_readers=2)
    assert list(few.masks) == ["nodule-1", "excluded"]
    assert few.masks["excluded"][2].sum() == few.masks["excluded"].sum() == 9
    assert said(few, "nodule-2").endswith("(1 reader of 4); fewer than 2 readers: in the mask 'excluded'")


def test_what_too_few_agree_on_is_neither_nodule_nor_healthy(readers):
    readers.write(readers.nodule(SMALL, 1, 2), readers.nodule(SMALL, 1), readers.nodule(SMALL, 1), "")
    scan = readers.read()
    assert scan.masks["nodule-1"].sum(axis=(1, 2)).tolist() == [0, 9, 0, 0]
    assert scan.masks["excluded"].sum(axis=(1, 2)).tolist() == [0, 0, 9, 0]
    assert said(scan, "nodule-1").endswith("; too few readers agree on 1 slice: in the mask 'excluded'")
    readers.write(readers.nodule((2, 2, 4, 4), 1), readers.nodule((4, 4, 6, 6), 1), "", "")
    scan = readers.read(consensus_of="all", consensus=0.75)
    assert list(scan.masks) == ["excluded"]
    assert scan.masks["excluded"].sum() == 17
    assert scan.labels == {}
    assert "no voxel here that enough readers agree on: in the mask 'excluded'" in said(scan, "nodule-1")


def test_a_hole_is_cut_out(readers):
    hole = readers.writers.lidc_outline(readers.writers.lidc_line(6, 6, 6, 6), readers.uids[1], Z[1], "FALSE")
    outlines = readers.outline((3, 3, 9, 9), 1) + hole
    readers.write(readers.writers.lidc_nodule("x", outlines, 5), "", "", "")
    mask = readers.read().masks["nodule-1"]
    assert mask.sum() == 49 - 9
    assert not mask[1, 5:8, 5:8].any()


def test_absent_slices_are_named_and_not_invented(readers):
    whole = readers.nodule(SMALL, 0, 1, 2) + readers.nodule(FAR, 3)
    point = readers.writers.lidc_non_nodule("n", 3, 3, readers.uids[3], Z[3])
    small = readers.writers.lidc_nodule("s", readers.writers.lidc_outline([(4, 4)], readers.uids[0], Z[0]))
    readers.write(whole + point + small, "", "", "")
    (readers.folder / "-92.500000.dcm").unlink()
    (readers.folder / "-100.000000.dcm").unlink()
    scan = readers.read()
    assert list(scan.masks) == ["nodule-1"]
    assert scan.masks["nodule-1"].sum(axis=(1, 2)).tolist() == [9, 9]
    assert said(scan, "nodule-1").endswith("(1 reader of 4); outlined on 3 slices, 2 of them here")
    assert said(scan, "nodule-2").endswith("(1 reader of 4); outlined on 1 slice, none of them here: no mask")
    assert said(scan, "2 of 4") == "2 of 4 outlines and 2 of 2 points lie on 2 slices not here: z -100, -92.5 mm"
    points = "marked by a point only, without a mask: 1 nodules below 3 mm, 1 non-nodules"
    assert said(scan, "marked by a point") == points


def test_other_heights_and_other_numbers_of_sessions_are_said(readers):
    wrong = readers.writers.lidc_outline(readers.writers.lidc_line(*SMALL), readers.uids[1], -90.0)
    readers.write(readers.writers.lidc_nodule("x", wrong, 5), readers.nodule(SMALL, 1))
    scan = readers.read()
    assert scan.masks["nodule-1"][1].sum() == 9, "the UID counts"
    assert said(scan, "1 mark at") == "1 mark at another z than the slice that it names: -90 instead of -97.5 mm, …"
    assert said(scan, "the XML") == "the XML has 2 reading sessions instead of 4"


def test_no_nodule_is_said(readers):
    readers.write("", "", "", readers.writers.lidc_nodule("x", readers.outline((5, 5, 4, 4), 1), 3))
    scan = readers.read()
    assert not scan.masks
    assert not scan.labels
    assert said(scan, "no reader") == "no reader outlined a nodule from 3 mm: no mask"
    assert said(scan, "1 mark of") == "1 mark of nodules from 3 mm enclose no pixel: no mask"


def test_a_reader_of_two_marks_is_said(readers):
    readers.write(readers.nodule((5, 5, 6, 7), 1) + readers.nodule((8, 5, 9, 7), 1), readers.nodule(WIDE, 1), "", "")
    note = said(readers.read(), "nodule-1")
    assert note == "nodule-1: indeterminate, malignancy 3, 3, 3 marks (2 readers of 4)"


@pytest.mark.parametrize("box", [(30, 5, 33, 7), (5, 14, 7, 17), (-3, 5, 4, 7), (5, -3, 7, 3)])
def test_outlines_outside_the_image_are_refused(readers, box):
    readers.write(readers.nodule(box, 1), "", "", "")
    with pytest.raises(
        ScanError, match=r"069\.xml, reader 1, mark 'x', z -97\.5 mm: expected .* 20 x 16 pixels, found x"
    ):
        readers.read()


def test_at_the_border_the_line_runs_beside_the_image(readers):
    readers.write(readers.nodule((0, 0, 2, 1), 0) + readers.nodule((18, 13, 19, 15), 0), "", "", "")
    scan = readers.read()
    assert scan.masks["nodule-1"][0, :2, :3].all()
    assert scan.masks["nodule-2"][0, 13:, 18:].all()
    assert sum(int(mask.sum()) for mask in scan.masks.values()) == 6 + 6


def test_masks_go_the_way_of_resampled_slices(readers):
    """The third slice is missing: between its neighbours it is interpolated, and so is the mask."""
    readers.write(readers.nodule(SMALL, 1, 3), readers.nodule(FAR, 2), "", "")
    (readers.folder / "-95.000000.dcm").unlink()
    with pytest.raises(ScanError, match="1 slices missing"):
        readers.read()
    scan = readers.read(geometry={"irregular": "resample"})
    assert scan.grid.shape == (4, 16, 20)
    assert scan.masks["nodule-1"].sum(axis=(1, 2)).tolist() == [0, 9, 9, 9]
    assert said(scan, "nodule-2").endswith("none of them here: no mask")


def left_out(options: LidcData) -> dict[str, str]:
    return {out.name: out.reason for out in find(options).left_out}


def test_only_the_ct_that_the_xml_names_is_read(readers, writers):
    """A patient with a chest film and a second CT without readers; TCIA's names of folders mean nothing."""
    readers.write(readers.nodule(SMALL, 1), "", "", "")
    writers.write_ct(readers.root / PATIENT / "film", writers.voxels(1, (1, 16, 20)), "1.2.78.5", modality="DX")
    writers.write_ct(readers.root / PATIENT / "other", writers.voxels(1, (3, 16, 20)), "1.2.79.5")
    (readers.folder / "readme.xml").write_text("<html/>")
    readers.write("", name="068.xml", series="9.9")
    settings = LidcData(path=readers.root)
    assert [(case.name, case.patient) for case in find(settings).cases] == [(PATIENT, PATIENT)]
    place = f"{PATIENT}/1.2.77/{SERIES}"
    assert left_out(settings) == {
        f"{place}/068.xml": "readers' XML of a series that is not here",
        f"{place}/readme.xml": "expected the readers' XML of LIDC-IDRI (LidcReadMessage of http://www.nih.gov), "
        "found the root element html.",
        f"{PATIENT}/film": "modality DX, not CT",
        f"{PATIENT}/other": "a CT series without readers' XML",
    }


def test_several_series_of_a_patient_are_several_cases(readers, writers):
    readers.write("", "", "", "")
    writers.write_ct(readers.root / "b", writers.voxels(1, (3, 16, 20)), "1.2.79.5")
    (readers.root / "all.XML").write_text(writers.lidc_xml("1.2.79.5", ""))
    found = find(LidcData(path=readers.root))
    assert [(case.name, case.patient) for case in found.cases] == [(f"{PATIENT}-1", PATIENT), (f"{PATIENT}-2", PATIENT)]
    assert [case.series["ct"].slices for case in found.cases] == [4, 3]


def test_two_xml_of_one_series(readers):
    readers.write(readers.nodule(SMALL, 1), "", "", "")
    readers.write(readers.nodule(SMALL, 1), "", "", "", name="again.xml")
    assert len(find(LidcData(path=readers.root)).cases) == 1, "copies"
    readers.write(readers.nodule(WIDE, 1), "", "", "", name="again.xml")
    with pytest.raises(ScanError, match=r"left out .*2 XML of this series that differ: .*069\.xml, .*again\.xml"):
        find(LidcData(path=readers.root))


def test_a_xml_of_another_series_is_seen_when_read(readers):
    readers.write("")
    settings = LidcData(path=readers.root)
    (case,) = find(settings).cases
    readers.write("", series="9.9")
    with pytest.raises(
        ScanError, match=r"069\.xml: expected the readers' XML of this CT series, found that of another"
    ):
        read(case, settings)


@pytest.mark.parametrize(("patient", "reason"), [("", "no PatientID"), ("Doe^Jane 19500101", "a PatientID that is no")])
def test_a_patient_without_pseudonym_is_left_out_unnamed(readers, writers, patient, reason):
    readers.write("")
    writers.write_ct(readers.root / "x", writers.voxels(1, (3, 16, 20)), "1.2.79.5", patient)
    (readers.root / "x.xml").write_text(writers.lidc_xml("1.2.79.5", ""))
    found = find(LidcData(path=readers.root))
    assert [case.name for case in found.cases] == [PATIENT]
    (out,) = found.left_out
    assert (out.name, out.reason[: len(reason)]) == ("x", reason)
    assert "Doe" not in repr(found)


def test_no_name_of_a_person_reaches_the_scan(readers):
    readers.write(readers.nodule(SMALL, 1), "", "", "")
    settings = LidcData(path=readers.root)
    found = find(settings)
    assert "Somebody" not in repr(found)
    assert "Somebody" not in repr(read(found.cases[0], settings))


def test_a_zip_is_read_like_a_folder(readers, tmp_path):
    readers.write(readers.nodule(SMALL, 1), "", "", "")
    loose = readers.read()
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "lidc.zip", "w") as archive:
        for file in sorted(readers.root.rglob("*.*")):
            if file.is_file():
                archive.write(file, file.relative_to(readers.root))
    settings = LidcData(path=tmp_path / "zipped")
    scan = read(find(settings).cases[0], settings)
    assert scan.grid == loose.grid
    assert [file.path for file in scan.source] == [f"lidc.zip/{file.path}" for file in loose.source]
    for name, mask in loose.masks.items():
        np.testing.assert_array_equal(scan.masks[name], mask)
    np.testing.assert_array_equal(scan.channels["ct"], loose.channels["ct"])


@pytest.mark.parametrize("setting", [{"consensus": 0}, {"consensus": 1.1}, {"min_readers": 5}, {"indeterminate": "no"}])
def test_settings_have_bounds(tmp_path, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        LidcData(path=tmp_path, **setting)


REAL = {
    "LIDC-IDRI-0001": ({"nodule-1": "malignant"}, 8, "0 of 32 outlines and 22 of 22 points lie on 7 slices not here"),
    "LIDC-IDRI-0003": ({"nodule-1": "malignant"}, 7, "45 of 76 outlines and 29 of 38 points lie on 25 slices not here"),
}


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, Scan]:
    settings = LidcData(path=shared_data / "lidc")
    found = find(settings)
    assert not found.left_out
    return {case.name: read(case, settings) for case in found.cases}


@pytest.mark.parametrize("patient", REAL)
def test_the_real_nodules(real, patient):
    scan, (labels, slices, note) = real[patient], REAL[patient]
    assert scan.labels == labels
    assert sorted(scan.masks) == ["excluded", "nodule-1"]
    assert int(scan.masks["nodule-1"].any(axis=(1, 2)).sum()) == slices
    assert any(said.startswith(note) for said in scan.notes)
    assert not any("at another z" in said for said in scan.notes)
    if patient == "LIDC-IDRI-0003":
        assert [said(scan, f"nodule-{k}").rpartition("; ")[2] for k in (2, 3, 4)] == [
            f"outlined on {n} slices, none of them here: no mask" for n in (4, 8, 8)
        ]


@pytest.mark.parametrize("patient", REAL)
def test_the_real_masks_cover_tissue_and_not_air(real, patient):
    from scipy import ndimage

    ct, nodule = real[patient].channels["ct"], real[patient].masks["nodule-1"] > 0
    near = ndimage.binary_dilation(nodule, iterations=2) | (real[patient].masks["excluded"] > 0)
    around = ndimage.binary_dilation(nodule, iterations=6) & ~near
    assert ct[nodule].mean() > -250
    assert np.median(ct[nodule]) > -150
    assert np.median(ct[around]) < -750, "lung"
    line = ndimage.binary_dilation(nodule, np.ones((1, 3, 3))) & ~nodule
    assert ct[line].mean() < ct[nodule].mean() - 200, "the first pixels outside are darker"


def test_the_real_readers_agree_as_published(shared_data):
    """README of the folder: pairwise IoU 0.73 to 0.82 of the outlines of 0001; centroids within 1.7 mm."""
    from synthoma.scans.lidc_consensus import cluster
    from synthoma.scans.lidc_xml import parse_reading

    (file,) = (shared_data / "lidc" / "LIDC-IDRI-0001").glob("*.xml")
    (nodule,) = cluster([m for m in parse_reading(file.read_bytes(), "x").marks if m.kind == "nodule"])
    sets = [{(uid, y, x) for uid, pixels in slices.items() for y, x in pixels.tolist()} for slices in nodule.pixels]
    agreement = [len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i]]
    assert len(agreement) == 6
    assert 0.72 < min(agreement) < max(agreement) < 0.83
    assert [len(mark.outlines) for mark in nodule.marks] == [8, 7, 8, 9]
