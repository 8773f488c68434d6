"""A training run that is killed at random moments and resumed ends as one that was not: every byte of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_training.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")


def run_with_kills(home: Path, points: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(home), str(points), str(seed)],
        capture_output=True, text=True, timeout=60 + 20 * points, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed = [line.split() for line in done.stdout.splitlines()]
    assert len(killed) == points
    assert all(killed), f"some runs were over before they were killed: {killed}"
    whole = contents(home / "whole")
    assert {"checkpoint.safetensors", "log.jsonl", "recipe.json"} < whole.keys()
    for point in range(points):
        resumed = contents(home / f"killed-{point}")
        assert resumed.keys() == whole.keys(), killed[point]
        for name, data in whole.items():
            assert resumed[name] == data, f"{name} differs after kills at log lines {killed[point]} (seed {seed})"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    run_with_kills(tmp_path, points=2, seed=int.from_bytes(os.urandom(4)))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_twenty_points_is_bit_equal(tmp_path: Path, seed: int) -> None:
    run_with_kills(tmp_path, points=20, seed=seed)
