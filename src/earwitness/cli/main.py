"""`earwitness`: mounts the command groups and turns errors into one line and an exit code.

0: done. 1: ran, but some items failed (they are listed). 2: wrong use or bad input. 130: interrupted.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from earwitness.cli.arguments import spread
from earwitness.cli.terminal import defused_output
from earwitness.core.allocator import keep_freed_memory
from earwitness.core.errors import EarwitnessError, printable

INTERRUPTED = 130

# what typer raises for a wrong command line; the class lies in click or in typer, as the version has it
_WrongUse: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the stack trace of an error (with any command).")
    ] = False,
) -> None:
    """What a recording can testify to: genuine or synthetic, whose voice, how it was said.

    Example: `earwitness examine call.m4a --reference claimed-1.wav claimed-2.wav --html report.html`
    """
    if version:
        from earwitness import __version__

        typer.echo(f"earwitness {__version__}")
        raise typer.Exit


TABLES_FIRST = (["corpus"], ["evaluate"], ["qa"], ["score"])
"""Commands that may read a large table, which takes half as much again where freed memory is kept. Those that go on to
listen say so themselves (`engine_options.shared_cores`)."""


def build_app() -> typer.Typer:
    """One line a command group. Their modules import what they need inside functions, so this stays quick."""
    from earwitness.cli.bench import app as bench
    from earwitness.cli.cache import app as cache
    from earwitness.cli.calibrate import calibrate
    from earwitness.cli.claim import app as claim
    from earwitness.cli.compare import compare
    from earwitness.cli.corpus import app as corpus
    from earwitness.cli.doctor import doctor
    from earwitness.cli.evaluate import evaluate
    from earwitness.cli.examine import examine
    from earwitness.cli.flan import app as flan
    from earwitness.cli.fuse import fuse
    from earwitness.cli.index import app as index
    from earwitness.cli.model import app as model
    from earwitness.cli.qa import app as qa
    from earwitness.cli.reproduce import reproduce
    from earwitness.cli.score import score
    from earwitness.cli.train import train

    app = typer.Typer(
        name="earwitness",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_options)
    app.command("examine")(examine)
    app.command("score")(score)
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("compare")(compare)
    app.command("calibrate")(calibrate)
    app.command("fuse")(fuse)
    app.command("reproduce")(reproduce)
    app.add_typer(corpus, name="corpus")
    app.add_typer(index, name="index")
    app.add_typer(model, name="model")
    app.add_typer(claim, name="claim")
    app.add_typer(flan, name="flan")
    app.add_typer(qa, name="qa")
    app.add_typer(bench, name="bench")
    app.add_typer(cache, name="cache")
    app.command("doctor")(doctor)
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Everything that goes wrong on purpose ends as one line on standard error."""
    # threads of torch that wait for each other by spinning take the cores that other programs need
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if [*(sys.argv[1:] if arguments is None else arguments)][:1] not in TABLES_FIRST:
        keep_freed_memory()
    if arguments is not None:
        sys.exit(exit_code(arguments))
    code = exit_code(sys.argv[1:])
    if code and threading.active_count() > 1:  # what is still under way may take long: it is not waited for
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def exit_code(arguments: Sequence[str]) -> int:
    """Run one command line. With `--debug` anywhere, errors are raised instead of told."""
    with defused_output():
        return _exit_code(arguments)


def _exit_code(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    try:
        words = spread([word for word in arguments if word != "--debug"])
        outcome = build_app()(args=words, prog_name="earwitness", standalone_mode=False)
        sys.stdout.flush()
        if outcome == INTERRUPTED:  # typer has caught it
            raise KeyboardInterrupt
        return outcome if isinstance(outcome, int) else 0
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not be complained about
        return 1
    except (KeyboardInterrupt, typer.Abort) as stop:
        if isinstance(stop.__cause__, EOFError):  # typer takes it for ctrl-D; nothing here asks for input
            _say(f"a file ends too early ({stop.__cause__}). If it is byte code, remove the folders __pycache__.")
            return 2
        _say("interrupted; what was finished is kept")
        return INTERRUPTED
    except typer.Exit as stop:
        return stop.exit_code
    except _WrongUse as error:
        return _wrong_use(error)
    except EarwitnessError as error:
        if debug:
            raise
        _say(str(error))
        return 2
    except OSError as error:  # what the system refuses, wherever it was not foreseen
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        fix = "Look at the path, its permissions and the space that is left; what was finished is kept."
        _say(f"{where}the system says: {error.strerror or error}. {fix}")
        return 2
    except Exception as error:  # a defect of ours: still one line, unless asked for more
        if debug:
            raise
        _say(f"unexpected {type(error).__name__}: {error}. This is a defect; run again with --debug and report it.")
        return 2


def _wrong_use(error: Exception) -> int:
    """The message in one line, and where to read more; a command group without a command shows its help."""
    message = str(getattr(error, "message", error))
    if type(error).__name__ == "NoArgsIsHelpError":
        if message:
            print(message, file=sys.stderr)
        return 2
    described = error.format_message() if hasattr(error, "format_message") else message
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "earwitness"
    _say(f"{described.rstrip('.')}{'' if described.endswith('?') else '.'} Try '{path} --help'.")
    return 2


def _say(text: str) -> None:
    print(f"earwitness: {printable(text)}", file=sys.stderr)
