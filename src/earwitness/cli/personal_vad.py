"""`earwitness evaluate personal-vad`: what a personal VAD is worth on a list of mixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from earwitness.cli.figures import interval_note, percent
from earwitness.core.errors import UsageError, printable

if TYPE_CHECKING:
    from earwitness.evaluation.personal_vad.evaluating import Outcome
    from earwitness.evaluation.personal_vad.grid import Cell, SystemFigures


def evaluate_models(place: Path, key: Path | None, *, resamples: int, seed: int, out: Path | None) -> None:
    """Score, judge, write and print; exit code 1 where trials could not be heard."""
    from earwitness.cli.progress import progress_bar
    from earwitness.corpora.mixtures import read_trials
    from earwitness.evaluation.personal_vad.evaluating import EER_NOTE, evaluate_personal_vad, models_in

    if key is None:
        fix = "Give svvad_trials.tsv, as `earwitness corpus mix` writes it."
        raise UsageError("is needed to know the mixtures", where="--key", fix=fix)
    tables = None if out is None else out.with_suffix(".scores")
    with progress_bar("hearing mixtures", len(read_trials(key)) * len(models_in(place))) as step:
        result = evaluate_personal_vad(place, key, tables=tables, n_resamples=resamples, seed=seed, progress=step)
    if out is not None:  # before the print: the reader of a pipe may have seen enough
        result.write(out)
    for outcome in result.outcomes:
        for line in _lines(outcome):
            typer.echo(printable(line))
    if len(result.outcomes) > 1:
        for line in _beside(result.outcomes):
            typer.echo(printable(line))
    typer.echo(EER_NOTE)
    failed = [f"{one.name}: {what}" for one in result.outcomes for what in one.failed]
    for what in failed:
        typer.echo(printable(f"earwitness: {what}"), err=True)
    if failed:
        raise typer.Exit(1)


def _lines(outcome: Outcome) -> Iterator[str]:
    heard = outcome.trials - len(outcome.failed)
    yield f"{outcome.name}: {outcome.model}, beta {outcome.beta}; {heard} of {outcome.trials} trials heard"
    yield from _grid(outcome)
    yield ""
    yield "EER of SVVAD, of no VAD, and the difference, over all modes and noises"
    for gain in outcome.gains:
        first, second, change = gain.eer.first, gain.eer.second, gain.eer.difference
        yield f"  rho {gain.rho:g}  {percent(first)}   {percent(second)}   {percent(change)}"
    if outcome.gains:
        yield f"  {interval_note(outcome.gains[0].eer.first)}"
    yield ""
    yield from _gamma(outcome)
    yield ""
    yield from _safety(outcome)
    yield ""


def _grid(outcome: Outcome) -> Iterator[str]:
    from earwitness.evaluation.personal_vad.systems import SYSTEMS

    for number, system in enumerate(SYSTEMS, 1):
        yield f"  ({number}) {system}"
    shown: dict[str, Callable[[SystemFigures], str]] = {
        "EER, %": lambda one: f"{100 * one.eer:7.2f}",
        "minDCF(0.01)": lambda one: f"{one.min_dcf:7.3f}",
        "threshold minus that at rho 1": lambda one: "      -" if one.shift is None else f"{one.shift:+7.3f}",
    }
    for title, value in shown.items():
        yield ""
        numbers = " ".join(f"{f'({number})':>7}" for number in range(1, len(SYSTEMS) + 1))
        yield f"{title:28} {numbers}"
        for cell in outcome.cells:
            yield f"  {_name(cell):26} {' '.join(value(one) for one in cell.systems)}"


def _name(cell: Cell) -> str:
    noise = "clean" if cell.snr_db is None else f"{cell.snr_db:g} dB"
    return f"{cell.mode} rho {cell.rho:g} {noise} ({cell.targets}+{cell.nontargets})"


def _gamma(outcome: Outcome) -> Iterator[str]:
    gamma = outcome.gamma
    yield "gamma against who speaks when (means over target trials; 0.5 is chance)"
    yield f"  AUC, the speaker alone against others alone  {_number(gamma.auc_other)}"
    yield f"  AUC, the speaker against all else            {_number(gamma.auc_rest)}"
    means = (gamma.lead, gamma.others, gamma.silence)
    yield f"  mean over the speaker, others, no speech     {' '.join(map(_number, means))}"


def _safety(outcome: Outcome) -> Iterator[str]:
    yield "does it write the enrolled voice into other sound?"
    for one in outcome.injections:
        found = "stays within" if one.within else "LEAVES"
        yield (
            f"  {one.sound}, {one.voices} voices: mean {one.gated_mean:+.3f} (plain {one.plain_mean:+.3f}), 99th "
            f"percentile {one.gated_99:+.3f}; the mean {found} the range of plain non-targets, up to "
            f"{one.nontarget_99:+.3f}"
        )
    others = outcome.others
    yield (
        f"  others alone, {others.trials} trials at the plain threshold {others.threshold:+.3f}: false accepts "
        f"{others.plain:.2%} before, {others.gated:.2%} after"
    )
    swap = outcome.swap
    told = "gamma does not move" if swap.correlation is None else f"correlation {swap.correlation:+.3f}"
    below = "" if swap.share_below_zero is None else f", below 0 in {swap.share_below_zero:.0%}"
    yield f"  condition swapped, {swap.mixtures} mixtures: {told}{below} (below 0: the condition decides)"


def _beside(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    """Ablations: the same figures of every model."""
    yield f"{'beside each other':24} {'EER, lowest rho':>22} {'EER at rho 1':>13} {'AUC':>6} {'false accepts':>14}"
    for one in outcomes:
        rates = [gain.eer.first.value for gain in one.gains]
        lowest = one.gains[-1].rho if one.gains else float("nan")
        first = f"{100 * rates[0]:.2f} %" if rates else "-"
        last = f"{100 * rates[-1]:.2f} % (rho {lowest:g})" if rates else "-"
        auc = _number(one.gamma.auc_other).strip()
        yield f"  {one.name:22} {last:>22} {first:>13} {auc:>6} {one.others.gated:>14.2%}"
    yield ""


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"
