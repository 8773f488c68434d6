"""What a result on speaker trials must say besides its figures: list, comparison, training, and whether it leaks.

Two error rates compare only where all of this is equal; so every scored trial carries it, and `evaluate` prints it.
"""

from __future__ import annotations

import polars as pl

from earwitness.training.model_folder import ModelInfo

LARGE_MARGIN = 0.4  # large-margin fine-tuning is done with 0.5 (arXiv 2010.11255), training with 0.2 to 0.3

#: The columns of a table of scored trials that say how it came to be, and what they are called in print.
STATED = {
    "trial_list": "trial list",
    "comparison": "comparison",
    "windows": "heard by",
    "calibration": "calibrated",
    "model": "model",
    "trained_on": "trained on",
    "leak_check": "leak check",
}


#: What `judge` does to every cost; some toolkits print 0.0025 where the normalised cost at P_target 0.01 is 0.25.
COSTS = "normalised: 1 is what the better of accepting all and rejecting all costs"


def describe_trials_scores(table: pl.DataFrame) -> list[str]:
    """One line for each of these, and one on the costs that `judge` finds, whose own definitions name EER and P_target.

    What a table does not say is told as "not stated"; several values are all told.
    """
    lines = [f"{title:<11} {_value(table, column)}" for column, title in STATED.items()]
    return [*lines, f"{'costs':<11} {COSTS}"]


def training_statement(info: ModelInfo) -> str:
    """The corpora that a model learnt from, its margin, and whether that was a large one."""
    corpora = list(dict.fromkeys(source.name for source in info.data if "training" in source.use))
    return f"{', '.join(corpora) or 'not recorded'}; large margin: {_margin(info)}"


def _margin(info: ModelInfo) -> str:
    settings = info.training.get("settings")
    margin = settings.get("margin") if isinstance(settings, dict) else None
    value = margin.get("margin") if isinstance(margin, dict) else None
    if not isinstance(margin, dict) or not isinstance(value, int | float):
        return "not recorded"
    return f"{'yes' if value >= LARGE_MARGIN else 'no'} ({margin.get('kind')}, {value:g})"


def _value(table: pl.DataFrame, column: str) -> str:
    if column not in table.columns:
        return "not stated"
    values = [str(value) for value in table[column].unique(maintain_order=True).drop_nulls()]
    if len(values) > 1:
        return f"{len(values)} different ones: {' | '.join(values)}"
    return values[0] if values else "not stated"
