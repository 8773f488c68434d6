"""CTranslate2's `model.bin`, a plain binary of named arrays, read without CTranslate2.

All numbers are little-endian. Header: uint32 format version, the name of the model's kind, uint32 revision, uint32
number of arrays. Each array: name, uint8 rank, uint32 per dimension, uint8 element type, uint32 number of bytes, the
bytes. A name is a uint16 length and that many bytes, the last one zero. What follows (second names of arrays) is not
needed here.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import ModelError

FORMAT_VERSIONS = (4, 5, 6)
ELEMENT_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5, bfloat16, has no numpy type
BFLOAT16 = 5
Array = NDArray[Any]


@dataclass(frozen=True)
class NamedArrays:
    """The kind of model (e.g. `WhisperSpec`), its revision, and the arrays that were asked for."""

    spec: str
    revision: int
    arrays: dict[str, Array]


def read_arrays(path: str | Path, prefix: str = "") -> NamedArrays:
    """The arrays whose name starts with `prefix`, as they are stored; the others are skipped, not read.

    Raises `ModelError` for a file that is missing, cut off or of another format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Reader(file, path).read(prefix)
    except FileNotFoundError:
        raise ModelError("there is no such file", where=path) from None


def dequantised(arrays: dict[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Every array as float32; `X` of int8 or int16 is divided by its `X_scale` (one a row, or one for all)."""
    return {name: _dequantise(name, arrays) for name in arrays if not name.endswith("_scale")}


def _dequantise(name: str, arrays: dict[str, Array]) -> NDArray[np.float32]:
    values = arrays[name].astype(np.float32)
    scale = arrays.get(f"{name}_scale")
    if scale is None:
        return values
    rows = scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values / rows, np.float32)


class _Reader:
    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file = file
        self.path = path
        self.size = path.stat().st_size

    def read(self, prefix: str) -> NamedArrays:
        (version,) = self.unpack("I")
        if version not in FORMAT_VERSIONS:
            raise ModelError(
                f"is not a CTranslate2 file of format {FORMAT_VERSIONS[0]} to {FORMAT_VERSIONS[-1]}", where=self.path
            )
        spec = self.name()
        revision, count = self.unpack("II")
        arrays: dict[str, Array] = {}
        for _ in range(count):
            name = self.name()
            array = self.array(name, skip=not name.startswith(prefix))
            if array is not None:
                arrays[name] = array
        return NamedArrays(spec, revision, arrays)

    def array(self, name: str, *, skip: bool) -> Array | None:
        (rank,) = self.unpack("B")
        shape = self.unpack("I" * rank)
        kind, size = self.unpack("BI")
        if skip:
            self.need(size)
            self.file.seek(size, 1)
            return None
        if kind not in ELEMENT_TYPES and kind != BFLOAT16:
            raise ModelError(f"array {name} has the unknown element type {kind}", where=self.path)
        dtype = np.dtype(ELEMENT_TYPES.get(kind, "<u2"))
        if math.prod(shape) * dtype.itemsize != size:
            raise ModelError(f"array {name} has {size} bytes, which do not fit its shape {shape}", where=self.path)
        values = np.frombuffer(self.bytes(size), dtype).reshape(shape)
        return _widen_bfloat16(values) if kind == BFLOAT16 else values

    def name(self) -> str:
        (length,) = self.unpack("H")
        return self.bytes(length).rstrip(b"\0").decode("utf-8", "replace")

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))

    def bytes(self, count: int) -> bytes:
        self.need(count)
        return self.file.read(count)

    def need(self, count: int) -> None:
        if count > self.size - self.file.tell():
            raise ModelError("is cut off or not a CTranslate2 file", where=self.path, fix="Get the file again.")


def _widen_bfloat16(bits: Array) -> NDArray[np.float32]:
    """bfloat16 is the upper half of float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
