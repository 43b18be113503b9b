"""A ``.npy`` file that is written an element at a time."""

from __future__ import annotations

import hashlib
import os
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GrowingArray"]


class GrowingArray:
    """A ``.npy`` file that grows along its first axis; its header is completed by :meth:`close`.

    NumPy pads the header so that a longer first axis can be written in place.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.file, self.shape, self.dtype, self.n = file, shape, dtype, 0
        self._write_header()
        self.start = file.tell()

    def append(self, array: NDArray[Any]) -> str:
        """Write one element of the first axis; returns the SHA-256 of its bytes."""
        data = np.ascontiguousarray(array, dtype=self.dtype).tobytes()
        self.file.write(data)
        self.n += 1
        return hashlib.sha256(data).hexdigest()

    def close(self) -> None:
        self.file.seek(0)
        self._write_header()
        if self.file.tell() != self.start:
            raise RuntimeError("the header of the array outgrew its place")
        self.file.flush()
        os.fsync(self.file.fileno())

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self.file, header | {"shape": (self.n, *self.shape)})
