"""A scoring run that is killed at random moments and resumed ends as one that was not: no row lost, none doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

SCRIPT = Path(__file__).with_name("kill_scoring.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks")


def run_with_kills(home: Path, points: int, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(home), str(points), str(seed)],
        capture_output=True,
        text=True,
        timeout=60 + 20 * points,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed = [line.split() for line in done.stdout.splitlines()]
    assert [task for task, *_ in killed] == ["deepfake"] * points + ["speaker"] * points
    assert all(len(rows) > 1 for rows in killed), f"some runs were over before they were killed: {killed}"
    whole = {task: (home / f"{task}-whole.csv").read_bytes() for task in ("deepfake", "speaker")}
    check_whole(home)
    for number, (task, *rows) in enumerate(killed):
        resumed = home / f"{task}-{number % points}.csv"
        assert resumed.read_bytes() == whole[task], f"differs after kills at rows {rows} (seed {seed})"
    assert not list(home.glob("*.part*"))
    assert not list(home.glob("*.prints*"))


def check_whole(home: Path) -> None:
    """What the others are compared with has every recording and every trial once, and errors for the bad ones."""
    scored = pl.read_csv(home / "deepfake-whole.csv")
    assert scored["id"].to_list() == [f"{number:02}.wav" for number in range(40)]
    assert scored["error"].is_not_null().to_list() == [number % 7 == 6 for number in range(40)]
    trials = [line.split() for line in (home / "trials.txt").read_text().splitlines()]
    compared = pl.read_csv(home / "speaker-whole.csv")
    assert list(zip(compared["enrol"], compared["test"], strict=True)) == [(e, t) for _, e, t in trials]


def test_killed_and_resumed_is_as_never_killed(tmp_path: Path) -> None:
    run_with_kills(tmp_path / "home", points=1, seed=int.from_bytes(os.urandom(4)))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_twenty_points_is_as_never_killed(tmp_path: Path, seed: int) -> None:
    run_with_kills(tmp_path / "home", points=20, seed=seed)
