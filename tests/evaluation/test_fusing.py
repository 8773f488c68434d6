"""`earwitness fuse`: score files in, a score file out that the other commands take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, UsageError
from earwitness.evaluation.judging.fusing import HeldOut, fuse_files
from earwitness.metrics.fusion import concatenated


def trials(path: Path, seed: int, *, good: float = 1.0, scale: float = 1.0, model: str | None = None) -> Path:
    """100 trials whose scores share half of their noise with every other system's."""
    same = np.arange(100) % 2 == 0
    noise = np.random.default_rng(1).standard_normal(100) + np.random.default_rng([seed, 2]).standard_normal(100)
    table = pl.DataFrame(
        {
            "enrol": [f"e{i}" for i in range(100)],
            "test": [f"t{i}" for i in range(100)],
            "score": scale * (2 * good * same + noise),
            "label": np.where(same, "target", "nontarget"),
            "model": [model or f"m{seed}"] * 100,
        }
    )
    table.write_csv(path)
    return path


def test_the_mean_of_cosines_is_the_cosine_of_concatenated_embeddings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    systems = [rng.standard_normal((40, size)) for size in (8, 5)]
    ids = [f"u{i}" for i in range(20)]
    for number, values in enumerate(systems):
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        cosines = (unit[:20] * unit[20:]).sum(1)
        pl.DataFrame({"enrol": ids, "test": ids, "score": cosines}).write_csv(tmp_path / f"{number}.csv")
    fused = fuse_files("speaker", [tmp_path / "0.csv", tmp_path / "1.csv"], "mean").table
    joined = concatenated(systems)
    np.testing.assert_allclose(fused["score"].to_numpy(), (joined[:20] * joined[20:]).sum(1), atol=1e-12)


def test_a_scale_does_not_count_for_z_mean_and_held_out_trials_learn_weights(tmp_path: Path) -> None:
    one, two = trials(tmp_path / "a.csv", 1), trials(tmp_path / "b.csv", 2)
    loud = trials(tmp_path / "loud.csv", 2, scale=50)
    first, second = (fuse_files("speaker", [one, other], "z-mean").table["score"] for other in (two, loud))
    np.testing.assert_allclose(first.to_numpy(), second.to_numpy(), atol=1e-9)

    useless = trials(tmp_path / "useless.csv", 3, good=0.0)
    fused = fuse_files("speaker", [one, useless], "logistic", HeldOut((one, useless)))
    good, bad = fused.fusion.weights
    assert good > 0 > bad  # its noise is partly that of the first, and is taken off
    table = fused.table.with_columns(pl.Series("label", pl.read_csv(one)["label"]))
    assert table.filter(pl.col("label") == "target")["score"].mean() > 0  # type: ignore[operator]
    assert set(table["model"]) == {"fusion (logistic) of m1 + m3"}


def test_a_row_that_one_system_could_not_score_has_an_error(tmp_path: Path, capsys) -> None:
    one, two = trials(tmp_path / "a.csv", 1), trials(tmp_path / "b.csv", 2)
    table = pl.read_csv(two).with_columns(error=pl.lit(None, pl.String))
    hole = pl.int_range(pl.len()) == 3
    table = table.with_columns(
        score=pl.when(~hole).then("score"), error=pl.when(hole).then(pl.lit("is silent")).otherwise(None)
    )
    table.write_csv(two)
    out = tmp_path / "out.csv"
    assert exit_code(["fuse", "speaker", str(one), str(two), "-o", str(out)]) == 1
    assert "1 row(s) were not scored by every system" in capsys.readouterr().err
    row = pl.read_csv(out).row(3, named=True)
    assert (row["enrol"], row["score"], row["error"]) == ("e3", None, "b.csv: is silent")
    assert exit_code(["evaluate", "speaker", str(out), "--resamples", "20"]) in (0, 1)
    assert "99" in capsys.readouterr().out


def test_what_cannot_be_fused_is_refused(tmp_path: Path) -> None:
    one, two = trials(tmp_path / "a.csv", 1), trials(tmp_path / "b.csv", 2)
    with pytest.raises(UsageError, match="no fusion"):
        fuse_files("speaker", [one], "mean")
    with pytest.raises(UsageError, match=r"unknown rule 'best'.*One of mean, z-mean, logistic"):
        fuse_files("speaker", [one, two], "best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="held out"):
        fuse_files("speaker", [one, two], "logistic")
    with pytest.raises(UsageError, match="1 held-out files for 2 systems"):
        fuse_files("speaker", [one, two], "logistic", HeldOut((one,)))
    with pytest.raises(UsageError, match="'sasv' scores"):
        fuse_files("sasv", [one, two], "mean")
    with pytest.raises(DataError, match=r"is of m2, but .*a.csv of m1"):
        fuse_files("speaker", [one, two], "logistic", HeldOut((two, one)))
    pl.read_csv(two).head(90).write_csv(tmp_path / "short.csv")
    with pytest.raises(DataError, match=r"'e90 t90' is not in .*short.csv \(10 row"):
        fuse_files("speaker", [one, tmp_path / "short.csv"], "mean")


def test_the_command_prints_weights(tmp_path: Path, capsys) -> None:
    one, two = trials(tmp_path / "a.csv", 1), trials(tmp_path / "b.csv", 2)
    dev = [str(trials(tmp_path / f"{name}-dev.csv", seed)) for seed, name in ((1, "a"), (2, "b"))]
    out = tmp_path / "out.parquet"
    words = ["fuse", "speaker", str(one), str(two), "--by", "logistic", "--held-out", *dev, "-o", str(out)]
    assert exit_code(words) == 0
    assert capsys.readouterr().out.count(" x ") == 2
    assert pl.read_parquet(out).height == 100
