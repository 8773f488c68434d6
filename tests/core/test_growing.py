"""Rows that come few at a time are the rows of one array."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.growing import GrowingRows


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
@pytest.mark.parametrize("size", [1, 16, 5_000])
def test_as_one_concatenation(shape: tuple[int, ...], size: int) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((size, *shape), np.float32) for _ in range(300 if size < 100 else 3)]
    rows = GrowingRows()
    for part in parts:
        kept = part.copy()
        rows.add(part)
        part[:] = 0  # it was copied
        part[:] = kept
    found = rows.all()
    assert found.dtype == np.float32
    assert np.array_equal(found, np.concatenate(parts))
    rows.add(parts[0])
    assert len(found) == sum(map(len, parts))
