"""Trials scored by verdict and by evidence on the command line, and the table of sounds."""

from __future__ import annotations

import json
import re
import shutil
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing.runs import assess_run
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.scoring.traits import read_similarities
from earwitness.speaker.phonetic_traits.verifier import traits_info
from earwitness.training.model_folder import CARD, read_model_info


@pytest.fixture(scope="module")
def trials(toy_voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pairs of the dev rows of four voices."""
    rows = Manifest.read(toy_voices).filter(pl.col("split") == "dev")
    known = [(row.id, row.speaker) for row in rows.rows()][:16]
    lines = [f"{int(a[1] == b[1])} {a[0]} {b[0]}" for a, b in combinations(known, 2)]
    path = tmp_path_factory.mktemp("trials") / "trials.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def scored(trait_run: Path, toy_voices: Path, trials: Path) -> Path:
    """What `earwitness score` made of them."""
    output = trials.with_name("scores.csv")
    assert exit_code(command(trait_run, toy_voices, trials, output)) == 0
    return output


def command(run: Path, manifest: Path, trials: Path, output: Path, *more: str) -> list[str]:
    given = ["score", str(manifest), "--task", "speaker", "--model", str(run / "model"), "--trials", str(trials)]
    return [*given, "--allow-leak", "-o", str(output), *more]


def test_every_trial_has_a_score_and_an_evidence_score(scored: Path) -> None:
    table = pl.read_csv(scored)
    assert table.height == 16 * 15 // 2
    assert table["error"].null_count() == table.height
    for score, evd, full, shared, told in table.select(
        "score", "evd", "evd_full", "shared_phones", "similarities"
    ).rows():
        values = list(json.loads(told).values())
        assert len(values) == shared
        assert evd == pytest.approx(sum(values) / shared, abs=1e-4)
        assert 0 <= full <= 1
        assert -1 <= score <= 1
    assert table["phones"].unique().to_list() == [
        "phones read from files (beside the recordings; language: none: synthetic vowels)"
    ]
    evidence = read_labelled("speaker", scored.with_name("scores.evd.csv")).table
    assert evidence["score"].to_list() == pytest.approx(table["evd"].to_list())
    assert evidence["llr"].null_count() == evidence.height


def test_the_explanation_is_judged_like_the_verdict(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for path in (scored, scored.with_name("scores.evd.csv")):
        assert exit_code(["evaluate", "speaker", str(path), "--resamples", "20"]) == 0
        printed = re.search(r"^  EER +([\d.]+) ?%", capsys.readouterr().out, re.MULTILINE)
        assert printed
        found.append(float(printed[1]))
    assert all(0 <= eer < 40 for eer in found)
    assert exit_code(["compare", str(scored), str(scored.with_name("scores.evd.csv")), "--resamples", "20"]) != 130


def test_a_run_goes_on_and_says_how_score_and_evidence_agree(
    trait_run: Path, toy_voices: Path, trials: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.csv"
    assert exit_code(command(trait_run, toy_voices, trials, again)) == 0
    told = capsys.readouterr().err
    assert re.search(r"EER \(interpolated\) of the score [\d.]+%, of the evidence score [\d.]+%", told)
    assert "Spearman's correlation" in told
    assert "120 trial(s) share fewer than 8 sounds" in told
    assert exit_code(command(trait_run, toy_voices, trials, again, "--resume")) == 0
    assert "0 done, 120 already there" in capsys.readouterr().err
    assert again.read_bytes() == scored.read_bytes()


def test_a_recording_without_a_track_is_a_row_with_its_error(
    trait_run: Path, toy_voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("v0-3", "v0-4", "v1-3"):
        shutil.copy(toy_voices.parent / f"{name}.wav", tmp_path)
        if name != "v0-4":
            shutil.copy(toy_voices.parent / f"{name}.pre.pho", tmp_path)
    (tmp_path / "trials.txt").write_text("1 v0-3.wav v0-4.wav\n0 v0-3.wav v1-3.wav\n")
    output = tmp_path / "out" / "scores.jsonl"
    assert exit_code(command(trait_run, tmp_path, tmp_path / "trials.txt", output)) == 1
    table = pl.read_ndjson(output)
    assert table["score"].is_null().to_list() == [True, False]
    assert "test: has no phone track" in table["error"][0]
    assert pl.read_ndjson(output.with_name("scores.evd.jsonl"))["error"].is_null().to_list() == [False, True]
    assert "v0-4.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--phones", "hamma"], "no source of phones is called 'hamma'"),
        (["--cohort", "."], "scores --trials, without --cohort"),
        (["--phones", "files:nowhere"], "no such folder of phone tracks"),
    ],
)
def test_wrong_use_is_told(
    more: list[str],
    told: str,
    trait_run: Path,
    toy_voices: Path,
    trials: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [str(toy_voices) if word == "." else word for word in more]
    code = exit_code(command(trait_run, toy_voices, trials, tmp_path / "out.csv", *more))
    assert code in (1, 2)
    assert told in capsys.readouterr().err


def test_phones_are_of_models_that_know_them(
    toy_voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["score", str(toy_voices), "--task", "deepfake", "--phones", "hama", "-o", str(tmp_path / "x.csv")]
    assert exit_code(given) == 2
    assert "--phones belongs to --task speaker" in capsys.readouterr().err
    given = ["score", str(toy_voices), "--task", "speaker", "--model", "speaker-small", "--phones", "hama"]
    assert exit_code([*given, "--reference", str(toy_voices), "-o", str(tmp_path / "x.csv")]) == 2
    assert "belongs to models of speaker-traits" in capsys.readouterr().err


@pytest.mark.shows("expo:6.8")
def test_the_table_of_sounds_is_printed_written_and_drawn(
    trait_run: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    model = str(trait_run / "model")
    assert exit_code(["model", "traits", model]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"phone +ratio.*\n  IY +1\.\d+", printed)
    assert "48 + 448" in printed
    assert "evidence with phone labels in random order: EER" in printed
    assert "without trials of both kinds: AE" not in printed
    given = [
        "model",
        "traits",
        model,
        "--scores",
        str(scored),
        "-o",
        str(tmp_path / "t.csv"),
        "--plot",
        str(tmp_path / "t.svg"),
    ]
    assert exit_code(given) == 0
    assert "(IY)" in capsys.readouterr().out  # 24 trials of one speaker are too few
    written = pl.read_csv(tmp_path / "t.csv")
    assert written.filter(pl.col("phone") == "IY").select("target_trials", "nontarget_trials", "greyed").row(0) == (
        24,
        96,
        True,
    )
    assert "IY" in (tmp_path / "t.svg").read_text(encoding="utf-8")


def test_other_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("enrol,test,score\na,b,1\n")
    with pytest.raises(DataError, match="has no column `label`"):
        read_similarities(tmp_path / "a.csv", ("AA",))
    for text, what in (("nonsense", "not JSON"), ('"{""ZZ"": 1}"', "names the sound 'ZZ'")):
        (tmp_path / "a.csv").write_text(f"enrol,test,label,similarities\na,b,target,{text}\n")
        with pytest.raises(DataError, match=what):
            read_similarities(tmp_path / "a.csv", ("AA",))


def test_the_card_judges_verdict_evidence_and_control(trait_run: Path) -> None:
    run = trait_run.with_name("judged-run")  # beside it, so that its tables find their recordings
    shutil.copytree(trait_run, run)
    before = traits_info(read_model_info(run / "model"))
    described = assess_run(run, JudgeOptions(n_resamples=20))
    card = (run / "model" / CARD).read_text(encoding="utf-8")
    for words in ("the verdict", "the evidence score", "phone labels in random order (control)", "F-ratio on dev: IY"):
        assert words in card
    assert traits_info(described) == before
    assert "leak(s) between the sides" in card
    assert (run / "results" / "dev.f-ratio.csv").is_file()
    results = {path.name for path in (run / "results").iterdir()}
    assert {"dev.score.json", "dev.evidence.json", "dev.random.json"} <= results
