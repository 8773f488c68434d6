"""RAD's retrieval and classifier: exact search, the leak guard, RAD-MFA, and a made-up world in which it must help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import retrieval_toy as toy
import torch

from earwitness.core.errors import DataError, UsageError
from earwitness.deepfake.retrieval.cached import CachedRows, EpochsOf
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Guard, Identity
from earwitness.deepfake.retrieval.rad_mfa import MfaClassifier, RadMfa, RadMfaConfig
from earwitness.deepfake.retrieval.searching import NONE, Searcher, recall, share_found
from earwitness.deepfake.retrieval.training import inverse_to_frequency


def embeddings(count: int, layers: int = 3, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, layers, width)).astype(np.float16)


def database(values: np.ndarray, **changes: object) -> Database:
    """A database of single-segment recordings of one short frame."""
    origins = tuple(toy.origin(f"r{n}", f"s{n % 5}") for n in range(len(values)))
    return Database(values, values[:, :, None], origins, **changes)  # type: ignore[arg-type]


def brute_force(values: np.ndarray, queries: np.ndarray, similarity: str, k: int) -> np.ndarray:
    """Rows [Q, L, K] by sorting all similarities, in float64."""
    a, b = values.astype(np.float64), queries.astype(np.float64)
    if similarity == "cosine":
        a, b = (x / np.linalg.norm(x, axis=2, keepdims=True) for x in (a, b))
        scores = np.einsum("nlf,qlf->qln", a, b)
    else:
        scores = -np.square(a[None] - b[:, None]).sum(3).transpose(0, 2, 1)
    return np.argsort(-scores, axis=2, kind="stable")[..., :k]


@pytest.mark.shows("rad:6.2")
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_retrieval_equals_a_sort_in_every_layer(similarity: str) -> None:
    values, queries = embeddings(60), embeddings(9, seed=1)
    found = Searcher(values, similarity).nearest(queries, 7)  # type: ignore[arg-type]
    assert np.array_equal(found.rows, brute_force(values, queries, similarity, 7))
    assert (np.diff(found.similarities, axis=2) <= 0).all()


@pytest.mark.shows("rad:6.2")
def test_layers_are_searched_for_themselves() -> None:
    query = np.array([[[1, 0], [0, 1]]], np.float16)  # one query of two layers
    one = [[1, 0.1], [1, 0.1]]  # nearest in layer 0 alone
    two = [[0.1, 1], [0.1, 1]]  # nearest in layer 1 alone
    found = database(np.array([one, two], np.float16)).retrieve(query, [Identity()], 2)
    assert found.nearest.rows.tolist() == [[[0, 1], [1, 0]]]
    stacked = database(np.array([one, two], np.float16)).features_of(found.nearest)  # [Q, K, L, T, F]
    assert stacked[0, 0, :, 0].tolist() == np.array([one[0], two[1]], np.float16).tolist()  # by rank, layer by layer


def test_fewer_than_asked_for_and_none_at_all() -> None:
    values = embeddings(4)
    found = database(values).retrieve(values[:1], [Identity(id="r0")], 10)
    assert found.counts.tolist() == [3]
    assert (found.nearest.rows[0, :, 3:] == NONE).all()
    assert (database(values).features_of(found.nearest)[0, 3:] == 0).all()
    with pytest.raises(DataError, match="holds no segment"):
        database(values[:0]).retrieve(values[:1], [Identity()], 1)
    with pytest.raises(DataError, match="nothing but the asking recording"):
        database(values[:1]).retrieve(values[:1], [Identity(id="r0")], 1)
    with pytest.raises(UsageError, match="0 neighbours"):
        database(values).retrieve(values[:1], [Identity()], 0)


@pytest.mark.shows("rad:6.7")
def test_a_recording_is_never_its_own_neighbour() -> None:
    values = embeddings(40)
    origins = [toy.origin(f"r{n}", f"s{n % 5}", source=f"source {n // 2}") for n in range(40)]
    held = replace(database(values), origins=tuple(origins))
    asking = [Identity(f"r{n}", f"source {n // 2}", f"file r{n}", frozenset({f"sound r{n}"})) for n in range(40)]
    off = held.retrieve(values, asking, 5, guard=False)
    assert (off.nearest.rows[:, :, 0] == np.arange(40)[:, None]).all()  # each finds itself: why the guard exists
    assert sum(map(len, off.excluded)) == 0
    on = held.retrieve(values, asking, 5)
    assert all(not set(on.nearest.rows[n].ravel()) & {n, n ^ 1} for n in range(40))  # nor its twin of the same source
    assert on.counts.tolist() == [5] * 40
    assert [len(excluded) for excluded in on.excluded] == [2] * 40
    assert str(on.excluded[0]) == (
        "2 segment(s) excluded as the recording itself (1 by the same id, 1 by the same source recording)"
    )
    allowed = brute_force(np.delete(values, [6, 7], 0), values[6:7], "cosine", 5)[0]
    assert np.array_equal(on.nearest.rows[6], np.delete(np.arange(40), [6, 7])[allowed])  # and nothing else is lost


@pytest.mark.shows("rad:6.7")
@pytest.mark.parametrize(
    ("asking", "same"),
    [
        (Identity(id="r1"), {"same_id": 2}),
        (Identity(id="other", source="r1"), {"same_source": 2}),
        (Identity(sha256="file r1"), {"same_audio": 2}),
        (Identity(sounds=frozenset({"second half"})), {"same_audio": 2}),  # one segment gives the recording away
        (Identity(id="other", source="other", sha256="other", sounds=frozenset({"other"})), {}),
    ],
)
def test_what_counts_as_the_same_recording(asking: Identity, same: dict[str, int]) -> None:
    halves = [
        replace(toy.origin("r1"), segment=n, segments=2, sound=f"{w} half") for n, w in enumerate(("first", "second"))
    ]
    guard = Guard([toy.origin("r0"), *halves, toy.origin("r2")])
    excluded = guard.excluded(asking)
    assert excluded.rows.tolist() == ([1, 2] if same else [])
    assert {
        name: value for name in ("same_id", "same_source", "same_audio") if (value := getattr(excluded, name))
    } == same


def test_approximate_search_states_its_recall() -> None:
    centres = np.random.default_rng(0).standard_normal((40, 1, 1, 12))
    values = (centres + 0.3 * np.random.default_rng(1).standard_normal((40, 60, 2, 12))).reshape(-1, 2, 12)
    shares = recall(values.astype(np.float16), "cosine", k=10, queries=50)
    assert len(shares) == 2
    assert all(0.9 < share <= 1 for share in shares)
    exact, found = np.array([[[1, 2, NONE]]]), np.array([[[2, 5, NONE]]])
    assert share_found(exact, found) == [0.5]


def test_searching_approximately_when_there_is_little_is_exact() -> None:
    values = embeddings(12)
    assert recall(values, "euclidean", k=3) == [1.0] * 3


@pytest.fixture
def classifier() -> RadMfa:
    torch.manual_seed(0)
    built = RadMfaConfig(layers=3, width=6, hidden=8).build()
    assert isinstance(built, RadMfa)
    return built.double().eval()


@pytest.mark.shows("rad:6.4")
def test_neighbours_that_equal_the_query_say_nothing(classifier: RadMfa) -> None:
    query = torch.randn(2, 1, 3, 5, 6, dtype=torch.float64)
    features = query.expand(-1, 5, -1, -1, -1)
    vectors = classifier.mfa(features.flatten(0, 1)).unflatten(0, (2, 5))
    difference = vectors[:, 1:] - vectors[:, :1]
    pooled = classifier.over_neighbours(difference)
    assert float(difference.detach().abs().max()) <= 1e-12
    assert float(pooled[:, : classifier.mfa.dim].detach().abs().max()) <= 1e-12
    assert float(pooled[:, classifier.mfa.dim :].detach().abs().max()) <= 1.001e-5
    weights, own = classifier.head.weight, vectors[:, 0]
    alone = own @ weights[:, 2 * classifier.mfa.dim :].T + classifier.head.bias
    torch.testing.assert_close(classifier(features), alone, atol=1e-3, rtol=0)
    third = torch.randn_like(query)
    moved = classifier(torch.cat([query, third, third], dim=1))
    assert not torch.allclose(moved, alone, atol=1e-3)  # other neighbours do say something


@pytest.mark.shows("rad:6.5")
def test_the_order_of_neighbours_does_not_matter(classifier: RadMfa) -> None:
    features = torch.randn(4, 8, 3, 5, 6)
    shuffled = features.clone()
    shuffled[:, 1:] = features[:, 1:][:, torch.randperm(7)]
    classifier = classifier.float()
    assert float((classifier(features) - classifier(shuffled)).detach().abs().max()) <= 1e-6


def test_absent_neighbours_do_not_count(classifier: RadMfa) -> None:
    features = torch.randn(2, 5, 3, 5, 6, dtype=torch.float64)
    counts = torch.tensor([4, 2])
    together = classifier(features, counts)
    torch.testing.assert_close(together[:1], classifier(features[:1]))
    torch.testing.assert_close(together[1:], classifier(features[1:, :3]))
    with pytest.raises(DataError, match="no neighbour"):
        classifier(features, torch.tensor([4, 0]))


@pytest.mark.shows("rad:6.6")
def test_sizes_of_the_published_classifier_and_one_mfa_for_both() -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    rad = RadMfaConfig(layers=24, width=1024).build()
    alone = RadMfaConfig(layers=24, width=1024, neighbours=0).build()
    assert isinstance(rad, RadMfa)
    assert isinstance(alone, MfaClassifier)
    assert count(rad.mfa.over_time) == 3_151_896 == 24 * 131_329
    assert count(rad.mfa.connected) == 4_196_352
    assert count(rad.mfa.over_layers) == 262_401
    assert count(rad.mfa) == 7_610_649
    assert count(alone.head) == 8_194
    assert count(alone) == 7_618_843
    assert count(rad.over_neighbours) == 524_545
    assert count(rad.head) == 24_578
    assert count(rad) == 8_159_772
    hears = []
    small = RadMfaConfig(layers=2, width=4, hidden=3).build()
    small.mfa.register_forward_hook(lambda module, given, result: hears.append((id(module), len(given[0]))))
    small(torch.randn(2, 4, 2, 5, 4))
    assert hears == [(id(small.mfa), 8)]  # 2 queries and 6 neighbours through the same object


def test_a_batch_holds_queries_and_neighbours() -> None:
    values = embeddings(6)
    held = database(values)
    asking = tuple(Identity(id=f"r{n}") for n in range(6))
    queries = toy.Queries(values, values[:, :, None], np.array([1, 0, 1, 0, 1, 0]), asking)
    rows = CachedRows.retrieved(queries, held, 2)
    assert rows.excluded == 6
    batch = rows.batch(np.array([3, 1]))
    assert batch.waveforms.shape == (2, 3, 3, 1, 16)
    assert batch.lengths.tolist() == [2, 2]
    assert batch.targets.label is not None
    assert batch.targets.label.tolist() == [0, 0]
    assert rows.nearest is not None
    first = rows.nearest.rows[3, 2, 0]
    assert batch.waveforms[0, 1, 2, 0].tolist() == values[first, 2].astype(np.float32).tolist()
    without = CachedRows.retrieved(queries, held, 0).batch(np.array([0]))
    assert without.waveforms.shape == (1, 1, 3, 1, 16)
    epochs = EpochsOf(rows, 4, seed=1)
    assert epochs.count(0) == 2
    ids = [name for batch in epochs.load(0, [0, 1]) for name in batch.ids]
    assert sorted(ids) == [f"r{n}" for n in range(6)]
    assert ids != [name for batch in epochs.load(1, [0, 1]) for name in batch.ids]
    assert inverse_to_frequency(np.array([0, 0, 0, 1])) == (0.25, 0.75)
    with pytest.raises(DataError, match="both classes"):
        inverse_to_frequency(np.array([1, 1]))


@pytest.mark.shows("rad:6.9")
@pytest.mark.parametrize(
    ("seed", "epochs"),
    [(1, 4), *(pytest.param(seed, 30, marks=pytest.mark.soak) for seed in (1, 2, 3))],  # 30 epochs take a minute
)
def test_retrieval_helps_with_unknown_speakers(seed: int, epochs: int, tmp_path: Path) -> None:
    world = toy.made(seed)
    mfa = toy.eers(toy.Trial(world, 0, seed, epochs), tmp_path / "mfa")
    rad = toy.eers(toy.Trial(world, 4, seed, epochs), tmp_path / "rad")
    print(f"seed {seed}: MFA {mfa.known:.1f} %, RAD-MFA {rad.known:.1f} %, test speakers absent {rad.absent:.1f} %")
    assert mfa.known - rad.known >= 15
    assert mfa.known - rad.absent < mfa.known - rad.known
