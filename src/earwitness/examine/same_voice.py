"""Is it the voice of the person it is said to be? A voice print is compared with the claimed speaker's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import AudioError
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table, Track
from earwitness.examine.questions import Channel
from earwitness.examine.strength import Sides, covering, outside, tested_on, untested, weighed, widened, withheld
from earwitness.speaker.comparison import enrol
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.score_draws import score_interval
from earwitness.speaker.voices import several_voices
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import conditions_of

QUESTION = "Is it the voice of the reference speaker?"
HYPOTHESES = ("it is the reference speaker's voice", "it is another person's voice")
SIDES = Sides(
    "the same speaker",
    "another speaker",
    "The recording does not settle whether this is the reference speaker's voice.",
)
SEVERAL = "More than one voice is probably heard here; the answer is about the mixture. Examine the parts separately."


@dataclass(frozen=True)
class SameVoice:
    """Asked where references were given: one answer about their speaker."""

    embedder: Embedder
    credit: ModelCredit

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where nothing in the channel can be judged."""
        return () if enrolment is None else (judge_voice(channel, enrolment, self.embedder, self.credit),)


def judge_voice(channel: Channel, enrolment: Enrolment, embedder: Embedder, credit: ModelCredit) -> Finding:
    """The finding for one channel of a file; "no answer" where nothing in it can be judged."""
    facts = channel.facts
    try:
        test = embedder.embed_file(channel.path, channel.number)
    except AudioError as error:
        return Finding(QUESTION, HYPOTHESES, "no answer", f"Nothing here can be judged: it {error.what}.", model=credit)
    info = embedder.info
    score = embedder.compare(enrolment.prints, test)
    reasons, conditions = withheld(info), conditions_of(facts)
    everything = tuple({*conditions, *enrolment.conditions})
    ratio = info.calibration.ratio(score, everything) if info.calibration and not reasons else None
    spread = score_interval(embedder, enrolment.prints, test)
    if ratio is not None and spread is not None:
        assert info.calibration is not None
        ratio = covering(ratio, [info.calibration.ratio(at, everything) for at in spread])
    uncovered = untested(facts, info.tested)
    if ratio is not None and uncovered:
        ratio = widened(ratio)
    limits = [SEVERAL] if several_voices(test, info) else []
    limits += [f"More than one voice is probably heard in the reference {name}." for name in enrolment.mixed]
    finding = Finding(
        question=QUESTION,
        hypotheses=HYPOTHESES,
        verdict="inconclusive",
        answer=SIDES.unsettled,
        score=score,
        score_meaning=f"{embedder.comparator.name}; higher = same speaker",
        evidence=tuple(_evidence(test, enrolment)),
        tracks=(_track(test, enrolment),),
        tables=() if spread is None else (_uncertainty(test, enrolment, spread),),
        limits=(
            *limits,
            *reasons,
            *uncovered,
            *outside(facts, conditions),
            *_reference_limits(enrolment.conditions),
            *tested_on(info),
        ),
        seconds_used=test.seconds_used,
        seconds_total=test.seconds_total,
        window_policy=info.windows.name,
        model=credit,
    )
    return weighed(finding, ratio, SIDES)


def _reference_limits(conditions: Sequence[ConditionName]) -> list[str]:
    words = {"short": "short", "narrow_band": "narrow-band", "noisy": "noisy"}
    said = ", ".join(words[name] for name in conditions if name in words)
    return [f"A reference recording is {said}; the strength was taken from tests under that condition."] if said else []


def _evidence(test: VoicePrint, enrolment: Enrolment) -> list[str]:
    known = np.stack([print_.vector for print_ in enrolment.prints])
    to_test = known @ test.vector
    said = [f"Similarity (cosine) to each reference: {', '.join(f'{value:.2f}' for value in to_test)}."]
    if len(known) > 1:
        among = (known @ known.T)[np.triu_indices(len(known), 1)]
        said.append(f"The references among themselves: {float(among.min()):.2f} to {float(among.max()):.2f}.")
    return said


def _uncertainty(test: VoicePrint, enrolment: Enrolment, spread: tuple[float, float]) -> Table:
    """What the voice prints say of themselves, with the seconds beside it."""
    references = [
        (Path(path).name, print_) for (path, _), print_ in zip(enrolment.sources, enrolment.prints, strict=True)
    ]
    prints = [("this recording", test), *references]
    return Table(
        title="How uncertain the voice prints are by the model's own account",
        columns=("voice print", "mean variance", "seconds heard"),
        rows=tuple((name, print_.mean_variance, print_.seconds_used) for name, print_ in prints),
        drawn="mean variance",
        note=(
            f"Within it the score lies between {spread[0]:.2f} and {spread[1]:.2f}, and the interval of the strength "
            "covers both. A variance falls as more is heard: compare recordings of like length."
        ),
    )


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
