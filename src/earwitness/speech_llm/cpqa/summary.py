"""A condensed set in words: how much is left, why the rest is not, and how even the classes are before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from earwitness.speech_llm.cpqa.classes import CLASSES, LABELLED
from earwitness.speech_llm.cpqa.condensing import Condensed, class_counts
from earwitness.speech_llm.cpqa.filters import normalised_entropy
from earwitness.speech_llm.cpqa.forms import SegmentRow, WindowRow


def summary(found: Condensed) -> Iterator[str]:
    """Lines to print."""
    seconds = sum(row.seconds or 0.0 for row in found.recordings)
    speech = sum(row.speech_s or 0.0 for row in found.recordings)
    kept = [row for row in found.segments if row.kept]
    left = sum(row.end - row.start for row in kept)
    yield f"{len(found.recordings)} recording(s), {seconds:.1f} s; speech {speech:.1f} s; kept {left:.1f} s"
    if found.failed:
        yield f"{found.failed} recording(s) could not be read"
    yield _kept_of("windows", found.windows)
    yield _kept_of("segments", found.segments)
    trusted = [row for row in found.windows if row.kept]
    labelled = [row for row in found.segments if row.drop_reason in (None, "capped")]
    counts = [class_counts(rows) for rows in (found.windows, trusted, labelled, kept)]
    yield f"{'class':<10} {'windows':>9} {'trusted':>9} {'segments':>9} {'kept':>9}"
    for name in CLASSES:
        if any(count[name] for count in counts):
            yield f"{name:<10} " + " ".join(f"{count[name]:>9}" for count in counts)
    evenness = " ".join(f"{normalised_entropy(count):>9.3f}" for count in counts)
    yield f"{'entropy':<10} {evenness}  (of {len(LABELLED)} classes, 1: all equally frequent)"
    yield "These labels are guesses of models, not the truth."


def _kept_of(what: str, rows: Sequence[WindowRow] | Sequence[SegmentRow]) -> str:
    reasons = Counter(row.drop_reason for row in rows if row.drop_reason is not None)
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    kept = sum(row.kept for row in rows)
    return f"{what}: {kept} of {len(rows)} kept" + (f"; dropped: {told}" if told else "")
