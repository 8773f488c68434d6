"""Which of the ways of scoring is meant, with its model loaded: what `earwitness score` then runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from earwitness.cli.progress import progress_bar
from earwitness.cli.score_options import ScoreOptions, SpeakerOptions
from earwitness.core.errors import UsageError
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.loading import load_age, load_detector, load_emotions, load_voice
from earwitness.evaluation.results.calibrated import with_calibration
from earwitness.evaluation.scoring.cluster_scores import score_clusters
from earwitness.evaluation.scoring.cohorts import BackEnd, CohortOptions
from earwitness.evaluation.scoring.galleries import read_known
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.known_scores import score_known
from earwitness.evaluation.scoring.manner import score_ages, score_emotions
from earwitness.evaluation.scoring.print_export import export_prints
from earwitness.evaluation.scoring.quality import score_quality
from earwitness.evaluation.scoring.scorers import Tally, score_detection, score_references
from earwitness.evaluation.scoring.segments import SegmentOptions, score_segments
from earwitness.evaluation.scoring.traits import score_traits
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.examine.cluster_page import render_clusters
from earwitness.speaker.clustering import THRESHOLD_LLR
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.phonetic_traits.verifier import TraitVerifier
from earwitness.training.model_folder import ModelInfo

Way = Callable[..., Tally]
"""Scores into a table: way(output, resume=..., engine=..., progress=...)."""


@dataclass(frozen=True)
class Inputs:
    """The recordings to score, and those of a cohort; no path may lie outside of `data_root`."""

    manifest: Manifest
    cohort: CohortOptions | None
    data_root: Path | None

    @classmethod
    def read(cls, given: str | Path, asked: SpeakerOptions, data_root: Path | None) -> Inputs:
        """Raises as `read_input`."""
        manifest = read_input(given, data_root)
        if asked.cohort is None:
            return cls(manifest, None, data_root)
        others = read_input(asked.cohort, data_root)
        back_end: BackEnd = "plda" if asked.back_end == "plda" else "cosine"
        return cls(manifest, CohortOptions(others, asked.top or 300, asked.subtract_mean, back_end), data_root)

    def __len__(self) -> int:
        return len(self.manifest) + (len(self.cohort.manifest) if self.cohort else 0)


def way_of(asked: ScoreOptions, inputs: Inputs) -> Way:
    """Loads the model. Raises `ModelError` for one that answers another question, and as loading does."""
    if asked.task == "quality":
        return partial(score_quality, inputs.manifest, asked.model or "dnsmos")
    model = asked.model or asked.task
    if asked.task == "age":
        return partial(score_ages, inputs.manifest, load_age(model))
    if asked.task == "emotion":
        return partial(score_emotions, inputs.manifest, load_emotions(model))
    if asked.task == "deepfake":
        detector = load_detector(model)
        detector.info = _calibrated(detector.info, asked)
        if asked.segments is None:
            return partial(score_detection, inputs.manifest, detector)
        options = SegmentOptions(asked.segments, asked.window)
        return partial(score_segments, inputs.manifest, detector, options=options)
    voice = load_voice(model, asked.speaker.phones)
    voice.info = _calibrated(voice.info, asked)
    return _traits(voice, asked.speaker, inputs) if isinstance(voice, TraitVerifier) else _voices(voice, asked, inputs)


def _calibrated(info: ModelInfo, asked: ScoreOptions) -> ModelInfo:
    return info if asked.calibration is None else with_calibration(info, asked.calibration)


def _traits(verifier: TraitVerifier, asked: SpeakerOptions, inputs: Inputs) -> Way:
    if asked.trials is None or inputs.cohort is not None or asked.enrolment is not None:
        what = "a model of speaker-traits scores --trials, without --cohort or --enrolment"
        raise UsageError(what, where="--model")
    return partial(score_traits, inputs.manifest, asked.trials, verifier, allow_leak=asked.allow_leak)


def _voices(embedder: Embedder, options: ScoreOptions, inputs: Inputs) -> Way:
    asked, manifest = options.speaker, inputs.manifest
    if asked.trials is not None:
        of_trials = partial(score_trials, manifest, asked.trials, embedder, cohort=inputs.cohort, use=asked.use)
        return partial(of_trials, enrolments=asked.enrolment, allow_leak=asked.allow_leak)
    if asked.known is not None:
        return partial(_known, inputs, embedder, asked.known, asked.candidates or 10)
    if asked.cluster:
        return partial(_clusters, manifest, embedder, asked.threshold, asked.html)
    if asked.embeddings is not None:
        return partial(export_prints, manifest, embedder, embeddings=asked.embeddings)
    return partial(score_references, manifest, asked.reference, embedder)


def _known(inputs: Inputs, embedder: Embedder, known: str, candidates: int, output: Path, **how: Any) -> Tally:
    """Rank the known voices; they are heard first, each once a model."""
    with progress_bar("hearing known voices", len(read_input(known, inputs.data_root))) as step:
        voices = read_known(known, embedder, inputs.data_root, step)
    return score_known(inputs.manifest, voices, output, candidates=candidates, **how)


def _clusters(
    manifest: Manifest, embedder: Embedder, threshold: float | None, html: Path | None, output: Path, **how: Any
) -> Tally:
    """Tell voices apart, and draw them where a picture is asked for."""
    level = THRESHOLD_LLR if threshold is None else threshold
    tally, clustered = score_clusters(manifest, embedder, output, threshold=level, **how)
    if html is not None and clustered is not None:
        write_atomically(html, render_clusters(clustered, tally.notes))
    return tally
