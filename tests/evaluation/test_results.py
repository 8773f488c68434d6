"""What is called unseen, a twin, a false alarm or a failure, and when a detector is not trusted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing import detector as tested
from earwitness.evaluation.assessing.outcome import EER, figure, leaks_of, minutes, results_folder, write_result
from earwitness.evaluation.judging.judge import Comparison, JudgeOptions, PairedMeasure
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.metrics.bootstrap import Interval, Paired
from earwitness.training.card import ResultRow
from earwitness.training.model_folder import ModelInfo

INTERVAL = Interval(0.25, 0.2, 0.3, 12, "speaker", 100)


def manifest(rows: list[dict]) -> Manifest:
    named = [{"path": f"{number}.wav", **row} for number, row in enumerate(rows)]
    return Manifest.from_table(pl.DataFrame(named, infer_schema_length=None), ".")


def spoof(**known: str) -> dict:
    return {"label": "spoof", **known}


def test_unseen_is_a_family_that_neither_train_nor_dev_has() -> None:
    train = manifest([{"label": "bonafide"}, spoof(family="flow", system="a")])
    dev = manifest([spoof(family="melgan", system="b"), spoof(system="alone")])
    test = manifest(
        [
            {"label": "bonafide"},
            spoof(family="world", system="c"),
            spoof(family="flow", system="d"),
            spoof(family="melgan"),
            spoof(system="alone"),
            spoof(system="new"),
            spoof(),  # may be anything
        ]
    )
    assert list(tested._unseen(train, dev, test).table["path"]) == ["0.wav", "1.wav", "5.wav"]


def test_twins_share_a_recording_across_the_labels() -> None:
    test = manifest(
        [
            {"label": "bonafide", "source_recording": "a"},
            spoof(source_recording="a"),
            spoof(source_recording="a"),
            {"label": "bonafide", "source_recording": "b"},
            {"label": "bonafide", "source_recording": "b"},
            spoof(source_recording="c"),
            {"label": "bonafide"},
            spoof(),
        ]
    )
    assert list(tested._twins(test).table["path"]) == ["0.wav", "1.wav", "2.wav"]


def test_the_share_below_a_threshold_is_over_speakers_where_there_are_several() -> None:
    rows = pl.DataFrame({"score": [0.0, 1.0, 2.0, 3.0], "speaker": ["a", "a", "b", "b"]})
    several = tested.share_below(rows, 1.5, JudgeOptions(n_resamples=200))
    assert (several.value, several.low, several.high, several.unit) == (0.5, 0.0, 1.0, "speaker")
    one = tested.share_below(rows.with_columns(speaker=pl.lit("lj")), 1.5, JudgeOptions())
    assert (one.value, one.unit) == (0.5, "file")
    assert (round(one.low, 3), round(one.high, 3)) == (0.068, 0.932)  # Clopper-Pearson, 2 of 4


def test_a_figure_is_in_percent_where_its_metric_says_so() -> None:
    row = figure("twins", EER, INTERVAL, 40, Path("runs/x/results/twins.json"))
    assert (row.value, row.low, row.high) == (25.0, 20.0, 30.0)
    assert (row.source, row.unit, row.files) == ("results/twins.json", "speaker", 40)
    assert figure("twins", "Cllr", INTERVAL, 40, Path("a/b.json")).value == 0.25


def row(data: str, metric: str, value: float) -> ResultRow:
    return ResultRow(data, metric, value, None, None, 20, "results/test.json")


def test_failures_are_the_high_errors_of_the_model_alone() -> None:
    rows = [
        row("test side, family world", EER, 41.2),
        row("test side, family codec2", EER, 12.0),
        row("twins: the trivial control", EER, 50.0),
        row("real speech, voice lj", tested.FALSE_ALARMS, 80.0),
        row("test side", "Cllr", 0.7),
        row("twins", "Cllr", 1.2),
    ]
    assert list(tested.failures(rows)) == [
        "test side, family world: EER 41 % (20 files)",
        "real speech, voice lj: 80 % of 20 files lie below the threshold of equal errors",
        "twins: the likelihood ratios cost more than not listening (Cllr 1.20; 20 tested)",
    ]


def test_what_could_not_be_judged_is_counted() -> None:
    nothing = pl.DataFrame()
    assert tested._unjudged(LabelledScores("deepfake", nothing, (), (), {})) == []
    assert tested._unjudged(LabelledScores("deepfake", nothing, ("a", "b"), (), {}))[0].startswith("2 file(s)")


def part(high: float) -> tested.Part:
    def interval(value: float, low: float, high: float) -> Interval:
        return Interval(value, low, high, 12, "speaker", 100)

    paired = Paired(interval(0.2, 0.1, 0.3), interval(0.4, 0.3, 0.5), interval(-0.2, -0.3, high))
    nothing = LabelledScores("deepfake", pl.DataFrame(), (), (), {})
    return tested.Part(
        "x", nothing, (), Comparison("model", "control", (PairedMeasure("EER", paired, "", "share"),), 40, 0)
    )


@pytest.mark.parametrize(
    ("unseen", "twins", "said"),
    [
        (-0.01, -0.01, []),
        (0.0, -0.01, ["On families never heard before it is not shown"]),
        (-0.01, 0.02, ["On twins of real recordings it is not shown"]),
        (None, 0.02, ["holds no families never heard before", "On twins"]),
    ],
)
def test_a_detector_must_beat_the_control_on_unseen_families_and_on_twins(
    unseen: float | None, twins: float, said: list[str]
) -> None:
    found = list(tested.unproven(None if unseen is None else part(unseen), part(twins)))
    assert len(found) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found, strict=True))


def test_a_run_without_a_test_side_is_not_tested(tmp_path: Path) -> None:
    for side in ("train", "dev"):
        (tmp_path / f"{side}.csv").write_text("path,label\na.wav,bonafide\nb.wav,spoof\n")
    outcome = tested.assess_detector(tmp_path / "model", tmp_path)
    assert outcome.rows == ()
    assert "was not tested" in outcome.inconclusive[0]


def test_minutes_count_stretches() -> None:
    known = manifest([{"duration_s": 90.0}, {"duration_s": 60.0, "start": 10.0, "end": 40.0}, {"duration_s": None}])
    assert minutes(known) == 2.0


def info(**changes: object) -> ModelInfo:
    known = {"name": "x", "task": "deepfake", "network": {}, "polarity": "none", "licence": "CC0-1.0"}
    return ModelInfo.model_validate({**known, "windows": {"kind": "whole"}, **changes})


def test_results_of_another_model_are_cleared(tmp_path: Path) -> None:
    first = info(files={"weights.safetensors": "1" * 64})
    folder = results_folder(tmp_path, first)
    write_result(folder / "test.json", "earwitness evaluate", [row("a", EER, 1.0)])
    assert json.loads((folder / "test.json").read_text())["rows"][0]["value"] == 1.0
    assert (results_folder(tmp_path, first) / "test.json").exists()
    assert not (results_folder(tmp_path, info(files={"weights.safetensors": "2" * 64})) / "test.json").exists()


def test_an_allowed_leak_is_remembered() -> None:
    assert leaks_of(info()) == []
    noted = info(training={"notes": ["3 row(s) left out", "leak allowed by name: family 'flow'"]})
    assert "1 leak(s)" in leaks_of(noted)[0]
