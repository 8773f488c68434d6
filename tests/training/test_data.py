"""From a recipe's data to guarded sides and batches that can be asked for again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from tiny_training import TinyNetwork, TinyTask, tiny_network, tiny_recipe

from earwitness.audio.perturb.noise import ColouredNoiseConfig
from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler
from earwitness.corpora.splits import ByColumn
from earwitness.training.data import EpochBatches, FixedBatches, read_split
from earwitness.training.loop import fit
from earwitness.training.recipe import DataConfig

RATE = 16_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 short recordings of 12 speakers, loud ones bona fide."""
    home = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        label = "bonafide" if i % 2 else "spoof"
        samples = rng.standard_normal(RATE // 8) * (0.2 if label == "bonafide" else 0.05)
        soundfile.write(home / f"{i:02d}.wav", samples, RATE)
        licence = "CC-BY-NC-4.0" if i == 23 else "CC-BY-4.0"
        rows.append({"path": f"{i:02d}.wav", "label": label, "speaker": f"s{i % 12}", "licence": licence})
    pl.DataFrame(rows).write_csv(home / "manifest.csv")
    return home


def sides(**options: object) -> DataConfig:
    return DataConfig.model_validate({"manifests": ["manifest.csv"], **options})


def test_sides_are_drawn_by_the_rule_and_guarded(corpus: Path, tmp_path: Path) -> None:
    rule = ByColumn(unit="speaker", dev=0.3, test=0.2, seed=4)
    data = read_split(sides(), rule, "speaker", root=corpus)
    assert len(data.train) + len(data.dev) + len(data.test) == 23
    assert not set(data.train.table["speaker"]) & set(data.dev.table["speaker"])
    assert "1 row(s) left out for their licence" in data.notes
    data.write(tmp_path)
    assert len(Manifest.read(tmp_path / "train.csv")) == len(data.train)


def test_a_split_file_comes_before_the_rule_and_its_leaks_stop_the_run(corpus: Path, tmp_path: Path) -> None:
    table = pl.DataFrame({"id": [f"{i:02d}.wav" for i in range(10)], "split": ["train"] * 6 + ["dev"] * 4})
    table.write_csv(tmp_path / "sides.csv")
    config = sides(split_file=tmp_path / "sides.csv")
    data = read_split(config, ByColumn(), "speaker", root=corpus)
    assert (len(data.train), len(data.dev), len(data.test)) == (6, 4, 0)
    assert "13 row(s) on no side: not in the split file" in data.notes

    torn = pl.DataFrame({"id": ["01.wav", "13.wav"], "split": ["train", "dev"]})  # both s1
    torn.write_csv(tmp_path / "sides.csv")
    with pytest.raises(LeakError, match="s1"):
        read_split(config, ByColumn(), "speaker", root=corpus)
    allowed = read_split(config, ByColumn(), "speaker", allow_leak=True, root=corpus)
    assert any("leak allowed by name: speaker 's1'" in note for note in allowed.notes)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"id": ["00.wav"], "side": ["train"]}, "no column `split`"),
        ({"id": ["00.wav", "00.wav"], "split": ["train", "dev"]}, "more than once"),
        ({"id": ["99.wav"], "split": ["train"]}, "'99.wav'"),
        ({"id": ["00.wav"], "split": ["train"]}, "no row stands on the side 'dev'"),
    ],
)
def test_a_bad_split_file_is_refused(corpus: Path, tmp_path: Path, table: dict[str, list[str]], said: str) -> None:
    pl.DataFrame(table).write_csv(tmp_path / "sides.csv")
    with pytest.raises(DataError) as caught:
        read_split(sides(split_file=tmp_path / "sides.csv"), ByColumn(), "speaker", root=corpus)
    assert said in str(caught.value)


def batches(corpus: Path, workers: int = 0) -> EpochBatches:
    manifest = Manifest.read(corpus / "manifest.csv")
    noise = ColouredNoiseConfig().build()
    dataset = UtteranceDataset(manifest, UtteranceOptions(crop_s=0.1, perturbation=noise, seed=1))
    return EpochBatches(dataset, BalancedSampler(manifest, ("label",), 6, seed=1), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_place_of_an_epoch_can_be_loaded_again(corpus: Path, workers: int) -> None:
    data = batches(corpus, workers)
    whole = {epoch: list(data.load(epoch, range(data.count(epoch)))) for epoch in (0, 1)}
    again = list(batches(corpus).load(1, [3, 1]))
    for batch, place in zip(again, (3, 1), strict=True):
        assert batch.ids == whole[1][place].ids
        assert torch.equal(batch.waveforms, whole[1][place].waveforms)
    assert whole[0][0].ids != whole[1][0].ids
    assert not torch.equal(whole[0][0].waveforms, whole[1][0].waveforms)


def test_dev_batches_hold_every_row_of_every_set_once_and_stay_the_same(corpus: Path) -> None:
    manifest = Manifest.read(corpus / "manifest.csv")
    noisy = UtteranceOptions(crop_s=0.1, perturbation=ColouredNoiseConfig().build())
    dev = FixedBatches([UtteranceDataset(manifest, o) for o in (UtteranceOptions(crop_s=0.1), noisy)], batch_size=5)
    first, second = list(dev), list(dev)
    assert [name for batch in first for name in batch.ids] == 2 * manifest.table["id"].to_list()
    assert len(dev) == len(first) == 10
    assert all(torch.equal(a.waveforms, b.waveforms) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0].waveforms, first[5].waveforms)


def test_training_on_recordings_is_the_same_with_any_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    states = []
    for workers in (0, 1):
        network: TinyNetwork = tiny_network()
        recipe = tiny_recipe(epochs=2, select=None, workers=workers)
        fit(network, TinyTask(), batches(corpus, workers), None, recipe, tmp_path / str(workers))
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
