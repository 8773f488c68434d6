"""Where windows lie, and which seconds their labels are for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.speech_llm.cpqa.windows import WindowConfig, label_windows


@pytest.mark.shows("cpqa:6.1")
def test_the_windows_of_eleven_seconds() -> None:
    found = label_windows(0.0, 11.0, WindowConfig(edge="drop"))
    assert [(one.start, one.end) for one in found] == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert [(one.label_start, one.label_end) for one in found] == [(1, 3), (3, 5), (5, 7), (7, 9)]
    extended = label_windows(0.0, 11.0, WindowConfig())
    assert [(one.label_start, one.label_end) for one in extended] == [(0, 3), (3, 5), (5, 7), (7, 11)]


@given(
    start=st.floats(0, 1000),
    length=st.floats(0, 90),
    centre=st.sampled_from([0.5, 1.0, 2.0, 0.1]),
    context=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_labels_tile_the_segment_without_gap_or_overlap(
    start: float, length: float, centre: float, context: float
) -> None:
    found = label_windows(start, start + length, WindowConfig(centre_s=centre, context_s=context))
    assert abs(len(found) - max(0.0, (length - 2 * context) / centre)) <= 1
    assert all(one.label_end == pytest.approx(two.label_start) for one, two in pairwise(found))
    if found:
        assert (found[0].label_start, found[-1].label_end) == (start, start + length)
        assert found[-1].end <= start + length + 1e-6


def test_a_segment_of_exactly_one_window_has_one_and_a_shorter_none() -> None:
    assert len(label_windows(3.3, 7.3, WindowConfig())) == 1
    assert label_windows(0.0, 3.99, WindowConfig()) == []
