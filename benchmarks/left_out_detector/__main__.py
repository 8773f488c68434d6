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

sys.path.insert(0, str(Path(__file__).resolve().parent))
from judging import Judged, figures

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.deepfake.committee import (
    AT_MOST,
    Prepared,
    cross_fitted,
    fit_members,
    labels_of,
    left_out_scores,
    prepare,
)
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.training.pooled import pooled_vectors
from earwitness.training.recipe import read_recipe

HERE = Path(__file__).resolve().parent
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


def recipe_of(candidate: Candidate, plan: dict[str, Any]) -> DetectionRecipe:
    """The candidate's recipe."""
    overrides = list(candidate.set)
    if candidate.corpora:
        overrides.append(f"split.corpora={json.dumps(plan['corpora'])}")
    recipe: DetectionRecipe = read_recipe(plan["protocol"]["recipe"], DetectionRecipe, overrides)
    if candidate.branches:
        branches = [recipe.network.branches[place] for place in candidate.branches]
        recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update={"branches": branches})})
    return recipe


def judged_with(recipe: DetectionRecipe, seeds: list[int], work: Path, name: str) -> Judged:
    """Train with every seed; the left-out scores of all."""
    prepared = prepare(recipe, work / "pooled")
    rows, folds = prepared.rows, prepared.folds
    places = np.flatnonzero(folds.judged)
    some = np.sort(np.random.default_rng(0).permutation(len(places))[:AT_MOST])
    part = rows.with_table(rows.table[places[some]])
    narrow = pooled_vectors(recipe.network.build(), recipe, part, ["narrow_band"], work / "pooled")[:, 0]
    labels, fold = labels_of(rows)[places], folds.fold[places]
    scores, llrs, narrowed = [], [], []
    for seed in seeds:
        network = trained(recipe.model_copy(update={"seed": seed}), prepared, work / "fit" / f"{name}-{seed}")
        scores.append(left_out_scores(network, prepared.vectors[places, 0], fold))
        llrs.append(cross_fitted(scores[-1], labels, fold))
        narrowed.append(left_out_scores(network, narrow, fold[some]))
    return Judged(rows.table[places], np.stack(scores), np.stack(llrs), np.stack(narrowed), some)


def trained(recipe: DetectionRecipe, prepared: Prepared, folder: Path) -> Any:
    """The network of one run, also where it was begun before."""
    return fit_members(recipe, prepared, folder, resume=folder.exists())


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
    reference: Judged | None = None
    for candidate in candidates:
        wanted = candidate.name not in done and (not options.names or candidate.name in options.names)
        if not wanted and candidate.row != "reference":
            continue
        judged = judged_with(recipe_of(candidate, plan), seeds, options.work, candidate.name)
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
