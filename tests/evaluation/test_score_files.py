"""Score files of others read and written: every form, round trips, refusals that name the line, the published files."""

from __future__ import annotations

import gzip
import hashlib
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, UsageError
from earwitness.evaluation.judging.labelled import read_labelled, score_table
from earwitness.evaluation.judging.score_files import read_asv_scores, read_score_file, write_submission
from earwitness.metrics import eer
from tiny_models import make_detector, make_embedder

DETECTION = pl.DataFrame({"id": ["LA_E_1", "LA_E_2", "LA_E_3"], "score": [-1.25, 3e-07, 0.1 + 0.2]})
TRIALS = pl.DataFrame({"enrol": ["a/1.wav", "b"], "test": ["b", "c"], "score": [0.71, -0.2], "label": ["target"] * 2})


@pytest.fixture
def write(tmp_path: Path):
    def writing(content: str, name: str = "scores.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        return path

    return writing


class TestForms:
    def test_asvspoof2019_states_attack_and_key(self, write) -> None:
        path = write("LA_E_1 A10 spoof -1.25\nLA_E_2 - bonafide 3e-7\n\nLA_E_3 A00 bonafide 0.3\r\n")
        found = read_score_file("deepfake", path)
        assert found.to_dict(as_series=False) == {
            "id": ["LA_E_1", "LA_E_2", "LA_E_3"],
            "system": ["A10", None, None],
            "label": ["spoof", "bonafide", "bonafide"],
            "score": [-1.25, 3e-7, 0.3],
        }

    @pytest.mark.parametrize(
        ("content", "name"),
        [
            ("LA_E_1 -1.25\nLA_E_2   3e-7\nLA_E_3 0.30000000000000004", "scores.txt"),
            ("\ufeffLA_E_1\t-1.25\r\nLA_E_2\t3e-7\r\nLA_E_3\t0.30000000000000004\r\n", "scores"),
            ("filename\tcm-score\nLA_E_1\t-1.25\nLA_E_2\t3e-7\nLA_E_3\t0.30000000000000004\n", "scores.tsv.gz"),
            ("filename,score\nLA_E_1,-1.25\nLA_E_2,3e-7\nLA_E_3,0.30000000000000004\n", "scores.csv"),
            ("filename,score\nLA_E_1,-1.25\nLA_E_2,3e-7\nLA_E_3,0.30000000000000004\n", "scores.csv.gz"),
            ("file_name score\nLA_E_1 -1.25\nLA_E_2 3e-7\nLA_E_3 0.30000000000000004\n", "scores.txt"),
        ],
    )
    def test_id_and_score(self, write, content: str, name: str) -> None:
        assert read_score_file("deepfake", write(content, name)).equals(DETECTION)

    def test_asvspoof5_track_2(self, write) -> None:
        path = write(
            "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"
            "E_1\tE_01\t2.5\t0.6\t-\nE_2\tE_01\t2.5\t0.1\t-\nE_1\tE_02\t-1\t0.7\t-\n"
        )
        assert read_score_file("deepfake", path).rows() == [("E_01", 2.5), ("E_02", -1.0)]
        trials = read_score_file("speaker", path)
        assert trials.select("enrol", "test", "score").rows() == [
            ("E_1", "E_01", 0.6),
            ("E_2", "E_01", 0.1),
            ("E_1", "E_02", 0.7),
        ]
        differing = write("spk\tfilename\tcm-score\nE_1\tE_01\t2.5\nE_2\tE_01\t2.6\n")
        with pytest.raises(DataError, match=r"line 3 has `id` of a line before"):
            read_score_file("deepfake", differing)

    def test_kaldi_with_and_without_label_and_with_cohort_means(self, write) -> None:
        assert read_score_file("speaker", write("a/1.wav b 0.71000 target\nb c -0.20000 target\n")).equals(TRIALS)
        assert read_score_file("speaker", write("a/1.wav b 0.71\nb c -0.2\n")).equals(TRIALS.drop("label"))
        long = read_score_file("speaker", write("a b 0.7 target 1.5 1.25 0.1 0.2\n"))
        assert long.row(0, named=True)["cohort_mean_test"] == "0.2"

    def test_our_own_tables_stay_as_they_are(self, tmp_path: Path, write) -> None:
        own = pl.DataFrame({"id": ["a"], "path": ["a.wav"], "score": [0.5], "error": [None], "filename": ["x"]})
        own.write_parquet(tmp_path / "own.parquet")
        assert read_score_file("deepfake", tmp_path / "own.parquet").equals(own)
        own.write_ndjson(tmp_path / "own.jsonl")
        assert read_score_file("deepfake", tmp_path / "own.jsonl").columns == own.columns
        assert read_score_file("deepfake", write("path,score\na.wav,0.5\n", "own.csv")).columns == ["path", "score"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("task", "content", "said"),
        [
            ("deepfake", "", "is empty. A score file has one line a trial."),
            ("deepfake", "filename\tcm-score\n", "holds no scores"),
            ("deepfake", "a b c\n", "starts with 3 fields ('a', 'b', 'c'): no score file known. A line is `utt score`"),
            ("deepfake", "a 0.5\nb 0.5 x\n", "line 2 has another number of fields than the first (2)"),
            ("deepfake", "a 0.5\n\nb inf\nc nan\n", "line 3 has a score that is no finite number ('inf') (and 1 more)"),
            ("deepfake", "a 0.5\nb x\n", "line 2 has a score that is no finite number ('x')"),
            ("deepfake", "filename,score\na,\n", "line 2 has a score that is no finite number"),
            ("deepfake", "a 0.5\nb 0.5\na 0.5\n", "line 3 has `id` of a line before. Give each trial one score."),
            ("deepfake", "a\t0.5\n\t0.5\n", "line 2 has no `id`"),
            ("deepfake", "0.5 a\n", "starts with 2 fields ('0.5', 'a'): no score file known"),
            ("deepfake", "a A01 fake 0.5\n", "line 1 has an unknown label. Allowed: bonafide, bona-fide, spoof"),
            ("deepfake", "spoof 0.5\ntarget 2\n", "holds scores by class (2 fields ('spoof', '0.5')), not by trial"),
            ("deepfake", "filename\tasv-score\na\t1\n", "has the header 2 fields ('filename', 'asv-score')"),
            ("deepfake", "id\tscore\tscore\na\t1\t2\n", "names a column twice in its header"),
            ("speaker", "a b 0.5 target\nc d 0.5 same\n", "line 2 has an unknown label. Allowed: target, nontarget."),
            ("speaker", "a b 0.5\na b 0.5\n", "line 2 has `enrol` and `test` of a line before"),
            ("speaker", "bonafide target 2.5\n", "holds scores by class"),
            ("speaker", "LA_E_1 A10 spoof 0.5\n", "starts with 4 fields"),
            ("speaker", "a 0.5\n", "A line is `enrol test score` with or without target or nontarget"),
        ],
    )
    def test_what_was_seen_and_what_is_expected(self, write, task, content: str, said: str) -> None:
        with pytest.raises(DataError) as caught:
            read_score_file(task, write(content))
        assert said in str(caught.value)
        assert "scores.txt" in str(caught.value)

    def test_damaged_files(self, tmp_path: Path, write) -> None:
        whole = write("a 0.5\n" * 1000, "cut.gz")
        whole.write_bytes(whole.read_bytes()[:-12])
        with pytest.raises(DataError, match="damaged gzip"):
            read_score_file("deepfake", whole)
        (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(DataError, match="not UTF-8"):
            read_score_file("deepfake", tmp_path / "b.txt")
        with pytest.raises(DataError, match="no such file"):
            read_score_file("deepfake", tmp_path / "nowhere.txt")
        with pytest.raises(DataError, match="cannot be read"):
            read_score_file("deepfake", tmp_path)


class TestAsvScores:
    @pytest.mark.parametrize(
        "content",
        ["- target 2.5\n- nontarget -1\nA07 spoof 1\nA08 spoof 0.5\n", "target 2.5\nnontarget -1\nspoof 1\nspoof 0.5"],
    )
    def test_asvspoof2019(self, write, content: str) -> None:
        found = read_asv_scores(write(content))
        assert (found.target.tolist(), found.nontarget.tolist(), found.spoof.tolist()) == ([2.5], [-1.0], [1.0, 0.5])

    def test_asvspoof2021_with_its_key(self, write) -> None:
        scores = write("LA_0009 LA_E_1 2.5\nLA_0009 LA_E_2 -1\nLA_0009 LA_E_3 1\nLA_0010 LA_E_3 0\n")
        key = write(
            "LA_0009 LA_E_2 alaw ita_tx bonafide nontarget notrim eval\n"
            "LA_0009 LA_E_1 alaw ita_tx bonafide target notrim eval\n"
            "LA_0009 LA_E_3 alaw ita_tx A07 spoof notrim eval\n"
            "LA_0010 LA_E_3 alaw ita_tx A07 spoof notrim progress\n",
            "trial_metadata.txt",
        )
        found = read_asv_scores(scores, key)
        assert (found.target.tolist(), found.nontarget.tolist(), found.spoof.tolist()) == ([2.5], [-1.0], [1.0])
        assert read_asv_scores(scores, key, "progress").spoof.tolist() == [0.0]
        with pytest.raises(DataError, match=r"has no subset 'all'\. It has: eval, progress"):
            read_asv_scores(scores, key, "all")
        short = write("LA_0009 LA_E_1 2.5\n", "short.txt")
        with pytest.raises(DataError, match=r"trial_metadata.txt: line 1 has a trial without a score .*\(and 2 more\)"):
            read_asv_scores(short, key)
        other = write("LA_0009 LA_E_9 2.5\n", "other.txt")
        with pytest.raises(DataError, match=r"other.txt: line 1 has a trial that is not in the key"):
            read_asv_scores(other, key)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("LA_1 LA_E_1 2.5\n", "trial_metadata.txt as the key"),
            ("target 2\nimpostor 1\n", "line 2 has a key other than target, nontarget, spoof"),
            ("target 2\nspoof x\n", "line 2 has a score that is no finite number ('x')"),
            ("a\n", "no ASV scores known"),
        ],
    )
    def test_refusals(self, write, content: str, said: str) -> None:
        with pytest.raises(DataError) as caught:
            read_asv_scores(write(content))
        assert said in str(caught.value)


