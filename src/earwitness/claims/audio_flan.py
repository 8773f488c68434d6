"""How tasks of very different size are mixed (arXiv 2502.16584 has 92 % speech and no experiment on it): the balance
sampler with exponent a, on instruction records of real labels.

Every arm is the same small network: one layer that all tasks share, on means and deviations of filterbank energies, and
a head a task, with as many records in as many steps; only which records it learns from differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.claims.material import ROTATIONS
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.spectra import spectra
from earwitness.core.errors import DataError, MetricError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import exclude_licences
from earwitness.corpora.splits.grouping import connected, draw
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.flan.balance import balanced_draw
from earwitness.speech_llm.flan.converting import Clips, ConvertOptions, converted
from earwitness.speech_llm.flan.spans import core

TASKS = ("Language Identification", "Deepfake Detection", "Gender Recognition", "Emotion Recognition")
SMALL = "Emotion Recognition"
MOST_OF_A_GROUP = 4  # recordings of a voice, but for emotions, of which there are few voices
FEWEST = 20  # records of a class, below which it is left out
STEPS, BATCH, WIDTH, RATE = 300, 64, 64, 3e-3
EXPONENTS = {"a=0": 0.0, "a=0.5": 0.5, "a=1": 1.0}
MAJORITY = "majority"
Places = NDArray[np.int64]


@dataclass(frozen=True)
class FlanMaterial:
    """Rows of a manifest, the sha256 of their audio, and where features are kept."""

    rows: Manifest
    hashes: tuple[str, ...]
    source: str
    folder: Path

    @classmethod
    def read(cls, manifest: str | Path, folder: str | Path) -> FlanMaterial:
        """At most `MOST_OF_A_GROUP` recordings of a voice that has no emotions. Raises `DataError` where a task has no
        records."""
        rows = _drawn(exclude_licences(Manifest.read(manifest)))
        found = cls(rows, tuple(audio_hashes(rows)), str(manifest), Path(folder))
        if absent := [task for task in TASKS if task not in found.records]:
            raise DataError(f"has no labels for '{absent[0]}'", where=manifest)
        return found

    @property
    def key(self) -> str:
        """Of ids, audio, records and folds."""
        return sha256_data([list(self.hashes), self.rows.table["id"].to_list(), self.settings])

    @property
    def inputs(self) -> dict[str, str]:
        """The table and the audio."""
        return {"rows": self.rows.sha256, "audio": self.key}

    @property
    def settings(self) -> dict[str, Any]:
        """The tasks, how many records each has, and the folds."""
        return {"tasks": {task: len(self.records[task]) for task in TASKS if task in self.records}, "folds": ROTATIONS}

    @property
    def licences(self) -> list[str]:
        """Of all rows, sorted."""
        return sorted(set(self.rows.table["licence"].drop_nulls()))

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """Of each row: the voice, with all that shares a recording with it."""
        return _groups(self.rows)

    @cached_property
    def fold(self) -> Places:
        """Of each row: groups of a corpus go round the folds, in an order drawn by hash."""
        pairs = dict(zip(self.groups.tolist(), self.rows.table["corpus"].to_list(), strict=True))
        names = sorted(pairs, key=lambda name: (pairs[name], draw(0, name)))
        of = {name: place % ROTATIONS for place, name in enumerate(names)}
        return np.array([of[name] for name in self.groups])

    @cached_property
    def records(self) -> Mapping[str, tuple[tuple[int, str], ...]]:
        """By task: (row, answer), of classes with enough records; made by the converter."""
        clips = Clips.of(self.rows)
        place_of = {clip.id: place for place, clip in enumerate(clips.clips)}
        found: dict[str, list[tuple[int, str]]] = {}
        for record in converted(clips, ConvertOptions(TASKS)):
            found.setdefault(record.minor, []).append((place_of[record.audio_ids()[0]], core(record.output)))
        counts = {task: Counter(answer for _, answer in pairs) for task, pairs in found.items()}
        kept = {task: tuple(pair for pair in pairs if counts[task][pair[1]] >= FEWEST) for task, pairs in found.items()}
        return {task: pairs for task, pairs in kept.items() if len({answer for _, answer in pairs}) > 1}

    def side(self, seed: int, *, test: bool) -> list[tuple[str, int, str]]:
        """(task, row, answer) of the records that a seed (from 1) tests, or learns from."""
        tested = self.fold == (seed - 1) % ROTATIONS
        return [(task, row, answer) for task in TASKS for row, answer in self.records[task] if tested[row] == test]

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Mean and deviation over time of filterbank energies, [R, 160]; computed where they are not kept yet."""
        kept = spectra(self.rows, self.hashes, "clean", self.folder)
        parts = [np.asarray(kept[place : place + 64], np.float32) for place in range(0, len(kept), 64)]
        return np.concatenate([np.concatenate([part.mean(axis=1), part.std(axis=1)], axis=1) for part in parts])

    def tested(self, seeds: Sequence[int]) -> TestedRecords:
        """The test records of these seeds."""
        return TestedRecords(tuple(tuple(self.side(seed, test=True)) for seed in seeds), self.groups)


