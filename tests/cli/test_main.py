"""Every command has an example, every error is one line and an exit code, and nothing heavy is imported too early."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from earwitness import __version__
from earwitness.cli import main
from earwitness.cli.main import build_app, exit_code
from earwitness.core.errors import DataError
from earwitness.examine import examiner
from earwitness.examine.examiner import Outcome

HEAVY = ("torch", "transformers", "polars", "soundfile", "av", "numpy", "rich.console", "onnxruntime")


def commands(app: typer.Typer, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield (*before, command.name or command.callback.__name__)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        assert group.name
        yield from commands(group.typer_instance, (*before, group.name))


ALL = sorted(commands(build_app()))


def test_the_commands_of_the_contract_are_there() -> None:
    expected = {("examine",), ("score",), ("train",), ("evaluate",), ("doctor",)}
    expected |= {("corpus", name) for name in ("import", "check", "split", "describe")}
    expected |= {("model", name) for name in ("list", "info", "export", "verify")}
    assert expected <= set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_shows_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Example" in shown
    assert f"earwitness {' '.join(words)} " in shown.split("Example", 1)[1].replace("│", "") + " "


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    assert "earwitness examine" in " ".join(capsys.readouterr().out.split())
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"earwitness {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scroe"], "No such command 'scroe'"),
        (["score"], "Missing"),
        (["score", "x", "--task"], "requires an argument"),
        (["score", "x", "--taks", "deepfake"], "No such option"),
        (["score", "x", "--task", "deepfake", "-o", "o.csv", "--workers", "0"], "--workers"),
        (["examine", "x", "--reference"], "--reference: needs at least one value"),
        (["corpus", "chekc"], "No such command 'chekc'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("earwitness: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err


@pytest.mark.parametrize("words", [[], ["corpus"]])
def test_no_command_shows_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(words) == 2
    shown = capsys.readouterr()
    assert "Usage" in shown.out + shown.err


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Any:
        def app(**_: object) -> None:
            raise error

        return app

    monkeypatch.setattr(main, "build_app", build)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            DataError("row 3\nis bad", where="\x1b[31m.csv", fix="Mend it."),
            2,
            "\\x1b[31m.csv: row 3\\nis bad. Mend it.",
        ),
        (
            ValueError("deep\ninside"),
            2,
            "unexpected ValueError: deep\\ninside. This is a defect; run again with --debug",
        ),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept"),
        (typer.Abort(), 130, "interrupted"),
        (typer.Exit(1), 1, ""),
    ],
)
def test_errors_are_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(error, monkeypatch)
    assert exit_code(["anything"]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == (1 if said else 0)


@pytest.mark.parametrize("error", [DataError("bad"), ValueError("worse")])
def test_debug_shows_where(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(error, monkeypatch)
    with pytest.raises(type(error)):
        exit_code(["anything", "--debug"])


def test_debug_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--debug", "doctor", "--help"], ["doctor", "--help", "--debug"]):
        assert exit_code(words) == 0
    capsys.readouterr()


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    """`import earwitness` and building the command line stay quick."""
    code = (
        "import sys, earwitness; found = {m for m in sys.argv[1:] if m in sys.modules}; assert not found, found;"
        "from earwitness.cli.main import build_app; build_app();"
        "found = {m for m in sys.argv[1:] if m in sys.modules and m != 'rich.console'}; assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_runs_as_a_module_and_into_a_closed_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "earwitness", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"earwitness {__version__}\n")
    piped = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m earwitness --help | true"], capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""


class Listening:
    """Stands for the models: notes what it is given."""

    def __init__(self) -> None:
        self.references: list[str] = []
        self.recordings: list[str] = []

    def enrol(self, references: Any) -> None:
        self.references = [Path(reference).name for reference in references]

    def attempt(self, path: Path, *_: object) -> Outcome:
        self.recordings.append(Path(path).name)
        return Outcome(failure="not examined")


@pytest.mark.parametrize(
    ("words", "recordings", "references"),
    [
        ("call.wav --reference known/a.wav known/b.wav", "call.wav", "a.wav b.wav"),
        ("call.wav --reference known/*.wav", "call.wav", "a.wav b.wav"),
        ("--reference known/*.wav --json out.json call.wav", "call.wav", "a.wav b.wav"),
        ("--reference known -- call.wav", "call.wav", "a.wav b.wav"),
        ("*.wav --reference known", "call.wav other.wav", "a.wav b.wav"),
        ("known --reference call.wav", "a.wav b.wav", "call.wav"),
    ],
)
def test_references_before_and_after_recordings(
    words: str, recordings: str, references: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A glob that the shell leaves alone is read like one that it spreads; a folder counts as its recordings."""
    (tmp_path / "known").mkdir()
    for name in ("call.wav", "other.wav", "known/a.wav", "known/b.wav"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    listening = Listening()
    monkeypatch.setattr(examiner.Examiner, "load", lambda *_, **__: listening)
    for typed in (words.split(), shell_spread(words)):
        assert exit_code(["examine", *typed]) == 1  # nothing was examined
        assert listening.recordings == recordings.split()
        assert listening.references == references.split()
        listening.recordings.clear()


def shell_spread(words: str) -> list[str]:
    """As a shell hands the words over."""
    return [name for word in words.split() for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In a real app typer turns the interrupt into a code of its own."""

    def work() -> None:
        raise KeyboardInterrupt

    app = typer.Typer()
    app.command()(work)
    monkeypatch.setattr(main, "build_app", lambda: app)
    assert exit_code([]) == 130
    assert capsys.readouterr().err.strip() == "earwitness: interrupted; what was finished is kept"


def test_torn_byte_code_is_no_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """typer takes the EOFError of an import for ctrl-D."""

    def work() -> None:
        raise EOFError("marshal data too short")

    app = typer.Typer()
    app.command()(work)
    monkeypatch.setattr(main, "build_app", lambda: app)
    assert exit_code([]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("earwitness: a file ends too early (marshal data too short).")
    assert "__pycache__" in said
