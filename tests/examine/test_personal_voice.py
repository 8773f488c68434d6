"""Where the reference speaker is likely heard: never without the plain score, nor without the rank among decoys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.cli.main import exit_code
from earwitness.examine.examiner import Examiner
from earwitness.examine.finding import Finding
from earwitness.examine.models import TASKS
from earwitness.examine.personal_voice import DECOYS, QUESTION, PersonalVoice, rank
from earwitness.examine.report_html import render_html
from earwitness.examine.report_json import report_from_json, report_to_json
from earwitness.speaker.personal_vad.backbone import PersonalVadConfig
from earwitness.speaker.personal_vad.folder import VERIFIER, read_verifier
from earwitness.speaker.personal_vad.hearing import LONG_WINDOWS, Heard
from earwitness.speaker.personal_vad.transform import projection
from earwitness.training.model_folder import ModelInfo, save_model
from earwitness.training.tensors import trained_state
from tiny_models import make_detector, make_embedder
from tiny_personal_vad import make_verifier

RATE = 16_000


def make_personal_vad(folder: Path, verifier: Path) -> Path:
    """As it begins, with the verifier's cohort."""
    frozen, known, files = read_verifier(verifier)
    config = PersonalVadConfig(
        dim=8, conformer_blocks=1, transformer_blocks=1, heads=2, kernel=3, condition=4, hidden=8
    )
    vad = config.build(frozen.features_dim, projection(frozen.dim, 4, 0))
    info = ModelInfo(
        name="tiny-personal-vad",
        task="personal-vad",
        network=config.model_dump(mode="json"),
        windows=LONG_WINDOWS,
        polarity="higher = same speaker",
        licence="CC0-1.0",
        extra={VERIFIER: known.model_dump(mode="json")},
    )
    save_model(folder, info, trained_state(vad), card="# tiny <script>\n", files=files)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    folder = tmp_path_factory.mktemp("personal-voice")
    make_detector(folder / "detector")
    make_embedder(folder / "embedder")
    make_personal_vad(folder / "personal", make_verifier(folder / "verifier"))
    make_personal_vad(folder / "lonely", make_verifier(folder / "few", cohort=19))
    for number in range(2):
        soundfile.write(folder / f"{number}.wav", speechlike(2.0, seed=number), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    return folder


def chosen(home: Path, personal: str = "personal") -> dict[str, str]:
    names = {"deepfake": "detector", "speaker": "embedder", "personal-vad": personal}
    return {task: str(home / name) for task, name in names.items()}


def finding_of(home: Path, personal: str = "personal", recording: str = "0.wav") -> Finding:
    examiner = Examiner.load(chosen(home, personal))
    (report,) = examiner.examine(home / recording, examiner.enrol([home / "1.wav"]))
    (found,) = [finding for finding in report.findings if finding.question == QUESTION]
    return found


def test_the_plain_score_and_the_rank_always_stand_beside_the_track(home: Path) -> None:
    found = finding_of(home)
    assert found.verdict == "inconclusive"
    assert found.llr is None
    first, second = found.evidence
    assert f"with it {found.score:+.3f}" in first
    assert "Without the condition the score is" in first
    assert f"Among {DECOYS} decoy speakers" in second
    (track,) = found.tracks
    assert track.unit == "gamma (not a probability)"
    assert track.neutral == 0.5
    assert track.values == pytest.approx([0.98201] * len(track.values), abs=1e-4)
    assert track.ends_s[-1] == pytest.approx(1.98)
    (table,) = found.tables
    assert table.columns == ("conditioned on", "score", "without the condition", "mean gamma")
    assert len(table.rows) == DECOYS + 1
    place = [row[0] for row in table.rows].index("the reference") + 1
    assert f"number {place} of {DECOYS + 1}" in second
    assert any("conditioned on the reference" in limit for limit in found.limits)


def test_behind_a_decoy_nothing_is_marked_as_the_speakers(home: Path) -> None:
    examiner = Examiner.load(chosen(home))
    (question,) = [one for one in examiner.questions if isinstance(one, PersonalVoice)]
    enrolment = examiner.enrol([home / "1.wav"])

    def told(scores: list[float]) -> Finding:
        made = np.array(scores, np.float32)
        heard = Heard(made, made, np.full((21, 100), 0.9, np.float32), np.zeros((21, 100), np.float32), 0.01, 1, 1)

        class Told:
            cohort, info = question.verifier.cohort, question.verifier.info

            def enrol_files(self, paths: Any) -> Any:
                return question.verifier.enrol_files(paths)

            def hear_file(self, *args: Any) -> Heard:
                return heard

        scripted = replace(question, verifier=Told())  # type: ignore[arg-type]
        other = replace_question(examiner, scripted)
        (report,) = other.examine(home / "0.wav", enrolment)
        return report.findings[-1]

    ahead = told([0.9, *[0.1] * 20])
    assert ahead.tone == "neutral"
    assert [(one.start_s, one.end_s) for one in ahead.stretches] == [(0.0, pytest.approx(1.0))]
    assert "better than each of 20 decoys" in ahead.answer
    behind = told([0.5, 0.6, 0.7, *[0.1] * 18])
    assert behind.tone == "caution"
    assert behind.stretches == ()
    assert "2 decoy voices fit" in behind.answer
    assert rank(np.array([0.5, 0.5, 0.1], np.float32)) == 2  # a tie counts against the reference


def replace_question(examiner: Examiner, question: PersonalVoice) -> Examiner:
    made = Examiner(examiner.models)
    made.questions = (question,)
    return made


def test_without_enough_decoys_or_sound_there_is_no_answer(home: Path) -> None:
    found = finding_of(home, "lonely")
    assert found.verdict == "no answer"
    assert "fewer than 20" in found.answer
    assert found.tracks == ()
    assert finding_of(home, recording="silent.wav").verdict == "no answer"


def test_it_is_asked_only_with_a_model_and_a_reference(home: Path) -> None:
    assert "personal-vad" in TASKS
    without = {task: path for task, path in chosen(home).items() if task != "personal-vad"}
    for examiner, references in (
        (Examiner.load(without), [home / "1.wav"]),
        (Examiner.load(chosen(home)), []),
    ):
        (report,) = examiner.examine(home / "0.wav", examiner.enrol(references))
        assert QUESTION not in [finding.question for finding in report.findings]


def test_the_report_has_it_in_all_three_forms(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    models = [word for task, path in chosen(home).items() for word in ("--model", f"{task}={path}")]
    words = ["examine", str(home / "0.wav"), *models, "--reference", str(home / "1.wav")]
    assert exit_code([*words, "--html", str(tmp_path / "page.html"), "--json", str(tmp_path / "report.json")]) == 0
    assert QUESTION in capsys.readouterr().out
    assert QUESTION in (tmp_path / "page.html").read_text(encoding="utf-8")
    report = report_from_json((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report_from_json(report_to_json(report)) == report
    assert "tiny <script>" not in render_html([report], [None])
