"""Is it the voice of the person it is said to be? A voice print is compared with the claimed speaker's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_file
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table, Track
from earwitness.examine.questions import Channel
from earwitness.examine.strength import Sides, covering, outside, tested_on, untested, weighed, widened, withheld
from earwitness.examine.who_speaks import LIMITS, who_speaks
from earwitness.metrics.scores import Floats
from earwitness.speaker.comparison import enrol
from earwitness.speaker.diarisation import Diarised, diarise
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.gallery import one_of
from earwitness.speaker.references import BETTER
from earwitness.speaker.score_draws import score_interval
from earwitness.speaker.voices import several_voices
from earwitness.training.calibration import ConditionName, Ratio, Ratios
from earwitness.training.conditions import SHORT_S, conditions_of
from earwitness.training.model_folder import ModelInfo

QUESTION = "Is it the voice of the reference speaker?"
HYPOTHESES = ("it is the reference speaker's voice", "it is another person's voice")
OF_SEVERAL = ("one of these voices is the reference speaker's", "none of them is")
SIDES = Sides(
    "the same speaker",
    "another speaker",
    "The recording does not settle whether this is the reference speaker's voice.",
)
SEVERAL = "More than one voice is probably heard here; the answer is about the mixture. Examine the parts separately."
ITSELF = "The reference {} is this very recording (same sha256) and was left out: it would be compared with itself."


@dataclass(frozen=True)
class SameVoice:
    """Asked where references were given: about their speaker, and where several voices are heard, who speaks when."""

    embedder: Embedder
    credit: ModelCredit

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where nothing in the channel can be judged, and where the only reference is the file itself."""
        if enrolment is None:
            return
        digest = sha256_file(channel.path)
        others = enrolment.without(digest)
        itself = [ITSELF.format(path) for path, found in enrolment.sources if found == digest]
        if not others.prints:
            answer = "The reference is this very recording: comparing it with itself says nothing."
            yield Finding(QUESTION, HYPOTHESES, "no answer", answer, limits=tuple(itself), model=self.credit)
            return
        voices = diarise(channel.path, self.embedder, channel.number)
        if voices is not None and voices.count > 1:
            yield who_speaks(voices, self.embedder, self.credit, channel.facts.duration_s)
            found = judge_voices(channel, others, voices, self.embedder, self.credit)
        else:
            found = judge_voice(channel, others, self.embedder, self.credit)
        yield replace(found, limits=(*itself, *found.limits))


def judge_voice(channel: Channel, enrolment: Enrolment, embedder: Embedder, credit: ModelCredit) -> Finding:
    """The finding for one channel of a file; "no answer" where nothing in it can be judged."""
    try:
        test = embedder.embed_file(channel.path, channel.number)
    except AudioError as error:
        return Finding(QUESTION, HYPOTHESES, "no answer", f"Nothing here can be judged: it {error.what}.", model=credit)
    info = embedder.info
    score = embedder.compare(enrolment.prints, test)
    everything = tuple({*conditions_of(channel.facts), *enrolment.conditions})
    ratio = None if withheld(info) or info.calibration is None else info.calibration.ratio(score, everything)
    spread = score_interval(embedder, enrolment.prints, test)
    if ratio is not None and spread is not None:
        assert info.calibration is not None
        ratio = covering(ratio, [info.calibration.ratio(at, everything) for at in spread])
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
        limits=((SEVERAL,) if several_voices(test, info) else ()) + _limits(channel, enrolment, info),
        seconds_used=test.seconds_used,
        seconds_total=test.seconds_total,
        window_policy=info.windows.name,
        model=credit,
    )
    return weighed(finding, _kept(ratio, channel, enrolment, info), SIDES)


