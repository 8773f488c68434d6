"""`earwitness claim`: the list, a name that is none, and the ledger of what was run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earwitness.cli.main import exit_code


def test_the_list_names_every_arm_and_direction(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["claim", "list"]) == 0
    text = capsys.readouterr().out
    assert "nes2net" in text
    assert "expected: " in text
    assert exit_code(["claim", "list", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)
    assert all(plan["arms"] and plan["expected"] for plan in plans)


def test_a_claim_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["claim", "run", "nes2nett"]) == 2
    assert "Did you mean 'nes2net'?" in capsys.readouterr().err


def test_too_few_seeds_and_a_manifest_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["claim", "run", "nes2net", "--seeds", "2"]) == 2
    missing = ["claim", "run", "nes2net", "--data", str(tmp_path / "no.csv"), "--work", str(tmp_path)]
    assert exit_code(missing) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_report_prints_what_was_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["claim", "report"]) == 0
    assert "| claim | stated direction |" in capsys.readouterr().out
