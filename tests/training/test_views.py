"""Several views of an utterance in a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile

from earwitness.corpora.manifest import Manifest
from earwitness.training.data import train_batches
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.views import viewed_batches


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., Any]) -> Manifest:
    folder = tmp_path_factory.mktemp("views")
    for number in range(5):
        soundfile.write(folder / f"{number}.wav", speechlike(1.0, seed=number), 16_000)
    table = pl.DataFrame(
        {"path": [f"{k}.wav" for k in range(5)], "speaker": list("abcde"), "age": [20.0, 30, 40, 50, 60]}
    )
    return Manifest(table, folder)


def recipe(**changes: Any) -> UtteranceRecipe:
    branch = {"frontend": {"kind": "fbank"}, "encoder": {"kind": "identity"}}
    given = {
        "name": "t",
        "task": "t",
        "data": {"manifests": ["t"]},
        "audio": {"crop_s": 0.3, "trim_silence": False},
        "network": {"branches": [branch]},
        "loop": {"epochs": 1, "batch_size": 2},
        "seed": 3,
    }
    return UtteranceRecipe.model_validate({**given, **changes})


def test_a_batch_holds_all_first_views_then_all_second_ones(rows: Manifest) -> None:
    plain, viewed = train_batches(recipe(), rows), viewed_batches(recipe(), rows, 2)
    assert viewed.count(0) == plain.count(0) == 2  # of two and three rows: none of one
    for one, two in zip(plain.load(0, range(2)), viewed.load(0, range(2)), strict=True):
        assert two.ids == (*one.ids, *one.ids)
        first, second = two.waveforms.chunk(2)
        assert first.equal(one.waveforms)
        assert all(not a.equal(b) for a, b in zip(first, second, strict=True))
        assert two.targets.age is not None
        assert two.targets.age.chunk(2)[0].equal(two.targets.age.chunk(2)[1])
        assert two.paths == 1


def test_views_are_drawn_anew_each_epoch_and_the_same_again(rows: Manifest) -> None:
    batches = viewed_batches(recipe(), rows, 3)
    (before,) = [batch.waveforms for batch in batches.load(0, [0])]
    (later,) = [batch.waveforms for batch in batches.load(1, [0])]
    (again,) = [batch.waveforms for batch in batches.load(0, [0])]
    assert len(before) == 6
    assert again.equal(before)
    assert not later.equal(before)


def test_one_view_is_plain_training_and_audio_is_kept_once(rows: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    from earwitness.corpora import batches as module

    load = module.load
    monkeypatch.setattr(module, "load", lambda path, **given: (read.append(Path(path).name), load(path, **given))[1])
    list(viewed_batches(recipe(), rows, 2).load(0, range(2)))
    assert sorted(read) == [f"{k}.wav" for k in range(5)]
    one, plain = viewed_batches(recipe(), rows, 1), train_batches(recipe(), rows)
    for a, b in zip(one.load(0, range(2)), plain.load(0, range(2)), strict=True):
        assert a.waveforms.equal(b.waveforms)
