"""Does a part sound unlike the rest? A detector's score over time becomes stretches to listen to: never a verdict.

The windows, the rule and its errors are those of the model's tests on spliced recordings
(`evaluation.assessing.localisation`). A model without such tests says nothing of parts. One whose tests do not show
for every kind of synthetic insert that it stands out more often than a human one says nothing unless it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.audio.recording import Segment
from earwitness.audio.windows import Sliding
from earwitness.core.errors import AudioError
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.assessing.localisation import (
    CONTROL,
    SPOOF,
    TWIN,
    Figure,
    LocalisationTest,
    localisation_test,
)
from earwitness.evaluation.scoring.segments import segments_of
from earwitness.examine import wording
from earwitness.examine.finding import Fact, Finding, ModelCredit, Suspicion, Track
from earwitness.metrics.segments import SegmentScores
from earwitness.metrics.stretches import low_stretches
from earwitness.training.model_folder import ModelInfo

QUESTION = "Does a part sound unlike the rest?"
SHORTEST_WINDOWS = 2.0  # a recording of less is too short to be compared with itself
SCORE_MEANING = "of a part: mean of the windows over it; higher = genuine"
_KINDS = {
    SPOOF: "other systems' synthesis",
    TWIN: "resynthesis of the same words",
    CONTROL: "human speech (the control)",
}
OTHER_CAUSES = (
    "Another room, microphone, speaker, noise or loudness makes a part stand out as synthesis does: listen to it.",
    "A recording is compared with itself: one that is synthetic throughout, or mostly, has no stretch that shows it.",
)


@dataclass(frozen=True)
class _Heard:
    """Segments of a recording, and the test by whose rule they are read."""

    segments: SegmentScores
    test: LocalisationTest
    policy: str


def judge_parts(
    path: str | Path, channel: int | None, detector: Detector, credit: ModelCredit, *, asked: bool
) -> Finding | None:
    """The finding for one channel of a file; None where the model's tests do not allow one and none was asked for.

    Raises `ModelError` where the model's test cannot be read.
    """
    test = localisation_test(detector.info)
    if test is None:
        what = "This model was never tested on spliced recordings, so that nothing can be said of parts."
        return Finding(QUESTION, None, "no answer", what, model=credit) if asked else None
    if not (asked or test.shown):
        return None
    heard_by = detector.hearing(Sliding(length_s=test.window_s, hop_s=test.step_s))
    try:
        result = heard_by.score_file(path, channel)
    except AudioError as error:
        return Finding(QUESTION, None, "no answer", f"Nothing here can be judged: it {error.what}.", model=credit)
    if result.seconds_total < SHORTEST_WINDOWS * test.window_s:
        what = (
            f"Too short to be compared with itself: {result.seconds_total:.1f} s, heard {test.window_s:g} s at a time."
        )
        return Finding(QUESTION, None, "no answer", what, model=credit)
    heard = _Heard(segments_of(result, test.step_s), test, result.window_policy)
    return _finding(heard, result.seconds_used, credit)


def limit_of_parts(info: ModelInfo) -> tuple[str, ...]:
    """What an answer about the whole must say of parts: why none are shown, where the model was tested for it."""
    test = localisation_test(info)
    if test is None or test.shown:
        return ()
    return (
        f"Synthetic parts of the recording are not looked for: {_not_shown(test)} (--stretches marks them all the "
        "same, and says how often that errs).",
    )


def _finding(heard: _Heard, seconds_used: float, credit: ModelCredit) -> Finding:
    test, edge = heard.test, _edge_s(heard.test)
    found = tuple(
        Suspicion(one.start_s, one.end_s, one.score, one.fall, edge) for one in low_stretches(heard.segments, test.rule)
    )
    return Finding(
        question=QUESTION,
        hypotheses=None,
        verdict="inconclusive",
        answer=_answer(len(found)),
        tone="caution" if found else "neutral",
        score_meaning=SCORE_MEANING,
        evidence=tuple(_errors(test)),
        tracks=(_track(heard.segments),),
        stretches=tuple(Segment(one.start_s, one.end_s) for one in found),
        suspicions=found,
        facts=tuple(_facts(found)),
        limits=(*_unproven(test), *OTHER_CAUSES),
        seconds_used=seconds_used,
        seconds_total=heard.segments.seconds,
        window_policy=heard.policy,
        model=credit,
    )


def _answer(count: int) -> str:
    if not count:
        return "No part falls below the rest. That does not show that nothing was inserted."
    parts = "One part falls" if count == 1 else f"{count} parts fall"
    return f"{parts} below the rest: hear it for yourself. This is a place to listen to, not a finding of synthesis."


def _track(segments: SegmentScores) -> Track:
    return Track(
        name="score over time",
        unit="score",
        starts_s=tuple(segments.starts_s.tolist()),
        ends_s=tuple(segments.ends_s.tolist()),
        values=tuple(
            score if heard > 0 else None
            for score, heard in zip(segments.scores.tolist(), segments.heard_s.tolist(), strict=True)
        ),
        high_means="genuine",
        low_means="synthetic",
        neutral=None,
    )


def _facts(found: Sequence[Suspicion]) -> Iterator[Fact]:
    for number, one in enumerate(found, 1):
        stretch = wording.stretch(Segment(one.start_s, one.end_s))
        note = f"{stretch}, each edge within {one.edge_s:.1f} s; its score is {wording.signed(one.score)}"
        yield Fact(f"part {number}, below the rest by", f"{one.fall:.2f}", "", note)


def _edge_s(test: LocalisationTest) -> float:
    """Within how many seconds an edge lies: half a hop at least, and what nine of ten were off by on splices."""
    return max(test.step_s / 2, test.edge_s.value if test.edge_s else test.window_s)


def _errors(test: LocalisationTest) -> Iterator[str]:
    """The errors of the rule, measured on splices."""
    yield (
        f"Heard in windows of {test.window_s:g} s each {test.step_s:g} s; a part is marked where its score lies "
        f"{test.fall:g} or more below the median of the recording."
    )
    said = [f"of {words} {_percent(test.hits[kind])}" for kind, words in _KINDS.items() if kind in test.hits]
    if said:
        yield f"On {test.splices} spliced recordings of other speakers and systems it marks inserts: {'; '.join(said)}."
    if (false := test.false_a_minute) is not None:
        interval = f"[{false.low:.1f}, {false.high:.1f}]"
        yield f"In human recordings without an insert it marks {false.value:.1f} {interval} parts a minute."
    if test.edge_s is not None:
        yield f"Nine of ten edges of what it hits lie within {test.edge_s.value:.1f} s of the insert's."


def _unproven(test: LocalisationTest) -> tuple[str, ...]:
    return () if test.shown else (f"Marked only because it was asked for: {_not_shown(test)}.",)


def _not_shown(test: LocalisationTest) -> str:
    kinds = " and ".join(_KINDS[kind] for kind in test.unproven)
    return f"on spliced recordings this model is not shown to mark {kinds} more often than inserts of human speech"


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.0f} % [{100 * figure.low:.0f}, {100 * figure.high:.0f}]"
