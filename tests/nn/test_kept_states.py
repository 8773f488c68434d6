"""Models that hear one recording one after the other run a shared encoder once."""

from __future__ import annotations

import torch
from torch import Tensor

from earwitness.nn.frontends import encoder as encoders
from earwitness.nn.frontends.aggregation import HiddenStates, build_aggregation
from earwitness.nn.frontends.encoder import EncoderFrontend, SpeechEncoder, keeping_states


class Counting(SpeechEncoder):
    """State n is the waveform in frames of 4, times n; counts its passes."""

    source, count, dim, frames_per_second, shortest = "counting", 4, 4, 50.0, 4

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []

    def forward(self, waveforms: Tensor, last: int | None = None) -> HiddenStates:
        states = self.count if last is None else last + 1
        self.passes.append(states)
        return tuple(waveforms.unflatten(1, (-1, 4)) * n for n in range(states))


def reading(encoder: SpeechEncoder, layer: int) -> EncoderFrontend:
    return EncoderFrontend(encoder, build_aggregation("layer", (layer,), encoder.count, encoder.dim))


def test_a_batch_is_heard_once_and_anew_only_for_more_layers() -> None:
    encoder = Counting()
    low, high = reading(encoder, 1), reading(encoder, 3)
    one, other = torch.rand(2, 8), torch.rand(2, 8)
    with keeping_states():
        for batch in (one, other):
            torch.testing.assert_close(high(batch).values, batch.unflatten(1, (-1, 4)) * 3)
            torch.testing.assert_close(low(batch).values, batch.unflatten(1, (-1, 4)))
        assert encoder.passes == [4, 4]
        third = torch.rand(2, 8)
        low(third), high(third), low(third)
        assert encoder.passes == [4, 4, 2, 4]
    low(one)
    assert encoder.passes == [4, 4, 2, 4, 2]  # nothing is kept outside


def test_two_encoders_are_two() -> None:
    first, second = Counting(), Counting()
    batch = torch.rand(2, 8)
    with keeping_states():
        reading(first, 2)(batch), reading(second, 2)(batch)
    assert (first.passes, second.passes) == ([3], [3])


def test_what_is_kept_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "MOST_KEPT", 2 * 4 * 2 * 8 * 4)  # two batches' states
    encoder = Counting()
    head = reading(encoder, 3)
    batches = [torch.rand(2, 8) for _ in range(3)]
    with keeping_states():
        for batch in batches:
            head(batch)
        head(batches[2]), head(batches[1])
        assert len(encoder.passes) == 3
        head(batches[0])
    assert len(encoder.passes) == 4
