"""The tests of a phone-by-phone verifier after its training: pairs of held-out recordings, by verdict and by evidence.

SIDE.trials.txt                       as for other speaker models
SIDE.scores.csv, SIDE.scores.evd.csv  verdicts and evidence scores; `earwitness evaluate speaker` reads both
SIDE.random.scores*.csv               the same with the phone labels of each recording in random order: the control
SIDE.KIND.json                        the figures of verdict (score), evidence and control
SIDE.f-ratio.csv                      what each phone is worth on that side
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from earwitness.corpora.tables import write_table
from earwitness.evaluation.assessing.embedder import SIDES, with_trials, write_trial_list
from earwitness.evaluation.assessing.outcome import (
    EER,
    EVIDENCE,
    Outcome,
    figure,
    leaks_of,
    minutes,
    read_side,
    results_folder,
)
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.results.evaluating import evaluate
from earwitness.evaluation.results.files import write_result_file
from earwitness.evaluation.results.requests import EvaluateRequest
from earwitness.evaluation.scoring.traits import evidence_path, read_similarities, score_traits
from earwitness.speaker.phones import kept
from earwitness.speaker.phonetic_traits.discriminability import PhoneDiscriminability, discriminability
from earwitness.speaker.phonetic_traits.verifier import TraitFigures, TraitVerifier, own_phones
from earwitness.training.card import ResultRow
from earwitness.training.model_folder import TestedRanges, read_model_info
from earwitness.training.polarity import PolarityProbe

KINDS = {
    "score": "the verdict",
    "evidence": "the evidence score",
    "random": "the evidence score with phone labels in random order (control)",
}


def assess_traits(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Score and judge pairs of the recordings that the run's recipe held out. Writes into `run/results`.

    Raises `ModelError` for a model that cannot be loaded, and `DataError` where the run's tables were changed.
    """
    run = Path(run)
    verifier = TraitVerifier.load(model, kept(own_phones(model, read_model_info(model))))
    results = results_folder(run, verifier.info)
    sides = {name: side for name in SIDES if (side := with_trials(read_side(run, name))) is not None}
    rows: list[ResultRow] = []
    polarity: PolarityProbe | None = None
    for name, side in sides.items():
        side.write(results / f"{name}.csv")
        trials, scored = results / f"{name}.trials.txt", results / f"{name}.scores.csv"
        write_trial_list(side, trials)
        # a leak between the sides was refused, or allowed by name, when they were drawn; the card says so
        score_traits(side, trials, verifier, scored, allow_leak=True, resume=True)
        control = results / f"{name}.random.scores.csv"
        score_traits(side, trials, verifier.with_random_labels(), control, allow_leak=True, resume=True)
        tables = {"score": scored, "evidence": evidence_path(scored), "random": evidence_path(control)}
        for kind, table in tables.items():
            row, probe = _judged(f"{SIDES[name]}, {KINDS[kind]}", results / f"{name}.{kind}.json", table, options)
            rows.append(row)
            polarity = polarity or probe
        found = discriminability(*read_similarities(scored, verifier.known.names), verifier.known.names)
        write_table(as_table(found), results / f"{name}.f-ratio.csv")
    lengths = [f"tested on {sum(map(minutes, sides.values())):.0f} minutes"] if sides else []
    return Outcome(
        rows=tuple(rows),
        tested=TestedRanges(notes=(*lengths, *_phones_in_words(verifier))),
        limits=(EVIDENCE,),
        inconclusive=tuple(leaks_of(verifier.info)),
        known_failures=tuple(_failures(verifier.known.figures)),
        polarity=polarity,
    )


def as_table(found: tuple[PhoneDiscriminability, ...]) -> pl.DataFrame:
    """A row a phone, the highest ratio first."""
    names = (
        "phone",
        "ratio",
        "difference",
        "target_mean",
        "nontarget_mean",
        "target_trials",
        "nontarget_trials",
        "greyed",
    )
    return pl.DataFrame([{name: getattr(one, name) for name in names} for one in found], infer_schema_length=None)


def _judged(words: str, path: Path, scored: Path, options: JudgeOptions | None) -> tuple[ResultRow, PolarityProbe]:
    request = EvaluateRequest(task="speaker", scores=scored, options=options or JudgeOptions())
    found = evaluate(request)
    write_result_file(path, found)
    judgement = found.judgement
    row = figure(words, EER, judgement.measure("EER").interval, judgement.positives + judgement.negatives, path)
    return row, PolarityProbe.of(judgement.measure("AUC").interval, read_labelled("speaker", scored).checksum)


def _phones_in_words(verifier: TraitVerifier) -> list[str]:
    """Whose phones, how the explanation agrees with the verdict, and the best and worst phones."""
    known, figures = verifier.known, verifier.known.figures
    told = [f"labels: {known.maker}"]
    if figures is not None and figures.spearman is not None:
        told.append(
            f"Spearman's correlation of score and evidence over {figures.trials} dev trials: {figures.spearman:.2f}"
        )
    counted = [one for one in known.discriminability if one.ratio is not None and not one.greyed]
    if counted:
        told.append("sounds by their F-ratio on dev: " + ", ".join(f"{one.phone} {one.ratio:.2f}" for one in counted))
    return told


def _failures(figures: TraitFigures | None) -> list[str]:
    if figures is None or figures.phones_matter:
        return []
    return [
        f"The phones say nothing: with labels in random order the evidence's EER is "
        f"{figures.evidence_eer_random_labels:.1%}, with the right ones {figures.evidence_eer:.1%}."
    ]
