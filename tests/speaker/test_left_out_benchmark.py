"""The left-out test of speaker candidates: which trials it makes, and that a paired difference is one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parents[2] / "benchmarks" / "left_out_speaker"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """`material` and `judging`, imported as the benchmark does, and forgotten again."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    for name in ("material", "judging"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = importlib.import_module("material"), importlib.import_module("judging")
    yield found  # type: ignore[misc]
    for name in ("material", "judging"):
        sys.modules.pop(name, None)


def clips(material: ModuleType, speakers: int = 8, each: int = 3) -> list[Any]:
    """Speakers of two corpora and two sexes, the even ones children."""
    return [
        material.Clip(
            id=f"{speaker}-{part}",
            speaker=f"s{speaker}",
            corpus="one" if speaker < speakers // 2 else "two",
            sex="f" if speaker % 4 < 2 else "m",
            age=8.0 if speaker % 2 == 0 else 30.0,
            source=None,
            samples=np.zeros(32_000, np.float32),
            emotion=("anger", "fear", None)[part],
        )
        for speaker in range(speakers)
        for part in range(each)
    ]


def test_trials_stay_within_corpus_and_sex(modules: tuple[ModuleType, ModuleType]) -> None:
    material, judging = modules
    heard = clips(material)
    pairs = judging.pairs_of(heard)
    assert int(pairs.same.sum()) == 8 * 3
    for a, b, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        one, two = heard[a], heard[b]
        assert (one.speaker == two.speaker) == same
        assert (one.corpus, one.sex) == (two.corpus, two.sex)
    groups = judging.groups_of(heard, pairs)
    assert set(groups) == {"all", "adults", "children", "across emotions", "one", "two"}
    differ = groups["across emotions"]
    assert int((differ & pairs.same).sum()) == 8  # of each speaker's three pairs the one of two known emotions
    assert all(
        {heard[a].emotion, heard[b].emotion} == {"anger", "fear"}
        for a, b in zip(pairs.first[differ], pairs.second[differ], strict=True)
    )
    assert all(heard[a].child for a in pairs.first[groups["children"]])


def test_a_better_candidate_lies_below_its_peer(modules: tuple[ModuleType, ModuleType]) -> None:
    material, judging = modules
    heard = clips(material, speakers=40)
    pairs = judging.pairs_of(heard)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(len(pairs.same))
    better, worse = 3.0 * pairs.same + noise, 1.0 * pairs.same + noise
    found = judging.against(heard, pairs, np.ones(len(noise), bool), [better, better], worse)
    assert found.eer.value < found.peer_eer.value
    assert found.difference.value == pytest.approx(found.eer.value - found.peer_eer.value)
    assert found.difference.high < 0
    same = judging.against(heard, pairs, np.ones(len(noise), bool), [worse], worse)
    assert (same.difference.low, same.difference.value, same.difference.high) == (0, 0, 0)


def test_a_cut_is_as_long_as_it_says_and_always_the_same(modules: tuple[ModuleType, ModuleType]) -> None:
    material, _ = modules
    conditions = object.__new__(material.Conditions)  # cuts need no rooms
    sound = np.arange(48_000, dtype=np.float32)
    clip = material.Clip("a", "s", "one", None, None, None, sound)
    for condition, length in (("1 s", 16_000), ("2 s", 32_000), ("3 s", 48_000)):
        heard = conditions.put(clip, condition)
        assert len(heard) == length
        assert np.array_equal(heard, conditions.put(clip, condition))
        assert np.array_equal(np.diff(heard), np.ones(length - 1))
