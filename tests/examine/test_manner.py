"""How it was said: measured delivery, and the age and the emotion that a voice sounds like; or none of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from earwitness.audio.facts import file_facts
from earwitness.audio.recording import Segment
from earwitness.core.errors import MissingPartError
from earwitness.evaluation.loading import load_emotions
from earwitness.examine import delivery, models, sounding_age, sounding_emotion
from earwitness.examine.credit import credit_of
from earwitness.examine.delivery import Delivery
from earwitness.examine.finding import Finding
from earwitness.examine.models import load_models
from earwitness.examine.questions import Channel, Question
from earwitness.examine.sounding_emotion import SoundingEmotion
from earwitness.examine.wording import axis_ends
from earwitness.paralinguistic import voice_quality as praat
from earwitness.paralinguistic.emotion import EmotionEstimate

RATE = 16_000
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def speech(samples_folder: Path) -> Channel:
    path = samples_folder / "caller.flac"
    return Channel(path, None, file_facts(path))


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    path = tmp_path_factory.mktemp("silence") / "zeros.wav"
    soundfile.write(path, np.zeros(2 * RATE, np.float32), RATE)
    return Channel(path, None, file_facts(path))


@pytest.fixture(scope="module")
def questions() -> dict[type, Question]:
    return {type(question): question for question in load_models({}).further}


def asked(questions: dict[type, Question], kind: type, channel: Channel) -> Finding:
    (finding,) = questions[kind].answer(channel, None)
    return finding


def test_delivery_is_measured_with_units(speech: Channel) -> None:
    (finding,) = Delivery().answer(speech, None)
    rows = {row[0]: row for row in finding.tables[0].rows}
    pitch = rows["pitch, median"]
    assert pitch[2] == "Hz"
    assert isinstance(pitch[1], float)
    assert 60 < pitch[1] < 400
    assert rows["articulation rate, without pauses"][2] == "syllables/s"
    for name, row in rows.items():
        low, high = row[3:]
        assert (low, high) == delivery.USUAL[name]
        assert low < high
    assert finding.llr is None


def test_every_measure_has_a_usual_range(speech: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(praat, "voice_quality", lambda *_: praat.VoiceQuality(0.02, 0.1, 10.0))
    mos = SimpleNamespace(name="dnsmos", score=lambda *_: SimpleNamespace(score=3.5))
    (finding,) = Delivery(voice_quality=True, mos=mos).answer(speech, None)  # type: ignore[arg-type]
    rows = {row[0]: row[1:] for row in finding.tables[0].rows}
    assert {name: row[2:] for name, row in rows.items()} == delivery.USUAL
    assert rows["jitter (local, Praat)"][:2] == (2.0, "%")
    assert rows["harmonics-to-noise ratio (Praat)"][:2] == (10.0, "dB")
    assert rows["quality of listening, estimated (dnsmos)"][:2] == (3.5, "MOS, 1 to 5")


def test_ages_are_of_voices_and_come_with_an_interval(questions: dict[type, Question], speech: Channel) -> None:
    finding = asked(questions, sounding_age.SoundingAge, speech)
    assert finding.answer.startswith("Like a voice of about")
    (table,) = finding.tables
    assert sum(float(row[1]) for row in table.rows) > 90  # type: ignore[arg-type]
    assert any("not how old the person is" in limit for limit in finding.limits)
    assert "Not for deciding whether a person is of age." in finding.limits
    assert finding.hypotheses is None


def test_emotions_are_what_it_sounds_like(questions: dict[type, Question], speech: Channel) -> None:
    finding = asked(questions, sounding_emotion.SoundingEmotion, speech)
    assert finding.verdict in ("answer", "inconclusive")
    assert finding.answer.startswith(("Most like", "Like none"))
    assert sum(float(row[1]) for row in finding.tables[0].rows) == pytest.approx(100, abs=1)  # type: ignore[arg-type]
    assert all(0 <= value <= 1 for track in finding.tracks for value in track.values if value is not None)
    assert any("not what the speaker feels" in limit for limit in finding.limits)
    assert any(limit.startswith("Not for lie detection") for limit in finding.limits)


def heard(course: list[list[float]], probabilities: list[float], intensity: float | None = None) -> EmotionEstimate:
    spans = tuple(Segment(4.0 * place, 4.0 * place + 4) for place in range(len(course)))
    classes, rows = ("neutral", "happy", "sad"), np.array(course)
    return EmotionEstimate(classes, np.array(probabilities), intensity, 0.5, spans, rows, None, 12.0, 12.0)


class Told:
    """Stands for a model: always hears the same."""

    relative, own = False, None

    def __init__(self, answer: EmotionEstimate) -> None:
        self.answer, self.info = answer, load_emotions("emotion").info

    def estimate_file(self, *_: object) -> EmotionEstimate:
        return self.answer


def test_the_course_shows_what_a_part_alone_would_be_called(speech: Channel) -> None:
    given = heard([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.1, 0.0, 0.9]], [0.87, 0.01, 0.12], intensity=0.7)
    model = Told(given)
    (finding,) = SoundingEmotion(model, credit_of("emotion", model.info)).answer(speech, None)  # type: ignore[arg-type]
    assert [track.name for track in finding.tracks] == ["sounds like neutral", "sounds like sad"]
    assert {axis_ends(track) for track in finding.tracks} == {(0.0, 1.0)}
    assert finding.tracks[1].values == (0.0, 0.0, 0.9)
    assert finding.evidence == ("Strength of what is played: 0.70 on a scale from 0 to 1.",)


def test_silence_gets_no_answer(questions: dict[type, Question], silence: Channel) -> None:
    for kind in questions:
        assert asked(questions, kind, silence).verdict == "no answer"


def test_no_manner_asks_nothing_of_it() -> None:
    assert load_models({}, manner=False).further == ()
    chosen = load_models({"age": "age"}, manner=False).further
    assert [type(question) for question in chosen] == [sounding_age.SoundingAge]


def test_a_model_that_is_no_better_than_a_constant_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(name: str) -> object:
        return SimpleNamespace(estimator=SimpleNamespace(info=SimpleNamespace(extra={"inconclusive": True})))

    def missing(name: str) -> object:
        raise MissingPartError("needs a thing", fix="Install it.")

    monkeypatch.setattr(models, "MANNER", {"age": poor, "emotion": missing})
    found = load_models({})
    assert [type(question) for question in found.further] == [Delivery]
    assert found.notes == (
        "The model 'age' is not asked: its tests do not show that it is better than a constant answer.",
        "The model 'emotion' is not asked, because it could not be loaded: needs a thing. Install it.",
    )
    assert len(load_models({"age": "mine"}).further) == 2
    assert load_models({}, manner=False).notes == ()


def test_what_is_lost_on_another_corpus_is_said(questions: dict[type, Question], speech: Channel) -> None:
    """In every report, with the figures of the benchmark's record."""
    finding = asked(questions, sounding_emotion.SoundingEmotion, speech)
    assert sounding_emotion.across("emotion")[0] in finding.limits
    assert sounding_emotion.across("mine") == ()
    lines = json.loads((RESULTS / "manner_peers.json").read_text(encoding="utf-8"))
    alone, beside = "earwitness", "earwitness, against the speaker's others"
    by_arm = [(line["task"], line["arm"], round(line["value"])) for line in lines]
    arms_of = {"emotion": (alone, alone), "emotion-relative": ("earwitness, by the speaker's own mean", beside)}
    for name, arms in arms_of.items():
        own = next(value for task, arm, value in by_arm if task.startswith("emotion (EmoDB") and arm == arms[0])
        other = next(value for task, arm, value in by_arm if "learnt from emodb" in task and arm == arms[1])
        assert sounding_emotion.ACROSS[name] == (own, other)
