"""The mean of checkpoints is their mean: every state counts once, and none is changed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import TinyNetwork
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.training.averaging import average_states


def state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = TinyNetwork()
    for _ in range(seed + 1):
        network(torch.randn(4, 64))  # moves the running statistics and the counter
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_mean_of_all_states_batch_norm_included() -> None:
    states = [state(seed) for seed in range(5)]
    kept = [{name: value.clone() for name, value in s.items()} for s in states]
    mean = average_states(states)
    assert mean.keys() == states[0].keys()
    for name in ("conv.weight", "norm.running_mean", "norm.running_var"):
        expected = torch.stack([s[name].double() for s in states]).mean(0).float()
        assert torch.equal(mean[name], expected), name
    for before, after in zip(kept, states, strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert all(mean[name].data_ptr() != after[name].data_ptr() for name in mean)


def test_counters_are_those_of_the_last() -> None:
    states = [state(seed) for seed in (3, 0, 1)]
    assert average_states(states)["norm.num_batches_tracked"] == 2
    assert average_states(states)["norm.num_batches_tracked"].dtype == torch.int64


def test_states_that_are_loaded_into_one_network_do_not_alias() -> None:
    network = TinyNetwork()
    states = [state(seed) for seed in range(3)]

    def loaded():  # the released code of several papers averages live references, and so counts one state twice
        for s in states:
            network.load_state_dict(s)
            yield network.state_dict()

    expected, got = average_states(states), average_states(loaded())
    assert all(torch.equal(expected[name], got[name]) for name in expected if "num_batches" not in name)


def test_large_values_do_not_lose_small_ones() -> None:
    values = [torch.tensor([1e8]), torch.tensor([1.0]), torch.tensor([-1e8])]
    assert average_states({"w": value} for value in values)["w"].item() == pytest.approx(1 / 3)


@given(st.integers(1, 6))
def test_equal_states_are_their_own_mean(count: int) -> None:
    one = state(1)
    mean = average_states([one] * count)
    assert all(torch.equal(mean[name], one[name]) and mean[name].dtype == one[name].dtype for name in one)


def test_other_networks_are_refused() -> None:
    one = state(0)
    with pytest.raises(ModelError, match=r"'extra' is not in all"):
        average_states([one, {**one, "extra": torch.zeros(1)}])
    with pytest.raises(ModelError, match=r"'head\.bias' is float32 \[2\] and float32 \[3\]"):
        average_states([one, {**one, "head.bias": torch.zeros(3)}])
    with pytest.raises(ModelError, match="no checkpoints"):
        average_states([])
