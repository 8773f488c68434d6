"""Conditions and tested perturbations: named once, drawn alike for a recording, and told apart by what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.audio.facts import signal_facts
from earwitness.audio.perturb import item_rng
from earwitness.audio.perturb.suite import BY_NAME, PERTURBATIONS
from earwitness.core.errors import MissingPartError
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import CONDITION_WORDS, CONDITIONS, TESTED, TestedName, put_under

RATE = 16_000
Speech = Callable[..., NDArray[np.float32]]


def test_every_name_has_what_it_means() -> None:
    assert tuple(TESTED) == get_args(TestedName)
    assert all(name == perturbation.name for name, perturbation in TESTED.items())
    assert tuple(CONDITION_WORDS) == get_args(ConditionName) == ("clean", *CONDITIONS)
    assert list(BY_NAME.values()) == list(PERTURBATIONS)


@pytest.mark.parametrize("name", TESTED)
def test_a_perturbation_changes_the_samples_and_nothing_else(name: TestedName, speechlike: Speech) -> None:
    samples = speechlike(1.0)
    try:
        one, two = (put_under(name, samples, RATE, item_rng(0, 0, "a")) for _ in range(2))
    except MissingPartError:
        pytest.skip("this machine lacks the codec")
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32
    assert len(one) == len(samples)
    assert np.abs(one - samples).max() > 1e-3


def test_what_a_low_pass_leaves_is_not_below_the_tested_band(speechlike: Speech) -> None:
    """The least bandwidth on a detector's card is that of its telephone band: what was tested counts as tested."""
    for name in ("low-pass-3400hz", "narrow_band"):
        found = signal_facts(put_under(name, speechlike(2.0), RATE, item_rng(0, 0, "a")), RATE).bandwidth_hz
        assert found is not None
        assert found >= 3_400


def test_clean_is_as_it_was(speechlike: Speech) -> None:
    samples = speechlike(0.5)
    assert put_under("clean", samples, RATE, item_rng(0, 0, "a")) is samples
