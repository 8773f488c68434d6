"""From a score to what may be said: the bounded ratio under the recording's conditions, and when it is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earwitness.audio.facts import SignalFacts
from earwitness.examine.finding import Finding
from earwitness.metrics.calibration import VERBAL_SCALE, verbal_scale
from earwitness.training.calibration import LEAST_LLR, ConditionName, Ratio
from earwitness.training.conditions import NARROW_HZ, NOISY_DB, SHORT_S
from earwitness.training.model_folder import ModelInfo, TestedRanges

_CLIPPED = 0.001  # of all samples


@dataclass(frozen=True)
class Sides:
    """How an answer names what a positive and a negative ratio favour, and what it says when neither is favoured."""

    positive: str
    negative: str
    unsettled: str


def weighed(finding: Finding, ratio: Ratio | None, sides: Sides, least_llr: float = LEAST_LLR) -> Finding:
    """The finding with its ratio, its verdict and the words for both; inconclusive where there is no ratio.

    `least_llr` is the model's own limit, where it was tested with one; a ratio under 2 is never an answer.
    """
    if ratio is None:
        return replace(finding, verdict="inconclusive", answer=sides.unsettled, tone="caution")
    words = verbal_scale(ratio.llr)
    finding = replace(
        finding,
        llr=ratio.llr,
        llr_low=ratio.low,
        llr_high=ratio.high,
        llr_bound=ratio.bounds,
        scale_name=VERBAL_SCALE,
        scale_words=words,
    )
    if not settles(ratio, max(least_llr, LEAST_LLR)):
        return replace(finding, verdict="inconclusive", answer=sides.unsettled, tone="caution")
    side = sides.positive if ratio.llr > 0 else sides.negative
    answer = f"The measurements fit {side} better: {words}."
    return replace(finding, verdict="answer", answer=answer, tone="good" if ratio.llr > 0 else "bad")


def settles(ratio: Ratio, least_llr: float = LEAST_LLR) -> bool:
    """Whether the ratio and its whole interval favour one side."""
    return abs(ratio.llr) >= least_llr and (ratio.low > 0 or ratio.high < 0)


def withheld(info: ModelInfo) -> tuple[str, ...]:
    """Why a model's tests don't allow it to answer at all; empty where they do."""
    if info.calibration is None:
        return ("This model has no calibration, so that its score has no known strength.",)
    if not info.extra.get("inconclusive"):
        return ()
    reasons = info.extra.get("inconclusive_because")
    texts = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    return ("This model's own tests don't allow it to answer; its score is shown without a strength.", *texts)


def widened(ratio: Ratio) -> Ratio:
    """The ratio of a recording that is outside of a model's tests: anything within its bounds, so that it settles
    nothing."""
    return replace(ratio, low=min(ratio.low, ratio.bounds[0]), high=max(ratio.high, ratio.bounds[1]))


def covering(ratio: Ratio, others: Sequence[Ratio]) -> Ratio:
    """The ratio with an interval that reaches over those of the others too."""
    every = (ratio, *others)
    return replace(ratio, low=min(each.low for each in every), high=max(each.high for each in every))


def outside(facts: SignalFacts, conditions: Sequence[ConditionName]) -> list[str]:
    """In words, what about this recording lies outside of what models do well on."""
    said = []
    if "short" in conditions:
        said.append(
            f"Only {facts.speech_s:.1f} s of speech (under {SHORT_S:g} s): the strength was taken from tests on short "
            "recordings, and is weaker for it."
        )
    if "narrow_band" in conditions:
        said.append(
            f"Narrow band (nothing above {(facts.bandwidth_hz or 0) / 1000:.1f} kHz; under {NARROW_HZ / 1000:g} kHz): "
            "much of what a detector listens for is missing, and the strength was taken from tests on telephone band."
        )
    if "noisy" in conditions:
        said.append(
            f"Noisy (speech {facts.snr_db or 0:.0f} dB above the background, under {NOISY_DB:g} dB): the strength was "
            "taken from tests with noise."
        )
    if facts.clipped_fraction > _CLIPPED:
        said.append(f"{100 * facts.clipped_fraction:.1f} % of the samples are clipped; no test covers that.")
    return said


def untested(facts: SignalFacts, tested: TestedRanges) -> list[str]:
    """In words, why no test of a model covers this recording; empty where its measured facts are within the tests.

    A fact that cannot be measured is outside of nothing: whatever has no bandwidth is silence.
    """
    ranges = (
        ("speech", facts.speech_s, tested.min_speech_s, "s", 2),
        ("bandwidth", facts.bandwidth_hz, tested.min_bandwidth_hz, "Hz", 0),
        ("speech above background", facts.snr_db, tested.min_snr_db, "dB", 1),
    )
    return [
        f"Outside of what this model was tested on ({name} {value:.{digits}f} {unit}; its tests begin at {least:g} "
        f"{unit}): nothing is settled here, whatever the score."
        for name, value, least, unit, digits in ranges
        if value is not None and least is not None and value < least
    ]


def not_for(info: ModelInfo) -> list[str]:
    """What the model must not be used for, a sentence each."""
    return [f"Not for {limit}." for limit in info.limits]


def tested_on(info: ModelInfo) -> list[str]:
    """The limits that hold for every answer of a model."""
    said = not_for(info)
    if info.tested.languages:
        said.append(
            f"Tested on speech in {', '.join(info.tested.languages)}, and in no other language; which one is spoken "
            "here is not measured."
        )
    if info.known_failures:
        said.append(f"{len(info.known_failures)} known failure(s) of the model are listed in its card.")
    return said
