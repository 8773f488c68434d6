"""Is one system really better than another? Both score files over the same resamples of the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from earwitness.core.records import RunRecord
from earwitness.evaluation.judging.judge import Comparison, compare
from earwitness.evaluation.judging.labelled import NEGATED, LabelledScores
from earwitness.evaluation.results.provenance import record_of
from earwitness.evaluation.results.reading import read_scores, read_truth
from earwitness.evaluation.results.requests import CompareRequest


@dataclass(frozen=True)
class ComparisonResult:
    """What `earwitness compare` found; `answer` is the comparison of the EERs in words."""

    comparison: Comparison
    answer: str
    notes: tuple[str, ...]
    record: RunRecord
    kind: Literal["compare"] = "compare"


def compare_files(request: CompareRequest) -> ComparisonResult:
    """Compare two score files under one key. Raises as reading and `compare` do."""
    first, second, notes = _read(request)
    found = compare(first, second, ("the first", "the second"), request.options)
    inputs = {"first": first.inputs["scores"], "second": second.inputs["scores"]}
    if "key" in first.inputs:
        inputs["key"] = first.inputs["key"]
    definitions = {measure.name: measure.definition for measure in found.measures}
    record = record_of(request, [first, second], inputs, definitions)
    return ComparisonResult(found, found.answer, notes, record)


def scores_of(request: CompareRequest) -> tuple[LabelledScores, LabelledScores]:
    """Both score files as they are compared. Raises as reading does."""
    first, second, _ = _read(request)
    return first, second


def _read(request: CompareRequest) -> tuple[LabelledScores, LabelledScores, tuple[str, ...]]:
    truth = read_truth(request)
    first, notes = read_scores(truth, request.first)
    second, _ = read_scores(truth, request.second)
    if request.negate_first:
        first, notes = first.negated(), (*notes, f"the first: {NEGATED}")
    if request.negate_second:
        second, notes = second.negated(), (*notes, f"the second: {NEGATED}")
    return first, second, notes
