"""Made-up reports that the tests of the three forms share."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from earwitness.audio.recording import Segment
from earwitness.examine.finding import Fact, Finding, ModelCredit, Report, Track
from earwitness.metrics.calibration import VERBAL_SCALE, verbal_scale

ANSWERS = {
    "genuine": "The recording supports a genuine voice.",
    "synthetic": "The recording supports a synthetic voice.",
    "inconclusive": "Inconclusive: the recording fits both.",
}
LLRS = {"genuine": 4.9, "synthetic": -5.2, "inconclusive": 0.4}


def detection(kind: str, seconds: float = 10.0) -> Finding:
    """A finding about genuineness; the bound is -5.2, which the synthetic one reaches."""
    llr = LLRS[kind]
    starts = tuple(0.5 * i for i in range(max(1, int(seconds * 2) - 3)))
    values: list[float | None] = [llr + math.sin(i) for i in range(len(starts))]
    values[len(values) // 2] = None
    return Finding(
        question="Is the voice genuine or synthetic?",
        hypotheses=("the voice is genuine", "the voice is synthetic"),
        verdict="inconclusive" if kind == "inconclusive" else "answer",
        answer=ANSWERS[kind],
        tone={"genuine": "good", "synthetic": "bad"}.get(kind, "caution"),  # type: ignore[arg-type]
        score=llr / 2,
        score_meaning="higher = more like genuine speech",
        llr=llr,
        llr_low=llr - 1.4,
        llr_high=llr + 1.1,
        llr_bound=(-5.2, 5.6),
        scale_name=VERBAL_SCALE,
        scale_words=verbal_scale(llr),
        evidence=("17 of 20 windows favour the same side.",),
        tracks=(
            Track(
                "Score", "LLR", starts, tuple(s + 2 for s in starts), tuple(values), "like genuine", "like synthetic"
            ),
        ),
        stretches=(Segment(4.0, 6.5),),
        facts=(Fact("windows", "20"),),
        limits=("Newer synthesis may not be recognised.",),
        seconds_used=9.4,
        seconds_total=seconds,
        window_policy="sliding windows of 2 s",
        model=ModelCredit("deepfake", "1.0", "9f" * 32, "Apache-2.0", "# Card\n\nSee https://example.org/x.\n"),
    )


NO_ANSWER = Finding(
    question="Is it the same voice as the reference?",
    hypotheses=None,
    verdict="no answer",
    answer="No answer: only 0.4 s of speech.",
    tone="caution",
    limits=("Nothing follows about the speaker.",),
)

MakeReport = Callable[..., Report]


@pytest.fixture
def make_report() -> MakeReport:
    """make_report(kind="genuine", **fields): a report of 10 s with two findings."""

    def make(kind: str = "genuine", seconds: float = 10.0, **fields: object) -> Report:
        known: dict[str, object] = {
            "path": "evidence/call.m4a",
            "sha256": "ab" * 32,
            "channel": None,
            "channels": 1,
            "duration_s": seconds,
            "native_rate": 8000,
            "container": "mp4",
            "codec": "aac",
            "findings": (detection(kind, seconds), NO_ANSWER),
            "facts": (Fact("Level", "−23.4", "dBFS", "quiet"),),
            "references": (("refs/claimed one.wav", "cd" * 32),),
            "steps": ("resampled 8000 -> 16000 Hz",),
            "created": "2026-11-20T10:12:13+00:00",
            "versions": {"earwitness": "0.1.0"},
        }
        return Report(**{**known, **fields})  # type: ignore[arg-type]

    return make
