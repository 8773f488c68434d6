"""The pair table: sexes, window, quota, determinism, and the controls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.core.errors import DataError
from earwitness.speaker.comparison import unit
from earwitness.speaker.identity_expansion.pairs import (
    Control,
    Pair,
    PairConfig,
    neighbours,
    new_vectors,
    read_pairs,
    select_pairs,
    write_pairs,
)
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors, table_of


def speakers(count: int = 80, dim: int = 6, seed: int = 0) -> tuple[SpeakerVectors, dict[str, str]]:
    """Speakers s000 ... around the centre of their sex; lengths differ."""
    rng = np.random.default_rng(seed)
    rows, sexes = {}, {}
    for number in range(count):
        name, sex = f"s{number:03d}", "fm"[number % 2]
        centre = np.eye(dim)[number % 2] * 1.5
        vector = unit((centre + rng.standard_normal(dim)).astype(np.float32))
        rows[name], sexes[name] = (vector, 1.0 + 0.1 * (number % 5), 5, 0.9), sex
    return table_of(rows), sexes


def cosine(table: SpeakerVectors, pair: Pair) -> float:
    return float(table.vectors[table.ids.index(pair.parent_a)] @ table.vectors[table.ids.index(pair.parent_b)])


@pytest.mark.shows("inside:6.3")
def test_the_pair_table() -> None:
    table, sexes = speakers()
    config = PairConfig()
    pairs = select_pairs(table, sexes, 60, config, seed=5)
    assert len(pairs) > 40
    assert {sexes[pair.parent_a] == sexes[pair.parent_b] == pair.sex for pair in pairs} == {True}
    assert all(0.30 <= cosine(table, pair) <= 0.90 for pair in pairs)
    assert [pair.cosine for pair in pairs] == pytest.approx([cosine(table, pair) for pair in pairs], abs=1e-6)
    used = Counter(name for pair in pairs for name in (pair.parent_a, pair.parent_b))
    assert max(used.values()) <= 4
    assert max(used.values()) == 4  # the quota was reached, so it decided
    assert len({(pair.parent_a, pair.parent_b) for pair in pairs}) == len(pairs)
    assert len({pair.new_id for pair in pairs}) == len(pairs)
    assert all(pair.parent_a < pair.parent_b for pair in pairs)
    assert pairs == select_pairs(table, sexes, 60, config, seed=5)


@pytest.mark.shows("inside:6.3")
def test_neighbours_are_those_of_a_plain_search() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((200, 8)).astype(np.float32))
    expected = set()
    for i in range(200):
        ranked = sorted(
            (j for j in range(200) if j != i),
            key=lambda j: (-float(np.dot(vectors[i].astype(float), vectors[j].astype(float))), j),
        )
        expected |= {(min(i, j), max(i, j)) for j in ranked[:5]}
    found = neighbours(vectors, 5)
    assert set(found) == expected
    for (i, j), value in found.items():
        assert value == pytest.approx(float(vectors[i] @ vectors[j]), abs=1e-6)


def test_a_group_gets_its_share_and_what_another_lacks() -> None:
    table, sexes = speakers(40)
    few = {name: sex for number, (name, sex) in enumerate(sexes.items()) if sex == "m" or number < 4}
    pairs = select_pairs(table, few, 20, PairConfig(lowest=-1, highest=1))
    counts = Counter(pair.sex for pair in pairs)
    assert len(pairs) == 20
    assert counts["f"] == 1  # two women make one pair; men fill up
    assert select_pairs(table, {"s000": "f"}, 5, PairConfig()) == []


def test_ties_go_by_id() -> None:
    same = np.float32([[1, 0], [0.8, 0.6], [0.8, -0.6], [0.8, 0.6]])
    table = table_of({name: (vector, 1.0, 5, 1.0) for name, vector in zip("dcba", same, strict=True)})
    sexes = dict.fromkeys("abcd", "f")
    config = PairConfig(neighbours=1, uses=1, highest=0.99)
    found = [(pair.parent_a, pair.parent_b) for pair in select_pairs(table, sexes, 4, config)]
    assert found == [("a", "d")]  # b and c are as near to d; a and c are one voice


@pytest.mark.parametrize("control", ["random-pairs", "lerp", "cross-sex", "resynthesis"])
def test_controls(control: Control) -> None:
    table, sexes = speakers()
    near = select_pairs(table, sexes, 20, PairConfig(), seed=2)
    pairs = select_pairs(table, sexes, 20, PairConfig(), control, seed=2)
    assert len(pairs) == 20
    assert not {pair.new_id for pair in pairs} & {pair.new_id for pair in near}
    assert pairs == select_pairs(table, sexes, 20, PairConfig(), control, seed=2)
    parents = [(pair.parent_a, pair.parent_b) for pair in pairs]
    mixed = [sexes[a] != sexes[b] for a, b in parents]
    vectors = new_vectors(table, pairs, control)
    if control == "cross-sex":
        assert all(mixed)
        assert {pair.sex for pair in pairs} == {None}
    else:
        assert not any(mixed)
    if control == "lerp":
        assert parents == [(pair.parent_a, pair.parent_b) for pair in near]
        a, b = (table.scaled(name) for name in parents[0])
        np.testing.assert_allclose(vectors.scaled(pairs[0].new_id), 0.7 * a + 0.3 * b, atol=1e-6)
    if control == "random-pairs":
        assert np.mean([pair.cosine for pair in pairs]) < np.mean([pair.cosine for pair in near]) - 0.1
        assert pairs != select_pairs(table, sexes, 20, PairConfig(), control, seed=3)
    if control == "resynthesis":
        assert all(a == b for a, b in parents)
        assert not any(pair.is_new for pair in pairs)
        assert Counter(pair.sex for pair in pairs) == {"f": 10, "m": 10}
        np.testing.assert_allclose(vectors.scaled(pairs[0].new_id), table.scaled(parents[0][0]), atol=1e-6)


def test_new_vectors_lie_between_at_the_mean_length() -> None:
    table, sexes = speakers()
    pairs = select_pairs(table, sexes, 10, PairConfig())
    vectors = new_vectors(table, pairs)
    for pair in pairs:
        new = vectors.only([pair.new_id])
        a, b = table.only([pair.parent_a]), table.only([pair.parent_b])
        assert float(new.vectors[0] @ a.vectors[0]) == pytest.approx(np.cos(np.radians(pair.theta_deg / 2)), abs=1e-5)
        assert float(new.norm[0]) == pytest.approx(float(a.norm[0] + b.norm[0]) / 2)


def test_the_table_comes_back(tmp_path: Path) -> None:
    table, sexes = speakers()
    pairs = select_pairs(table, sexes, 8, PairConfig(), "cross-sex")
    write_pairs(tmp_path / "pairs.tsv", pairs)
    header = (tmp_path / "pairs.tsv").read_text().splitlines()[0]
    assert header == "new_id\tparent_a\tparent_b\tgender\tcos_parents\talpha\ttheta_deg"
    again = read_pairs(tmp_path / "pairs.tsv")
    assert [(p.new_id, p.parent_a, p.parent_b, p.sex, p.alpha) for p in again] == [
        (p.new_id, p.parent_a, p.parent_b, p.sex, p.alpha) for p in pairs
    ]
    assert again[0].cosine == pytest.approx(pairs[0].cosine, abs=1e-6)
    for text in ("", "new_id\tx\n", header + "\na\tb\n"):
        (tmp_path / "bad.tsv").write_text(text)
        with pytest.raises(DataError, match="no table of pairs"):
            read_pairs(tmp_path / "bad.tsv")
    with pytest.raises(DataError, match="tab or a line break"):
        write_pairs(tmp_path / "bad.tsv", [Pair("n", "a\tb", "c", "f", 0.5, 0.5, 60)])


def test_ids_carry_no_names() -> None:
    table, sexes = speakers()
    for pair in select_pairs(table, sexes, 10, PairConfig()):
        assert pair.new_id.startswith("ins_")
        assert pair.new_id.endswith("_50")
        assert pair.parent_a not in pair.new_id


def test_refusals() -> None:
    table, _ = speakers(4)
    sexes: dict[str, Any] = {"s000": "x"}
    with pytest.raises(DataError, match="m or f here, not 'x'"):
        select_pairs(table, sexes, 2, PairConfig())
    with pytest.raises(ValueError, match="above"):
        PairConfig(lowest=0.9, highest=0.3)
