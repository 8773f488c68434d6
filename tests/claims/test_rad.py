"""RAD's claim on drawn rows: who is in the database, who is left out, and what its arms tell of themselves."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from earwitness.claims import rad
from earwitness.claims.kept import HeardFrames
from earwitness.claims.material import DetectionMaterial
from earwitness.claims.views import View

STATES, FRAMES, WIDTH = 3, 4, 16


class Spoken(DetectionMaterial):
    """Short frames of three hidden states: a speaker is a point, what is synthetic adds the same vector."""

    def kept(self, view: View = "clean") -> HeardFrames:
        rng = np.random.default_rng(3)
        speakers = self.rows.table["speaker"].fill_null(self.rows.table["system"]).to_list()
        voices = {name: 3 * rng.standard_normal((STATES, 1, WIDTH)) for name in sorted(set(speakers))}
        artefact = rng.standard_normal(WIDTH)
        points = np.stack([voices[name] for name in speakers])
        noise = 0.5 * rng.standard_normal((len(speakers), STATES, FRAMES, WIDTH))
        short = points + noise + (1 - self.labels)[:, None, None, None] * artefact
        half = short.astype(np.float16)
        return HeardFrames((half[:, 0], half[:, 0]), half)


@pytest.fixture(scope="module")
def spoken(material: DetectionMaterial) -> DetectionMaterial:
    return Spoken(**{field.name: getattr(material, field.name) for field in fields(material)})


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = rad.BUDGET | {"draws": 64, "loop": rad.BUDGET["loop"] | {"epochs": 1, "accelerator": "cpu"}}
    monkeypatch.setattr(rad, "BUDGET", budget)


def figures(run: rad.ArmRun) -> dict[str, float]:
    return {figure.name: figure.value for figure in run.figures}


@pytest.mark.shows("rad:6.8")
def test_arms_score_and_print_who_their_neighbours_are(spoken: DetectionMaterial, tmp_path: Path) -> None:
    sides = spoken.sides(1)
    runs = {arm: rad.CLAIM.run(arm, 1, spoken, tmp_path / arm) for arm in rad.SETTINGS}
    assert list(runs) == [arm.name for arm in rad.PLAN.arms]
    assert {arm: rad.SETTINGS[arm].neighbours for arm in ("mfa", "rad-1", "rad-5", "rad-10")} == {
        "mfa": 0,
        "rad-1": 1,
        "rad-5": 5,
        "rad-10": 10,
    }
    assert all(len(run.scores) == len(sides.test) and np.isfinite(run.scores).all() for run in runs.values())
    assert runs["mfa"].figures == ()
    present, absent, unguarded = (figures(runs[arm]) for arm in ("rad-10", "rad-10-absent", "rad-10-unguarded"))
    humans = spoken.labels[sides.test].mean()
    assert present["excluded a query"] == pytest.approx(humans)  # each human test recording is in the database itself
    assert absent == {"excluded a query": 0.0}  # no test speaker can be found
    assert unguarded["excluded a query"] == 0
    rates = [present[f"same speaker at rank 1, layer {layer}, human"] for layer in (1, 2)]
    assert min(rates) > 0.9  # voices are far apart, and each speaker has another recording
    assert "same speaker at rank 1, layer 3, human" not in present  # hidden state 0 is no layer
    for arm in ("rad-1", "rad-10"):
        print(arm, figures(runs[arm]))


def test_test_speakers_are_absent_from_the_other_database(spoken: DetectionMaterial) -> None:
    table, test = spoken.rows.table, spoken.sides(2).test
    tested = set(table[test]["speaker"].drop_nulls())
    present = rad._Run(rad.SETTINGS["rad-10"], 2, spoken)._database
    absent = rad._Run(rad.SETTINGS["rad-10-absent"], 2, spoken)._database
    assert {origin.speaker for origin in present.origins} == set(table["speaker"].drop_nulls())
    assert not {origin.speaker for origin in absent.origins} & tested
    assert len(absent) > 10
