"""`earwitness train`: from a recipe to a model folder with its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli.data_root import DataRoot


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The recipe.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field, e.g. loop.epochs=3.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run [default: runs/NAME].")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share each step, a device each; as --set loop.devices=N."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train despite a leak between the sides; the record and card say so.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Train a model as a recipe says, calibrate it on dev, test it on what was held out, and write its folder and card.

    Killed at any moment and started again with `--resume`, it ends with the same weights. The folder holds the tables
    of the sides, the log, every score and figure of the tests (`results/`), and the model (`model/`). With --data-root
    a recording that lies elsewhere ends the run before anything is learnt.

    Example: `earwitness train recipes/default/deepfake-small.yaml --set loop.epochs=3 -o runs/small`
    """
    from earwitness.evaluation.assessing.runs import read_any_recipe, run_recipe
    from earwitness.training.complementary import ALONE
    from earwitness.training.recipe import UtteranceRecipe

    shared = [] if devices is None else [f"loop.devices={devices}"]
    parsed = read_any_recipe(recipe, [*(settings or []), *shared])
    folder = output or Path("runs") / parsed.name
    model = run_recipe(parsed, folder, resume=resume, allow_leak=allow_leak)
    typer.echo(f"model: {model}", err=True)
    if isinstance(parsed, UtteranceRecipe) and parsed.complementary is not None:
        typer.echo(f"warning: not to {ALONE}", err=True)
