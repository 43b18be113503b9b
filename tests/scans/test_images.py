"""Pictures with a table, and stacked arrays."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from synthoma.errors import ScanError
from synthoma.scans import ImagesData, find, read
from synthoma.scans.images import contents
from synthoma.scans.pictures import read_picture


def folder_with(root, table, **pictures):
    """Write ``images.csv`` and pictures (name without suffix → array) as NumPy files."""
    (root / "images.csv").write_text(table, encoding="utf-8")
    for name, array in pictures.items():
        np.save(root / f"{name}.npy", array)
    return ImagesData(path=root)


def only(options):
    """Read the only case."""
    found = find(options)
    assert found.left_out == ()
    (case,) = found.cases
    return read(case, options)


@pytest.mark.parametrize(
    ("end", "dtype"),
    [(".png", t) for t in ("uint8", "uint16")]
    + [(e, t) for e in (".tif", ".npy") for t in ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")],
)
def test_every_type_keeps_its_values(tmp_path, end, dtype):
    low, high = (-3.5, 7e4) if dtype.startswith("f") else (np.iinfo(dtype).min, min(np.iinfo(dtype).max, 2**24))
    array = np.linspace(low, high, 30).astype(dtype).reshape(5, 6)
    path = tmp_path / f"a{end}"
    match end:
        case ".png":
            Image.fromarray(array).save(path)
        case ".tif":
            tifffile.imwrite(path, array)
        case _:
            np.save(path, array)
    picture = read_picture(path)
    assert picture.array.dtype == dtype or (dtype == "uint16" and picture.array.dtype.kind in "ui")
    np.testing.assert_array_equal(picture.array, array)
    (tmp_path / "images.csv").write_text(f"path,patient_id\na{end},P\n")
    scan = only(ImagesData(path=tmp_path))
    np.testing.assert_array_equal(scan.channels["image"][0], array.astype(np.float32))
    assert (scan.grid.known, scan.modality, scan.unit, scan.notes) == (False, "OT", "arbitrary", ("no mask",))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", None])
def test_compressed_tiff(tmp_path, compression):
    array = np.arange(600, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").array, array)


def test_jpeg_is_read(tmp_path):
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1))).save(tmp_path / "a.jpg", quality=95)
    assert abs(read_picture(tmp_path / "a.jpg").array.astype(int) - np.arange(64)).max() < 8


def test_order_is_that_of_the_table_or_of_slice(tmp_path, writers):
    a, b, c = (writers.voxels(k, (4, 5)) for k in range(3))
    table = "path,patient_id\nb.npy,P\na.npy,P\nc.npy,P\n"
    scan = only(folder_with(tmp_path, table, a=a, b=b, c=c))
    np.testing.assert_array_equal(scan.channels["image"], np.stack([b, a, c]))
    table = "path;patient_id;slice\nb.npy;P;10\na.npy;P;2\nc.npy;P;-1.5\n"
    scan = only(folder_with(tmp_path, "\ufeff" + table))
    np.testing.assert_array_equal(scan.channels["image"], np.stack([c, a, b]))


def test_a_patient_of_two_labels_or_two_scans_is_two_cases_of_one_patient(tmp_path, writers):
    pictures = {name: writers.voxels(k, (4, 5)) for k, name in enumerate("abcd")}
    table = "path,patient_id,scan,label\na.npy,P,,good\nb.npy,P,,bad\nc.npy,Q,1,good\nd.npy,Q,2,good\n"
    cases = find(folder_with(tmp_path, table, **pictures)).cases
    assert [(case.name, case.patient, case.label) for case in cases] == [
        ("P/bad", "P", "bad"),
        ("P/good", "P", "good"),
        ("Q/1", "Q", "good"),
        ("Q/2", "Q", "good"),
    ]


def test_channels_missing_for_one_patient_and_different_slices(tmp_path, writers):
    pictures = {name: writers.voxels(k, (4, 5)) for k, name in enumerate("abcdef")}
    table = "path,patient_id,channel\na.npy,P,t1\nb.npy,P,t2\nc.npy,Q,t1\nd.npy,R,t1\ne.npy,R,t1\nf.npy,R,t2\n"
    found = find(folder_with(tmp_path, table, **pictures))
    assert [(case.name, case.missing) for case in found.cases] == [("P", ()), ("Q", ("t2",))]
    assert [(out.name, out.reason) for out in found.left_out] == [
        ("R", "its channels have different slices (t1 2, t2 1)")
    ]


def test_masks_of_some_images(tmp_path, writers):
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 2] = 255
    table = "path,patient_id,mask\na.npy,P,\nb.npy,P,m.npy\n"
    scan = only(folder_with(tmp_path, table, a=writers.voxels(1, (4, 5)), b=writers.voxels(2, (4, 5)), m=mask))
    assert np.argwhere(scan.masks["lesion"]).tolist() == [[1, 1, 2]]
    assert scan.notes == ("1 of 2 images have no mask: taken as no lesion",)


def test_several_masks_are_columns_by_setting(tmp_path, writers):
    pictures = {name: writers.voxels(k, (4, 5)) for k, name in enumerate("ab")}
    masks = {
        name: (writers.voxels(k, (4, 5)) > 100).astype(np.uint8) for k, name in enumerate(("body", "core", "all"), 7)
    }
    lines = ("path,patient_id,mask,of_body,of_core", "a.npy,P,all.npy,body.npy,", "b.npy,P,,body.npy,core.npy")
    options = folder_with(tmp_path, "\n".join(lines), **pictures, **masks)
    assert contents(options, find(options).cases) == (("image",), ("lesion",))
    options = options.model_copy(update={"masks": {"body": "of_body", "core": "of_core"}})
    scan = only(options)
    assert contents(options, find(options).cases) == (("image",), ("core",))
    assert (list(scan.masks), scan.lesions) == (["body", "core"], ("core",))
    np.testing.assert_array_equal(scan.masks["body"], np.stack([masks["body"]] * 2))
    np.testing.assert_array_equal(scan.masks["core"], np.stack([0 * masks["core"], masks["core"]]))
    assert scan.notes == ("1 of 2 images have no mask core: taken as no lesion",)
    assert {file.path for file in scan.source} == {"a.npy", "b.npy", "body.npy", "core.npy"}


def test_columns_of_masks_that_are_not_there_or_not_full(tmp_path, writers):
    table = "path,patient_id,of_body\na.npy,P,m.npy\nb.npy,P,\n"
    mask = np.eye(4, 5, dtype=np.uint8)
    options = folder_with(tmp_path, table, a=writers.voxels(1, (4, 5)), b=writers.voxels(2, (4, 5)), m=mask)
    wrong = options.model_copy(update={"masks": {"body": "off_body"}})
    message = r"expected a column off_body, found path, .*\n.*'of_body'.* Set data\.masks\.body to its name"
    with pytest.raises(ScanError, match=message):
        find(wrong)
    expected = r"found P \(1 of 2 images have no mask body\)\.\nGive it to all of them or to none"
    with pytest.raises(ScanError, match=expected):
        find(options.model_copy(update={"masks": {"body": "of_body"}}))


def test_no_channel_has_the_name_of_masks(tmp_path, writers):
    for name in ("mask", "mask/core"):
        options = folder_with(tmp_path, f"path,patient_id,channel\na.npy,P,{name}\n", a=writers.voxels(1, (4, 5)))
        with pytest.raises(ScanError, match="expected channels, found one named mask"):
            find(options)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 6), np.uint8), r"m\.npy: expected a mask of its image's size \(4, 5\), found \(4, 6\)"),
        (np.arange(20, dtype=np.uint8).reshape(4, 5) % 3, "expected a mask of 0 and one other value, found .* 0, 1, 2"),
        (np.full((4, 5), 0.5), "expected labels"),
    ],
)
def test_bad_masks(tmp_path, writers, mask, message):
    options = folder_with(tmp_path, "path,patient_id,mask\na.npy,P,m.npy\n", a=writers.voxels(1, (4, 5)), m=mask)
    with pytest.raises(ScanError, match=message):
        only(options)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan]]), "P, channel image: expected finite intensities, found 1 voxels"),
        (np.ones((4, 5)), "P, channel image: expected an image, found the constant 1"),
        (np.zeros((2, 3, 4, 5)), r"a\.npy: expected a picture \(y, x\), found the shape \(2, 3, 4, 5\)"),
        (np.array([["a", "b"]]), "expected real numbers"),
    ],
)
def test_bad_pictures(tmp_path, array, message):
    with pytest.raises(ScanError, match=message):
        only(folder_with(tmp_path, "path,patient_id\na.npy,P\n", a=array))


def test_pictures_of_two_sizes(tmp_path):
    options = folder_with(
        tmp_path, "path,patient_id\na.npy,P\nb.npy,P\n", a=np.arange(20).reshape(4, 5), b=np.arange(20).reshape(5, 4)
    )
    with pytest.raises(ScanError, match=r"P: expected images of one size .*\(4, 5\) in a\.npy, \(5, 4\) in b\.npy"):
        only(options)


def test_colours(tmp_path):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    (tmp_path / "images.csv").write_text("path,patient_id\na.png,P\n")
    options = ImagesData(path=tmp_path)
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(only(options).channels["image"][0], grey)
    Image.fromarray(np.stack([grey, grey, grey, np.full_like(grey, 255)], -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(only(options).channels["image"][0], grey)
    Image.fromarray(np.stack([grey, grey, grey, grey], -1)).save(tmp_path / "a.png")
    with pytest.raises(ScanError, match="expected an opaque picture"):
        only(options)
    Image.fromarray(np.stack([grey, grey, 2 * grey], -1)).save(tmp_path / "a.png")
    with pytest.raises(ScanError, match=r"a\.png: expected grey values, found colours .*\n.*data.colour=luminance"):
        only(options)
    channel = only(options.model_copy(update={"colour": "luminance"})).channels["image"][0]
    np.testing.assert_allclose(channel, grey * (0.299 + 0.587 + 2 * 0.114), rtol=1e-6)


def test_several_pages_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.arange(60, dtype=np.uint8).reshape(3, 4, 5), photometric="minisblack")
    with pytest.raises(ScanError, match=r"a\.tif: expected one picture, found 3 pages"):
        read_picture(tmp_path / "a.tif")


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ScanError, match="allow_pickle=False"):
        read_picture(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected a line of column names, found an empty file"),
        ("path,patient_id\n", "expected a row for at least one image, found no rows"),
        ("path,patient\na.npy,P\n", r"expected a column patient_id, found path, patient\.\nDid you mean 'patient'\?"),
        ("path,patient_id\na.npy\n", "expected 2 values in line 2, found 1"),
        ("path,patient_id\na.npy,\n", "expected a patient_id in row 2, found nothing"),
        ("path,patient_id,slice\na.npy,P,one\n", "expected a number as slice in row 2, found 'one'"),
        ("path,patient_id,channel\na.npy,P,mask\n", "expected channels, found one named mask"),
        ("path,patient_id\nb.npy,P\n", r"P \(1 of 1 files are not there: b\.npy\)"),
        ("path,patient_id\nimages.csv,P\n", r"P \(images\.csv is none of \.png"),
        ("path,patient_id,slice\na.npy,P,1\na.npy,P,1\n", "the same slice twice in one channel"),
    ],
)
def test_bad_tables(tmp_path, writers, table, message):
    options = folder_with(tmp_path, table, a=writers.voxels(1, (4, 5)))
    with pytest.raises(ScanError, match=message) as caught:
        find(options)
    assert "images.csv" in str(caught.value)


def test_which_table_is_meant(tmp_path, writers):
    options = folder_with(tmp_path, "path,patient_id\na.npy,P\n", a=writers.voxels(1, (4, 5)))
    (tmp_path / "z.csv").write_text("x\n1\n")
    with pytest.raises(ScanError, match=r"expected one \.csv file, found images\.csv, z\.csv.*\nSet data.table"):
        find(options)
    assert only(options.model_copy(update={"table": tmp_path / "images.csv"})).patient == "P"
    assert only(ImagesData(path=tmp_path / "images.csv")).patient == "P"


@pytest.fixture
def stack_file(tmp_path, writers):
    """An .npz laid out like the lung nodules: one value an image in every column."""
    path = tmp_path / "stack.npz"
    np.savez_compressed(
        path,
        image=writers.voxels(1, (5, 6, 7), "uint8"),
        outline=np.where(writers.voxels(2, (5, 6, 7)) > 150, 255, 0).astype(np.uint8),
        label=np.array([0, 0, 1, 0, 1], np.uint8),
        exam=np.array(["e2", "e1", "e1", "e2", "e1"]),
        nodule=np.array(["8", "1", "2", "8", "2"]),
        order=np.array([1, 0, 1, 0, 0], np.int16),
    )
    return path


COLUMNS = {"patient_id": "exam", "scan": "nodule", "slice": "order"}


def test_stack_with_its_own_columns(stack_file, writers):
    options = ImagesData(path=stack_file, columns=COLUMNS, mask_arrays={"nodule": "outline"}, modality="CT")
    cases = find(options).cases
    assert [(case.name, case.patient, case.label, case.rows) for case in cases] == [
        ("e1/1", "e1", "0", (1,)),
        ("e1/2", "e1", "1", (4, 2)),
        ("e2/8", "e2", "0", (3, 0)),
    ]
    scan = read(cases[1], options)
    np.testing.assert_array_equal(scan.channels["image"], writers.voxels(1, (5, 6, 7), "uint8")[[4, 2]])
    np.testing.assert_array_equal(scan.masks["nodule"], writers.voxels(2, (5, 6, 7))[[4, 2]] > 150)
    assert (scan.modality, scan.notes, scan.source[0].path) == ("CT", (), "stack.npz")


def test_stack_with_a_csv_and_other_arrays(stack_file, tmp_path):
    table = tmp_path / "rows.csv"
    table.write_text("patient_id\nA\nB\nA\nB\nB\n")
    options = ImagesData(path=stack_file, table=table, arrays={"ct": "image", "pet": "outline"})
    cases = find(options).cases
    assert [(case.name, case.rows) for case in cases] == [("A", (0, 2)), ("B", (1, 3, 4))]
    assert set(read(cases[0], options).channels) == {"ct", "pet"}
    table.write_text("patient_id\nA\n")
    with pytest.raises(ScanError, match=r"rows\.csv: expected 5 rows, one an image of stack\.npz, found 1"):
        find(options)


def test_same_slice_twice_in_a_stack_asks_for_scan(stack_file):
    found = find(ImagesData(path=stack_file, columns={"patient_id": "exam", "slice": "label"}))
    assert [case.name for case in found.cases] == ["e1/0"]
    assert [out.name for out in found.left_out] == ["e1/1", "e2"]
    assert found.left_out[0].reason.startswith("some images have the same slice: name the column")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrays": {"ct": "imag"}}, r"expected an array named imag, found .*\nDid you mean 'image'\?"),
        ({"arrays": {"ct": "exam"}}, r"expected exam as \(n, y, x\), found the shape \(5,\)"),
        ({"columns": {}}, "expected a column patient_id"),
        ({"columns": {**COLUMNS, "site": "hospital"}}, "expected a column hospital, found .*"),
    ],
)
def test_bad_settings_of_a_stack(stack_file, change, message):
    with pytest.raises(ScanError, match=message):
        find(ImagesData(**{"path": stack_file, "columns": COLUMNS, **change}))


def test_damaged_stack_and_one_with_code(stack_file, tmp_path):
    options = ImagesData(path=stack_file, columns=COLUMNS)
    find(options)
    stack_file.write_bytes(stack_file.read_bytes()[:-30])
    with pytest.raises(ScanError, match=r"stack\.npz: expected a complete \.npz file"):
        find(options)
    np.savez(stack_file, image=np.array([{}], dtype=object))
    with pytest.raises(ScanError, match="allow_pickle=False"):
        find(options)


def test_real_nodules(shared_data):
    columns = {"patient_id": "exam_id", "scan": "nodule_id", "slice": "slice_index"}
    options = ImagesData(path=shared_data / "lidc-nodules/segmented_slices64.npz", columns=columns)
    cases = find(options).cases
    assert (len(cases), len({case.patient for case in cases})) == (701, 396)
    assert sum(len(case.rows) for case in cases) == 3961
    labels = {}
    for case in cases:
        labels.setdefault(case.patient, set()).add(case.label)
    assert sum(len(values) == 2 for values in labels.values()) == 49
    scan = read(cases[0], options)
    assert scan.grid.shape == (len(cases[0].rows), 64, 64)
