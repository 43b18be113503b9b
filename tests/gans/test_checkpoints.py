"""Checkpoint files: exact, whole or not there, and without anything that could run."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from synthoma.errors import CheckpointError
from synthoma.gans.checkpoints import load_arrays, load_checkpoint, save_checkpoint, to_arrays
from synthoma.records import Checkpoint, Lineage


def a_checkpoint(step: int = 7) -> Checkpoint:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    arrays = to_arrays("networks/generator", network.state_dict()) | {
        "random/cpu": torch.get_rng_state().numpy(),
        "optimisers/generator/0/step": np.array(3, dtype=np.float32),
        "turned": np.arange(12.0).reshape(3, 4).T,  # not contiguous
    }
    lineage = Lineage.of("train", parents=("ab",), recipe={"a": 1}, seed=3, patients_seen=("p1", "p0"))
    return Checkpoint(step, arrays, {"best": 0.1 + 0.2}, {"gan": {"width": 4, "target": ["flair"]}}, lineage)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    saved = a_checkpoint()
    save_checkpoint(tmp_path / "c.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert (loaded.step, loaded.scalars, loaded.options, loaded.lineage) == (
        saved.step,
        saved.scalars,
        saved.options,
        saved.lineage,
    )
    assert set(loaded.arrays) == set(saved.arrays)
    for name, array in saved.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].shape == array.shape  # () stays (): the step counts of Adam and of batch norm
        assert np.array_equal(loaded.arrays[name], array)


def test_equal_states_have_equal_bytes(tmp_path: Path) -> None:
    saved = a_checkpoint()
    files = [tmp_path / f"{i}.safetensors" for i in range(12)]
    for file in files:
        save_checkpoint(file, saved)
    assert len({file.read_bytes() for file in files}) == 1


def test_a_network_comes_back_from_its_arrays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(2))
    one(torch.randn(2, 1, 8, 8))  # moves the statistics of the norm
    save_checkpoint(
        path := tmp_path / "c.safetensors", replace(a_checkpoint(), arrays=to_arrays("x", one.state_dict()))
    )
    load_arrays(other, load_checkpoint(path).part("x"), str(path))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_network_of_another_shape_is_refused_by_name() -> None:
    arrays = {name: value.numpy() for name, value in nn.Conv2d(1, 2, 3).state_dict().items()}
    with pytest.raises(CheckpointError, match=r"c\.safetensors: expected weights of the same .* difference at weight"):
        load_arrays(nn.Conv2d(1, 2, 5), arrays, "c.safetensors")
    with pytest.raises(CheckpointError, match="difference at bias"):
        load_arrays(nn.Conv2d(1, 2, 3, bias=False), arrays, "c.safetensors")


def test_the_file_holds_arrays_and_json_only(tmp_path: Path) -> None:
    """Read without any library: 8 bytes of length, a JSON header, numbers."""
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, a_checkpoint())
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    (state,) = header.pop("__metadata__").values()
    assert set(json.loads(state)) == {"step", "scalars", "options", "lineage"}
    assert {entry["dtype"] for entry in header.values()} <= {"F32", "F64", "I64", "U8"}
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - length


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"c\.safetensors: expected a checkpoint, found nothing"):
        load_checkpoint(tmp_path / "c.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, a_checkpoint())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="a damaged or foreign file"):
        load_checkpoint(path)


@pytest.mark.parametrize("damage", ["length", "header", "lineage", "step"])
def test_a_damaged_header_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, a_checkpoint())
    data = path.read_bytes()
    if damage == "length":
        data = b"\xff" * 8 + data[8:]
    elif damage == "header":
        data = data[:8] + b"X" + data[9:]
    else:  # of the same length: still JSON for safetensors, but no longer what synthoma wrote
        name = f'\\"{damage}\\"'.encode()
        assert name in data
        data = data.replace(name, name.replace(damage[:2].encode(), b"zz"), 1)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        load_checkpoint(path)


def test_weights_from_elsewhere_are_no_checkpoint(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="found another safetensors file"):
        load_checkpoint(tmp_path / "other.safetensors")


class Bomb:
    """Runs code when it is unpickled: makes the file ``fuse``."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, (f"touch {self.fuse}",)


@pytest.mark.parametrize("name", ["c.pt", "c.pkl", "c.safetensors"])
def test_a_file_that_carries_code_is_never_executed(tmp_path: Path, name: str) -> None:
    path, fuse = tmp_path / name, tmp_path / "fuse"
    if name == "c.pkl":
        path.write_bytes(pickle.dumps(Bomb(fuse)))
    else:
        torch.save({"step": Bomb(fuse)}, path)
    with pytest.raises(CheckpointError, match="files that carry code"):
        load_checkpoint(path)
    assert not fuse.exists()


def test_a_kill_while_writing_leaves_the_old_state(tmp_path: Path) -> None:
    """``kill -9`` from within the write, when half of the new bytes are on disk."""
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, a_checkpoint(step=1))
    program = f"""
        import dataclasses, os, signal
        from pathlib import Path
        import synthoma.storage as storage
        from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint

        class Dying:
            def __init__(self, file):
                self.file = file
            def __enter__(self):
                return self
            def __exit__(self, *_):
                self.file.close()
            def write(self, data):
                self.file.write(data[: len(data) // 2])
                self.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        path = Path({str(path)!r})
        old = load_checkpoint(path)
        fdopen = os.fdopen
        storage.os.fdopen = lambda *a: Dying(fdopen(*a))
        save_checkpoint(path, dataclasses.replace(old, step=2))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(list(tmp_path.iterdir())) == 2  # the half-written one lies beside it, under another name
    assert load_checkpoint(path).step == 1
    save_checkpoint(path, a_checkpoint(step=3))
    assert load_checkpoint(path).step == 3
