"""What a model's tests on splices allow to be said of stretches: the rule, and its errors, as `model.json` keeps them.

`extra["localisation"]` of a model is a `LocalisationTest`; a model without one was never tried on splices, and nothing
is said of stretches by it.
"""

from __future__ import annotations

from pydantic import Field

from earwitness.core.config import Config, parse_config
from earwitness.core.errors import ModelError, RecipeError
from earwitness.evaluation.assessing.splices import Figures
from earwitness.metrics.bootstrap import Interval
from earwitness.metrics.stretches import StretchRule
from earwitness.training.model_folder import ModelInfo

LOCALISATION = "localisation"  # the field of `ModelInfo.extra`
SPOOF, TWIN, CONTROL, SYNTHETIC = "spoof", "twin", "genuine", "synthetic"


class Figure(Config):
    """A value with its 95 % interval, which resamples `units` of `unit`."""

    value: float
    low: float
    high: float
    units: int
    unit: str

    @classmethod
    def of(cls, interval: Interval) -> Figure:
        """From a bootstrap."""
        found = interval
        return cls(value=found.value, low=found.low, high=found.high, units=found.n_units, unit=found.unit)


class LocalisationTest(Config):
    """A rule for stretches, chosen on dev splices, and its figures on test splices (`assessing.splices`).

    Windows of `window_s` hop by `step_s`. `hits` by kind of insert, `above_control` those of synthetic inserts less
    those of human ones, `false_a_minute` of human recordings; `edge_s` is within which nine of ten edges lie.
    """

    window_s: float = Field(gt=0)
    step_s: float = Field(gt=0)
    fall: float = Field(gt=0)
    shortest_s: float = Field(ge=0)
    bridge_s: float = Field(ge=0)
    splices: int
    hits: dict[str, Figure]
    above_control: dict[str, Figure]
    false_a_minute: Figure | None = None
    edge_s: Figure | None = None
    source: str  # the result that the figures are from

    @classmethod
    def of(cls, window_s: float, step_s: float, rule: StretchRule, tested: Figures, source: str) -> LocalisationTest:
        """From a rule and what it did on test splices."""
        return cls(
            window_s=window_s,
            step_s=step_s,
            fall=rule.fall,
            shortest_s=rule.shortest_s,
            bridge_s=rule.bridge_s,
            splices=tested.splices,
            hits={name: Figure.of(found) for name, found in tested.hits.items()},
            above_control={name: Figure.of(found) for name, found in tested.above_control.items()},
            false_a_minute=tested.false_a_minute and Figure.of(tested.false_a_minute),
            edge_s=tested.edge_90_s and Figure.of(tested.edge_90_s),
            source=source,
        )

    @property
    def rule(self) -> StretchRule:
        """By which stretches are found."""
        return StretchRule(self.fall, self.shortest_s, self.bridge_s)

    @property
    def unproven(self) -> tuple[str, ...]:
        """The kinds of synthetic insert that are not shown to be hit more often than human ones, with the whole
        interval."""
        found = {kind: self.above_control.get(kind) for kind in (SPOOF, TWIN)}
        return tuple(kind for kind, figure in found.items() if figure is None or figure.low <= 0)

    @property
    def shown(self) -> bool:
        """Whether parts are marked without being asked for: only where no kind is unproven."""
        return not self.unproven


def localisation_test(info: ModelInfo) -> LocalisationTest | None:
    """A model's test on splices; None where it has none. Raises `ModelError` for one that cannot be read."""
    data = info.extra.get(LOCALISATION)
    if data is None:
        return None
    try:
        found: LocalisationTest = parse_config(LocalisationTest, data)
    except RecipeError as error:
        raise ModelError(f"its extra '{LOCALISATION}' cannot be read: {error}", where=info.reference) from None
    return found
