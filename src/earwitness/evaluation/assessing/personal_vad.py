"""The tests of a personal VAD after its training, on mixtures of held-out voices without noise.

svvad_trials.tsv    the trials, of the test side where it has the voices, else of dev
personal-vad.json   every figure; beside it the scores
"""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.mixtures import MixtureOptions, MixtureTrial, plan, write_trials
from earwitness.evaluation.assessing.outcome import EER, EVIDENCE, Outcome, figure, read_side, results_folder
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.personal_vad.evaluating import Outcome as Evaluated
from earwitness.evaluation.personal_vad.evaluating import evaluate_personal_vad
from earwitness.training.card import ResultRow
from earwitness.training.model_folder import read_model_info

OPTIONS = MixtureOptions(snr_db=(None,), pairs=30)
TRIALS, RESULT = "svvad_trials.tsv", "personal-vad.json"
NO_RATIO = "It was not calibrated: its scores are no likelihood ratios."


def assess_personal_vad(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Mix, score and judge. Writes into `run/results`. Raises `ModelError`, and `DataError` for changed tables."""
    run, options = Path(run), options or JudgeOptions()
    results = results_folder(run, read_model_info(model))
    found = _planned(run, results)
    if found is None:
        reason = "It was not tested: its recipe held out no three voices, one of them with two recordings."
        return Outcome(limits=(EVIDENCE,), inconclusive=(reason, NO_RATIO))
    side, trials = found
    write_trials(results / TRIALS, trials)
    result = evaluate_personal_vad(
        model,
        results / TRIALS,
        tables=results / "scores",
        n_resamples=options.n_resamples,
        seed=options.seed,
    )
    result.write(results / RESULT)
    one = result.outcomes[0]
    return Outcome(
        rows=tuple(_rows(one, side, len(trials), results / RESULT)),
        limits=(EVIDENCE,),
        known_failures=tuple(_failures(one)),
        inconclusive=(NO_RATIO,),
    )


def _planned(run: Path, results: Path) -> tuple[str, tuple[MixtureTrial, ...]] | None:
    """The side's name and its trials."""
    for name in ("test", "dev"):
        side = read_side(run, name)
        if side is None:
            continue
        try:
            return name, plan(side, OPTIONS, results)
        except DataError:
            continue
    return None


def _rows(one: Evaluated, side: str, trials: int, source: Path) -> list[ResultRow]:
    rows = []
    for gain in one.gains:
        what = f"{side} side, mixtures with share {gain.rho:g} of the speaker, concat and overlap"
        rows.append(figure(what, EER, gain.eer.first, trials, source))
        rows.append(figure(f"{what}: the plain verifier", EER, gain.eer.second, trials, source))
    return rows


def _failures(one: Evaluated) -> list[str]:
    found = [
        f"{found.sound}: the enrolled voice is written into it (mean score {found.gated_mean:.3f})"
        for found in one.injections
        if not found.within
    ]
    if one.others.gated > one.others.plain:
        found.append(
            f"others alone are accepted more often than by the plain verifier: {one.others.gated:.1%} against "
            f"{one.others.plain:.1%}"
        )
    for gain in one.gains:
        if gain.eer.difference.low > 0:
            found.append(f"worse than the plain verifier at a share of {gain.rho:g} of the speaker")
    return found
