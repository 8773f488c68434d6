"""Joint questions teach what direct labels do not: words and manner together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_gain import share_right

SEEDS = (1, 2, 3)
STEPS = 120


@pytest.mark.shows("paralinguistic-training:6.6")
def test_joint_questions_lift_the_joint_answer_from_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        name: np.array([share_right(questions, seed, tmp_path / f"{name}{seed}", STEPS) for seed in SEEDS])
        for name, questions in (("direct", ("what", "how")), ("joint", ("what", "how", "both")))
    }
    with capsys.disabled():
        for name, shares in found.items():
            print(f"\n{name}: mean {shares.mean():.3f}, range {shares.min():.3f} to {shares.max():.3f}", end="")
    assert found["direct"].mean() < 0.45  # chance is one in four, one bit known one in two
    assert found["joint"].mean() > 0.85
    assert found["joint"].min() > found["direct"].max() + 0.2
