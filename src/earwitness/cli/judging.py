"""The options that every command shares which judges scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from earwitness.evaluation.judging.judge import JudgeOptions
    from earwitness.evaluation.judging.units import Unit
    from earwitness.metrics.detection import EerMethod

Key = Annotated[Path | None, typer.Option(help="Manifest, table (id, label, ...), trial list, or a protocol's key.")]
Protocol = Annotated[str | None, typer.Option(help="A published benchmark, e.g. asvspoof2019-la.")]
Subset = Annotated[str | None, typer.Option(help="Of the protocol's key: eval, progress, hidden, all.")]
Eer = Annotated[str, typer.Option(help="interpolated, asvspoof, rocch, nearest_mean or nearest_max.")]
Cost = Annotated[list[str] | None, typer.Option(help="Cost models, e.g. asvspoof5 vox01 sre16.")]
UnitName = Annotated[str, typer.Option(help="Resampled as a whole: auto, speaker, system or utterance.")]
Resamples = Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is drawn.")]
Negate = Annotated[bool, typer.Option("--negate", help="They grow towards spoof, or other speakers.")]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")]
Plots = Annotated[Path | None, typer.Option(help="Write plots into this folder.")]


def judge_options(
    unit: str,
    resamples: int,
    seed: int,
    cost: Sequence[str] | None,
    eer: str = "interpolated",
    by: Sequence[str] | None = None,
) -> JudgeOptions:
    """The options as the judging takes them. Raises `UsageError` and `MetricError` for unknown names."""
    from earwitness.evaluation.judging.judge import JudgeOptions
    from earwitness.metrics.costs import cost_preset

    return JudgeOptions(
        eer_method=cast("EerMethod", eer),
        unit=cast("Unit", unit),
        by=tuple(by or ()),
        costs=tuple(cost_preset(name) for name in cost or ()),
        n_resamples=resamples,
        seed=seed,
    )
