"""`earwitness cache` shows what is kept, removes that and nothing else; completion is offered to the shells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.cli.main import exit_code
from earwitness.core.cache import KINDS, cache_contents
from earwitness.evaluation.checkup import check_machine

SOURCE = Path(__file__).resolve().parents[2] / "src" / "earwitness"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EARWITNESS_CACHE", str(folder))
    for name in ("prints/a.jsonl", "encoders/w.safetensors", "mine/thesis.txt", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    return folder


def test_what_it_holds(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["cache", "info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(cache)
    kinds = {kept["kind"]: (kept["files"], kept["bytes"]) for kept in told["kinds"]}
    assert kinds == {"encoders": (1, 1000), "mos": (0, 0), "phones": (0, 0), "prints": (1, 1000)}
    assert exit_code(["cache", "info"]) == 0
    assert "prints: 1 file(s), 0.0 MB" in capsys.readouterr().out


def test_one_kind_or_all_is_removed_and_nothing_else(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["cache", "clear", "prints"]) == 0
    assert not (cache / "prints").exists()
    assert (cache / "encoders" / "w.safetensors").exists()
    assert exit_code(["cache", "clear"]) == 0
    assert sorted(path.name for path in cache.iterdir()) == ["mine", "notes.txt"]
    assert exit_code(["cache", "clear", "mine"]) == 2
    assert "no kind of the cache. Kinds: encoders" in capsys.readouterr().err
    assert (cache / "mine" / "thesis.txt").exists()


def test_links_are_not_followed(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept.txt").touch()
    (cache / "prints" / "inside").symlink_to(tmp_path / "other")
    (cache / "phones").symlink_to(tmp_path / "other")
    assert exit_code(["cache", "clear"]) == 2
    assert "is a link" in capsys.readouterr().err
    assert (cache / "prints" / "a.jsonl").exists()
    assert exit_code(["cache", "clear", "prints"]) == 0
    assert (tmp_path / "other" / "kept.txt").exists()


def test_an_absent_cache_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "none"))
    assert {kept.files for kept in cache_contents()} == {0}
    assert exit_code(["cache", "clear"]) == 0
    assert not (tmp_path / "none").exists()


def test_every_use_of_the_cache_is_of_a_known_kind() -> None:
    modules = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py") if path.name != "cache.py"]
    uses = [use for text in modules for use in re.findall(r"cache_folder\(\) / (\S+)", text)]
    named = {use.strip('"') for use in uses if use.startswith('"')}
    assert named | {"mos"} == set(KINDS)  # side tables name theirs: one is made of quality, in `deepfake.material`
    assert {use for use in uses if not use.startswith('"')} == {"kind"}


def test_doctor_names_the_cache_and_the_completion(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    checks = {check.part: check for check in check_machine()}
    assert checks["cache"].state == "works"
    assert str(cache) in checks["cache"].detail
    assert (checks["shell completion"].state, "--install-completion" in checks["shell completion"].detail) == (
        "missing",
        True,
    )
    (tmp_path / ".zfunc").mkdir()
    (tmp_path / ".zfunc" / "_earwitness").touch()
    checks = {check.part: check for check in check_machine()}
    assert checks["shell completion"].state == "works"


def completion(home: Path, *words: str, **environment: str) -> str:
    variables = {**os.environ, "HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", **environment}
    command = [sys.executable, "-c", "from earwitness.cli.main import run; run()", *words]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.stdout


def test_completion_is_shown_installed_and_answers(tmp_path: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_EARWITNESS_COMPLETE" in completion(tmp_path, "--show-completion", shell)
    completion(tmp_path, "--install-completion", "bash")
    assert (tmp_path / ".bash_completions" / "earwitness.sh").is_file()
    asked = {"_EARWITNESS_COMPLETE": "complete_bash", "COMP_WORDS": "earwitness ex", "COMP_CWORD": "1"}
    assert completion(tmp_path, **asked).split() == ["examine"]
