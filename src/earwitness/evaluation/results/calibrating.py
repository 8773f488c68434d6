"""Log-likelihood ratios and thresholds from a user's own trials, with their provenance.

The fit is that of the shipped models (`training.calibration`): logistic regression with one misleading trial a class,
bounds that the trials can support (ELUB), and the spread over resampled units. What the trials cannot support is
refused, and the sentence says why: scores that do not tell the classes apart, and ratios that, on units that the fit
did not see, cost more than saying nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.core.errors import MetricError, UsageError
from earwitness.core.records import RunRecord
from earwitness.evaluation.judging.figures import COSTS
from earwitness.evaluation.judging.judge import Judgement, judge
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.units import units_of
from earwitness.evaluation.results.provenance import record_of
from earwitness.evaluation.results.reading import read_scores, read_truth
from earwitness.evaluation.results.requests import CalibrateRequest
from earwitness.metrics.bootstrap import Interval, Units
from earwitness.metrics.calibration import cllr, fit_logistic
from earwitness.metrics.costs import Cost, DetectionCost
from earwitness.metrics.detection import eer
from earwitness.metrics.scores import Floats
from earwitness.training.calibration import ConditionCalibration, fit_condition

FOLDS = 5
USELESS = 1.0  # bits: a Cllr from which ratios cost more than saying nothing
FEWEST = 10  # trials a class


@dataclass(frozen=True)
class Threshold:
    """Where to cut the score; `llr` is None for a threshold that comes from the scores alone."""

    name: str
    score: float
    llr: float | None
    words: str


@dataclass(frozen=True)
class CalibrationResult:
    """What `earwitness calibrate` writes.

    `cllr` is that of ratios fitted on other units (cross-validated), beside `eer` and `auc` of these trials;
    `unsupported` names operating points at which these trials allow no decision.
    """

    task: Literal["deepfake", "speaker"]
    model: str | None  # whose scores these are; None where the file does not say
    negated: bool  # fitted on scores multiplied by -1, and to be used on such
    calibration: ConditionCalibration
    thresholds: tuple[Threshold, ...]
    unsupported: tuple[str, ...]
    cllr: float
    min_cllr: float
    eer: Interval
    auc: Interval
    record: RunRecord
    kind: Literal["calibrate"] = "calibrate"

    def llr(self, scores: Floats) -> Floats:
        """Bounded natural-log likelihood ratios [N] of scores [N]."""
        fitted = self.calibration
        return np.clip(fitted.scale * scores + fitted.offset, fitted.low, fitted.high)


def calibrate(request: CalibrateRequest) -> CalibrationResult:
    """Fit a calibration on labelled scores.

    Raises `UsageError` for sasv; `MetricError` where the classes overlap too much to decide, or are too few;
    `DataError` where the scores are of several models.
    """
    if request.task == "sasv":
        what = "a ratio weighs two hypotheses, and sasv has three classes"
        fix = "Calibrate the deepfake and the speaker scores, each by itself."
        raise UsageError(what, where="calibration", fix=fix)
    scores, read_notes = read_scores(read_truth(request), request.scores)
    _refuse_few(scores)
    judgement = judge(scores, request.options)
    _refuse_overlap(judgement)
    units, notes = units_of(scores, request.options.unit)
    pos, neg = (side["score"].to_numpy() for side in (scores.positive, scores.negative))
    held_out = cross_validated_cllr(pos, neg, units, request.options.seed)
    if held_out >= USELESS:
        what = f"ratios fitted on some {units.name}s cost {held_out:.2f} bits on the others, more than saying nothing"
        raise MetricError(what, where=request.scores, fix="Use more trials, of more speakers and systems.")
    fitted = fit_condition("clean", pos, neg, units, request.options.seed)
    given: tuple[Cost, ...] = request.options.costs or COSTS[request.task]
    costs = tuple(point for cost in given for point in cost.points)
    definitions = {"cllr": f"of ratios fitted without the {units.name}s that they are judged on, {FOLDS} folds"}
    record = record_of(request, [scores], scores.inputs, definitions)
    record.notes.extend([*read_notes, *notes])
    return CalibrationResult(
        task=request.task,
        model=scores.model,
        negated=request.negate,
        calibration=fitted,
        thresholds=tuple(_thresholds(pos, neg, fitted, costs)),
        unsupported=tuple(str(cost) for cost in costs if not _supported(fitted, cost)),
        cllr=held_out,
        min_cllr=judgement.measure("minCllr").interval.value,
        eer=judgement.measure("EER").interval,
        auc=judgement.measure("AUC").interval,
        record=record,
    )


def cross_validated_cllr(positive: Floats, negative: Floats, units: Units, seed: int = 0) -> float:
    """Cllr in bits of ratios that were fitted on other units; a trial between units of two folds is in no fold.

    Raises `MetricError` where no fold holds both classes.
    """
    fold_of = _folds(units, seed)
    judged: list[tuple[Floats, Floats]] = []
    for fold in range(FOLDS):
        learn, held_out = units.weights((fold_of != fold) * 1.0) > 0, units.weights((fold_of == fold) * 1.0) > 0
        seen = positive[learn[: len(positive)]], negative[learn[len(positive) :]]
        tests = positive[held_out[: len(positive)]], negative[held_out[len(positive) :]]
        if all(map(len, seen)) and any(map(len, tests)):
            judged.append(_held_out_ratios(seen, tests))
    pos, neg = (np.concatenate([side[k] for side in judged]) if judged else np.empty(0) for k in (0, 1))
    if not len(pos) or not len(neg):
        raise MetricError(f"too few of unit '{units.name}' to hold some out", where="calibration")
    return cllr(pos, neg)


def _held_out_ratios(seen: tuple[Floats, Floats], tests: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Ratios of one fold; none (0) where what was seen does not rise with the positive class."""
    try:
        fitted = fit_logistic(seen[0], seen[1], misleading=1)
    except MetricError:
        return np.zeros(len(tests[0])), np.zeros(len(tests[1]))
    return fitted.llr(tests[0]), fitted.llr(tests[1])


def _folds(units: Units, seed: int) -> Floats:
    """The fold of each unit [U], every kind of unit spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.arange(size) % FOLDS) for size in units.blocks]).astype(np.float64)


def _refuse_few(scores: LabelledScores) -> None:
    for side, words in ((scores.positive, "positive"), (scores.negative, "negative")):
        if side.height < FEWEST:
            what = f"{side.height} {words} trials are too few to calibrate on"
            raise MetricError(what, where="calibration", fix=f"Give at least {FEWEST} of each class.")


def _refuse_overlap(judgement: Judgement) -> None:
    auc = judgement.measure("AUC").interval
    if auc.low <= 0.5:
        what = f"the classes overlap too much to decide: AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"
        fix = "No threshold is given. Use more trials, or another model for such recordings."
        raise MetricError(what, where="calibration", fix=fix)


def _thresholds(
    pos: Floats, neg: Floats, fitted: ConditionCalibration, costs: tuple[DetectionCost, ...]
) -> Iterator[Threshold]:
    found = eer(pos, neg)
    yield Threshold("EER", found.threshold, None, "misses and false alarms are equally frequent on these trials")
    for cost in costs:
        if _supported(fitted, cost):
            llr = cost.bayes_threshold
            yield Threshold(cost.name, (llr - fitted.offset) / fitted.scale, llr, f"lowest expected cost: {cost}")


def _supported(fitted: ConditionCalibration, cost: DetectionCost) -> bool:
    """Some ratio within the bounds lies on either side of the Bayes threshold."""
    return fitted.low < cost.bayes_threshold <= fitted.high
