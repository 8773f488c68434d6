"""A made-up world for RAD: speakers are points, a fake adds the same vector to whoever speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.deepfake.retrieval.cached import CachedRows, Queries
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.store import Origin
from earwitness.deepfake.retrieval.training import RetrievalRecipe, fit_classifier, scores_of
from earwitness.metrics.detection import eer

LAYERS, FRAMES, WIDTH = 3, 8, 16
TRAIN, TEST, EACH, KNOWN = 100, 60, 8, 6


def origin(name: str, speaker: str | None = None, source: str | None = None, sound: str = "") -> Origin:
    """A segment that is its whole recording."""
    return Origin(name, f"{name}.wav", 0, 4, None, speaker, source, f"file {name}", sound or f"sound {name}", 0, 1)


@dataclass(frozen=True)
class World:
    database: Database
    train: Queries
    test: Queries

    @property
    def without_test_speakers(self) -> Database:
        return self.database.without_speakers({f"s{n}" for n in range(TRAIN, TRAIN + TEST)})


def made(seed: int) -> World:
    """As the sheet says: 3 N(0, I) a speaker and layer, 0.3 N(0, I) a recording, unit noise a frame, fakes plus one
    fixed vector of 0.5 N(0, I)."""
    rng = np.random.default_rng(seed)
    speakers = 3 * rng.standard_normal((TRAIN + TEST, LAYERS, 1, WIDTH))
    artefact = 0.5 * rng.standard_normal(WIDTH)

    def recordings(speaker: int, count: int, fake: bool) -> np.ndarray:
        own = 0.3 * rng.standard_normal((count, 1, 1, WIDTH))
        noise = rng.standard_normal((count, LAYERS, FRAMES, WIDTH))
        return (speakers[speaker] + own + noise + fake * artefact).astype(np.float16)

    shorts = np.concatenate([recordings(s, KNOWN, False) for s in range(TRAIN + TEST)])
    origins = tuple(origin(f"known-{s}-{n}", f"s{s}") for s in range(TRAIN + TEST) for n in range(KNOWN))
    database = Database(shorts.mean(2, dtype=np.float32).astype(np.float16), shorts, origins)

    def asked(chosen: range) -> Queries:
        parts = [recordings(s, EACH, fake) for s in chosen for fake in (False, True)]
        values = np.concatenate(parts)
        labels = np.tile(np.repeat([1, 0], EACH), len(chosen))
        who = tuple(Identity(id=f"asked-{s}-{n}") for s in chosen for n in range(2 * EACH))
        return Queries(values.mean(2, dtype=np.float32).astype(np.float16), values, labels, who)

    return World(database, asked(range(TRAIN)), asked(range(TRAIN, TRAIN + TEST)))


@dataclass(frozen=True)
class Trial:
    """What is trained: with how many neighbours (0: without retrieval), by which seed, for how many epochs."""

    world: World
    neighbours: int
    seed: int
    epochs: int = 30


@dataclass(frozen=True)
class Eers:
    """Of the test speakers in per cent, with their genuine speech in the database, and without."""

    known: float
    absent: float


def eers(trial: Trial, folder: Path) -> Eers:
    """The last epoch counts: nothing is chosen on the test."""
    recipe = RetrievalRecipe.model_validate(
        {
            "name": "toy",
            "task": "deepfake-retrieval",
            "index": "unused",
            "seed": trial.seed,
            "data": {"manifests": ["unused"]},
            "neighbours": trial.neighbours,
            "hidden": 16,
            "optimiser": {"kind": "adam", "lr": 1e-3},
            "loop": {"epochs": trial.epochs, "batch_size": 32, "accelerator": "cpu"},
        }
    )
    world, k = trial.world, trial.neighbours
    network = fit_classifier(recipe, CachedRows.retrieved(world.train, world.database, k), None, folder)
    found = []
    for database in (world.database, world.without_test_speakers):
        scores = scores_of(network, CachedRows.retrieved(world.test, database, k))
        found.append(100 * eer(scores[world.test.labels == 1], scores[world.test.labels == 0]).value)
    return Eers(*found)
