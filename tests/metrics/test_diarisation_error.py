"""Diarisation errors against cases worked out by hand."""

from __future__ import annotations

import pytest

from earwitness.core.errors import MetricError
from earwitness.metrics.diarisation import Turn, diarisation_errors

REFERENCE = [Turn(0, 10, "a"), Turn(10, 20, "b")]


def test_names_do_not_matter() -> None:
    found = diarisation_errors(REFERENCE, [Turn(0, 10, "2"), Turn(10, 20, "1")])
    assert (found.der, found.reference_s, found.speakers, found.found) == (0, 20, 2, 2)


def test_missed_false_alarm_and_confusion() -> None:
    """2 s of a missed, 3 s after the end said, and 1 s of b said to be a."""
    found = diarisation_errors(REFERENCE, [Turn(2, 11, "x"), Turn(11, 23, "y")])
    assert (found.missed_s, found.false_alarm_s, found.confusion_s) == pytest.approx((2, 3, 1))
    assert found.der == pytest.approx(6 / 20)


def test_one_voice_for_two_and_two_for_one() -> None:
    merged = diarisation_errors([Turn(0, 12, "a"), Turn(12, 20, "b")], [Turn(0, 20, "x")])
    assert (merged.confusion_s, merged.der, merged.found) == (8, pytest.approx(0.4), 1)
    split = diarisation_errors([Turn(0, 20, "a")], [Turn(0, 15, "x"), Turn(15, 20, "y")])
    assert (split.confusion_s, split.found) == (5, 2)


def test_the_best_mapping_is_over_all_names_together() -> None:
    """Greedily x would be a (5 s), which leaves y with 0 s; x as b and y as a agree for 4 + 4 s."""
    reference = [Turn(0, 9, "a"), Turn(9, 13, "b")]
    hypothesis = [Turn(0, 5, "x"), Turn(5, 9, "y"), Turn(9, 13, "x")]
    assert diarisation_errors(reference, hypothesis).confusion_s == pytest.approx(13 - 8)


def test_speech_at_once_counts_each_speaker() -> None:
    """a and b both speak from 5 to 10: 15 s of speaking; said to be one voice, 5 s are missed."""
    reference = [Turn(0, 10, "a"), Turn(5, 10, "b")]
    found = diarisation_errors(reference, [Turn(0, 10, "x")])
    assert (found.reference_s, found.missed_s, found.confusion_s) == (15, 5, 0)
    twice = diarisation_errors([Turn(0, 10, "a"), Turn(4, 8, "a")], [Turn(0, 10, "x")])  # one person is one voice
    assert (twice.reference_s, twice.der) == (10, 0)


def test_a_collar_forgives_edges() -> None:
    late = [Turn(0.2, 10.2, "x"), Turn(10.2, 20, "y")]
    assert diarisation_errors(REFERENCE, late).der == pytest.approx((0.2 + 0.2) / 20)
    forgiven = diarisation_errors(REFERENCE, late, collar_s=0.25)
    assert (forgiven.der, forgiven.reference_s) == (0, pytest.approx(20 - 4 * 0.25))


def test_nothing_said_misses_everything() -> None:
    found = diarisation_errors(REFERENCE, [])
    assert (found.missed_s, found.der, found.found) == (20, 1, 0)


def test_recordings_add_up() -> None:
    one = diarisation_errors(REFERENCE, [Turn(0, 20, "x")])
    both = one + diarisation_errors(REFERENCE, REFERENCE)
    assert (both.der, both.speakers, both.found) == (pytest.approx(10 / 40), 4, 3)


@pytest.mark.parametrize(
    ("reference", "collar"), [([], 0), ([Turn(0, 0.3, "a")], 0.25), (REFERENCE, -1), (REFERENCE, float("nan"))]
)
def test_what_cannot_be_judged(reference: list[Turn], collar: float) -> None:
    with pytest.raises(MetricError):
        diarisation_errors(reference, REFERENCE, collar)


def test_a_turn_that_ends_before_it_starts() -> None:
    with pytest.raises(MetricError, match="a turn from 2 to 1 s"):
        Turn(2, 1, "a")


def test_a_collar_leaves_out_what_is_near_to_an_edge_of_the_reference() -> None:
    """Of 5 to 15 s, 5.25 to 14.75 s are judged, and before and after it up to 4.75 and from 15.25 s."""
    found = diarisation_errors([Turn(5, 15, "a")], [Turn(4, 4.9, "x"), Turn(5.4, 16, "x")], collar_s=0.25)
    assert found.reference_s == pytest.approx(9.5)
    assert found.missed_s == pytest.approx(0.15)
    assert found.false_alarm_s == pytest.approx(0.75 + 0.75)
