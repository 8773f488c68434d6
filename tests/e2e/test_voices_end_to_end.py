"""Bad and doubtful voices from the command line: each is refused, or warned of where the answer stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr

from earwitness.cli.arguments import spread
from earwitness.cli.main import exit_code

RATE = 16_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, samples_folder: Path) -> Path:
    """Recordings that ship, as WAV at 16 kHz, and what is made of them: `high-*` is `other-voice` played faster, since
    the voices as they are differ too little for the model in a telephone band."""
    from earwitness.audio.reading import load

    folder = tmp_path_factory.mktemp("voices")
    for name in ("reference-1", "reference-2", "caller", "other-voice"):
        soundfile.write(folder / f"{name}.wav", load(samples_folder / f"{name}.flac", RATE).samples, RATE)
    sound = {path.stem: soundfile.read(path, dtype="float32")[0] for path in folder.glob("*.wav")}
    high = soxr.resample(sound["other-voice"], 1.45 * RATE, RATE)
    soundfile.write(folder / "high-1.wav", high[: len(high) // 2], RATE)
    soundfile.write(folder / "high-2.wav", high[len(high) // 2 :], RATE)
    two = [sound["caller"], high[: len(high) // 2], sound["reference-1"], high[: len(high) // 2]]
    soundfile.write(folder / "two voices.wav", np.concatenate(two), RATE)
    loud = int(np.abs(sound["reference-1"]).argmax())
    soundfile.write(folder / "short.wav", sound["reference-1"][max(0, loud - 2400) :][: round(0.31 * RATE)], RATE)
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    soundfile.write(folder / "noise.wav", noise.astype(np.float32), RATE)
    soundfile.write(folder / "silence.wav", np.zeros(RATE, np.float32), RATE)
    return folder


@pytest.fixture
def cli(home: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """cli(*words): exit code and standard error; no error may leave a trace."""
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))

    def run(*words: object) -> tuple[int, str]:
        code = exit_code(spread([str(word) for word in words]))
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        return code, shown

    return run


@pytest.fixture
def voice_findings(cli, home: Path, models: Path, tmp_path: Path):
    """voice_findings(recording, *options): what examine says of the voice, by question."""

    def ask(recording: str, *options: object) -> dict[str, dict[str, Any]]:
        report = tmp_path / "report.json"
        model = f"deepfake={models / 'detector'}"
        code, said = cli("examine", home / recording, *options, "--no-manner", "--model", model, "--json", report)
        assert code == 0, said
        findings = json.loads(report.read_text(encoding="utf-8"))["findings"]
        return {finding["question"]: finding for finding in findings[1:]}

    return ask


SAME, WHO, WHOSE = (
    "Is it the voice of the reference speaker?",
    "Who speaks when?",
    "Whose voice is it, among the known ones?",
)


def said(finding: dict[str, Any], words: str) -> bool:
    return any(words in line for line in finding["limits"])


class TestReferences:
    def test_one_that_is_the_recording_itself(self, voice_findings, home: Path) -> None:
        alone = voice_findings("caller.wav", "--reference", home / "caller.wav")[SAME]
        assert alone["verdict"] == "no answer"
        assert (alone["score"], alone["llr"]) == (None, None)
        assert "very recording" in alone["answer"]
        both = voice_findings("caller.wav", "--reference", home / "caller.wav", home / "reference-1.wav")[SAME]
        assert said(both, "caller.wav is this very recording")
        without = voice_findings("caller.wav", "--reference", home / "reference-1.wav")[SAME]
        assert both["score"] == pytest.approx(without["score"])

    def test_noise_is_warned_of_and_settles_nothing(self, voice_findings, home: Path) -> None:
        found = voice_findings("caller.wav", "--reference", home / "noise.wav")[SAME]
        assert found["verdict"] == "inconclusive"
        assert said(found, "noise.wav may mislead: no speech is found in it")
        assert said(found, "Give one with more speech, of this speaker alone.")

    def test_silence_is_refused(self, cli, home: Path) -> None:
        code, shown = cli("examine", home / "caller.wav", "--reference", home / "silence.wav")
        assert code == 2
        assert "silence.wav: holds 0.00 s of sound; a voice needs at least 0.3 s" in shown
        assert shown.count("\n") == 1

    def test_a_third_of_a_second_is_warned_of_and_settles_nothing(self, voice_findings, home: Path) -> None:
        found = voice_findings("caller.wav", "--reference", home / "short.wav")[SAME]
        assert found["verdict"] == "inconclusive"
        assert said(found, "short.wav may mislead: ")

    def test_two_voices_in_one_are_warned_of(self, voice_findings, home: Path) -> None:
        found = voice_findings("caller.wav", "--reference", home / "two voices.wav")[SAME]
        assert said(found, "two voices.wav may mislead: more than one voice is probably heard in it")

    def test_score_says_the_same(self, cli, home: Path, tmp_path: Path) -> None:
        words = ("score", home, "--task", "speaker", "-o", tmp_path / "out.csv", "--reference")
        code, shown = cli(*words, home / "two voices.wav", home / "short.wav", home / "noise.wav", home / "caller.wav")
        assert code == 1  # the references stand in the folder, and are not compared with themselves
        assert "two voices.wav: more than one voice is probably heard in it" in shown
        assert "short.wav: " in shown
        assert "noise.wav: no speech is found in it" in shown
        rows = {row["path"]: row for row in pl.read_csv(tmp_path / "out.csv").to_dicts()}
        assert rows["caller.wav"]["error"].startswith("is itself one of the references")
        assert rows["caller.wav"]["score"] is None
        assert rows["other-voice.wav"]["score"] is not None
        assert rows["other-voice.wav"]["llr"] is None  # nothing is settled by references without speech
        assert "noise.wav: no speech is found in it" in rows["other-voice.wav"]["reference_doubts"]

    def test_a_good_reference_leaves_no_doubt(self, cli, home: Path, tmp_path: Path) -> None:
        words = ("score", home / "caller.wav", "--task", "speaker", "-o", tmp_path / "out.csv", "--reference")
        assert cli(*words, home / "reference-2.wav")[0] == 0
        (row,) = pl.read_csv(tmp_path / "out.csv").to_dicts()
        assert row["llr"] is not None
        assert row["reference_doubts"] is None


def test_a_reference_is_compared_with_each_voice_of_a_recording(voice_findings, home: Path) -> None:
    found = voice_findings("two voices.wav", "--reference", home / "reference-2.wav")
    assert found[WHO]["answer"].startswith("2 voices seem to speak here")
    turns = found[WHO]["tracks"][0]
    assert set(turns["values"]) == {1.0, 2.0}
    same = found[SAME]
    rows = same["tables"][0]["rows"]
    assert [row[0] for row in rows] == [1, 2]
    assert same["hypotheses"][0] == "one of these voices is the reference speaker's"
    ratios = [row[3] for row in rows]
    assert same["llr"] == pytest.approx(np.log(np.exp(ratios).mean()), abs=0.01)
    best = int(np.argmax(ratios))
    assert f"voice {best + 1} is most like" in same["evidence"][0]
    other = voice_findings("two voices.wav", "--reference", home / "high-2.wav")[SAME]
    assert int(np.argmax([row[3] for row in other["tables"][0]["rows"]])) != best


class TestKnown:
    @pytest.fixture
    def known(self, home: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "known"
        for name, file in (("anna/a", "reference-1"), ("anna/b", "reference-2"), ("bert-1", "other-voice")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.wav").write_bytes((home / f"{file}.wav").read_bytes())
        return folder

    def test_the_best_of_all_is_ranked_and_corrected(self, voice_findings, known: Path) -> None:
        found = voice_findings("caller.wav", "--known", known)[WHOSE]
        table = found["tables"][0]
        assert table["columns"][:2] == ["rank", "name"]
        assert [row[1] for row in table["rows"]] == ["anna", "bert"]
        alone, corrected = (table["columns"].index(name) for name in ("log ratio alone", "as the best of all"))
        for row in table["rows"]:
            assert row[corrected] == pytest.approx(row[alone] - np.log(2), abs=1e-6)
        llrs = [row[alone] for row in table["rows"]]
        assert found["llr"] == pytest.approx(np.log(np.exp(llrs).mean()), abs=0.01)
        assert any("The best of 2 candidates is more often alike by chance" in line for line in found["evidence"])

    def test_none_of_the_known(self, voice_findings, known: Path, home: Path) -> None:
        for path in (known / "anna").iterdir():
            path.unlink()
        found = voice_findings("caller.wav", "--known", known)[WHOSE]
        assert found["llr"] < 0
        assert "none of the known voices" in found["answer"] or found["verdict"] == "inconclusive"

    def test_a_recording_that_is_in_the_gallery(self, voice_findings, known: Path, home: Path) -> None:
        found = voice_findings("reference-1.wav", "--known", known)[WHOSE]
        assert said(found, "This very recording (same sha256) is in the gallery, as anna")
        assert {row[1]: row[2] for row in found["tables"][0]["rows"]} == {"anna": 1, "bert": 1}

    def test_one_name_on_two_voices_is_warned_of(self, voice_findings, known: Path, home: Path) -> None:
        (known / "anna" / "c.wav").write_bytes((home / "high-2.wav").read_bytes())
        (known / "bert-1.wav").unlink()
        found = voice_findings("caller.wav", "--known", known)[WHOSE]
        assert said(found, "The recordings of anna do not seem to be of one voice")
        assert said(found, "Give each voice a name of its own.")

    def test_one_recording_under_two_names_is_warned_of(self, voice_findings, known: Path) -> None:
        (known / "carl").mkdir()
        (known / "carl" / "x.wav").write_bytes((known / "bert-1.wav").read_bytes())
        found = voice_findings("caller.wav", "--known", known)[WHOSE]
        assert said(found, "One and the same recording stands under the names")

    def test_bad_galleries_are_one_line(self, cli, home: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "list.csv").write_text("path\nx.wav\n")
        for given, words in ((tmp_path / "empty", "holds no recording"), (tmp_path / "list.csv", "has no speaker")):
            code, shown = cli("examine", home / "caller.wav", "--known", given)
            assert code == 2
            assert words in shown
            assert shown.count("\n") == 1

    def test_score_known_and_the_page(self, cli, known: Path, home: Path, models: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.csv"
        code, shown = cli("score", home / "caller.wav", "--task", "speaker", "--known", known, "-o", out)
        assert code == 0, shown
        assert "gallery: 2 names, 3 recordings" in shown
        assert pl.read_csv(out)["known"].to_list() == ["anna", "bert"]
        page = tmp_path / "page.html"
        model = f"deepfake={models / 'detector'}"
        code, shown = cli(
            "examine", home / "caller.wav", "--known", known, "--no-manner", "--model", model, "--html", page
        )
        assert code == 0, shown
        assert "Whose voice is it" in page.read_text(encoding="utf-8")


class TestClusters:
    def test_a_table_and_a_picture(self, cli, home: Path, tmp_path: Path) -> None:
        folder = tmp_path / "unknown"
        folder.mkdir()
        for name in ("caller", "reference-1", "reference-2", "high-1"):
            (folder / f"<b>{name}.wav").write_bytes((home / f"{name}.wav").read_bytes())
        out, page = tmp_path / "clusters.csv", tmp_path / "picture.html"
        words = ("score", folder, "--task", "speaker", "--cluster", "-o", out, "--html", page)
        code, shown = cli(*words)
        assert code == 0, shown
        assert "voices in 4 recordings" in shown
        clusters = dict(pl.read_csv(out).select("id", "cluster").iter_rows())
        assert clusters["<b>high-1.wav"] != clusters["<b>reference-1.wav"]
        text = page.read_text(encoding="utf-8")
        assert "<svg" in text
        assert "&lt;b&gt;caller.wav" in text
        assert "<b>caller" not in text
        assert "<script" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--cluster --known x", "needs either --trials or --reference"),
        ("--threshold 1 --known x", "--threshold belongs to --cluster"),
        ("--candidates 3 --cluster", "--candidates belongs to --known"),
        ("--enrolment x --cluster", "--enrolment belongs to --trials"),
        ("--back-end plda --trials x", "a PLDA needs recordings to learn from"),
        ("--back-end lda --trials x", "unknown back end 'lda'"),
        ("--back-end plda --trials x --cohort y --top 3", "--top: belongs to the cosine"),
        ("--embeddings x.pkl", "'.pkl' is no form of voice prints"),
        ("--cluster --threshold nan", "--threshold"),
    ],
)
def test_options_that_do_not_fit(cli, home: Path, tmp_path: Path, words: str, said: str) -> None:
    code, shown = cli("score", home / "caller.wav", "--task", "speaker", "-o", tmp_path / "o.csv", *words.split())
    assert code == 2
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()


def test_a_cohort_that_overlaps_the_trials(cli, home: Path, tmp_path: Path) -> None:
    listed = [("reference-1.wav", "anna"), ("caller.wav", "anna"), ("other-voice.wav", "bert")]
    rows = "".join(f"{home / path},{speaker}\n" for path, speaker in listed)
    for name in ("test.csv", "others.csv"):
        (tmp_path / name).write_text(f"path,speaker\n{rows}")
    (tmp_path / "trials").write_text(f"1 {home / 'reference-1.wav'} {home / 'caller.wav'}\n")
    for back_end in ("cosine", "plda"):
        words = ("--trials", tmp_path / "trials", "--cohort", tmp_path / "others.csv", "--back-end", back_end)
        code, shown = cli("score", tmp_path / "test.csv", "--task", "speaker", *words, "-o", tmp_path / "out.csv")
        assert code == 2
        assert "1 speaker(s) ('anna') of the trials stand in the cohort" in shown
        assert not (tmp_path / "out.csv").exists()
