"""Stretches below the rest, on tracks made for it."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.segments import SegmentScores
from earwitness.metrics.stretches import StretchRule, low_stretches


def track(scores: list[float], step_s: float = 0.5, silent: tuple[int, ...] = ()) -> SegmentScores:
    heard = np.array([0.0 if place in silent else step_s for place in range(len(scores))])
    return SegmentScores(step_s, len(scores) * step_s, np.array(scores, float), heard)


def found(scores: list[float], rule: StretchRule, silent: tuple[int, ...] = ()) -> list[tuple[float, ...]]:
    return [(s.start_s, s.end_s, s.score, s.fall) for s in low_stretches(track(scores, silent=silent), rule)]


def test_a_dip_is_found_with_its_depth() -> None:
    assert found([3, 3, 3, 0, -1, 3, 3, 3], StretchRule(2)) == [(1.5, 2.5, -0.5, 3.5)]
    assert found([3, 3, 3, 0, -1, 3, 3, 3], StretchRule(3.5)) == [(2.0, 2.5, -1.0, 4.0)]
    assert found([3, 3, 3, 0, -1, 3, 3, 3], StretchRule(4)) == [(2.0, 2.5, -1.0, 4.0)]  # as far as asked is far enough
    assert found([3, 3, 3, 0, -1, 3, 3, 3], StretchRule(4.01)) == []


def test_near_ones_are_joined_and_short_ones_left_out() -> None:
    scores = [5, 5, 0, 5, 0, 5, 5, 5, 0, 5, 5]
    assert [s[:2] for s in found(scores, StretchRule(2))] == [(1, 1.5), (2, 2.5), (4, 4.5)]
    assert [s[:2] for s in found(scores, StretchRule(2, bridge_s=0.5))] == [(1, 2.5), (4, 4.5)]
    assert found(scores, StretchRule(2, shortest_s=1, bridge_s=0.5)) == [
        (1, 2.5, 0, 5)
    ]  # the bridge is not in its mean


def test_a_recording_is_compared_with_itself() -> None:
    assert found([-9] * 12, StretchRule(0.5)) == []  # synthetic throughout: nothing stands out
    shifted = [value - 20 for value in [3, 3, 3, 0, 3, 3]]
    assert found(shifted, StretchRule(2)) == [(1.5, 2.0, -20, 3)]


def test_segments_without_sound_are_no_stretch_and_no_part_of_the_rest() -> None:
    assert found([3, 3, -9, -9, 3], StretchRule(2), silent=(2, 3)) == []
    assert found([3, -5, -5, -5, 3], StretchRule(2), silent=(1, 2, 3)) == []


@pytest.mark.parametrize("fields", [{"fall": 0}, {"fall": -1}, {"fall": 1, "shortest_s": -1}, {"fall": np.nan}])
def test_rules_without_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(MetricError, match="is no rule"):
        StretchRule(**fields)
