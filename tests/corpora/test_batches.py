"""Batches: the same for any number of workers and after any interruption; every target in its place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import (
    Utterance,
    UtteranceDataset,
    UtteranceOptions,
    Vocabulary,
    collate,
    crop_start,
    cropped,
    levelled,
)
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler, BatchOrder, LengthBucketSampler

Samples = NDArray[np.float32]


def noisy(samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """A perturbation that can be sent to workers."""
    return samples + np.float32(0.01) * rng.standard_normal(len(samples)).astype(np.float32)


def longer(samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    return np.repeat(samples, 2)


def test_whole_utterance_with_targets(recordings: Manifest) -> None:
    speakers = Vocabulary.of(recordings, "speaker")
    data = UtteranceDataset(recordings, UtteranceOptions(rate=8000), speakers)
    assert speakers.names == ("s0", "s1", "s2")
    assert len(data) == 6
    item = data[1]
    expected, _ = sf.read(recordings.resolve(recordings.row(1)), dtype="float32")
    np.testing.assert_allclose(item.samples.numpy(), expected, atol=1e-6)
    assert (item.id, item.label, item.speaker, item.emotion, item.rate) == ("1.wav", 1, 1, -1, 8000)
    assert math.isnan(item.age)
    assert [data[i].label for i in range(6)] == [0, 1, 0, 1, 0, 1]


def test_start_end_and_channel_are_heard(tmp_path: Path, tone: Callable[..., Samples]) -> None:
    stereo = np.stack([tone(1.0, 8000), np.full(8000, 0.25, np.float32)], axis=1)
    sf.write(tmp_path / "a.wav", stereo, 8000, subtype="FLOAT")
    table = pl.DataFrame({"path": ["a.wav"], "start": [0.25], "end": [0.75], "channel": [1]})
    item = UtteranceDataset(Manifest(table, tmp_path), UtteranceOptions(rate=8000))[0]
    assert item.samples.tolist() == [0.25] * 4000


def test_random_crop_differs_by_epoch_and_item_only(recordings: Manifest) -> None:
    options = UtteranceOptions(rate=8000, crop_s=0.2, perturbation=noisy, seed=5)
    data, same = UtteranceDataset(recordings, options), UtteranceDataset(recordings, options)
    first = data[3].samples
    assert len(first) == 1600
    assert torch.equal(first, data[3].samples)
    assert torch.equal(first, same[3].samples)
    data.set_epoch(1)
    assert not torch.equal(first, data[3].samples)
    data.set_epoch(0)
    assert torch.equal(first, data[3].samples)
    other = UtteranceDataset(recordings, UtteranceOptions(rate=8000, crop_s=0.2, perturbation=noisy, seed=6))
    assert not torch.equal(first, other[3].samples)


def test_one_row_among_others_or_alone_is_the_same(recordings: Manifest) -> None:
    options = UtteranceOptions(rate=8000, crop_s=0.2, perturbation=noisy)
    alone = UtteranceDataset(recordings.filter(pl.col("id") == "4.wav"), options)
    assert torch.equal(alone[0].samples, UtteranceDataset(recordings, options)[4].samples)


def shifted(samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """The same, told by its level."""
    return (samples + 1).astype(np.float32)


@pytest.mark.parametrize("perturb", ["crop", "file"])
def test_twins_are_the_same_crop_clean_and_perturbed(recordings: Manifest, perturb: Any) -> None:
    options = UtteranceOptions(rate=8000, crop_s=0.2, perturbation=shifted, perturb=perturb, twins=True)
    data = UtteranceDataset(recordings, options)
    clean = UtteranceDataset(recordings, replace(options, perturbation=None, twins=False))
    batch = collate([data[k] for k in (0, 1, 2)])
    first, second = batch.each_path()
    assert (batch.paths, first.paths, len(batch.ids), batch.ids[:3]) == (2, 1, 6, batch.ids[3:])
    torch.testing.assert_close(second.waveforms, first.waveforms + 1)
    assert torch.equal(first.waveforms, collate([clean[k] for k in (0, 1, 2)]).waveforms)
    for path in (first, second):
        assert path.ids == batch.ids[:3]
        assert path.lengths.tolist() == [1600] * 3
        assert torch.equal(path.targets.label, collate([clean[k] for k in (0, 1, 2)]).targets.label)
    assert batch.to("cpu").paths == 2


def test_a_file_is_perturbed_before_it_is_cut(recordings: Manifest) -> None:
    """What hears the whole file hears its length, and the crop lies where it lay, also where the length changes."""
    heard: list[int] = []

    def half(samples: Samples, rate: int, rng: np.random.Generator) -> Samples:
        heard.append(len(samples))
        return samples[::2]

    options = UtteranceOptions(rate=8000, crop_s=0.02, perturbation=half, perturb="file", twins=True)
    data = UtteranceDataset(recordings, options)
    whole = UtteranceDataset(recordings, UtteranceOptions(rate=8000))
    for row in range(4):
        item, samples = data[row], whole[row].samples
        assert heard[-1] == len(samples)
        start = next(k for k in range(len(samples)) if torch.equal(samples[k : k + 160], item.samples))
        assert item.augmented is not None
        place = min(round(start / 2), len(samples) // 2 - 160)
        assert torch.equal(item.augmented, samples[::2][place : place + 160])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing_even_between_epochs(recordings: Manifest, workers: int) -> None:
    options = UtteranceOptions(rate=8000, crop_s=0.2, perturbation=noisy)
    data = UtteranceDataset(recordings, options)
    order = LengthBucketSampler(data.durations_s, batch_size=2)
    loader: DataLoader[Batch] = DataLoader(
        data,  # type: ignore[arg-type]
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=True,
    )
    for epoch in range(2):
        data.set_epoch(epoch)
        order.set_epoch(epoch)
        alone = UtteranceDataset(recordings, options)
        alone.set_epoch(epoch)
        expected = [collate([alone[i] for i in batch]) for batch in order.batches(epoch)]
        for found, wanted in zip(loader, expected, strict=True):
            assert found.ids == wanted.ids
            assert torch.equal(found.waveforms, wanted.waveforms)


def test_short_utterances_are_repeated_and_lengths_stay_exact(recordings: Manifest) -> None:
    item = UtteranceDataset(recordings, UtteranceOptions(rate=8000, crop_s=1.25, crop_from="start"))[0]
    assert torch.equal(item.samples[:4000], item.samples[4000:8000])
    assert len(item.samples) == 10_000
    stretched = UtteranceDataset(recordings, UtteranceOptions(rate=8000, crop_s=0.3, perturbation=longer))[0]
    assert len(stretched.samples) == 2400


def test_cropped_and_levelled() -> None:
    ramp = np.arange(10, dtype=np.float32)
    assert cropped(ramp, 4).tolist() == [0, 1, 2, 3]
    assert cropped(ramp, 23).tolist() == [*range(10), *range(10), 0, 1, 2]
    starts = {int(cropped(ramp, 4, crop_start(ramp, 4, np.random.default_rng(seed)))[0]) for seed in range(100)}
    assert starts == set(range(7))
    loud = levelled(ramp, -20)
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-20, abs=1e-4)
    assert levelled(np.zeros(4, np.float32), -20).tolist() == [0] * 4


def test_trimming_takes_silence_away(tmp_path: Path, speechlike: Callable[..., Samples]) -> None:
    silence = np.zeros(8000, np.float32)
    sf.write(tmp_path / "a.wav", np.concatenate([silence, speechlike(1.0, 8000, 1), silence]), 8000)
    manifest = Manifest(pl.DataFrame({"path": ["a.wav"]}), tmp_path)
    whole = UtteranceDataset(manifest, UtteranceOptions(rate=8000))[0].samples
    trimmed = UtteranceDataset(manifest, UtteranceOptions(rate=8000, trim="energy"))[0].samples
    assert len(whole) == 24_000
    assert 4000 < len(trimmed) < 10_000


def test_kept_audio_is_the_same_from_the_first_use_on(recordings: Manifest) -> None:
    plain = UtteranceDataset(recordings, UtteranceOptions(rate=8000))
    kept = UtteranceDataset(recordings, UtteranceOptions(rate=8000, keep_in_memory=True))
    first = kept[2].samples
    assert (first - plain[2].samples).abs().max() < 1 / 32_000
    recordings.resolve(recordings.row(2)).unlink()
    assert torch.equal(kept[2].samples, first)
    with pytest.raises(AudioError, match=r"2\.wav"):
        plain[2]


def test_kept_audio_may_pass_full_scale(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.array([0.0, 1.5, -2.0], np.float32), 8000, subtype="FLOAT")
    manifest = Manifest(pl.DataFrame({"path": ["a.wav"]}), tmp_path)
    item = UtteranceDataset(manifest, UtteranceOptions(rate=8000, keep_in_memory=True))[0]
    assert item.samples.tolist() == pytest.approx([0.0, 1.5, -2.0], abs=1e-4)


def test_a_broken_file_is_named_not_skipped(recordings: Manifest) -> None:
    recordings.resolve(recordings.row(0)).write_text("no audio")
    with pytest.raises(AudioError, match=r"0\.wav"):
        UtteranceDataset(recordings)[0]


def test_durations_come_from_the_manifest(make: Callable[..., Manifest]) -> None:
    rows = [{"duration_s": 4.0}, {"duration_s": 4.0, "start": 1.0}, {"start": 1.0, "end": 1.5}]
    assert UtteranceDataset(make(rows)).durations_s == [4.0, 3.0, 0.5]
    with pytest.raises(DataError, match="no `duration_s`"):
        _ = UtteranceDataset(make([{"duration_s": 1.0}, {}])).durations_s


def test_vocabulary(make: Callable[..., Manifest]) -> None:
    words = Vocabulary.of(
        make([{"emotion": "joy"}, {"emotion": "anger"}, {"emotion": None}, {"emotion": "joy"}]), "emotion"
    )
    assert words == Vocabulary(("anger", "joy"))
    assert [words.index(name) for name in ("anger", "joy", "fear", None)] == [0, 1, -1, -1]
    assert len(words) == 2
    with pytest.raises(DataError, match="sorted"):
        Vocabulary(("b", "a"))
    with pytest.raises(DataError, match="no row has a emotion"):
        Vocabulary.of(make([{"label": "spoof"}]), "emotion")


def test_collate_pads_with_zeros() -> None:
    items = [
        Utterance("a", torch.ones(3), 8000, label=1, speaker=2, age=30.0, emotion=-1),
        Utterance("b", torch.ones(5), 8000, label=-1, speaker=-1, age=math.nan, emotion=4),
    ]
    batch = collate(items)
    assert batch.waveforms.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.lengths.tolist() == [3, 5]
    assert (batch.ids, batch.rate) == (("a", "b"), 8000)
    targets = batch.targets
    assert targets.label is not None
    assert targets.label.tolist() == [1, -1]
    assert targets.speaker is not None
    assert targets.speaker.tolist() == [2, -1]
    assert targets.emotion is not None
    assert targets.emotion.tolist() == [-1, 4]
    assert targets.age is not None
    assert targets.age.dtype == torch.float32
    assert targets.age[0] == 30
    assert targets.age[1].isnan()


def lengths(n: int) -> list[float]:
    return np.random.default_rng(0).uniform(1, 10, n).tolist()


def test_buckets_hold_each_row_once_at_similar_lengths() -> None:
    seconds = lengths(101)
    order = LengthBucketSampler(seconds, batch_size=8, seed=2)
    batches = list(order)
    assert len(order) == len(batches) == 13
    assert sorted(i for batch in batches for i in batch) == list(range(101))
    spread = [max(seconds[i] for i in batch) / min(seconds[i] for i in batch) for batch in batches]
    assert np.median(spread) < 1.6
    order.set_epoch(1)
    assert list(order) != batches


@pytest.mark.parametrize("kind", ["buckets", "balanced"])
def test_a_resumed_epoch_goes_on_where_it_stopped(kind: str, make: Callable[..., Manifest]) -> None:
    def order() -> BatchOrder:
        if kind == "buckets":
            return LengthBucketSampler(lengths(50), batch_size=4, seed=7)
        return BalancedSampler(make([{"label": "spoof" if i % 5 else "bonafide"} for i in range(50)]), ["label"], 4, 7)

    whole, resumed = order(), order()
    whole.set_epoch(3)
    resumed.set_epoch(3, start=5)
    assert list(resumed) == list(whole)[5:]
    assert len(resumed) == len(list(resumed)) == len(whole) - 5


def test_balance_over_nested_columns(make: Callable[..., Manifest]) -> None:
    rows = [{"label": "bonafide", "corpus": "a"}] * 30
    rows += [{"label": "bonafide", "corpus": "b"}] * 10 + [{"label": "spoof", "corpus": "c"}] * 4
    order = BalancedSampler(make(rows), ("label", "corpus"), batch_size=10, seed=1, size=400)
    drawn = [i for batch in order for i in batch]
    assert len(drawn) == 400
    counts = Counter((rows[i]["label"], rows[i]["corpus"]) for i in drawn)
    assert counts["spoof", "c"] == pytest.approx(200, abs=1)
    assert counts["bonafide", "a"] == pytest.approx(100, abs=1)
    assert counts["bonafide", "b"] == pytest.approx(100, abs=1)
    within = Counter(i for i in drawn if rows[i]["corpus"] == "a")
    assert set(within.values()) <= {3, 4}
    halves = [sum(rows[i]["label"] == "spoof" for i in batch) for batch in order]
    assert 0 < min(halves) < max(halves) <= 10


def test_samplers_refuse_nonsense(make: Callable[..., Manifest]) -> None:
    with pytest.raises(DataError, match="no column `labl`"):
        BalancedSampler(make([{"label": "spoof"}]), ["labl"], 2)
    with pytest.raises(DataError, match="batch of 0"):
        LengthBucketSampler([1.0], 0)


def test_real_recordings_load(shared_data: Any) -> None:
    from earwitness.corpora.readers import read_corpus

    manifest = read_corpus("earwitness-data", shared_data).manifest
    some = manifest.with_table(manifest.table.sample(12, seed=1))
    data = UtteranceDataset(some, UtteranceOptions(crop_s=2.0))
    batch = collate([data[i] for i in range(12)])
    assert batch.waveforms.shape == (12, 32_000)
    assert bool(torch.isfinite(batch.waveforms).all())
    assert (batch.waveforms.abs().amax(1) > 0.001).all()


@pytest.mark.parametrize(
    ("rows", "size", "sizes"), [(9, 4, [4, 5]), (8, 4, [4, 4]), (6, 4, [4, 2]), (1, 4, [1]), (3, 1, [1] * 3)]
)
def test_no_batch_of_one_row_ends_an_epoch(
    rows: int, size: int, sizes: list[int], make: Callable[..., Manifest]
) -> None:
    """Batch-norm cannot learn from one row; no row is left out for it."""
    table = make([{"label": "spoof"}] * rows)
    for order in (BalancedSampler(table, ["label"], size), LengthBucketSampler([1.0] * rows, size)):
        batches = order.batches(0)
        assert sorted(map(len, batches)) == sorted(sizes)
        assert len(order) == len(batches)
        assert sorted(place for batch in batches for place in batch) == list(range(rows))
