"""Score tables of ages and emotions, judged beside a key and beside each other, and what must be refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, MetricError
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.manner import SHARES, manner_of, read_manner_scores
from earwitness.evaluation.results.manner import MannerResult, compare_manner, evaluate_manner
from earwitness.paralinguistic.labels import CATEGORIES, LabelsConfig

QUICK = JudgeOptions(n_resamples=60)
MODEL = "tiny 1 (sha256 0123456789ab)"
SPEAKERS, EACH = 15, 4


def age_key(path: Path, **changed: Any) -> Path:
    """Fifteen speakers of one age each, five children, five teenagers, five adults, with four recordings each."""
    ages = [*range(6, 11), *range(13, 18), *range(20, 70, 10)]
    rows = SPEAKERS * EACH
    table = pl.DataFrame(
        {
            "id": [f"r{place:02}" for place in range(rows)],
            "path": [f"{place}.wav" for place in range(rows)],
            "speaker": [f"s{place // EACH:02}" for place in range(rows)],
            "sex": ["f" if place // EACH % 2 else "male" for place in range(rows)],
            "age": [float(ages[place // EACH]) for place in range(rows)],
            "corpus": ["made"] * rows,
        }
    )
    table.with_columns(**changed).write_csv(path)
    return path


def age_scores(path: Path, key: Path, *, off: float = 4.0, seed: int = 0, **changed: Any) -> Path:
    """Estimates that are `off` years off in one direction or the other, with intervals of six years either side."""
    known = pl.read_csv(key, infer_schema_length=None)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], known.height)
    mean = known["age"].fill_null(30.0).to_numpy() + off * signs
    told = {"score": mean, "mean": mean, "sd": np.full(known.height, 5.0), "low": mean - 6, "high": mean + 6}
    table = pl.DataFrame({"id": known["id"], "path": known["path"], **told})
    table.with_columns(model=pl.lit(MODEL), error=pl.lit(None, pl.String)).with_columns(**changed).write_csv(path)
    return path


RAW = {"emodb": ("N", "F", "T", "W"), "crema-d": ("NEU", "HAP", "SAD", "ANG")}
MEANT = ("neutral", "happy", "sad", "angry")


def emotion_key(path: Path, **changed: Any) -> Path:
    """Two corpora of six speakers each with their own words for four categories, ten recordings a speaker."""
    rows = []
    for corpus, words in RAW.items():
        for place in range(60):
            speaker = f"{corpus}:{place // 10}"
            word, sex = words[min(place % 5, 3)], "fm"[place // 10 % 2]
            rows.append((f"{corpus}-{place:02}", f"{corpus}/{place}.wav", speaker, sex, word, corpus))
    columns = ("id", "path", "speaker", "sex", "emotion", "corpus")
    pl.DataFrame(rows, schema=columns, orient="row").with_columns(**changed).write_csv(path)
    return path


def emotion_scores(path: Path, key: Path, *, right: float = 0.7, seed: int = 0, **changed: Any) -> Path:
    """The right category in a share of the rows, by a large probability in half of them; below it nothing is called."""
    known, rng = pl.read_csv(key, infer_schema_length=None), np.random.default_rng(seed)
    words = {word: name for raw in RAW.values() for word, name in zip(raw, MEANT, strict=True)}
    rows = []
    for name, word in zip(known["id"], known["emotion"], strict=True):
        truth = words.get(word, "neutral")
        called = truth if rng.random() < right else str(rng.choice([one for one in MEANT if one != truth]))
        largest = 0.9 if rng.random() < 0.5 else 0.4
        shares = {share: (1 - largest) / 5 for share in SHARES if share != "p_surprise"}  # a class it never learnt
        rows.append({"id": name, **shares, f"p_{called}": largest, "called": called if largest > 0.5 else None})
    table = pl.DataFrame(rows).with_columns(p_surprise=pl.lit(None, pl.Float64), intensity=pl.lit(None, pl.Float64))
    table.with_columns(model=pl.lit(MODEL), error=pl.lit(None, pl.String)).with_columns(**changed).write_csv(path)
    return path


def value(result: MannerResult, metric: str, data: str = "all") -> float:
    (found,) = [row.value for row in result.rows if (row.data, row.metric) == (data, metric)]
    return found


class TestAges:
    def test_figures_are_those_of_the_rows(self, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv")
        scores = age_scores(
            tmp_path / "s.csv", key, mean=pl.when(pl.int_range(pl.len()) < 8).then(90.0).otherwise("mean")
        )
        result = evaluate_manner("age", scores, key, QUICK)
        table = pl.read_csv(scores).join(pl.read_csv(key), on="id")
        truth, mean = table["age"].to_numpy(), table["mean"].to_numpy()
        errors = np.abs(mean - truth)
        assert (result.judged, result.speakers) == (60, 15)
        assert value(result, "MAE, years") == pytest.approx(errors.mean())
        assert value(result, "RMSE, years") == pytest.approx(np.sqrt((errors**2).mean()))
        assert value(result, "Pearson's r") == pytest.approx(np.corrcoef(truth, mean)[0, 1])
        apart = truth.var() + mean.var() + (truth.mean() - mean.mean()) ** 2
        assert value(result, "CCC") == pytest.approx(2 * np.cov(truth, mean, bias=True)[0, 1] / apart)
        assert value(result, "CS(5), %") == pytest.approx(100 * 52 / 60)
        inside = (table["low"].to_numpy() <= truth) & (truth <= table["high"].to_numpy())
        assert value(result, "coverage of the 80 % interval, %") == pytest.approx(100 * inside.mean()) == 100
        assert value(result, "width of the 80 % interval, years") == pytest.approx(12)
        constant = np.abs(truth - 15).mean()
        assert value(result, "MAE of always answering the key's median (15), years") == pytest.approx(constant)
        assert value(result, "MAE less that of the median, years") == pytest.approx(errors.mean() - constant)
        for words, name in (("f", "female"), ("male", "male")):
            own = errors[table["sex"].to_numpy() == words]
            assert value(result, "MAE, years", f"all, {name}") == pytest.approx(own.mean())
        for name, low, high in (
            ("children (under 13)", 0, 13),
            ("teenagers (13 to 17)", 13, 18),
            ("adults (18 and over)", 18, 200),
        ):
            which = (low <= truth) & (truth < high)
            recall = ((low <= mean) & (mean < high))[which].mean()
            assert value(result, "recall, %", f"all, {name}") == pytest.approx(100 * recall)
        means = table.group_by("speaker").agg(pl.col("mean").mean(), pl.col("age").first())
        by_speaker = (means["mean"] - means["age"]).abs().mean()
        assert value(result, "MAE, years", "all, a speaker's recordings together") == pytest.approx(by_speaker)
        assert all(
            row.low <= row.value <= row.high for row in result.rows if row.low is not None and row.high is not None
        )
        assert {row.unit for row in result.rows} == {"speaker"}
        assert result.notes == ()

    def test_rows_that_are_not_judged_are_counted(self, tmp_path: Path) -> None:
        place = pl.int_range(pl.len())
        key = age_key(
            tmp_path / "key.csv",
            age=pl.when(place < 3).then(None).otherwise("age"),
            label=pl.when(place == 4).then(pl.lit("spoof")).otherwise(pl.lit("bonafide")),
        )
        scores = age_scores(tmp_path / "s.csv", key)
        table = pl.read_csv(scores, infer_schema_length=None).with_columns(
            id=pl.when(place == 59).then(pl.lit("stranger")).otherwise("id"),
            error=pl.when(place.is_in([10, 11])).then(pl.lit("holds no sound")).otherwise(None),
            mean=pl.when(place == 10).then(None).otherwise("mean"),
        )
        table.write_parquet(tmp_path / "s.parquet")
        result = evaluate_manner("age", tmp_path / "s.parquet", key, QUICK)
        assert result.judged == 60 - 3 - 1 - 1 - 2
        assert result.notes == (
            "2 scored row(s) have an error and are not judged (the first: 'r10')",
            "1 scored row(s) are not in the key (the first: 'stranger')",
            "1 row(s) of the key have no score (the first: 'r59')",
            "1 row(s) left out: spoofs, whose age is of the voice they imitate",
            "3 row(s) left out: no age",
        )

    def test_without_speakers_recordings_are_resampled_and_that_is_said(self, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv", speaker=pl.lit(None, pl.String))
        scores = age_scores(tmp_path / "s.csv", key)
        result = evaluate_manner("age", scores, key, QUICK)
        assert {row.unit for row in result.rows[:-1]} == {"recording"}
        assert result.notes == ("60 recording(s) have no speaker and are each resampled as a unit of their own",)
        assert exit_code(["evaluate", "age", str(scores), "--key", str(key), "--resamples", "20"]) == 0

    def test_small_groups_and_one_speaker_have_no_made_up_figures(self, tmp_path: Path) -> None:
        key = age_key(
            tmp_path / "key.csv", sex=pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("f")).otherwise(pl.lit("other"))
        )
        result = evaluate_manner("age", age_scores(tmp_path / "s.csv", key), key, QUICK)
        assert not [row for row in result.rows if "male" in row.data]
        assert "female: 4 recordings of 1 speaker(s), fewer than 3, so no figure of its own" in result.notes
        assert "56 recordings have no sex, or another than female and male, and are in neither figure" in result.notes
        pl.read_csv(key).head(4).write_csv(tmp_path / "one.csv")
        alone = evaluate_manner("age", tmp_path / "s.csv", tmp_path / "one.csv", QUICK)
        assert value(alone, "MAE, years") == pytest.approx(4)
        assert all(row.low is None for row in alone.rows)
        assert "one speaker only: there are no intervals" in alone.notes
        with pytest.raises(MetricError, match="only 1 unit of 'speaker'"):
            compare_manner("age", tmp_path / "s.csv", tmp_path / "s.csv", tmp_path / "one.csv", QUICK)

    def test_speakers_of_several_ages_have_no_error_of_their_own(self, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv", age=pl.col("age") + pl.int_range(pl.len()) % 2)
        result = evaluate_manner("age", age_scores(tmp_path / "s.csv", key), key, QUICK)
        assert not [row for row in result.rows if "together" in row.data]
        assert "a speaker has several ages, so there is no error by speaker" in result.notes

    def test_the_command_prints_and_writes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = age_key(tmp_path / "key.csv")
        scores, out = age_scores(tmp_path / "s.csv", key), tmp_path / "r.json"
        words = ["evaluate", "age", str(scores), "--key", str(key), "--resamples", "40", "--seed", "3"]
        assert exit_code([*words, "--json", str(out)]) == 0
        first = out.read_bytes()
        printed = capsys.readouterr().out
        assert "age: 60 recordings judged, 15 units of speaker" in printed
        assert "95 % intervals: 40 resamples over speaker" in printed
        assert [line.split()[2:] for line in printed.splitlines() if line.startswith("  MAE, years  ")] == [
            ["4.00", "[", "4.00,", "4.00]"]
        ]
        told = json.loads(first)
        assert (told["task"], told["judged"], told["record"]["seed"]) == ("age", 60, 3)
        assert told["record"]["weights"] == [MODEL]
        assert set(told["record"]["inputs"]) == {"scores", "key"}
        assert exit_code([*words, "--json", str(out)]) == 0
        assert json.loads(out.read_bytes())["rows"] == told["rows"]


class TestEmotions:
    def test_figures_are_those_of_the_rows(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        result = evaluate_manner("emotion", scores, key, QUICK)
        table = pl.read_csv(scores).join(pl.read_csv(key), on="id")
        meant = {word: name for raw in RAW.values() for word, name in zip(raw, MEANT, strict=True)}
        truth = np.array([meant[word] for word in table["emotion"]])
        shares = table.select(pl.col(SHARES).cast(pl.Float64)).fill_null(0).to_numpy()
        called = np.array(CATEGORIES)[shares.argmax(axis=1)]
        assert result.judged == 120
        assert value(result, "WA (accuracy), %") == pytest.approx(100 * (truth == called).mean())
        assert value(result, "UA (mean recall), %") == pytest.approx(100 * balanced_accuracy_score(truth, called))
        assert value(result, "macro-F1, %") == pytest.approx(100 * f1_score(truth, called, average="macro"))
        assert value(result, "WA (accuracy), %", "all: always the most frequent class") == pytest.approx(40)
        assert value(result, "UA (mean recall), %", "all: any constant call") == pytest.approx(25)
        said = table["called"].is_not_null().to_numpy()
        assert 0.3 < said.mean() < 0.7
        assert value(result, "recordings answered, %") == pytest.approx(100 * said.mean())
        assert value(result, "WA (accuracy), %", "all, answered") == pytest.approx(100 * (truth == called)[said].mean())
        for column, values in (("corpus", RAW), ("sex", ("f", "m"))):
            for one in values:
                part = (table[column] == one).to_numpy()
                wa = value(result, "WA (accuracy), %", f"all, {column} {one}")
                assert wa == pytest.approx(100 * (truth == called)[part].mean())
        bare = {row.data.split(": ")[-1] for row in result.rows if row.low is None}
        assert bare == {"any constant call"}  # a count of classes; all else has an interval over speakers
        assert {row.unit for row in result.rows if row.low is not None} == {"speaker"}

    def test_dropped_labels_and_errors_are_counted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        place = pl.int_range(pl.len())
        word = pl.when(place.is_in([0, 7])).then(pl.lit("boredom")).when(place == 3).then(None).otherwise("emotion")
        pl.read_csv(key).with_columns(emotion=word).write_csv(key)
        heard = pl.read_csv(scores, infer_schema_length=None)
        heard.with_columns(
            *(pl.when(place == 20).then(None).otherwise(name).alias(name) for name in SHARES),
            error=pl.when(place == 20).then(pl.lit("no sound")).otherwise(None),
        ).write_csv(scores)
        out = tmp_path / "r.json"
        words = ["evaluate", "emotion", str(scores), "--key", str(key), "--resamples", "20", "--json", str(out)]
        assert exit_code(words) == 0
        printed = capsys.readouterr().out
        assert "all: 116 recordings, 12 speakers" in printed
        assert "note: 1 scored row(s) have an error and are not judged (the first: 'emodb-20')" in printed
        assert "note: 2 row(s) of emodb dropped: 'boredom'" in printed
        assert "note: 1 row(s) of emodb dropped: 'no label'" in printed
        assert "always the most frequent class" in printed
        told = json.loads(out.read_text())
        assert np.sum(told["confusion"]["counts"]) == 116
        assert exit_code(["evaluate", "emotion", str(scores), "--key", str(key), "--negate"]) == 2

    def test_a_model_that_never_answers(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key, called=pl.lit(None, pl.String))
        result = evaluate_manner("emotion", scores, key, QUICK)
        assert value(result, "recordings answered, %") == 0
        assert not [row for row in result.rows if row.data == "all, answered"]
        json.loads(json.dumps([row.value for row in result.rows], allow_nan=False))

    def test_strengths_of_one_sentence_are_ordered(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        place = pl.int_range(pl.len())
        strong = place % 2 == 0
        pl.read_csv(key).with_columns(
            intensity=pl.when(strong).then(0.9).otherwise(0.2), transcript=pl.lit("a sentence")
        ).write_csv(key)
        scores = emotion_scores(tmp_path / "s.csv", key, intensity=pl.when(strong).then(0.8).otherwise(0.3))
        found = evaluate_manner("emotion", scores, key, QUICK).emotions
        assert found is not None
        assert found.order is not None
        assert found.order.right == 1
        assert found.order.difference == pytest.approx(0.5)

    def test_the_scheme_of_a_model_reads_its_corpora(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        pl.read_csv(key).with_columns(corpus=pl.lit("mine"), emotion=pl.lit("glad")).with_columns(
            emotion=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("calm")).otherwise("emotion")
        ).write_csv(key)
        with pytest.raises(DataError, match="no label map for the corpus 'mine'"):
            evaluate_manner("emotion", scores, key, QUICK)
        labels = LabelsConfig.model_validate({"corpora": {"mine": {"emotions": {"glad": "happy", "calm": "neutral"}}}})
        result = evaluate_manner("emotion", scores, key, QUICK, labels)
        assert result.emotions is not None
        assert result.emotions.whole.matrix.truths[CATEGORIES.index("happy")] == 90

    def test_a_run_is_still_a_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file is a score table, a folder a run."""
        from earwitness.evaluation.emotions import write_answers

        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        read = read_manner_scores("emotion", scores, key)
        write_answers(read.table, tmp_path / "run" / "results" / "test.csv")
        assert exit_code(["evaluate", "emotion", str(tmp_path / "run"), "--resamples", "20"]) == 0
        of_run = capsys.readouterr().out.splitlines()
        assert exit_code(["evaluate", "emotion", str(scores), "--key", str(key), "--resamples", "20"]) == 0
        of_table = capsys.readouterr().out.splitlines()
        assert [line for line in of_table if not line.startswith("note: ")] == of_run
        assert exit_code(["evaluate", "emotion", str(tmp_path / "run"), "--key", str(key)]) == 2
        assert "--key: belongs to score tables" in capsys.readouterr().err


