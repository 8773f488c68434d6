"""Figures as lines of text, alike in every command that judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earwitness.metrics.bootstrap import Interval

TOO_LONG = 1e6  # from here a number is written by its power of ten
CLASSES = {
    "deepfake": ("bona fide", "spoof"),
    "speaker": ("target", "non-target"),
    "sasv": ("target", "other"),
}


def number(interval: Interval, scale: str) -> str:
    """A value with its interval; error rates in percent."""
    if scale == "share":
        return percent(interval)
    value, low, high = map(_plain, (interval.value, interval.low, interval.high))
    return f"{value}   [{low}, {high}]"


def _plain(value: float) -> str:
    return f"{value:8.4f}" if abs(value) < TOO_LONG else f"{value:8.2e}"


def percent(interval: Interval) -> str:
    """A share in percent."""
    return f"{interval.value:8.2%}   [{interval.low:8.2%}, {interval.high:8.2%}]"


def interval_note(interval: Interval) -> str:
    """What the intervals are over."""
    drawn = f"{interval.n_resamples} resamples over {interval.unit}"
    return f"95 % intervals: {drawn}, {interval.n_units} of the scarcer unit"
