"""The classifier of a voice's sex, with and without invented voices, and what is said of the difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion import ExpansionConfig, expand_identities
from earwitness.speaker.identity_expansion.sexes import Told, by_sex, compare, tell, train_sexes
from earwitness.speaker.recipe import SpeakerRecipe


def told(wrong: dict[str, int], utterances: int = 10) -> Told:
    """Ten utterances of each of twenty speakers, so many of them wrong."""
    speakers = [f"t{number:02d}" for number in range(20) for _ in range(utterances)]
    right = np.concatenate([[k >= wrong.get(f"t{number:02d}", 0) for k in range(utterances)] for number in range(20)])
    sex = np.repeat([number % 2 for number in range(20)], utterances)
    return Told(right.astype(float), sex.astype(float), tuple(speakers))


def test_errors_and_gain_over_speakers() -> None:
    real = told({"t00": 5, "t02": 5, "t03": 4, "t06": 4, "t08": 2})
    expanded = told({"t00": 3, "t02": 4, "t03": 4, "t06": 3, "t08": 1})
    found = compare(real, expanded, ["a", "b"], resamples=300)
    assert found.real.value == pytest.approx(20 / 200)
    assert found.expanded.value == pytest.approx(15 / 200)
    assert found.balanced_real.value == pytest.approx((16 / 100 + 4 / 100) / 2)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.25)
    assert found.gain.low < 0.25 < found.gain.high
    assert (found.real.n_units, found.real.unit) == (20, "speaker")
    assert "relative gain +25.0 %" in str(found)
    worse = compare(expanded, real, ["a"], resamples=300)
    assert worse.gain is not None
    assert worse.gain.value < 0
    flawless = compare(told({}), told({"t00": 1}), ["a"])
    assert flawless.gain is None
    assert "not defined" in str(flawless)


def test_test_speakers_are_strangers() -> None:
    with pytest.raises(LeakError, match="the test speaker 't03'"):
        compare(told({"t00": 1}), told({}), ["a", "t03"])
    with pytest.raises(DataError, match="same utterances"):
        compare(told({}, 9), told({}), ["a"])


def test_a_classifier_learns_with_and_without_invented_voices(
    toy_corpus: Manifest, config: ExpansionConfig, recipe: SpeakerRecipe, tmp_path: Path
) -> None:
    train, test = (toy_corpus.filter(pl.col("split") == side) for side in ("train", "test"))
    made = expand_identities(toy_corpus, tmp_path / "made", config)
    assert set(made.manifest.table["sex"]) <= {"f", "m"}
    plain = recipe.model_dump()
    plain |= {"draws": 240, "optimiser": {"kind": "adamw", "lr": 0.02}, "dev_audio": "clean"}
    plain["loop"] = {**plain["loop"], "select": None, "batch_size": 12}
    quick = SpeakerRecipe.model_validate(plain)
    answers = []
    for name, expansion in (("real", None), ("expanded", made.manifest)):
        trainee = train_sexes(quick, train, expansion, tmp_path / name)
        learnt = tell(trainee, quick, train)
        assert learnt.right.mean() > 0.7  # toy voices: the pitch says it
        answers.append(tell(trainee, quick, test))
    found = compare(*answers, sorted(set(train.table["speaker"])), resamples=100)
    assert 0 <= found.expanded.value <= 1
    assert found.real.n_units == 2
    again = train_sexes(quick, train, made.manifest, tmp_path / "again")
    assert tell(again, quick, test).right.tolist() == answers[1].right.tolist()


def test_rows_of_no_sex_are_refused(toy_corpus: Manifest) -> None:
    assert set(by_sex(toy_corpus).table["speaker"]) == {"f", "m"}
    table = toy_corpus.table.with_columns(sex=pl.when(pl.col("id") == "v1-0.flac").then(None).otherwise("sex"))
    with pytest.raises(DataError, match=r"v1-0\.flac: has no sex"):
        by_sex(toy_corpus.with_table(table))
