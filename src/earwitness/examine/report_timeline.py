"""The timeline under the player, as SVG: waveform, spectrogram and every track over one time axis."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup

from earwitness.audio.recording import Segment
from earwitness.examine import wording
from earwitness.examine.finding import Report, Track
from earwitness.examine.report_media import AudioForReport
from earwitness.examine.svg import element, join

_Axis = Callable[[float], float]
_Window = tuple[float, float, float]  # start, end, value

WIDTH = 1000
LEFT, RIGHT = 76, 988  # the part of a timeline that is time
_WAVE, _SPECTROGRAM, _TRACK, _TITLE, _AXIS = 84, 150, 104, 24, 26  # heights
_MOST_POINTS = 2000
_MARK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


def timeline(report: Report, audio: AudioForReport | None) -> Markup:
    """Waveform, spectrogram and every track over one time axis; stretches that stand out are shaded."""
    duration = max(report.duration_s, 1e-3)
    everything = [segment for finding in report.findings for segment in finding.stretches]
    parts: list[Markup] = []
    y = 0
    if audio is not None:
        parts += [
            _title(y, "Waveform"),
            *_shades(everything, duration, y + _TITLE, _WAVE),
            _wave(audio, y + _TITLE),
            _title(
                y := y + _TITLE + _WAVE,
                "Spectrogram",
                f"dark = strong, range 70 dB; {audio.rate / 2000:g} kHz at the top",
            ),
            *_spectrogram(audio, y + _TITLE),
        ]
        y += _TITLE + _SPECTROGRAM
    for finding in report.findings:
        for track in finding.tracks:
            unit = f" ({track.unit})" if track.unit else ""
            parts.append(_title(y, f"{track.name}{unit}", f"▲ {track.high_means}   ▼ {track.low_means}"))
            parts += _shades(finding.stretches, duration, y + _TITLE, _TRACK)
            parts += _track(track, duration, y + _TITLE)
            y += _TITLE + _TRACK
    parts += _time_axis(duration, y)
    parts.append(element("path", d=f"M{LEFT} {_TITLE}V{y}", class_="playhead"))
    label = f"Timeline of {wording.file_name(report)}, {wording.clock(duration)} long"
    return element(
        "svg", join(parts), class_="timeline", viewBox=f"0 0 {WIDTH} {y + _AXIS}", role="img", aria_label=label
    )


def _at(seconds: float, duration: float) -> float:
    return LEFT + max(0.0, min(1.0, seconds / duration)) * (RIGHT - LEFT)


def _title(y: int, text: str, note: str = "") -> Markup:
    title = element("text", text, x=LEFT, y=y + 17, class_="title")
    return title + element("text", note, x=RIGHT, y=y + 17, class_="note") if note else title


def _shades(stretches: Sequence[Segment], duration: float, y: int, height: int) -> Iterator[Markup]:
    for segment in stretches:
        start = _at(segment.start_s, duration)
        width = max(1.5, _at(segment.end_s, duration) - start)
        title = element("title", f"stands out: {wording.stretch(segment)}")
        yield element("rect", title, x=start, y=y, width=width, height=height, class_="stands-out")


def _wave(audio: AudioForReport, y: int) -> Markup:
    """The envelope as one closed shape; the loudest sample fills the height, and the scale stands at the left."""
    peak = max(float(abs(audio.low).max()), float(abs(audio.high).max()), 1e-4)
    step = (RIGHT - LEFT) / len(audio.low)
    middle, half = y + _WAVE / 2, _WAVE / 2 - 2
    top = [f"{LEFT + (i + 0.5) * step:.1f} {middle - v / peak * half:.1f}" for i, v in enumerate(audio.high)]
    bottom = [f"{LEFT + (i + 0.5) * step:.1f} {middle - v / peak * half:.1f}" for i, v in enumerate(audio.low)]
    frame = element("rect", x=LEFT, y=y, width=RIGHT - LEFT, height=_WAVE, class_="frame")
    shape = element("path", d=f"M{'L'.join(top)}L{'L'.join(reversed(bottom))}Z", class_="wave")
    return (
        frame + shape + _scale(y + 10, f"+{peak:.2g}") + _scale(middle + 4, "0") + _scale(y + _WAVE - 2, f"−{peak:.2g}")
    )


def _spectrogram(audio: AudioForReport, y: int) -> Iterator[Markup]:
    data = base64.b64encode(audio.spectrogram).decode("ascii")
    place: dict[str, object] = {"x": LEFT, "y": y, "width": RIGHT - LEFT, "height": _SPECTROGRAM}
    yield element("image", **place, href=f"data:image/png;base64,{data}", preserveAspectRatio="none")
    yield element("rect", **place, class_="frame")
    top_khz = audio.rate / 2000
    for khz in range(0, math.floor(top_khz) + 1, 2):
        at = y + _SPECTROGRAM * (1 - khz / top_khz)
        yield _scale(max(y + 10.0, at + 4), f"{khz} kHz")


def _scale(y: float, text: str) -> Markup:
    return element("text", text, x=LEFT - 8, y=y, class_="scale")


def _track(track: Track, duration: float, y: int) -> Iterator[Markup]:
    """Bars from the neutral line where there is one, else a line; windows that could not be judged stay empty."""
    yield element("rect", x=LEFT, y=y, width=RIGHT - LEFT, height=_TRACK, class_="frame")
    windows = thinned(track)
    if not windows:
        yield element("text", "no window could be judged", x=(LEFT + RIGHT) / 2, y=y + _TRACK / 2, class_="empty")
        return
    values = [value for _, _, value in windows]
    low, high = wording.axis_ends(track) or _range(values, track.neutral)

    def height(value: float) -> float:
        return y + 4 + (high - value) / (high - low) * (_TRACK - 8)

    if track.neutral is None:
        yield _line(windows, duration, height)
        labels = [high, low]
    else:
        zero = height(track.neutral)
        for side, path in _bars(windows, duration, height, track.neutral):
            yield element("path", d=path, class_=f"bars {side}")
        yield element("path", d=f"M{LEFT} {zero:.1f}H{RIGHT}", class_="zero")
        labels = [high, track.neutral, low]
    for value in labels:
        yield _scale(
            min(y + _TRACK - 2.0, max(y + 10.0, height(value) + 4)), f"{value:+.2g}".replace("-", "−") if value else "0"
        )


def thinned(track: Track) -> list[_Window]:
    """(start, end, value) of the windows drawn: overlapping ones meet half-way, those without a value are left out."""
    windows = list(zip(track.starts_s, track.ends_s, track.values, strict=True))
    for i in range(len(windows) - 1):
        (start, end, value), (next_start, next_end, next_value) = windows[i], windows[i + 1]
        if end > next_start:
            middle = (end + next_start) / 2
            windows[i], windows[i + 1] = (start, middle, value), (middle, next_end, next_value)
    return _few([(start, end, value) for start, end, value in windows if value is not None and math.isfinite(value)])


def _few(windows: list[_Window]) -> list[_Window]:
    """Of very many windows each group's lowest and highest, so that nothing that stands out is averaged away."""
    if len(windows) <= _MOST_POINTS:
        return windows
    size = math.ceil(len(windows) / (_MOST_POINTS / 2))
    groups = [windows[i : i + size] for i in range(0, len(windows), size)]
    return [
        (
            g[0][0] if first else (g[0][0] + g[-1][1]) / 2,
            (g[0][0] + g[-1][1]) / 2 if first else g[-1][1],
            pick(w[2] for w in g),
        )
        for g in groups
        for first, pick in ((True, min), (False, max))
    ]


