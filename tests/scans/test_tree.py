"""Files on disk and in archives: what is listed, what is read, what is refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from synthoma.errors import ScanError
from synthoma.scans import tree
from synthoma.scans.tree import File, list_tree


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Loose files, an archive, and an archive with archives in it."""
    root = tmp_path / "data"
    (root / "b" / "c").mkdir(parents=True)
    (root / "-1.5.dcm").write_bytes(b"minus")
    (root / "b" / "c" / "IM 7").write_bytes(b"blank in the name")
    (root / ".hidden").write_bytes(b"x")
    (root / "a.ZIP").write_bytes(
        packed({"inner/image_1": b"one" * 500, "__MACOSX/._x": b"x", "inner/.DS": b"x", "d/": b""})
    )
    innermost = packed({"deep": b"deep"})
    inner = packed({"CT/1": b"first", "CT/2": b"second", "more.zip": innermost})
    (root / "b" / "all.zip").write_bytes(packed({"p1/CT.zip": inner, "p1/readme.txt": b"read me"}))
    return root


CONTENT = {
    "-1.5.dcm": b"minus",
    "a.ZIP/inner/image_1": b"one" * 500,
    "b/all.zip/p1/CT.zip/CT/1": b"first",
    "b/all.zip/p1/CT.zip/CT/2": b"second",
    "b/all.zip/p1/CT.zip/more.zip/deep": b"deep",
    "b/all.zip/p1/readme.txt": b"read me",
    "b/c/IM 7": b"blank in the name",
}


def test_lists_and_reads_everything_but_what_is_hidden(folder):
    files = list_tree(folder)
    assert [file.name(folder) for file in files] == sorted(CONTENT)
    for file in files:
        content = CONTENT[file.name(folder)]
        assert file.read() == content
        assert file.start(4) == content[:4]
        assert file.start(10**6) == content
        assert str(file.where) == str(folder / file.name(folder))


def test_files_travel_to_other_processes(folder):
    for file in list_tree(folder):
        assert pickle.loads(pickle.dumps(file)) == file  # noqa: S301
        assert pickle.loads(pickle.dumps(file)).read() == file.read()  # noqa: S301


def test_one_archive_is_a_tree(folder):
    root = folder / "b" / "all.zip"
    assert [file.name(root) for file in list_tree(root)] == [
        name.removeprefix("b/") for name in sorted(CONTENT) if name.startswith("b/all.zip")
    ]


def test_an_archive_that_is_replaced_is_read_anew(folder):
    path = folder / "a.ZIP"
    file = File(path, "inner/image_1")
    assert file.read() == b"one" * 500
    path.write_bytes(packed({"inner/image_1": b"another"}))
    assert file.read() == b"another"
    path.write_bytes(packed({"else": b"x"}))
    with pytest.raises(ScanError, match=r"a\.ZIP/inner/image_1: expected a member of the archive, found none"):
        file.read()
    path.unlink()
    with pytest.raises(ScanError, match="No such file"):
        file.read()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/passwd", "C:/x", "a\\..\\b"])
def test_names_that_leave_the_archive(tmp_path, name):
    (tmp_path / "bad.zip").write_bytes(packed({name: b"x"}))
    with pytest.raises(ScanError, match=r"bad\.zip: expected names that stay inside the archive, found "):
        list_tree(tmp_path)


def test_encrypted_members(tmp_path):
    content = bytearray(packed({"a": b"x" * 20}))
    at = content.find(b"PK\x01\x02")
    for flags in (6, at + 8):  # of the member, and of the directory
        content[flags] |= 1
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ScanError, match=r"bad\.zip: expected members without a password, found encrypted ones"):
        list_tree(tmp_path)


def test_archives_that_grow_without_bound(tmp_path):
    """A directory that claims 5 GiB for a member, and many members that claim 2 GiB in all out of a few bytes."""
    content = bytearray(packed({"a": b"x" * 20}))
    at = content.find(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ScanError, match=r"bad\.zip: expected an archive that grows at most 500-fold, found \d+ bytes"):
        list_tree(tmp_path)


def test_members_and_files_of_any_size(tmp_path, monkeypatch):
    (tmp_path / "bad.zip").write_bytes(packed({"a": b"x" * 200}))
    file = File(tmp_path / "bad.zip", "a")
    monkeypatch.setattr(tree, "MOST_FILE_BYTES", 100)
    with pytest.raises(ScanError, match=r"expected at most 100 bytes a member and .* in all, found 200 and 200"):
        list_tree(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * 101)
    for large in (file, File(tmp_path / "large")):
        with pytest.raises(ScanError, match="more than 100 bytes"):
            large.read()
        assert large.start(100) == b"x" * 100


def test_archives_nested_without_end(tmp_path):
    content = packed({"x": b"x"})
    for _ in range(4):
        content = packed({"in.zip": content})
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ScanError, match="expected archives nested no deeper than 3, found one more"):
        list_tree(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", packed({"a": b"x" * 500})[:-30]])
def test_damaged_archives(tmp_path, content):
    (tmp_path / "bad.zip").write_bytes(content)
    (tmp_path / "good").write_bytes(b"x")
    with pytest.raises(ScanError, match=r"bad\.zip: expected a complete zip archive, found one that cannot be read"):
        list_tree(tmp_path)
    left_out = []
    assert [file.name(tmp_path) for file in list_tree(tmp_path, left_out)] == ["good"]
    assert [(out.name, out.reason.startswith("expected a complete zip archive")) for out in left_out] == [
        ("bad.zip", True)
    ]


def test_a_spoiled_member_fails_its_checksum(tmp_path):
    content = bytearray(packed({"a": bytes(range(256)) * 4}))
    content[60] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    (file,) = list_tree(tmp_path)
    with pytest.raises(ScanError, match=r"bad\.zip/a: expected a complete file, found one that cannot be read"):
        file.read()
