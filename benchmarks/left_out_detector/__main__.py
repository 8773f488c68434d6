"""Every candidate for the shipped detectors, by what its members left out: `python benchmarks/left_out_detector`.

Candidates and protocol stand in a plan: candidates.yaml, or that which `--plan` names, as first_round. Each candidate
is trained with every seed at an equal number of steps; the recipe itself is the reference of the paired differences.
Vectors of what the candidates hear are computed once and kept in --work; the data lie in data/ as
recipes/default/deepfake.yaml says. Finished candidates are not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from adapters import adapted_scores
from distilling import fit_taught
from judging import Judged, figures
from material import Candidate, Heard, part_of, recipe_of

from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.deepfake.committee import Prepared, cross_fitted, fit_members, labels_of, left_out_scores
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.network import Network

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
PLANS = {
    "candidates": RESULTS / "left_out_detector.json",
    "first_round": RESULTS / "left_out_detector_first.json",
    "third_round": RESULTS / "left_out_detector_third.json",
}


@dataclass(frozen=True)
class Scored:
    """Left-out scores of one seed: of the judged rows, of those of them that were heard in a telephone band, and of
    those that were heard under each perturbation."""

    scores: NDArray[np.float64]
    narrow: NDArray[np.float64]
    under: dict[str, NDArray[np.float64]]


class Bench:
    """A plan with its candidates by name, and the folder in which its work is kept."""

    def __init__(self, plan: dict[str, Any], work: Path) -> None:
        self.plan, self.work = plan, work
        self.candidates = {entry["name"]: Candidate(**entry) for entry in plan["candidates"]}
        self._by = lru_cache(maxsize=None)(self._heard_by)
        self._judged = lru_cache(maxsize=None)(self._judged_by)
        self._shared = lru_cache(maxsize=None)(self._shared_by)

    def heard(self, candidate: Candidate) -> Heard:
        """What the candidate's recipe hears; a recipe of its own with what it sets, as that may change the views."""
        own = candidate.recipe is not None
        path = candidate.recipe or self.plan["protocol"]["recipe"]
        return self._by(path, tuple(candidate.set) if own else (), candidate.adds == "voice")

    def _heard_by(self, path: str, changes: tuple[str, ...], voice: bool) -> Heard:
        whole = recipe_of(Candidate("whole", "", "", recipe=path, set=list(changes)), self.plan)
        found = Heard.by(whole, self.work, self.plan["protocol"].get("perturbed", False))
        return found.with_voice(self.work) if voice else found

    def beside(self, candidate: Candidate) -> Judged | None:
        """What the candidate's differences are to; None for the reference itself."""
        name = candidate.beside or self._reference()
        return None if name == candidate.name else self._judged(name)

    def judged(self, candidate: Candidate) -> Judged:
        """Train with every seed, or read again what was trained; the left-out scores of all."""
        return self._judged(candidate.name)

    def _judged_by(self, name: str) -> Judged:
        candidate = self.candidates[name]
        recipe = recipe_of(candidate, self.plan)
        heard = self.heard(candidate)
        prepared = heard.prepared(recipe, candidate.branches)
        places = np.flatnonzero(prepared.folds.judged)
        labels, fold = labels_of(heard.rows)[places], prepared.folds.fold[places]
        seeds = [self._seed(candidate, recipe, prepared, seed) for seed in self.plan["protocol"]["seeds"]]
        llrs = np.stack([cross_fitted(one.scores, labels, fold) for one in seeds])
        scores, narrow = np.stack([one.scores for one in seeds]), np.stack([one.narrow for one in seeds])
        some = np.searchsorted(places, self._narrow_rows(heard, prepared))
        under = {name: np.stack([one.under[name] for one in seeds]) for name in seeds[0].under}
        drawn = np.searchsorted(places, heard.drawn)
        return Judged(heard.rows.table[places], scores, llrs, narrow, some, drawn, under)

    def _seed(self, candidate: Candidate, recipe: DetectionRecipe, prepared: Prepared, seed: int) -> Scored:
        heard = self.heard(candidate)
        network = self._network(candidate, recipe.model_copy(update={"seed": seed}), prepared)
        columns, fold = heard.columns(candidate.branches), prepared.folds.fold
        places, some = np.flatnonzero(prepared.folds.judged), self._narrow_rows(heard, prepared)
        rows_of_narrow = np.isin(heard.some, some)
        scores = left_out_scores(network, prepared.vectors[places, 0], fold[places])
        narrow = left_out_scores(network, heard.narrow[rows_of_narrow][:, columns], fold[some])
        if candidate.adds in ("adapters", "no adapters"):
            more = adapted_scores(heard, prepared, seed, self.work, adapted=candidate.adds == "adapters")
            views = len(recipe.network.branches)
            return Scored(_with_a_view(scores, more[0, places], views), _with_a_view(narrow, more[1, some], views), {})
        heard_under = {} if candidate.corpora else heard.under  # what is judged differs where corpora are left out
        under = {
            name: left_out_scores(network, vectors[:, columns], fold[heard.drawn])
            for name, vectors in heard_under.items()
        }
        return Scored(scores, narrow, under)

    def _network(self, candidate: Candidate, recipe: DetectionRecipe, prepared: Prepared) -> Network:
        """The trained committee. What only adds scores to the recipe's own shares its training."""
        if candidate.learnt_with is not None:
            return part_of(self._shared(candidate.learnt_with, recipe.seed), recipe, candidate.branches)
        shared = candidate.adds in ("adapters", "no adapters")
        name = self._reference() if shared else candidate.name
        folder = self.work / "fit" / f"{self.plan['name']}-{name}-{recipe.seed}"
        if candidate.teacher is None:
            return fit_members(recipe, prepared, folder, resume=folder.exists())
        teacher = self.candidates[candidate.teacher]
        of_teacher = recipe_of(teacher, self.plan).model_copy(update={"seed": recipe.seed})
        heard = self.heard(teacher)
        everything = heard.prepared(of_teacher, [])
        told = self._network(teacher, of_teacher, everything)
        return fit_taught(recipe, everything, heard.columns(candidate.branches), told, folder)

    def _shared_by(self, name: str, seed: int) -> Network:
        """The committee of another candidate."""
        candidate = self.candidates[name]
        recipe = recipe_of(candidate, self.plan).model_copy(update={"seed": seed})
        return self._network(candidate, recipe, self.heard(candidate).prepared(recipe, candidate.branches))

    def _reference(self) -> str:
        return next(name for name, candidate in self.candidates.items() if candidate.row == "reference")

    def _narrow_rows(self, heard: Heard, prepared: Prepared) -> NDArray[np.int64]:
        return heard.some[prepared.folds.judged[heard.some]]


