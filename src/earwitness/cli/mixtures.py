"""`earwitness corpus mix`: a list of mixtures, of which is known who is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mix(
    given: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Recordings with a speaker each.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The list, e.g. mixtures/svvad_trials.tsv.")],
    pairs: Annotated[int, typer.Option(min=1, help="Target and non-target trials in every cell of the grid.")] = 20,
    rho: Annotated[
        list[float] | None, typer.Option(help="Shares of the speaker (repeat it) [1 0.8 0.6 0.4 0.2].")
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help="concat or overlap (repeat it) [both].")] = None,
    snr: Annotated[list[str] | None, typer.Option(help="clean, or dB (repeat it) [clean 20 10 0].")] = None,
    seconds: Annotated[tuple[float, float], typer.Option(help="Shortest and longest mixture.")] = (4.0, 8.0),
    any_corpus: Annotated[bool, typer.Option("--any-corpus", help="Mix voices of different corpora too.")] = False,
    audio: Annotated[Path | None, typer.Option(help="Write the recordings too, into this folder.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
) -> None:
    """Plan trials of mixed voices over a grid of shares, modes and noise, for `earwitness evaluate personal-vad`.

    Each target trial has a non-target of the same build: as many voices, equally long, at the same places. A mixture
    is made again from its line alone, so the list is all that is needed; --audio writes them for listening and for
    other systems, with an RTTM of who speaks when.

    Example: `earwitness corpus mix test.csv --pairs 10 -o mixtures/svvad_trials.tsv`
    """
    from typing import cast

    from earwitness.cli.progress import progress_bar
    from earwitness.core.errors import UsageError, printable
    from earwitness.corpora.manifest import Manifest
    from earwitness.corpora.mixtures import MixtureOptions, Mode, plan, write_trials
    from earwitness.corpora.mixtures.writing import write_mixtures

    if unknown := [name for name in mode or [] if name not in ("concat", "overlap")]:
        raise UsageError(f"there is no mode '{unknown[0]}'", where="--mode", fix="Use concat or overlap.")
    defaults = MixtureOptions()
    options = MixtureOptions(
        rho=tuple(rho or defaults.rho),
        modes=tuple(cast("Mode", name) for name in mode or defaults.modes),
        snr_db=tuple(_snr(text) for text in snr) if snr else defaults.snr_db,
        pairs=pairs,
        seconds=seconds,
        same_corpus=not any_corpus,
        seed=seed,
    )
    trials = plan(Manifest.read(given), options, output.parent)
    write_trials(output, trials)
    typer.echo(f"{len(trials)} trials: {output}", err=True)
    if audio is None:
        return
    with progress_bar("mixing", len(trials)) as step:
        problems = write_mixtures(trials, output.parent, audio, step)
    for problem in problems:
        typer.echo(printable(f"{problem.id}: {problem.what}"), err=True)
    if problems:
        raise typer.Exit(1)


def _snr(text: str) -> float | None:
    from earwitness.core.errors import UsageError

    if text == "clean":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"'{text}' is no ratio", where="--snr", fix="Give clean, or decibels.") from None
