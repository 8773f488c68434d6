"""`earwitness doctor` tries every part, and says what to do about the ones that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earwitness.cli.main import run
from earwitness.core.errors import MissingPartError, ModelError
from earwitness.evaluation import checkup
from earwitness.evaluation.checkup import Check, check_machine


def doctor(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        run(["doctor", *words])
    return int(stop.value.code or 0)


def test_this_machine_is_well(capfd) -> None:
    assert doctor() == 0
    printed = capfd.readouterr().out
    for part in ("python", "torch", "audio formats", "speech segments", "extra export"):
        assert part in printed


def test_as_data(capfd) -> None:
    assert doctor("--json") == 0
    checks = json.loads(capfd.readouterr().out)
    assert {tuple(check) for check in checks} == {("part", "state", "detail")}
    states = {check["part"]: check["state"] for check in checks}
    assert states["torch"] == states["audio formats"] == states["speech segments"] == "works"


def test_a_broken_part_is_told_and_ends_with_1(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    def fails() -> Check:
        raise OSError("libfoo.so: cannot open shared object file")

    monkeypatch.setattr(checkup, "_formats", fails)
    assert doctor() == 1
    printed = " ".join(capfd.readouterr().out.split())
    assert "broken" in printed
    assert "libfoo.so" in printed


@pytest.mark.parametrize(
    ("error", "state"),
    [(MissingPartError("needs a part", fix="pip install it"), "missing"), (ModelError("was altered"), "broken")],
)
def test_what_is_missing_is_not_broken(monkeypatch: pytest.MonkeyPatch, error: Exception, state: str) -> None:
    def fails() -> Check:
        raise error

    monkeypatch.setattr(checkup, "_speech", fails)
    found = next(check for check in check_machine() if check.part == "speech segments")
    assert (found.state, found.detail) == (state, str(error))


def test_shipped_models_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.json").write_text("{}")
    monkeypatch.setattr("earwitness.training.shipped.shipped_models", lambda: {"half": tmp_path / "half"})
    found = next(check for check in check_machine() if check.part == "model half")
    assert found.state == "broken"
    monkeypatch.setattr("earwitness.training.shipped.shipped_models", dict)
    found = next(check for check in check_machine() if check.part == "models")
    assert found.state == "missing"
    assert "earwitness train" in found.detail


def test_help_has_an_example(capfd) -> None:
    assert doctor("--help") == 0
    assert "earwitness doctor" in capfd.readouterr().out