def _bars(windows: Sequence[_Window], duration: float, height: _Axis, neutral: float) -> Iterator[tuple[str, str]]:
    zero = height(neutral)
    for side in ("high", "low"):
        chosen = [w for w in windows if (w[2] >= neutral) == (side == "high")]
        if chosen:
            yield (
                side,
                "".join(
                    f"M{_at(s, duration):.1f} {zero:.1f}V{height(v):.1f}H{_at(e, duration):.1f}V{zero:.1f}Z"
                    for s, e, v in chosen
                ),
            )


def _line(windows: Sequence[_Window], duration: float, height: _Axis) -> Markup:
    """Steps; broken where windows are missing."""
    path, last_end = "", -1.0
    for start, end, value in windows:
        join = "L" if abs(start - last_end) < 0.02 else "M"
        path += f"{join}{_at(start, duration):.1f} {height(value):.1f}H{_at(end, duration):.1f}"
        last_end = end
    return element("path", d=path, class_="line")


def _range(values: Sequence[float], neutral: float | None) -> tuple[float, float]:
    low, high = min(values), max(values)
    if neutral is not None:
        low, high = min(low, neutral), max(high, neutral)
    margin = max((high - low) * 0.05, 1e-3)
    return low - margin, high + margin


def _time_axis(duration: float, y: int) -> Iterator[Markup]:
    steps = [step for step in _MARK_STEPS_S if step / duration * (RIGHT - LEFT) >= 70]
    step = steps[0] if steps else _MARK_STEPS_S[-1] * math.ceil(duration / _MARK_STEPS_S[-1] / 12)
    for number in range(math.floor(duration / step + 1e-9) + 1):
        at = _at(number * step, duration)
        yield element("path", d=f"M{at:.1f} {_TITLE}V{y}", class_="grid")
        yield element("path", d=f"M{at:.1f} {y}V{y + 5}", class_="tick")
        label = wording.clock(number * step)
        if at < RIGHT - 18:
            yield element("text", label if step < 1 else label.removesuffix(".0"), x=at, y=y + 19, class_="number")
