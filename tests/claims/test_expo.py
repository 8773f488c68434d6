"""ExPO as a claim: phones are heard once, labels stand beside their frames, and evidence needs the right ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from test_speaker_claims import manifest

from earwitness.claims.expo import CLAIM, NETWORKS, SETTINGS, ExpoClaim
from earwitness.claims.phoned import Labels, PhonedMaterial, PhonedPairs, PhonedSpectra, relabelled
from earwitness.claims.speaker_learning import CROP, FILTERS
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.core.errors import MissingPartError
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.detection import eer
from earwitness.speaker.phones import ARPABET, Maker, Recogniser
from earwitness.speaker.phonetic_traits.recipe import SpeakerTraitsRecipe

FRAMES, STRETCH, PHONES = 240, 12, 6


class Knowing(Recogniser):
    """Hears S in the first half and IY in the second."""

    def __init__(self) -> None:
        self.maker = Maker("recogniser", "drawn")
        self.asked = 0

    def marks(self, samples: np.ndarray) -> Iterable[tuple[float, float, str | None]]:  # type: ignore[type-arg]
        self.asked += 1
        return [(0.0, 2.0, "s"), (2.0, 4.0, "i")]


class Phoned(PhonedMaterial):
    """Phones come in stretches; each has its own spectrum, and each speaker a way of saying each of its own."""

    def labels(self) -> Labels:
        rng = np.random.default_rng(5)
        stretches = rng.integers(1, 1 + PHONES, size=(len(self.rows), FRAMES // STRETCH))
        return np.repeat(stretches, STRETCH, axis=1)

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        return self._noisy[0 if view == "clean" else int(view)]

    @cached_property
    def _noisy(self) -> list[Halves]:
        rng = np.random.default_rng(7)
        return [(self._spoken + rng.normal(size=self._spoken.shape)).astype(np.float16) for _ in range(3)]

    @cached_property
    def _spoken(self) -> np.ndarray:  # type: ignore[type-arg]
        phones = np.random.default_rng(6).normal(size=(1 + PHONES, FILTERS))
        own = {name: np.random.default_rng(int(name[1:])).normal(size=phones.shape) for name in set(self.speakers)}
        voices = np.stack([own[name] for name in self.speakers])
        return (3 * phones + 1.5 * voices)[np.arange(len(self.rows))[:, None], self.labels()]


@pytest.fixture(scope="module")
def phoned() -> PhonedMaterial:
    rows = manifest()
    return Phoned(rows, tuple(rows.table["id"]), "drawn", Path("nowhere"), Knowing())


def tiny() -> ExpoClaim:
    network = {
        **CLAIM.recipe["network"],
        "encoder": {"kind": "ecapa", "form": "ws", "channels": 16, "outputs": 24, "se_hidden": 8},
        "embedding": {"dim": 12},
    }
    loop = {**CLAIM.recipe["loop"], "epochs": 2, "batch_size": 16}
    return replace(CLAIM, recipe={**CLAIM.recipe, "network": network, "loop": loop, "draws": 256})


def test_every_network_and_arm_is_named(phoned: PhonedMaterial) -> None:
    assert list(SETTINGS) == [arm.name for arm in CLAIM.plan.arms]
    assert {setting.network for setting in SETTINGS.values()} == set(NETWORKS)
    assert phoned.settings["phones"] == "drawn"


def test_random_labels_have_the_same_histogram_over_other_sounds(phoned: PhonedMaterial) -> None:
    labels = phoned.labels()
    other = relabelled(labels, 1)
    assert np.array_equal(np.sort(labels, axis=1), np.sort(other, axis=1))
    assert (labels != other).mean() > 0.5
    assert np.array_equal(other, relabelled(labels, 1))
    assert not np.array_equal(other, relabelled(labels, 2))


def test_labels_are_cut_with_their_frames(phoned: PhonedMaterial) -> None:
    recipe: SpeakerTraitsRecipe = parse_config(SpeakerTraitsRecipe, {**tiny().recipe, "seed": 1})
    heard = PhonedSpectra.of(phoned, phoned.labels())
    clean = replace(heard, views=(phoned._spoken.astype(np.float16),))  # type: ignore[attr-defined]
    (batch,) = PhonedPairs.of(recipe, clean, phoned.sides(1).train).load(0, [0])
    assert batch.targets.speaker is not None
    assert batch.targets.phones is not None
    first, second = batch.targets.speaker.reshape(-1, 2).T
    assert first.equal(second)
    assert len(set(first.tolist())) == 8
    assert all(a != b for a, b in zip(batch.ids[0::2], batch.ids[1::2], strict=True))
    frames = batch.waveforms.unflatten(1, (CROP, FILTERS))
    for phone in batch.targets.phones[0].unique():
        same = frames[0][batch.targets.phones[0] == phone]
        assert (same - same[0]).abs().max() < 0.05  # a phone sounds alike all over: labels and frames belong together


def test_a_network_is_trained_once_and_judged_by_decision_and_evidence(phoned: PhonedMaterial, tmp_path: Path) -> None:
    claim = tiny()
    trials = phoned.trials(1)
    same = phoned.same(trials)
    found: dict[str, float] = {}
    for arm in ("all", "all-evidence", "all-evidence-relabelled"):
        run = claim.run(arm, 1, phoned, tmp_path / arm)
        assert run.scores.shape == (len(trials),)
        found[arm] = eer(run.scores[same], run.scores[~same]).value
    assert (tmp_path / "all").is_dir()
    assert not (tmp_path / "all-evidence").exists()
    assert found["all-evidence"] < 0.3
    assert found["all-evidence"] < found["all-evidence-relabelled"] - 0.05
    told: dict[str, Any] = {
        figure.name: figure.value for figure in claim.run("all-evidence", 1, phoned, tmp_path).figures
    }
    assert 0 < told["Spearman with the decision"] <= 1
    assert 1 < told["shared phones a trial"] <= PHONES
    assert told["trials without one"] == 0


def test_phones_are_heard_once_and_kept(tmp_path: Path, speechlike: Any) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(4.5, 16_000, 0), 16_000)
    table = pl.DataFrame({"id": ["a"], "path": ["a.wav"], "speaker": ["s"], "label": ["bonafide"]})
    rows = Manifest.from_table(table.with_columns(stratum=pl.lit("c")), tmp_path)
    knowing = Knowing()
    material = PhonedMaterial(rows, ("1",), "drawn", tmp_path / "kept", knowing)
    labels = material.labels()
    assert labels.shape == (1, 398)
    assert set(labels[0, :180]) == {ARPABET.index("S")}
    assert set(labels[0, 220:]) == {ARPABET.index("IY")}
    assert np.array_equal(material.labels(), labels)
    assert knowing.asked == 1


def test_without_its_recogniser_the_claim_refuses_before_anything_is_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hama", None)
    with pytest.raises(MissingPartError, match="earwitness\\[phones\\]"):
        CLAIM.read(tmp_path / "no manifest.csv", tmp_path)