class TestComparing:
    def test_ages_on_the_shared_recordings(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = age_key(tmp_path / "key.csv")
        one = age_scores(tmp_path / "a.csv", key, off=3)
        two = age_scores(tmp_path / "b.csv", key, off=5, seed=1)
        pl.read_csv(one, infer_schema_length=None).tail(57).write_csv(one)
        pl.read_csv(two, infer_schema_length=None).head(58).write_csv(two)
        found = compare_manner("age", one, two, key, QUICK)
        assert (found.shared, found.first_only, found.second_only) == (55, 2, 3)
        assert found.paired.first.value == pytest.approx(3)
        assert found.paired.difference.value == pytest.approx(-2)
        assert found.answer.startswith("A is better")
        assert compare_manner("age", two, one, key, QUICK).answer.startswith("B is better")
        assert "neither" in compare_manner("age", one, one, key, QUICK).answer
        out = tmp_path / "c.json"
        words = ["compare", str(one), str(two), "--key", str(key), "--resamples", "40", "--json", str(out)]
        assert exit_code(words) == 0
        printed = capsys.readouterr().out
        assert "55 recordings judged by both; 2 by A alone and 3 by B alone are not compared" in printed
        assert "40 resamples over speaker, 15 units" in printed
        assert "note: A: 3 row(s) of the key have no score (the first: 'r00')" in printed
        assert [row["value"] for row in json.loads(out.read_text())["rows"]] == pytest.approx([3, 5, -2])

    def test_pairing_knows_the_difference_better_than_either_figure(self, tmp_path: Path) -> None:
        """Both tables are off by the same amount, large for some speakers; one is a year further off everywhere."""
        key = age_key(tmp_path / "key.csv")
        one = age_scores(
            tmp_path / "a.csv", key, mean=pl.col("mean") + pl.Series(np.repeat(np.arange(15) * 3.0, 4)) + 4
        )
        two = tmp_path / "b.csv"
        pl.read_csv(one, infer_schema_length=None).with_columns(pl.col("mean") + 1).write_csv(two)
        found = compare_manner("age", one, two, key, QUICK).paired
        assert found.difference.high - found.difference.low < 0.01 < found.first.high - found.first.low
        assert found.difference.value == pytest.approx(-1)

    def test_emotions_by_the_ua(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = emotion_key(tmp_path / "key.csv")
        good = emotion_scores(tmp_path / "a.csv", key, right=0.95)
        bad = emotion_scores(tmp_path / "b.csv", key, right=0.4, seed=1)
        found = compare_manner("emotion", good, bad, key, QUICK)
        ua = "UA (mean recall), %"
        for table, interval in ((good, found.paired.first), (bad, found.paired.second)):
            alone = evaluate_manner("emotion", table, key, QUICK)
            assert interval.value == pytest.approx(value(alone, ua) / 100)
        assert found.answer.startswith("A is better")
        assert exit_code(["compare", str(bad), str(good), "--key", str(key), "--resamples", "40"]) == 0
        assert "B is better" in capsys.readouterr().out

    def test_tables_without_a_shared_recording_are_refused(self, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv")
        one, two = age_scores(tmp_path / "a.csv", key), age_scores(tmp_path / "b.csv", key)
        pl.read_csv(one, infer_schema_length=None).head(30).write_csv(one)
        pl.read_csv(two, infer_schema_length=None).tail(30).write_csv(two)
        with pytest.raises(DataError, match=r"b\.csv: shares no judged recording with .*a\.csv"):
            compare_manner("age", one, two, key, QUICK)


class TestRefuses:
    def test_tables_of_another_task(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ages, emotions = age_key(tmp_path / "ages.csv"), emotion_key(tmp_path / "emotions.csv")
        old, moved = age_scores(tmp_path / "a.csv", ages), emotion_scores(tmp_path / "e.csv", emotions)
        assert (manner_of(old), manner_of(moved), manner_of(ages), manner_of(tmp_path)) == (
            "age",
            "emotion",
            None,
            None,
        )
        with pytest.raises(DataError, match=r"no column `mean`.* It is a table of the task emotion: judge it as that"):
            evaluate_manner("age", moved, emotions, QUICK)
        with pytest.raises(DataError, match=r"no column `called`.* It is a table of the task age"):
            evaluate_manner("emotion", old, ages, QUICK)
        with pytest.raises(DataError, match=r"no column `mean`.* Give what `earwitness score --task age` wrote"):
            evaluate_manner("age", ages, ages, QUICK)
        with pytest.raises(DataError, match="no column `called`"):
            compare_manner("emotion", moved, old, emotions, QUICK)
        assert exit_code(["evaluate", "age", str(old)]) == 2
        assert "--key: is needed to know the true ages" in capsys.readouterr().err
        assert exit_code(["evaluate", "age", str(tmp_path), "--key", str(ages)]) == 2
        assert "is a folder" in capsys.readouterr().err
        assert exit_code(["evaluate", "age", str(old), "--key", str(ages), "--model", "mine"]) == 2
        assert "--model: says nothing about age" in capsys.readouterr().err
        assert exit_code(["evaluate", "emotion", str(tmp_path / "no.csv"), "--key", str(ages)]) == 2
        assert "there is no such file" in capsys.readouterr().err

    def test_keys_of_other_recordings(self, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv")
        scores = age_scores(tmp_path / "s.csv", key)
        pl.read_csv(key).with_columns(pl.col("id") + ".wav").write_csv(key)
        with pytest.raises(DataError, match=r"none of the 60 ids is in the key .*'\.wav' at the end"):
            evaluate_manner("age", scores, key, QUICK)
        age_key(tmp_path / "key.csv", age=pl.lit(None, pl.Float64))
        with pytest.raises(DataError, match=r"key\.csv: no row has an age"):
            evaluate_manner("age", scores, key, QUICK)
        age_key(tmp_path / "key.csv", age=pl.col("age") * 10)
        with pytest.raises(DataError, match=r"key\.csv: row 'r20' says an age of 130 years"):
            evaluate_manner("age", scores, key, QUICK)

    def test_labels_that_nobody_knows(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        place = pl.int_range(pl.len())
        known = pl.read_csv(key)
        known.with_columns(emotion=pl.when(place == 5).then(pl.lit("hungry")).otherwise("emotion")).write_csv(key)
        with pytest.raises(DataError, match=r"key\.csv, row '.*', column `emotion`: the label 'hungry' is not in"):
            evaluate_manner("emotion", scores, key, QUICK)
        known.with_columns(emotion=pl.lit("boredom")).filter(pl.col("corpus") == "emodb").write_csv(key)
        with pytest.raises(DataError, match=r"no scored row has a category \(60 of 'boredom'\)"):
            evaluate_manner("emotion", scores, key, QUICK)
        known.filter(pl.col("corpus") == "emodb").with_columns(emotion=pl.lit("anger")).write_csv(key)
        with pytest.raises(DataError, match=r"key\.csv: the scored rows have one category only \(angry\)"):
            evaluate_manner("emotion", scores, key, QUICK)
        known.drop("corpus").write_csv(key)
        with pytest.raises(DataError, match=r"key\.csv: rows have no `corpus`"):
            evaluate_manner("emotion", scores, key, QUICK)

    def test_corpora_that_disagree(self, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        scores = emotion_scores(tmp_path / "s.csv", key)
        corpus = pl.when(pl.col("corpus") == "emodb").then("corpus").otherwise(pl.lit("mine"))
        pl.read_csv(key).with_columns(emotion=pl.lit("happiness"), corpus=corpus).write_csv(key)
        labels = LabelsConfig.model_validate({"corpora": {"mine": {"emotions": {"happiness": "surprise"}}}})
        with pytest.raises(DataError, match="the label 'happiness' means happy in 'emodb' and surprise in 'mine'"):
            evaluate_manner("emotion", scores, key, QUICK, labels)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"id": pl.lit("r01")}, "row 2, id 'r01': stands there twice"),
            ({"mean": pl.lit(None, pl.Float64)}, "has neither a `mean` nor an error"),
            ({"mean": pl.lit("old")}, "has a `mean` that is no finite number"),
            ({"low": pl.col("high") + 1}, "whose `low` is above its `high`"),
            ({"error": pl.lit("no sound")}, "all 60 rows have an error"),
            ({"model": pl.col("id")}, "of several models"),
        ],
    )
    def test_damaged_age_tables(self, changed: dict[str, Any], words: str, tmp_path: Path) -> None:
        key = age_key(tmp_path / "key.csv")
        with pytest.raises(DataError, match=words):
            evaluate_manner("age", age_scores(tmp_path / "s.csv", key, **changed), key, QUICK)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            (dict.fromkeys(SHARES, pl.lit(None, pl.Float64)), "has neither probabilities nor an error"),
            ({"p_fear": pl.lit(0.9)}, "together they must be 1"),
            ({"called": pl.lit("bored")}, "is called 'bored'"),
            ({"called": pl.lit("fear")}, "is called otherwise than its likeliest class"),
        ],
    )
    def test_damaged_emotion_tables(self, changed: dict[str, Any], words: str, tmp_path: Path) -> None:
        key = emotion_key(tmp_path / "key.csv")
        with pytest.raises(DataError, match=words):
            evaluate_manner("emotion", emotion_scores(tmp_path / "s.csv", key, **changed), key, QUICK)


def test_intervals_are_over_speakers(tmp_path: Path) -> None:
    """Speakers with errors of their own: by recording the interval would be far too narrow."""
    own = pl.Series(np.repeat(np.random.default_rng(1).normal(0, 8, SPEAKERS), EACH))
    key = age_key(tmp_path / "key.csv")
    scores = age_scores(tmp_path / "s.csv", key, off=0.5, mean=pl.col("mean") + own)
    bare = age_key(tmp_path / "bare.csv", speaker=pl.lit(None, pl.String))
    options = replace(QUICK, n_resamples=300)
    wide, narrow = (evaluate_manner("age", scores, one, options).rows[0] for one in (key, bare))
    assert None not in (wide.low, wide.high, narrow.low, narrow.high)
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)  # type: ignore[operator]
