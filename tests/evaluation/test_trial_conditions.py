"""Tables of speaker trials by condition, made of what a table tells of both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import UsageError
from earwitness.evaluation.judging.judge import JudgeOptions, judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.judging.trial_conditions import with_conditions


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Four trials of each class between four speakers, in every condition."""
    rows = []
    for number, (speech, snr, sex, band) in enumerate(
        [
            ((1.0, 9.0), (40.0, 35.0), ("f", "f"), (7000.0, 8000.0)),
            ((4.0, 3.0), (20.0, 50.0), ("m", "m"), (3500.0, 8000.0)),
            ((12.0, 6.0), (5.0, 20.0), ("f", "m"), (3400.0, 3300.0)),
            ((30.0, 11.0), (31.0, None), (None, "m"), (None, 8000.0)),
        ]
    ):
        for label, score in (("target", 2.0 + number), ("nontarget", -1.0 - number)):
            row = {"enrol": f"e{number}", "test": f"t{number}{label}", "score": score, "label": label, "error": None}
            row |= {"enrol_speaker": f"s{number}", "test_speaker": f"s{number}" if label == "target" else "other"}
            for name, pair in {"speech_s": speech, "snr_db": snr, "sex": sex, "bandwidth_hz": band}.items():
                row |= {f"{name}_enrol": pair[0], f"{name}_test": pair[1]}
            rows.append(row)
    pl.DataFrame(rows, infer_schema_length=None).write_csv(tmp_path / "scores.csv")
    return tmp_path / "scores.csv"


def column(path: Path, name: str) -> list[str | None]:
    return with_conditions(read_labelled("speaker", path), [name]).table[name].to_list()[::2]


def test_each_condition_is_that_of_the_worse_side(scores: Path) -> None:
    assert column(scores, "duration") == ["1: under 2 s", "2: 2 to 5 s", "3: 5 to 10 s", "4: 10 s or more"]
    assert column(scores, "snr") == ["3: 30 dB or more", "2: 15 to 30 dB", "1: under 15 dB", None]
    assert column(scores, "sex") == ["both f", "both m", "of two sexes", None]
    assert column(scores, "channel") == ["one channel", "across channels", "one channel", None]


def test_codecs_count_where_they_are_known(scores: Path) -> None:
    table = pl.read_csv(scores).with_columns(codec_enrol=pl.lit("gsm"), codec_test=pl.lit(None, pl.String))
    table.write_csv(scores)
    assert column(scores, "channel") == ["across channels"] * 3 + [None]


def test_judging_gives_a_table_each_with_intervals_over_speakers(scores: Path) -> None:
    options = JudgeOptions(by=("duration", "sex"), n_resamples=50)
    groups = judge(read_labelled("speaker", scores), options).groups
    assert [group.value for group in groups if group.column == "sex"] == ["(none)", "both f", "both m", "of two sexes"]
    assert all((group.positives, group.negatives) == (1, 1) for group in groups)
    assert all(group.eer is None or group.eer.unit == "speaker" for group in groups)


def test_a_column_of_that_name_stays_and_a_missing_one_is_told(scores: Path) -> None:
    table = pl.read_csv(scores)
    table.with_columns(sex=pl.lit("mine")).write_csv(scores)
    assert set(column(scores, "sex")) == {"mine"}
    table.drop("snr_db_enrol").write_csv(scores)
    with pytest.raises(UsageError, match="there is no column 'snr'"):
        judge(read_labelled("speaker", scores), JudgeOptions(by=("snr",)))


def test_another_task_has_no_such_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"id": [str(n) for n in range(20)], "score": rng.standard_normal(20), "label": ["bonafide", "spoof"] * 10}
    pl.DataFrame(rows).write_csv(tmp_path / "scores.csv")
    found = with_conditions(read_labelled("deepfake", tmp_path / "scores.csv"), ["duration"])
    assert "duration" not in found.table.columns
