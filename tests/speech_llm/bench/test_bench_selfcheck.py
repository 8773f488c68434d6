"""The harness on models of known worth."""

from __future__ import annotations

import pytest

from earwitness.cli.main import exit_code
from earwitness.speech_llm.bench.selfcheck import Check, self_check


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return self_check()


@pytest.mark.shows("cp-bench:6.5")
def test_the_oracle_and_the_audio_blind_model_are_told_apart(checks: list[Check]) -> None:
    found = {one.claim: one for one in checks}
    assert found["the oracle scores 100 everywhere"].holds
    assert found["the oracle uses the audio"].holds
    assert found["the audio-blind model gains nothing from the audio in any type"].holds
    assert found["identical answers are noticed"].holds
    assert found["the report's first line says so"].found.startswith("The audio seems unused")


@pytest.mark.shows("cp-bench:6.7")
def test_a_noisy_judge_is_measured_end_to_end(checks: list[Check]) -> None:
    noise = next(one for one in checks if "deviate" in one.claim)
    assert noise.holds
    assert 2.3 < float(noise.found.split()[0]) < 3.5


def test_the_command_prints_what_holds_and_fails_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "earwitness.speech_llm.bench.selfcheck.self_check"
    monkeypatch.setattr(module, lambda: [Check("a", "b", True)])
    assert exit_code(["bench", "selfcheck"]) == 0
    monkeypatch.setattr(module, lambda: [Check("a", "b", True), Check("c", "d", False)])
    assert exit_code(["bench", "selfcheck"]) == 1
    assert "FAILS  c: d" in capsys.readouterr().out