class TestSubmissions:
    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            ("asvspoof5", "filename\tcm-score\nLA_E_1\t-1.25\nLA_E_2\t3e-07\nLA_E_3\t0.30000000000000004\n"),
            ("asvspoof2021", "LA_E_1 -1.25\nLA_E_2 3e-07\nLA_E_3 0.30000000000000004\n"),
            ("arena", "LA_E_1 -1.25\nLA_E_2 3e-07\nLA_E_3 0.30000000000000004\n"),
            ("ctrsvdd", "filename,score\nLA_E_1,-1.25\nLA_E_2,3e-07\nLA_E_3,0.30000000000000004\n"),
        ],
    )
    def test_written_and_read_back(self, tmp_path: Path, form: str, expected: str) -> None:
        path = tmp_path / ("s.csv" if form == "ctrsvdd" else "s.txt")
        sha256 = write_submission(form, DETECTION.with_columns(error=pl.lit(None, pl.String)), path)
        assert path.read_text() == expected
        assert sha256 == hashlib.sha256(expected.encode()).hexdigest()
        assert read_score_file("deepfake", path).equals(DETECTION)

    def test_kaldi(self, tmp_path: Path) -> None:
        write_submission("kaldi", TRIALS, tmp_path / "s.txt")
        assert (tmp_path / "s.txt").read_text() == "a/1.wav b 0.71 target\nb c -0.2 target\n"
        assert read_score_file("speaker", tmp_path / "s.txt").equals(TRIALS)
        for unlabelled in (TRIALS.drop("label"), TRIALS.with_columns(label=pl.lit(None, pl.String))):
            write_submission("kaldi", unlabelled, tmp_path / "s.txt")
            assert read_score_file("speaker", tmp_path / "s.txt").equals(TRIALS.drop("label"))

    @given(
        scores=st.dictionaries(
            st.text("abcXYZ_-./,0123456789\u00e9\u4e2d", min_size=1, max_size=12).map(lambda name: f"u{name}"),
            st.floats(allow_nan=False, allow_infinity=False),
            min_size=1,
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_any_number_reads_back_exactly(self, tmp_path_factory: pytest.TempPathFactory, scores) -> None:
        path = tmp_path_factory.mktemp("s") / "s.txt"
        table = pl.DataFrame({"id": list(scores), "score": list(scores.values())})
        for form in ("arena", "asvspoof5"):
            write_submission(form, table, path)
            assert read_score_file("deepfake", path).rows() == table.rows()

    @pytest.mark.parametrize(
        ("form", "columns", "said"),
        [
            ("arena", {"id": ["a", "b"], "score": [1.0, None]}, "row 2 has a score that is no finite number (None)"),
            ("arena", {"id": ["a"], "score": [np.inf]}, "no finite number (inf)"),
            ("arena", {"id": ["a"], "score": [1.0], "error": ["is empty"]}, "row 1 has an error"),
            ("arena", {"id": ["a", "a"], "score": [1.0, 1.0]}, "row 2 is the trial of a row before"),
            ("arena", {"id": ["a b"], "score": [1.0]}, "row 1 has a `id` that is empty or holds a blank or separator"),
            ("asvspoof5", {"id": ["a\tb"], "score": [1.0]}, "holds a blank"),
            ("ctrsvdd", {"id": ["a,b"], "score": [1.0]}, "holds a blank or separator"),
            ("arena", {"id": [None], "score": [1.0]}, "is empty"),
            ("arena", {"id": ["a"]}, "have no column `score`"),
            ("kaldi", {"id": ["a"], "score": [1.0]}, "have no column `enrol` and `test`"),
            (
                "kaldi",
                {"enrol": ["a", "a"], "test": ["b", "c"], "score": [1.0, 1.0], "label": ["target", None]},
                "row 2",
            ),
            ("arena", {"id": [], "score": []}, "there are no scores to submit"),
        ],
    )
    def test_refused_and_nothing_written(self, tmp_path: Path, form: str, columns, said: str) -> None:
        with pytest.raises(DataError) as caught:
            write_submission(form, pl.DataFrame(columns), tmp_path / "s.txt")
        assert said in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_unknown_form(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"no submission form 'arean'\. Forms: asvspoof5, asvspoof2021, arena"):
            write_submission("arean", DETECTION, tmp_path / "s.txt")


def test_a_million_lines_in_a_few_seconds(tmp_path: Path) -> None:
    count = 1_000_000
    scores = np.random.default_rng(0).normal(size=count).round(6)
    (tmp_path / "s.txt").write_text("".join(f"LA_E_{n} A10 spoof {s}\n" for n, s in enumerate(scores.tolist())))
    start = time.process_time()
    found = read_score_file("deepfake", tmp_path / "s.txt")
    assert time.process_time() - start < 12
    assert found.height == count
    assert np.array_equal(found["score"].to_numpy(), scores)


class TestCommand:
    """`earwitness score --submission`."""

    @pytest.fixture
    def calls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike) -> Path:
        make_detector(tmp_path / "detector")
        make_embedder(tmp_path / "embedder")
        for number in range(3):
            (tmp_path / "calls").mkdir(exist_ok=True)
            soundfile.write(tmp_path / "calls" / f"{number}.wav", speechlike(1, seed=number), 16_000)
        (tmp_path / "trials.txt").write_text("1 0.wav 1.wav\n0 2.wav 1.wav\n")
        monkeypatch.chdir(tmp_path)
        return tmp_path / "calls"

    def run(self, words: str) -> int:
        return exit_code(["score", *words.split()])

    def test_written_after_the_table_and_again_with_resume(
        self, calls: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = "calls --task deepfake --model detector -o out.csv"
        assert self.run(f"{words} --submission arena:a.txt --submission asvspoof5:b.tsv") == 0
        pinned = hashlib.sha256(Path("a.txt").read_bytes()).hexdigest()
        assert f"a.txt: arena submission, sha256 {pinned}\n" in capsys.readouterr().out
        table = score_table("deepfake", "out.csv")
        for name in ("a.txt", "b.tsv"):
            assert read_score_file("deepfake", name).rows() == table.select("id", "score").rows()
        first = Path("a.txt").read_bytes()
        assert self.run(f"{words} --resume --submission arena:again.txt") == 0
        assert Path("again.txt").read_bytes() == first

    def test_trials(self, calls: Path) -> None:
        assert self.run("calls --task speaker --model embedder --trials trials.txt -o o.csv --submission kaldi:k") == 0
        found = read_score_file("speaker", "k")
        assert found.rows() == pl.read_csv("o.csv").select("enrol", "test", "score", "label").rows()

    def test_not_written_where_a_file_failed(self, calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (calls / "bad.wav").write_text("no sound")
        assert self.run("calls --task deepfake --model detector -o out.csv --submission arena:a.txt") == 1
        assert "no submission is written" in capsys.readouterr().err
        assert Path("out.csv").exists()
        assert not Path("a.txt").exists()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--task deepfake --submission arena", "--submission: 'arena' is not FORM:PATH. For example arena:scores"),
            ("--task deepfake --submission arean:a.txt", "there is no submission form 'arean'"),
            ("--task deepfake --submission kaldi:a.txt", "'kaldi' is a form for --trials"),
            ("--task speaker --trials trials.txt --submission arena:a", "'arena' is a form for --task deepfake"),
            ("--task speaker --reference calls/0.wav --submission kaldi:a", "'kaldi' is a form for --trials"),
            ("--task deepfake --submission arena:out.csv", "out.csv: two outputs have this path"),
            ("--task deepfake --submission arena:a --submission ctrsvdd:a", "a: two outputs have this path"),
        ],
    )
    def test_wrong_use_is_told_before_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.run(f"calls -o out.csv {words}") == 2
        assert said in capsys.readouterr().err


class TestPublishedFiles:
    """ASVspoof 2019 LA evaluation scores of AIR-ASVspoof, and the organisers' ASV scores."""

    @pytest.mark.parametrize(("name", "expected"), [("ocsoftmax", 2.178), ("amsoftmax", 3.166), ("softmax", 5.058)])
    def test_countermeasures(self, shared_data: Path, name: str, expected: float) -> None:
        path = shared_data / "score_files" / f"asvspoof2019_la_eval_air_{name}.txt.gz"
        scores = read_labelled("deepfake", path)
        scores = scores.negated() if name == "ocsoftmax" else scores
        assert (scores.positive.height, scores.negative.height) == (7_355, 63_882)
        assert scores.negative["system"].unique().sort().to_list() == [f"A{n:02}" for n in range(7, 20)]
        assert scores.positive["system"].null_count() == 7_355
        assert not scores.has_llr
        found = eer(scores.positive["score"], scores.negative["score"], "asvspoof")  # as the figures were computed
        assert 100 * found.value == pytest.approx(expected, abs=5e-4)

    def test_speaker_verification(self, shared_data: Path) -> None:
        found = read_asv_scores(shared_data / "score_files" / "asvspoof2019_la_asv_eval_gi.txt.gz")
        assert found.target.size + found.nontarget.size + found.spoof.size == 102_579
        assert 100 * eer(found.target, found.nontarget, "asvspoof").value == pytest.approx(2.458, abs=5e-4)

    def test_asv_scores_are_not_taken_for_trials(self, shared_data: Path) -> None:
        with pytest.raises(DataError, match="holds scores by class"):
            score_table("deepfake", shared_data / "score_files" / "asvspoof2019_la_asv_eval_gi.txt.gz")
