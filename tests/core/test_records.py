"""Hashes, run records and the cache folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.core.cache import cache_folder
from earwitness.core.hashing import sha256_data, sha256_file, sha256_samples, sha256_text
from earwitness.core.records import RunRecord


def test_hashes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5_000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert sha256_text("ß") == hashlib.sha256("ß".encode()).hexdigest()
    assert sha256_text("caf\udce9") == hashlib.sha256(b"caf\xe9").hexdigest()
    assert sha256_data({"a": 1, "b": [2.5, None]}) == sha256_data({"b": [2.5, None], "a": 1})
    assert sha256_data({"a": 1}) != sha256_data({"a": 2})
    samples = np.array([0.5, -0.5], np.float32)
    assert sha256_samples(samples) == hashlib.sha256(samples.tobytes()).hexdigest()


def test_a_record_says_what_ran_where(tmp_path: Path) -> None:
    record = RunRecord.make("earwitness train x.yaml", {"epochs": 3}, seed=7, notes=["a leak was allowed"])
    path = tmp_path / "deep" / "record.json"
    record.write(path)
    told = json.loads(path.read_text())
    assert told == record.plain()
    assert told["command"] == "earwitness train x.yaml"
    assert (told["settings"], told["seed"], told["notes"]) == ({"epochs": 3}, 7, ["a leak was allowed"])
    assert {"code", "earwitness", "torch", "numpy"} <= told["versions"].keys()
    assert told["machine"]["python"]
    assert told["created"].endswith("+00:00")


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("EARWITNESS_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "earwitness"
