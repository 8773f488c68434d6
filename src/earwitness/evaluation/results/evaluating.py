"""A request becomes a result: scores are read, judged, set beside the trivial control, and tried under perturbations.

result = evaluate(EvaluateRequest(task="deepfake", scores=Path("scores.parquet"), key=Path("test.csv")))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from earwitness.core.errors import DataError, MetricError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.records import RunRecord
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.evaluation.judging.figures import verifier_words
from earwitness.evaluation.judging.judge import Judgement, JudgeOptions, judge
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.mos_control import mos_scores
from earwitness.evaluation.judging.score_files import read_asv_scores
from earwitness.evaluation.judging.speaker_statement import describe_trials_scores
from earwitness.evaluation.judging.trivial import (
    NAME,
    ControlReport,
    ControlScores,
    control_report,
    cross_validated_scores,
    trivial_scores,
)
from earwitness.evaluation.perturbation_suite import parse_names
from earwitness.evaluation.perturbing import PerturbedResult, model_of, perturbation_report, recordings_of
from earwitness.evaluation.results.calibrated import calibrated
from earwitness.evaluation.results.provenance import record_of
from earwitness.evaluation.results.reading import Truth, read_scores, read_truth
from earwitness.evaluation.results.requests import AUTO, NONE, PREDICTORS, EvaluateRequest
from earwitness.metrics.tandem import ASVSPOOF_TANDEM, SasvScores, asv_rates
from earwitness.training.model_folder import read_model_info
from earwitness.training.polarity import PolarityProbe, refuse_reversed
from earwitness.training.shipped import find_model, shipped_models


@dataclass(frozen=True)
class Evaluation:
    """What `earwitness evaluate` found; `no_control` says why there is no control beside it."""

    judgement: Judgement
    control: ControlReport | None
    no_control: str
    perturbed: tuple[PerturbedResult, ...]
    statement: tuple[str, ...]  # of speaker trials: list, comparison, training, leaks
    notes: tuple[str, ...]
    record: RunRecord
    kind: Literal["evaluate"] = "evaluate"


def _nothing() -> None:
    """Shows no progress."""


def evaluate(request: EvaluateRequest, *, workers: int = 1, progress: Callable[[], object] = _nothing) -> Evaluation:
    """Judge a score file; `progress` is called once a recording and perturbation.

    Raises `UsageError`, `DataError` and `MetricError` as reading and judging do, and `ModelError` where a model's
    scores favour the wrong class on its own dev.
    """
    truth = read_truth(request)
    scores, notes = read_scores(truth, request.scores)
    if request.calibration is not None:
        scores = calibrated(scores, request.calibration)
    options, asv_inputs, asv_notes = _by_protocol(request, truth)
    judgement = judge(scores, options)
    _probe_own_dev(request, judgement, scores)
    control, no_control, control_inputs = _control(request, truth, scores)
    perturbed = _perturbed(request, truth, scores, workers, progress)
    inputs = {**scores.inputs, **asv_inputs, **control_inputs}
    definitions = {measure.name: measure.definition for measure in judgement.measures}
    record = record_of(request, [scores], inputs, definitions)
    statement = tuple(describe_trials_scores(scores.table)) if request.task == "speaker" else ()
    return Evaluation(judgement, control, no_control, perturbed, statement, (*notes, *asv_notes), record)


def scores_of(request: EvaluateRequest) -> LabelledScores:
    """The scores as they are judged. Raises as reading does."""
    scores, _ = read_scores(read_truth(request), request.scores)
    return scores if request.calibration is None else calibrated(scores, request.calibration)


def steps_of(request: EvaluateRequest) -> int:
    """How often `evaluate` calls its progress."""
    if not request.perturb:
        return 0
    return len(parse_names(",".join(request.perturb))) * recordings_of(scores_of(request))


def _by_protocol(request: EvaluateRequest, truth: Truth) -> tuple[JudgeOptions, dict[str, str], list[str]]:
    """The options with the figures that the protocol's tables print; what else was read, and notes."""
    options, protocol = request.options, truth.protocol
    if protocol is not None:
        options = replace(options, also=(*options.also, *protocol.also), costs=options.costs or protocol.costs)
    if request.asv is None:
        missing = protocol is not None and protocol.tdcf is not None
        return options, {}, ["no t-DCF: it needs the scores of a verifier (--asv)"] if missing else []
    if protocol is None or protocol.tdcf is None:
        fix = "Name one that has it, e.g. asvspoof2019-la; sasv reads its column asv_score."
        raise UsageError("a t-DCF is that of a protocol", where="--protocol", fix=fix)
    asv = read_asv_scores(request.asv, request.asv_key)
    rates = asv_rates(SasvScores(asv.target, asv.nontarget, asv.spoof))
    tandem = ASVSPOOF_TANDEM.tandem(rates, protocol.tdcf)
    note = verifier_words(rates, tandem)
    return replace(options, tandem=tandem), {"asv": sha256_file(request.asv)}, [note]


