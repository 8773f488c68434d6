"""The report of `benchmarks/complementary_fusion.py`, on speakers that are made in a moment."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import UsageError
from earwitness.training.model_folder import load_weights

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {
    "EER alone",
    "fused (mean = concatenation)",
    "fused (z-mean)",
    "fused (logistic)",
    "R^2, ridge",
    "R^2, two layers",
    "eta^2 floor",
    "CKA",
    "effective rank",
    "disagreement",
    "double fault",
    "maps: Spearman",
    "maps: Spearman, shuffled",
    "maps: IoU",
    "maps: IoU, shuffled",
    "maps: mass in other bands",
}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("complementary_fusion", ROOT / "benchmarks/complementary_fusion.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["complementary_fusion"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    """Ten of them, three recordings each."""
    home = tmp_path_factory.mktemp("speakers")
    rows = []
    for speaker in range(10):
        sound = speechlike(2.4, seed=speaker)
        for part in range(3):
            name = f"{speaker}-{part}.wav"
            soundfile.write(home / name, sound[part * 12_800 :][:12_800], 16_000, subtype="FLOAT")
            rows.append({"path": name, "speaker": f"s{speaker}", "licence": "CC0-1.0"})
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return home / "manifest.csv"


@pytest.mark.shows("acorl:6.6")
@pytest.mark.shows("acorl:6.8")
def test_a_run_reports_members_both_fusions_redundancy_and_maps(
    benchmark: ModuleType, speakers: Path, tmp_path: Path
) -> None:
    """Three seeds, a sweep of lambda, the plain fusion of independent seeds (lambda 0) and a wider network."""
    size = {
        "explained": 1,
        "epochs": 1,
        "draws": 16,
        "batch": 8,
        "width": 16,
        "crop_s": 0.5,
        "test_speakers": 4,
        "dev_speakers": 4,
    }
    settings = benchmark.Settings(speakers, tmp_path, lambdas=(0.0, 1.0), corpora=None, **size)
    result = benchmark.measure(settings)
    assert list(result["arms"]) == ["member", "wide", "lambda 0", "lambda 1"]
    for name in ("lambda 0", "lambda 1"):
        assert set(result["arms"][name]) == FIGURES
        for figure, cell in result["arms"][name].items():
            each = [seed[name][figure] for seed in result["seeds"]]
            assert len(each) == 3
            assert np.isfinite(each).all()
            assert cell["mean"] == pytest.approx(np.mean(each))
            assert cell["sd"] == pytest.approx(np.std(each, ddof=1))
    assert result["arms"]["lambda 0"]["EER alone"]["sd"] >= 0
    assert any(seed["lambda 0"]["R^2, ridge"] != seed["lambda 1"]["R^2, ridge"] for seed in result["seeds"])
    report = list(benchmark.lines(result))
    assert all(any(line.startswith(figure) for line in report) for figure in FIGURES)
    assert "may be worse alone" in report[-1]

    # the same seed, trained without a member: lambda 0 is the plain control
    bench = benchmark.Bench(settings)
    plain = benchmark.Arm("plain", 1 + benchmark.INDEPENDENT, 16)
    first, second = load_weights(bench.model(plain)), load_weights(tmp_path / "lambda-0-1" / "model")
    assert all(np.array_equal(value.numpy(), second[name].numpy()) for name, value in first.items())
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert benchmark.measure(settings) == result  # from what was kept
    assert all(path.stat().st_mtime_ns == at for path, at in written.items() if path.name != "settings.json")
    with pytest.raises(UsageError, match="runs of another size"):
        benchmark.Bench(dataclasses.replace(settings, epochs=2))
