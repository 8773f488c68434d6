"""From windows to segments, worked out by hand; and against a plain sum over windows."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.segments import segment_scores


def test_a_segment_is_the_mean_of_the_windows_over_it() -> None:
    """Windows of 2 s each second over 4.5 s, the last aligned to the end."""
    found = segment_scores([0, 1, 2, 2.5], [2, 3, 4, 4.5], [1, 3, 5, 9], 4.5, 1)
    assert found.starts_s.tolist() == [0, 1, 2, 3, 4]
    assert found.ends_s.tolist() == [1, 2, 3, 4, 4.5]
    # 0-1: the first; 1-2: first, second; 2-3: second, third, half of the last; 3-4: third and last; then the last
    np.testing.assert_allclose(found.scores, [1, 2, (3 + 5 + 9 / 2) / 2.5, 7, 9])
    np.testing.assert_allclose(found.heard_s, [1, 1, 1, 1, 0.5])


def test_windows_as_long_as_segments_are_the_segments() -> None:
    found = segment_scores([0, 0.5, 1], [0.5, 1, 1.2], [4, -2, 7], 1.2, 0.5)
    np.testing.assert_allclose(found.scores, [4, -2, 7])
    np.testing.assert_allclose(found.heard_s, [0.5, 0.5, 0.2])


def test_what_no_window_covers_takes_its_nearest_neighbour_and_says_so() -> None:
    found = segment_scores([0, 4], [1, 5], [2, 8], 6, 1)
    np.testing.assert_allclose(found.scores, [2, 2, 2, 8, 8, 8])  # between the two the nearer; the earlier of equals
    np.testing.assert_allclose(found.heard_s, [1, 0, 0, 0, 1, 0])


def test_a_recording_shorter_than_a_segment_has_one() -> None:
    found = segment_scores([0], [0.3], [5], 0.3, 0.5)
    assert (found.scores.tolist(), found.ends_s.tolist()) == ([5], [0.3])


def test_against_a_plain_sum() -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 9, 40))
    ends, scores = starts + rng.uniform(0.1, 3, 40), rng.standard_normal(40)
    found = segment_scores(starts, ends, scores, 10.3, 0.25)
    for start, end, score, heard in zip(found.starts_s, found.ends_s, found.scores, found.heard_s, strict=True):
        shared = np.clip(np.minimum(ends, end) - np.maximum(starts, start), 0, None)
        assert heard <= end - start + 1e-9
        if shared.sum() > 1e-6:
            assert score == pytest.approx(float(np.average(scores, weights=shared)), abs=1e-8)


@pytest.mark.parametrize(
    ("windows", "seconds", "step", "what"),
    [
        (([0], [1], [np.nan]), 1, 1, "not finite"),
        (([], [], []), 1, 1, "there are none"),
        (([1], [1], [0]), 2, 1, "ends before it starts"),
        (([0, 1], [1], [0]), 2, 1, "2 starts, 1 ends"),
        (([0], [1], [0]), 2, 0, "must be above 0"),
        (([5], [6], [0]), 2, 1, "no window lies within"),
    ],
)
def test_bad_input_is_refused(windows: tuple[list[float], ...], seconds: float, step: float, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        segment_scores(*windows, seconds, step)
