"""The gauge of a likelihood ratio, as SVG: a logarithmic axis with the steps of the verbal scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from markupsafe import Markup

from earwitness.examine import wording
from earwitness.examine.finding import Finding
from earwitness.examine.svg import element, join
from earwitness.metrics.calibration import VERBAL_STEPS

_Axis = Callable[[float], float]

WIDTH = 1000


def gauge(finding: Finding, name: str) -> Markup:
    """The likelihood ratio on a log axis: left supports the second hypothesis, right the first, the middle none.

    `name` makes the ids of the drawing unique in the page.
    """
    assert finding.llr is not None
    decades = _decades(finding)
    left, right, middle = 12, WIDTH - 12, WIDTH / 2

    def x(llr: float) -> float:
        at = middle + llr / math.log(10) / decades * (right - left) / 2
        return max(left, min(right, at))

    parts = [_hatch(name), *_bands(decades, x), *_beyond_bound(finding, x, name), *_ticks(decades, x)]
    low, high = finding.llr_low, finding.llr_high
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        parts.append(
            element(
                "path", class_="interval", d=f"M{x(low):.1f} 57V75M{x(low):.1f} 66H{x(high):.1f}M{x(high):.1f} 57V75"
            )
        )
    at = x(finding.llr)
    parts.append(element("path", class_="marker", d=f"M{at:.1f} 53L{at + 10:.1f} 66L{at:.1f} 79L{at - 10:.1f} 66Z"))
    first, second = wording.favoured(finding, 1)
    parts += [
        element("text", f"◀ supports “{second}”", x=left, y=14, class_="side low"),
        element("text", "inconclusive", x=middle, y=14, class_="side middle"),
        element("text", f"supports “{first}” ▶", x=right, y=14, class_="side high"),
    ]
    label = f"{wording.likelihood_sentence(finding)} {wording.interval_sentence(finding)}"
    return element("svg", join(parts), class_="gauge", viewBox=f"0 0 {WIDTH} 112", role="img", aria_label=label)


def _decades(finding: Finding) -> int:
    """How many powers of ten the axis shows on each side."""
    values = [finding.llr, finding.llr_low, finding.llr_high, *(finding.llr_bound or ())]
    reach = max(abs(value) for value in values if value is not None and math.isfinite(value))
    decades: int = math.ceil(reach / math.log(10) + 0.1)
    return max(3, min(7, decades))


def _hatch(name: str) -> Markup:
    line = element("path", d="M0 0V6", class_="hatch")
    pattern = element(
        "pattern", line, id=name, width=6, height=6, patternUnits="userSpaceOnUse", patternTransform="rotate(45)"
    )
    return element("defs", pattern)


def _bands(decades: int, x: _Axis) -> Iterator[Markup]:
    """The steps of the verbal scale, mirrored; their words where there is room."""
    for number, step in enumerate(VERBAL_STEPS):
        if step.low >= 10**decades:
            return
        low, high = math.log(step.low), math.log(min(step.high, 10.0**decades))
        spans = [(-high, high, "none")] if number == 0 else [(-high, -low, "second"), (low, high, "first")]
        for start, end, side in spans:
            width = x(end) - x(start)
            yield element("rect", x=x(start), y=42, width=width, height=48, class_=f"band {side} step{number}")
            words = "" if number == 0 else step.words.removesuffix(" support")
            lines = [words] if len(words) * 6.2 < width else words.split()
            for row, line in enumerate(lines):
                y = 36 - 11 * (len(lines) - 1 - row)
                yield element("text", line, x=(x(start) + x(end)) / 2, y=y, class_="words")


def _beyond_bound(finding: Finding, x: _Axis, name: str) -> Iterator[Markup]:
    """Hatching where the calibration supports no claim."""
    if finding.llr_bound is None or not all(map(math.isfinite, finding.llr_bound)):
        return
    low, high = map(x, finding.llr_bound)
    for start, end, edge in ((12.0, low, low), (high, WIDTH - 12.0, high)):
        if end - start > 0.5:
            yield element("rect", x=start, y=42, width=end - start, height=48, fill=f"url(#{name})")
        yield element("path", d=f"M{edge:.1f} 40V92", class_="bound")


def _ticks(decades: int, x: _Axis) -> Iterator[Markup]:
    yield element("path", d=f"M{WIDTH / 2:.1f} 40V92", class_="zero")
    for power in range(-decades, decades + 1):
        at = x(power * math.log(10))
        anchor = {-decades: "start", decades: "end"}.get(power, "middle")
        yield element("path", d=f"M{at:.1f} 90V95", class_="tick")
        text = "1" if power == 0 else f"{10 ** abs(power):,}×"
        yield element("text", text, x=at, y=108, class_="number", text_anchor=anchor)