def _with_a_view(scores: NDArray[np.float64], more: NDArray[np.float64], views: int) -> NDArray[np.float64]:
    """The mean of odds over `views` views, of which `scores` came, and one more."""
    return -np.log((views * np.exp(-scores) + np.exp(-more)) / (views + 1))


def main() -> None:
    """Run what is missing; write after each candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="candidates; all without a name")
    parser.add_argument("--plan", choices=PLANS, default="candidates")
    parser.add_argument("--work", type=Path, default=Path("runs/left-out-detector"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plan = yaml.safe_load((HERE / f"{options.plan}.yaml").read_text(encoding="utf-8")) | {"name": options.plan}
    output, bench = PLANS[options.plan], Bench(plan, options.work)
    for candidate in bench.candidates.values():
        if candidate.name in _finished(output) or (options.names and candidate.name not in options.names):
            continue
        judged, beside = bench.judged(candidate), bench.beside(candidate)
        paired = beside if beside and judged.table["id"].equals(beside.table["id"]) else None
        found = [asdict(figure) for figure in figures(judged, paired)]
        entry = {"row": candidate.row, "words": candidate.words, "beside": candidate.beside, "figures": found}
        done = _finished(output) | {candidate.name: entry}  # another process may have written meanwhile
        ordered = {name: done[name] for name in bench.candidates if name in done}
        command = f"python benchmarks/left_out_detector --plan {options.plan}"
        record = RunRecord.make(command, plan, seed=plan["protocol"]["seeds"][0]).plain()
        content = {"seeds": plan["protocol"]["seeds"], "candidates": ordered, "record": record}
        write_atomically(output, json.dumps(content, indent=2) + "\n")
        print(candidate.name, *(f"{f['name']} {100 * f['value']:.1f}" for f in found[:6]), sep=" | ", flush=True)


def _finished(output: Path) -> dict[str, Any]:
    """The candidates that the output holds."""
    if not output.is_file():
        return {}
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))["candidates"]
    return found


if __name__ == "__main__":
    main()
