"""Speaker models on speakers and corpora that they did not learn from here, beside a published one that is well known.

    python benchmarks/left_out_speaker --data ../shared/data [--runs runs/left-out-speaker] [--candidates NAME ...]

Each candidate of candidates.yaml is made by the product's own code, once a fold and seed, and compared with
Resemblyzer: same recordings, same trials, AS-norm against a cohort of the same training speakers. What was made or
scored before in `--runs` is read again. Writes benchmarks/results/left_out_speaker.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from judging import Scores, against, groups_of, pairs_of, scored
from material import CONDITIONS, MOST_PER_SPEAKER, Clip, Conditions, human_rows, read_clips, tested

from earwitness.audio.perturb.base import item_rng
from earwitness.core.errors import DataError
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.batched import prints_of
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.training import train_embedder
from earwitness.training.data import read_split
from earwitness.training.recipe import read_recipe

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent.parent / "recipes" / "default" / "speaker.yaml"
RESULT = HERE.parent / "results" / "left_out_speaker.json"
PEER = "Resemblyzer"
DEV_SPEAKERS = 6  # of the training side, since a recipe needs a dev side; nothing is chosen on them
FOLDS = ("without speechocean762", "without the others", "the recipe's own sides")
MOST_OF_FEW = 5  # recordings a speaker where few speakers are held out


@dataclass(frozen=True)
class Candidate:
    """One row of the table: what changes in the recipe, in which folds and with which seeds it was tried."""

    name: str
    says: str
    changes: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: tuple[str, ...]
    recipe: Path

    @classmethod
    def of(cls, name: str, given: dict[str, Any]) -> Candidate:
        """From its entry in candidates.yaml."""
        seeds, folds = tuple(given.get("seeds", (1,))), tuple(given.get("folds", FOLDS))
        recipe = HERE / given["recipe"] if "recipe" in given else RECIPE
        return cls(name, given["says"], tuple(given.get("changes", ())), seeds, folds, recipe)


@dataclass(frozen=True)
class Test:
    """What is heard in one fold."""

    name: str
    rows: Manifest
    clips: list[Clip]

    @classmethod
    def of(cls, name: str, rows: Manifest, data: Path) -> Test:
        """The fold's test side: the corpus that its name leaves out, or all others, or what the recipe holds out."""
        if name == FOLDS[2]:
            recipe: SpeakerRecipe = read_recipe(RECIPE, SpeakerRecipe, (f"data.manifests=[{data}]",))
            held_out = read_split(recipe.data, recipe.split, "speaker")
            ids = [*held_out.dev.table["id"], *held_out.test.table["id"]]
            return cls(name, rows, tested(read_clips(rows.filter(pl.col("id").is_in(ids))), MOST_OF_FEW))
        of_one = pl.col("corpus").is_in(["speechocean762", "speechocean762_more"])
        return cls(
            name, rows, tested(read_clips(rows.filter(of_one if name == FOLDS[0] else ~of_one)), MOST_PER_SPEAKER)
        )

    def write_split(self, path: Path) -> None:
        """The table of sides for a recipe: train, a few dev speakers of the same corpora, test."""
        out = set(self.clips_corpora)
        table = self.rows.table.select("id", "speaker", "corpus")
        rest = table.filter(~pl.col("corpus").is_in(list(out)) & ~pl.col("speaker").is_in(self._speakers))
        counts = rest["speaker"].value_counts().filter(pl.col("count") > 2)["speaker"].to_list()
        dev = set(sorted(counts, key=lambda name: float(item_rng(0, 0, name).random()))[:DEV_SPEAKERS])
        sides = rest.select("id", pl.col("speaker").is_in(list(dev)).replace_strict({True: "dev", False: "train"}))
        path.parent.mkdir(parents=True, exist_ok=True)
        sides.rename({"speaker": "split"}).write_csv(path)

    @property
    def clips_corpora(self) -> list[str]:
        """The folders that are left out of training whole."""
        return sorted({clip.corpus for clip in self.clips} | ({"fsdd"} if self.name == FOLDS[1] else set()))

    @property
    def _speakers(self) -> list[str]:
        return sorted({clip.speaker for clip in self.clips})


