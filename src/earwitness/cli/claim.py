"""`earwitness claim`: a paper's claim as a runnable experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Claims of papers, run as experiments: list, run, report.", no_args_is_help=True)

RESULTS = Path("docs/results/claims")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print as data.")] = False) -> None:
    """What can be run, with the arms and the directions that are looked for.

    Example: `earwitness claim list`
    """
    import json
    from dataclasses import asdict

    from earwitness.claims.catalogue import CLAIMS, find_claim

    plans = [find_claim(name).plan for name in CLAIMS]
    if as_json:
        typer.echo(json.dumps([asdict(plan) for plan in plans], indent=2, ensure_ascii=False))
        return
    for plan in plans:
        typer.echo(f"{plan.name}: {plan.statement} ({plan.source})")
        for arm in plan.arms:
            typer.echo(f"  arm {arm.name}: {arm.words}")
        for expected in plan.expected:
            typer.echo(f"  expected: {expected.words}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The claim.")],
    seeds: Annotated[int, typer.Option(min=3, help="How many seeds, from 1; five test every recording once.")] = 5,
    data: Annotated[Path, typer.Option(help="The manifest of the recordings.")] = Path("data/all.csv"),
    work: Annotated[Path, typer.Option(help="Where frames and finished arms are kept.")] = Path("runs/claims"),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=f"Result [default: {RESULTS}/NAME.json].")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the arithmetic.")] = 2,
) -> None:
    """Run every arm of a claim with every seed, judge them, and write the result with its run record.

    A run that was killed goes on where it was. Figures depend on the machine in their last digits only.

    Example: `earwitness claim run nes2net --seeds 5`
    """
    import torch

    from earwitness.claims.catalogue import find_claim
    from earwitness.claims.ledger import details, read_result
    from earwitness.claims.running import run_claim
    from earwitness.cli.progress import progress_bar

    claim = find_claim(name)
    torch.set_num_threads(threads)
    material = claim.read(data, work / "frames")
    with progress_bar(name, seeds * len(claim.plan.arms)) as step:
        result = run_claim(claim, range(1, seeds + 1), material, work / name, lambda *_: step())
    path = output or RESULTS / f"{name}.json"
    result.write(path)
    typer.echo(details(read_result(path)))
    typer.echo(f"wrote {path}", err=True)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = RESULTS,
) -> None:
    """Print the ledger: every claim that was run, its differences and verdicts, then the arms of each.

    Example: `earwitness claim report`
    """
    from earwitness.claims.ledger import details, ledger, read_results

    found = read_results(results)
    typer.echo(ledger(found))
    for result in found:
        typer.echo(details(result))
