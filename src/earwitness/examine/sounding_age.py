"""How old does the voice sound? A distribution over ages with its interval; no date of birth follows from a sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from earwitness.core.errors import AudioError
from earwitness.evaluation.loading import load_age
from earwitness.examine.credit import credit_of
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding, ModelCredit, Table
from earwitness.examine.questions import Channel
from earwitness.examine.strength import not_for
from earwitness.paralinguistic.age import AgeEstimate, AgeEstimator

QUESTION = "How old does the voice sound?"
BAND = 5  # years
LEAST = 0.01  # a band below it is not listed
LIMITS = (
    "How old a voice sounds, to a model that knows few voices: not how old the person is, and no ground to decide "
    "about anybody, of age or not.",
    "Illness, smoking, hormones, training, a foreign language, a telephone, synthesis change how old a voice sounds.",
)


@dataclass(frozen=True)
class SoundingAge:
    """Asked of every recording while the model is better than a constant."""

    estimator: AgeEstimator
    credit: ModelCredit

    @classmethod
    def by(cls, name: str) -> SoundingAge:
        """With a model by name or path. Raises `ModelError`."""
        estimator = load_age(name)
        return cls(estimator, credit_of(name, estimator.info))

    def answer(self, channel: Channel, enrolment: Enrolment | None) -> Iterable[Finding]:
        """ "No answer" where nothing can be judged."""
        try:
            heard = self.estimator.estimate_file(channel.path, channel.number)
        except AudioError as error:
            what = f"No age can be heard here: it {error.what}."
            yield Finding(QUESTION, None, "no answer", what, model=self.credit)
            return
        info = self.estimator.info
        tested = tuple(info.tested.notes) if info.tested else ()
        yield Finding(
            question=QUESTION,
            hypotheses=None,
            verdict="answer",
            answer=f"Like a voice of about {heard.mean:.0f} years: probably of {heard.low:.0f} to {heard.high:.0f}.",
            score=heard.mean,
            score_meaning="years, the mean of the distribution",
            evidence=(
                f"In four of five cases the age should lie within the interval of {heard.low:.0f} to {heard.high:.0f} "
                f"years, for voices like those that it was tested on; standard deviation {heard.sd:.1f} years.",
                *(f"The model: {note}." for note in tested),
            ),
            tables=(_table(heard),),
            limits=(*LIMITS, *not_for(info), *info.known_failures),
            seconds_used=heard.seconds_used,
            seconds_total=heard.seconds_total,
            window_policy=info.windows.name,
            model=self.credit,
        )


def _table(heard: AgeEstimate) -> Table:
    """The distribution in bands, with bars."""
    lows = (np.floor(heard.ages / BAND) * BAND).astype(int)
    bands = [(low, float(heard.distribution[lows == low].sum())) for low in np.unique(lows)]
    kept = [place for place, (_, share) in enumerate(bands) if share >= LEAST]
    rows = tuple((f"{low} to {low + BAND - 1}", round(100 * share, 1)) for low, share in bands[kept[0] : kept[-1] + 1])
    return Table("the distribution over ages", ("years", "share, %"), rows, drawn="share, %")
