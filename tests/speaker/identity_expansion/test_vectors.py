"""Averaged embeddings, purity, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.speaker.identity_expansion.vectors import AveragingConfig, SpeakerVectors, averaged


def test_the_mean_of_unit_vectors_and_its_length() -> None:
    vectors = np.float32([[2, 0], [0, 4]])
    found = averaged({"b": vectors, "a": np.float32([[3, 0]])}, AveragingConfig(least=1))
    table = found.speakers
    assert table.ids == ("a", "b")
    np.testing.assert_allclose(table.vectors[1], (0.70711, 0.70711), atol=1e-5)
    assert table.norm.tolist() == [3.0, 3.0]
    assert table.n_utt.tolist() == [1, 2]
    np.testing.assert_allclose(table.purity, (1, 0.70711), atol=1e-5)
    np.testing.assert_allclose(table.scaled("b"), (2.1213, 2.1213), atol=1e-4)
    assert found.refused == {}


def test_who_is_refused() -> None:
    circle = np.float32([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 7)[:-1]])
    pure = np.tile(np.float32([[1, 0.1]]), (6, 1))
    found = averaged({"two voices": circle, "few": pure[:4], "good": pure}, AveragingConfig())
    assert found.speakers.ids == ("good",)
    assert "purity below 0.5" in found.refused["two voices"]
    assert "fewer than 5 utterances of 3 to 10 s" in found.refused["few"]
    assert averaged({}, AveragingConfig()).speakers.ids == ()


def test_the_file_has_plain_arrays_only(tmp_path: Path) -> None:
    table = averaged({name: np.float32([[1, 2], [2, 1]]) for name in ("ä", "b")}, AveragingConfig(least=1)).speakers
    table.write(tmp_path / "x.npz")
    once = (tmp_path / "x.npz").read_bytes()
    again = SpeakerVectors.read(tmp_path / "x.npz")
    assert again.ids == ("b", "ä")
    np.testing.assert_array_equal(again.vectors, table.vectors)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert {name: file[name].dtype.str for name in file.files} == {
            "ids": "<U1", "vectors": "<f4", "norm": "<f4", "n_utt": "<i4", "purity": "<f4",
        }  # fmt: skip
    table.write(tmp_path / "x.npz")
    assert (tmp_path / "x.npz").read_bytes() == once
    np.savez(tmp_path / "evil.npz", ids=np.array([{}], dtype=object), allow_pickle=True)
    for name in ("evil.npz", "none.npz"):
        with pytest.raises(DataError, match="holds no speaker vectors"):
            SpeakerVectors.read(tmp_path / name)
    with pytest.raises(DataError, match="no embedding of speaker 'c'"):
        table.only(["c"])
    with pytest.raises(DataError, match="sorted"):
        SpeakerVectors(("b", "a"), table.vectors, table.norm, table.n_utt, table.purity)