def _probe_own_dev(request: EvaluateRequest, judgement: Judgement, scores: LabelledScores) -> None:
    """Refuse a model whose whole interval of the AUC lies below one half on the very rows of its own dev.

    Looked for among the shipped models, and at `--model`.
    """
    given = [] if request.model is None else [find_model(request.model)]
    for folder in [*given, *shipped_models().values()]:
        info = read_model_info(folder)
        probe = info.polarity_probe
        if info.reference == scores.model and probe is not None and probe.rows == scores.checksum:
            refuse_reversed(PolarityProbe.of(judgement.measure("AUC").interval), info.reference)


def _control(
    request: EvaluateRequest, truth: Truth, scores: LabelledScores
) -> tuple[ControlReport | None, str, dict[str, str]]:
    """The control's report, or why there is none; and the hashes of what it read."""
    asked = request.control
    if request.task != "deepfake" and asked not in (AUTO, NONE):
        raise UsageError("the control is one of detection", where="--control", fix="Leave the option out.")
    if asked == NONE or request.task != "deepfake":
        return None, "not asked for", {}
    if asked == AUTO:
        try:
            return _cross_validated(request, truth, scores), "", {}
        except (DataError, MetricError) as error:
            return None, error.what, {}
    if asked in PREDICTORS:
        found, words = mos_scores(_scored(truth.recordings(), scores), asked), "quality ratings of other recordings"
        return control_report(scores, found, words, request.options, f"MOS of {asked} alone"), "", {}
    found, words = _learnt(request, truth, Path(asked))
    inputs = {"control": sha256_file(asked)}
    try:
        return control_report(scores, found, words, request.options), "", inputs
    except MetricError as error:  # the rows that both could score are too few or of one class
        return None, error.what, inputs


def _learnt(request: EvaluateRequest, truth: Truth, path: Path) -> tuple[ControlScores, str]:
    """Scores of the control: its own table read again, or learnt from a training manifest."""
    table = read_table(path)
    if {"score", "model"} <= {*table.columns} and set(table["model"]) == {NAME}:
        return ControlScores(table, 0, ()), f"what made {path.name}"
    found = trivial_scores(Manifest.read(path), truth.recordings(), request.options.seed)
    return found, f"{found.trained_on} rows of {path.name}"


def _cross_validated(request: EvaluateRequest, truth: Truth, scores: LabelledScores) -> ControlReport:
    """The control by folds of the test itself, where its recordings are at hand."""
    manifest = _scored(truth.recordings(), scores)
    if not len(manifest) or not manifest.resolve(manifest.row(0)).is_file():
        raise DataError("the recordings of the key are not at hand")
    found = cross_validated_scores(manifest, request.options.seed)
    return control_report(scores, found, f"{found.trained_on} rows of the test itself, by folds", request.options)


def _scored(manifest: Manifest, scores: LabelledScores) -> Manifest:
    ids = scores.table["id"].implode()
    return manifest.with_table(manifest.table.filter(manifest.table["id"].is_in(ids)))


def _perturbed(
    request: EvaluateRequest, truth: Truth, scores: LabelledScores, workers: int, progress: Callable[[], object]
) -> tuple[PerturbedResult, ...]:
    if not request.perturb or request.perturbed is None:
        return ()
    model = model_of(scores, request.model)
    return perturbation_report(
        scores,
        truth.recordings(),
        model,
        request.perturbed,
        parse_names(",".join(request.perturb)),
        request.options,
        workers=workers,
        progress=progress,
    )