class Fold:
    """One fold's models and scores, kept under `folder`: what is there already is read again."""

    def __init__(self, test: Test, data: Path, runs: Path) -> None:
        self.test = test
        self.pairs = pairs_of(test.clips)
        self._data = data
        self._conditions = Conditions(data)
        self._folder = runs / test.name.replace(" ", "-")

    def scores(self, candidate: Candidate, seed: int) -> Scores:
        """Scores of the fold's trials under all conditions."""
        name = f"{candidate.name.replace(' ', '-')}-{seed}"
        kept = self._folder / f"{name}.npz"
        if not kept.exists():
            embedder = self._made(self._recipe(candidate, seed), name)
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **scored(self._heard(embedder), self.pairs, embedder.comparator))  # type: ignore[arg-type]
            print(f"{self.test.name}: {name}", file=sys.stderr, flush=True)
        with np.load(kept) as stored:
            return {condition: stored[condition] for condition in CONDITIONS}

    def _recipe(self, candidate: Candidate, seed: int) -> SpeakerRecipe:
        own = [f"seed={seed}", f"data.manifests=[{self._data}]"]
        if self.test.name != FOLDS[2]:
            split = self._folder / "split.csv"
            if not split.exists():
                self.test.write_split(split)
            own.append(f"data.split_file={split.resolve()}")
        recipe: SpeakerRecipe = read_recipe(candidate.recipe, SpeakerRecipe, (*own, *candidate.changes))
        return recipe

    def _made(self, recipe: SpeakerRecipe, name: str) -> Embedder:
        """The candidate's model; a finished one is loaded."""
        if not (self._folder / name / "done").exists():
            train_embedder(recipe, self._folder / name, resume=True)
            (self._folder / name / "done").touch()
        return Embedder.load(self._folder / name / "model")

    def _heard(self, embedder: Embedder) -> dict[str, Vectors]:
        """Voice prints of all clips under all conditions."""
        found: dict[str, Vectors] = {}
        for condition in CONDITIONS:
            prints = prints_of(embedder, (self._conditions.put(clip, condition) for clip in self.test.clips))
            found[condition] = np.stack([print_ for print_ in prints if print_ is not None])
            if len(found[condition]) < len(prints):
                raise DataError("a tested recording holds too little sound", where=condition)
        return found


def compared(candidate: Candidate, fold: Fold, peer: Scores) -> list[dict[str, object]]:
    """Rows of the result: one a condition and group."""
    test, pairs = fold.test, fold.pairs
    seeds = [fold.scores(candidate, seed) for seed in candidate.seeds]
    rows: list[dict[str, object]] = []
    for group, members in groups_of(test.clips, pairs).items():
        for condition in CONDITIONS:
            ours = [scores[condition] for scores in seeds]
            found = against(test.clips, pairs, members, ours, peer[condition])
            place = {"candidate": candidate.name, "fold": test.name, "group": group, "condition": condition}
            counts = {"same": int((members & pairs.same).sum()), "different": int((members & ~pairs.same).sum())}
            figures = {name: asdict(interval) for name, interval in vars(found).items()}
            rows.append({**place, "seeds": len(seeds), **counts, **figures})
    return rows


def main() -> None:
    """Train what is missing, score, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/left-out-speaker"))
    parser.add_argument("--candidates", nargs="*", default=None, help="names in candidates.yaml; all without")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries = yaml.safe_load((HERE / "candidates.yaml").read_text(encoding="utf-8"))
    candidates = {name: Candidate.of(name, given) for name, given in entries.items()}
    chosen = arguments.candidates or [name for name in candidates if name != PEER]
    data: Path = arguments.data.resolve()
    rows = human_rows(data)
    result: list[dict[str, object]] = []
    for name in FOLDS:
        fold = Fold(Test.of(name, rows, data), data, arguments.runs)
        peer = fold.scores(candidates[PEER], 1)
        for candidate in (candidates[name] for name in chosen):
            if fold.test.name in candidate.folds:
                result += compared(candidate, fold, peer)
    says = {name: candidate.says for name, candidate in candidates.items()}
    record = RunRecord.make("python benchmarks/left_out_speaker", {}).plain()
    document = {"result": {"says": says, "rows": result}, "record": record}
    write_atomically(arguments.output, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
