"""Where in recordings the spoofed parts are: how well a system's segment scores say so.

The utterance EER, the segment EER at the score's own step and at coarser ones, and the range EER over durations
(Zhang et al., arXiv 2204.05177 and 2305.17739); intervals by resampling whole speakers or utterances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import MetricError, UsageError
from earwitness.core.records import RunRecord, command_line
from earwitness.evaluation.judging.judge import JudgeOptions, Measure
from earwitness.evaluation.judging.segments import ScoredSegments, read_scored_segments
from earwitness.evaluation.judging.units import Unit
from earwitness.evaluation.results.requests import LocaliseRequest
from earwitness.metrics.bootstrap import FEW_UNITS, Units, bootstrap
from earwitness.metrics.detection import EER_DEFINITIONS, EerMethod
from earwitness.metrics.localisation import (
    RESOLUTIONS_MS,
    PooledSegments,
    pool_ranges,
    pool_segments,
    utterance_scores,
)
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials


@dataclass(frozen=True)
class Localisation:
    """What `earwitness evaluate localisation` found of scores every `step_ms`.

    `bonafide` and `spoof` count utterances, of which a spoof holds any spoofed part; `undone` says in words which
    figures these scores do not allow.
    """

    step_ms: int
    bonafide: int
    spoof: int
    failed: int
    measures: tuple[Measure, ...]
    undone: tuple[str, ...]
    notes: tuple[str, ...]
    record: RunRecord
    kind: Literal["localise"] = "localise"


@dataclass(frozen=True)
class _Figure:
    name: str
    definition: str
    trials: Trials
    method: EerMethod


def localise(request: LocaliseRequest) -> Localisation:
    """Judge segment scores.

    Raises `DataError` as `read_scored_segments` does, `UsageError` for options of two-class judging and units that are
    not there, `MetricError` where no time is bona fide or none is spoof.
    """
    _refuse_unfit(request.options)
    segments = read_scored_segments(request.scores, request.key)
    if request.negate:
        segments = segments.negated()
    units, notes = _units(segments, request.options.unit)
    figures, undone = _figures(segments, units, request.options.eer_method)

    def statistic(counts: Floats) -> list[float]:
        return [figure.trials.resample(counts).eer(figure.method) for figure in figures]

    intervals = bootstrap(statistic, units, request.options.n_resamples, request.options.seed)
    measures = tuple(
        Measure(figure.name, interval, figure.definition, "share")
        for figure, interval in zip(figures, intervals, strict=True)
    )
    genuine = _genuine(segments)
    return Localisation(
        step_ms=segments.scores.step_ms,
        bonafide=int(genuine.sum()),
        spoof=int((~genuine).sum()),
        failed=len(segments.failed),
        measures=measures,
        undone=tuple(undone),
        notes=(*segments.notes, *notes, *_cautions(segments, measures)),
        record=RunRecord.make(
            command_line(),
            request.model_dump(mode="json"),
            seed=request.options.seed,
            inputs=segments.inputs,
            weights=list(segments.models),
            definitions={measure.name: measure.definition for measure in measures},
        ),
    )


def _figures(segments: ScoredSegments, units: Units, method: EerMethod) -> tuple[list[_Figure], list[str]]:
    """The figures that scores and labels allow, and in words those that they do not."""
    found: list[_Figure] = []
    steps, undone = _resolutions(segments)
    for step in steps:
        name = f"segment EER {step} ms"
        try:
            pooled = pool_segments(segments.scores, segments.labels, step)
            trials = _trials(pooled, units)
        except MetricError as error:
            undone.append(f"no {name}: {error.what}")
            continue
        words = f"{len(pooled.bonafide)} bona fide and {len(pooled.spoof)} spoof segments, the lowest of their parts"
        rule = f"as {found[0].name}" if found else f"{method}: {EER_DEFINITIONS[method]}"
        found.append(_Figure(name, f"{rule}; {words}", trials, method))
    genuine = _genuine(segments)
    if genuine.any() and not genuine.all():
        words = f"{method}: {EER_DEFINITIONS[method]}; an utterance scores as its lowest segment"
        found.insert(0, _Figure("utterance EER", words, _trials(_whole(segments, genuine), units), method))
    else:
        undone.append("no utterance EER: all utterances are of one class")
    return [*found, _range_figure(segments, units)], undone


def _resolutions(segments: ScoredSegments) -> tuple[list[int], list[str]]:
    """The score's own step and those coarser, in ms, that scores and labels fit into; in words those left out."""
    own, exact = segments.scores.step_ms, segments.labels.step_ms
    steps, undone = [], []
    for step in sorted({own, *(step for step in RESOLUTIONS_MS if step > RESOLUTIONS_MS[0])}):
        if step < own:
            undone.append(f"no segment EER {step} ms: finer than the scores, which stand every {own} ms")
        elif step % own:
            undone.append(f"no segment EER {step} ms: no multiple of the scores' step of {own} ms")
        elif step % exact:
            undone.append(f"no segment EER {step} ms: the labels are those of {exact} ms")
        else:
            steps.append(step)
    return steps, undone


