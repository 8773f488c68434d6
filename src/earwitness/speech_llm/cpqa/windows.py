"""Windows over a segment: each is heard with context on both sides, its label is for the central stretch.

Section 2.2 of the sheet on CPQA (arXiv 2505.13338): windows of t + 2 dt seconds every t seconds; t = 2, dt = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from earwitness.core.config import Config

_ROUNDING = 1e-9  # windows; a segment of exactly n windows must not lose one to binary fractions


class WindowConfig(Config):
    """Seconds of the centre that a label is for, and of the context on either side of it; `edge`: the first and last
    `context_s` of a segment get the label beside them (`extend`), or none (`drop`)."""

    centre_s: float = Field(2.0, gt=0, allow_inf_nan=False)
    context_s: float = Field(1.0, ge=0, allow_inf_nan=False)
    edge: Literal["extend", "drop"] = "extend"

    @property
    def length_s(self) -> float:
        """What is heard at a time."""
        return self.centre_s + 2 * self.context_s


@dataclass(frozen=True)
class LabelWindow:
    """[start, end) is heard, [label_start, label_end) gets the label; seconds."""

    start: float
    end: float
    label_start: float
    label_end: float


def label_windows(start: float, end: float, config: WindowConfig) -> list[LabelWindow]:
    """The full windows of the segment [start, end): floor((L - 2 dt) / t) of them, whose centres tile it.

    None where the segment is shorter than a window.
    """
    t, dt = config.centre_s, config.context_s
    count = max(0, math.floor((end - start - 2 * dt) / t + _ROUNDING))
    found = [
        LabelWindow(start + k * t, start + k * t + config.length_s, start + k * t + dt, start + (k + 1) * t + dt)
        for k in range(count)
    ]
    if found and config.edge == "extend":
        found[0] = replace(found[0], label_start=start)
        found[-1] = replace(found[-1], label_end=end)
    return found
