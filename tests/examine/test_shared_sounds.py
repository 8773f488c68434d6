"""The question about shared sounds: what it shows, when it says too little, and what it never claims."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.audio.facts import file_facts
from earwitness.core.errors import ModelError
from earwitness.core.hashing import sha256_file
from earwitness.examine.enrolment import Enrolment
from earwitness.examine.finding import Finding
from earwitness.examine.models import FURTHER, TASKS
from earwitness.examine.questions import Channel
from earwitness.examine.shared_sounds import COLUMNS, SharedSounds, judge_sounds
from earwitness.speaker.phonetic_traits.discriminability import PhoneDiscriminability
from earwitness.speaker.phonetic_traits.verifier import EXTRA, traits_info


@pytest.fixture(scope="module")
def question(trait_run: Path) -> SharedSounds:
    made = FURTHER["traits"](str(trait_run / "model"))
    assert isinstance(made, SharedSounds)
    return made


def enrolled(*paths: Path) -> Enrolment:
    return Enrolment((), tuple((str(path), sha256_file(path)) for path in paths), (), ())


def known_phones(question: SharedSounds) -> tuple[PhoneDiscriminability, ...]:
    return question.verifier.known.discriminability


def asked(question: SharedSounds, path: Path, *references: Path) -> Finding:
    (finding,) = question.answer(Channel(path, None, file_facts(path)), enrolled(*references))
    return finding


def test_it_is_asked_only_with_references_and_a_named_model(question: SharedSounds, toy_voices: Path) -> None:
    assert "traits" in TASKS
    path = toy_voices.parent / "v0-3.wav"
    assert list(question.answer(Channel(path, None, file_facts(path)), None)) == []


def test_few_sounds_are_shown_but_settle_nothing(question: SharedSounds, toy_voices: Path) -> None:
    folder = toy_voices.parent
    found = asked(question, folder / "v0-3.wav", folder / "v0-4.wav", folder / "v0-5.wav")
    assert (found.verdict, found.llr, found.hypotheses) == ("inconclusive", None, None)
    assert any("Only 6 sound(s) are shared; below 8" in limit for limit in found.limits)
    (table,) = found.tables
    assert table.columns == COLUMNS
    assert (table.drawn, table.neutral) == ("percentile", 50.0)
    assert {row[0] for row in table.rows} == {"AA", "AE", "EH", "IY", "OW", "UW"}
    percentiles = [row[2] for row in table.rows]
    assert percentiles == sorted(percentiles, reverse=True)  # type: ignore[type-var]
    assert all(row[7] > 0.05 and row[8] > 0.1 for row in table.rows)  # type: ignore[operator]
    counted = {one.phone: f"{one.target_trials} + {one.nontarget_trials}" for one in known_phones(question)}
    assert all(row[5] == counted[str(row[0])] for row in table.rows)
    assert any("labels in random order" in line for line in found.evidence)
    assert any("phones read from files" in line for line in found.evidence)
    assert found.score == pytest.approx(np.mean([row[1] for row in table.rows]), abs=1e-3)  # type: ignore[arg-type]


def test_with_enough_sounds_it_says_which_are_nearer_to_what(
    question: SharedSounds, toy_voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.examine.shared_sounds.FEW_PHONES", 5)
    folder = toy_voices.parent
    nearer: dict[str, list[Any]] = {}
    for name in ("v0-3.wav", "v7-3.wav"):
        found = asked(question, folder / name, folder / "v0-4.wav", folder / "v0-5.wav", folder / "v0-6.wav")
        assert found.verdict == "answer"
        assert found.tone == "neutral"
        assert found.answer.startswith("Of 6 sounds that both hold")
        nearer[name] = [row[6] for row in found.tables[0].rows if row[0] == "IY"]
    assert nearer == {"v0-3.wav": ["one"], "v7-3.wav": ["two"]}


def test_a_model_whose_phones_say_nothing_settles_nothing(
    question: SharedSounds, toy_voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.examine.shared_sounds.FEW_PHONES", 5)
    verifier = question.verifier
    known = traits_info(verifier.info)
    assert known.figures is not None
    figures = known.figures.model_copy(update={"evidence_eer_random_labels": 0.0})
    extra = {**verifier.info.extra, EXTRA: known.model_copy(update={"figures": figures}).model_dump(mode="json")}
    prints = [verifier.hear_file(toy_voices.parent / f"v0-{number}.wav") for number in (3, 4)]
    monkeypatch.setattr(verifier, "info", verifier.info.model_copy(update={"extra": extra}))
    found = judge_sounds(prints[0], prints[1:], verifier)
    assert found.verdict == "inconclusive"
    assert any("the sounds say nothing" in limit for limit in found.limits)


def test_a_recording_without_a_track_has_no_answer(question: SharedSounds, toy_voices: Path, tmp_path: Path) -> None:
    shutil.copy(toy_voices.parent / "v0-3.wav", tmp_path)
    found = asked(question, tmp_path / "v0-3.wav", toy_voices.parent / "v0-4.wav")
    assert found.verdict == "no answer"
    assert "has no phone track beside it" in found.answer
    assert found.model is not None


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="answers 'speaker', not 'speaker-traits'"):
        SharedSounds.by("speaker-small")
