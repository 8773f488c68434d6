"""Averaging checkpoints: the arithmetic mean of the weights of several epochs, as the field's recipes do after
training.

Batch-norm running statistics are averaged with the weights; counters (integers, such as `num_batches_tracked`) cannot
be averaged and are taken from the last state. The mean is kept in float64 until it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from earwitness.core.errors import ModelError

State = Mapping[str, Tensor]


def average_states(states: Iterable[State], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """The mean of state-dicts, one in memory at a time; new tensors, none of the given ones is written to.

    `shares` weigh the states and sum to 1; None: all alike. Raises `ModelError` where there is no state, or where names
    or shapes differ.
    """
    if shares is not None and len(set(shares)) > 1:
        return _weighted(states, shares)
    sums: dict[str, Tensor] = {}
    last: State = {}
    count = 0
    for state in states:
        if count:
            _require_same(last, state)
        for name, value in state.items():
            if value.is_floating_point():
                sums[name] = sums[name] + value.double() if count else value.double().clone()
        last, count = state, count + 1
    if not count:
        raise ModelError("there are no checkpoints to average")
    return {
        name: (sums[name] / count).to(value.dtype) if value.is_floating_point() else value.clone()
        for name, value in last.items()
    }


def _weighted(states: Iterable[State], shares: Sequence[float]) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    last: State = {}
    for state, share in zip(states, shares, strict=True):
        if last:
            _require_same(last, state)
        for name, value in state.items():
            if value.is_floating_point():
                sums[name] = sums.get(name, 0.0) + share * value.double()
        last = state
    return {
        name: sums[name].to(value.dtype) if value.is_floating_point() else value.clone() for name, value in last.items()
    }


def _require_same(first: State, other: State) -> None:
    if odd := sorted(first.keys() ^ other.keys()):
        raise ModelError(f"checkpoints of different networks cannot be averaged: '{odd[0]}' is not in all of them")
    for name, value in first.items():
        if value.shape != other[name].shape or value.dtype != other[name].dtype:
            forms = f"{_form(value)} and {_form(other[name])}"
            raise ModelError(f"checkpoints of different networks cannot be averaged: '{name}' is {forms}")


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
