"""CPQA's claim on drawn probabilities: what its arms keep, what they are judged on, and that its control is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.claims import cpqa
from earwitness.claims.cpqa import CLAIM, DROPPED, NOT_ASKED, PLANTED, CondensedMaterial
from earwitness.claims.ledger import details, read_result
from earwitness.claims.plan import arm_names
from earwitness.claims.running import run_claim
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.cpqa.classes import CLASSES, LABELLED

TRUTH = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")


class Drawn(CondensedMaterial):
    """A recogniser that is sure where it is right, and never says `surprised`."""

    @property
    def probabilities(self) -> Floats:  # type: ignore[override]
        rng = np.random.default_rng(3)
        logits = rng.normal(size=(len(self.rows), len(CLASSES)))
        right = rng.random(len(self.rows)) < 0.7
        places = [CLASSES.index(LABELLED[place]) for place in self.truth]
        logits[np.flatnonzero(right), np.array(places)[right]] += 4
        logits[:, [CLASSES.index(name) for name in ("surprised", "other", "unknown")]] = -9
        shares = np.exp(logits)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


@pytest.fixture
def material(monkeypatch: pytest.MonkeyPatch) -> CondensedMaterial:
    monkeypatch.setattr(cpqa, "_recogniser_key", lambda: "drawn")
    monkeypatch.setattr(cpqa, "PLANTED", PLANTED.model_copy(update={"windows": 400}))
    rows = [
        {"id": f"{speaker}-{name}-{take}", "path": "a.wav", "speaker": f"s{speaker}", "emotion": name}
        for speaker in range(6)
        for name in TRUTH
        for take in range(5)
    ]
    table = pl.DataFrame(rows).with_columns(corpus=pl.lit("nemo_nc"), licence=pl.lit("CC-BY-NC-SA-4.0"))
    manifest = Manifest.from_table(table, ".")
    return Drawn(manifest, tuple(manifest.table["id"]), "drawn", Path("nowhere"))


def test_the_arms_keep_what_they_say(material: CondensedMaterial) -> None:
    rows = ~material.tuning(1)
    assert set(material.speakers[rows]) & set(material.speakers[~rows]) == set()
    assert len(set(material.speakers[rows])) == 3
    runs = {arm: CLAIM.run(arm, 1, material, Path("nowhere")).scores for arm in arm_names(CLAIM.plan)}
    for arm, scores in runs.items():
        planted, acted = scores[:400], scores[400:]
        assert set(acted if arm.startswith("planted") else planted) == {NOT_ASKED}
    assert (runs["planted-all"][:400] >= 0).all()
    for one, other in (("planted-kept", "planted-random"), ("acted-kept", "acted-random")):
        assert np.bincount(runs[one][runs[one] >= 0].astype(int)).tolist() == (
            np.bincount(runs[other][runs[other] >= 0].astype(int)).tolist()
        )
    assert 0 < (runs["planted-kept"] == DROPPED).sum() < 400
    assert (runs["acted-kept"] >= 0).sum() == (runs["acted-sure"] >= 0).sum()
    assert not np.array_equal(runs["acted-kept"], runs["acted-sure"])


def test_the_claim_is_judged_and_its_control_shows_nothing(material: CondensedMaterial, tmp_path: Path) -> None:
    result = run_claim(CLAIM, [1, 2, 3], material, tmp_path / "runs")
    result.write(tmp_path / "cpqa.json")
    assert "planted-kept" in details(read_result(tmp_path / "cpqa.json"))
    verdicts = {(d.expected.better, d.expected.worse): d.verdict for d in result.judgement.differences}
    assert verdicts["planted-kept", "planted-all"] == "seen"
    assert verdicts["planted-kept", "planted-random"] == "seen"
    assert verdicts["planted-independent-kept", "planted-independent-random"] != "seen"
    arms = {arm.name: arm for arm in result.judgement.arms}
    assert arms["planted-all"].error == pytest.approx(40, abs=3)
    assert arms["acted-kept"].error < arms["acted-all"].error
    kept = {figure.name: figure.value for figure in arms["acted-kept"].figures}
    assert 0 < kept["kept, %"] < 100


def test_the_error_is_that_of_the_kept_labels(material: CondensedMaterial) -> None:
    tested = material.tested([1, 2])
    scores = np.full(tested.count(1), DROPPED)
    truth = tested.truths[1]
    chosen = np.flatnonzero(truth == 0)[:4]
    scores[chosen] = [0, 0, 0, 1]
    assert tested.error(1, scores)(np.ones(tested.units.count)) == pytest.approx(25)


def test_a_manifest_without_the_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("path,corpus,speaker,emotion\na.wav,emodb,s1,anger\n")
    with pytest.raises(DataError, match="nothing of nemo"):
        CondensedMaterial.read(tmp_path / "rows.csv", tmp_path)
