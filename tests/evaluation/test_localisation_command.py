"""Segment scores against where the spoofed parts are: figures worked out by hand, keys of each form, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, MetricError, UsageError
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.results.files import read_result, write_result_file
from earwitness.evaluation.results.localising import Localisation, localise
from earwitness.evaluation.results.reproducing import reproduce
from earwitness.evaluation.results.requests import LocaliseRequest
from earwitness.metrics import Region, Track, range_eer, reference_labels, segment_eer

COPIES = 6
REAL, FAKE = [f"LA_E_{i:07}" for i in range(COPIES)], [f"CON_E_{i:07}" for i in range(COPIES)]
SCORES = {"LA": [4, 3, 2, 5], "CON": [6, 1, 1.5, -2]}  # of 20 ms; spoof from 50 ms on


def rows(step: float = 0.02) -> pl.DataFrame:
    """Copies of one bona fide utterance and of one whose last 30 ms are spoof."""
    return pl.DataFrame(
        [
            {"id": name, "start": place * step, "end": (place + 1) * step, "score": float(score)}
            for name in (*REAL, *FAKE)
            for place, score in enumerate(SCORES[name.split("_")[0]])
        ]
    )


def rttm(names: tuple[str, ...] = (*REAL, *FAKE)) -> str:
    regions = {"LA": [(0, 0.08, "bonafide")], "CON": [(0, 0.05, "bonafide"), (0.05, 0.03, "spoof")]}
    lines = [
        f"SPEAKER {name} 1 {start} {seconds} <NA> <NA> {label} <NA> <NA>"
        for name in names
        for start, seconds, label in regions[name.split("_")[0]]
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rows().write_csv(tmp_path / "s.csv")
    (tmp_path / "key.rttm").write_text(rttm())
    return tmp_path / "s.csv", tmp_path / "key.rttm"


def ask(scores: Path, key: Path, *, negate: bool = False, **changed: object) -> Localisation:
    options = JudgeOptions(**{"n_resamples": 20, **changed})  # type: ignore[arg-type]
    return localise(LocaliseRequest(scores=scores, key=key, negate=negate, options=options))


def values(found: Localisation) -> dict[str, float]:
    return {measure.name: measure.interval.value for measure in found.measures}


class TestFigures:
    def test_by_hand(self, files: tuple[Path, Path]) -> None:
        found = ask(*files)
        assert values(found) == {
            "utterance EER": 0,  # 2 against -2
            "segment EER 20 ms": pytest.approx(1 / 6),  # bona fide 1 2 3 4 5 6, spoof 1.5 and -2
            "segment EER 40 ms": 0,  # bona fide 1 2 3, spoof -2
            "segment EER 80 ms": 0,
            "segment EER 160 ms": 0,
            "segment EER 320 ms": 0,
            "segment EER 640 ms": 0,
            "range EER": pytest.approx(3 / 16),  # misses 2/13 to 3/13 of the time, false alarms 1/3 to 0
        }
        assert (found.step_ms, found.bonafide, found.spoof, found.undone) == (20, COPIES, COPIES, ())
        assert "36 bona fide and 12 spoof segments" in found.record.definitions["segment EER 20 ms"]
        assert "0.78 s bona fide, 0.18 s spoof" in found.record.definitions["range EER"]
        assert all(measure.interval.unit == "utterance" for measure in found.measures)

    def test_like_the_metrics(self, tmp_path: Path) -> None:
        """Utterances of several lengths, with edges that lie on no segment's."""
        rng = np.random.default_rng(0)
        scores, regions, table, lines = [], [], [], []
        for number in range(30):
            end, cut = round(rng.uniform(0.5, 1.5), 3), round(rng.uniform(0.1, 0.4), 3)
            regions.append((Region(0, cut, number % 3 > 0), Region(cut, end, number % 2 > 0)))
            values_of = rng.standard_normal(int(np.ceil(end / 0.02))) + (number % 2)
            scores.append(values_of)
            for place, score in enumerate(values_of):
                stop = min((place + 1) * 0.02, end)
                table.append({"id": str(number), "start": place * 0.02, "end": stop, "score": score})
            for region in regions[-1]:
                word = "bonafide" if region.bonafide else "spoof"
                seconds = region.end - region.start
                lines.append(f"SPEAKER {number} 1 {region.start} {seconds} <NA> <NA> {word} <NA> <NA>")
        pl.DataFrame(table).sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "s.parquet")
        (tmp_path / "k.rttm").write_text("\n".join(lines))
        found = ask(tmp_path / "s.parquet", tmp_path / "k.rttm")
        track = Track.of_scores(20, scores)
        labels = Track.of_labels(10, [reference_labels(each, each[-1].end, 10) for each in regions])
        assert values(found)["range EER"] == pytest.approx(range_eer(track, regions).value)
        for step in (20, 40, 160):
            assert values(found)[f"segment EER {step} ms"] == pytest.approx(segment_eer(track, labels, step).value)
        assert all(one.interval.low < one.interval.high for one in found.measures)

    def test_what_the_step_does_not_allow_is_said(self, files: tuple[Path, Path]) -> None:
        rows(0.03).write_csv(files[0])
        files[1].write_text(rttm().replace("0.08", "0.12").replace("0.03", "0.07"))
        found = ask(*files)
        assert [name for name in values(found) if name.startswith("segment")] == ["segment EER 30 ms"]
        assert found.undone[:2] == (
            "no segment EER 20 ms: finer than the scores, which stand every 30 ms",
            "no segment EER 40 ms: no multiple of the scores' step of 30 ms",
        )

    def test_one_class_of_utterances(self, files: tuple[Path, Path]) -> None:
        rows().filter(pl.col("id").is_in(FAKE)).write_csv(files[0])
        files[1].write_text(rttm(tuple(FAKE)))
        found = ask(*files)
        assert "utterance EER" not in values(found)
        assert "no utterance EER: all utterances are of one class" in found.undone
        assert any(words.startswith("no segment EER 80 ms") for words in found.undone)  # no bona fide segment so long
        rows().filter(pl.col("id").is_in(REAL)).write_csv(files[0])
        files[1].write_text(rttm(tuple(REAL)))
        with pytest.raises(MetricError, match="no time is spoof"):
            ask(*files)

    def test_polarity(self, files: tuple[Path, Path]) -> None:
        rows().with_columns(-pl.col("score")).write_csv(files[0])
        assert any("grow towards spoof" in note for note in ask(*files).notes)
        assert values(ask(*files, negate=True))["range EER"] == pytest.approx(3 / 16)