@dataclass(frozen=True)
class TestedRecords:
    """`Tested`: a score is 1 where a record is answered rightly, else 0; units are voices."""

    records: tuple[tuple[tuple[str, int, str], ...], ...]
    groups: NDArray[np.str_]
    measure: str = "100 - UA, mean over tasks"
    definition: str = "per cent: 100 minus the mean recall of a task's classes, mean over tasks; mean over seeds"

    @cached_property
    def units(self) -> Units:
        """The voices of all that is tested."""
        return Units.of([self.groups[row] for found in self.records for _, row, _ in found], "voice")

    @property
    def words(self) -> str:
        """What was tested."""
        count = sum(map(len, self.records))
        return f"{count} records of {len(TASKS)} tasks, {self.units.count} voices"

    def count(self, place: int) -> int:
        """Records of the seed at this place."""
        return len(self.records[place])

    def error(self, place: int, scores: Floats) -> Callable[[Floats], float]:
        """In per cent; a class or task that a resample does not draw is left out of the mean."""
        start = sum(len(found) for found in self.records[:place])
        units = self.units.take(np.arange(start, start + len(scores)))
        names = [f"{task}\n{answer}" for task, _, answer in self.records[place]]
        classes, codes = np.unique(names, return_inverse=True)
        tasks = np.unique([name.split("\n")[0] for name in classes], return_inverse=True)[1]

        def rate(counts: Floats) -> float:
            weights = units.weights(counts)
            totals = np.bincount(codes, weights, minlength=len(classes))
            if not totals.any():
                raise MetricError("no voice of a seed was drawn")
            there = totals > 0
            recalls = np.bincount(codes, weights * scores, minlength=len(classes))[there] / totals[there]
            sums, sizes = np.bincount(tasks[there], recalls), np.bincount(tasks[there])
            return float(100 - 100 * np.mean(sums[sizes > 0] / sizes[sizes > 0]))

        return rate


@dataclass(frozen=True)
class FlanClaim:
    """Arms differ in the exponent of the draw."""

    plan: Plan

    read = FlanMaterial.read

    def run(self, arm: str, seed: int, material: FlanMaterial, folder: Path) -> ArmRun:
        """Learn from drawn records, answer the test records."""
        train, test = material.side(seed, test=False), material.side(seed, test=True)
        if arm == MAJORITY:
            best = {
                task: Counter(answer for one, _, answer in train if one == task).most_common(1)[0][0] for task in TASKS
            }
            return ArmRun(np.array([float(answer == best[task]) for task, _, answer in test]))
        drawn = balanced_draw([task for task, *_ in train], STEPS * BATCH, EXPONENTS[arm], seed)
        answers = {task: sorted({answer for one, _, answer in train if one == task}) for task in TASKS}
        features = _normalised(material.features, sorted({row for _, row, _ in train}))
        network = _learnt(features, [train[place] for place in drawn.tolist()], answers, seed)
        scores = np.array([float(answer == found) for (_, _, answer), found in zip(test, network(test), strict=True)])
        return ArmRun(scores, _figures(train, drawn, test, scores))


def _figures(
    train: Sequence[tuple[str, int, str]], drawn: Places, test: Sequence[tuple[str, int, str]], scores: Floats
) -> tuple[Figure, ...]:
    small = np.array([task == SMALL for task, *_ in train])
    found = [Figure("draws of the smallest task, %", float(100 * small[drawn].mean()))]
    for task in TASKS:
        answers = sorted({answer for one, _, answer in test if one == task})
        recalls = [
            np.mean(
                [score for (one, _, name), score in zip(test, scores, strict=True) if (one, name) == (task, answer)]
            )
            for answer in answers
        ]
        found.append(Figure(f"UA, {task}, %", float(100 * np.mean(recalls))))
    return tuple(found)


