"""Windows mean what their names say, and a streamed file gives the same ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import earwitness.audio.windows as windows_module
from earwitness.audio import (
    First,
    Segment,
    Sliding,
    Tile,
    Whole,
    Window,
    WindowPolicy,
    cut,
    heard_seconds,
    probe,
    stream_windows,
)
from earwitness.audio.windows import equal_groups, total_seconds
from earwitness.core.config import parse_config
from earwitness.core.errors import AudioError, RecipeError

RATE = 16_000
POLICIES = [
    Whole(),
    First(length_s=1.5),
    Tile(),
    Tile(length_s=0.4),
    Sliding(),
    Sliding(length_s=0.5, hop_s=0.5),
    Sliding(length_s=0.7, hop_s=0.31),
    Sliding(length_s=100, hop_s=1),
]


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (Whole(), "whole"),
        (First(length_s=4), "first 4 s"),
        (Tile(), "tile 4.0375 s"),
        (Sliding(), "sliding 4 s / 2 s"),
    ],
)
def test_names(policy: WindowPolicy, name: str) -> None:
    assert policy.name == name
    assert parse_config(WindowPolicy, policy.model_dump()) == policy


def test_whole() -> None:
    samples = np.arange(100, dtype=np.float32)
    (window,) = cut(samples, RATE, Whole())
    assert np.array_equal(window.samples, samples)
    assert (window.start_s, window.end_s) == (0, 100 / RATE)


def test_first_hears_the_start_and_stays_short() -> None:
    samples = np.arange(5 * RATE, dtype=np.float32)
    (window,) = cut(samples, RATE, First(length_s=4))
    assert np.array_equal(window.samples, samples[: 4 * RATE])
    (short,) = cut(samples[:RATE], RATE, First(length_s=4))
    assert len(short.samples) == RATE
    assert heard_seconds([short]) == 1


def test_tile_is_the_asvspoof_convention() -> None:
    samples = np.arange(30_000, dtype=np.float32)
    (window,) = cut(samples, RATE, Tile())
    assert len(window.samples) == 64_600
    assert np.array_equal(window.samples, np.tile(samples, 3)[:64_600])
    assert window.end_s == 30_000 / RATE  # real audio only
    (long,) = cut(np.arange(70_000, dtype=np.float32), RATE, Tile())
    assert np.array_equal(long.samples, np.arange(64_600))


def test_sliding_hears_everything() -> None:
    assert Sliding().spans(9 * RATE, RATE) == [(0, 64_000), (32_000, 96_000), (64_000, 128_000), (80_000, 144_000)]
    assert Sliding().spans(8 * RATE, RATE) == [(0, 64_000), (32_000, 96_000), (64_000, 128_000)]
    assert Sliding().spans(4 * RATE, RATE) == [(0, 64_000)]
    (short,) = cut(np.arange(10_000, dtype=np.float32), RATE, Sliding(length_s=1, hop_s=0.5))
    assert np.array_equal(short.samples, np.tile(np.arange(10_000), 2)[:16_000])
    assert short.end_s == 10_000 / RATE
    (as_it_is,) = cut(np.arange(10_000, dtype=np.float32), RATE, Sliding(length_s=1, hop_s=0.5, repeat=False))
    assert np.array_equal(as_it_is.samples, np.arange(10_000))


@given(count=st.integers(1, 3000), length=st.integers(1, 400), hop=st.integers(1, 400))
def test_sliding_windows_cover_every_sample(count: int, length: int, hop: int) -> None:
    policy = Sliding(length_s=length, hop_s=min(hop, length))
    windows = cut(np.arange(count, dtype=np.float32), 1, policy)
    assert all(len(window.samples) == length for window in windows)
    assert heard_seconds(windows) == count
    starts = [window.start_s for window in windows]
    assert starts == sorted(set(starts))
    assert set(np.concatenate([w.samples for w in windows]).astype(int)) == set(range(count))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.5, 11.3, 25])
def test_streamed_windows_are_those_of_the_whole(write_sound, speechlike, policy: WindowPolicy, seconds: float) -> None:
    samples = speechlike(seconds)
    path = write_sound("a.wav", samples, subtype="FLOAT")
    streamed, whole = list(stream_windows(path, policy)), cut(samples, RATE, policy)
    assert [(w.start_s, w.end_s) for w in streamed] == [(w.start_s, w.end_s) for w in whole]
    assert [(round(w.start_s * RATE), round(w.end_s * RATE)) for w in whole] == policy.spans(len(samples), RATE)
    for ours, theirs in zip(streamed, whole, strict=True):
        assert np.abs(ours.samples - theirs.samples).max() <= 1e-5


def test_times_of_a_stretch_are_those_in_the_file(write_sound, speechlike) -> None:
    path = write_sound("a.wav", speechlike(10))
    windows = list(stream_windows(path, Sliding(length_s=1, hop_s=1), start_s=2, end_s=4.5))
    assert [(w.start_s, w.end_s) for w in windows] == [(2, 3), (3, 4), (3.5, 4.5)]


def test_heard_seconds_is_a_union(write_sound, speechlike) -> None:
    windows = cut(speechlike(9), RATE, Sliding())
    assert heard_seconds(windows) == 9
    assert heard_seconds([windows[0], windows[0], windows[2]]) == 8
    assert heard_seconds([]) == 0


def test_refusals() -> None:
    with pytest.raises(AudioError, match="0 samples"):
        cut(np.zeros(0, np.float32), RATE, Sliding())
    with pytest.raises(RecipeError, match="hop_s must not exceed"):
        parse_config(WindowPolicy, {"kind": "sliding", "length_s": 1, "hop_s": 2})
    with pytest.raises(RecipeError, match="Did you mean 'sliding'"):
        parse_config(WindowPolicy, {"kind": "slidng"})
    for length_s in (0, -1, float("inf")):
        with pytest.raises(RecipeError):
            parse_config(WindowPolicy, {"kind": "first", "length_s": length_s})


def test_total_seconds_are_those_of_the_asked_stretch(write_sound, speechlike) -> None:
    path = write_sound("a.wav", speechlike(10))
    assert total_seconds(path) == 10
    assert total_seconds(path, start_s=4) == 6
    assert total_seconds(path, start_s=4, end_s=7) == 3
    assert total_seconds(path, end_s=99) == 10
    with pytest.raises(AudioError, match="no such file"):
        total_seconds(path.with_name("missing.wav"))


def test_total_seconds_of_a_file_that_does_not_say(write_sound, speechlike, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sound("a.wav", speechlike(10))
    silent = replace(probe(path), duration_s=None)
    monkeypatch.setattr(windows_module, "probe", lambda _: silent)
    assert total_seconds(path) is None
    assert total_seconds(path, start_s=1, end_s=3) == 2


def test_equal_groups_keep_the_order_and_never_mix_lengths() -> None:
    lengths = [4, 4, 4, 4, 4, 2, 2, 4]
    windows = [Window(np.full(n, place, np.float32), place, place + 1) for place, n in enumerate(lengths)]
    groups = list(equal_groups(windows, 3))
    assert [len(group) for group in groups] == [3, 2, 2, 1]
    assert [window for group in groups for window in group] == windows
    assert all(len({len(window.samples) for window in group}) == 1 for group in groups)
    assert list(equal_groups([], 3)) == []


def test_equal_groups_take_no_more_of_a_stream_than_they_give() -> None:
    taken = []

    def windows():
        for place in range(9):
            taken.append(place)
            yield Window(np.zeros(4, np.float32), place, place + 1)

    next(equal_groups(windows(), 3))
    assert taken == [0, 1, 2]


def test_any_stretch_of_time_is_heard() -> None:
    assert heard_seconds([Segment(0, 2), Segment(1, 3), Segment(5, 6)]) == 4
