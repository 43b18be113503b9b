"""Ways to damage a file: bits, pieces, numbers and words, also inside gzip, zip, PNG and DICOM, whose checksums are
made right again so that the damage gets past them.

Every way is a function ``(content, rng, donors) -> content``; ``donors`` are whole files to take pieces from.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["damaged"]

Rng = np.random.Generator
Way = Callable[[bytes, Rng, Sequence[bytes]], bytes]

EXTREMES = (0, 1, -1, 2, 127, 255, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), -float("inf"), 2.0**31)
WORDS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "00",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "1e-300",
        "1.5",
        "9" * 30,
        "9" * 5000,
        "0x10",
        "1_000",
    ),
    *("2147483647", "4294967295", "-2147483648", "65536", "99999", "../../etc/passwd", "/etc/passwd", "..", "C:\\x"),
    *(
        "\x00",
        "\x1b[31m",
        "\r",
        "\n",
        '"',
        "'",
        ",",
        ";",
        "\t",
        "<",
        "&",
        "]]>",
        "&lol;",
        "é",
        "\ud800",
        "\u202e",
        "x" * 3000,
    ),
    *("x" * 200_000, "[" * 5000, "{", "}", "null", "true", "[]", "FALSE", "mask", "seg", "/", "%s%n", "<a>" * 3000),
)
_WORD = re.compile(rb"[A-Za-z0-9_.+-]+|[^A-Za-z0-9_.+\s-]")
_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_ELEMENT = re.compile(rb"(?s).\x00..(?=(" + b"|".join(_VRS) + rb"))")
_PNG = b"\x89PNG\r\n\x1a\n"


def damaged(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    """``content`` after one to three ways of damage; always another content."""
    before = content
    while content == before:
        for _ in range(int(rng.integers(1, 4))):
            ways = _ways(content)
            content = ways[int(rng.integers(len(ways)))](content, rng, donors)
    return content


def _ways(content: bytes) -> list[Way]:
    """The ways that suit a content; those that know its structure count most."""
    ways: list[Way] = [*_BLIND]
    if content[:2] == b"\x1f\x8b":
        ways += [_in_gzip] * 12
    elif content[:4] == b"PK\x03\x04":
        ways += [_in_zip] * 12
    elif content[:8] == _PNG:
        ways += [_in_png] * 8
    elif content[128:132] == b"DICM":
        ways += [_in_dicom] * 10
    elif b"\x00" not in content[:256]:
        ways += [_word] * 10
    return ways


def _flip(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    for place in rng.integers(0, 8 * len(changed), int(rng.integers(1, 17))):
        changed[int(place) // 8] ^= 1 << int(place) % 8
    return bytes(changed)


def _cut(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    start, end = _piece(content, rng)
    return content[:start] if rng.random() < 0.5 else content[:start] + content[end:]


def _splice(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    donor = donors[int(rng.integers(len(donors)))]
    start, end = _piece(donor, rng)
    at, over = int(rng.integers(len(content) + 1)), bool(rng.random() < 0.5)
    return content[:at] + donor[start:end] + content[at + (end - start if over else 0) :]


def _duplicate(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    start, end = _piece(content, rng)
    times = int(rng.choice([2, 2, 2, 50]))
    return content[:start] + content[start:end][:20_000] * times + content[end:]


def _integer(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["little", "big"]))
    value = int(EXTREMES[int(rng.integers(len(EXTREMES)))]) % 2 ** (8 * size)
    return _written(content, value.to_bytes(size, order), rng)  # type: ignore[arg-type]


def _float(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    value = FLOATS[int(rng.integers(len(FLOATS)))]
    return _written(content, struct.pack("<f", value), rng)


def _word(content: bytes, rng: Rng, _donors: Sequence[bytes]) -> bytes:
    words = list(_WORD.finditer(content))
    if not words:
        return content + b"x"
    found = words[int(rng.integers(len(words)))]
    word = WORDS[int(rng.integers(len(WORDS)))].encode("utf-8", "surrogatepass")
    return content[: found.start()] + word + content[found.end() :]


def _in_gzip(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return _flip(content, rng, donors)
    return gzip.compress(_one_blind(plain, rng, donors), mtime=0)


def _in_zip(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    """Damages, swaps, renames, drops or doubles members, or packs them in another way."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:  # damaged before
        return _flip(content, rng, donors)
    if not members:
        return _flip(content, rng, donors)
    i, j = (int(k) for k in rng.integers(len(members), size=2))
    (name, data), (other, replaced) = members[i], members[j]
    kind = int(rng.integers(8))
    if kind < 4:
        members[i] = (name, damaged(data, rng, donors))
    elif kind == 4:
        members[i], members[j] = (name, replaced), (other, data)
    elif kind == 5:
        word = WORDS[int(rng.integers(len(WORDS)))].encode("utf-8", "replace").decode()[:60_000]
        members[i] = (name.replace(name.rpartition("/")[2], word) if rng.random() < 0.5 else word + name, data)
    elif kind == 6:
        del members[i]
    else:
        members.append((name, replaced))
    packings = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    packing = int(rng.choice(packings, p=(0.45, 0.45, 0.05, 0.05)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for member, data in members:
            entry = zipfile.ZipInfo(member)  # of a fixed date
            entry.filename = member
            entry.compress_type = packing
            if member not in archive.NameToInfo:
                archive.writestr(entry, data)
    return stream.getvalue()


def _in_png(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    chunks, at = [], len(_PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return _flip(content, rng, donors)
    i = int(rng.integers(len(chunks)))
    kind, data = chunks[i]
    if kind == b"IDAT" and rng.random() < 0.5:
        try:
            data = zlib.compress(_one_blind(zlib.decompress(data), rng, donors))
        except zlib.error:
            data = _one_blind(data, rng, donors)
    else:
        data = _one_blind(data, rng, donors)
    chunks[i] = (kind, data)
    parts = [
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    ]
    return _PNG + b"".join(parts)


def _in_dicom(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    """One element of explicit representation gets another value, length, VR or place, or goes."""
    found = [match.start() for match in _ELEMENT.finditer(content, 132)]
    if not found:
        return _flip(content, rng, donors)
    at = found[int(rng.integers(len(found)))]
    long = content[at + 4 : at + 6] in _LONG
    first = at + (12 if long else 8)
    size = int.from_bytes(content[first - (4 if long else 2) : first], "little")
    end = min(first + size, len(content)) if size != 2**32 - 1 else first
    kind = int(rng.integers(6))
    if kind == 0:
        return content[: at + 4] + _VRS[int(rng.integers(len(_VRS)))] + content[at + 6 :]
    if kind == 1:
        width = 4 if long else 2
        value = int(EXTREMES[int(rng.integers(len(EXTREMES)))]) % 2 ** (8 * width)
        return content[: first - width] + value.to_bytes(width, "little") + content[first:]
    if kind == 2:
        return content[:at] + content[end:]
    if kind == 3:
        other = found[int(rng.integers(len(found)))]
        return content[:other] + content[at:end] + content[other:]
    if kind == 4 and size in (2, 4, 8):
        value = int(EXTREMES[int(rng.integers(len(EXTREMES)))]) % 2 ** (8 * size)
        return content[:first] + value.to_bytes(size, "little") + content[end:]
    word = WORDS[int(rng.integers(len(WORDS)))].encode("utf-8", "surrogatepass")[:60_000]
    if rng.random() < 0.3 and b"\\" in content[first:end]:
        word = b"\\".join([word[:50]] * int(rng.integers(1, 8)))
    word += b" " * (len(word) % 2)
    width = 4 if long else 2
    return content[: first - width] + len(word).to_bytes(width, "little") + word + content[end:]


_BLIND: tuple[Way, ...] = (_flip, _cut, _splice, _duplicate, _integer, _integer, _float)


def _one_blind(content: bytes, rng: Rng, donors: Sequence[bytes]) -> bytes:
    return _BLIND[int(rng.integers(len(_BLIND)))](content, rng, donors)


def _piece(content: bytes, rng: Rng) -> tuple[int, int]:
    """Start and end of a piece, short ones more often."""
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))


def _written(content: bytes, value: bytes, rng: Rng) -> bytes:
    """``value`` over a place that is in the head of the file as often as anywhere, mostly at an even one."""
    last = min(len(content), 400) if rng.random() < 0.5 else len(content)
    at = int(rng.integers(last + 1))
    at -= at % 2 if rng.random() < 0.8 else 0
    return content[:at] + value + content[at + len(value) :]
