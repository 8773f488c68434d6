"""Every candidate for the shipped detectors, by what its members left out: `python benchmarks/left_out_detector`.

Candidates and protocol stand in candidates.yaml. Each candidate is trained with every seed at an equal number of steps;
the recipe itself is the reference of the paired differences. Vectors of what the candidates hear are computed once and
kept in --work; the data lie in data/ as recipes/default/deepfake.yaml says. Finished candidates are not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from judging import Judged, figures

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import FoldSplit
from earwitness.deepfake.committee import Prepared, cross_fitted, fit_members, labels_of, left_out_scores, prepare
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.training.pooled import Vectors, pooled_vectors
from earwitness.training.recipe import read_recipe

HERE = Path(__file__).resolve().parent
TELEPHONE_ROWS = 1200  # drawn, to be heard in a telephone band
OUTPUT = HERE.parent / "results" / "left_out_detector.json"


@dataclass(frozen=True)
class Candidate:
    """A change of the recipe: `set` in the form of --set, the `branches` it keeps, whole `corpora` left out."""

    name: str
    row: str
    words: str
    set: list[str] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    corpora: bool = False


@dataclass(frozen=True)
class Heard:
    """What all candidates choose from: the recipe's rows with hashes, and vectors of all views [R, V, D].

    `narrow` [some, D] are those of the judged rows `some` in a telephone band.
    """

    recipe: DetectionRecipe
    rows: Manifest
    hashes: list[str]
    vectors: Vectors
    narrow: NDArray[np.float16]
    some: NDArray[np.int64]

    @classmethod
    def by(cls, recipe: DetectionRecipe, work: Path) -> Heard:
        """Everything that the recipe itself hears."""
        prepared = prepare(recipe, work / "pooled")
        rows = prepared.rows
        some = np.sort(np.random.default_rng(0).permutation(len(rows))[:TELEPHONE_ROWS])
        part = rows.with_table(rows.table[some])
        narrow = pooled_vectors(recipe.network.build(), recipe, part, ["narrow_band"], work / "pooled")[:, 0]
        return cls(recipe, rows, audio_hashes(rows), prepared.vectors, narrow, some)

    def columns(self, branches: list[int]) -> NDArray[np.int64]:
        """Where the vectors of these branches stand."""
        dims = [branch.dim for branch in self.recipe.network.build().branches]
        starts = np.cumsum([0, *dims])
        chosen = branches or range(len(dims))
        return np.concatenate([np.arange(starts[place], starts[place + 1]) for place in chosen])


def recipe_of(candidate: Candidate, plan: dict[str, Any]) -> DetectionRecipe:
    """The candidate's recipe."""
    overrides = list(candidate.set)
    if candidate.corpora:
        overrides.append(f"split.corpora={json.dumps(plan['corpora'])}")
    recipe: DetectionRecipe = read_recipe(plan["protocol"]["recipe"], DetectionRecipe, overrides)
    if candidate.branches:
        votes = recipe.network.votes
        assert votes is not None
        weights = tuple(votes.weights[place] for place in candidate.branches) if votes.weights else ()
        branches = [recipe.network.branches[place] for place in candidate.branches]
        changed = {"branches": branches, "votes": votes.model_copy(update={"weights": weights})}
        recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=changed)})
    return recipe


def judged_with(heard: Heard, recipe: DetectionRecipe, branches: list[int], fits: Path, seeds: list[int]) -> Judged:
    """Train with every seed; the left-out scores of all."""
    assert isinstance(recipe.split, FoldSplit)
    folds = recipe.split.assign(heard.rows, heard.hashes)
    columns = heard.columns(branches)
    views = [heard.recipe.views.index(view) for view in recipe.views]
    prepared = Prepared(heard.rows, folds, heard.vectors[:, views][:, :, columns])
    places = np.flatnonzero(folds.judged)
    in_both = np.isin(heard.some, places)
    labels, fold = labels_of(heard.rows)[places], folds.fold[places]
    scores, llrs, narrow = [], [], []
    for seed in seeds:
        folder = Path(f"{fits}-{seed}")
        seeded = recipe.model_copy(update={"seed": seed})
        network = fit_members(seeded, prepared, folder, resume=folder.exists())
        scores.append(left_out_scores(network, prepared.vectors[places, 0], fold))
        llrs.append(cross_fitted(scores[-1], labels, fold))
        some = heard.some[in_both]
        narrow.append(left_out_scores(network, heard.narrow[in_both][:, columns], folds.fold[some]))
    some = np.searchsorted(places, heard.some[in_both])
    return Judged(heard.rows.table[places], np.stack(scores), np.stack(llrs), np.stack(narrow), some)


def main() -> None:
    """Run what is missing; write after each candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="candidates; all without a name")
    parser.add_argument("--work", type=Path, default=Path("runs/left-out-detector"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    plan = yaml.safe_load((HERE / "candidates.yaml").read_text(encoding="utf-8"))
    candidates = [Candidate(**entry) for entry in plan["candidates"]]
    seeds = plan["protocol"]["seeds"]
    done = json.loads(options.output.read_text(encoding="utf-8"))["candidates"] if options.output.is_file() else {}
    heard = Heard.by(recipe_of(candidates[0], plan), options.work)
    reference: Judged | None = None
    for candidate in candidates:
        wanted = candidate.name not in done and (not options.names or candidate.name in options.names)
        if not wanted and candidate.row != "reference":
            continue
        recipe = recipe_of(candidate, plan)
        judged = judged_with(heard, recipe, candidate.branches, options.work / "fit" / candidate.name, seeds)
        if candidate.row == "reference":
            reference = judged
        if not wanted:
            continue
        same = reference is not None and judged.table["id"].equals(reference.table["id"])
        paired = reference if same and candidate.row != "reference" else None
        found = [asdict(figure) for figure in figures(judged, paired)]
        done[candidate.name] = {"row": candidate.row, "words": candidate.words, "figures": found}
        record = RunRecord.make("python benchmarks/left_out_detector", plan, seed=seeds[0]).plain()
        content = {"seeds": seeds, "candidates": done, "record": record}
        write_atomically(options.output, json.dumps(content, indent=2) + "\n")
        print(candidate.name, *(f"{f['name']} {100 * f['value']:.1f}" for f in found[:6]), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
