"""Pictures of a score file: the detection error trade-off, and how far stated likelihood ratios can be believed.

matplotlib is the extra `plots`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.errors import MissingPartError
from earwitness.core.writing import write_atomically
from earwitness.evaluation.labelled import LabelledScores
from earwitness.metrics.detection import convex_hull, eer_at, error_rates
from earwitness.metrics.scores import Floats

_TICKS = np.array([0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6])


def write_plots(scores: LabelledScores, folder: str | Path) -> tuple[Path, ...]:
    """Write `det.svg`, and `reliability.svg` where every row has an llr; returns what was written.

    Raises `MissingPartError` without matplotlib, `UsageError` where the folder cannot be written.
    """
    figure_of = {"det.svg": _det, "reliability.svg": _reliability} if scores.has_llr else {"det.svg": _det}
    written = []
    for name, draw in figure_of.items():
        figure, axes = _figure()
        draw(scores, axes)
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
        write_atomically(Path(folder) / name, picture.getvalue())
        written.append(Path(folder) / name)
    return tuple(written)


def _figure() -> tuple[Any, Any]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        fix = "Install it with: pip install 'earwitness[plots]'"
        raise MissingPartError("plots need matplotlib", where="--plots", fix=fix) from None
    with rc_context({"svg.hashsalt": "earwitness", "svg.fonttype": "none"}):
        figure = Figure(figsize=(5, 5), layout="constrained")
        return figure, figure.add_subplot()


def _det(scores: LabelledScores, axes: Any) -> None:
    """Miss against false alarm, both axes warped by the normal quantile (Martin et al. 1997)."""
    from scipy.special import ndtri

    rates = error_rates(scores.positive["score"], scores.negative["score"])
    inside = (rates.miss > 0) & (rates.miss < 1) & (rates.false_alarm > 0) & (rates.false_alarm < 1)
    axes.plot(ndtri(rates.false_alarm[inside]), ndtri(rates.miss[inside]), drawstyle="steps-post")
    value = eer_at(rates).value
    axes.plot(ndtri(_TICKS), ndtri(_TICKS), ":", color="grey", linewidth=1)
    axes.set_title(f"EER {value:.2%} (interpolated)")
    for side in ("x", "y"):
        getattr(axes, f"set_{side}ticks")(ndtri(_TICKS), [f"{tick:.3g}" for tick in _TICKS * 100])
        getattr(axes, f"set_{side}lim")(ndtri(_TICKS[[0, -1]]))
    axes.set_xlabel("false alarm, %")
    axes.set_ylabel("miss, %")
    axes.grid(alpha=0.3)


def _reliability(scores: LabelledScores, axes: Any) -> None:
    """Stated log-likelihood ratios against those that these trials bear out (pool adjacent violators), base 10."""
    hull = convex_hull(error_rates(scores.positive["llr"], scores.negative["llr"]))
    stated, borne_out = _steps(hull.thresholds, np.diff(hull.miss), -np.diff(hull.false_alarm))
    edge = max(1.0, float(np.abs(np.concatenate([stated, borne_out])).max(initial=0.0))) * 1.1
    axes.plot([-edge, edge], [-edge, edge], ":", color="grey", linewidth=1)
    axes.plot(stated, borne_out, drawstyle="steps-post")
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_xlabel("stated likelihood ratio, log10")
    axes.set_ylabel("borne out by these trials, log10")
    axes.grid(alpha=0.3)


def _steps(thresholds: Floats, positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Blocks that hold both classes: where they begin, and their likelihood ratio."""
    both = (positive > 0) & (negative > 0)
    ratio = np.log10(positive[both] / negative[both])
    return thresholds[:-1][both] / np.log(10), ratio
