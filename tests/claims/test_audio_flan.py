"""The claims of Audio-FLAN on drawn features and made-up labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from earwitness.claims import audio_flan, audio_flan_guard
from earwitness.claims.audio_flan import FlanMaterial
from earwitness.claims.audio_flan_guard import FORESEEN, KINDS, RECORDS, SOUND, UNFORESEEN, GuardMaterial
from earwitness.claims.running import run_claim
from earwitness.corpora.manifest import Manifest

TAGS = ("de", "en-zhL1", "en-us", "fr")


def manifest(folder: Path) -> Manifest:
    """Many voices for sex, language and synthesis; emotions of ten of them."""
    rows = []
    for voice in range(100):
        acted = voice < 10
        rows += [
            {
                "id": f"v{voice}-{take}",
                "path": f"v{voice}-{take}.wav",
                "speaker": f"v{voice}",
                "sex": "mf"[voice % 2],
                "language": TAGS[voice // 2 % 4],
                "label": "spoof" if voice % 10 == 9 else "bonafide",
                "emotion": ("anger", "neutral", "sadness")[take % 3] if acted else None,
                "transcript": f"sentence {take % 3}",
                "corpus": "acted" if acted else f"read-{voice % 3}",
                "licence": "CC0-1.0",
            }
            for take in range(12 if acted else 3)
        ]
    return Manifest(pl.DataFrame(rows, infer_schema_length=None), folder)


class Drawn(FlanMaterial):
    """Features that tell each label a little."""

    @property
    def features(self) -> NDArray[np.float32]:  # type: ignore[override]
        rng = np.random.default_rng(2)
        names = ("sex", "language", "label", "emotion")
        marks = [self.rows.table[name].fill_null("none").to_physical() for name in names]
        codes = [np.unique(mark.to_numpy().astype(str), return_inverse=True)[1] for mark in marks]
        one_hot = np.concatenate([np.eye(5)[code] for code in codes], axis=1)
        return (one_hot @ rng.normal(size=(20, 160)) + 0.3 * rng.normal(size=(len(self.rows), 160))).astype(np.float32)


def test_arms_learn_from_other_records_of_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_flan, "STEPS", 40)
    rows = audio_flan._drawn(manifest(tmp_path))
    material = Drawn(rows, tuple(rows.table["id"]), "drawn", tmp_path)
    assert len(material.records[audio_flan.SMALL]) == 108  # one of the acting voices is a spoof
    for seed in (1, 2):
        train, test = (material.side(seed, test=side) for side in (False, True))
        assert {row for _, row, _ in train}.isdisjoint({row for _, row, _ in test})
        assert {material.groups[row] for _, row, _ in train}.isdisjoint({material.groups[row] for _, row, _ in test})
    result = run_claim(audio_flan.CLAIM, (1, 2, 3), material, tmp_path / "runs")
    arms = {arm.name: arm for arm in result.judgement.arms}
    share = {
        name: {figure.name: figure.value for figure in arm.figures}.get("draws of the smallest task, %")
        for name, arm in arms.items()
    }
    assert share["a=0"] == pytest.approx(25, abs=2)
    assert (share["a=1"] or 0) < (share["a=0.5"] or 0) < (share["a=0"] or 0)
    assert arms["a=1"].error < 25 < arms["majority"].error
    runs = [audio_flan.CLAIM.run("a=0.5", 1, material, tmp_path).scores for _ in range(2)]
    assert np.array_equal(*runs)


def test_the_guard_is_judged_by_kinds_it_foresees_and_by_others(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    manifest(tmp_path).write(path)
    material = GuardMaterial.read(path, tmp_path)
    drawn = material.drawn(1)
    assert len(drawn) == len(KINDS) * RECORDS
    for kind in (*FORESEEN, *UNFORESEEN):
        texts = [(record, found) for name, record, found in drawn if name == kind]
        assert all((record.instruction, record.input, record.output) != found for record, found in texts)
    result = run_claim(audio_flan_guard.CLAIM, (1, 2, 3), material, tmp_path / "runs")
    arms = {arm.name: arm for arm in result.judgement.arms}
    assert arms["none"].error == 50
    assert arms["guard"].error < arms["ids"].error < 50
    figures = {figure.name: figure.value for figure in arms["guard"].figures}
    assert figures["sound taken, %"] == 100
    assert figures["foreseen damage taken, %"] == 0
    assert figures["other damage taken, %"] > 80  # what a comparison of texts cannot see
    assert len(SOUND) + len(FORESEEN) + len(UNFORESEEN) == len(KINDS)
