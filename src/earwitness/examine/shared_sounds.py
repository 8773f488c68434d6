"""Which sounds are alike in a recording and in those of the claimed speaker, phone by phone (ExPO, arXiv 2501.05729)?

Evidence to look at beside the answer about the voice: nothing here is calibrated, and no likelihood ratio is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from earwitness.core.errors import AudioError, DataError
from earwitness.evaluation.loading import load_traits
from earwitness.examine.credit import credit_of
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table
from earwitness.examine.questions import Channel
from earwitness.examine.strength import tested_on
from earwitness.speaker.phonetic_traits.comparing import TraitPrint
from earwitness.speaker.phonetic_traits.discriminability import FEWEST_TRIALS, PhoneDiscriminability
from earwitness.speaker.phonetic_traits.verifier import FEW_PHONES, TraitInfo, TraitVerifier

QUESTION = "Which sounds are like those of the reference speaker?"
COLUMNS = ("sound", "similarity", "percentile", "one", "two", "trials", "nearer to", "s here", "s there")
NOTE = (
    "percentile: of the trials of two speakers in the model's tests, the share in which this sound was less alike "
    "(bars go from 50: to the right speaks for one speaker, to the left for two); one, two: its mean similarity over "
    "trials of one speaker and of two, trials: how many of each, and which of both it is nearer to (-: fewer than "
    f"{FEWEST_TRIALS} trials of one speaker, or no difference); s here, s there: its seconds in the recording and in "
    "the references. Never compare one sound's similarity with another's."
)


@dataclass(frozen=True)
class SharedSounds:
    """Asked where references were given and a model of speaker-traits was named."""

    verifier: TraitVerifier
    credit: ModelCredit
    _references: dict[tuple[tuple[str, str], ...], list[TraitPrint]] = field(default_factory=dict, repr=False)

    @classmethod
    def by(cls, name: str) -> SharedSounds:
        """With a model by name or path. Raises `ModelError`, `MissingPartError`."""
        verifier = load_traits(name)
        return cls(verifier, credit_of(name, verifier.info))

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where a side holds nothing to compare, or has no phone track."""
        if enrolment is None:
            return ()
        try:
            known = self._enrolled(enrolment)
            test = self.verifier.hear_file(channel.path, channel.number)
        except (AudioError, DataError) as error:
            what = f"The sounds cannot be compared: {error}"
            return (Finding(QUESTION, None, "no answer", what, model=self.credit),)
        return (replace(judge_sounds(test, known, self.verifier), model=self.credit),)

    def _enrolled(self, enrolment: Enrolment) -> list[TraitPrint]:
        """The references, heard once for all recordings."""
        if enrolment.sources not in self._references:
            self._references[enrolment.sources] = [self.verifier.hear_file(Path(path)) for path, _ in enrolment.sources]
        return self._references[enrolment.sources]


@dataclass(frozen=True)
class _Sound:
    """One shared sound: its mean similarity to the references that hold it, and what is known of it."""

    name: str
    similarity: float
    seconds: float
    reference_seconds: float
    known: PhoneDiscriminability | None

    @property
    def percentile(self) -> float | None:
        return None if self.known is None else self.known.percentile(self.similarity)

    @property
    def nearer_to(self) -> str:
        """The side whose mean is nearer: one speaker or two; - where the model's tests know too little of the sound."""
        known = self.known
        if known is None or known.greyed or known.difference is None or known.difference <= 0:
            return "-"
        middle = ((known.target_mean or 0.0) + (known.nontarget_mean or 0.0)) / 2
        return "one" if self.similarity >= middle else "two"


