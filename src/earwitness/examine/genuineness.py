"""Is the voice genuine or synthetic? A detector's windows become an answer, a timeline and stretches that stand out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from earwitness.audio.recording import Segment
from earwitness.core.errors import AudioError
from earwitness.deepfake.detector import DetectionScore, Detector, WindowScore
from earwitness.deepfake.retrieval.index import Index
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Track
from earwitness.examine.genuine_speech import beside_genuine_speech
from earwitness.examine.latent_track import latent_track
from earwitness.examine.parts import judge_parts, limit_of_parts
from earwitness.examine.questions import Channel
from earwitness.examine.strength import Sides, outside, tested_on, untested, weighed, widened, withheld
from earwitness.training.conditions import conditions_of
from earwitness.training.model_folder import ABSTAIN

QUESTION = "Is the voice genuine or synthetic?"
HYPOTHESES = ("the voice is genuine", "the voice is synthetic")
SIDES = Sides(
    "genuine human speech",
    "a synthetic or converted voice",
    "The recording does not settle whether the voice is genuine or synthetic.",
)
STANDS_OUT = math.log(4)  # a window whose ratio favours synthetic this much is marked
SCORE_MEANING = "mean over the windows of the network's bona fide logit minus its spoof logit; higher = genuine"


@dataclass(frozen=True)
class Genuineness:
    """Asked of every recording, as a whole, and of its parts where the detector's tests allow it.

    `stretches` marks parts that fall below the rest whatever those tests say. With `genuine_speech` the answer shows
    the recordings of that index that sound most alike.
    """

    detector: Detector
    credit: ModelCredit
    stretches: bool = False
    genuine_speech: Index | None = None

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterator[Finding]:
        """About the whole, and where they are looked for about the parts."""
        whole = judge_genuineness(channel, self.detector, self.credit)
        if self.genuine_speech is not None:
            whole = beside_genuine_speech(whole, self.genuine_speech, channel.path, channel.number)
        parts = judge_parts(channel.path, channel.number, self.detector, self.credit, asked=self.stretches)
        if parts is not None:
            yield from (whole, parts)
        else:
            yield replace(whole, limits=(*whole.limits, *limit_of_parts(self.detector.info)))


def judge_genuineness(channel: Channel, detector: Detector, credit: ModelCredit) -> Finding:
    """The finding for one channel of a file; "no answer" where nothing in it can be judged."""
    facts = channel.facts
    try:
        result = detector.score_file(channel.path, channel.number)
        latent = latent_track(channel.path, channel.number, detector)
    except AudioError as error:
        return Finding(QUESTION, HYPOTHESES, "no answer", f"Nothing here can be judged: it {error.what}.", model=credit)
    info = detector.info
    reasons, conditions = withheld(info), conditions_of(facts)
    ratio = info.calibration.ratio(result.score, conditions) if info.calibration and not reasons else None
    uncovered = untested(facts, info.tested)
    if ratio is not None and uncovered:
        ratio = widened(ratio)
    stretches = _marked(result.windows, detector) if ratio else ()
    finding = Finding(
        question=QUESTION,
        hypotheses=HYPOTHESES,
        verdict="inconclusive",
        answer=SIDES.unsettled,
        score=result.score,
        score_meaning=SCORE_MEANING,
        evidence=(*_evidence(result, stretches), *latent.evidence),
        tracks=(_track(result.windows, detector, calibrated=ratio is not None), *latent.tracks),
        stretches=stretches,
        limits=(*reasons, *uncovered, *outside(facts, conditions), *tested_on(info)),
        seconds_used=result.seconds_used,
        seconds_total=result.seconds_total,
        window_policy=result.window_policy,
        model=credit,
    )
    return weighed(finding, ratio, SIDES, info.thresholds.get(ABSTAIN, 0.0))


def _track(windows: Sequence[WindowScore], detector: Detector, *, calibrated: bool) -> Track:
    """The windows' calibrated ratios; their bare scores where the model may not answer."""
    values = [detector.info.llr(window.score) if calibrated else window.score for window in windows]
    return Track(
        name="evidence over time",
        unit="log-likelihood ratio" if calibrated else "score",
        starts_s=tuple(window.start_s for window in windows),
        ends_s=tuple(window.end_s for window in windows),
        values=tuple(values),
        high_means="genuine",
        low_means="synthetic",
        neutral=0.0 if calibrated else None,
    )


def _marked(windows: Sequence[WindowScore], detector: Detector) -> tuple[Segment, ...]:
    """Stretches whose windows favour synthetic by `STANDS_OUT` or more, joined where they touch."""
    found: list[Segment] = []
    for window in windows:
        if (detector.info.llr(window.score) or 0.0) > -STANDS_OUT:
            continue
        if found and window.start_s <= found[-1].end_s:
            found[-1] = Segment(found[-1].start_s, window.end_s)
        else:
            found.append(Segment(window.start_s, window.end_s))
    return tuple(found)


def _evidence(result: DetectionScore, stretches: Sequence[Segment]) -> list[str]:
    said = [f"{len(result.windows)} window(s) heard ({result.window_policy}); the answer is from their mean score."]
    if stretches and len(result.windows) > 1:
        marked = sum(stretch.duration_s for stretch in stretches)
        said.append(
            f"{len(stretches)} stretch(es), {marked:.1f} s in all, favour synthetic by a ratio of 4 or more. Part of a "
            "recording can be synthetic while the rest is genuine: listen to them."
        )
    return said