def _whole(segments: ScoredSegments, genuine: NDArray[np.bool_]) -> PooledSegments:
    """Each utterance as one segment."""
    values = utterance_scores(segments.scores)
    return PooledSegments(values[genuine], values[~genuine], np.flatnonzero(genuine), np.flatnonzero(~genuine))


def _range_figure(segments: ScoredSegments, units: Units) -> _Figure:
    pooled = pool_ranges(segments.scores, segments.regions)
    words = f"{pooled.bonafide_s.sum():.2f} s bona fide, {pooled.spoof_s.sum():.2f} s spoof"
    definition = f"share of bona fide time called spoof against share of spoofed time missed, interpolated; {words}"
    seconds = np.concatenate([pooled.bonafide_s, pooled.spoof_s])
    return _Figure("range EER", definition, _trials(pooled.segments, units, seconds), "interpolated")


def _trials(pooled: PooledSegments, units: Units, weights: Floats | None = None) -> Trials:
    rows = np.concatenate([pooled.bonafide_utterance, pooled.spoof_utterance])
    return Trials(pooled.bonafide, pooled.spoof, units.take(rows), weights)


def _genuine(segments: ScoredSegments) -> NDArray[np.bool_]:
    """Which utterances are bona fide throughout, [N]."""
    return np.array([all(region.bonafide for region in each) for each in segments.regions])


def _units(segments: ScoredSegments, unit: Unit) -> tuple[Units, list[str]]:
    """The units of the utterances, and what must be said about them."""
    if unit == "system":
        raise UsageError("segments have no systems", where="--unit", fix="Use speaker or utterance.")
    known = None not in segments.speakers and len(set(segments.speakers)) > 1
    if known and unit != "utterance":
        return Units.of(segments.speakers, "speaker"), []
    if unit == "speaker":
        fix = "Give the folder that holds the corpus' protocols as --key, or use --unit utterance."
        raise UsageError("the key does not name several speakers", where="--unit", fix=fix)
    notes = (
        [] if unit == "utterance" else ["the key does not name several speakers, so the interval is over utterances"]
    )
    return Units.each(len(segments.ids)), notes


def _refuse_unfit(options: JudgeOptions) -> None:
    """Raise `UsageError` for what would go unheeded."""
    for name, given in (("--by", options.by), ("--cost", options.costs), ("--asv", options.tandem)):
        if given:
            raise UsageError("says nothing about localisation", where=name, fix="Leave the option out.")


def _cautions(segments: ScoredSegments, measures: tuple[Measure, ...]) -> Iterator[str]:
    if segments.failed:
        yield f"{len(segments.failed)} utterances could not be scored (first '{segments.failed[0]}') and are not judged"
    found = measures[-1].interval
    if found.value > 0.5:
        yield f"range EER {found.value:.1%}: the scores seem to grow towards spoof; higher must mean bona fide"
    if found.few_units:
        yield f"fewer than {FEW_UNITS} units of {found.unit} to resample: the intervals are rather too narrow"