def judge_sounds(test: TraitPrint, references: Sequence[TraitPrint], verifier: TraitVerifier) -> Finding:
    """The finding about a recording and its references; "inconclusive" where too few sounds are shared or count."""
    known = verifier.known
    sounds, score = _compared(test, references, verifier)
    evidence = float(np.mean([one.similarity for one in sounds])) if sounds else None
    one, two = (tuple(s.name for s in sounds if s.nearer_to == side) for side in ("one", "two"))
    figures = known.figures
    empty = figures is not None and not figures.phones_matter
    told = len(one) + len(two) > 0 and len(sounds) >= FEW_PHONES and not empty
    return Finding(
        question=QUESTION,
        hypotheses=None,
        verdict="answer" if told else "inconclusive",
        answer=_words(sounds, one, two),
        score=evidence,
        score_meaning="evidence score, the mean similarity of the shared sounds; higher = more alike, not calibrated",
        evidence=tuple(_evidence(score, len(sounds), known)),
        tables=(_table(sounds, known),) if sounds else (),
        limits=(*_limits(len(sounds), known), *tested_on(verifier.info)),
        seconds_used=test.seconds_used,
        seconds_total=test.seconds_total,
        window_policy=verifier.info.windows.name,
    )


def _compared(
    test: TraitPrint, references: Sequence[TraitPrint], verifier: TraitVerifier
) -> tuple[list[_Sound], float]:
    """The shared sounds, most alike among their nontargets first; and the mean score over the references."""
    last = len(references)
    places = np.arange(last)
    scores, found = verifier.compare([*references, test], places, np.full(last, last))
    sounds = []
    for place, name in enumerate(verifier.known.names):
        shared = found.shared[:, place]
        if shared.any():
            seconds = sum(float(one.seconds[place]) for one in references)
            similarity = float(found.values[shared, place].mean())
            known = verifier.known.of_phone(name)
            sounds.append(_Sound(name, similarity, float(test.seconds[place]), seconds, known))
    order = sorted(sounds, key=lambda one: (one.percentile is None, -(one.percentile or 0.0), one.name))
    return order, float(scores.mean())


def _words(sounds: Sequence[_Sound], one: Sequence[str], two: Sequence[str]) -> str:
    if not sounds:
        return "The recordings share no sound that the model knows."
    if not one and not two:
        return f"They share {len(sounds)} sound(s), and the model's tests know too little of each to say what it means."
    verb = "is" if len(one) == 1 else "are"
    words = [f"Of {len(sounds)} sounds that both hold, {len(one)} {verb} nearer to what one speaker's usually are"]
    words.append(f" ({', '.join(one)})" if one else "")
    words.append(f", and {len(two)} to those of two speakers")
    words.append(f" ({', '.join(two)})." if two else ".")
    return "".join(words)


def _evidence(score: float, shared: int, known: TraitInfo) -> Iterator[str]:
    yield f"Score of the whole comparison {score:.2f}; {shared} shared sounds."
    yield f"Labels of the sounds: {known.maker}."
    if known.figures is not None:
        figures = known.figures
        yield (
            f"On {figures.trials} trials of the model's dev side the error rate (EER) of the evidence score was "
            f"{figures.evidence_eer:.1%}, of the whole score {figures.score_eer:.1%}, and of the evidence score with "
            f"phone labels in random order {figures.evidence_eer_random_labels:.1%}."
        )


def _limits(shared: int, known: TraitInfo) -> Iterator[str]:
    if shared < FEW_PHONES:
        yield f"Only {shared} sound(s) are shared; below {FEW_PHONES} the comparison hangs on too little."
    if not known.are_phones:
        yield "The sounds are pseudo-phones, clusters of spectra: they are no phones of a language."
    if known.figures is not None and not known.figures.phones_matter:
        yield "In the model's tests random labels served as well as the right ones: the sounds say nothing here."
    yield "Similarities of sounds are not calibrated and do not add up to the score: they have no stated strength."


def _table(sounds: Sequence[_Sound], known: TraitInfo) -> Table:
    rows = tuple(
        (
            one.name,
            round(one.similarity, 3),
            _rounded(one.percentile, 1),
            _rounded(one.known.target_mean if one.known else None, 3),
            _rounded(one.known.nontarget_mean if one.known else None, 3),
            f"{one.known.target_trials} + {one.known.nontarget_trials}" if one.known else None,
            one.nearer_to,
            round(one.seconds, 2),
            round(one.reference_seconds, 2),
        )
        for one in sounds
    )
    title = "Phone by phone" if known.are_phones else "Pseudo-phone by pseudo-phone"
    return Table(title, COLUMNS, rows, drawn=COLUMNS[2], neutral=50.0, note=NOTE)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
