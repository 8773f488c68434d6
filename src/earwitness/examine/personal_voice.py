"""Where is the reference speaker likely heard, among several voices? A personal VAD's gamma over time, never a verdict.

It looks for the very voice that it is told of, which is confirmation by design. So the score without that condition
always stands beside the one with it, and the same is done for 20 decoy speakers of the verifier's cohort: how many of
them fit as well says more than any score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from earwitness.audio.recording import Segment
from earwitness.core.errors import AudioError
from earwitness.evaluation.loading import load_personal_vad
from earwitness.examine.credit import credit_of
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table, Track
from earwitness.examine.questions import Channel
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.personal_vad.hearing import HARD, Heard, PersonalVerifier

QUESTION = "Where is the reference speaker likely heard?"
DECOYS = 20
STEP_S, MOST_STEPS = 0.1, 3000
SHORTEST_S = 0.3  # of a stretch
LIMITS = (
    "The method is conditioned on the reference speaker: it looks for this voice and may find it where it is not. The "
    "track does not say that the speaker is in the recording.",
    "Meant for recordings of several voices; of one voice alone the plain comparison says more.",
    "Decoys are voices of other recordings and channels than the reference: being ahead of them is easier than being "
    "ahead of people recorded alike.",
)


@dataclass(frozen=True)
class PersonalVoice:
    """Asked where references were given and a model was named for it."""

    verifier: PersonalVerifier
    credit: ModelCredit

    @classmethod
    def by(cls, name: str) -> PersonalVoice:
        """With a model by name or path. Raises `ModelError`."""
        verifier = load_personal_vad(name)
        return cls(verifier, credit_of(name, verifier.info))

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where nothing can be judged, or the model knows too few decoys to compare with.

        Raises `AudioError` for a reference that cannot be read any more.
        """
        return () if enrolment is None else (self._finding(channel, enrolment),)

    def _finding(self, channel: Channel, enrolment: Enrolment) -> Finding:
        decoys = decoys_of(self.verifier)
        if decoys is None:
            what = f"This model knows fewer than {DECOYS} decoy voices, so that what it finds cannot be weighed."
            return Finding(QUESTION, None, "no answer", what, model=self.credit)
        voice = self.verifier.enrol_files(path for path, _ in enrolment.sources)
        try:
            heard = self.verifier.hear_file(channel.path, np.concatenate([voice[None], decoys]), channel.number)
        except AudioError as error:
            what = f"Nothing here can be judged: it {error.what}."
            return Finding(QUESTION, None, "no answer", what, model=self.credit)
        gated, plain = rank(heard.scores), rank(heard.plain)
        return Finding(
            question=QUESTION,
            hypotheses=None,
            verdict="inconclusive",
            answer=_answer(gated),
            tone="neutral" if gated == 1 else "caution",
            score=float(heard.scores[0]),
            score_meaning="cosine, conditioned on the reference speaker; no likelihood ratio",
            evidence=(
                f"Without the condition the score is {heard.plain[0]:+.3f}, with it {heard.scores[0]:+.3f}.",
                f"Among {DECOYS} decoy speakers, conditioned in the same way, the reference is number {gated} of "
                f"{DECOYS + 1}; without the condition number {plain}.",
            ),
            tracks=(_track(heard),),
            tables=(_table(heard),),
            stretches=_stretches(heard) if gated == 1 else (),
            limits=LIMITS,
            seconds_used=heard.seconds_used,
            seconds_total=heard.seconds_total,
            window_policy=f"whole up to 60 s, else {self.verifier.info.windows.name}",
            model=self.credit,
        )


def decoys_of(verifier: PersonalVerifier) -> Vectors | None:
    """Twenty voices [20, E], evenly from the cohort's order; None where there are fewer."""
    if verifier.cohort is None or len(verifier.cohort) < DECOYS:
        return None
    places = np.linspace(0, len(verifier.cohort) - 1, DECOYS).round().astype(int)
    return np.asarray(verifier.cohort[places], np.float32)


def rank(scores: Vectors) -> int:
    """The place of the first among all, 1 the highest; whoever scores as high counts as ahead."""
    return 1 + int((scores[1:] >= scores[0]).sum())


def _answer(place: int) -> str:
    if place == 1:
        return (
            f"The track shows where the reference speaker is likely heard, if at all. The recording fits this voice "
            f"better than each of {DECOYS} decoys; that alone does not show that it is the same person."
        )
    ahead = "One decoy voice fits" if place == 2 else f"{place - 1} decoy voices fit"
    return (
        f"{ahead} this recording at least as well as the reference speaker's: the track must not be taken for where "
        "the reference speaker is heard."
    )


def _steps(heard: Heard) -> list[tuple[float, float, float]]:
    """Start, end and mean gamma of the reference in steps of 0.1 s, longer ones in very long recordings."""
    gamma = heard.gamma[0]
    size = max(1, round(max(STEP_S, len(gamma) * heard.step_s / MOST_STEPS) / heard.step_s))
    return [
        (first * heard.step_s, min(first + size, len(gamma)) * heard.step_s, float(gamma[first : first + size].mean()))
        for first in range(0, len(gamma), size)
    ]


def _track(heard: Heard) -> Track:
    steps = _steps(heard)
    return Track(
        name="where the reference speaker is likely heard",
        unit="gamma (not a probability)",
        starts_s=tuple(start for start, _, _ in steps),
        ends_s=tuple(end for _, end, _ in steps),
        values=tuple(value for _, _, value in steps),
        high_means="kept as the reference speaker's",
        low_means="muted",
        neutral=HARD,
    )


def _stretches(heard: Heard) -> tuple[Segment, ...]:
    """Where gamma stays above 0.5."""
    found: list[Segment] = []
    for start, end, value in _steps(heard):
        if value <= HARD:
            continue
        if found and abs(found[-1].end_s - start) < 1e-6:
            found[-1] = Segment(found[-1].start_s, end)
        else:
            found.append(Segment(start, end))
    return tuple(one for one in found if one.duration_s >= SHORTEST_S - 1e-6)


def _table(heard: Heard) -> Table:
    names = ("the reference", *(f"decoy {number}" for number in range(1, len(heard.scores))))
    rows = sorted(
        zip(names, heard.scores.tolist(), heard.plain.tolist(), heard.gamma.mean(axis=1).tolist(), strict=True),
        key=lambda row: -row[1],
    )
    return Table(
        title="the reference among decoy speakers",
        columns=("conditioned on", "score", "without the condition", "mean gamma"),
        rows=tuple((name, round(score, 4), round(plain, 4), round(gamma, 4)) for name, score, plain, gamma in rows),
        drawn="score",
        note="Every voice is looked for in the same way; a decoy that scores as high as the reference speaks against "
        "reading anything into the reference's score.",
    )