class TestKeys:
    def test_labels(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        labels = {name: [1] * 8 for name in REAL} | {name: [1] * 5 + [0] * 3 for name in FAKE}
        np.savez(tmp_path / "plain.npz", **labels)
        found = ask(files[0], tmp_path / "plain.npz")
        assert values(found) == values(ask(*files))
        assert "one every 10 ms" in found.notes[0]
        coarse = {name: [1, 1] for name in REAL} | {name: [1, 0] for name in FAKE}
        np.savez(tmp_path / "eval_seglab_0.04.npz", **coarse)
        found = ask(files[0], tmp_path / "eval_seglab_0.04.npz")
        assert "no segment EER 20 ms: the labels are those of 40 ms" in found.undone
        assert values(found)["segment EER 40 ms"] == 0

    def test_folder_with_speakers(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        lists = tmp_path / "database" / "protocols" / "PartialSpoof_LA_cm_protocols"
        lists.mkdir(parents=True)
        lines = [f"LA_{i % 3:04} {name} - - bonafide" for i, name in enumerate(REAL)]
        lines += [f"LA_{i % 3:04} {name} - CON spoof" for i, name in enumerate(FAKE)]
        (lists / "PartialSpoof.LA.cm.eval.trl.txt").write_text("\n".join(lines))
        database = tmp_path / "database"
        (database / "eval_rttm").write_text(rttm())
        (database / "dev_rttm").write_text(rttm(("LA_D_0000001",)))
        found = ask(files[0], database)
        assert (found.measures[0].interval.unit, found.measures[0].interval.n_units) == ("speaker", 3)
        assert values(found) == values(ask(*files))
        assert found.record.inputs.keys() == {"scores", "key eval_rttm"}
        assert "dev_rttm: no utterance of it is scored, so it is passed over" in found.notes
        assert ask(files[0], database, unit="utterance").measures[0].interval.unit == "utterance"
        (database / "again_rttm").write_text(rttm())
        with pytest.raises(DataError, match="stands in several files"):
            ask(files[0], database)

    def test_finest_labels_of_a_folder(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        folder = tmp_path / "labels"
        folder.mkdir()
        with pytest.raises(DataError, match="holds no regions"):
            ask(files[0], folder)
        np.savez(folder / "eval_seglab_0.04.npz", **{name: [1, 0] for name in (*REAL, *FAKE)})
        labels = {name: [1] * 8 for name in REAL} | {name: [1] * 5 + [0] * 3 for name in FAKE}
        np.savez(folder / "eval_seglab_0.01.npz", **labels)
        assert values(ask(files[0], folder)) == values(ask(*files))

    def test_pickles_are_never_loaded(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        np.savez(tmp_path / "p.npz", x=np.array({"a": 1}, dtype=object))
        with pytest.raises(DataError, match="pickled"):
            ask(files[0], tmp_path / "p.npz")


def at(row: int, **changed: float | str | None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The table with some values of one row changed."""

    def change(table: pl.DataFrame) -> pl.DataFrame:
        here = pl.int_range(pl.len()) == row
        return table.with_columns(pl.when(here).then(pl.lit(v)).otherwise(k).alias(k) for k, v in changed.items())

    return change


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (at(2, score=float("nan")), "row 3, id 'LA_E_0000000': has a `score` that is no finite number"),
            (at(2, score=None), "row 3.*no start, end or score, and no error"),
            (at(2, id=""), "row 3.*has no id"),
            (at(2, id="CON_E_0000001"), "row 4, id 'LA_E_0000000': does not begin where the segment before ends"),
            (at(2, start=0.05), "row 3.*does not begin"),
            (at(1, end=0.05), "row 2.*does not last 20 ms"),
            (at(3, end=0.09), "row 4.*does not last 20 ms"),
            (lambda t: pl.concat([t, t[5:6]]), "does not begin"),
            (lambda t: t[:3].vstack(t[4:]), None),  # the last 20 ms are not scored, which is within one segment
            (lambda t: t[:2].vstack(t[4:]), "'LA_E_0000000': scored until 0.04 s, and the key ends at 0.08 s"),
            (lambda t: t.drop("end"), "has no column `end`"),
            (lambda t: t[4:], "'LA_E_0000000': has no row in"),
            (lambda t: t.with_columns(id=pl.col("id").replace(REAL[0], "who")), "row 1, id 'who': is not in the key"),
            (lambda t: t.with_columns(id=pl.col("id") + ".wav"), "none of the 12 ids is in the key.*wav"),
            (lambda t: t.with_columns(end="start"), "most segments last 0 ms"),
            (lambda t: t.clear(), "holds no scored segments"),
        ],
    )
    def test_scores(self, files: tuple[Path, Path], change, said: str | None) -> None:
        change(rows()).write_csv(files[0])
        if said is None:
            assert values(ask(*files))
            return
        with pytest.raises(DataError, match=said):
            ask(*files)

    def test_time_that_the_key_does_not_cover(self, files: tuple[Path, Path]) -> None:
        files[1].write_text(rttm().replace("1 0.05 0.03", "1 0.06 0.02", 1))
        with pytest.raises(DataError, match=r"'CON_E_0000000': 0\.05 s to 0\.06 s is covered by no region"):
            ask(*files)
        files[1].write_text(rttm().replace("1 0.05 0.03", "1 0.03 0.05", 1))
        with pytest.raises(DataError, match="covered twice"):
            ask(*files)

    def test_an_utterance_with_an_error(self, files: tuple[Path, Path]) -> None:
        broken = pl.DataFrame({"id": ["LA_E_0000000"], "error": ["cannot be read"]})
        good = rows().filter(pl.col("id") != "LA_E_0000000")
        pl.concat([good, broken], how="diagonal").write_csv(files[0])
        found = ask(*files)
        assert (found.failed, found.bonafide) == (1, COPIES - 1)
        assert any("could not be scored (first 'LA_E_0000000')" in note for note in found.notes)

    def test_options(self, files: tuple[Path, Path], capsys) -> None:
        for changed, said in (({"unit": "speaker"}, "name several speakers"), ({"unit": "system"}, "no systems")):
            with pytest.raises(UsageError, match=said):
                ask(*files, **changed)
        with pytest.raises(UsageError, match="--by"):
            ask(*files, by=("codec",))
        told = ["evaluate", "localisation", str(files[0])]
        assert exit_code(told) == 2
        assert "--key" in capsys.readouterr().err
        assert exit_code([*told, "--key", str(files[1]), "--protocol", "partialspoof"]) == 2
        assert "--protocol: says nothing about localisation" in capsys.readouterr().err
        assert exit_code(["evaluate", "localization", str(files[0])]) == 2
        assert "localisation" in capsys.readouterr().err


def test_command_and_reproduce(files: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "r.json"
    told = ["evaluate", "localisation", str(files[0]), "--key", str(files[1]), "--resamples", "20", "--json", str(out)]
    assert exit_code(told) == 0
    printed = capsys.readouterr().out
    for words in ("6 bona fide, 6 spoofed", "scores of 20 ms", "segment EER 20 ms      16.67%", "range EER"):
        assert words in printed
    assert json.loads(out.read_text())["kind"] == "localise"
    assert isinstance(read_result(out), Localisation)
    assert reproduce(out).same
    rows().with_columns(-pl.col("score")).write_csv(files[0])
    assert not reproduce(out).same
    folder = tmp_path / "results"
    folder.mkdir()
    write_result_file(folder / "r.json", ask(*files))
    assert reproduce(folder / "r.json").same
