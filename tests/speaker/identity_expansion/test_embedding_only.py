"""Without a synthesiser: samples lie between their parents, and a head learns on them."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.metrics.detection import eer
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.identity_expansion.embedding_only import HeadConfig, interpolated, train_head
from earwitness.speaker.identity_expansion.interpolation import angle
from earwitness.speaker.identity_expansion.pairs import Pair

QUICK = HeadConfig(dim=8, steps=150, batch=32)


def voices(first: int, count: int, dim: int = 16) -> dict[str, Vectors]:
    """Prints in which half of the values are the voice and the rest, louder, is the channel."""
    found = {}
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        own = np.append(rng.standard_normal(dim // 2), np.zeros(dim // 2))
        noise = rng.standard_normal((12, dim)) * np.append(np.full(dim // 2, 0.3), np.full(dim // 2, 1.0))
        found[f"s{number:02d}"] = unit((own + noise).astype(np.float32))
    return found


def error(prints: dict[str, Vectors]) -> float:
    vectors = np.concatenate(list(prints.values()))
    speaker = np.repeat(np.arange(len(prints)), 12)
    first, second = np.triu_indices(len(vectors), k=1)
    cosine = np.einsum("nd,nd->n", vectors[first], vectors[second])
    same = speaker[first] == speaker[second]
    return eer(cosine[same], cosine[~same]).value


def test_a_sample_lies_between_a_print_of_either_parent() -> None:
    prints = voices(0, 2)
    pair = Pair("n", "s00", "s01", "f", 0.5, 0.5, 60.0)
    shares = []
    for seed in range(200):
        sample = interpolated(pair, prints, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        a, b = (prints[name][int(rng.integers(12))] for name in ("s00", "s01"))
        assert np.linalg.norm(sample) == pytest.approx(1, abs=1e-5)
        assert angle(sample, a) + angle(sample, b) == pytest.approx(angle(a, b), abs=1e-3)
        shares.append(angle(sample, a) / angle(a, b))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.015)
    assert np.std(shares) == pytest.approx(0.05, abs=0.012)
    with pytest.raises(DataError, match="no voice print"):
        interpolated(Pair("n", "s00", "nobody", "f", 0.5, 0.5, 60.0), prints, np.random.default_rng(0))


def test_a_head_learns_to_tell_strangers_apart_with_and_without_pairs() -> None:
    train, test = voices(0, 40), voices(50, 10)
    names = sorted(train)
    pairs = [Pair(f"n{k}", names[k], names[k + 1], "f", 0.5, 0.5, 60.0) for k in range(10)]
    for given in ([], pairs):
        head = train_head(train, given, QUICK)
        assert error({name: head(prints) for name, prints in test.items()}) < error(test) - 0.05
        np.testing.assert_array_equal(head.weight, train_head(train, given, QUICK).weight)
    with pytest.raises(DataError, match="cannot be told apart"):
        train_head({"s": train["s00"]}, [], QUICK)
