"""Figures of stretches on splices whose scores are made up, and the rule that is chosen by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.audio.recording import Segment
from earwitness.core.errors import DataError, ModelError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splices import Kind
from earwitness.evaluation.assessing.localisation import LOCALISATION, LocalisationTest, localisation_test
from earwitness.evaluation.assessing.splices import (
    ScoredSplice,
    auc_within,
    choose_rule,
    figures,
    find,
    read_scored_splices,
)
from earwitness.metrics.segments import SegmentScores
from earwitness.metrics.stretches import StretchRule
from earwitness.training.model_folder import read_model_info
from tiny_models import make_detector

RULE = StretchRule(1.0, 0.5, 0.5)


def splice(kind: Kind, speaker: str, dip: float, noise: float = 0.0, seed: int = 0) -> ScoredSplice:
    """10 s in steps of 0.5 s, from 4 to 6 s `dip` below the rest, which is 3."""
    rng = np.random.default_rng(seed)
    scores = 3 + noise * rng.standard_normal(20)
    scores[8:12] -= dip
    place = None if kind == "none" else Segment(4.0, 6.0)
    segments = SegmentScores(0.5, 10.0, scores, np.full(20, 0.5))
    return ScoredSplice(f"{kind}-{speaker}", kind, speaker, "tts" if kind == "spoof" else None, place, segments)


def perfect(speakers: int = 8) -> list[ScoredSplice]:
    """Synthetic inserts fall by 2, human ones not; every untouched recording but the first is even."""
    found = []
    for number in range(speakers):
        name = f"s{number}"
        found += [splice("spoof", name, 2), splice("twin", name, 2), splice("genuine", name, 0)]
        found.append(splice("none", name, 0 if number else 2))
    return found


def test_what_counts_as_a_hit() -> None:
    assert find(splice("spoof", "a", 2), RULE).edges_s == (0.0, 0.0)
    assert not find(splice("spoof", "a", 0.9), RULE).hit
    late = splice("spoof", "a", 0)
    late.segments.scores[10:14] -= 2  # 5 to 7 s: half of the insert
    found = find(late, RULE)
    assert found.hit
    assert found.edges_s == (1.0, 1.0)
    late.segments.scores[10] += 2
    assert not find(late, RULE).hit
    assert len(find(splice("none", "a", 2), RULE).stretches) == 1
    assert auc_within(splice("spoof", "a", 2)) == 1
    assert auc_within(splice("genuine", "a", -2)) == 0
    assert auc_within(splice("none", "a", 2)) is None


def test_figures_by_hand() -> None:
    found = figures(perfect(), RULE, n_resamples=50)
    assert {name: one.value for name, one in found.hits.items()} == {"spoof": 1, "twin": 1, "genuine": 0}
    assert {name: one.value for name, one in found.above_control.items()} == {"spoof": 1, "twin": 1, "synthetic": 1}
    assert found.false_a_minute
    assert found.false_a_minute.value == pytest.approx(1 / (8 * 10 / 60))
    assert (found.false_a_minute.unit, found.false_a_minute.n_units) == ("host speaker", 8)
    assert found.edge_median_s
    assert found.edge_90_s
    assert (found.edge_median_s.value, found.edge_90_s.value) == (0, 0)
    assert found.auc_within["spoof"].value == 1
    blind = figures([splice(s.kind, s.speaker, 0) for s in perfect()], RULE, n_resamples=20)
    assert blind.above_control["synthetic"].value == 0
    assert blind.edge_median_s is None


def test_the_rule_is_chosen_by_hits_above_the_control() -> None:
    noisy = [
        splice(s.kind, s.speaker, 4 if s.kind in ("spoof", "twin") else 0, 0.5, i) for i, s in enumerate(perfect())
    ]
    rule = choose_rule(noisy)
    assert rule is not None
    assert 0.5 < rule.fall <= 4
    assert figures(noisy, rule, n_resamples=20).above_control["synthetic"].value > 0.9
    edits = [splice(s.kind, s.speaker, 0 if s.kind == "none" else 4) for s in perfect()]
    assert choose_rule(edits) is None  # what hears edits of any kind has nothing above the control
    assert choose_rule([splice(s.kind, s.speaker, 0) for s in perfect()]) is None


def test_a_models_test_is_kept_and_read_again(tmp_path: Path) -> None:
    info = read_model_info(make_detector(tmp_path / "m"))
    assert localisation_test(info) is None
    tested = LocalisationTest.of(2.0, 0.5, RULE, figures(perfect(), RULE, n_resamples=50), "here")
    kept = info.model_copy(update={"extra": {LOCALISATION: tested.model_dump(mode="json")}})
    assert localisation_test(kept) == tested
    assert tested.rule == RULE
    assert tested.shown
    blind = figures([splice(s.kind, s.speaker, 0) for s in perfect()], RULE, n_resamples=20)
    assert not LocalisationTest.of(2.0, 0.5, RULE, blind, "here").shown
    with pytest.raises(ModelError, match="extra 'localisation' cannot be read"):
        localisation_test(info.model_copy(update={"extra": {LOCALISATION: {"fall": "deep"}}}))


def test_splices_are_read_with_their_scores(tmp_path: Path) -> None:
    rows = {
        "path": ["spoof/a.flac", "none/b.flac", "spoof/c.flac"],
        "speaker": ["x", None, "z"],
        "splice": ["spoof", "none", "spoof"],
        "splice_start": ["1.5", None, "1"],
        "splice_end": ["2.25", None, "2"],
    }
    scores = pl.DataFrame(
        {
            "id": ["spoof/a.flac"] * 3 + ["none/b.flac", "spoof/c.flac"],
            "start": [0.0, 1.0, 2.0, 0.0, None],
            "end": [1.0, 2.0, 2.4, 0.8, None],
            "score": [3.0, 2.0, 1.0, 5.0, None],
            "seconds_used": [1.0, 1.0, 0.4, 0.8, None],
            "error": [None, None, None, None, "is silent"],
        }
    )
    one, other = read_scored_splices(Manifest(pl.DataFrame(rows), tmp_path), scores)
    assert (one.kind, one.speaker, one.place) == ("spoof", "x", Segment(1.5, 2.25))
    assert (one.segments.step_s, one.segments.seconds, one.segments.ends_s.tolist()) == (1, 2.4, [1, 2, 2.4])
    assert (other.speaker, other.place, other.segments.step_s) == ("none/b.flac", None, 0.8)
    with pytest.raises(DataError, match="no manifest of splices"):
        read_scored_splices(Manifest(pl.DataFrame({"path": ["a"]}), tmp_path), scores)
