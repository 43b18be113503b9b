"""The BraTS tree on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from synthoma.errors import OutputError
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.storage import file_sha256

SMALL = {"spacing_mm": 4.0, "patients": 2, "seed": 3}


def _hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def brats_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brain_phantom(tmp_path_factory.mktemp("phantom") / "tree", BrainPhantomOptions(**SMALL))


def test_names_are_those_of_brats_2021(brats_tree: Path) -> None:
    suffixes = ("flair", "seg", "t1", "t1ce", "t2")
    names = [f"BraTS2021_0000{i}/BraTS2021_0000{i}_{suffix}.nii.gz" for i in (0, 1) for suffix in suffixes]
    assert sorted(_hashes(brats_tree)) == sorted([*names, "participants.tsv"])
    assert brats_tree.joinpath("participants.tsv").read_text() == (
        "participant_id\tsite\nBraTS2021_00000\tA\nBraTS2021_00001\tB\n"
    )


def test_volumes_share_one_lps_grid(brats_tree: Path) -> None:
    for path in brats_tree.glob("*/*.nii.gz"):
        image = nibabel.load(path)
        assert image.shape == (60, 60, 39)
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
        np.testing.assert_allclose(image.affine[:3, 3], (0, 239, 0))
        np.testing.assert_allclose(image.header.get_zooms(), 4)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert int(image.header["sform_code"]) > 0
        np.testing.assert_allclose(image.header.get_sform(), image.affine)
        assert image.get_data_dtype() == (np.uint8 if "_seg" in path.name else np.int16)


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(brats_tree: Path, tmp_path: Path) -> None:
    again = write_brain_phantom(tmp_path / "again", BrainPhantomOptions(**SMALL, workers=2))
    assert _hashes(again) == _hashes(brats_tree)


def test_patients_do_not_depend_on_their_number(brats_tree: Path, tmp_path: Path) -> None:
    one = write_brain_phantom(tmp_path / "one", BrainPhantomOptions(**(SMALL | {"patients": 1})))
    whole = _hashes(brats_tree)
    assert all(whole[name] == value for name, value in _hashes(one).items() if name != "participants.tsv")


def test_another_seed_gives_other_images(brats_tree: Path, tmp_path: Path) -> None:
    other = write_brain_phantom(tmp_path / "other", BrainPhantomOptions(**(SMALL | {"seed": 4, "patients": 1})))
    whole = _hashes(brats_tree)
    assert all(whole[name] != value for name, value in _hashes(other).items())


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    with pytest.raises(OutputError, match="found one that exists"):
        write_brain_phantom(folder, BrainPhantomOptions(**SMALL))
    assert _hashes(folder).keys() == {"notes.txt"}


def test_overwrite_replaces_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("old")
    write_brain_phantom(folder, BrainPhantomOptions(**(SMALL | {"patients": 1})), overwrite=True)
    assert not (folder / "notes.txt").exists()
    assert (folder / "BraTS2021_00000" / "BraTS2021_00000_seg.nii.gz").is_file()


def test_nothing_is_left_of_a_run_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def _stop(*_args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("synthoma.phantoms.brain._write_patient", _stop)
    with pytest.raises(KeyboardInterrupt):
        write_brain_phantom(tmp_path / "tree", BrainPhantomOptions(**SMALL))
    assert list(tmp_path.iterdir()) == []


def test_the_room_is_cheap_to_import() -> None:
    heavy = ("scipy", "nibabel", "skimage", "joblib", "torch")
    code = f"import sys, synthoma.phantoms; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
