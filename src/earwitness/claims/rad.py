"""RAD's claim (arXiv 2404.13892): beside genuine speech that sounds alike, synthesis is easier to tell.

The database are human recordings of the material itself. `present`: all of them, so that a test speaker's other
recordings can be found; `absent`: those of the training side alone, in which no test speaker speaks. The leak guard is
on, but for one arm that shows what it prevents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.claims.material import DetectionMaterial, Places
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.recipes import BUDGET
from earwitness.claims.store import Halves
from earwitness.corpora.batch import Batch
from earwitness.corpora.manifest import Row
from earwitness.corpora.samplers import BalancedSampler
from earwitness.deepfake.retrieval.cached import CachedRows, InOrder, Queries
from earwitness.deepfake.retrieval.database import Database
from earwitness.deepfake.retrieval.guard import Identity
from earwitness.deepfake.retrieval.nearest import same_speaker
from earwitness.deepfake.retrieval.rad_mfa import RadMfaConfig
from earwitness.deepfake.retrieval.store import Origin
from earwitness.deepfake.retrieval.training import RetrievalRecipe, scores_of
from earwitness.deepfake.task import DetectionTask
from earwitness.nn.losses import CrossEntropyConfig
from earwitness.training.loop import fit, seed_run


@dataclass(frozen=True)
class Setting:
    """What an arm retrieves: how many neighbours, from whom, with the guard or without."""

    neighbours: int
    present: bool = True
    guard: bool = True


SETTINGS = {
    "mfa": Setting(0),
    "rad-1": Setting(1),
    "rad-5": Setting(5),
    "rad-10": Setting(10),
    "rad-10-absent": Setting(10, present=False),
    "rad-10-unguarded": Setting(10, guard=False),
}
PLAN = Plan(
    name="rad",
    source="arXiv 2404.13892",
    statement="Beside the most similar genuine recordings, found layer by layer, synthetic speech is easier to tell.",
    arms=(
        Arm("mfa", "no retrieval: the same layers, MFA and one linear layer"),
        Arm("rad-1", "1 neighbour a layer, test speakers' other recordings in the database"),
        Arm("rad-5", "5 neighbours"),
        Arm("rad-10", "10 neighbours, as published"),
        Arm("rad-10-absent", "10 neighbours, no test speaker in the database"),
        Arm("rad-10-unguarded", "10 neighbours, a recording may be its own neighbour: a leak, to show what it does"),
    ),
    expected=(
        Expected("rad-10", "mfa", "retrieval beats none"),
        Expected("rad-10-absent", "mfa", "retrieval beats none without genuine speech of the test speakers too"),
        Expected("rad-10", "rad-10-absent", "genuine speech of the test speakers is what helps"),
        Expected("rad-10", "rad-1", "ten neighbours beat one"),
        Expected("rad-10-unguarded", "rad-10", "without the guard figures look better than they are"),
    ),
    notes=(
        "Layers: the four of the frozen encoder of Whisper tiny.en, not those of a fine-tuned WavLM-Large. Frames are "
        "averaged in tens, the first 4 s are heard, the classifier is a reconstruction.",
        "Database: at most four genuine recordings a speaker, and no other recordings than those that are tested, so a "
        "test speaker has three others at most. Its genuine test recordings share corpus and channel with their "
        "neighbours, which spoofs do not: part of a gain with test speakers present may come from that.",
        "Spoofs do not find the recording that they were made from: it counts as the same source.",
        "Same speaker, rank 1: of the queries whose speaker has another recording in the database, in how many the "
        "nearest segment of a layer is of that speaker.",
    ),
)


class RadClaim:
    """Every arm learns on the same kept features, with the same budget."""

    plan = PLAN

    read = DetectionMaterial.read

    def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
        """Train, choose on dev, and score the test rows."""
        return _Run(SETTINGS[arm], seed, material).done(folder)


CLAIM = RadClaim()


@dataclass(frozen=True)
class _Run:
    setting: Setting
    seed: int
    material: DetectionMaterial

    def done(self, folder: Path) -> ArmRun:
        sides = self.material.sides(self.seed)
        train, dev, test = (self._retrieved(places) for places in (sides.train, sides.dev, sides.test))
        recipe = self._recipe
        layers, _, width = train.queries.shorts.shape[1:]
        seed_run(self.seed, "init")
        network = RadMfaConfig(layers=layers, width=width, neighbours=self.setting.neighbours).build()
        task = DetectionTask(CrossEntropyConfig().build(2, 2))  # classes are drawn alike
        drawn = _Drawn.of(self.material, sides.train, train, recipe)
        fit(network, task, drawn, InOrder(dev), recipe, folder, resume=folder.exists())
        return ArmRun(scores_of(network.eval(), test), tuple(self._figures(test, sides.test)))

    @cached_property
    def _recipe(self) -> RetrievalRecipe:
        budget = {key: value for key, value in BUDGET.items() if key not in ("balance", "draws")}
        known = {"name": "claim", "task": "deepfake-retrieval", "index": "kept", "data": {"manifests": ["kept frames"]}}
        neighbours = self.setting.neighbours
        return RetrievalRecipe.model_validate({**known, **budget, "seed": self.seed, "neighbours": neighbours})

    def _retrieved(self, places: Places) -> CachedRows:
        return CachedRows.retrieved(
            self._queries(places), self._database, self.setting.neighbours, guard=self.setting.guard
        )

    @cached_property
    def _rows(self) -> list[Row]:
        return list(self.material.rows.rows())

    @cached_property
    def _shorts(self) -> Halves:
        """Of all rows and layers [R, L, T, F]; hidden state 0 is no layer's output."""
        return self.material.kept().short[:, 1:]

    @cached_property
    def _database(self) -> Database:
        places = np.flatnonzero(self.material.labels == 1)
        if not self.setting.present:
            places = np.intersect1d(places, self.material.sides(self.seed).train)
        origins = tuple(_origin(self._rows[place], self.material.hashes[place]) for place in places)
        shorts = self._shorts[places]
        return Database(_means(shorts), shorts, origins, where="the kept human recordings")

    def _queries(self, places: Places) -> Queries:
        shorts = self._shorts[places]
        rows = [self._rows[place] for place in places]
        asking = tuple(
            Identity(row.id, row.source_recording, self.material.hashes[place])
            for row, place in zip(rows, places, strict=True)
        )
        return Queries(_means(shorts), shorts, self.material.labels[places], asking)

    def _figures(self, test: CachedRows, places: Places) -> Iterator[Figure]:
        """What was excluded, and how often the nearest segment is of the query's speaker, by layer and class."""
        if not self.setting.neighbours:
            return
        yield Figure("excluded a query", test.excluded / len(test))
        database, queries = self._database, test.queries
        for label, words in ((1, "human"), (0, "synthetic")):
            chosen = np.flatnonzero((queries.labels == label) & self._findable(queries.asking, places))
            if not len(chosen):
                continue
            asked = queries.taken(chosen)
            found = database.retrieve(asked.embeddings, asked.asking, 1, guard=self.setting.guard)
            shares = same_speaker(database, found, [self._rows[place].speaker for place in places[chosen]])
            for layer, share in enumerate(shares or (), 1):
                yield Figure(f"same speaker at rank 1, layer {layer}, {words}", share)

    def _findable(self, asking: Sequence[Identity], places: Places) -> NDArray[np.bool_]:
        """Which queries' speakers have another recording in the database."""
        database = self._database
        held: dict[str, set[int]] = {}
        for number, origin in enumerate(database.origins):
            if origin.speaker:
                held.setdefault(origin.speaker, set()).add(number)
        others = [
            held.get(self._rows[place].speaker or "", set()) - set(database.guard.excluded(identity).rows.tolist())
            for place, identity in zip(places, asking, strict=True)
        ]
        return np.array([bool(found) for found in others])


@dataclass(frozen=True)
class _Drawn:
    """`TrainData`: rows drawn as all claims draw them."""

    rows: CachedRows
    order: BalancedSampler

    @classmethod
    def of(cls, material: DetectionMaterial, places: Places, rows: CachedRows, recipe: RetrievalRecipe) -> _Drawn:
        part = material.rows.with_table(material.rows.table[places])
        size = recipe.loop.batch_size
        return cls(rows, BalancedSampler(part, tuple(BUDGET["balance"]), size, recipe.seed, BUDGET["draws"]))

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            yield self.rows.batch(np.array(batches[place]))


def _means(shorts: Halves) -> Halves:
    """Embeddings [n, L, F] of short features: tens divide the 200 frames, so the mean over all is the mean of means."""
    means: Halves = shorts.mean(axis=2, dtype=np.float32).astype(np.float16)
    return means


def _origin(row: Row, sha256: str) -> Origin:
    return Origin(row.id, row.path, 0.0, 4.0, row.channel, row.speaker, row.source_recording, sha256, sha256, 0, 1)
