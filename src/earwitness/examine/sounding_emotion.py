"""Which emotion does the voice sound like? Probabilities over acted categories, their course, and often no answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from earwitness.core.errors import AudioError
from earwitness.evaluation.loading import load_emotions
from earwitness.examine.credit import credit_of
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import PROBABILITY, Finding, ModelCredit, Table, Track
from earwitness.examine.questions import Channel
from earwitness.examine.strength import not_for
from earwitness.paralinguistic.emotion import FEWEST_OWN, EmotionEstimate, EmotionEstimator, OwnSpeech
from earwitness.training.shipped import shipped_models

QUESTION = "Which emotion does the voice sound like?"
SHOWN = 0.15  # a class less likely than this over the whole, and called in no window, has no track
LIMITS = (
    "How the speech sounds beside recordings of actors who were told what to play: not what the speaker feels, thinks "
    "or intends, and no sign of lying.",
    "Listeners of one culture misjudge the voices of another, models more so; this one learnt from few speakers of "
    "one language, and one corpus does not predict another.",
    "Nothing here may serve to decide about people: in work, school, at borders, by police or in medicine.",
)
OWN_LIMIT = (
    "Heard as a difference from the references: where they are of another voice, few, or all in one manner, the "
    "answer is less often right and the shares are too sure of themselves."
)
ACROSS = {"emotion": (91, 43), "emotion-relative": (94, 69), "emotion-fast": (91, 43)}
"""Mean recall in %, on actors of their own corpus, each left out, and on those of another that they never heard:
benchmarks/manner_peers.py and emotion_fast.py (docs/systems/manner.md)."""
ABSOLUTE, RELATIVE = "emotion", "emotion-relative"  # the shipped models
NAMED = {"happy": "happiness", "sad": "sadness", "angry": "anger", "fear": "fear", "disgust": "disgust"}


@dataclass(frozen=True)
class SoundingEmotion:
    """Asked of every recording while the model is better than a constant.

    The model named `relative` answers instead where enough other recordings of the voice are at hand. `shipped` is the
    name of one that ships.
    """

    estimator: EmotionEstimator
    credit: ModelCredit
    relative: str | None = None
    shipped: str | None = None

    @classmethod
    def by(cls, name: str) -> SoundingEmotion:
        """With a model by name or path; beside the shipped one stands the shipped relative one. Raises `ModelError`."""
        estimator = load_emotions(name)
        beside = RELATIVE if name == ABSOLUTE and RELATIVE in shipped_models() else None
        return cls(estimator, credit_of(name, estimator.info), beside, name if name in shipped_models() else None)

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where nothing can be judged, "inconclusive" where no class is likely enough."""
        references = () if enrolment is None else tuple(path for path, _ in enrolment.sources)
        if self.relative is not None and len(references) >= FEWEST_OWN:
            yield from _by(self.relative).answer(channel, enrolment)
            return
        try:
            estimator = self._beside(references)
            heard = estimator.estimate_file(channel.path, None, channel.number)
        except AudioError as error:
            what = f"No emotion can be heard here: it {error.what}."
            yield Finding(QUESTION, None, "no answer", what, model=self.credit)
            return
        info, own = self.estimator.info, () if estimator.own is None else (OWN_LIMIT,)
        yield Finding(
            question=QUESTION,
            hypotheses=None,
            verdict="inconclusive" if heard.category is None else "answer",
            answer=_answer(heard, estimator.own),
            score=float(heard.probabilities.max()),
            score_meaning=f"probability of '{heard.likeliest}' among the classes that the model knows",
            evidence=_strength(heard),
            tracks=_tracks(heard) if len(heard.spans) > 1 else (),
            tables=(_table(heard),),
            limits=(*LIMITS, *across(self.shipped), *own, *not_for(info), *info.known_failures),
            seconds_used=heard.seconds_used,
            seconds_total=heard.seconds_total,
            window_policy=info.windows.name,
            model=self.credit,
        )

    def _beside(self, references: Sequence[str]) -> EmotionEstimator:
        """The model, told of the references where it is relative. Raises `AudioError` where they are too few."""
        if not self.estimator.relative:
            return self.estimator
        return self.estimator.beside([self.estimator.vector_of_file(path) for path in references])


@lru_cache(maxsize=2)  # loaded where it is asked for, once
def _by(name: str) -> SoundingEmotion:
    return SoundingEmotion.by(name)


def across(name: str | None) -> tuple[str, ...]:
    """What a shipped model loses on a corpus that it never heard."""
    if name not in ACROSS:
        return ()
    own, other = ACROSS[name]
    return (
        f"On German actors like those that it learnt from, its mean recall over six classes was {own} %; on Polish "
        f"ones, whom it never heard, {other} % over five, where a constant answer has 20 %.",
    )


def _answer(heard: EmotionEstimate, own: OwnSpeech | None) -> str:
    sentence = _sentence(heard)
    return sentence if own is None else f"Heard against {own.recordings} references of the voice. {sentence}"


def _sentence(heard: EmotionEstimate) -> str:
    if heard.category is None:
        return "Like none of the acted emotions that the model knows clearly enough to name one."
    if heard.category == "neutral":
        return "Most like speech that actors were asked to keep neutral."
    return f"Most like speech in which actors played {NAMED.get(heard.category, heard.category)}."


def _strength(heard: EmotionEstimate) -> tuple[str, ...]:
    """How strongly it is played, where the model learnt that."""
    if heard.intensity is None:
        return ()
    return (f"Strength of what is played: {heard.intensity:.2f} on a scale from 0 to 1.",)


def _table(heard: EmotionEstimate) -> Table:
    rows = sorted(zip(heard.classes, heard.probabilities.tolist(), strict=True), key=lambda row: -row[1])
    note = "Of these classes alone: speech that is none of them gets shares too."
    cells = tuple((name, round(100 * share, 1)) for name, share in rows)
    return Table("how much it sounds like each", ("played", "share, %"), cells, drawn="share, %", note=note)


def _tracks(heard: EmotionEstimate) -> tuple[Track, ...]:
    """The course of each class that is likely over the whole, or that some window alone would be called."""
    starts, ends = (tuple(getattr(span, name) for span in heard.spans) for name in ("start_s", "end_s"))
    called = {int(window.argmax()) for window in heard.course if window.max() >= heard.threshold}
    return tuple(
        Track(
            name=f"sounds like {name}",
            unit=PROBABILITY,
            starts_s=starts,
            ends_s=ends,
            values=tuple(map(float, heard.course[:, place])),
            high_means=f"like played {NAMED.get(name, name)}",
            low_means="unlike it",
            neutral=1 / len(heard.classes),
        )
        for place, name in enumerate(heard.classes)
        if heard.probabilities[place] >= SHOWN or place in called
    )
