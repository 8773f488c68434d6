"""What data-free distillation is worth on spoken digits: `python benchmarks/data_free_distillation.py --data FSDD`.

Digits of six speakers, split by speaker: in each fold two are held out, so that over three folds every speaker judges
once. A teacher learns the others' digits; students of one size learn

    real data           the teacher's recordings, from it (the ceiling)
    noise, music        the same from uniform noise, and from recordings of something else (the controls)
    deepinversion, cmi  the predecessors
    full, no_*          FRAMI-style (reconstruction), and without each of its terms

Every arm takes as many steps of the student. Accuracies have 95 % intervals over speakers, the mean over seeds first;
with six speakers they are wide, and say so. Each cell (fold, seed, arm) is a file in --work: an interrupted run goes
on. `--smallest` runs one fold, one seed and few rounds, to show that all arms run; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from earwitness.audio.reading import load
from earwitness.core.errors import DataError
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.assessing.runs import read_any_recipe
from earwitness.evaluation.assessing.sounds import answers
from earwitness.metrics.bootstrap import Units, bootstrap
from earwitness.training.inversion import InversionRecipe, Teacher, distil, open_teacher
from earwitness.training.inversion.given import Draw, teach_given
from earwitness.training.inversion.rounds import Distilled, Round
from earwitness.training.inversion.student import save_student
from earwitness.training.sound_classes import SoundClassifier, SoundClassRecipe, train_sound_classes

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "published"
RESULT = Path(__file__).resolve().parent / "results" / "data_free_distillation.json"
FOLDS = (("theo", "yweweler"), ("george", "jackson"), ("lucas", "nicolas"))
PLAIN = {"pre": 0.0, "post": 0.0}
INVERTED: dict[str, dict[str, Any]] = {
    "deepinversion": {
        "weights": {"bn": 10, "oh": 1, "adv": 1, "cr": 0, "tv": 1e-3, "divergence": "js"},
        "distillation": PLAIN,
        "durations": [1.0],
    },
    "cmi": {"distillation": PLAIN},
    "full": {},
    "no_bn": {"weights": {"bn": 0}},
    "no_oh": {"weights": {"oh": 0}},
    "no_adv": {"weights": {"adv": 0}},
    "no_cr": {"weights": {"cr": 0}},
    "no_hidden": {"distillation": PLAIN},
    "keep_generator": {"synthesis": {"keep": True}},
    "teacher_head": {"distillation": {"reuse_teacher_head": True}},
}
CONTROLS = ("real data", "noise", "music")
ARMS = ("teacher", *CONTROLS, *INVERTED)


@dataclass(frozen=True)
class Size:
    """How long everything runs: epochs of the teacher, rounds and steps of the student, steps of a synthesis."""

    epochs: int
    rounds: int
    steps: int
    synthesis: int
    inputs: int

    @classmethod
    def of(cls, smallest: bool) -> Size:
        return cls(2, 2, 4, 3, 4) if smallest else cls(40, 15, 80, 60, 150)


@dataclass(frozen=True)
class Bench:
    """Where the digits and the music lie, where cells are kept, and how long things run."""

    digits: Path
    music: Path
    work: Path
    size: Size

    def teacher_recipe(self, fold: int, seed: int) -> SoundClassRecipe:
        held = [f"fsdd:{name}" for name in FOLDS[fold]]
        changes = (
            f"data.manifests=[{self.digits}]",
            f"split.test={json.dumps(held)}",
            f"seed={seed}",
            f"loop.epochs={self.size.epochs}",
        )
        recipe = read_any_recipe(RECIPES / "sound-class-fsdd.yaml", changes)
        assert isinstance(recipe, SoundClassRecipe)
        return recipe

    def student_recipe(self, teacher: Path, seed: int, arm: str) -> InversionRecipe:
        recipe = read_any_recipe(RECIPES / "frami-fsdd.yaml", ("test=null",))
        plain = recipe.model_dump(mode="json")
        size = self.size
        plain |= {"teacher": str(teacher), "seed": seed, "name": f"frami-fsdd {arm}"}
        plain["loop"] |= {"rounds": size.rounds, "steps": size.steps}
        plain["synthesis"]["steps"] = size.synthesis
        changes = INVERTED.get(arm, {"distillation": {}})
        if arm == "deepinversion":
            batch = plain["synthesis"]["batch_size"]
            plain["synthesis"] = {"kind": "inputs", "batch_size": batch, "steps": size.inputs}
        for name, value in changes.items():
            plain[name] = {**plain[name], **value} if isinstance(value, dict) else value
        return InversionRecipe.model_validate(plain)


def teacher_of_fold(bench: Bench, fold: int, seed: int) -> Path:
    """The run of a fold's teacher; trained where it is not there yet."""
    run = bench.work / f"fold-{fold}" / f"seed-{seed}" / "teacher"
    if not (run / "model" / "model.json").is_file():
        train_sound_classes(bench.teacher_recipe(fold, seed), run, resume=True)
    return run


def cell(bench: Bench, fold: int, seed: int, arm: str) -> dict[str, Any]:
    """One cell: the accuracy of each held-out speaker, and the seconds it took. Kept in a file."""
    run = teacher_of_fold(bench, fold, seed)
    place = run.parent / arm.replace(" ", "_")
    kept = place / "cell.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    begun = time.monotonic()
    model = run / "model" if arm == "teacher" else student_of(bench, run, seed, arm, place)
    said = answers(SoundClassifier.load(model), Manifest.read(run / "test.csv"))
    table = said.table.with_columns(pl.Series("right", said.right))
    by_speaker = dict(table.group_by("unit", maintain_order=True).agg(pl.col("right").mean()).iter_rows())
    found = {"arm": arm, "fold": fold, "seed": seed, "speakers": by_speaker, "seconds": time.monotonic() - begun}
    write_atomically(kept, json.dumps(found, indent=1) + "\n")
    return found


