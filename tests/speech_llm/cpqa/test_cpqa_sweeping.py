"""Thresholds against labels, on drawn and on planted windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.speech_llm.cpqa.classes import LABELLED
from earwitness.speech_llm.cpqa.forms import WindowRow
from earwitness.speech_llm.cpqa.planted import Planted, PlantedConfig, plant
from earwitness.speech_llm.cpqa.sweeping import Guess, best, guesses_of, read_truth, sweep, told

SEEDS = range(5)


def planted_guesses(found: Planted, labels: bool = True) -> list[Guess]:
    return [
        Guess(LABELLED[called], float(valence), LABELLED[truth] if labels else None)
        for truth, called, valence in zip(found.truth, found.called, found.valence, strict=True)
    ]


@pytest.mark.shows("cpqa:6.4")
def test_planted_noise_is_sifted_out_where_valence_knows_and_only_there(capsys: pytest.CaptureFixture[str]) -> None:
    knows = [plant(PlantedConfig(), seed) for seed in SEEDS]
    independent = [plant(PlantedConfig(independent=True), seed) for seed in SEEDS]
    assert all(0.57 < one.uwa_all < 0.63 for one in [*knows, *independent])  # 40 % were flipped
    assert all(one.uwa_kept > one.uwa_all + 0.03 for one in knows)
    assert all(one.uwa_kept > one.uwa_at_random + 0.05 for one in knows)
    assert all(one.uwa_kept <= one.uwa_all + 0.01 for one in independent)
    gains = [one.uwa_kept - one.uwa_at_random for one in independent]
    assert abs(np.mean(gains)) < 0.01
    assert max(map(abs, gains)) < 0.04
    for name, found in (("valence knows", knows), ("independent", independent)):
        for one in found:
            print(f"{name}: UWA {one.uwa_all:.3f} -> {one.uwa_kept:.3f}, kept {one.retention:.3f}")
    assert capsys.readouterr().out.count("kept 0.") == 10
    assert all(0.2 < one.retention < 0.8 for one in knows)


def test_nothing_is_gained_where_nothing_is_flipped() -> None:
    found = plant(PlantedConfig(flip=0.0), 0)
    assert found.uwa_all == found.uwa_kept == 1.0
    np.testing.assert_array_equal(plant(PlantedConfig(), 3).valence, plant(PlantedConfig(), 3).valence)


@pytest.mark.shows("cpqa:6.5")
def test_the_sweep_finds_the_planted_thresholds_and_claims_none_without_labels() -> None:
    found = sweep(planted_guesses(plant(PlantedConfig(windows=1500), 1)))
    assert len(found.cells) == len({(c.thresholds.upper, c.thresholds.lower) for c in found.cells}) == 19
    chosen = best(found, 0.3)
    allowed = [cell for cell in found.cells if cell.retention >= 0.3]
    assert chosen.uwa == max(cell.uwa or 0 for cell in allowed)
    assert chosen.uwa is not None
    assert found.unfiltered is not None
    assert chosen.uwa > found.unfiltered + 0.03
    free = best(found, 0.0)
    held = best(found, free.retention + 0.02)
    assert held.retention > free.retention
    assert (held.uwa or 0) < (free.uwa or 0)
    lines = list(told(found))
    assert len(lines) == 2 + len(found.cells)
    assert all(word in lines[1] for word in ("UWA", "kept", "entropy", *LABELLED))
    with pytest.raises(DataError, match="no thresholds keep 99%"):
        best(found, 0.99)
    unlabelled = sweep(planted_guesses(plant(PlantedConfig(windows=1500), 1), labels=False))
    assert [cell.retention for cell in unlabelled.cells] == [cell.retention for cell in found.cells]
    assert {cell.uwa for cell in unlabelled.cells} == {None}
    with pytest.raises(DataError, match="without human labels"):
        best(unlabelled)


def row(name: str, emotion: str) -> WindowRow:
    rest = (0.2, None, None, "negative", True, None)
    return WindowRow(name[:1], name[:3], name, 0, 4, 1, 3, {}, emotion, *rest)  # type: ignore[arg-type]


def test_labels_of_people_come_by_window_segment_or_recording(tmp_path: Path) -> None:
    windows = [row("a-0-0", "sad"), row("a-0-1", "sad"), row("a-1-0", "angry"), row("b-0-0", "sad")]
    table = tmp_path / "labels.csv"
    table.write_text("seg_id,emotion\na-0,sadness\nb-0,boredom\n")
    truth, unknown = read_truth(table, windows)
    assert truth == {"a-0-0": "sad", "a-0-1": "sad"}
    assert unknown == {"boredom": 1}
    assert sweep(guesses_of(windows, truth)).windows == 2
    table.write_text("rec_id,emotion\na,anger\n")
    assert read_truth(table, windows)[0] == dict.fromkeys(["a-0-0", "a-0-1", "a-1-0"], "angry")
    table.write_text("name,emotion\na,anger\n")
    with pytest.raises(DataError, match="no table of labels"):
        read_truth(table, windows)
    table.write_text("rec_id,emotion\nz,anger\n")
    with pytest.raises(DataError, match="labels none"):
        read_truth(table, windows)
    with pytest.raises(DataError, match="holds no windows"):
        sweep([])