def judge_voices(
    channel: Channel, enrolment: Enrolment, voices: Diarised, embedder: Embedder, credit: ModelCredit
) -> Finding:
    """The finding for a channel of several voices: each is compared with the references, and what is weighed is that
    one of them is the reference speaker's against that none is (`speaker.gallery.one_of`: the mean of the ratios)."""
    info = embedder.info
    scores = np.array([embedder.compare(enrolment.prints, print_) for print_ in voices.prints])
    ratio, table, best = _each_voice(channel, enrolment, voices, scores, info)
    nearest = voices.prints[best]
    finding = Finding(
        question=QUESTION,
        hypotheses=OF_SEVERAL,
        verdict="inconclusive",
        answer=SIDES.unsettled,
        score=float(scores[best]),
        score_meaning=f"{embedder.comparator.name}, of voice {best + 1}; higher = same speaker",
        evidence=(
            f"{voices.count} voices are heard here, and each was compared by itself; voice {best + 1} is most like the "
            "reference speaker's.",
            f"The strength is the mean of the {voices.count} ratios: that one of several voices is like the reference "
            "happens by chance more often than that a single one is.",
            *_evidence(nearest, enrolment),
        ),
        tracks=(_track(nearest, enrolment),),
        tables=(table,),
        limits=(*LIMITS, *_limits(channel, enrolment, info)),
        seconds_used=sum(print_.seconds_used for print_ in voices.prints),
        seconds_total=nearest.seconds_total,
        window_policy=info.windows.name,
        model=credit,
    )
    sides = Sides(f"that voice {best + 1} is the reference speaker's", "that none of them is", SIDES.unsettled)
    return weighed(finding, _kept(ratio, channel, enrolment, info), sides)


def _each_voice(
    channel: Channel, enrolment: Enrolment, voices: Diarised, scores: Floats, info: ModelInfo
) -> tuple[Ratio | None, Table, int]:
    """The ratio of "one of them" against "none", a row a voice, and the place of the voice most like the reference's;
    a voice that speaks little is judged as a short recording."""
    present = {*conditions_of(channel.facts), *enrolment.conditions}
    found: list[Ratio | None] = []
    for print_, score in zip(voices.prints, scores.tolist(), strict=True):
        short: tuple[ConditionName, ...] = ("short",) if print_.seconds_used < SHORT_S else ()
        known = None if withheld(info) or info.calibration is None else info.calibration
        found.append(None if known is None else known.ratio(score, tuple({*present, *short})))
    ratios = [ratio for ratio in found if ratio is not None]
    best = int(np.argmax([ratio.llr for ratio in ratios] if ratios else scores))
    rows = tuple(
        (voice, round(print_.seconds_used, 1), float(score), *(_numbers(ratio)))
        for voice, (print_, score, ratio) in enumerate(zip(voices.prints, scores, found, strict=True), start=1)
    )
    columns = ("voice", "speaks, s", "score", "log ratio alone", "low", "high")
    table = Table("The voices beside the reference", columns, rows, drawn="log ratio alone" if ratios else "score")
    return (one_of(Ratios.of(ratios), tuple(present)) if ratios else None), table, best


def _numbers(ratio: Ratio | None) -> tuple[float | None, ...]:
    return (None, None, None) if ratio is None else (ratio.llr, ratio.low, ratio.high)


def _kept(ratio: Ratio | None, channel: Channel, enrolment: Enrolment, info: ModelInfo) -> Ratio | None:
    """The ratio, settling nothing where the recording or a reference is outside of the model's tests."""
    if ratio is not None and (untested(channel.facts, info.tested) or enrolment.unfit):
        return widened(ratio)
    return ratio


def _limits(channel: Channel, enrolment: Enrolment, info: ModelInfo) -> tuple[str, ...]:
    return (
        *(f"The reference {path} may mislead: {doubt}. {BETTER}." for path, doubt in enrolment.doubts),
        *withheld(info),
        *untested(channel.facts, info.tested),
        *outside(channel.facts, conditions_of(channel.facts)),
        *_reference_limits(enrolment.conditions),
        *tested_on(info),
    )


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
