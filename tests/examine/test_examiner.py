"""From a file to its reports, with tiny models of random weights: what is asked, said, marked and left unsaid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earwitness.audio.facts import signal_facts
from earwitness.audio.reading import probe
from earwitness.audio.windows import Sliding
from earwitness.core.errors import AudioError, UsageError
from earwitness.deepfake.detector import DetectionScore, Detector, WindowScore
from earwitness.examine.channels import channels_to_examine
from earwitness.examine.examiner import Examiner, expand
from earwitness.examine.finding import ModelCredit, Report
from earwitness.examine.models import Answering
from earwitness.examine.strength import outside, settles, untested, widened
from earwitness.nn.encoders import IdentityConfig
from earwitness.nn.frontends import LogMelConfig
from earwitness.nn.network import BranchConfig, EmbeddingConfig, NetworkConfig
from earwitness.nn.pooling import StatisticsConfig
from earwitness.speaker.embedder import Embedder
from earwitness.training.calibration import Calibration, ConditionCalibration, Ratio
from earwitness.training.model_folder import ModelInfo
from earwitness.training.model_folder import TestedRanges as Ranges

CREDIT = ModelCredit("tiny", "1", "0" * 64, "CC0-1.0", "# tiny")
RATE = 16_000


def network(outputs: int | None) -> NetworkConfig:
    branch = BranchConfig(frontend=LogMelConfig(n_mels=20), encoder=IdentityConfig(), pooling=StatisticsConfig())
    return NetworkConfig(branches=[branch], embedding=EmbeddingConfig(dim=8), outputs=outputs)


def info(task: str, **changes: object) -> ModelInfo:
    conditions = tuple(
        ConditionCalibration(
            condition=name,
            scale=scale,
            offset=0.0,
            low=-5.0,
            high=5.0,
            spread=((scale * 0.9, 0.0), (scale * 1.1, 0.0)),
            positives=10,
            negatives=10,
        )
        for name, scale in (("clean", 1.0), ("short", 0.2), ("narrow_band", 0.5), ("noisy", 0.6))
    )
    known: dict[str, object] = {
        "name": f"tiny-{task}",
        "task": task,
        "network": {},
        "windows": Sliding(length_s=2.0, hop_s=1.0),
        "polarity": "higher = bona fide" if task == "deepfake" else "higher = same speaker",
        "licence": "CC0-1.0",
        "calibration": Calibration(fitted_on="nothing", conditions=conditions),
        "extra": {"one_voice": -1.0},
    }
    return ModelInfo(**(known | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    torch.manual_seed(3)
    detector = Detector(network(2).build(), info("deepfake"))
    embedder = Embedder(network(None).build(), info("speaker"))
    return Examiner(Answering(detector, CREDIT, embedder, CREDIT))


@pytest.fixture
def call(tmp_path: Path, speechlike: object) -> Path:
    path = tmp_path / "call.wav"
    soundfile.write(path, speechlike(6.0, RATE, 1), RATE)  # type: ignore[operator]
    return path


def only(reports: list[Report]) -> Report:
    assert len(reports) == 1
    return reports[0]


def test_one_question_without_a_reference_two_with_one(examiner: Examiner, call: Path) -> None:
    alone = only(examiner.examine(call))
    assert [finding.question for finding in alone.findings] == ["Is the voice genuine or synthetic?"]
    copy = call.with_suffix(".flac")
    soundfile.write(copy, *soundfile.read(call), subtype="PCM_16")
    both = only(examiner.examine(call, examiner.enrol([copy])))
    assert [finding.question for finding in both.findings][1] == "Is it the voice of the reference speaker?"
    assert both.references[0][0] == str(copy)
    assert len(both.references[0][1]) == 64
    assert both.findings[1].score == pytest.approx(1, abs=1e-5)  # the very same sound


def test_everything_heard_is_on_the_track(examiner: Examiner, call: Path) -> None:
    finding = only(examiner.examine(call)).findings[0]
    track = finding.tracks[0]
    assert track.starts_s == (0, 1, 2, 3, 4)
    assert track.ends_s == (2, 3, 4, 5, 6)
    assert finding.seconds_used == finding.seconds_total == pytest.approx(6)
    assert finding.window_policy == "sliding 2 s / 1 s"
    assert finding.model == CREDIT


def test_report_and_api_share_the_detectors_score(examiner: Examiner, call: Path) -> None:
    samples, rate = soundfile.read(call, dtype="float32")
    scored = examiner.models.detector.score(samples, rate)
    finding = only(examiner.examine(call)).findings[0]
    assert finding.score == pytest.approx(scored.score, abs=1e-6)
    assert finding.llr is not None
    assert abs(finding.llr) <= 5


class Scripted(Detector):
    """Says what the test wants, window by window."""

    def __init__(self, scores: list[float], model: ModelInfo) -> None:
        self.network = torch.nn.Identity()
        self.info = model
        self.scores = scores

    def score_file(self, path: str | Path, *args: object, **kwargs: object) -> DetectionScore:
        windows = tuple(WindowScore(2.0 * i, 2.0 * i + 2, score) for i, score in enumerate(self.scores))
        mean = sum(self.scores) / len(self.scores)
        return DetectionScore(mean, self.info.llr(mean), windows, 6.0, 6.0, "scripted")


def scripted(examiner: Examiner, scores: list[float], **changes: object) -> Examiner:
    models = examiner.models
    return Examiner(Answering(Scripted(scores, info("deepfake", **changes)), CREDIT, models.embedder, CREDIT))


@pytest.mark.parametrize(
    ("scores", "verdict", "tone", "words"),
    [
        ([4.0, 4.0, 4.0], "answer", "good", "genuine human speech"),
        ([-4.0, -4.0, -4.0], "answer", "bad", "a synthetic or converted voice"),
        ([0.1, -0.1, 0.0], "inconclusive", "caution", "does not settle"),
    ],
)
def test_the_verdict_follows_the_ratio(
    examiner: Examiner, call: Path, scores: list[float], verdict: str, tone: str, words: str
) -> None:
    finding = only(scripted(examiner, scores).examine(call)).findings[0]
    assert (finding.verdict, finding.tone) == (verdict, tone)
    assert words in finding.answer
    assert finding.scale_words in finding.answer or verdict == "inconclusive"


def test_stretches_that_favour_synthetic_are_marked_and_joined(examiner: Examiner, call: Path) -> None:
    finding = only(scripted(examiner, [5.0, -3.0, -3.0, 5.0, -3.0]).examine(call)).findings[0]
    assert [(s.start_s, s.end_s) for s in finding.stretches] == [(2.0, 6.0), (8.0, 10.0)]
    assert any("2 stretch(es)" in line for line in finding.evidence)


def test_a_model_that_failed_its_tests_does_not_answer(examiner: Examiner, call: Path) -> None:
    extra = {"inconclusive": True, "inconclusive_because": ["no better than the trivial control"]}
    finding = only(scripted(examiner, [-4.0], extra=extra).examine(call)).findings[0]
    assert finding.verdict == "inconclusive"
    assert finding.llr is None
    assert finding.score == -4.0
    assert "no better than the trivial control" in finding.limits
    uncalibrated = only(scripted(examiner, [-4.0], calibration=None).examine(call)).findings[0]
    assert uncalibrated.verdict == "inconclusive"
    assert "no calibration" in uncalibrated.limits[0]


def test_short_speech_weakens_the_answer_and_says_so(examiner: Examiner, tmp_path: Path, speechlike: object) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, speechlike(1.2, RATE, 2), RATE)  # type: ignore[operator]
    finding = only(scripted(examiner, [4.0]).examine(path)).findings[0]
    assert finding.llr == pytest.approx(0.8)  # by the calibration on short recordings, not 4.0
    assert any("s of speech" in limit for limit in finding.limits)


def test_silence_is_no_answer_and_no_score(examiner: Examiner, tmp_path: Path, call: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(2 * RATE, np.float32), RATE)
    report = only(examiner.examine(path, examiner.enrol([call])))
    for finding in report.findings:
        assert finding.verdict == "no answer"
        assert finding.score is None
        assert finding.llr is None
    outcome = examiner.attempt(tmp_path / "missing.wav")
    assert not outcome.reports
    assert "missing.wav" in (outcome.failure or "")
    with pytest.raises(AudioError, match=r"silence\.wav"):
        examiner.enrol([path])


def test_a_stereo_call_is_examined_per_channel(examiner: Examiner, tmp_path: Path, speechlike: object) -> None:
    left, right = speechlike(3.0, RATE, 1), speechlike(3.0, RATE, 2)  # type: ignore[operator]
    call, twice = tmp_path / "call.wav", tmp_path / "twice.wav"
    soundfile.write(call, np.stack([left, right], axis=1), RATE)
    soundfile.write(twice, np.stack([left, left], axis=1), RATE)
    reports = examiner.examine(call)
    assert [report.channel for report in reports] == [0, 1]
    assert reports[0].channels == 2
    assert reports[0].findings[0].score != reports[1].findings[0].score
    assert only(examiner.examine(twice)).channel is None
    assert channels_to_examine(twice, probe(twice)) == [None]


def test_files_folders_and_globs_are_found_once_each(tmp_path: Path, call: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "other.FLAC").write_bytes(b"")
    assert expand([str(call), str(tmp_path), str(tmp_path / "*.wav")]) == [call, tmp_path / "other.FLAC"]
    assert expand(["missing.wav"]) == [Path("missing.wav")]  # told when it is read
    with pytest.raises(UsageError, match="matches no file"):
        expand([str(tmp_path / "*.opus")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no audio"):
        expand([str(tmp_path / "empty")])


def test_what_settles() -> None:
    assert settles(Ratio(2.0, 0.5, 3.0, (-5, 5), ()))
    assert not settles(Ratio(2.0, -0.5, 3.0, (-5, 5), ()))  # the interval reaches over
    assert not settles(Ratio(math.log(1.9), 0.1, 1.0, (-5, 5), ()))  # a ratio below 2 says nothing


def test_what_is_outside_of_the_tests_is_said(tone: object) -> None:
    clipped = np.clip(tone(2.0, RATE, 200, 3.0), -1, 1)  # type: ignore[operator]
    facts = signal_facts(clipped, RATE)
    said = outside(facts, ("narrow_band", "noisy"))
    assert any(line.startswith("Narrow band") for line in said)
    assert any(line.startswith("Noisy") for line in said)
    assert any("clipped" in line for line in said)


def test_a_widened_ratio_settles_nothing_and_claims_no_more() -> None:
    for ratio in (Ratio(2.0, 0.5, 3.0, (-5, 5), ()), Ratio(-4.0, -5.0, -3.0, (-5, 0), ()), Ratio(0, 0, 0, (0, 0), ())):
        wide = widened(ratio)
        assert not settles(wide)
        assert wide.low <= ratio.low <= ratio.high <= wide.high
        assert wide.llr == ratio.llr


def test_facts_below_the_tested_range_are_named(tone: object) -> None:
    facts = signal_facts(tone(1.0, RATE, 200, 0.5), RATE)  # type: ignore[operator]
    assert facts.bandwidth_hz is not None
    tested = Ranges(min_speech_s=facts.speech_s + 1, min_bandwidth_hz=facts.bandwidth_hz + 100)
    speech, band = untested(facts, tested)
    assert "(speech " in speech
    assert "(bandwidth " in band
    assert f"begin at {facts.bandwidth_hz + 100:g} Hz" in band
    at_the_edge = Ranges(min_speech_s=facts.speech_s, min_bandwidth_hz=facts.bandwidth_hz)
    assert untested(facts, at_the_edge) == []
    assert untested(facts, Ranges()) == []
    silent = signal_facts(np.zeros(RATE, np.float32), RATE)
    assert len(untested(silent, Ranges(min_speech_s=0.5, min_bandwidth_hz=3_400, min_snr_db=5))) == 1


@pytest.mark.parametrize(
    ("tested", "words"),
    [(Ranges(min_speech_s=60.0), "60 s"), (Ranges(min_bandwidth_hz=20_000.0), "20000 Hz")],
)
@pytest.mark.parametrize("score", [4.0, -4.0])
def test_outside_of_the_tested_range_no_answer_is_stronger_than_inconclusive(
    examiner: Examiner, call: Path, tested: Ranges, words: str, score: float
) -> None:
    within = only(scripted(examiner, [score]).examine(call)).findings[0]
    assert within.verdict == "answer"
    finding = only(scripted(examiner, [score], tested=tested).examine(call)).findings[0]
    assert (finding.verdict, finding.tone) == ("inconclusive", "caution")
    assert (finding.llr_low, finding.llr_high) == finding.llr_bound == (-5, 5)
    assert words in finding.limits[0]
    assert finding.limits[0].startswith("Outside of what this model was tested on")


def test_voices_outside_of_the_tested_range_are_inconclusive_too(examiner: Examiner, call: Path) -> None:
    embedder = Embedder(examiner.models.embedder.network, info("speaker", tested=Ranges(min_speech_s=60.0)))
    models = examiner.models
    strict = Examiner(Answering(models.detector, CREDIT, embedder, CREDIT))
    copy = call.with_suffix(".flac")
    soundfile.write(copy, *soundfile.read(call), subtype="PCM_16")
    finding = only(strict.examine(call, strict.enrol([copy]))).findings[1]
    assert finding.verdict == "inconclusive"
    assert any("tests begin at 60 s" in limit for limit in finding.limits)


def test_the_languages_of_the_tests_are_named(examiner: Examiner, call: Path) -> None:
    finding = only(scripted(examiner, [4.0], tested=Ranges(languages=("de", "ru"))).examine(call)).findings[0]
    assert finding.verdict == "answer"  # which language is spoken is not measured
    assert any("in de, ru, and in no other language" in limit for limit in finding.limits)


def test_the_package_can_be_called_by_its_main_job() -> None:
    import earwitness.examine.finding

    assert callable(earwitness.examine)
