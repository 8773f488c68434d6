"""`earwitness`: mounts the command groups and turns errors into one line and an exit code.

0: done. 1: ran, but some items failed (they are listed). 2: wrong use or bad input. 130: interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from earwitness.cli.arguments import spread
from earwitness.core.errors import EarwitnessError

app = typer.Typer(
    name="earwitness",
    help="What a recording can testify to: genuine or synthetic, whose voice, how it was said.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        from earwitness import __version__

        typer.echo(f"earwitness {__version__}")
        raise typer.Exit


def _mount() -> None:
    """One line a command group. The modules import what they need inside their functions, so this stays quick."""
    from earwitness.cli import corpus, doctor, evaluate, examine, model, score, train

    app.command("examine")(examine.examine)
    app.command("score")(score.score)
    app.command("train")(train.train)
    app.command("evaluate")(evaluate.evaluate)
    app.add_typer(corpus.app, name="corpus")
    app.add_typer(model.app, name="model")
    app.command("doctor")(doctor.doctor)


def run(arguments: list[str] | None = None) -> None:
    """The entry point. Everything that goes wrong on purpose ends as one line on standard error."""
    words = spread(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    sys.exit(_run(words, debug))


def _run(words: list[str], debug: bool) -> int:
    _mount()
    try:
        outcome = app(args=words, prog_name="earwitness", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except EarwitnessError as error:
        if debug:
            raise
        _say(str(error))
        return 2
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; what was finished is kept")
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:  # a defect of ours: still one line, unless asked for more
        if debug:
            raise
        _say(f"unexpected {type(error).__name__}: {error}. This is a defect; run again with --debug and report it.")
        return 2


def _say(text: str) -> None:
    print(f"earwitness: {text}", file=sys.stderr)
