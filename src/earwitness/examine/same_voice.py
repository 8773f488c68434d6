"""Is it the voice of the person it is said to be? A voice print is compared with the claimed speaker's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.audio.facts import SignalFacts, file_facts
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.examine.finding import Finding, ModelCredit, Track
from earwitness.examine.strength import outside, settles, tested_on, withheld
from earwitness.metrics.calibration import VERBAL_SCALE, verbal_scale
from earwitness.speaker.comparison import enrol
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.voices import several_voices
from earwitness.training.calibration import ConditionName, Ratio
from earwitness.training.conditions import conditions_of

QUESTION = "Is it the voice of the reference speaker?"
HYPOTHESES = ("it is the reference speaker's voice", "it is another person's voice")
UNSETTLED = "The recording does not settle whether this is the reference speaker's voice."
SEVERAL = "More than one voice is probably heard here; the answer is about the mixture. Examine the parts separately."


@dataclass(frozen=True)
class Enrolment:
    """The claimed speaker: one print a reference recording, with its path, sha256 and conditions."""

    prints: tuple[VoicePrint, ...]
    sources: tuple[tuple[str, str], ...]
    conditions: tuple[ConditionName, ...]
    several_voices_in: tuple[str, ...]


def enrol_references(paths: Iterable[Path], embedder: Embedder) -> Enrolment | None:
    """The claimed speaker from reference recordings; None without any. Raises `AudioError` naming one that is unusable."""
    prints, sources, conditions, mixed = [], [], set(), []
    for path in paths:
        try:
            known = embedder.embed_file(path)
        except AudioError as error:
            raise AudioError(error.what, where=path, fix="Give another reference recording.") from None
        prints.append(known)
        sources.append((str(path), sha256_file(path)))
        conditions.update(conditions_of(file_facts(path)))
        if several_voices(known, embedder.info):
            mixed.append(str(path))
    if not prints:
        return None
    return Enrolment(tuple(prints), tuple(sources), tuple(sorted(conditions)), tuple(mixed))


def judge_voice(
    path: str | Path,
    channel: int | None,
    facts: SignalFacts,
    enrolment: Enrolment,
    embedder: Embedder,
    credit: ModelCredit,
) -> Finding:
    """The finding for one channel of a file; "no answer" where nothing in it can be judged."""
    try:
        test = embedder.embed_file(path, channel)
    except AudioError as error:
        return Finding(QUESTION, HYPOTHESES, "no answer", f"Nothing here can be judged: it {error.what}.", model=credit)
    score = embedder.compare(enrolment.prints, test)
    limits = [SEVERAL] if several_voices(test, embedder.info) else []
    limits += [
        f"More than one voice is probably heard in the reference {name}." for name in enrolment.several_voices_in
    ]
    reasons = withheld(embedder.info)
    ratio = None
    if not reasons and embedder.info.calibration is not None:
        conditions = tuple({*conditions_of(facts), *enrolment.conditions})
        ratio = embedder.info.calibration.ratio(score, conditions)
        limits += outside(facts, conditions_of(facts))
        limits += _reference_limits(enrolment.conditions)
    limits += [*reasons, *tested_on(embedder.info)]
    return _finding(test, enrolment, embedder, credit, score, ratio, limits)


def _reference_limits(conditions: Sequence[ConditionName]) -> list[str]:
    words = {"short": "short", "narrow_band": "narrow-band", "noisy": "noisy"}
    said = ", ".join(words[name] for name in conditions if name in words)
    return [f"A reference recording is {said}; the strength was taken from tests under that condition."] if said else []


def _finding(
    test: VoicePrint,
    enrolment: Enrolment,
    embedder: Embedder,
    credit: ModelCredit,
    score: float,
    ratio: Ratio | None,
    limits: Sequence[str],
) -> Finding:
    settled = ratio is not None and settles(ratio)
    same = ratio is not None and ratio.llr > 0
    return Finding(
        question=QUESTION,
        hypotheses=HYPOTHESES,
        verdict="answer" if settled else "inconclusive",
        answer=_answer(ratio) if settled and ratio else UNSETTLED,
        tone="caution" if not settled else "good" if same else "bad",
        score=score,
        score_meaning=f"{embedder.comparator.name}; higher = same speaker",
        llr=None if ratio is None else ratio.llr,
        llr_low=None if ratio is None else ratio.low,
        llr_high=None if ratio is None else ratio.high,
        llr_bound=None if ratio is None else ratio.bounds,
        scale_name=VERBAL_SCALE if ratio else "",
        scale_words=verbal_scale(ratio.llr) if ratio else "",
        evidence=tuple(_evidence(test, enrolment)),
        tracks=(_track(test, enrolment),),
        limits=tuple(limits),
        seconds_used=test.seconds_used,
        seconds_total=test.seconds_total,
        window_policy=embedder.info.windows.name,
        model=credit,
    )


def _answer(ratio: Ratio) -> str:
    side = "the same speaker" if ratio.llr > 0 else "another speaker"
    return f"The measurements fit {side} better: {verbal_scale(ratio.llr)}."


def _evidence(test: VoicePrint, enrolment: Enrolment) -> list[str]:
    known = np.stack([print_.vector for print_ in enrolment.prints])
    to_test = known @ test.vector
    said = [f"Similarity (cosine) to each reference: {', '.join(f'{value:.2f}' for value in to_test)}."]
    if len(known) > 1:
        among = (known @ known.T)[np.triu_indices(len(known), 1)]
        said.append(f"The references among themselves: {float(among.min()):.2f} to {float(among.max()):.2f}.")
    return said


def _track(test: VoicePrint, enrolment: Enrolment) -> Track:
    """How like the reference speaker each window is, as the cosine of its vector."""
    model = enrol(np.stack([print_.vector for print_ in enrolment.prints]))
    return Track(
        name="similarity to the reference over time",
        unit="cosine",
        starts_s=tuple(span.start_s for span in test.spans),
        ends_s=tuple(span.end_s for span in test.spans),
        values=tuple(float(value) for value in test.windows @ model),
        high_means="like the reference",
        low_means="unlike the reference",
        neutral=None,
    )
