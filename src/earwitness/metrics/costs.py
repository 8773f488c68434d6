"""Detection cost models: what a miss and a false alarm cost, and the named operating points of evaluations.

A cost model is either one operating point (`DetectionCost`) or the mean over several (`PrimaryCost`); both list their
`points`, and every function that takes one takes the other. The plans of SRE21 and SRE24 could not be checked, so no
preset carries their names: whoever needs them gives the points, and prints them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from earwitness.core.errors import MetricError


@dataclass(frozen=True)
class DetectionCost:
    """One operating point: prior of the positive class and the prices of a miss and of a false alarm."""

    p_target: float
    c_miss: float = 1.0
    c_fa: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        prices = self.c_miss > 0 and self.c_fa > 0 and math.isfinite(self.c_miss + self.c_fa)
        if not (0 < self.p_target < 1 and prices):
            raise MetricError(f"no cost model: {self}", fix="The prior lies between 0 and 1, costs are positive.")

    @property
    def points(self) -> tuple[DetectionCost, ...]:
        """The operating points that are averaged: this one alone."""
        return (self,)

    @property
    def weights(self) -> tuple[float, float]:
        """Weight of miss and of false alarm, normalised so that the better of accept-all and reject-all costs 1."""
        miss, false_alarm = self.c_miss * self.p_target, self.c_fa * (1 - self.p_target)
        default = min(miss, false_alarm)
        return miss / default, false_alarm / default

    @property
    def bayes_threshold(self) -> float:
        """Where a natural-log likelihood ratio should be cut: ln(C_fa (1 - P) / (C_miss P))."""
        return math.log(self.c_fa * (1 - self.p_target) / (self.c_miss * self.p_target))

    def __str__(self) -> str:
        return f"{self.name or 'cost'} (P_target {self.p_target:g}, C_miss {self.c_miss:g}, C_fa {self.c_fa:g})"


@dataclass(frozen=True)
class PrimaryCost:
    """The mean of normalised costs over operating points (C_primary of the NIST evaluations).

    The minimum is the mean of each point's own minimum, the actual cost that at each point's own Bayes threshold.
    """

    points: tuple[DetectionCost, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.points:
            raise MetricError("no cost model: there are no operating points", fix="Give at least one.")

    def __str__(self) -> str:
        return f"{self.name or 'cost'}, mean of {' and '.join(str(point) for point in self.points)}"


Cost = DetectionCost | PrimaryCost

ASVSPOOF5 = DetectionCost(0.95, 1, 10, "asvspoof5")  # P_spoof 0.05, arXiv 2408.08739
VOX01 = DetectionCost(0.01, 1, 1, "vox01")
VOX05 = DetectionCost(0.05, 1, 1, "vox05")  # VoxSRC
SRE08 = DetectionCost(0.01, 10, 1, "sre08")
SRE10 = DetectionCost(0.001, 1, 1, "sre10")
SRE16 = PrimaryCost((DetectionCost(0.01, 1, 1), DetectionCost(0.005, 1, 1)), "sre16")
SRE19AV = DetectionCost(0.05, 1, 1, "sre19av")

COST_PRESETS: dict[str, Cost] = {
    "asvspoof5": ASVSPOOF5,
    "vox01": VOX01,
    "vox05": VOX05,
    "sre08": SRE08,
    "sre10": SRE10,
    "sre16": SRE16,
    "sre19av": SRE19AV,
}


def cost_preset(name: str) -> Cost:
    """The cost model of that name. Raises `MetricError` naming those that exist."""
    try:
        return COST_PRESETS[name]
    except KeyError:
        fix = f"Use one of {', '.join(COST_PRESETS)}."
        raise MetricError(f"there is no cost model '{name}'", fix=fix) from None