def student_of(bench: Bench, run: Path, seed: int, arm: str, place: Path) -> Path:
    """The model folder of an arm's student."""
    recipe = bench.student_recipe(run / "model", seed, arm)
    teacher = open_teacher(recipe.teacher)
    if arm not in CONTROLS:
        done = distil(teacher, recipe, place / "fit", resume=True)
        save_student(place / "model", teacher, recipe, done)
        return place / "model"
    student = teach_given(teacher, recipe, given(bench, teacher, run, arm))
    save_student(place / "model", teacher, recipe, Distilled(student, (Round(0, {}, {}, {}),)))
    return place / "model"


def given(bench: Bench, teacher: Teacher, run: Path, arm: str) -> Draw:
    """What the student of a control arm learns from: (batch size, frames) -> spectrograms [B, 1, F, N]."""
    if arm == "noise":
        return teacher.space.noise
    rows = Manifest.read(run / "train.csv") if arm == "real data" else music_of(bench)
    frontend = teacher.tapped.branches[0].frontend
    spectra = []
    for row in rows.rows():
        samples = torch.from_numpy(
            np.resize(s := load(rows.resolve(row), teacher.info.rate).samples, max(len(s), 16_000))
        )
        with torch.no_grad():
            spectra.append(frontend(samples[None]).values[0].T)

    def draw(size: int, frames: int) -> Tensor:
        cuts = []
        for number in torch.randint(len(spectra), (size,)).tolist():
            whole = spectra[number]
            start = int(torch.randint(whole.shape[1] - frames + 1, ()))
            cuts.append(whole[:, start : start + frames])
        return torch.stack(cuts).unsqueeze(1)

    return draw


def music_of(bench: Bench) -> Manifest:
    """Music, noise and room responses: audio of another domain."""
    return Manifest.read(bench.music)


def table_of(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """By arm: the mean over seeds and speakers, its interval over speakers, and the spread of the seeds."""
    for arm in ARMS:
        own = [one for one in cells if one["arm"] == arm]
        by_speaker: dict[str, list[float]] = {}
        by_seed: dict[int, list[float]] = {}
        for one in own:
            for speaker, value in one["speakers"].items():
                by_speaker.setdefault(speaker, []).append(value)
                by_seed.setdefault(one["seed"], []).append(value)
        values = np.array([np.mean(value) for value in by_speaker.values()])
        low, high = interval(list(by_speaker), values)
        seeds = [float(np.mean(value)) for value in by_seed.values()]
        yield {
            "name": arm,
            "accuracy": float(values.mean()),
            "low": low,
            "high": high,
            "speakers": len(values),
            "seeds": seeds,
            "seconds": float(np.mean([one["seconds"] for one in own])),
        }


def interval(names: list[str], values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Over speakers; they are few, so it is rather too narrow."""
    units = Units.of(names, "speaker")
    ordered = values[np.argsort(names)]
    found = bootstrap(lambda counts: [float((counts * ordered).sum() / counts.sum())], units)[0]
    return found.low, found.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with fsdd/ and rir_noise/")
    parser.add_argument("--work", type=Path, default=Path("runs/data-free-distillation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS)
    parser.add_argument("--smallest", action="store_true", help="one fold, one seed, hardly any steps")
    parser.add_argument("--output", type=Path, default=None, help=f"[default: {RESULT.name} for a full run, else none]")
    given_ = parser.parse_args()
    work = given_.work / ("smallest" if given_.smallest else "full")
    bench = Bench(
        given_.data / "fsdd" / "manifest.csv",
        given_.data / "rir_noise" / "manifest.csv",
        work,
        Size.of(given_.smallest),
    )
    if not bench.digits.is_file():
        raise SystemExit(str(DataError("there are no digits", where=bench.digits, fix="Give --data.")))
    folds, seeds = (1, 1) if given_.smallest else (given_.folds, given_.seeds)
    cells = []
    plan = [(fold, seed, arm) for seed in range(seeds) for fold in range(folds) for arm in given_.arms]
    for number, (fold, seed, arm) in enumerate(plan, start=1):
        cells.append(cell(bench, fold, seed, arm))
        speakers = " ".join(f"{value:.3f}" for value in cells[-1]["speakers"].values())
        print(
            f"{number}/{len(plan)} fold {fold} seed {seed} {arm}: {speakers} ({cells[-1]['seconds']:.0f} s)", flush=True
        )
    rows = [row for row in table_of(cells) if row["name"] in given_.arms] if set(given_.arms) == set(ARMS) else []
    for row in rows:
        print(f"{row['name']:16} {100 * row['accuracy']:5.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]")
    complete = bool(rows) and not given_.smallest and folds == len(FOLDS) and seeds >= 3
    output = given_.output or (RESULT if complete else None)
    if output is not None:
        record = RunRecord.make("python benchmarks/data_free_distillation.py", {"size": vars(bench.size)}).plain()
        write_atomically(output, json.dumps({"complete": complete, "rows": rows, "record": record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
