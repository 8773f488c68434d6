"""The other half of SVLDL's claim (arXiv 2210.09524, a reconstruction): that a selected width lowers the NLL. The same
arms, features and seeds as `svldl`; an arm's score of a recording is its negative log-likelihood there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earwitness.claims.ages import AgeMaterial, TestedAges
from earwitness.claims.plan import ArmRun, Expected, Plan
from earwitness.claims.svldl import CLAIM as OF_ERRORS
from earwitness.claims.svldl import MEDIAN, Predicted, SvldlClaim
from earwitness.metrics.distribution import nll_each

MEASURE = "NLL in nats"
DEFINITION = (
    "mean negative log-likelihood of the true age over recordings, in nats, after one temperature that is fitted on "
    "dev; mean over seeds"
)


@dataclass(frozen=True)
class LikelihoodMaterial(AgeMaterial):
    """The same rows and sides; scores are NLLs, which are averaged as errors are."""

    def tested(self, seeds: Sequence[int]) -> TestedAges:
        """The test rows of these seeds, at which each score is its own error."""
        found = super().tested(seeds)
        nothing = tuple(0 * ages for ages in found.ages)  # the mean absolute error to nothing is the mean
        return replace(found, ages=nothing, measure=MEASURE, definition=DEFINITION)


@dataclass(frozen=True)
class LikelihoodClaim(SvldlClaim):
    """Judged by what the arms' distributions give to the true ages."""

    read = LikelihoodMaterial.read

    def run(self, arm: str, seed: int, material: AgeMaterial, folder: Path) -> ArmRun:
        """Train as `svldl` does, recalibrate on dev, and give the NLL of each test row."""
        learnt, _ = self.learn(arm, seed, material, folder)
        truth = material.ages[material.sides(seed).test]
        return ArmRun(nll_each(truth, Predicted.of(learnt, material, seed).recalibrated))


def _expected() -> tuple[Expected, ...]:
    return tuple(
        replace(found, words=f"{found.words}, by the likelihood")
        for found in OF_ERRORS.plan.expected
        if MEDIAN not in (found.better, found.worse)
    )


CLAIM = LikelihoodClaim(
    Plan(
        name="svldl-likelihood",
        source=OF_ERRORS.plan.source,
        statement="A width of the age's distribution that is selected for each utterance (SVLDL, a reconstruction) "
        "lowers the negative log-likelihood.",
        arms=tuple(arm for arm in OF_ERRORS.plan.arms if arm.name != MEDIAN),
        expected=_expected(),
        notes=(
            "Arms, features, sides, seeds and budget are those of `svldl`, whose notes hold here too.",
            "One temperature, fitted on dev, recalibrates every arm's distributions: what is compared is not how sure "
            "a loss is by itself.",
        ),
    ),
    OF_ERRORS.recipe,
    OF_ERRORS.losses,
)
