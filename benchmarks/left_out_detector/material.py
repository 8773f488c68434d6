"""What candidates are, and what they hear."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.committee import Prepared, drawn, prepare, votes_of
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.nn.network import BranchConfig, Network, NetworkConfig
from earwitness.nn.pooling import StatisticsConfig
from earwitness.speaker.published import DVECTOR, read_published
from earwitness.training.conditions import CONDITIONS, TESTED
from earwitness.training.pooled import Vectors, pooled_vectors
from earwitness.training.recipe import read_recipe
from earwitness.training.tensors import load_trained_state

TELEPHONE_ROWS = 1200  # drawn, to be heard in a telephone band
PERTURBATIONS = (*CONDITIONS, *TESTED)
VOICE = BranchConfig(
    frontend=DVECTOR.branches[0].frontend, encoder=DVECTOR.branches[0].encoder, pooling=StatisticsConfig()
)


@dataclass(frozen=True)
class Candidate:
    """A change of the recipe: `set` in the form of --set, the `branches` it keeps, whole `corpora` left out.

    `recipe` stands instead of the plan's; `teacher` is the candidate whose answers it learns beside the labels. `adds`
    one more view: the published voice network's hidden states, or an encoder with adapters, or that without them.
    Differences are those to the plan's reference, or to the candidate that `beside` names. `learnt_with` names one with
    more branches, whose members it takes: members learn from losses of their own, so which others learn beside them
    changes nothing but what chance draws.
    """

    name: str
    row: str
    words: str
    set: list[str] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    corpora: bool = False
    recipe: str | None = None
    teacher: str | None = None
    beside: str | None = None
    learnt_with: str | None = None
    adds: Literal["voice", "adapters", "no adapters"] | None = None


@dataclass(frozen=True)
class Heard:
    """A recipe's rows with hashes, and vectors of all its views [R, V, D].

    `narrow` [some, D] are those of the judged rows `some` in a telephone band, `under` [drawn, D] of the rows that the
    recipe's card is tested on under each perturbation; empty where a plan does not ask for them.
    """

    recipe: DetectionRecipe
    rows: Manifest
    hashes: list[str]
    vectors: Vectors
    narrow: NDArray[np.float16]
    some: NDArray[np.int64]
    drawn: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    under: dict[str, NDArray[np.float16]] = field(default_factory=dict)

    @classmethod
    def by(cls, recipe: DetectionRecipe, work: Path, perturbed: bool = False) -> Heard:
        """Everything that the recipe itself hears; under every perturbation too where it is to be `perturbed`."""
        prepared = prepare(recipe, work / "pooled")
        rows = prepared.rows
        some = np.sort(np.random.default_rng(0).permutation(len(rows))[:TELEPHONE_ROWS])
        part = rows.with_table(rows.table[some])
        narrow = pooled_vectors(recipe.network.build(), recipe, part, ["narrow_band"], work / "pooled")[:, 0]
        places = drawn(prepared.folds.judged) if perturbed else np.zeros(0, np.int64)
        part, network = rows.with_table(rows.table[places]), recipe.network.build()
        names = PERTURBATIONS if perturbed else ()
        under = {name: pooled_vectors(network, recipe, part, [name], work / "pooled")[:, 0] for name in names}
        return cls(recipe, rows, audio_hashes(rows), prepared.vectors, narrow, some, places, under)

    def with_voice(self, work: Path) -> Heard:
        """With the mean and deviation of the published voice network's last hidden states as one more branch."""
        alone = self.recipe.model_copy(update={"network": NetworkConfig(branches=[VOICE])})
        network = _published_voice(alone.network)
        vectors = pooled_vectors(network, alone, self.rows, alone.views, work / "pooled")
        part = self.rows.with_table(self.rows.table[self.some])
        narrow = pooled_vectors(network, alone, part, ["narrow_band"], work / "pooled")[:, 0]
        joined = self.recipe.network.model_copy(update={"branches": [*self.recipe.network.branches, VOICE]})
        return Heard(
            self.recipe.model_copy(update={"network": joined}),
            self.rows,
            self.hashes,
            np.concatenate([self.vectors, vectors], axis=2),
            np.concatenate([self.narrow, narrow], axis=1),
            self.some,
        )

    def columns(self, branches: list[int]) -> NDArray[np.int64]:
        """Where the vectors of these branches stand; of all branches where none is named."""
        dims = [branch.dim for branch in self.recipe.network.build().branches]
        starts = np.cumsum([0, *dims])
        chosen = branches or range(len(dims))
        return np.concatenate([np.arange(starts[place], starts[place + 1]) for place in chosen])

    def prepared(self, recipe: DetectionRecipe, branches: list[int]) -> Prepared:
        """What a candidate's members learn from: its folds, its views, and the vectors of its branches."""
        folds = recipe.split.assign(self.rows, self.hashes)  # type: ignore[union-attr]
        views = [self.recipe.views.index(view) for view in recipe.views]
        return Prepared(self.rows, folds, self.vectors[:, views][:, :, self.columns(branches)])


def part_of(whole: Network, recipe: DetectionRecipe, branches: list[int]) -> Network:
    """The recipe's network with the trained members of some branches of another one."""
    network = recipe.network.build()
    kept = branches or range(len(whole.branches))
    votes_of(network).members = nn.ModuleList(votes_of(whole).members[place] for place in kept)
    return network.eval()


def recipe_of(candidate: Candidate, plan: dict[str, Any]) -> DetectionRecipe:
    """The candidate's recipe, with its own branches alone."""
    overrides = [*plan["protocol"].get("set", []), *candidate.set]
    if candidate.corpora:
        overrides.append(f"split.corpora={json.dumps(plan['corpora'])}")
    path = candidate.recipe or plan["protocol"]["recipe"]
    recipe: DetectionRecipe = read_recipe(path, DetectionRecipe, overrides)
    branches = list(recipe.network.branches)
    if candidate.adds == "voice":
        branches = [*branches, VOICE]
    votes = recipe.network.votes
    assert votes is not None
    if candidate.branches:
        weights = tuple(votes.weights[place] for place in candidate.branches) if votes.weights else ()
        votes = votes.model_copy(update={"weights": weights})
        branches = [branches[place] for place in candidate.branches]
    changed = {"branches": branches, "votes": votes}
    return recipe.model_copy(update={"network": recipe.network.model_copy(update=changed)})


def _published_voice(config: NetworkConfig) -> Network:
    """The voice network's branch with its published weights, frozen."""
    network = config.build()
    state = read_published("resemblyzer").state
    load_trained_state(network, {name: state[name] for name in network.state_dict()}, where="published voice network")
    return network.requires_grad_(False).eval()
