"""INSIDE as a claim: new voices are made between training speakers alone, and stand beside real ones in the batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
import soundfile
from test_speaker_claims import Spoken, manifest, small

from earwitness.claims import inside
from earwitness.claims.inside import CLAIM, SETTINGS, InsideClaim, Setting, _batches
from earwitness.claims.invented import CONFIG, Invented, invented
from earwitness.claims.material import ROTATIONS
from earwitness.claims.speaker_learning import CROP, FILTERS
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.config import parse_config
from earwitness.core.errors import LeakError, MissingPartError
from earwitness.corpora.making import is_marked_synthetic
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion.pairs import Control, Pair
from earwitness.speaker.identity_expansion.synthesisers.toy import RATE, ToyConfig, drawn_voice, spoken
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.training.recipe import assign

IDENTITIES, TAKES = 6, 3


def energies(name: str, rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
    own = np.random.default_rng(sum(map(ord, name))).normal(size=FILTERS)
    return rng.normal(size=(240, FILTERS)) + 3 * own * rng.uniform(0, 1, size=(240, 1))


class Kept(Spoken):
    """Spectra are drawn once, and are the same at every speed."""

    drawn: ClassVar[dict[View, Halves]] = {}

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        if view not in self.drawn:
            self.drawn[view] = super().spectra(view)
        return self.drawn[view]


class Drawn(Invented):
    """New voices whose spectra are drawn."""

    def spectra(self, view: View = "clean") -> Halves:
        rng = np.random.default_rng([0 if view == "clean" else int(view)])
        return np.stack([energies(name, rng) for name in self.rows.table["speaker"]]).astype(np.float16)


def drawn(material: SpeakerMaterial, seed: int, control: Control) -> Invented:
    names = sorted(set(material.speakers[material.sides(seed).train]))
    parents = [(names[k], names[k if control == "resynthesis" else k + 1]) for k in range(IDENTITIES)]
    pairs = tuple(Pair(f"{control}{k}", a, b, "f", 0.8, 0.5, 37.0) for k, (a, b) in enumerate(parents))
    ids = [f"{pair.new_id}/{take}" for pair in pairs for take in range(TAKES)]
    table = pl.DataFrame({"id": ids, "path": ids, "speaker": [name.split("/")[0] for name in ids]})
    rows = Manifest.from_table(table.with_columns(label=pl.lit("spoof"), system=pl.lit("drawn")), ".")
    return Drawn(rows, tuple(ids), pairs, 0, Path("nowhere"))


@pytest.fixture(scope="module")
def spoken_rows() -> SpeakerMaterial:
    rows = manifest()
    return Kept(rows, tuple(rows.table["id"]), "drawn", Path("nowhere"))


def recipe_of(claim: InsideClaim, seed: int = 1) -> SpeakerRecipe:
    recipe: SpeakerRecipe = parse_config(SpeakerRecipe, {**claim.recipe, "seed": seed})
    return recipe


def tiny() -> InsideClaim:
    data: dict[str, Any] = assign(CLAIM.recipe, "draws=64")
    return replace(CLAIM, recipe=small(assign(data, "network.branches.0.pooling={kind: statistics}")), invent=drawn)


def test_every_arm_takes_as_many_steps_and_new_voices_are_their_share(spoken_rows: SpeakerMaterial) -> None:
    claim = tiny()
    assert list(SETTINGS) == [arm.name for arm in claim.plan.arms]
    real = len(set(spoken_rows.speakers[spoken_rows.sides(1).train]))
    counts = set()
    for setting in SETTINGS.values():
        new = None if setting.control is None else drawn(spoken_rows, 1, setting.control)
        train = _batches(setting, recipe_of(claim), spoken_rows, new)
        batches = list(train.load(0, range(train.count(0))))
        counts.add((train.count(0), sum(len(batch.ids) for batch in batches)))
        synthetic = sum("/" in name for batch in batches for name in batch.ids)
        assert synthetic == (0 if new is None else round(64 * IDENTITIES / (IDENTITIES + real)))
        fresh = IDENTITIES if setting.control not in (None, "resynthesis") else 0
        assert len(train.classes) == real * len(setting.played) + fresh
        top = max(int(batch.targets.speaker.max()) for batch in batches if batch.targets.speaker is not None)
        assert top < len(train.classes)
        assert batches[0].waveforms.shape == (16, CROP * FILTERS)
    assert counts == {(4, 64)}


def test_a_speaker_at_another_speed_is_another_class_and_one_made_anew_is_not(spoken_rows: SpeakerMaterial) -> None:
    recipe = recipe_of(tiny())
    names = sorted(set(spoken_rows.speakers[spoken_rows.sides(1).train]))
    at_speeds = _batches(Setting(speeds=True), recipe, spoken_rows, None)
    seen = {
        (name.split("-")[0], int(target))
        for batch in at_speeds.load(0, range(4))
        for name, target in zip(batch.ids, batch.targets.speaker.tolist(), strict=True)  # type: ignore[union-attr]
    }
    assert all(target % len(names) == names.index(name) for name, target in seen)
    assert {target // len(names) for _, target in seen} == {0, 1, 2}
    anew = _batches(Setting(control="resynthesis"), recipe, spoken_rows, drawn(spoken_rows, 1, "resynthesis"))
    for batch in anew.load(0, range(4)):
        for name, target in zip(batch.ids, batch.targets.speaker.tolist(), strict=True):  # type: ignore[union-attr]
            if "/" in name:
                assert target == names.index(names[int(name.split("/")[0].removeprefix("resynthesis"))])


def test_arms_learn_who_speaks_and_tell_of_their_new_voices(spoken_rows: SpeakerMaterial, tmp_path: Path) -> None:
    claim = tiny()
    runs = {arm: claim.run(arm, 1, spoken_rows, tmp_path / arm) for arm in ("plain", "both-inside")}
    same = spoken_rows.same(spoken_rows.trials(1))
    for run in runs.values():
        assert run.scores[same].mean() > run.scores[~same].mean()
    assert runs["plain"].figures == ()
    told = {figure.name: figure.value for figure in runs["both-inside"].figures}
    assert told["identities"] == IDENTITIES
    assert 0 <= told["AUC of a probe, real against synthetic"] <= 1
    assert 0 <= told["taken for a parent, %"] <= 100


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> SpeakerMaterial:
    """Ten toy voices of one sex with two utterances each."""
    folder, rows = tmp_path_factory.mktemp("toys"), []
    for speaker in range(10):
        voice = drawn_voice(np.random.default_rng(speaker), "f")
        for take in range(2):
            name = f"v{speaker}-{take}"
            soundfile.write(folder / f"{name}.wav", spoken("a bird in the tree", voice, take), RATE)
            rows.append({"id": name, "path": f"{name}.wav", "speaker": f"v{speaker}", "sex": "f", "label": "bonafide"})
    table = pl.DataFrame(rows).with_columns(stratum=pl.lit("toys"))
    return SpeakerMaterial(Manifest.from_table(table, folder), tuple(table["id"]), "toys", folder / "kept")


def test_new_voices_lie_between_training_speakers_and_are_made_once(toys: SpeakerMaterial) -> None:
    config = CONFIG.model_copy(update={"synthesiser": ToyConfig(), "identities": 2, "utterances": 2})
    config = config.model_copy(update={"pairs": config.pairs.model_copy(update={"lowest": -1.0, "highest": 1.0})})
    new = invented(toys, 1, "none", config)
    assert new.failed == 0
    assert len(new.pairs) == 2
    train = set(toys.speakers[toys.sides(1).train])
    assert {name for pair in new.pairs for name in (pair.parent_a, pair.parent_b)} <= train
    assert len(new.rows) == 4
    paths = [new.rows.resolve(row) for row in new.rows.rows()]
    assert all(is_marked_synthetic(path) for path in paths)
    before = [path.stat().st_mtime_ns for path in paths]
    again = invented(toys, 1, "none", config)
    assert again.rows.table.equals(new.rows.table)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert new.spectra().shape[0] == 4
    assert not np.array_equal(new.spectra(), new.spectra(1))
    assert len(toys.fold) == 20
    assert set(toys.fold) == set(range(ROTATIONS))


def test_without_its_synthesiser_the_claim_refuses_before_anything_is_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing() -> None:
        raise MissingPartError("the WORLD vocoder cannot be loaded", fix="pip install 'earwitness[twins]'")

    monkeypatch.setattr("earwitness.corpora.twins.world.World.require", missing)
    with pytest.raises(MissingPartError, match="earwitness\\[twins\\]"):
        inside.CLAIM.read(tmp_path / "no manifest.csv", tmp_path)


def test_a_parent_that_is_tested_is_refused(toys: SpeakerMaterial, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaking(SpeakerMaterial):
        def sides(self, seed: int) -> Any:
            sides = super().sides(seed)
            return replace(sides, train=np.append(sides.train, sides.test[:1]), test=sides.test[1:])

    leaking = Leaking(toys.rows, toys.hashes, toys.source, toys.folder)
    with pytest.raises(LeakError):
        invented(leaking, 1, "none", CONFIG.model_copy(update={"synthesiser": ToyConfig()}))