def _normalised(features: NDArray[np.float32], train: Sequence[int]) -> Tensor:
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    return torch.from_numpy((features - mean) / np.maximum(deviation, 1e-3))


def _learnt(
    features: Tensor, drawn: Sequence[tuple[str, int, str]], answers: Mapping[str, Sequence[str]], seed: int
) -> Callable[[Sequence[tuple[str, int, str]]], list[str]]:
    """Train on the records in their order, `BATCH` a step; gives what answers records."""
    torch.manual_seed(seed)
    shared = nn.Sequential(nn.Linear(features.shape[1], WIDTH), nn.ReLU(), nn.Dropout(0.2))
    heads = nn.ModuleList([nn.Linear(WIDTH, len(answers[task])) for task in TASKS])
    optimiser = torch.optim.AdamW([*shared.parameters(), *heads.parameters()], lr=RATE, weight_decay=0.01)
    for step in range(STEPS):
        batch = drawn[step * BATCH : (step + 1) * BATCH]
        hidden = shared(features[[row for _, row, _ in batch]])
        total = hidden.new_zeros(())
        for number, task in enumerate(TASKS):
            own = [place for place, (one, *_) in enumerate(batch) if one == task]
            if own:
                target = torch.tensor([answers[task].index(batch[place][2]) for place in own])
                total = total + nn.functional.cross_entropy(heads[number](hidden[own]), target, reduction="sum")
        optimiser.zero_grad()
        (total / BATCH).backward()
        optimiser.step()
    shared.eval()

    @torch.inference_mode()
    def answer(records: Sequence[tuple[str, int, str]]) -> list[str]:
        hidden = shared(features[[row for _, row, _ in records]])
        return [
            answers[task][int(heads[TASKS.index(task)](hidden[place]).argmax())]
            for place, (task, *_) in enumerate(records)
        ]

    return answer


def _groups(rows: Manifest) -> NDArray[np.str_]:
    table = rows.table.select("speaker", "source_recording", "split_group", "id")
    keys = [
        [f"{name}:{value}" for name, value in zip("srg", row[:3], strict=True) if value is not None] or [f"i:{row[3]}"]
        for row in table.iter_rows()
    ]
    return np.array([str(group) for group in connected(keys)])


def _drawn(rows: Manifest) -> Manifest:
    """Few of each voice, in an order drawn by hash, and all with an emotion."""
    table = rows.table
    if "corpus" not in table.columns:
        raise DataError("rows have no `corpus`", fix="Give a manifest as `earwitness corpus import` writes it.")
    order = pl.Series([draw(0, name) for name in table["id"]], dtype=pl.Float64)
    groups = pl.Series(_groups(rows).tolist(), dtype=pl.String)
    ranked = table.with_columns(_order=order, _group=groups).with_columns(_rank=pl.col("_order").rank().over("_group"))
    kept = ranked.filter((pl.col("_rank") <= MOST_OF_A_GROUP) | pl.col("emotion").is_not_null())
    return rows.with_table(kept.drop("_order", "_group", "_rank"))


CLAIM = FlanClaim(
    Plan(
        name="audio-flan",
        source="arXiv 2502.16584; the sampler is ours, the paper has no experiment on it",
        statement="Where tasks differ much in size, drawing them more alike (exponent below 1) lowers the error over "
        "tasks.",
        arms=(
            *(Arm(name, f"tasks drawn with exponent {value:g}") for name, value in EXPONENTS.items()),
            Arm(MAJORITY, "the majority answer of each task"),
        ),
        expected=(
            Expected("a=0", "a=1", "tasks drawn alike beat tasks as they are"),
            Expected("a=0.5", "a=1", "the square root beats tasks as they are"),
            Expected("a=0.5", "a=0", "the square root beats tasks drawn alike"),
            Expected("a=1", MAJORITY, "the records teach more than the majority"),
        ),
        notes=(
            f"A toy in place of a language model: one layer of {WIDTH} units that all tasks share and a head a task, "
            "on means and deviations of 80 filterbank energies; "
            f"{STEPS} steps of {BATCH} records in every arm. Nothing is chosen, so there is no dev side.",
            "At most four recordings of a voice, and all those with an emotion. Voices (with all that shares a source "
            "recording or split group) are in five folds; a seed tests one and learns from the rest. Channels differ "
            "by corpus, and language and synthesis with them: the figures say how arms differ, not how well "
            "voices can be judged.",
        ),
    )
)
