"""What can be believed of a report, in words: whether the audio was used, whether the judge was validated, what is
missing. The first statement is always about the audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from earwitness.speech_llm.bench.alarms import IDENTICAL
from earwitness.speech_llm.bench.figures import Figure
from earwitness.speech_llm.bench.report import Report

MOST_UNRATED = 0.02  # share of judgements without a rating, above which a run is invalid
MOST_FAILED = 0.02  # share of failed questions that is spoken of
FEW_PEOPLE = 100  # rated answers below which a validation is called small

Tone = Literal["good", "caution", "bad"]


@dataclass(frozen=True)
class Statement:
    """One sentence or two, and how it stands with the run."""

    tone: Tone
    text: str


def statements(report: Report) -> list[Statement]:
    """In the order of weight."""
    return [_audio(report), *_validity(report), *_judge(report), *_missing(report), *_listening(report)]


def unrated_share(report: Report) -> float | None:
    """The share of judgements that hold no rating, with the real audio; None where nothing was judged."""
    counts = report.real.counts
    return (counts.unparsed + counts.judge_errors) / counts.judgements if counts.judgements else None


def invalid(report: Report) -> bool:
    """Whether so many judgements hold no rating that the means are about a chosen rest."""
    share = unrated_share(report)
    return share is not None and share > MOST_UNRATED


def _audio(report: Report) -> Statement:
    """Is the audio used? Signs that it never arrived come first."""
    if report.heard.answers and report.heard.seconds_heard == 0:
        return Statement("bad", "The audio seems unused: by its client's account the model heard 0 seconds.")
    if report.identical:
        one = report.identical[0]
        return Statement(
            "bad",
            f"The audio seems unused: {one.share:.0%} of the answers to one question about {one.clips} different clips "
            "are the same text. It probably never reached the model.",
        )
    alike = max(report.same_as_controls, key=lambda one: one.share, default=None)
    if alike is not None and alike.share > IDENTICAL:
        return Statement(
            "bad",
            f"The audio seems unused: {alike.share:.0%} of the answers are word for word the same under the control "
            f"'{alike.control}'.",
        )
    gain = report.audio_gain
    if gain is None or gain.uas.value is None:
        why = "no control was asked or judged (--controls silence,shuffle,text-only)"
        return Statement("caution", f"Whether the audio is used cannot be said: {why}.")
    told = f"UAS {signed(gain.uas)} against the best of {gain.against}"
    if gain.uas.low is not None and gain.uas.low > 0:
        return Statement("good", f"The audio is used: {told}.")
    if gain.uas.value <= 0:
        return Statement("bad", f"The audio seems unused: answers are no better with it, {told}.")
    return Statement("caution", f"It is not shown that the audio is used: {told}.")


def _validity(report: Report) -> Iterator[Statement]:
    counts = report.real.counts
    if report.judge is None and not counts.not_asked and not counts.not_judged:
        yield Statement("bad", "No answer could be judged: the questions failed or were refused.")
    elif report.judge is None:
        yield Statement("caution", "Nothing was judged yet: run `earwitness bench judge`.")
    if invalid(report):
        share = unrated_share(report) or 0.0
        yield Statement("bad", f"The run is invalid: {share:.1%} of the judgements hold no rating, more than 2 %.")


def _judge(report: Report) -> Iterator[Statement]:
    human = report.human
    if human is None and report.judge is not None:
        yield Statement("caution", "The judge was not validated against people.")
    elif human is not None:
        small = f" Only {human.items} answers were rated; {FEW_PEOPLE} are a minimum." * (human.items < FEW_PEOPLE)
        kappa = f"quadratic weighted kappa {shown(human.kappa, 2)}, Spearman {shown(human.spearman, 2)}"
        tone: Tone = "good" if not small and (human.kappa.low or 0) > 0.6 else "caution"
        yield Statement(tone, f"Judge against people over {human.items} answers: {kappa}.{small}")
    if report.judge_like_model is not None:
        yield Statement(
            "caution",
            f"Model and judge are of one family by their names ('{report.judge_like_model}'): judges favour answers "
            "like their own.",
        )
    if report.judge_like_generator is not None:
        yield Statement(
            "caution",
            f"The questions were written by a model of the judge's family, by their names "
            f"('{report.judge_like_generator}'): it may favour what sounds like its references.",
        )


def _missing(report: Report) -> Iterator[Statement]:
    counts = report.real.counts
    failed = sum(counts.failed.values())
    asked = counts.questions - counts.not_asked
    if counts.not_asked or counts.not_judged:
        yield Statement(
            "caution", f"Unfinished: {counts.not_asked} questions not asked, {counts.not_judged} answers not judged."
        )
    if asked and failed / asked > MOST_FAILED:
        yield Statement("caution", f"{failed} of {asked} questions failed ({failed / asked:.1%}) and have no score.")
    if counts.refused:
        yield Statement("caution", f"{counts.refused} of {asked} questions were refused; a refusal scores 0.")
    if report.pseudo_labelled:
        text = f"{report.pseudo_labelled} of {report.items} questions rest on labels that a model gave, not people."
        yield Statement("caution", text)
    if absent := report.real.uas.absent:
        yield Statement("caution", f"No scored question of type {', '.join(absent)}: left out of the averages.")


def _listening(report: Report) -> Iterator[Statement]:
    heard = report.heard
    if heard.cut:
        yield Statement(
            "caution",
            f"{heard.cut} of {heard.answers} recordings were not heard whole: {heard.seconds_heard:.0f} of "
            f"{heard.seconds_total:.0f} s.",
        )


def shown(figure: Figure, digits: int = 1) -> str:
    """A value with its interval, as text."""
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f} [no interval]"
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def signed(figure: Figure, digits: int = 1) -> str:
    """A difference with its interval, as text."""
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.{digits}f} [no interval]"
    return f"{figure.value:+.{digits}f} [{figure.low:+.{digits}f}, {figure.high:+.{digits}f}]"
