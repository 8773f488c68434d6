"""The whole chain on toy voices: corpus, expansion, training, test, in four arms of equal steps."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "identity_expansion_benchmark", ROOT / "benchmarks" / "identity_expansion.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module  # type: ignore[misc]
    del sys.modules[spec.name]


@pytest.mark.shows("inside:6.6")
def test_four_arms_small(experiment: ModuleType, tmp_path: Path) -> None:
    sizes = experiment.Sizes(
        real=10,
        identities=4,
        dev=2,
        test=4,
        utterances=5,
        letters=16,
        steps=5,
        batch=8,
        channels=16,
        mels=16,
        crop_s=0.4,
    )
    runs = experiment.run(tmp_path, sizes, [0])
    classes = dict(zip(runs["arm"], runs["classes"], strict=True))
    assert classes["real only"] == classes["made anew"] == 10
    assert 10 < classes["INSIDE"] <= 14
    assert 10 < classes["random pairs"] <= 14
    assert all(0 <= value <= 1 for value in runs["eer"])
    logs = sorted(tmp_path.glob("run-*/fit/log.jsonl"))
    results = [json.loads(log.read_text().splitlines()[-1]) for log in logs]
    assert len(results) == 4
    assert {result["step"] for result in results} == {5}  # equal updates, whatever the arm
    rows = experiment.table_of(runs)
    assert [row["name"] for row in rows] == ["real only", "INSIDE", "made anew", "random pairs"]
    assert rows[0]["gain_mean"] == 0
    assert rows[1]["gain_mean"] == pytest.approx(rows[0]["eer_mean"] - rows[1]["eer_mean"])
    report = experiment.first_report(tmp_path)
    assert 0 <= report.artefact_auc <= 1
    assert len(report.identities.nearest) == classes["INSIDE"] - 10
    before = (tmp_path / "runs.csv").read_bytes()
    assert experiment.run(tmp_path, sizes, [0]).equals(runs)  # kept, not run again
    assert (tmp_path / "runs.csv").read_bytes() == before


def test_the_table_is_of_mean_and_spread(experiment: ModuleType) -> None:
    import polars as pl

    eers = {"real only": (0.10, 0.14), "INSIDE": (0.11, 0.11), "made anew": (0.10, 0.12), "random pairs": (0.2, 0.1)}
    rows = [{"arm": arm, "seed": seed, "eer": pair[seed]} for arm, pair in eers.items() for seed in (0, 1)]
    table = {row["name"]: row for row in experiment.table_of(pl.DataFrame(rows))}
    assert table["real only"]["eer_mean"] == pytest.approx(0.12)
    assert table["INSIDE"]["gain_mean"] == pytest.approx(0.01)  # of either sign
    assert table["INSIDE"]["gain_sd"] == pytest.approx(math.sqrt(2) * 0.02)
    assert table["random pairs"]["gain_mean"] == pytest.approx(-0.03)


@pytest.mark.soak
@pytest.mark.shows("inside:6.6")
def test_four_arms_over_five_seeds(experiment: ModuleType, tmp_path: Path) -> None:
    sizes = experiment.Sizes()
    assert (sizes.real, sizes.identities, sizes.test, sizes.channels) == (40, 20, 20, 64)
    runs = experiment.run(tmp_path, sizes, range(5), print)
    table = experiment.table_of(runs)
    assert {(row["name"], row["seeds"]) for row in table} == {(arm, 5) for arm in experiment.ARMS}
    assert table[0]["eer_mean"] < 0.4  # a verifier has been learnt; how the arms compare is reported, not asserted
    assert all(math.isfinite(row["gain_sd"]) for row in table)
    again = experiment.run_arm(tmp_path / "again", "real only", replace(sizes), 0)
    assert again["eer"] == runs.row(0, named=True)["eer"]
